"""Cells of maps in a picture: nothing is lost, and everything is where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evidence import (
    OUTSIDE_AREA,
    EvidenceMap,
    Grid,
    added,
    density,
    peak,
    share_outside,
)

VGG16 = Grid(side=224, cells=7, start=15.5, step=32.0)
RESNET50 = Grid(side=224, cells=7, start=0.0, step=32.0)
STAGE = Grid(side=224, cells=56, start=1.5, step=4.0)


def one_cell(grid: Grid, row: int, column: int) -> EvidenceMap:
    values = np.zeros((grid.cells, grid.cells))
    values[row, column] = 1.0
    return EvidenceMap(values, grid)


@pytest.mark.parametrize(("grid", "centre"), [(VGG16, 2.5 / 7), (RESNET50, 64.5 / 224)])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (1000, 700), (90, 333)])
def test_a_cell_is_drawn_where_it_looks_in_a_picture_of_any_shape(
    grid: Grid, centre: float, height: int, width: int
) -> None:
    found = peak(density([one_cell(grid, 5, 2)], height, width))
    assert found is not None
    x, y = found
    assert (x + 0.5) / width == pytest.approx(centre, abs=0.6 / width)
    assert (y + 0.5) / height == pytest.approx(centre + 3 * 32 / 224, abs=0.6 / height)


def test_what_is_drawn_integrates_to_the_value_of_the_cell() -> None:
    drawn = density([one_cell(VGG16, 3, 3)], 300, 200)
    assert drawn.mean() == pytest.approx(1.0, rel=1e-3)


def test_maps_on_different_grids_add_up_and_keep_their_sum() -> None:
    rng = np.random.default_rng(0)
    maps = [EvidenceMap(rng.normal(size=(g.cells, g.cells)), g) for g in (VGG16, RESNET50, STAGE)]
    total = added(maps)
    assert total.shape == (56, 56)
    assert total.sum() == pytest.approx(sum(m.values.sum() for m in maps), abs=1e-9)
    np.testing.assert_allclose(added(maps[:1]), maps[0].values)


def test_even_evidence_lies_outside_the_centre_by_area() -> None:
    even = EvidenceMap(np.ones((7, 7)), VGG16)
    assert share_outside([even]) == pytest.approx(OUTSIDE_AREA)


def test_only_evidence_for_the_class_counts_as_outside_or_inside() -> None:
    middle, corner = one_cell(STAGE, 28, 28), one_cell(STAGE, 0, 55)
    assert share_outside([middle]) == pytest.approx(0.0)
    assert share_outside([corner]) == pytest.approx(1.0)
    assert share_outside([middle, corner]) == pytest.approx(0.5)
    against = EvidenceMap(-corner.values, STAGE)
    assert share_outside([middle, against]) == pytest.approx(0.0)
    assert share_outside([against]) is None
    assert peak(density([against], 100, 100)) is None
