"""Turn a pickle of weights into safetensors; `convert` runs this in a process of its own.

A pickle is a program. torch's own reader of tensors alone is tried first. What it refuses, such as
files that hold a whole network, is read by an unpickler that knows no other names than those of
tensors and plain containers; classes of networks become empty shells that keep what they are given
and run nothing. Any other name ends it. Whatever a file still breaks, it breaks in this process,
which has no more to do than to write tensors; the one that asked for it reads only those.
"""

from __future__ import annotations

import collections
import contextlib
import json
import pickle
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REFUSED = 3
"""Exit code for a file that is refused, with the reason on stderr."""

SECONDS = 600
"""Of processor time that a file may cost."""

SHELLS = ("torch.nn.", "torchvision.models.", "torchxrayvision.")
"""Modules whose classes become shells."""

PLAIN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{("builtins", kind.__name__): kind for kind in (set, frozenset, list, dict, tuple)},
    **{("builtins", kind.__name__): kind for kind in (int, float, bool, str, slice, complex)},
    ("__builtin__", "set"): set,
}
"""Names of Python's own that hold data and do nothing."""

TENSORS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
"""Functions of ``torch._utils`` that put a tensor together."""


class Shell:
    """Stands for a part of a network: it keeps what a pickle gives it, and runs nothing."""

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            vars(self).update(state)


class Unpickler(pickle.Unpickler):
    """Builds tensors, plain containers and shells, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name of the pickle stands for."""
        import torch

        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if module == "torch._utils" and name in TENSORS:
            return getattr(torch._utils, name)
        if module == "torch" and name in ("Size", "device"):
            return getattr(torch, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if f"{module}.".startswith(SHELLS) and name.isidentifier():
            return type(name, (Shell,), {})
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read(path: Path) -> dict[str, Any]:
    """Return the tensors of a pickle by name.

    Raises
    ------
    pickle.UnpicklingError
        It asks for anything but tensors, plain containers and parts of networks; or it is a program
        in TorchScript, which `torch.load` would run past any unpickler.
    ValueError
        There is no network and no ``state_dict`` in it.
    """
    import warnings

    import torch

    warnings.simplefilter("ignore")  # torch's, of classes whose source it cannot compare
    torch.jit.load = _refuse  # where torch.load would run a program
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever it refuses: objects besides tensors
        restricted = SimpleNamespace(
            __name__="pickle", Unpickler=Unpickler, load=lambda file, **options: _load(file)
        )
        content = torch.load(path, map_location="cpu", weights_only=False, pickle_module=restricted)
    found = dict(_tensors(_holder(content)))
    if not found:
        raise ValueError("it holds no tensors by name")
    if all(name.startswith("module.") for name in found):  # of several GPUs
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def _refuse(*given: Any, **named: Any) -> Any:
    raise pickle.UnpicklingError("it is a program in TorchScript")


def _load(file: Any) -> Any:
    return Unpickler(file).load()


def _holder(content: Any) -> Any:
    """Return what holds the tensors: the content, or what training scripts call it."""
    if isinstance(content, Mapping):
        for name in ("state_dict", "model_state_dict", "model", "net"):
            if isinstance(content.get(name), Mapping | Shell):
                return content[name]
    return content


def _tensors(holder: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give the tensors of a mapping, or of a network and its parts, as ``state_dict`` does."""
    from torch import Tensor

    if isinstance(holder, Mapping):
        for name, value in holder.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
        return
    if not isinstance(holder, Shell):
        return
    parts = vars(holder)
    for kind in ("_parameters", "_buffers"):
        yield from _tensors(parts.get(kind) or {}, prefix)
    for name, part in (parts.get("_modules") or {}).items():
        yield from _tensors(part, f"{prefix}{name}.")


def _limit(path: Path) -> None:
    """Let a file cost no more than its size and some minutes, where the system can say so."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        most = 2 * path.stat().st_size + (1 << 20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """Read the first argument, write the second."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    _limit(source)
    from safetensors.torch import save_file

    try:
        tensors = read(source)
    except Exception as error:  # whatever the file makes a reader trip over
        sys.stderr.write(" ".join(str(error).split())[:300] or type(error).__name__)
        return REFUSED
    save_file(tensors, target)
    sys.stdout.write(json.dumps({"tensors": len(tensors)}))
    return 0
