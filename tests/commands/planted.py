"""Synthetic radiographs whose class is a bright square at a random place: the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cxrfeat.images.drawing.phantom import CLASSES, Anatomy, draw_phantom

SIZE = 256
SIDE = round(SIZE / 6)
"""Of the square, in pixels: about that of a side marker or a large lesion."""


def plant(folder: Path, n: int, *, seed: int, planted: bool) -> dict[str, tuple[int, int]]:
    """Write n synthetic radiographs, every one of another patient.

    Returns
    -------
    dict of str to tuple of int
        x and y of the square's upper left corner by file name; also where none was planted.
    """
    folder.mkdir(parents=True)
    corners = {}
    for number in range(n):
        rng = np.random.default_rng((seed, number))
        pixels = draw_phantom(Anatomy.random(rng), CLASSES[number % 3], rng, SIZE)
        x, y = (int(v) for v in rng.integers(0, SIZE - SIDE + 1, size=2))
        if planted:
            pixels[y : y + SIDE, x : x + SIDE] = 1.0
        name = f"synthetic-{seed}-{number:03d}.png"
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(folder / name)
        corners[name] = (x, y)
    return corners
