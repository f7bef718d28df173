"""Processes read what threads read, for networks that take several calls at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrfeat.errors import InputError
from cxrfeat.extraction.job import OpenJob
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.plan import plan
from cxrfeat.extraction.reading_processes import read_in_processes
from cxrfeat.extraction.sources import FileSource
from cxrfeat.features import Extractor, WeightsChoice, open_extractor
from cxrfeat.images import ReadingOptions


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return open_extractor(
        "squeezenet1_1", weights=WeightsChoice("random"), image_size=64, device="cpu",
        runtime="torch channels_last",
    )  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[FileSource]:
    folder = tmp_path_factory.mktemp("images")
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (folder / "07.png").write_bytes((folder / "07.png").read_bytes()[:200])
    return [FileSource(path.name, path) for path in sorted(folder.iterdir())]


def computed(extractor: Extractor, sources: list[FileSource]) -> list:
    engine = LocalEngine(OpenJob({"net": extractor}, ReadingOptions()), batch_size=6, workers=2)
    of_ids = {source.id: source for source in sources}
    items = plan(of_ids, {"net": of_ids})
    found = [image for batch in engine.run(items) for image in batch]
    assert engine.seconds["reading"] > 0
    return found


def test_processes_give_the_rows_and_failures_of_threads_in_order(
    extractor, sources, monkeypatch
) -> None:
    in_threads = computed(extractor, sources)
    monkeypatch.setattr(extractor, "at_once", 2)
    in_processes = computed(extractor, sources)
    assert [image.id for image in in_processes] == [source.id for source in sources]
    for one, other in zip(in_processes, in_threads, strict=True):
        assert (one.id, one.sha256, one.stamp, str(one.error)) == (
            other.id, other.sha256, other.stamp, str(other.error),
        )  # fmt: skip
        if one.id == "07.png":
            assert one.error is not None
        else:
            np.testing.assert_array_equal(one.rows["net"], other.rows["net"])


def told(numbers: list[int]) -> list[tuple[int, int]]:
    if 99 in numbers:
        os._exit(1)
    return [(number, os.getpid()) for number in numbers]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: set[int]) -> None:
    for _ in range(200):
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {[pid for pid in pids if alive(pid)]}")


def test_it_reads_no_more_than_it_was_allowed_and_leaves_no_process_behind() -> None:
    handed = []
    numbers = (handed.append(n) or n for n in range(1000))
    reads = read_in_processes(numbers, told, 2, together=8, ahead=16, held=0, key_bytes=0)
    (first, pid), *_ = next(reads)
    assert first == 0
    assert pid != os.getpid()
    assert len(handed) <= 16 + (2 + 1) * 8
    reads.close()  # the consumer stopped early
    wait_until_gone({pid})


def test_a_process_that_is_killed_by_an_image_ends_the_run_in_words() -> None:
    with pytest.raises(InputError, match=r"an image kills it.*--workers 1"):
        list(read_in_processes(range(200), told, 2, together=8, ahead=16, held=0, key_bytes=0))
