"""What stands around the network: how grey images become its input, and its maps embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32, Pictures

Maps = list[npt.NDArray[np.float32]]

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
RUNTIMES = ("auto", "torch", "ncnn", "openvino")
LAYOUTS = ("NCHW", "channels_last")
"""How activations lie in memory with torch; on a CPU either may be the fast one."""
OPENVINO_WINOGRAD = "openvino winograd"
"""OpenVINO with the 3 x 3 convolutions by Winograd's filtering, see `winograd`."""
EXACT_RUNTIMES = (*(f"torch {layout}" for layout in LAYOUTS), OPENVINO_WINOGRAD)
"""What else may have been chosen on a CPU, for those who want the same bits elsewhere."""


@dataclass(frozen=True)
class Recipe:
    """Preprocessing, pooling and precision of an extractor.

    Attributes
    ----------
    size : int
        Side S of the images, in pixels.
    mean, std : tuple of float
        One for each channel, of pixels in [0, 1].
    pooling : str
        A key of `POOLINGS`.
    precision : str
        One of `PRECISIONS`.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pooling: str
    precision: str

    @property
    def channels(self) -> int:
        """How many channels C the network takes."""
        return len(self.mean)

    def normalise(self, images: Pictures) -> npt.NDArray[np.float32]:
        """Turn grey images (B, S, S) into what the network takes, (B, C, S, S)."""
        shape = (1, self.channels, 1, 1)
        mean = np.asarray(self.mean, dtype=np.float32).reshape(shape)
        std = np.asarray(self.std, dtype=np.float32).reshape(shape)
        normalised: npt.NDArray[np.float32] = (images[:, None] - mean) / std
        return normalised

    def centre(self, images: Pictures) -> npt.NDArray[np.float32]:
        """Turn grey images (B, S, S) into one channel near those of `normalise`, (B, 1, S, S)."""
        mean, std = np.float32(np.mean(self.mean)), np.float32(np.mean(self.std))
        centred: npt.NDArray[np.float32] = (images[:, None] - mean) / std
        return centred

    def of_centred(self) -> tuple[list[float], list[float]]:
        """Return by what `centre` is to be multiplied for each channel, and what to be added."""
        mean, std = np.mean(self.mean), np.mean(self.std)
        scales = [float(std / each) for each in self.std]
        shifts = [float((mean - m) / s) for m, s in zip(self.mean, self.std, strict=True)]
        return scales, shifts


class Runtime(Protocol):
    """Runs one frozen network on grey images.

    Attributes
    ----------
    name : str
        With the version, for the file's environment.
    choice : str
        One of `RUNTIMES` or `EXACT_RUNTIMES`, which gives this one again, whatever is the fastest.
    side_by_side : bool
        An image at a time on one core, several images at once; otherwise a batch on all cores.
    batch : int
        Images in a call that keep it busy; more are not faster.
    at_once : int
        Calls, each from a thread of its own, that keep it busy.
    pinned : bool
        Pictures in page-locked memory get to it without being copied before.
    threads : int or None
        Threads that work on one image, where another number of them rounds differently.
    """

    name: str
    choice: str
    side_by_side: bool
    batch: int
    at_once: int
    pinned: bool

    @property
    def threads(self) -> int | None:
        """Threads that work on one image, where their number makes a difference."""
        ...

    def __call__(self, images: Pictures) -> Matrix32:
        """Embed grey images (B, S, S): float32 rows (B, D), the same bits in any batch."""
        ...

    def with_maps(self, images: Pictures) -> tuple[Matrix32, Maps]:
        """Return the same rows, and the maps that they are pooled from, (B, C, H, W) each."""
        ...
