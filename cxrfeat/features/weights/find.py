"""Find the file of the weights a backbone gets, download it, check it; nothing is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cxrfeat.errors import MissingExtraError, UnknownNameError, WeightsError
from cxrfeat.features.network.backbones import (
    PACKAGED,
    expected_input,
    named_weights,
)
from cxrfeat.features.network.torchvision_catalogue import Input
from cxrfeat.features.weights.choice import WeightsChoice
from cxrfeat.features.weights.download import download
from cxrfeat.features.weights.sidecar import SUFFIXES, check_hash, read_sidecar


@dataclass(frozen=True)
class Source:
    """Where the tensors of a network come from, and what belongs to them.

    Attributes
    ----------
    name : str
        What the weights are called in specs and tables.
    input : Input
        The preprocessing that belongs to them.
    path : Path or None
        The file, checked where there is something to check it against; None for random weights.
    seed : int
        For random weights.
    """

    name: str
    input: Input
    path: Path | None = None
    seed: int = 0


def find(backbone: str, choice: WeightsChoice) -> Source:
    """Return where the chosen weights of a backbone are; download them if need be.

    Raises
    ------
    MissingExtraError
        The backbone's package is not installed.
    UnknownNameError
        torchvision has no weights of that name.
    WeightsError
        If the file is missing and cannot be downloaded, is damaged, or is of another network.
    """
    if backbone in PACKAGED and any(find_spec(p) is None for p in PACKAGED[backbone].packages):
        raise MissingExtraError(f"backbone '{backbone}'", PACKAGED[backbone].extra)
    if choice.kind == "random":
        return Source(choice.weights_name, expected_input(backbone), seed=choice.seed)
    if choice.kind == "file":
        return _local(backbone, Path(choice.name))
    if not choice.name and (local := local_file(backbone, choice.folders)):
        return _local(backbone, local)
    if backbone in PACKAGED:
        packaged = PACKAGED[backbone]
        if choice.name not in ("", packaged.weights_name):
            raise _unknown_weights(backbone, choice.name)
        path, name = packaged.weights_file(), packaged.weights_name
        check_hash(path)
    else:
        name, url = named_url(backbone, choice.name)
        path = find_or_download(backbone, name, url, choice.folders)
    return Source(name, expected_input(backbone, name), path)


def _local(backbone: str, path: Path) -> Source:
    sidecar = read_sidecar(path)
    if sidecar["backbone"] != backbone:
        raise WeightsError(
            f"{path} holds weights of {sidecar['backbone']}, not of {backbone} (its sidecar says "
            f"so): use --backbone {sidecar['backbone']}, or give the file of {backbone}"
        )
    given = sidecar["input"]
    return Source(
        path.stem, Input(int(given["size"]), tuple(given["mean"]), tuple(given["std"])), path
    )


def _unknown_weights(backbone: str, name: str) -> UnknownNameError:
    known = [PACKAGED[backbone].weights_name] if backbone in PACKAGED else named_weights(backbone)
    return UnknownNameError(f"weights of {backbone}", name, [*known, "random"], "(or a file)")


def named_url(backbone: str, name: str = "") -> tuple[str, str]:
    """Return the name and the address of torchvision's weights ("" means the pinned ones)."""
    entries = named_weights(backbone)
    name = name or next(iter(entries))
    if name not in entries:
        raise _unknown_weights(backbone, name)
    return name, entries[name].url


def search_folders(folders: Sequence[Path] = ()) -> list[Path]:
    """Return where weights are looked for: ``--weights``, $CXRFEAT_WEIGHTS, torch's cache."""
    found = list(folders)
    if configured := os.environ.get("CXRFEAT_WEIGHTS"):
        found += [Path(part) for part in configured.split(os.pathsep) if part]
    return [*found, torch_folder()]


def torch_folder() -> Path:
    """Return torch's own folder for downloaded weights."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(base, "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def find_or_download(backbone: str, name: str, url: str, folders: Sequence[Path] = ()) -> Path:
    """Return the checked file of named torchvision weights, downloading it if need be.

    Raises
    ------
    WeightsError
        If it is nowhere and cannot be downloaded; the message names the file, where to put it,
        and the other ways on.
    """
    file_name = url.rsplit("/", 1)[-1]
    for folder in search_folders(folders):
        if (folder / file_name).is_file():
            check_hash(folder / file_name)
            return folder / file_name
    try:
        download(url, torch_folder() / file_name)
    except OSError as error:
        places = " or ".join(str(folder) for folder in search_folders(folders))
        raise WeightsError(
            f"the weights {name} of {backbone} are missing and cannot be downloaded "
            f"({first_line(error)}): put {file_name} into {places}; or run 'cxrfeat weights fetch "
            f"{backbone}' on a connected machine and pass its folder with --weights; or use "
            "--weights random (a control), or --backbone efficientnet_lite0 "
            "(pip install 'cxrfeat[tiny]')"
        ) from error
    check_hash(torch_folder() / file_name)
    return torch_folder() / file_name


def local_file(backbone: str, folders: Sequence[Path]) -> Path | None:
    """Return a file in the search folders whose sidecar says it is this backbone's."""
    pinned = None if backbone in PACKAGED else named_url(backbone)[1].rsplit("/", 1)[-1]
    for folder in search_folders(folders)[:-1]:
        if pinned and (folder / pinned).is_file():
            return None  # torchvision's own file comes first
        for sidecar in sorted(folder.glob("*.json")):
            for suffix in SUFFIXES:
                path = sidecar.with_suffix(suffix)
                if path.is_file() and read_sidecar(path)["backbone"] == backbone:
                    return path
    return None


def first_line(error: object) -> str:
    """Return the first line of what a library says, or the error's name."""
    text = str(error).strip().splitlines()
    return text[0].strip() if text else type(error).__name__
