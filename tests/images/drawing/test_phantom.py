"""Phantoms are repeatable, share anatomy within a patient, and differ by opacities only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrfeat.images import read_image
from cxrfeat.images.drawing.phantom import CLASSES, Anatomy, draw_phantom, write_phantoms
from cxrfeat.tables import read_table


def draw(label: str, patient: int = 0, image: int = 0) -> np.ndarray:
    anatomy = Anatomy.random(np.random.default_rng(patient))
    return draw_phantom(anatomy, label, np.random.default_rng(image), size=128)


@pytest.mark.parametrize("label", CLASSES)
def test_a_phantom_is_a_radiograph_with_bone_bright_and_lungs_dark(label: str) -> None:
    pixels = draw(label)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0.0
    assert pixels.max() <= 1.0
    spine, lung, air = pixels[75:85, 61:67], pixels[60:80, 30:40], pixels[60:80, :2]
    assert air.mean() < lung.mean() < spine.mean()


def test_images_of_a_patient_are_more_alike_than_images_of_two() -> None:
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(1 - np.corrcoef(a.ravel(), b.ravel())[0, 1])

    same = [distance(draw("clear", p, 2 * p), draw("clear", p, 2 * p + 1)) for p in range(12)]
    other = [distance(draw("clear", p, 2 * p), draw("clear", p + 1, 2 * p + 1)) for p in range(12)]
    assert np.mean(same) < np.mean(other)


def test_writing_gives_class_folders_and_a_table_with_patients(tmp_path: Path) -> None:
    table = read_table(write_phantoms(tmp_path, patients=6, images_per_patient=2, size=64))
    assert len(table["path"]) == 12
    assert sorted(set(table["label"])) == sorted(CLASSES)
    assert len(set(table["patient"])) == 6
    for path, label in zip(table["path"], table["label"], strict=True):
        assert path.startswith(label)
        assert read_image(tmp_path / path).pixels.shape == (64, 64)


def test_the_same_seed_draws_the_same_files(tmp_path: Path) -> None:
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_phantoms(tmp_path / folder, patients=1, images_per_patient=1, size=32, seed=seed)
    files = [next((tmp_path / f).rglob("*.png")).read_bytes() for f in "abc"]
    assert files[0] == files[1] != files[2]
