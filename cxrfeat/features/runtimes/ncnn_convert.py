"""Convert a network for ncnn once per weights, check it against torch, and keep it.

A conversion is kept under a key made of the network's graph, the sha256 of its tensors, the image
size, and the versions of converter and runtime. Whatever differs from torch by more than the bound
is never used.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from cxrfeat.arrays import Pictures
from cxrfeat.features.network import disk_cache
from cxrfeat.features.network.pooling import pool
from cxrfeat.features.runtimes.arithmetic import computing_in
from cxrfeat.features.runtimes.ncnn_files import (
    BOUNDS,
    Conversion,
    file_hashes,
    folder_of,
    read,
    versions,
)
from cxrfeat.features.runtimes.ncnn_runtime import Ncnn
from cxrfeat.features.runtimes.recipe import Recipe, Runtime
from cxrfeat.features.weights.find import first_line

CHECKED_IMAGES = 3
_MINUTES = 10
_STOPPED = {signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGXFSZ}


def converted(
    module: fx.GraphModule, tensors_sha256: str, recipe: Recipe
) -> tuple[Path, Conversion]:
    """Return the folder of a network for ncnn; make, check and keep it if it is not there.

    Parameters
    ----------
    module : GraphModule
        In evaluation mode, on the CPU; gives a tuple of maps.
    tensors_sha256 : str
        Of its tensors.
    recipe : Recipe
        Its size and preprocessing; the checking images go through it.

    Raises
    ------
    OSError
        The cache cannot be written.
    """
    folder = folder_of(disk_cache.key_of(module.code, tensors_sha256, recipe.size, *versions()))
    if found := read(folder):
        return folder, found
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as temporary:
        new = Path(temporary) / folder.name
        new.mkdir()
        conversion = _convert(module, recipe, new)
        (new / "about.json").write_text(json.dumps(asdict(conversion), indent=1))
        try:
            os.replace(new, folder)
        except OSError:  # another process was faster, and may be about to read it; or it is damaged
            if found := read(folder):
                return folder, found
            os.rename(folder, Path(temporary) / "damaged")
            os.replace(new, folder)
    return folder, conversion


def _convert(module: fx.GraphModule, recipe: Recipe, folder: Path) -> Conversion:
    try:
        outputs = _run_pnnx(module, (1, recipe.channels, recipe.size, recipe.size), folder)
    except (RuntimeError, NotImplementedError, subprocess.SubprocessError) as error:
        return Conversion(0, [], {}, f"pnnx cannot convert it ({first_line(error)})")
    images = checking_images(recipe.size)
    expected = _torch_maps(module, recipe, images)
    errors = {}
    for precision in BOUNDS:
        try:
            network = Ncnn(folder, outputs, replace_precision(recipe, precision))
            errors[precision] = max(
                _relative_error(network.maps(image), [one[i] for one in expected])
                for i, image in enumerate(images)
            )
        except RuntimeError as error:
            return Conversion(outputs, file_hashes(folder), {}, str(error))
    return Conversion(outputs, file_hashes(folder), errors)


def _run_pnnx(module: fx.GraphModule, shape: tuple[int, ...], folder: Path) -> int:
    """Write network.param and network.bin; return how many maps the network gives."""
    import pnnx

    example = torch.zeros(shape)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing turns shapes into constants, which is wanted
        with torch.inference_mode(False), torch.no_grad():
            outputs = len(module(example))
            traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
            traced.save(f"{scratch}/network.pt")
        command = [
            pnnx.EXEC_PATH,
            "network.pt",
            f"inputshape={list(shape)}".replace(" ", ""),
            "fp16=0",
        ]
        done = subprocess.run(command, cwd=scratch, capture_output=True, timeout=60 * _MINUTES)
        if -done.returncode in _STOPPED:  # says nothing about the network: not to be remembered
            raise InterruptedError(f"pnnx was stopped by signal {-done.returncode}")
        done.check_returncode()
        for suffix in ("param", "bin"):
            shutil.move(f"{scratch}/network.ncnn.{suffix}", folder / f"network.{suffix}")
    return outputs


def replace_precision(recipe: Recipe, precision: str) -> Recipe:
    """Return the same recipe in another precision."""
    return Recipe(recipe.size, recipe.mean, recipe.std, recipe.pooling, precision)


def checking_images(size: int) -> Pictures:
    """Draw smooth random pictures with a contrast like that of radiographs, (n, S, S)."""
    random = np.random.default_rng(0)
    coarse = random.random((CHECKED_IMAGES, 1, 9, 9), dtype=np.float32)
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(coarse), size=(size, size), mode="bicubic", align_corners=False
    )[:, 0].numpy()
    grain = random.normal(0, 0.02, smooth.shape).astype(np.float32)
    return np.clip(smooth + grain, 0, 1).astype(np.float32)


def dependence_of(runtime: Runtime, size: int, block: int) -> float:
    """Return by how much a row differs between the first place of a block and the last.

    Alone, the rest of the block being blank, against among other pictures: the relative error.
    """
    images = checking_images(size)
    company = images[1 + np.arange(block - 1) % (CHECKED_IMAGES - 1)]
    (alone,), among = runtime(images[:1]), runtime(np.concatenate([company, images[:1]]))
    return _relative_error([among[-1]], [alone])


def error_of(runtime: Runtime, module: fx.GraphModule, recipe: Recipe) -> float:
    """Return the largest relative error of a runtime's embeddings against torch in float32."""
    images = checking_images(recipe.size)
    expected = pool(_torch_maps(module, recipe, images), recipe.pooling)
    return max(
        _relative_error([ours], [other])
        for ours, other in zip(runtime(images), expected, strict=True)
    )


def _torch_maps(
    module: fx.GraphModule, recipe: Recipe, images: Pictures
) -> list[npt.NDArray[np.float32]]:
    with torch.inference_mode(), computing_in("fp32"):
        maps = module(torch.from_numpy(recipe.normalise(images)))
        return [one.float().numpy() for one in maps]


def _relative_error(
    ours: list[npt.NDArray[np.float32]], expected: list[npt.NDArray[np.float32]]
) -> float:
    """Return the largest relative error (in the Euclidean norm) over the maps of one image."""
    errors = []
    for one, other in zip(ours, expected, strict=True):
        if one.shape != other.shape:
            raise RuntimeError(f"ncnn gives a map of shape {one.shape}, torch {other.shape}")
        size = float(np.linalg.norm(other)) or 1.0
        error = float(np.linalg.norm(one.astype(np.float64) - other)) / size
        errors.append(error if np.isfinite(error) else float("inf"))
    return max(errors)
