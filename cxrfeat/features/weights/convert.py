"""Weights that are pickles become safetensors, once: never in this process, never by `extract`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cxrfeat.errors import InputError, StorageError, WeightsError
from cxrfeat.features.network.backbones import check_name, named_weights
from cxrfeat.features.network.torchvision_catalogue import Pretrained
from cxrfeat.features.network.xrv import pickle_of
from cxrfeat.features.weights.files import WeightsFile, check_weights, weights_file
from cxrfeat.features.weights.pickled import REFUSED, SECONDS
from cxrfeat.features.weights.sidecar import write_sidecar

WARNING = (
    "{path} is a pickle, which is a program: it is opened in a process of its own that builds"
    " tensors and nothing else. Take such files from their makers alone"
)
XRV = "xrv:densenet121"


def convert_weights(source: Path, target: Path, backbone: str | None = None) -> WeightsFile:
    """Make a safetensors file of a pickle, with the sidecar of a backbone where it is known.

    Parameters
    ----------
    source : Path
        A ``.pt``, ``.pth`` or the like.
    target : Path
        A ``.safetensors`` file that does not exist yet.
    backbone : str, optional
        The network that it is of, for the sidecar; known by name for torchxrayvision's own files.

    Raises
    ------
    InputError
        Files that are not there, or there already.
    WeightsError
        A pickle that holds what is not read, or tensors of another network; nothing is written.
    StorageError
        The folder cannot be written.
    """
    if not source.is_file():
        raise InputError(f"there is no file {source}")
    if target.suffix != ".safetensors":
        raise InputError(f"{target} must end in .safetensors")
    for path in (target, target.with_suffix(".json")):
        if path.exists():
            raise InputError(f"{path} is there already: remove it, or give another name")
    known = _known(source)
    if backbone is None and known is not None:
        backbone = XRV
    if backbone is not None:
        check_name(backbone)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert-") as scratch:
            made = Path(scratch) / "tensors.safetensors"
            _in_a_process_of_its_own(source, made)
            os.replace(made, target)
    except OSError as error:
        if isinstance(error, WeightsError):
            raise
        raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error
    if backbone is None:
        return weights_file("", target.stem, target)
    try:
        entry = known if known is not None and backbone == XRV else _usual(backbone)
        write_sidecar(target, backbone, entry)
        return check_weights(target)
    except (WeightsError, InputError):
        target.with_suffix(".json").unlink(missing_ok=True)
        target.unlink()
        raise


def _known(source: Path) -> Pretrained | None:
    """Return what is known of a file of torchxrayvision's, by its name."""
    return next(
        (one for name, one in named_weights(XRV).items() if pickle_of(name) == source.name), None
    )


def _usual(backbone: str) -> Pretrained:
    """Return a backbone's usual preprocessing; of the file nothing else is known."""
    from cxrfeat.features.network.backbones import expected_input

    return Pretrained("", expected_input(backbone))


def _in_a_process_of_its_own(source: Path, made: Path) -> None:
    code = "import sys; from cxrfeat.features.weights.pickled import main; sys.exit(main())"
    command = [sys.executable, "-c", code, str(source.resolve()), str(made.resolve())]
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    kept = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "OMP_NUM_THREADS", "LANG", "LC_ALL")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    try:
        done = subprocess.run(
            command,
            cwd=made.parent,
            env={**environment, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{source} took too long to open: nothing of it was kept") from error
    if done.returncode == REFUSED:
        said = done.stderr.decode(errors="replace").strip()
        raise WeightsError(
            f"{source} is refused ({said}): nothing of it was run or kept; save its state_dict()"
            " alone where it can be opened safely"
        )
    if done.returncode or not made.is_file():
        raise WeightsError(
            f"{source} ended the process that opened it (code {done.returncode}): nothing of it was"
            " kept"
        )
