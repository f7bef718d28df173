"""Run a network with torch, its 3 x 3 convolutions by Winograd's filtering in bfloat16."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController

from cxrfeat.arrays import Pictures
from cxrfeat.features.runtimes.kept_conversion import WINOGRAD, NotRunError
from cxrfeat.features.runtimes.recipe import TORCH_WINOGRAD, Maps, Recipe
from cxrfeat.features.runtimes.side_by_side import SideBySide


def file_of(precision: str) -> str:
    """Return the name of the file that runs in a precision."""
    return f"{precision}.pt"


class TorchWinograd(SideBySide):
    """A network written by `winograd_convert`.

    Parameters
    ----------
    folder : Path
        With its file, a trace, which torch runs without Python.
    outputs : int
        How many maps it gives.
    recipe : Recipe

    Raises
    ------
    NotRunError
        There is no file for this precision.
    """

    kind = WINOGRAD
    choice = TORCH_WINOGRAD

    def __init__(self, folder: Path, outputs: int, recipe: Recipe) -> None:
        import torch

        super().__init__(recipe)
        self.name = f"torch {version('torch')}, cpu, winograd"
        self.folder = folder
        path = folder / file_of(recipe.precision)
        if not path.is_file():
            raise NotRunError(f"it is not written for {recipe.precision}")
        with warnings.catch_warnings():  # torch is to have another form of it one day
            warnings.simplefilter("ignore", FutureWarning)
            self._network: Any = torch.jit.load(path)  # type: ignore[no-untyped-call]

    def maps(self, image: Pictures) -> Maps:
        """Run one grey image (S, S) up to the maps, (C, H, W) each, or (C,) for a token."""
        import torch

        pictures = torch.from_numpy(self._recipe.normalise(image[None]))
        # Nothing in the trace can be made better: the attempt cost as much as five pictures.
        unchanged = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
        with _one_thread(), torch.inference_mode(), unchanged:
            return [one[0].numpy() for one in self._network(pictures)]


@cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch work in this thread alone; others, and this one afterwards, as they were."""
    import torch

    torch.get_num_threads()  # in a new thread torch would set their number at its first use
    with _openmp().limit(limits=1):
        yield
