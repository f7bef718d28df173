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

TURNED_MARGIN = 0.2
"""A picture that correlates with the turned average of the others so much better than with the
upright one is probably turned."""

CROPPED_MARGIN = 0.2
"""The same for a part of the average, blown up to the whole, against the whole."""
CROPPED_TO = 0.7
"""Side of that part: in the middle, or in one of the four corners."""

EVEN = 0.04
"""A line of pixels whose grey varies no more than this, noise of compression included, is even."""
WIDE_BORDER = 0.05
"""A picture of which more than this share lies in even lines at its edges has a border."""

STRAIGHT, STRAIGHT_SHARE = 0.01, 0.75
"""A border ends on a straight line: what follows it begins no farther from one than this share of
the side, along this share of it."""

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


def border_share(pixels: _Floats) -> float:
    """Return which share of a picture lies in even lines at its edges that end on a straight line.

    Of whatever grey, and a little askew or not. Black beside a body is even, too, but ends where
    the body does: it is no border.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1].
    """
    top, bottom = _even_lines(pixels)
    inner = pixels[top : len(pixels) - bottom]
    if not len(inner):
        return 1.0
    left, right = _even_lines(inner.T)
    middle = pixels[:, left : pixels.shape[1] - right]
    height, width = pixels.shape
    height -= _straight(middle, top) + _straight(middle[::-1], bottom)
    width -= _straight(inner.T, left) + _straight(inner.T[::-1], right)
    return 1.0 - height * width / pixels.size


def _even_lines(pixels: _Floats) -> tuple[int, int]:
    """Count the even rows at the beginning and, of the others, at the end."""
    uneven = np.flatnonzero(pixels.max(axis=1) - pixels.min(axis=1) > EVEN)
    if not len(uneven):
        return len(pixels), 0
    return int(uneven[0]), len(pixels) - 1 - int(uneven[-1])


def _straight(pixels: _Floats, lines: int) -> int:
    """Return the number of even rows at the beginning, 0 where what follows begins on no line.

    The line goes through the medians of the outer thirds (Tukey's resistant line), so that what is
    as dark as the border here and there does not bend it.
    """
    if not lines:
        return 0
    away = np.abs(pixels - np.median(pixels[:lines])) > EVEN
    start = np.where(away.any(axis=0), away.argmax(axis=0), len(pixels))
    place = np.arange(len(start))
    third = -(-len(start) // 3)
    ends = (slice(0, third), slice(len(start) - third, None))
    (first, last), (low, high) = ([np.median(of[end]) for end in ends] for of in (place, start))
    off = start - (high - low) / max(last - first, 1) * place
    near = np.abs(off - np.median(off)) <= STRAIGHT * len(pixels)
    return lines if near.mean() >= STRAIGHT_SHARE else 0


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
    if len(small) < FEWEST_TO_COMPARE:
        return np.zeros(len(small), dtype=bool)
    return _correlation(small, _others(small)) < INVERTED_CORRELATION


def turned_against_the_rest(small: _Floats) -> npt.NDArray[np.intp]:
    """Tell which pictures are upright only after a turn, by correlation with the others' average.

    Negatives are not judged, and with few pictures nothing is said. A picture that is mirrored
    left to right is not seen: a chest is too symmetric.

    Parameters
    ----------
    small : ndarray of float32, shape (N, s, s)
        All pictures at one small size.

    Returns
    -------
    ndarray of int, shape (N,)
        0, 90, 180 or 270: degrees clockwise that make the picture upright.
    """
    if len(small) < FEWEST_TO_COMPARE:
        return np.zeros(len(small), dtype=np.intp)
    others = _others(small)
    # Turning a picture back is turning the average along with it.
    turns = np.stack(
        [_correlation(small, np.rot90(others, quarters, axes=(1, 2))) for quarters in range(4)]
    )
    best = turns.argmax(axis=0)
    sure = turns.max(axis=0) - turns[0] > TURNED_MARGIN
    judged = turns[0] >= INVERTED_CORRELATION
    return np.where(sure & judged, 90 * best, 0)


def cropped_against_the_rest(small: _Floats) -> npt.NDArray[np.bool_]:
    """Tell which pictures look like a part of the others, blown up.

    Each is correlated with the average of all others, and with five parts of it: the middle and
    the four corners. Turned pictures and negatives are not judged.

    Parameters
    ----------
    small : ndarray of float32, shape (N, s, s)
        All pictures at one small size.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    if len(small) < FEWEST_TO_COMPARE:
        return np.zeros(len(small), dtype=bool)
    others = _others(small)
    whole = _correlation(small, others)
    room = 1 - CROPPED_TO
    starts = [(room / 2, room / 2), (0, 0), (0, room), (room, 0), (room, room)]
    parts = np.stack([_correlation(small, _part(others, *start)) for start in starts])
    upright = (turned_against_the_rest(small) == 0) & (whole >= INVERTED_CORRELATION)
    return np.asarray((parts.max(axis=0) - whole > CROPPED_MARGIN) & upright)


def _part(pictures: npt.NDArray[np.float64], top: float, left: float) -> npt.NDArray[np.float64]:
    """Blow a part of square pictures up to the whole, bilinearly."""
    side = pictures.shape[1]
    places = (np.arange(side) + 0.5) * CROPPED_TO - 0.5
    rows, columns = (
        np.stack([np.interp(places + start * side, np.arange(side), one) for one in np.eye(side)])
        for start in (top, left)
    )
    blown: npt.NDArray[np.float64] = rows.T @ pictures @ columns
    return blown


def _others(small: _Floats) -> npt.NDArray[np.float64]:
    """Give the average of all other pictures, each normalised, up to a factor."""
    flat = _normalised(small)
    return (flat.sum(axis=0) - flat).reshape(small.shape)


def _correlation(
    first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Correlate pictures one by one, shape (N,)."""
    return np.asarray((_normalised(first) * _normalised(second)).sum(axis=1))


def _normalised(pictures: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return flat
