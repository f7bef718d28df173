"""`cxrfeat doctor`: whether this machine has what is needed, and how to get what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from cxrfeat import defaults
from cxrfeat.cores import available_cores
from cxrfeat.errors import CxrfeatError, WeightsError
from cxrfeat.memory import usable_memory
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike, several

if TYPE_CHECKING:
    from cxrfeat.features import WeightsChoice, WeightsFile

GOOD, BAD, NOTE = "good", "bad", "note"
LEAST_PYTHON = (3, 11)
LEAST_DISK = 1 << 30
"""Bytes: room for the embeddings of some 100,000 images, and for one file of weights."""
LEAST_MEMORY = 2 << 30
"""Bytes: VGG16 with a batch of images, and the interpreter."""

_REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[[^\]]*\])?\s*(?:[=>]=\s*([\d.]+))?")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
    state : "good", "bad" or "note"
        ``"bad"``: needed, and not there; ``"note"``: worth knowing, nothing fails for it.
    found : str
    mend : str
        What to do; empty where there is nothing to do.
    """

    what: str
    state: str
    found: str
    mend: str = ""


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """What `doctor` found.

    Attributes
    ----------
    healthy : bool
        Everything needed is there.
    usable : bool
        Something can be extracted: all is there but the weights of some backbones.
    missing : list of str
        What was looked at and is not there.
    to_do : str
        What to do, in one line; empty when healthy.
    checks : list of Check
    """

    healthy: bool
    usable: bool
    missing: list[str]
    to_do: str
    checks: list[Check]


def doctor(
    backbone: str | Sequence[str] | None = None,
    *,
    weights: str | Sequence[str] = (),
    out: PathLike = defaults.EMBEDDINGS,
    online: bool = False,
) -> Diagnosis:
    """Check Python, packages, folders, locks, memory, devices, extras and weights.

    Nothing is downloaded, and nothing is left behind.

    Parameters
    ----------
    backbone, weights
        As for `extract`: whose weights are looked for, and where.
    out
        Where embeddings are to be written.
    online
        Also ask whether missing weights could be downloaded; nothing goes out without it.

    Raises
    ------
    UnknownNameError
        A backbone that there is not.
    """
    packages = _packages()
    checks = [_python(), *packages, *_extras(), _memory()]
    # The other checks import what is being checked: without it they would only fail.
    of_weights: list[Check] = []
    if all(check.state == GOOD for check in packages):
        checks += [_cores(), *_devices(), *_folder(Path(out))]
        of_weights = _weights(several(backbone), several(weights), online)
    usable = all(check.state != BAD for check in checks) and any(
        check.state != BAD for check in of_weights
    )
    checks += of_weights
    bad = [check for check in checks if check.state == BAD]
    to_do = "; ".join(dict.fromkeys(f"{check.what}: {check.mend}" for check in bad))
    return Diagnosis(not bad, usable, [check.what for check in bad], to_do, checks)


def _python() -> Check:
    enough = sys.version_info >= LEAST_PYTHON
    least = ".".join(str(part) for part in LEAST_PYTHON)
    found = f"{platform.python_version()} on {platform.platform()}"
    return Check("Python", GOOD if enough else BAD, found, "" if enough else f"install {least}")


def _packages() -> list[Check]:
    checks = []
    for name, least in requirements().get("", []):
        version = _version(name)
        enough = version is not None and _number(version) >= _number(least)
        found = version or "not installed"
        mend = "" if enough else f"pip install '{name}>={least}'"
        checks.append(Check(name, GOOD if enough else BAD, found, mend))
    return checks


def _extras() -> list[Check]:
    checks = []
    for extra, needed in requirements().items():
        if extra in ("", "dev"):
            continue
        missing = [name for name, _ in needed if _version(name) is None]
        found = "installed" if not missing else f"without {', '.join(missing)}"
        mend = f"pip install 'cxrfeat[{extra}]'" if missing else ""
        checks.append(Check(f"extra {extra}", NOTE if missing else GOOD, found, mend))
    return checks


