"""Where in a picture a score comes from: maps of evidence, and what follows from them.

A map has one value per cell of a grid over the square picture that a network gets. The whole
radiograph is resized to that square, so that a fraction of the square's width or height is the
same fraction of the radiograph's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix

CENTRAL = (0.1, 0.9)
"""The central region: this part of the width and of the height. A rough place where a chest
usually is, not a segmentation of the lungs."""

OUTSIDE_AREA = 1 - (CENTRAL[1] - CENTRAL[0]) ** 2
"""Share of the picture outside the central region: what evenly spread evidence would have."""

SPREAD = 0.75
"""Standard deviation with which a cell is drawn, in cells. A cell sees more than its own square,
the middle most [Luo et al., Understanding the effective receptive field, NIPS 2016], and what
lies between cells is shared among them; drawn wider than a cell, such shares meet in the middle."""


@dataclass(frozen=True)
class Grid:
    """Where the cells of a map lie; the same along both axes.

    Attributes
    ----------
    side : int
        Of the square picture, in pixels.
    cells : int
        Along a side.
    start, step : float
        Centre of the first cell and from each to the next, in pixels of the square; 0 is the
        middle of the first pixel.
    """

    side: int
    cells: int
    start: float
    step: float

    @property
    def centres(self) -> Matrix:
        """Centres of the cells as fractions of the side."""
        return (self.start + self.step * np.arange(self.cells) + 0.5) / self.side

    @property
    def borders(self) -> Matrix:
        """Where cells meet, half-way between centres, as fractions; the outer ones are 0 and 1."""
        between = (self.centres[1:] + self.centres[:-1]) / 2
        return np.concatenate([[0.0], np.clip(between, 0.0, 1.0), [1.0]])


@dataclass(frozen=True)
class EvidenceMap:
    """Evidence per cell, shape (cells, cells), rows from the top."""

    values: Matrix
    grid: Grid


def density(maps: Sequence[EvidenceMap], height: int, width: int) -> npt.NDArray[np.float32]:
    """Draw maps, added up, over a picture of any size and shape, shape (height, width).

    Every cell becomes a Gaussian around its centre whose integral is the cell's value.
    """
    total = np.zeros((height, width))
    for one in maps:
        rows, columns = (_gaussians(one.grid, size) for size in (height, width))
        total += rows @ one.values @ columns.T
    return total.astype(np.float32)


def added(maps: Sequence[EvidenceMap]) -> Matrix:
    """Add maps up on the finest of their grids; the sum over all cells stays the same."""
    finest = max((one.grid for one in maps), key=lambda grid: grid.cells)
    total = np.zeros((finest.cells, finest.cells))
    for one in maps:
        shares = _shares(one.grid, finest.borders)
        total += shares @ one.values @ shares.T
    return total


def peak(drawn: npt.NDArray[np.float32]) -> tuple[int, int] | None:
    """Return x and y of the largest positive value, in pixels from the upper left, if any."""
    if drawn.max() <= 0:
        return None
    y, x = np.unravel_index(int(np.argmax(drawn)), drawn.shape)
    return int(x), int(y)


def share_outside(maps: Sequence[EvidenceMap]) -> float | None:
    """Return the share of the evidence for the class that lies outside the central region.

    Evidence for the class is what is positive; None where nothing is. A cell that the border of
    the region cuts counts on both sides by its area.
    """
    finest = max((one.grid for one in maps), key=lambda grid: grid.cells)
    positive = np.maximum(added(maps), 0.0)
    inside = _shares(finest, np.array(CENTRAL))[0]
    total = float(positive.sum())
    return 1.0 - float(inside @ positive @ inside) / total if total > 0 else None


def _gaussians(grid: Grid, size: int) -> Matrix:
    """Values of each cell's Gaussian at the middles of `size` pixels, shape (size, cells)."""
    at = (np.arange(size) + 0.5) / size
    spread = SPREAD * grid.step / grid.side
    distance = (at[:, None] - grid.centres) / spread
    return np.asarray(np.exp(-0.5 * distance**2) / (spread * np.sqrt(2 * np.pi)))


def _shares(grid: Grid, borders: Matrix) -> Matrix:
    """Share of each cell's length between given borders, shape (len(borders) - 1, cells)."""
    low, high = grid.borders[:-1], grid.borders[1:]
    common = np.minimum(borders[1:, None], high) - np.maximum(borders[:-1, None], low)
    length = np.maximum(high - low, 1e-12)
    return np.asarray(np.clip(common, 0.0, None) / length)
