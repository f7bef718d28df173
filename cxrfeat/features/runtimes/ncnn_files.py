"""What ncnn runs, as `ncnn_convert` keeps it: a folder a network, checked when it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from cxrfeat.features.network import disk_cache

BOUNDS = {"fp32": 1e-5, "bf16": 1e-2}
"""Largest relative error of a map against torch in float32, by precision."""

PACKAGES = ("ncnn", "pnnx")
_FILES = ("network.param", "network.bin")


@dataclass(frozen=True)
class Conversion:
    """A network as ncnn takes it.

    Attributes
    ----------
    outputs : int
        Number of maps.
    sha256 : list of str
        Of the files.
    error : dict of str to float
        Relative error against torch by precision, the largest over images and maps.
    unusable : str
        Why ncnn cannot run this network; "" if it can.
    """

    outputs: int
    sha256: list[str]
    error: dict[str, float]
    unusable: str = ""

    def refusal(self, precision: str) -> str:
        """Say why this conversion is not used for a precision; "" if it is."""
        if self.unusable:
            return self.unusable
        if precision not in BOUNDS:
            return f"ncnn does not run in {precision}"
        if not self.error[precision] <= BOUNDS[precision]:
            return (
                f"ncnn in {precision} differs from torch by {self.error[precision]:.1e}, "
                f"more than {BOUNDS[precision]:.0e}"
            )
        return ""


def installed() -> bool:
    """Whether converter and runtime are there (the extra ``cpu``)."""
    return all(find_spec(package) is not None for package in PACKAGES)


def versions() -> list[str]:
    """Return converter and runtime with their versions, as far as they are installed."""
    return [f"{package} {version(package)}" for package in PACKAGES if find_spec(package)]


def folder_of(key: str) -> Path:
    """Return where a conversion is kept."""
    return disk_cache.cache_folder() / "ncnn" / key


def read(folder: Path) -> Conversion | None:
    """Return the conversion in a folder; None if there is none, or its files have changed."""
    try:
        about = Conversion(**json.loads((folder / "about.json").read_text()))
        if not about.unusable and file_hashes(folder) != about.sha256:
            return None
    except (OSError, ValueError, TypeError):
        return None
    return about


def file_hashes(folder: Path) -> list[str]:
    """Return the sha256 of each file of a conversion."""
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _FILES]
