"""How well one small picture can be laid over another: copies that were cut or turned lie on top.

A picture is moved, scaled, turned and sheared a little (six numbers) until it correlates best with
the other; brightness, contrast and gamma do not matter, as grey values count by their ranks. The
search is that of Lucas and Kanade (1981) with the correlation of Evangelidis and Psarakis (2008) as
the aim, for many pairs at a time.

References
----------
Lucas BD, Kanade T. An iterative image registration technique with an application to stereo vision.
IJCAI 1981. Evangelidis GD, Psarakis EZ. Parametric image alignment using enhanced correlation
coefficient maximization. IEEE Transactions on Pattern Analysis and Machine Intelligence
2008;30:1858-1865.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers

STEPS, FIRST = 10, 3
"""Steps at most, and the first of them, on a quarter of the places; pairs that are then far from
alike are left."""
PROMISING = 0.9
"""Correlation after the first steps below which no copy lies."""
REACH = 0.2
"""Most that a number of the movement may be; a corner is at 1: a copy that is cut by a tenth."""
EDGE = 0.85
"""Share of the side that is compared: what lies at the edge of one may be cut away in the other."""
BLOCK = 32
"""Pairs at a time: what is worked on stays near the processor."""
FLAT = 1e-3
"""Standard deviation of the grey values below which a picture has nothing to be laid over."""

Small = npt.NDArray[np.uint8]


def aligned_correlation(small: Small, pairs: RowNumbers) -> Matrix:
    """Correlation of the two pictures of each pair, laid over each other, plain or mirrored.

    Parameters
    ----------
    small : ndarray of uint8, shape (N, S, S)
    pairs : ndarray of int, shape (P, 2)

    Returns
    -------
    ndarray, shape (P,)
        At most 1; 0 where a picture is blank.
    """
    found = np.zeros(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        of = slice(start, start + BLOCK)
        a, b = (_grey(small[pairs[of, side]]) for side in (0, 1))
        found[of] = np.maximum(_best(a, b), _best(a, b[:, :, ::-1]))
    return found


def _grey(small: Small) -> Matrix32:
    """Give the share of a picture that is darker: gamma and contrast leave it as it is."""
    found = np.empty(small.shape, dtype=np.float32)
    for place, picture in enumerate(small):
        count = np.bincount(picture.ravel(), minlength=256)
        found[place] = ((np.cumsum(count) - count / 2) / picture.size)[picture]
    return found


def _best(fixed: Matrix32, moving: Matrix32) -> Matrix:
    """Correlation after at most `STEPS` steps, the best on the way."""
    count, side = fixed.shape[:2]
    basis, target = _places(fixed, side // 2)
    half = np.float32((side - 1) / 2)
    down, across = np.gradient(moving, axis=(1, 2))
    layers = np.stack([moving, half * across, half * down], axis=-1)
    p, best = np.zeros((count, 6), dtype=np.float32), np.zeros(count)
    kept = np.arange(count)
    for step in range(STEPS + 1):
        if step == FIRST:
            kept = np.flatnonzero(best >= PROMISING)
            if not len(kept):
                break
            layers = layers[kept]
            basis, target = _places(fixed[kept], side)
        # Places move to x + p0 + p1 x + p2 y and y + p3 + p4 x + p5 y.
        seen = _at(layers, basis[1] + p[kept, :3] @ basis, basis[2] + p[kept, 3:] @ basis)
        now, length = _standard(seen[..., 0])
        correlation = np.einsum("bn,bn->b", target, now)
        # Only what is measured in full counts.
        best[kept] = correlation if step <= FIRST else np.maximum(best[kept], correlation)
        slope = np.concatenate(
            [seen[:, None, :, 1] * basis, seen[:, None, :, 2] * basis, now[:, None]], axis=1
        )
        slope -= slope.mean(axis=2, keepdims=True)
        normal = slope @ slope.transpose(0, 2, 1)
        normal[:, range(7), range(7)] *= np.float32(1 + 1e-4)
        normal[:, range(7), range(7)] += np.float32(1e-6)
        rest = (target - now) * length
        move = np.linalg.solve(normal, slope @ rest[..., None])[..., 0]
        p[kept] = np.clip(p[kept] + move[:, :6], -REACH, REACH)
    return best


def _places(pictures: Matrix32, side: int) -> tuple[Matrix32, Matrix32]:
    """Places that are compared, as 1, x, y (3, n), and the pictures there, standardised."""
    place = np.linspace(-EDGE, EDGE, side, dtype=np.float32)
    y, x = (of.ravel() for of in np.meshgrid(place, place, indexing="ij"))
    grey = _at(pictures[..., None], x[None], y[None])[..., 0]
    return np.stack([np.ones_like(x), x, y]), _standard(grey)[0]


def _at(layers: Matrix32, x: Matrix32, y: Matrix32) -> Matrix32:
    """Values of layers (B, S, S, L) at places between -1 and 1, shape (B, n, L); bilinear.

    Outside is what is nearest inside.
    """
    count, side = layers.shape[:2]
    flat = layers.reshape(count * side * side, -1)
    column, row = (
        np.clip((of + 1) * np.float32((side - 1) / 2), 0, np.float32(side - 1.001)) for of in (x, y)
    )
    left, top = column.astype(np.intp), row.astype(np.intp)
    right, low = (column - left)[..., None], (row - top)[..., None]
    corner = np.arange(count)[:, None] * side**2 + top * side + left

    def along(corner: RowNumbers) -> Matrix32:
        one = flat.take(corner, axis=0)
        one += (flat.take(corner + 1, axis=0) - one) * right
        return one

    seen, lower = along(corner), along(corner + side)
    lower -= seen
    lower *= low
    seen += lower
    return seen


def _standard(grey: Matrix32) -> tuple[Matrix32, Matrix32]:
    """Mean 0 and length 1, zeros for what is blank; and the length before."""
    away = grey - grey.mean(axis=1, keepdims=True)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    seen = length > FLAT * np.sqrt(grey.shape[1])
    return np.divide(away, length, out=np.zeros_like(away), where=seen), length
