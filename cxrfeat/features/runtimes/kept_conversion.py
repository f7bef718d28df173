"""What `runners` run, as `converting` keeps it: a folder a network, checked when read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from cxrfeat.features.network import disk_cache
from cxrfeat.features.runtimes.recipe import OPENVINO_WINOGRAD


@dataclass(frozen=True)
class Conversion:
    """A network as a runtime takes it.

    Attributes
    ----------
    outputs : int
        Number of maps.
    sha256 : list of str
        Of the files.
    error : dict of str to float
        Relative error against torch by precision, the largest over images and maps; without those
        that the runtime does not compute in here.
    bound : dict of str to float
        What `error` may be.
    unusable : str
        Why the runtime cannot run this network; "" if it can.
    """

    outputs: int
    sha256: list[str]
    error: dict[str, float]
    bound: dict[str, float]
    unusable: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of conversion.

    Attributes
    ----------
    name : str
        Of the runtime.
    extra : str
        What brings its packages.
    packages : tuple of str
        Runtime and converter.
    files : tuple of str
        That a conversion consists of.
    form : int
        Another number where the same network is written in another way than before.
    by_precision : bool
        Whether it is written in another way for each precision.
    """

    name: str
    extra: str
    packages: tuple[str, ...]
    files: tuple[str, ...]
    form: int = 1
    by_precision: bool = False

    def checked(self, precision: str) -> tuple[str, ...]:
        """Return the precisions that a conversion is checked in, if it is made for one of them.

        What is wrong in float32 is wrong in any.
        """
        return ("fp32",) if self.by_precision and precision == "fp32" else ("fp32", "bf16")

    def installed(self) -> bool:
        """Whether runtime and converter are there."""
        return all(find_spec(package) is not None for package in self.packages)

    def versions(self) -> list[str]:
        """Return the packages with their versions, as far as they are installed."""
        return [f"{package} {version(package)}" for package in self.packages if find_spec(package)]

    def folder_of(self, key: str) -> Path:
        """Return where a conversion is kept."""
        return disk_cache.cache_folder() / self.name.replace(" ", "-") / key

    def read(self, folder: Path) -> Conversion | None:
        """Return the conversion in a folder; None if there is none, or its files have changed."""
        try:
            about = Conversion(**json.loads((folder / "about.json").read_text()))
            if not about.unusable and self.file_hashes(folder) != about.sha256:
                return None
        except (OSError, ValueError, TypeError):
            return None
        return about

    def file_hashes(self, folder: Path) -> list[str]:
        """Return the sha256 of each file of a conversion."""
        return [_sha256(folder / name) for name in self.files]

    def refusal(self, made: Conversion, precision: str) -> str:
        """Say why a conversion is not used for a precision; "" if it is.

        What is wrong in float32 is wrong in any precision.
        """
        if made.unusable:
            return made.unusable
        if precision not in made.error:
            return f"{self.name} does not compute in {precision} here"
        for one in ("fp32", precision):
            if not made.error[one] <= made.bound[one]:
                return (
                    f"{self.name} in {one} differs from torch by {made.error[one]:.1e}, "
                    f"more than {told(made.bound[one])}"
                )
        return ""


def _sha256(path: Path) -> str:
    """Hash a file of which little is in memory at once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


NCNN = Kind("ncnn", "cpu", ("ncnn", "pnnx"), ("network.param", "network.bin"), form=2)
OPENVINO = Kind("openvino", "openvino", ("openvino",), ("network.xml", "network.bin"), form=2,
                by_precision=True)  # fmt: skip
WINOGRAD = replace(OPENVINO, name=OPENVINO_WINOGRAD)
KINDS = (NCNN, OPENVINO, WINOGRAD)


def versions() -> list[str]:
    """Return the packages of all kinds, as far as they are installed, and how they are used.

    What was measured or found out with others is of no use.
    """
    return [one for kind in KINDS for one in (*kind.versions(), f"form {kind.form}")]


def runtimes_here() -> list[str]:
    """Name what ``--runtime`` can mean here, with versions: torch first."""
    there = dict.fromkeys(one.versions()[0] for one in KINDS if one.installed())
    return [f"torch {version('torch')}", *there]


def told(bound: float) -> str:
    """Return a bound in words: "1e-05", "1.3e-02"."""
    return f"{bound:.1e}".replace(".0e", "e")


class NotRunError(Exception):
    """A network that a runtime does not take; says why. It ends in a note, never with a user."""
