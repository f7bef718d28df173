"""Three simulated machines compute the rows of one process, whatever happens to them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cxrfeat
from cxrfeat import features
from cxrfeat.cluster.shares import Node
from cxrfeat.errors import SpecMismatchError
from cxrfeat.extraction import ray_engine
from cxrfeat.extraction.job import ComputedImage, ExtractorOptions, Job, NamedExtractor
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.plan import WorkItem
from cxrfeat.extraction.ray_engine import RayEngine
from cxrfeat.extraction.sources import FileSource, ImageSource
from cxrfeat.images import ReadingOptions
from tests.extraction.planted_sources import Planted
from tests.ray_cluster import machines

SMALL = ExtractorOptions("squeezenet1_1", features.WeightsChoice("random"), image_size=32)
BOTH = {"ours": SMALL, "largest": replace(SMALL, pooling="max", runtime="torch")}
COUNT = 14


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with machines(3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def job() -> Job:
    named = [NamedExtractor(name, one, one.prepare()) for name, one in BOTH.items()]
    return Job.of(named, replace(ReadingOptions(), guess_bits=False))


@pytest.fixture(scope="module")
def here(job: Job, folder: Path) -> dict[str, ComputedImage]:
    """What one process computes, with as many threads as a worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    items = items_of(FileSource(path.name, path) for path in sorted(folder.glob("*.png")))
    try:
        batches = list(LocalEngine(job.open(), workers=1).run(items))
    finally:
        torch.set_num_threads(threads)
    return {image.id: image for batch in batches for image in batch}


def items_of(sources: Iterable[ImageSource], names: Iterable[str] = BOTH) -> list[WorkItem]:
    return [WorkItem(source, tuple(names)) for source in sources]


def planted(folder: Path, **special: Mapping[str, Any]) -> list[WorkItem]:
    """The files of a folder, some special, for an extractor that opens without torch."""
    sources = (
        Planted(path.name, path, os.getpid(), **special.get(f"_{path.stem}", {}))
        for path in sorted(folder.glob("*.png"))
    )
    return items_of(sources, ["ours"])


def same_rows(one: ComputedImage, other: ComputedImage) -> bool:
    return (one.stamp, one.sha256, one.error) == (other.stamp, other.sha256, None) and all(
        row.tobytes() == other.rows[name].tobytes() for name, row in one.rows.items()
    )


def engine_on(cluster: Any, job: Job, **options: Any) -> RayEngine:
    return RayEngine(job, address=cluster.address, batch_size=2, readers=2, **options)


def test_machines_give_the_bits_of_one_process(
    cluster: Any, job: Job, folder: Path, here: Mapping[str, ComputedImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)  # workers run elsewhere
    items = items_of(FileSource(path.name, Path(path.name)) for path in folder.glob("*.png"))
    with engine_on(cluster, job) as engine:
        told = engine.environment("ours")
        images = [image for batch in engine.run(items) for image in batch]
    assert sorted(image.id for image in images) == sorted(here)
    assert all(image.rows.keys() == BOTH.keys() for image in images)
    assert all(same_rows(image, here[image.id]) for image in images)
    assert told.keys() == NamedExtractor("ours", SMALL, SMALL.prepare()).environment().keys()
    assert engine.seconds.keys() == {"reading", *BOTH}


def test_deaths_of_workers_and_of_a_machine_cost_the_deadly_image_alone(
    cluster: Any, job: Job, folder: Path, here: Mapping[str, ComputedImage],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    doomed = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    items = planted(folder, _05={"kills": "once"}, _09={"kills": "always"})
    images: dict[str, ComputedImage] = {}
    with engine_on(cluster, job) as engine:
        for batch in engine.run(items):
            if doomed is not None:
                cluster.remove_node(doomed, allow_graceful=False)
                doomed = None
            images |= {image.id: image for image in batch}
    assert (folder / "05.killed").is_file()
    error = images.pop("09.png").error
    assert error is not None
    assert error.code == "crashed"
    assert len(images) == COUNT - 1
    assert all(same_rows(image, here[id_]) for id_, image in images.items())
    assert any("were lost and replaced" in note for note in engine.notes)
    assert capfd.readouterr().out == ""  # where the command prints its result


def test_what_a_machine_does_not_see_is_sent_and_what_nobody_reads_is_a_failure(
    cluster: Any, job: Job, folder: Path, here: Mapping[str, ComputedImage]
) -> None:
    items = planted(folder, **{f"_{number:02d}": {"hides": True} for number in range(COUNT)})
    gone = WorkItem(FileSource("gone.png", folder / "gone.png"), ("ours",))
    with engine_on(cluster, job) as engine:
        images = {image.id: image for batch in engine.run([gone, *items]) for image in batch}
    error = images.pop("gone.png").error
    assert error is not None
    assert error.code == "missing"
    assert all(same_rows(images[id_], here[id_]) for id_ in here)


def test_a_machine_with_another_extractor_ends_the_run_and_is_named(
    cluster: Any, job: Job, folder: Path
) -> None:
    other = {**job.specs["ours"], "weights": {"name": "random-seed-0", "sha256": "0" * 64}}
    wrong = replace(job, specs={**job.specs, "ours": other})
    with engine_on(cluster, wrong) as engine, pytest.raises(SpecMismatchError) as caught:
        list(engine.run(planted(folder)))
    assert str(caught.value).startswith("on ")
    assert [line.split(":")[0] for line in caught.value.difference] == ["weights.sha256"]


def test_a_machine_with_another_version_is_refused_by_name() -> None:
    with pytest.raises(SpecMismatchError, match="ward-7 has another cxrfeat") as caught:
        ray_engine._require_our_version(Node("1", "ward-7", 8, 0), {"cxrfeat": "0.0.1"})
    assert caught.value.difference == [f"cxrfeat: {cxrfeat.__version__} here, 0.0.1 there"]


def test_machines_that_differ_all_stand_in_the_environment() -> None:
    old, new = {"processor": "A", "torch": "2"}, {"processor": "B", "torch": "2"}
    assert ray_engine._together([old, new]) == {"processor": "A | B", "torch": "2"}
