"""A job computes the same bits wherever it is opened, or is refused there."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrfeat import features
from cxrfeat.errors import ImageError, SpecMismatchError
from cxrfeat.extraction.job import ComputedImage, ExtractorOptions, Job, NamedExtractor
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.plan import WorkItem, plan
from cxrfeat.extraction.sources import FileSource, Stamp
from cxrfeat.images import ReadingOptions

SMALL = ExtractorOptions(
    "squeezenet1_1", features.WeightsChoice("random"), image_size=32, device="cpu"
)


@dataclass(frozen=True)
class Stored:
    """An image that is no file: what an archive or an object store would give."""

    id: str
    data: bytes

    def stamp(self) -> Stamp | None:
        return Stamp(len(self.data), 1)

    def read(self, limit: int) -> bytes:
        if not self.data:
            raise ImageError("missing", "there is no such object")
        return self.data

    def sha256(self) -> str:
        raise AssertionError("nothing asks for it here")


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    drawn = []
    for number in range(5):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        drawn.append(buffer.getvalue())
    return drawn


@pytest.fixture(scope="module")
def job() -> Job:
    reading = replace(ReadingOptions(), guess_bits=False)
    both = {"ours": SMALL, "largest": replace(SMALL, pooling="max", runtime="torch")}
    named = [NamedExtractor(name, one, one.prepare()) for name, one in both.items()]
    return Job.of(named, reading)


def computed(job: Job, items: Sequence[WorkItem]) -> dict[str, ComputedImage]:
    engine = LocalEngine(job.open(), batch_size=2, workers=2)
    return {image.id: image for batch in engine.run(items) for image in batch}


def test_a_fresh_process_computes_the_same_bits(
    job: Job, pictures: list[bytes], tmp_path: Path
) -> None:
    sources = {}
    for number, data in enumerate([*pictures, b"no picture"]):
        sources[f"{number}.png"] = FileSource(f"{number}.png", tmp_path / f"{number}.png")
        sources[f"{number}.png"].path.write_bytes(data)
    ids = [*sources]
    items = plan(sources, {"ours": ids, "largest": ids[2:]})
    here = computed(job, items)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        there = pool.submit(computed, job, items).result()
    assert list(there) == list(here) == ids
    for item in items:
        one, other = here[item.source.id], there[item.source.id]
        assert (one.stamp, one.sha256, str(one.error)) == (
            *(other.stamp, other.sha256, str(other.error)),
        )
        expected = set() if item.source.id == "5.png" else set(item.lacking)
        assert one.rows.keys() == other.rows.keys() == expected
        for name, row in one.rows.items():
            assert row.tobytes() == other.rows[name].tobytes()
    assert here["5.png"].error is not None


def test_images_that_are_no_files_have_the_same_rows(
    job: Job, pictures: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "0.png").write_bytes(pictures[0])
    stored = {"0.png": Stored("0.png", pictures[0]), "gone.png": Stored("gone.png", b"")}
    everything = {name: ["0.png", "gone.png"] for name in job.extractors}
    ours = computed(job, plan(stored, everything))
    of_files = {"0.png": FileSource("0.png", tmp_path / "0.png")}
    file = computed(job, plan(of_files, everything))["0.png"]
    assert ours["0.png"].sha256 == file.sha256
    assert ours["0.png"].stamp == Stamp(len(pictures[0]), 1)
    for name in job.extractors:
        np.testing.assert_array_equal(ours["0.png"].rows[name], file.rows[name])
    error = ours["gone.png"].error
    assert error is not None
    assert error.code == "missing"


def test_networks_that_are_open_here_are_not_opened_again(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractors = job.open().extractors
    monkeypatch.setattr(ExtractorOptions, "prepare", lambda self: pytest.fail("opened again"))
    assert job.open(extractors).extractors == extractors


def test_a_machine_with_other_weights_is_refused(job: Job) -> None:
    spec = {**job.specs["ours"], "weights": {"name": "random-seed-0", "sha256": "0" * 64}}
    with pytest.raises(SpecMismatchError, match="ours as it opens on this machine") as caught:
        replace(job, specs={**job.specs, "ours": spec}).open()
    assert [line.split(":")[0] for line in caught.value.difference] == ["weights.sha256"]