def requirements() -> dict[str, list[tuple[str, str]]]:
    """Name and least version of the packages that are needed (``""``) and of each extra's.

    From the installed package, or from ``pyproject.toml`` where it runs from its sources.
    """
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for text in _stated_requirements():
        what, _, condition = text.partition(";")
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", condition)
        named = _REQUIREMENT.match(what.strip())
        if named and named[1] != "cxrfeat":
            found.setdefault(extra[1] if extra else "", []).append((named[1], named[2] or "0"))
    return found


def _stated_requirements() -> list[str]:
    try:
        return metadata.requires("cxrfeat") or []
    except metadata.PackageNotFoundError:
        path = Path(__file__).parents[2] / "pyproject.toml"
    if not path.is_file():
        return []
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    stated = list(project["dependencies"])
    for extra, needed in project["optional-dependencies"].items():
        stated += [f"{name}; extra == '{extra}'" for name in needed]
    return stated


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _devices() -> list[Check]:
    from cxrfeat import features

    return [
        Check("processor", GOOD, features.processor()),
        Check("devices", GOOD, ", ".join(features.devices())),
        Check("runtimes of the CPU", GOOD, ", ".join(features.runtimes_here())),
    ]


def _folder(out: Path) -> list[Check]:
    """Try to write and to lock where the embeddings go, in a folder that is removed again."""
    from cxrfeat.store.lock import FileLock

    place = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    where = "the output folder"
    try:
        with tempfile.TemporaryDirectory(prefix=".cxrfeat-doctor-", dir=place) as probe:
            FileLock(Path(probe) / "probe.h5").release()
    except CxrfeatError as error:
        mend = "choose a local disk with --out: this one cannot lock files"
        checks = [Check(where, GOOD, str(place)), Check("file locks", BAD, str(error), mend)]
    except OSError as error:
        mend = "choose another one with --out, or make it writable"
        checks = [Check(where, BAD, f"{place}: {error.strerror}", mend)]
    else:
        checks = [
            Check(where, GOOD, f"{place} can be written"),
            Check("file locks", GOOD, "work there"),
        ]
    free = shutil.disk_usage(place).free
    enough = free >= LEAST_DISK
    mend = "" if enough else "free some room, or choose another disk with --out: 1 GB is little"
    return [*checks, Check("disk space", GOOD if enough else BAD, f"{_gigabytes(free)} free", mend)]


def _cores() -> Check:
    return Check("cores", GOOD, f"{available_cores()} of {os.cpu_count()} may be used")


def _memory() -> Check:
    free = usable_memory()
    if free is None:
        return Check("memory", NOTE, "not known")
    if free < LEAST_MEMORY:
        mend = "use a smaller --batch-size and fewer --workers, or free some"
        return Check("memory", NOTE, f"{_gigabytes(free)} free", mend)
    return Check("memory", GOOD, f"{_gigabytes(free)} free")


def _weights(backbone: Sequence[str], weights: Sequence[str], online: bool) -> list[Check]:
    from cxrfeat import features

    checks = []
    names = backbone or features.named_backbones(weights) or defaults.BACKBONES
    for name, choice in features.assign_each(names, weights):
        what = f"weights of {name}"
        try:
            found = features.examine_weights(name, choice)
        except WeightsError as error:
            checks.append(Check(what, BAD, "damaged or unusable", str(error)))
            continue
        if found.path is not None or choice.kind == "random":
            place = found.path or "drawn from a seed (a control)"
            checks.append(Check(what, GOOD, f"{found.weights}: {place}"))
            continue
        checks.append(_missing_weights(what, name, choice, found, online))
    return checks


def _missing_weights(
    what: str,
    name: str,
    choice: WeightsChoice,
    found: WeightsFile,
    online: bool,
) -> Check:
    from cxrfeat import features

    if found.file.startswith("pip "):
        return Check(what, BAD, f"{found.weights} is not installed", found.file)
    missing = f"{found.file} is not on this machine"
    mend = (
        f"cxrfeat weights fetch {name}, on a connected machine, then --weights FOLDER or"
        " $CXRFEAT_WEIGHTS"
    )
    if not online:
        return Check(what, BAD, f"{missing} (not asked for online)", mend)
    refused = features.can_download(name, choice)
    if refused:
        return Check(what, BAD, f"{missing} and cannot be downloaded: {refused}", mend)
    return Check(what, NOTE, f"{missing}, and will be downloaded", f"cxrfeat weights fetch {name}")


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
