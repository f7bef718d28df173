"""Which weights each backbone gets: what ``--weights`` says, before anything is looked for.

Under a pinned torchvision name, from a local file with a sidecar, or `random`: a labelled control
that shows how much of a score is the architecture's alone.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cxrfeat.errors import InputError, UnknownNameError, WeightsError
from cxrfeat.features.network.backbones import backbone_names, is_backbone
from cxrfeat.features.weights.sidecar import SUFFIXES, read_sidecar


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


def named_backbones(sources: Sequence[str]) -> list[str]:
    """List the backbones that some ``--weights`` are of, by name or by the sidecar of a file.

    Raises
    ------
    UnknownNameError, WeightsError
        As `assign_each`.
    """
    named = []
    for source in sources:
        target, value = _split(source)
        if not target and not Path(value).is_dir() and _parse(value).kind == "file":
            target = str(read_sidecar(Path(value))["backbone"])
        if target:
            named.append(target)
    return list(dict.fromkeys(named))


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
    if equals and is_backbone(target):
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
