"""Decide what runs a network: what was asked for, or the fastest that is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import fx

from cxrfeat.errors import InputError, MissingExtraError
from cxrfeat.features.network import disk_cache
from cxrfeat.features.runtimes.accelerator_runtime import Accelerator
from cxrfeat.features.runtimes.benchmark import MARGINS, fastest
from cxrfeat.features.runtimes.checking import BOUNDS, Yardstick, dependence_of
from cxrfeat.features.runtimes.converting import converted
from cxrfeat.features.runtimes.kept_conversion import OPENVINO, told
from cxrfeat.features.runtimes.processor import has_bfloat16
from cxrfeat.features.runtimes.recipe import LAYOUTS, RUNTIMES, Recipe, Runtime
from cxrfeat.features.runtimes.runners import RUNNERS
from cxrfeat.features.runtimes.torch_runtime import Torch


@dataclass(frozen=True)
class Chosen:
    """What runs a network, and what its user should know.

    Attributes
    ----------
    runtime : Runtime
    notes : tuple of str
        Why a runtime is not used although it is there, and what a precision costs or does not gain.
    """

    runtime: Runtime
    notes: tuple[str, ...] = ()


def choose(
    module: fx.GraphModule,
    recipe: Recipe,
    *,
    backbone: str,
    tensors_sha256: str,
    device: torch.device,
    asked: str = "auto",
    refusal: str = "",
) -> Chosen:
    """Return the runtime of a network.

    Parameters
    ----------
    module : GraphModule
        The truncated network, on the CPU.
    recipe : Recipe
    backbone : str
        Its name, for messages.
    tensors_sha256 : str
        Of its tensors.
    device : torch.device
    asked : str
        One of `RUNTIMES` or `EXACT_RUNTIMES`; "auto" takes torch on accelerators, and
        on the CPU what is the fastest there.
    refusal : str
        Why nothing but torch must run it, or "".

    Raises
    ------
    InputError, MissingExtraError
        A runtime of the CPU on an accelerator, for a network it cannot run, or not installed; an
        accelerator whose rows are not those of the CPU.
    """
    yardstick = Yardstick(module, recipe)
    if device.type != "cpu":
        if asked in RUNNERS:
            raise InputError(f"{asked} runs on the CPU, not on {device.type}: use --device cpu")
        accelerator = Accelerator(module, recipe, device)
        return _checked(accelerator, yardstick, recipe, backbone, device)
    if asked in RUNNERS and not RUNNERS[asked].kind.installed():
        raise MissingExtraError(f"runtime '{asked}'", RUNNERS[asked].kind.extra)
    found = _Candidates(module, tensors_sha256, yardstick, refusal)
    usable = found.of(recipe, asked)
    if asked in found.refusals:
        raise InputError(f"{backbone}: {found.refusals[asked]}; use --runtime torch")
    notes: list[str] = []
    if asked in usable:
        runtime = usable[asked]()
    else:
        best = fastest(module.code, recipe, usable)
        runtime = best.runtime
        if not RUNNERS.keys() & usable:
            notes = [
                f"{backbone}: torch runs it, because {reason}"
                for reason in dict.fromkeys(map(found.refusals.get, RUNTIMES))
                if reason
            ]
        if recipe.precision != "fp32":
            notes += _gain(best.images_per_second, found, module, recipe, backbone)
    return Chosen(runtime, (*notes, *_cost(runtime, yardstick, recipe, backbone)))


class _Candidates:
    """What may run a network on the CPU, in any precision.

    Attributes
    ----------
    refusals : dict of str to str
        Why not, by the name of a runtime that is installed.
    """

    def __init__(
        self, module: fx.GraphModule, tensors_sha256: str, yardstick: Yardstick, refusal: str
    ) -> None:
        self._module = module
        self._tensors_sha256 = tensors_sha256
        self._yardstick = yardstick
        self._refusal = refusal
        self.refusals: dict[str, str] = {}

    def of(self, recipe: Recipe, asked: str) -> dict[str, Callable[[], Runtime]]:
        """Return what makes each runtime that is right, of those that were asked for."""
        makers: dict[str, Callable[[], Runtime]] = {}
        for name, runner in RUNNERS.items():
            if asked in ("auto", name) and runner.kind.installed():
                refusal = self._refusal or self._try(makers, name, recipe)
                if refusal:
                    self.refusals[name] = refusal
        for layout in LAYOUTS:
            makers[f"torch {layout}"] = partial(Torch, self._module, recipe, layout)
        return makers

    def _try(self, makers: dict[str, Callable[[], Runtime]], name: str, recipe: Recipe) -> str:
        """Add a runtime if it can run the network; else return why not."""
        try:
            folder, made = converted(
                name, self._module, self._tensors_sha256, recipe, self._yardstick
            )
        except OSError as error:
            reason = error.strerror or error
            return f"what {name} runs cannot be kept in {disk_cache.cache_folder()} ({reason})"
        runner = RUNNERS[name]
        refusal = runner.kind.refusal(made, recipe.precision)
        if not refusal:
            makers[name] = partial(runner, folder, made.outputs, recipe)
        return refusal


def _checked(
    runtime: Accelerator,
    yardstick: Yardstick,
    recipe: Recipe,
    backbone: str,
    device: torch.device,
) -> Chosen:
    """Hold an accelerator to the bound of its precision, as the runtimes of the CPU are held to it.

    Raises
    ------
    InputError
        It gives other rows than the CPU in float32.
    """
    error = yardstick.error_of(runtime)
    bound = yardstick.bound(recipe.precision, error)
    if not error <= bound:
        lower = "" if recipe.precision == "fp32" else "--precision fp32, or "
        raise InputError(
            f"{backbone} on {device.type} in {recipe.precision} differs from the CPU's float32 by "
            f"{error:.1e} on drawn pictures, more than {told(bound)}: use {lower}--device cpu"
        )
    notes = _far(error, recipe, backbone)
    differs = dependence_of(runtime, recipe.size, runtime.block)
    if differs == 0:
        return Chosen(runtime, tuple(notes))
    # It stands in the file: `name` is part of the environment of every row.
    runtime.name += f", rows differ by up to {differs:.1e} with what else is in the block"
    note = f"{backbone}: on this {device.type}, a row differs by up to {differs:.1e} with its batch"
    return Chosen(runtime, (*notes, note))


def _cost(runtime: Runtime, yardstick: Yardstick, recipe: Recipe, backbone: str) -> list[str]:
    """Say so where a lower precision is farther from float32 than it usually is."""
    if recipe.precision == "fp32":
        return []
    return _far(yardstick.error_of(runtime), recipe, backbone)


def _far(error: float, recipe: Recipe, backbone: str) -> list[str]:
    usual = BOUNDS[recipe.precision]
    if error <= usual:
        return []
    return [
        f"{backbone}: in {recipe.precision} its embeddings differ from fp32 by {error:.1e} on "
        f"drawn pictures, more than {told(usual)}"
    ]


def _gain(
    rate: float | None, found: _Candidates, module: fx.GraphModule, recipe: Recipe, backbone: str
) -> list[str]:
    """Say so where a lower precision is not faster than float32, as far as that is known."""
    if not has_bfloat16():
        return [f"{backbone}: this processor has no {recipe.precision} of its own; fp32 may be as "
                "fast here"]  # fmt: skip
    if rate is None:
        return []
    exact = replace(recipe, precision="fp32")
    in_fp32 = fastest(module.code, exact, found.of(exact, "auto")).images_per_second
    if in_fp32 is None or rate >= MARGINS[recipe.precision] * in_fp32:
        return []
    mend = "" if OPENVINO.installed() else f", or pip install 'cxrfeat[{OPENVINO.extra}]'"
    return [
        f"{backbone}: {recipe.precision} is not faster than fp32 here ({rate:.1f} against "
        f"{in_fp32:.1f} images/s): use --precision fp32{mend}"
    ]
