"""Strengths of waves stay as they are where a picture is moved, mirrored or changed in contrast."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.audit.spectra import LOWEST, spectra
from tests.evaluation.audit.made_copies import pictures


def test_a_picture_and_its_mirror_image_are_the_same() -> None:
    small = pictures(5)
    np.testing.assert_allclose(spectra(small[:, :, ::-1]), spectra(small), atol=1e-3)


def test_another_contrast_changes_little_and_another_picture_much() -> None:
    small = pictures(5)
    other = np.round(40 + 0.5 * small).astype(np.uint8)
    found, away = spectra(small), spectra(other) - spectra(small)
    apart = np.linalg.norm(found[1:] - found[:-1], axis=1)
    assert np.linalg.norm(away, axis=1).max() < 0.3 * apart.min()


@pytest.mark.parametrize("grey", [0, 128])
def test_a_blank_picture_has_none(grey: int) -> None:
    found = spectra(np.full((2, 32, 32), grey, dtype=np.uint8))
    assert found.shape == (2, LOWEST**2)
    assert np.ptp(found) == 0
