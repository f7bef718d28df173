"""Arrays by what they hold: one name for each, the same everywhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
"""Numbers to compute with: probabilities, scores, truth with NaN where unknown."""
Matrix32 = npt.NDArray[np.float32]
"""Embeddings of shape (n, D), and labels as they are stored."""
Vector32 = npt.NDArray[np.float32]
"""One embedding, shape (D,)."""
Picture = npt.NDArray[np.float32]
"""Shape (H, W), in [0, 1], bone bright."""
Pictures = npt.NDArray[np.float32]
"""Shape (n, S, S): as a network wants them."""
RowNumbers = npt.NDArray[np.intp]
"""Which rows of a matrix."""
Groups = npt.NDArray[np.str_] | None
"""The patient of each image; None where patients are not known."""
