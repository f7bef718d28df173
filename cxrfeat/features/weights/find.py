"""Find the file of a backbone's weights, and check that it is the right one, without loading it.

Weights come under a pinned torchvision name, from a local file with a sidecar ``.json`` that
gives their preprocessing, from a Python package, or they are `random`: a labelled control that
shows how much of a score is the architecture's alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from cxrfeat.errors import InputError, MissingExtraError, UnknownNameError, WeightsError
from cxrfeat.features.network.backbones import (
    PACKAGED,
    backbone_names,
    expected_input,
    named_weights,
)
from cxrfeat.features.network.torchvision_catalogue import Input
from cxrfeat.features.weights.download import download

SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class WeightsChoice:
    """Which weights a backbone gets, before anything is read.

    Attributes
    ----------
    kind : "named", "file" or "random"
    name : str
        A torchvision name for "named" ("" means the pinned default), a path for "file".
    seed : int
        For "random".
    folders : tuple of Path
        Searched first for files of named weights.
    """

    kind: Literal["named", "file", "random"] = "named"
    name: str = ""
    seed: int = 0
    folders: tuple[Path, ...] = ()

    @property
    def weights_name(self) -> str:
        """What the weights are called in specs and tables; "" where that depends on `folders`."""
        if self.kind == "random":
            return f"random-seed-{self.seed}"
        return Path(self.name).stem if self.kind == "file" else self.name


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


def assign_each(
    backbones: Sequence[str], sources: Sequence[str] = ()
) -> list[tuple[str, WeightsChoice]]:
    """Decide which extractors are asked for: every backbone with each of its weights.

    Parameters
    ----------
    backbones : sequence of str
    sources : sequence of str
        What ``--weights`` said: ``[BACKBONE=]SOURCE`` each, SOURCE being a torchvision name, a
        file, a folder to search, ``random`` or ``random:SEED``. Every source of one backbone is an
        extractor of its own; a file is of the backbone that its sidecar names. A folder is
        searched for every backbone, and one more source without ``BACKBONE=`` holds for every
        backbone that has nothing of its own.

    Returns
    -------
    list of (str, WeightsChoice)
        In the order of `backbones`, and for each of them in the order of `sources`.

    Raises
    ------
    InputError, UnknownNameError, WeightsError
        If a source is for no named backbone, does not exist, or would override another one.
    """
    own: dict[str, list[WeightsChoice]] = {name: [] for name in backbones}
    common: dict[str, WeightsChoice] = {}
    folders: list[Path] = []
    for source in sources:
        target, value = _split(source)
        if target and target not in own:
            raise InputError(
                f"--weights {source}: backbone '{target}' is not extracted here; add "
                f"--backbone {target} or leave these weights out"
            )
        if Path(value).is_dir():
            folders.append(Path(value))
            continue
        choice = _parse(value)
        if choice.kind == "file" and not target:
            target = str(read_sidecar(Path(value))["backbone"])
            if target not in own:
                raise WeightsError(
                    f"{value} holds weights of {target}, which is not extracted here: add "
                    f"--backbone {target}, or give weights of {', '.join(own)}"
                )
        if not target:
            common[value] = choice
        elif choice in own[target]:
            raise InputError(f"--weights {source} is given twice: leave one out")
        else:
            own[target].append(choice)
    name = next(iter(own), "BACKBONE")
    if len(common) > 1:
        one, other, *_ = common
        raise InputError(
            f"--weights {one} and --weights {other} both hold for every backbone: to compare them, "
            f"name the backbone in each, as in --weights {name}={one} --weights {name}={other}"
        )
    _check_repeated(backbones, own)
    if common and all(own.values()):
        (one,) = common
        raise InputError(
            f"--weights {one} is for backbones without weights of their own, and here each has "
            f"some: name the backbone in it, as in --weights {name}={one} --weights {name}=FILE"
        )
    default = next(iter(common.values()), WeightsChoice())
    return [
        (name, replace(choice, folders=tuple(folders)))
        for name, choices in own.items()
        for choice in choices or [default]
    ]


def _check_repeated(backbones: Sequence[str], own: Mapping[str, Sequence[WeightsChoice]]) -> None:
    """Refuse a backbone named several times without as many weights of its own."""
    for name, count in Counter(backbones).items():
        if count > 1 and count != len(own[name]):
            raise InputError(
                f"--backbone {name} is given {count} times, with {len(own[name])} weights of its "
                "own: give it once, and each of its weights by name, as in "
                f"--weights {name}=IMAGENET1K_V1 --weights {name}=FILE"
            )


def assign_weights(
    backbones: Sequence[str], sources: Sequence[str] = ()
) -> dict[str, WeightsChoice]:
    """Decide as `assign_each` does, where every backbone can have only one set of weights.

    Raises
    ------
    InputError, UnknownNameError, WeightsError
        As `assign_each`, and for a backbone with several.
    """
    chosen: dict[str, WeightsChoice] = {}
    for name, choice in assign_each(backbones, sources):
        if name in chosen:
            raise InputError(f"several --weights are for {name}: give one of them")
        chosen[name] = choice
    return chosen


def _split(source: str) -> tuple[str, str]:
    target, equals, value = source.partition("=")
    if equals and target in backbone_names():
        return target, value
    if equals and not Path(source).exists():
        raise UnknownNameError("backbone", target, backbone_names(), f"(in --weights {source})")
    return "", source


def _parse(value: str) -> WeightsChoice:
    if value == "random":
        return WeightsChoice("random")
    if match := re.fullmatch(r"random:(\d+)", value):
        return WeightsChoice("random", seed=int(match[1]))
    if Path(value).suffix in SUFFIXES or os.sep in value:
        if not Path(value).is_file():
            raise WeightsError(f"--weights {value}: there is no such file or folder")
        return WeightsChoice("file", value)
    return WeightsChoice("named", value)


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


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read and check the ``.json`` beside a weights file.

    Raises
    ------
    WeightsError
        If it is missing, has no usable preprocessing, or names another sha256 than the file's.
    """
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        raise WeightsError(
            f"{path} has no sidecar {sidecar.name} that says how to preprocess for it: "
            f"'cxrfeat weights add {path} --backbone NAME' writes one"
        )
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        given = content["input"]
        usable = (
            isinstance(content["backbone"], str)
            and int(given["size"]) > 0
            and len([float(v) for v in given["mean"]]) == 3
            and all(float(v) > 0 for v in given["std"])
            and len(given["std"]) == 3
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(_sidecar_needs(sidecar)) from error
    if not usable:
        raise WeightsError(_sidecar_needs(sidecar))
    if "sha256" in content and file_sha256(path) != content["sha256"]:
        raise WeightsError(
            f"{path} is not the file its sidecar describes (another sha256): copy it again, or "
            f"mend {sidecar.name}"
        )
    return dict(content)


def _sidecar_needs(sidecar: Path) -> str:
    return (
        f'{sidecar} must hold "backbone" and "input" with "size", "mean" (3 numbers) and '
        '"std" (3 numbers above 0), for pixels scaled to 0..1'
    )


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


def check_hash(path: Path) -> None:
    """Compare a file with the hash in its own name, as torchvision names them.

    Raises
    ------
    WeightsError
        If they differ: the file is damaged or another one.
    """
    match = re.search(r"-([0-9a-f]{8,64})\.", path.name)
    if match and not file_sha256(path).startswith(match[1]):
        raise WeightsError(
            f"{path} is damaged (its sha256 does not begin with {match[1]}): remove it and fetch "
            "it again"
        )


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hexadecimal digits."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)  # half a gigabyte for VGG, asked for by more than one check
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(error: object) -> str:
    """Return the first line of what a library says, or the error's name."""
    text = str(error).strip().splitlines()
    return text[0].strip() if text else type(error).__name__
