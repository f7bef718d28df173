"""Small pictures as the strength of their waves: near for one that was moved, cut or mirrored.

Moving a picture leaves the strength of its waves as it is, and mirroring gives the strength of a
wave to the one that runs the other way; of these two the mean of the logarithms is taken. Cutting a
tenth away makes waves a little longer. So an altered copy is among the nearest of its original,
whatever the network makes of it, and can be laid over it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from cxrfeat.arrays import Matrix32

LOWEST = 8
"""Waves along the height and along the width."""
WEAK = 2.0
"""Strength below which a wave is as good as none: eight bits of grey make some of 0.2 of pictures
with mean 0 and deviation 1."""
BLOCK = 2048


def spectra(small: npt.NDArray[np.uint8]) -> Matrix32:
    """Give the logarithm of the strength of the lowest waves.

    Parameters
    ----------
    small : ndarray of uint8, shape (n, S, S)

    Returns
    -------
    ndarray of float32, shape (n, 64)
    """
    side = small.shape[1]
    # The edges fade out: what is cut away at one of them makes no wave.
    fade = np.sin(np.pi * (np.arange(side, dtype=np.float32) + 0.5) / side) ** 2
    found = np.empty((len(small), LOWEST * LOWEST), dtype=np.float32)
    for start in range(0, len(small), BLOCK):
        grey = small[start : start + BLOCK].astype(np.float32)
        grey -= grey.mean(axis=(1, 2), keepdims=True)
        grey /= np.maximum(grey.std(axis=(1, 2), keepdims=True), 1e-3)
        waves = np.log(np.abs(fft.rfft2(grey * fade[:, None] * fade)) + WEAK)
        mirrored = waves[:, -np.arange(LOWEST), :LOWEST]
        found[start : start + BLOCK] = (waves[:, :LOWEST, :LOWEST] + mirrored).reshape(
            len(grey), -1
        )
    return found
