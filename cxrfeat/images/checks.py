"""What a person should look at: pictures that are probably not what they should be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float32]

CONSTANT_SPREAD = 1e-3
"""A picture whose grey varies less than this is constant."""

EMPTY_SHARE = 0.9
"""A picture of which more than this share is black or white is nearly empty."""

ODD_ASPECT = 1.6
"""Chest films are at most a little longer than wide; beyond this the square distorts a lot."""

INVERTED_CORRELATION = -0.3
"""A picture that correlates with the average of the others below this is probably inverted."""

FEWEST_TO_COMPARE = 8


def picture_warnings(pixels: _Floats) -> tuple[str, ...]:
    """Return what is odd about one picture.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1].

    Returns
    -------
    tuple of str
        Of ``constant``, ``nearly empty`` and ``odd aspect``.
    """
    warnings = []
    black_or_white = np.mean((pixels < 0.02) | (pixels > 0.98))
    if float(np.std(pixels)) < CONSTANT_SPREAD:
        warnings.append("constant")
    elif black_or_white > EMPTY_SHARE:
        warnings.append("nearly empty")
    height, width = pixels.shape
    if max(height, width) / min(height, width) > ODD_ASPECT:
        warnings.append("odd aspect")
    return tuple(warnings)


def inverted_against_the_rest(small: _Floats) -> npt.NDArray[np.bool_]:
    """Tell which pictures look like negatives of the others.

    Each is correlated with the average of all others; chest films correlate with their average,
    a negative does so with the opposite sign. With few pictures nothing is said.

    Parameters
    ----------
    small : ndarray of float32, shape (N, h, w)
        All pictures at one small size.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    count = len(small)
    if count < FEWEST_TO_COMPARE:
        return np.zeros(count, dtype=bool)
    flat = small.reshape(count, -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    others = flat.sum(axis=0) - flat
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-9)
    return np.asarray((flat * others).sum(axis=1) < INVERTED_CORRELATION)
