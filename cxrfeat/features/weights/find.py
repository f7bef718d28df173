"""Find the file of the weights a backbone gets, download it, check it; nothing is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cxrfeat.errors import InputError, MissingExtraError, UnknownNameError, WeightsError
from cxrfeat.features.network.backbones import (
    PACKAGED,
    expected_input,
    named_weights,
)
from cxrfeat.features.network.families import family_of
from cxrfeat.features.network.torchvision_catalogue import Input, Pretrained
from cxrfeat.features.network.xrv import pickle_of
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
    family = family_of(backbone)
    if choice.kind == "random":
        if family is not None and not family[0].random(family[1]):
            raise InputError(
                f"{backbone} makes its weights itself, so that there are no random ones: leave"
                " --weights out"
            )
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
    elif family is not None:
        return _of_family(backbone, choice)
    else:
        name, url = named_url(backbone, choice.name)
        path = find_or_download(backbone, name, url, choice.folders)
    return Source(name, expected_input(backbone, name), path)


def _of_family(backbone: str, choice: WeightsChoice) -> Source:
    """Find named weights of a family; nothing is downloaded."""
    name, entry = named_entry(backbone, choice.name)
    if not entry.file:  # its own code makes them
        return Source(name, entry.input)
    path = family_file(entry, choice.folders)
    if path is None:
        raise WeightsError(_missing(backbone, name, entry, choice.folders))
    if path.with_suffix(".json").is_file():
        read_sidecar(path)  # its sha256, if it states one
    return Source(name, entry.input, path)


def named_entry(backbone: str, name: str = "") -> tuple[str, Pretrained]:
    """Return the name of some weights of a family and what is known of them ("": the default)."""
    entries = named_weights(backbone)
    name = name or next(iter(entries), "")
    if name not in entries:
        if not entries:
            raise WeightsError(f"{backbone} has no pretrained weights: give a file, or random")
        raise _unknown_weights(backbone, name)
    return name, entries[name]


def family_file(entry: Pretrained, folders: Sequence[Path] = ()) -> Path | None:
    """Return where the file of a family's weights lies: in a folder, or the cache of the hub."""
    for folder in search_folders(folders):
        if (folder / entry.file).is_file():  # an own encoder's has a path of its own
            return folder / entry.file
    if not entry.hub or find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(entry.hub, entry.hub_file)
    return Path(cached) if isinstance(cached, str) else None


def _missing(backbone: str, name: str, entry: Pretrained, folders: Sequence[Path]) -> str:
    places = " or ".join(str(folder) for folder in search_folders(folders))
    said = f"the weights {name} of {backbone} are missing: put {entry.file} into {places}"
    if backbone.startswith("xrv:"):
        said += (
            f", which 'cxrfeat weights convert {pickle_of(name)} {entry.file}' makes of"
            " torchxrayvision's own file"
        )
    elif entry.hub:
        said += (
            f"; or run 'cxrfeat weights fetch {backbone}' on a connected machine and pass its"
            f" folder with --weights; or have {entry.hub} in the cache of the Hugging Face hub"
        )
    else:
        said += ", or give the file that its package names"
    return f"{said}; or use --weights random (a control)"


def _local(backbone: str, path: Path) -> Source:
    sidecar = read_sidecar(path)
    if sidecar["backbone"] != backbone:
        raise WeightsError(
            f"{path} holds weights of {sidecar['backbone']}, not of {backbone} (its sidecar says "
            f"so): use --backbone {sidecar['backbone']}, or give the file of {backbone}"
        )
    given = sidecar["input"]
    return Source(
        path.stem,
        Input(
            int(given["size"]),
            tuple(given["mean"]),
            tuple(given["std"]),
            given.get("crop", "none"),
            given.get("resize", "bilinear"),
        ),
        path,
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
            "(pip install 'cxrfeat[tiny]'); cxrfeat help weights"
        ) from error
    check_hash(torch_folder() / file_name)
    return torch_folder() / file_name


def local_file(backbone: str, folders: Sequence[Path]) -> Path | None:
    """Return a file in the search folders whose sidecar says it is this backbone's."""
    if backbone in PACKAGED:
        pinned = ""
    elif family_of(backbone) is not None:
        pinned = next((one.file for one in named_weights(backbone).values()), "")
    else:
        pinned = named_url(backbone)[1].rsplit("/", 1)[-1]
    for folder in search_folders(folders)[:-1]:
        if pinned and (folder / pinned).is_file():
            return None  # the file of the default weights comes first
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
