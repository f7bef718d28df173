"""The drain: whatever order images come in, and however often, the file is the same."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import cxrfeat
import cxrfeat.commands.extract as extract_module
from cxrfeat.arrays import Matrix32
from cxrfeat.extraction.drain import Progress, Target, drain
from cxrfeat.extraction.job import ComputedImage
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.plan import Work, WorkItem, plan
from cxrfeat.extraction.sources import FileSource, Stamp

SMALL = {"weights": ["random"], "image_size": 32, "device": "cpu"}
BACKBONES = ["squeezenet1_1", "squeezenet1_0"]
NUMBERS = ("embeddings", "sha256", "status", "stat", "checksum", "environment")


class Shuffling(LocalEngine):
    """Hands images over in any order, some of them twice, in batches of any size."""

    def run(self, items: Sequence[WorkItem]) -> Generator[list[ComputedImage]]:
        images = [image for batch in super().run(items) for image in batch]
        rng = random.Random(0)
        images += rng.sample(images, 9)
        rng.shuffle(images)
        while images:
            size = rng.randint(1, 6)
            yield [images.pop() for _ in range(min(size, len(images)))]


def content(path: Path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        texts = {name: repr(file[name].asstr()[:].tolist()).encode() for name in ("id", "error")}
        return {name: file[name][...].tobytes() for name in NUMBERS} | texts


def test_a_shuffling_engine_that_repeats_itself_makes_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "images" / "7.png").write_bytes(b"no picture")
    told: list[Progress] = []
    cxrfeat.extract(tmp_path / "images", backbone=BACKBONES, out=tmp_path / "plain", **SMALL)
    monkeypatch.setattr(extract_module, "LocalEngine", Shuffling)
    result = cxrfeat.extract(
        *(tmp_path / "images",), backbone=BACKBONES, out=tmp_path / "shuffled",
        progress=told.append, **SMALL,
    )  # fmt: skip
    assert (result.read, told[-1]) == (24, Progress(24, 24, 1))
    assert [file.computed for file in result.files] == [23, 23]
    for file in result.files:
        assert content(file.path) == content(tmp_path / "plain" / file.path.name)
        assert cxrfeat.verify(file.path).sound


class Recorded:
    """A sink that remembers what was done with it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    def write(
        self,
        ids: Sequence[str],
        vectors: Matrix32,
        sha256: Sequence[str],
        stats: Sequence[tuple[int, int]] | None = None,
    ) -> Sequence[str]:
        self.done.append(("write", *ids))
        return ()

    def fail(
        self,
        id: str,
        code: str,
        reason: str,
        sha256: str = "",
        stat: tuple[int, int] | None = None,
    ) -> None:
        self.done.append(("fail", id, code))

    def commit(self) -> None:
        self.done.append(("commit",))


class Scripted:
    """Hands over given rows of one extractor, and tells whether it was closed."""

    def __init__(self, *batches: dict[str, float]) -> None:
        self.batches = batches
        self.closed = False

    def run(self, items: Sequence[WorkItem]) -> Generator[list[ComputedImage]]:
        try:
            for batch in self.batches:
                yield [
                    ComputedImage(id_, Stamp(1, 1), "0" * 64, {"e": np.full(3, value, np.float32)})
                    for id_, value in batch.items()
                ]
        finally:
            self.closed = True


def work(*ids: str) -> Work:
    return plan({id_: FileSource(id_, Path(id_)) for id_ in ids}, {"e": ids})


def test_every_batch_is_committed_before_the_next_and_known_images_are_passed_over() -> None:
    sink, told = Recorded(), []
    engine = Scripted({"b": 1, "c": np.nan}, {"b": 2, "a": 3, "unasked": 4})
    target = Target("e", "fp32", sink)
    done = drain(engine, work("a", "b", "c"), [target], progress=told.append)
    assert sink.done == [
        *(("fail", "c", "not-finite"), ("write", "b"), ("commit",), ("write", "a"), ("commit",)),
    ]
    assert told == [Progress(2, 3, 1), Progress(3, 3, 1)]
    assert (done.read, done.failed, target.computed, target.failed) == (3, 1, 2, {"c"})


def test_too_many_failures_close_the_engine() -> None:
    engine = Scripted({"a": np.inf}, {"b": 1})
    done = drain(engine, work("a", "b"), [Target("e", "fp32", Recorded())], max_failures=0)
    assert (done.read, done.stopped_early, engine.closed) == (1, True, True)


def test_an_interruption_closes_the_engine_before_the_files_are() -> None:
    engine = Scripted({"a": 1}, {"b": 1})

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drain(engine, work("a", "b"), [Target("e", "fp32", Recorded())], progress=interrupt)
    assert engine.closed


def test_where_nothing_is_lacking_the_engine_is_not_asked() -> None:
    class Never:
        def run(self, items: Sequence[WorkItem]) -> Generator[list[ComputedImage]]:
            raise AssertionError("asked")

    assert drain(Never(), work(), [Target("e", "fp32", Recorded())]).read == 0
