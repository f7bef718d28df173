"""Say what an extractor is before it is opened, and open it when it is needed.

What it is stands in the spec and is kept, so that a file can be recognised, and found to lack
nothing, without torch and without measuring anything. Where ncnn or OpenVINO runs a network, what
it runs is kept as well, and the network opens without torch, whose import takes seconds.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrfeat.cores import available_cores
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.features.description import Description
from cxrfeat.features.devices import DEVICES, device_type, require_precision
from cxrfeat.features.extractor import Extractor
from cxrfeat.features.network import disk_cache
from cxrfeat.features.network.backbones import PACKAGED, check_name
from cxrfeat.features.network.families import family_of
from cxrfeat.features.network.pooling import POOLINGS
from cxrfeat.features.runtimes import EXACT_RUNTIMES, PRECISIONS, RUNTIMES, Recipe
from cxrfeat.features.runtimes.kept_conversion import NotRunError, versions
from cxrfeat.features.runtimes.processor import processor
from cxrfeat.features.runtimes.runners import RUNNERS, Runner
from cxrfeat.features.weights.choice import WeightsChoice
from cxrfeat.features.weights.find import Source, find
from cxrfeat.features.weights.sidecar import file_sha256

if TYPE_CHECKING:
    from cxrfeat.features.opening import Cut


class Prepared:
    """An extractor of which everything is known but what runs it; made by `prepare_extractor`.

    Its weights are found and checked, its options can be used.
    """

    def __init__(
        self, backbone: str, source: Source, recipe: Recipe, device: str, runtime: str
    ) -> None:
        self._backbone = backbone
        self._source = source
        self._recipe = recipe
        self._device = device
        self._runtime = runtime
        self._cut: Cut | None = None

    @cached_property
    def place(self) -> str:
        """The device that it will run on: "cpu", "cuda" or "mps"."""
        return device_type(self._device)

    @cached_property
    def description(self) -> Description:
        """What it is.

        Raises
        ------
        WeightsError, InputError
            Weights of another network, or a size or pooling that it does not take; only where it
            is not known already.
        """
        path = disk_cache.cache_folder() / "descriptions" / f"{self._key()}.json"
        family = family_of(self._backbone)
        # What a user's own code computes is known to that code alone.
        is_kept = family is None or family[0].convertible
        if is_kept and (found := _described(disk_cache.read(path))):
            return found
        from cxrfeat.features.opening import cut  # imports torch

        self._cut = cut(self._backbone, self._source, self._recipe)
        if is_kept:
            disk_cache.write(path, asdict(self._cut.description))
        return self._cut.description

    def open(self) -> Extractor:
        """Decide what runs it, which may measure, and make it ready to run.

        Raises
        ------
        MissingExtraError, InputError, WeightsError
            As `open_extractor` says.
        """
        key = self._key(self._runtime, processor(), available_cores(), *versions())
        path = disk_cache.cache_folder() / "extractors" / f"{key}.json"
        if self.place == "cpu" and (known_already := _recalled(path, self._recipe)):
            return known_already
        from cxrfeat.features.opening import opened  # imports torch

        made, self._cut = self._cut, None  # its tensors are not needed twice
        description, chosen = opened(
            *(self._backbone, self._source, self._recipe, self.place, self._runtime, made)
        )
        if isinstance(chosen, Runner):
            runs = {"runtime": chosen.choice, "runs": chosen.folder.name}
            disk_cache.write(path, {**runs, **asdict(description)})
        return Extractor(description, chosen, self.place)

    def _key(self, *more: object) -> str:
        """Name everything that decides what it is, and `more`."""
        packages = PACKAGED[self._backbone].packages if self._backbone in PACKAGED else ()
        source = self._source
        family = family_of(self._backbone)
        return disk_cache.key_of(
            disk_cache.makers(),
            self._backbone,
            *(version(package) for package in packages),
            *([] if family is None else family[0].versions(family[1])),
            source.input,
            source.name,
            source.seed,
            file_sha256(source.path) if source.path else "",
            self._recipe,
            *more,
        )


def prepare_extractor(
    backbone: str,
    *,
    weights: WeightsChoice | None = None,
    pooling: str = "avg",
    image_size: int | None = None,
    precision: str = "fp32",
    device: str = "auto",
    runtime: str = "auto",
    here: bool = True,
) -> Prepared:
    """Find what an extractor needs and check it, without running or measuring anything.

    Parameters and errors are those of `open_extractor`; but `here` is False where another machine
    is to open it, so that it does not matter which devices this one has.
    """
    check_name(backbone)
    for what, name, known in (
        ("pooling", pooling, POOLINGS),
        ("precision", precision, PRECISIONS),
        ("device", device, DEVICES),
        ("runtime", "torch" if runtime in EXACT_RUNTIMES else runtime, RUNTIMES),
    ):
        if name not in known:
            raise UnknownNameError(what, name, known)
    if image_size is not None and image_size < 32:
        raise InputError(f"image size {image_size} is too small: use 32 pixels or more")
    if here and (device not in ("auto", "cpu") or precision not in ("fp32", "bf16")):
        require_precision(precision, device_type(device))
    source = find(backbone, weights or WeightsChoice())
    given = source.input
    recipe = Recipe(image_size or given.size, given.mean, given.std, pooling, precision)
    return Prepared(backbone, source, recipe, device, runtime)


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
        "auto", "torch", "ncnn" or "openvino": what runs the network on the CPU.

    Raises
    ------
    MissingExtraError
        For ncnn without the extra ``cpu``, or OpenVINO without the extra ``openvino``.
    UnknownNameError, InputError
        For names we do not have, or a size or precision that cannot be used.
    WeightsError
        For weights that are missing, damaged or of another network.

    Notes
    -----
    Where ncnn or OpenVINO runs a network, what it runs is kept, and so is what stands in the spec.
    Opening it again checks the sha256 of the weights file and of what is kept, and needs no torch.
    """
    return prepare_extractor(
        backbone,
        weights=weights,
        pooling=pooling,
        image_size=image_size,
        precision=precision,
        device=device,
        runtime=runtime,
    ).open()


def _described(content: Any) -> Description | None:
    """Return the description that is kept; None where it cannot be read."""
    try:
        return Description(**{**content, "notes": tuple(content["notes"])})
    except (LookupError, TypeError):
        return None


def _recalled(path: Path, recipe: Recipe) -> Extractor | None:
    """Return the extractor that is kept there; None where anything about it is not as it was."""
    content = disk_cache.read(path)
    try:
        runner = RUNNERS[content.pop("runtime")]
        folder = runner.kind.folder_of(content.pop("runs"))
    except (AttributeError, LookupError, TypeError):
        return None
    description, found = _described(content), runner.kind.read(folder)
    if description is None or found is None or runner.kind.refusal(found, recipe.precision):
        return None
    try:
        return Extractor(description, runner(folder, found.outputs, recipe), "cpu")
    except (ImportError, NotRunError):
        return None
