"""Networks on one accelerator get a batch of pictures once, and each gives what it gives alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrfeat.extraction.job import ComputedImage, OpenJob
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.plan import plan
from cxrfeat.extraction.sources import FileSource
from cxrfeat.features import Extractor, WeightsChoice, prepare_extractor
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.truncation import truncate
from cxrfeat.features.runtimes import accelerator_runtime
from cxrfeat.features.runtimes.accelerator_runtime import Accelerator, Lane
from cxrfeat.features.runtimes.recipe import Recipe
from cxrfeat.images import ReadingOptions

CPU = torch.device("cpu")


def on_accelerator(name: str, size: int) -> Extractor:
    """Open a network on an accelerator that computes on the CPU."""
    asked = {"weights": WeightsChoice("random"), "image_size": size, "device": "cpu"}
    module = truncate(build(name), size).module
    runtime = Accelerator(module, Recipe(size, (0.5,) * 3, (0.25,) * 3, "avg", "fp32"), CPU)
    return Extractor(prepare_extractor(name, **asked).description, runtime, "cpu")


@pytest.fixture
def extractors(monkeypatch) -> dict[str, Extractor]:
    monkeypatch.setattr(accelerator_runtime, "BLOCK", 2)
    return {
        "one": on_accelerator("squeezenet1_1", 64),
        "two": on_accelerator("squeezenet1_0", 64),
        "larger": on_accelerator("squeezenet1_1", 96),
    }


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, FileSource]:
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "07.png").write_bytes(b"none")
    return {path.name: FileSource(path.name, path) for path in sorted(tmp_path.iterdir())}


def computed(
    extractors: dict[str, Extractor], sources: dict[str, FileSource], lacking: dict[str, list[str]]
) -> list[ComputedImage]:
    engine = LocalEngine(OpenJob(extractors, ReadingOptions()), batch_size=8, workers=1)
    found = [image for batch in engine.run(plan(sources, lacking)) for image in batch]
    assert set(engine.seconds) == {"reading", *lacking}
    return found


def test_each_network_gives_what_it_gives_alone(extractors, sources, monkeypatch) -> None:
    ids = list(sources)
    lacking = {"one": ids, "two": ids[:8] + ids[9:], "larger": ids}
    alone = {
        name: {image.id: image for image in computed(extractors, sources, {name: some})}
        for name, some in lacking.items()
    }
    sent = []
    start = Lane.start_all
    monkeypatch.setattr(
        Lane,
        "start_all",
        lambda lane, images, others, **how: (
            sent.append((images.shape[1], len(images), 1 + len(others)))
            or start(lane, images, others, **how)
        ),
    )
    together = computed(extractors, sources, lacking)
    assert [image.id for image in together] == ids
    for image in together:
        expected = {name: found[image.id] for name, found in alone.items() if image.id in found}
        assert (image.error is not None) == (image.id == "07.png")
        assert set(image.rows) == (set() if image.error else set(expected))
        for name, row in image.rows.items():
            np.testing.assert_array_equal(row, expected[name].rows[name])
    # Of three batches, the second holds an image that one network has already.
    assert sorted(sent) == sorted(
        [(64, 7, 2), (64, 8, 1), (64, 7, 1), (64, 4, 2), (96, 7, 1), (96, 8, 1), (96, 4, 1)]
    )
