"""Decide what runs a network: what was asked for, or the fastest that is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import fx

from cxrfeat.errors import InputError, MissingExtraError
from cxrfeat.features.network import disk_cache
from cxrfeat.features.runtimes import ncnn_convert, ncnn_files
from cxrfeat.features.runtimes.accelerator_runtime import Accelerator
from cxrfeat.features.runtimes.benchmark import fastest
from cxrfeat.features.runtimes.ncnn_runtime import Ncnn
from cxrfeat.features.runtimes.processor import has_bfloat16
from cxrfeat.features.runtimes.recipe import LAYOUTS, Recipe, Runtime
from cxrfeat.features.runtimes.torch_runtime import Torch

BOUNDS = {"fp32": 1e-5, "tf32": 2e-3, "bf16": 1e-2, "fp16": 2e-3}
"""Largest relative error of an accelerator's embeddings against the CPU in float32."""


@dataclass(frozen=True)
class Chosen:
    """What runs a network, and what its user should know.

    Attributes
    ----------
    runtime : Runtime
    notes : tuple of str
        Why ncnn is not used although it is there, and what was converted or measured.
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
        Why ncnn must not run it, or "".

    Raises
    ------
    InputError, MissingExtraError
        ncnn on an accelerator, for a network it cannot run, or not installed; an accelerator whose
        rows are not those of the CPU.
    """
    if device.type != "cpu":
        if asked == "ncnn":
            raise InputError(f"ncnn runs on the CPU, not on {device.type}: use --device cpu")
        return _checked(Accelerator(module, recipe, device), module, recipe, backbone, device)
    candidates: dict[str, Callable[[], Runtime]] = {}
    if asked in ("auto", "ncnn") and not refusal and ncnn_files.installed():
        refusal = _add_ncnn(candidates, module, tensors_sha256, recipe)
    if asked == "ncnn":
        if not ncnn_files.installed():
            raise MissingExtraError("runtime 'ncnn'", "cpu")
        if refusal:
            raise InputError(f"{backbone}: {refusal}; use --runtime torch")
        return Chosen(candidates["ncnn"]())
    for layout in LAYOUTS:
        candidates[f"torch {layout}"] = lambda layout=layout: Torch(  # type: ignore[misc]
            module, recipe, layout
        )
    if asked in candidates:
        return _with_precision(candidates[asked](), module, recipe, backbone)
    runtime = fastest(module.code, recipe, candidates)
    told = refusal and ncnn_files.installed()
    notes = [f"{backbone}: torch runs it, because {refusal}"] if told else []
    if recipe.precision != "fp32" and not has_bfloat16():
        notes.append(f"{backbone}: this processor has no {recipe.precision} of its own; fp32 may "
                     "be as fast here")  # fmt: skip
    return _with_precision(runtime, module, recipe, backbone, notes)


def _checked(
    runtime: Accelerator,
    module: fx.GraphModule,
    recipe: Recipe,
    backbone: str,
    device: torch.device,
) -> Chosen:
    """Hold an accelerator to the bound of its precision, as ncnn is held to it.

    Raises
    ------
    InputError
        It gives other rows than the CPU in float32.
    """
    error, bound = ncnn_convert.error_of(runtime, module, recipe), BOUNDS[recipe.precision]
    if not error <= bound:
        lower = "" if recipe.precision == "fp32" else "--precision fp32, or "
        raise InputError(
            f"{backbone} on {device.type} in {recipe.precision} differs from the CPU's float32 by "
            f"{error:.1e} on drawn pictures, more than {bound:.0e}: use {lower}--device cpu"
        )
    differs = ncnn_convert.dependence_of(runtime, recipe.size, runtime.block)
    if differs == 0:
        return Chosen(runtime)
    # It stands in the file: `name` is part of the environment of every row.
    runtime.name += f", rows differ by up to {differs:.1e} with what else is in the block"
    note = f"{backbone}: on this {device.type}, a row differs by up to {differs:.1e} with its batch"
    return Chosen(runtime, (note,))


def _with_precision(
    runtime: Runtime,
    module: fx.GraphModule,
    recipe: Recipe,
    backbone: str,
    notes: Sequence[str] = (),
) -> Chosen:
    """Say so where a lower precision is farther from float32 than it should be.

    ncnn was checked when it was converted; torch is checked here.
    """
    if recipe.precision == "fp32" or runtime.side_by_side:
        return Chosen(runtime, tuple(notes))
    error = ncnn_convert.error_of(runtime, module, recipe)
    bound = ncnn_files.BOUNDS["bf16"]
    if not error <= bound:
        notes = [
            *notes,
            f"{backbone}: in {recipe.precision} its embeddings differ from fp32 by {error:.1e} "
            f"on drawn pictures, more than {bound:.0e}",
        ]
    return Chosen(runtime, tuple(notes))


def _add_ncnn(
    candidates: dict[str, Callable[[], Runtime]],
    module: fx.GraphModule,
    tensors_sha256: str,
    recipe: Recipe,
) -> str:
    """Add ncnn if it can run the network; return why not otherwise."""
    try:
        folder, made = ncnn_convert.converted(module, tensors_sha256, recipe)
    except OSError as error:
        reason = error.strerror or error
        return f"what ncnn runs cannot be kept in {disk_cache.cache_folder()} ({reason})"
    refusal = made.refusal(recipe.precision)
    if not refusal:
        candidates["ncnn"] = lambda: Ncnn(folder, made.outputs, recipe)
    return refusal
