"""Labels as text: the names that hold, joined by a bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def label_texts(classes: Sequence[str], held: npt.NDArray[np.bool_]) -> list[str]:
    """Write the labels of each image, "" where none holds.

    Parameters
    ----------
    classes
        Names of the K labels.
    held : ndarray of bool, shape (n, K)

    Returns
    -------
    list of str, length n
    """
    if not held.size:
        return [""] * len(held)
    # A hundred thousand images have a few hundred different rows: only these are written.
    packed = np.ascontiguousarray(np.packbits(held, axis=1))
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, which = np.unique(rows, return_index=True, return_inverse=True)
    texts = [
        "|".join(name for name, one in zip(classes, row, strict=True) if one) for row in held[first]
    ]
    return np.array(texts, dtype=object)[which].tolist()
