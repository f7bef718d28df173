"""A frozen backbone, from its weights to pooled embeddings."""

from __future__ import annotations

import gc
import platform
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from torch import fx

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.features.backbones import Input, check_name
from cxrfeat.features.pooling import POOLINGS, dimension
from cxrfeat.features.runtimes import PRECISIONS, RUNTIMES, Recipe, choose, fastest_batch, processor
from cxrfeat.features.truncate import Truncated, truncate, without_values
from cxrfeat.features.weights import WeightsChoice, load, require_all, tensors_sha256

# Raised when the same image would get another embedding than before.
PREPROCESSING_VERSION = 1

# Images at a time on the CPU, where more of them are not faster.
BATCH = 32

DEVICES = ("auto", "cpu", "cuda", "mps")


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
    spec : dict
        What decides the meaning of the embeddings, but for how images are read.
    side_by_side : bool
        Whether images go through one at a time, each on a core of its own, so that several
        threads may call it at once; otherwise a batch takes all cores or an accelerator.
    notes : tuple of str
        What its user should know about how it runs.
    """

    def __init__(
        self,
        *,
        backbone: str,
        weights_name: str,
        truncated: Truncated,
        expected: Input,
        pooling: str,
        precision: str,
        device: torch.device,
        runtime: str,
    ) -> None:
        self.backbone = backbone
        self.weights_name = weights_name
        self.image_size = expected.size
        self.dimension = dimension(truncated.shapes, pooling)
        sha256 = tensors_sha256(truncated.module)
        self.spec: dict[str, Any] = {
            "backbone": backbone,
            "layer": truncated.layers if len(truncated.layers) > 1 else truncated.layers[0],
            "pooling": pooling,
            "dimension": self.dimension,
            "weights": {"name": weights_name, "sha256": sha256},
            "preprocessing": {
                "version": PREPROCESSING_VERSION,
                "channels": "grey, repeated three times",
                "mean": list(expected.mean),
                "std": list(expected.std),
            },
            "precision": precision,
        }
        self._pooling = pooling
        self._device = device
        self._network = without_values(truncated.module)
        self._recipe = Recipe(expected.size, expected.mean, expected.std, pooling, precision)
        chosen = choose(
            truncated.module,
            self._recipe,
            backbone=backbone,
            tensors_sha256=sha256,
            device=device,
            asked=runtime,
        )
        self._runtime = chosen.runtime
        self.side_by_side = chosen.runtime.side_by_side
        self.notes = chosen.notes

    @property
    def is_control(self) -> bool:
        """Whether the weights are random: a control, not a pretrained extractor."""
        return self.weights_name.startswith("random")

    @property
    def network(self) -> fx.GraphModule:
        """The truncated network's structure in torch; its tensors lie on the meta device."""
        return self._network

    def __repr__(self) -> str:
        return (
            f"Extractor({self.backbone}, weights={self.weights_name}, pooling={self._pooling}, "
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

    def batch_size(self) -> int:
        """Return how many images to give at once: on an accelerator, what is fastest and fits."""
        if self._device.type == "cpu":
            return BATCH
        blank = np.zeros((1, self.image_size, self.image_size), np.float32)
        return fastest_batch(lambda size: self(np.repeat(blank, size, axis=0)))

    def environment(self) -> dict[str, str]:
        """Return the versions that a reader may want to know, but that decide nothing."""
        return {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": processor(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "runtime": self._runtime.name,
        }


def open_extractor(
    backbone: str,
    *,
    weights: WeightsChoice | None = None,
    pooling: str = "avg",
    image_size: int | None = None,
    precision: str = "fp32",
    device: str = "auto",
    runtime: str = "auto",
) -> Extractor:
    """Load a network, cut it off before its classifier, and freeze it.

    Parameters
    ----------
    backbone : str
        A torchvision classification network, or a packaged one; see `backbone_names`.
    weights : WeightsChoice, optional
        Default: the pinned ImageNet weights.
    pooling : str
        A key of `POOLINGS`.
    image_size : int, optional
        Side in pixels; default: what the weights were trained with.
    precision : str
        A key of `PRECISIONS`.
    device : str
        "auto", "cpu", "cuda" or "mps".
    runtime : str
        "auto", "torch" or "ncnn": what runs the network on the CPU.

    Raises
    ------
    MissingExtraError
        For ncnn without the extra ``cpu``.
    UnknownNameError, InputError
        For names we do not have, or a size or precision that cannot be used.
    WeightsError
        For weights that are missing, damaged or of another network.
    """
    check_name(backbone)
    for what, name, known in (
        ("pooling", pooling, POOLINGS),
        ("precision", precision, PRECISIONS),
        ("device", device, DEVICES),
        ("runtime", runtime, RUNTIMES),
    ):
        if name not in known:
            raise UnknownNameError(what, name, known)
    place = choose_device(device)
    if precision == "fp16" and place.type == "cpu":
        raise InputError("precision fp16 needs a GPU: use --precision bf16 or fp32 on the CPU")
    loaded = load(backbone, weights or WeightsChoice())
    expected = loaded.input
    if image_size is not None:
        if image_size < 32:
            raise InputError(f"image size {image_size} is too small: use 32 pixels or more")
        expected = Input(image_size, expected.mean, expected.std)
    truncated = truncate(loaded.network, expected.size, stages=pooling == "multi")
    require_all(loaded, truncated.module)
    weights_name = loaded.name
    # The classifier, half a gigabyte of VGG's, has to go before the runtime takes its memory; what
    # traced the network still refers to it in a circle.
    del loaded
    gc.collect()
    return Extractor(
        backbone=backbone,
        weights_name=weights_name,
        truncated=truncated,
        expected=expected,
        pooling=pooling,
        precision=precision,
        device=place,
        runtime=runtime,
    )


def choose_device(device: str) -> torch.device:
    """Turn ``--device`` into a torch device; "auto" takes CUDA, then Apple's GPU, then the CPU.

    Raises
    ------
    InputError
        If the named device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise InputError(f"device '{device}' is not available here: use --device auto or cpu")
    return torch.device(device)
