"""A frozen backbone, from its weights to pooled embeddings."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrfeat.cores import available_cores
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evidence import Grid
from cxrfeat.features import kept
from cxrfeat.features.backbones import PACKAGED, check_name
from cxrfeat.features.description import Description
from cxrfeat.features.devices import DEVICES, device_type
from cxrfeat.features.locating import Source, WeightsChoice, file_sha256, find
from cxrfeat.features.pooling import AVERAGED, POOLINGS
from cxrfeat.features.runtimes import PRECISIONS, RUNTIMES, Recipe, Runtime, converted
from cxrfeat.features.runtimes.processor import processor
from cxrfeat.features.runtimes.side_by_side import Ncnn

# Images at a time on the CPU, where more of them are not faster.
BATCH = 32


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

    def __init__(self, description: Description, runtime: Runtime, device: str) -> None:
        self.description = description
        self.backbone = description.backbone
        self.weights_name = description.weights_name
        self.image_size = description.image_size
        self.dimension = description.dimension
        self.spec = description.spec
        self.notes = description.notes
        self.side_by_side = runtime.side_by_side
        self._runtime = runtime
        self._device = device

    @property
    def is_control(self) -> bool:
        """Whether the weights are random: a control, not a pretrained extractor."""
        return self.weights_name.startswith("random")

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

    def batch_size(self) -> int:
        """Return how many images to give at once: on an accelerator, what is fastest and fits."""
        if self._device == "cpu":
            return BATCH
        from cxrfeat.features.runtimes.measuring import fastest_batch

        blank = np.zeros((1, self.image_size, self.image_size), np.float32)
        return fastest_batch(lambda size: self(np.repeat(blank, size, axis=0)))

    def grids(self) -> list[Grid] | None:
        """Say where in the picture the cells of each pooled map lie; None where they do not tell.

        That is so for poolings that do not average, and for networks without a (C, H, W) map.
        """
        if self.spec["pooling"] not in AVERAGED:
            return None
        from cxrfeat.features.maps import grids, structure  # imports torch

        network = structure(self.backbone, self.image_size, self.spec["pooling"])
        return grids(network, self.image_size)

    def environment(self) -> dict[str, str]:
        """Return the versions that a reader may want to know, but that decide nothing."""
        return {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": processor(),
            "torch": version("torch"),
            "torchvision": version("torchvision"),
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

    Notes
    -----
    Where ncnn runs a network, what it runs is kept, and so is what stands in the spec. Opening it
    again checks the sha256 of the weights file and of what is kept, and needs no torch, whose
    import takes seconds.
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
    if image_size is not None and image_size < 32:
        raise InputError(f"image size {image_size} is too small: use 32 pixels or more")
    place = device_type(device)
    if precision == "fp16" and place == "cpu":
        raise InputError("precision fp16 needs a GPU: use --precision bf16 or fp32 on the CPU")
    source = find(backbone, weights or WeightsChoice())
    given = source.input
    recipe = Recipe(image_size or given.size, given.mean, given.std, pooling, precision)
    path = _kept_at(backbone, source, recipe, runtime)
    if place == "cpu" and (known_already := _recalled(path, recipe)):
        return known_already
    from cxrfeat.features.opening import opened  # imports torch

    description, chosen = opened(backbone, source, recipe, place, runtime)
    if isinstance(chosen, Ncnn):
        kept.write(path, {"runs": chosen.folder.name, **asdict(description)})
    return Extractor(description, chosen, place)


def _kept_at(backbone: str, source: Source, recipe: Recipe, runtime: str) -> Path:
    """Return where an extractor is kept: under everything that decides what it is."""
    packages = PACKAGED[backbone].packages if backbone in PACKAGED else ()
    key = kept.key_of(
        kept.makers(),
        backbone,
        *(version(package) for package in packages),
        source.name,
        source.seed,
        file_sha256(source.path) if source.path else "",
        recipe,
        runtime,
        processor(),
        available_cores(),
        *converted.versions(),
    )
    return kept.cache_folder() / "extractors" / f"{key}.json"


def _recalled(path: Path, recipe: Recipe) -> Extractor | None:
    """Return the extractor that is kept there; None where anything about it is not as it was."""
    content = kept.read(path)
    try:
        folder = converted.folder_of(content.pop("runs"))
        description = Description(**{**content, "notes": tuple(content["notes"])})
    except (AttributeError, LookupError, TypeError):
        return None
    found = converted.read(folder)
    if found is None or found.refusal(recipe.precision):
        return None
    try:
        return Extractor(description, Ncnn(folder, found.outputs, recipe), "cpu")
    except (ImportError, RuntimeError):
        return None
