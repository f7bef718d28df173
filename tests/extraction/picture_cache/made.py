"""What tests of kept pictures share: pictures, networks that copy them, runs with and without."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrfeat import inputs
from cxrfeat.extraction.job import ComputedImage, OpenJob
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.picture_cache import PictureCache
from cxrfeat.extraction.plan import plan
from cxrfeat.extraction.sources import ImageSource, sources_of
from cxrfeat.framing import Framing
from cxrfeat.images import ReadingOptions

READING = ReadingOptions()
PLENTY = 10**12


class Copying:
    """A network whose embedding is the picture itself; `at_once` as one on an accelerator."""

    def __init__(self, size: int = 32, *, side_by_side: bool = True, at_once: int = 1) -> None:
        self.framing, self.batch = Framing(size), 8
        self.side_by_side, self.at_once, self.pinned = side_by_side, at_once, False

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(len(pictures), -1).copy()  # pictures are overwritten


def draw(path: Path, seed: int, mode: str = "L") -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (50, 60, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def computed(
    given: Path,
    cache: PictureCache | None = None,
    reading: ReadingOptions = READING,
    networks: dict[str, Any] | None = None,
) -> dict[str, ComputedImage]:
    networks = networks or {"net": Copying()}
    sources: dict[str, ImageSource] = dict(sources_of(inputs.find(given)).items())
    items = plan(sources, {name: list(sources) for name in networks})
    if cache is not None:
        cache.open(reading, {one.framing for one in networks.values()})
    engine = LocalEngine(OpenJob(networks, reading), batch_size=4, workers=2, cache=cache)
    return {one.id: one for batch in engine.run(items) for one in batch}


def with_cache(given: Path, folder: Path, limit: int = PLENTY, **how: Any) -> tuple[dict, list]:
    with PictureCache(folder, limit, how.pop("shard", None)) as cache:
        return computed(given, cache, **how), cache.notes


def assert_same(ours: dict[str, ComputedImage], exact: dict[str, ComputedImage]) -> None:
    assert {*ours} == {*exact}
    for id_, one in exact.items():
        told, other = (
            (each.stamp, each.sha256, each.warnings, str(each.error)) for each in (one, ours[id_])
        )
        assert told == other
        assert one.rows.keys() == ours[id_].rows.keys()
        for name, row in one.rows.items():
            np.testing.assert_array_equal(ours[id_].rows[name], row)


def files_of(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.h5"))


def wait_for_another_time(path: Path) -> None:
    """Let the file system's clock go on, which changes in steps."""
    probe = path.with_name("probe")
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        time.sleep(0.001)
        probe.chmod(0o600)
    probe.unlink()


NETWORKS = {
    "threads": lambda: Copying(),
    "batches": lambda: Copying(side_by_side=False),
    "processes": lambda: Copying(side_by_side=False, at_once=2),
}
