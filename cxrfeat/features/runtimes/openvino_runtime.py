"""Run a network with OpenVINO, which uses what a processor has for bfloat16.

Every image goes through on one thread, and as many at once as there are cores.
"""

from __future__ import annotations

import mmap
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat import absence
from cxrfeat.arrays import Pictures
from cxrfeat.cores import available_cores
from cxrfeat.features.runtimes.kept_conversion import OPENVINO, WINOGRAD, NotRunError
from cxrfeat.features.runtimes.recipe import OPENVINO_WINOGRAD, Maps, Recipe
from cxrfeat.features.runtimes.side_by_side import SideBySide

TYPES = {"fp32": "f32", "bf16": "bf16"}
"""What OpenVINO calls the precisions that a CPU has."""


@cache
def openvino() -> Any:
    """Import OpenVINO, which would tell its makers of it over the network.

    Where its package for that is missing it does without; so it is missing while OpenVINO is
    imported. Whoever imported OpenVINO before has decided otherwise.
    """
    with absence.missing("openvino_telemetry"):
        import openvino
    return openvino


_FIRST_RUN = threading.Lock()
"""Its first run in a process makes what all threads share. Two at once may wait for each other for
ever, one with Python's lock and one with that of C++, so each network runs once before any thread
can use it."""


@cache
def _core() -> Any:
    return openvino().Core()


class OpenVino(SideBySide):
    """A network converted for OpenVINO.

    Parameters
    ----------
    folder : Path
        With ``network.xml`` and ``network.bin``, as `openvino_convert` makes them.
    outputs : int
        How many maps it gives.
    recipe : Recipe
        Of precision "fp32" or "bf16".

    Raises
    ------
    NotRunError
        OpenVINO does not run this network, or not in this precision on this processor.
    """

    kind = OPENVINO
    choice = "openvino"
    filtering = ""

    def __init__(self, folder: Path, outputs: int, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.name = f"openvino {version('openvino')}, cpu{self.filtering}"
        self.folder = folder
        self._outputs = outputs
        asked, cores = TYPES[recipe.precision], available_cores()
        how = {
            "INFERENCE_PRECISION_HINT": asked,
            "NUM_STREAMS": cores,  # as many images at once, each on one thread
            "INFERENCE_NUM_THREADS": cores,
            "ENABLE_CPU_PINNING": False,  # the threads of several networks would share one core
        }
        self._idle: list[Any] = []  # requests, each used by one thread at a time
        try:
            self._weights = _mapped(folder / self.kind.files[1])
            tensor = openvino().Tensor(np.frombuffer(self._weights, np.uint8), shared_memory=True)
            model = _core().read_model((folder / self.kind.files[0]).read_text("utf-8"), tensor)
            self._compiled = _core().compile_model(model, "CPU", how)
            computes_in = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            if computes_in != asked:
                raise NotRunError(f"OpenVINO computes in {computes_in} here, not in {asked}")
            grey = self._compiled.input(0).shape[1] == 1
            self._prepare = recipe.centre if grey else recipe.normalise
            with _FIRST_RUN:
                self.maps(np.zeros((recipe.size, recipe.size), np.float32))
            _forget(self._weights)
        except (RuntimeError, OSError) as error:
            raise NotRunError(f"OpenVINO cannot run it ({last_line(error)})") from None

    def maps(self, image: Pictures) -> Maps:
        """Run one grey image (S, S) up to the maps, (C, H, W) each, or (C,) for a token."""
        taken = self._prepare(image[None])
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        found = request.infer([taken])
        maps = [np.array(found[index][0], np.float32) for index in range(self._outputs)]
        self._idle.append(request)
        return maps


class OpenVinoWinograd(OpenVino):
    """The same with the 3 x 3 convolutions as `winograd` computes them."""

    kind = WINOGRAD
    choice = OPENVINO_WINOGRAD
    filtering = ", winograd"


def _mapped(path: Path) -> mmap.mmap:
    """Map a file; OpenVINO asks for memory that may be written to, which it does not do."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _forget(weights: mmap.mmap) -> None:
    """Take a file's pages out of the process: OpenVINO has put most of them in other order.

    What it still looks at comes back from the file.
    """
    if hasattr(mmap, "MADV_DONTNEED"):  # there is none on Windows
        weights.madvise(mmap.MADV_DONTNEED)


def last_line(error: Exception) -> str:
    """Return the last line of what OpenVINO says; before it stands where in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
