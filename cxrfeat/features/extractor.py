"""A frozen backbone, from its weights to pooled embeddings."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from cxrfeat import defaults
from cxrfeat.errors import InputError
from cxrfeat.evidence import Grid
from cxrfeat.features.description import Description
from cxrfeat.features.network.pooling import AVERAGED
from cxrfeat.features.runtimes import Runtime
from cxrfeat.features.runtimes.processor import processor

BATCH = defaults.BATCH_SIZE
"""Images at a time, at least: whole blocks on the CPU."""


class Extractor:
    """A frozen network that turns square grey images into embeddings.

    Made by `open_extractor`. Frozen means: evaluation mode, no gradients, and an embedding that
    depends on its own image alone, whatever else is in the batch.

    Attributes
    ----------
    backbone : str
        Name of the network.
    weights_name : str
        Name of its weights; begins with "random" for the control.
    dimension : int
        Length D of an embedding.
    image_size : int
        Side S of the images it takes, in pixels.
    framing : Framing
        What of a radiograph those images are.
    spec : dict
        What decides the meaning of the embeddings, but for how images are read.
    side_by_side : bool
        Whether images go through one at a time, each on a core of its own, so that several
        threads may call it at once; otherwise a batch takes all cores or an accelerator.
    batch : int
        Images in a call that keep it busy; more are not faster.
    at_once : int
        Calls, each from a thread of its own, that keep it busy.
    pinned : bool
        Pictures in `features.batch_memory` that is pinned get to it without being copied before.
    notes : tuple of str
        What its user should know about how it runs.
    """

    def __init__(self, description: Description, runtime: Runtime, device: str) -> None:
        self.description = description
        self.backbone = description.backbone
        self.weights_name = description.weights_name
        self.image_size = description.image_size
        self.framing = description.framing
        self.dimension = description.dimension
        self.spec = description.spec
        self.notes = description.notes
        self.side_by_side = runtime.side_by_side
        self.batch = max(BATCH, runtime.batch)
        self.at_once = runtime.at_once
        self.pinned = runtime.pinned
        self._runtime = runtime
        self._device = device

    @property
    def runtime(self) -> str:
        """The option of `open_extractor` that gives this very runtime again, and so the same bits.

        With torch on a CPU the last bits depend on the number of its threads as well.
        """
        return self._runtime.choice

    @property
    def is_control(self) -> bool:
        """Whether the weights are random: a control, not a pretrained extractor."""
        return self.description.is_control

    def __repr__(self) -> str:
        return (
            f"Extractor({self.backbone}, weights={self.weights_name}, "
            f"pooling={self.spec['pooling']}, "
            f"{self.image_size} px -> {self.dimension}, {self._runtime.name})"
        )

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Embed a batch of images.

        Parameters
        ----------
        images : ndarray of float32, shape (B, S, S)
            Grey values in [0, 1], bone bright, S = `image_size`.

        Returns
        -------
        ndarray of float32, shape (B, D)
            The same bits for an image whatever batch it is in, on one machine and runtime.
        """
        if not len(images):
            return np.empty((0, self.dimension), np.float32)
        return self._runtime(self._checked(images))

    def with_maps(
        self, images: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
        """Embed a batch, and return the maps that these very embeddings are pooled from.

        Parameters
        ----------
        images : ndarray of float32, shape (B, S, S), B at least 1

        Returns
        -------
        embeddings : ndarray of float32, shape (B, D)
            To the bit what calling the extractor gives.
        maps : list of ndarray of float32, shapes (B, C, H, W)
            One for each that is pooled: the final map, or with pooling "multi" that of every
            stage. A network that classifies from a token gives one of shape (B, C).
        """
        return self._runtime.with_maps(self._checked(images))

    def _checked(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if images.ndim != 3 or images.shape[1:] != (self.image_size, self.image_size):
            raise InputError(
                f"{self.backbone} takes images of shape (B, {self.image_size}, {self.image_size}), "
                f"not {images.shape}"
            )
        return np.ascontiguousarray(images, np.float32)

    def grids(self) -> list[Grid] | None:
        """Say where in the picture the cells of each pooled map lie; None where they do not tell.

        That is so for poolings that do not average, and for networks without a (C, H, W) map.
        """
        if self.spec["pooling"] not in AVERAGED:
            return None
        from cxrfeat.features.network.receptive_field import grids, structure  # imports torch

        channels = len(self.spec["preprocessing"]["mean"])
        network = structure(self.backbone, self.image_size, self.spec["pooling"], channels)
        return grids(network, self.image_size, channels)

    def environment(self) -> dict[str, str]:
        """Return the versions that a reader may want to know, but that decide nothing."""
        threads = self._runtime.threads
        return {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": processor(),
            "torch": version("torch"),
            "torchvision": version("torchvision"),
            "runtime": self._runtime.name,
            **({} if threads is None else {"threads": str(threads)}),
        }


def embed_each(
    extractors: Sequence[Extractor], images: npt.NDArray[np.float32]
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield what each extractor makes of a batch; to an accelerator the pictures are sent once.

    Parameters
    ----------
    extractors
        Of one framing, on one device.
    images : ndarray of float32, shape (B, S, S)
    """
    if len(extractors) > 1 and all(one.at_once > 1 for one in extractors):
        from cxrfeat.features.runtimes.accelerator_runtime import Accelerator, rows_of_each

        runtimes = [one._runtime for one in extractors if isinstance(one._runtime, Accelerator)]
        yield from rows_of_each(runtimes, extractors[0]._checked(images))
    else:
        for one in extractors:
            yield one(images)


def batch_memory(shape: tuple[int, ...], *, pinned: bool) -> npt.NDArray[np.float32]:
    """Give memory for a batch; pinned, so that an accelerator fetches from it by itself.

    Parameters
    ----------
    shape
    pinned
        As `Extractor.pinned` says; needs a CUDA device.
    """
    if not pinned:
        return np.empty(shape, np.float32)
    import torch

    memory: npt.NDArray[np.float32] = torch.zeros(shape, pin_memory=True).numpy()
    return memory
