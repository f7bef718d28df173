"""What says that a file of weights is the right one: its sidecar ``.json``, and its hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cxrfeat.errors import WeightsError
from cxrfeat.features.network.torchvision_catalogue import Input, Pretrained
from cxrfeat.framing import CROPS, RESIZES

SUFFIXES = (".pth", ".pt", ".safetensors")


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read and check the ``.json`` beside a weights file.

    Raises
    ------
    WeightsError
        If it is missing, has no usable preprocessing, names another sha256 than the file's, has a
        ``pretraining`` that is no list of names, or a ``licence`` or ``citation`` that is no text.
    """
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        raise WeightsError(
            f"{path} has no sidecar {sidecar.name} that says how to preprocess for it: "
            f"'cxrfeat weights add {path} --backbone NAME' writes one (cxrfeat help weights)"
        )
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        given = content["input"]
        usable = (
            isinstance(content["backbone"], str)
            and int(given["size"]) > 0
            and len([float(v) for v in given["mean"]]) in (1, 3)
            and all(float(v) > 0 for v in given["std"])
            and len(given["std"]) == len(given["mean"])
            and given.get("crop", "none") in CROPS
            and given.get("resize", "bilinear") in RESIZES
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(_sidecar_needs(sidecar)) from error
    if not usable:
        raise WeightsError(_sidecar_needs(sidecar))
    if not _are_names(content.get("pretraining", [])):
        raise WeightsError(
            f'"pretraining" of {sidecar} must be a list of names of the collections that the'
            ' weights were trained on, e.g. ["ImageNet", "NIH ChestX-ray14"]'
        )
    for what in ("licence", "citation"):
        if not isinstance(content.get(what, ""), str):
            raise WeightsError(f'"{what}" of {sidecar} must be a text: mend it, or leave it out')
    if "sha256" in content and file_sha256(path) != content["sha256"]:
        raise WeightsError(
            f"{path} is not the file its sidecar describes (another sha256): copy it again, or "
            f"mend {sidecar.name}"
        )
    return dict(content)


def write_sidecar(path: Path, backbone: str, entry: Pretrained) -> None:
    """Write the ``.json`` beside a weights file: what it is of, and what is known of it."""
    given = entry.input
    framed = {"crop": given.crop, "resize": given.resize}
    usual = {"crop": "none", "resize": "bilinear"}
    content = {
        "backbone": backbone,
        "input": {
            "size": given.size,
            "mean": list(given.mean),
            "std": list(given.std),
            **{name: value for name, value in framed.items() if value != usual[name]},
            "note": "mean and std apply to pixels scaled to 0..1, as in torchvision",
        },
        "sha256": file_sha256(path),
        **({} if entry.pretraining is None else {"pretraining": list(entry.pretraining)}),
        **({"licence": entry.licence} if entry.licence else {}),
        **({"citation": entry.citation} if entry.citation else {}),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.with_suffix(".json").write_text(text, encoding="utf-8")


def preprocessor_input(path: Path, usual: Input) -> Input:
    """Read what a ``preprocessor_config.json`` of transformers says of the pictures.

    Raises
    ------
    WeightsError
        It does not give mean, std and a size.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        crops = bool(content.get("do_center_crop"))
        size = content["crop_size" if crops else "size"]
        if isinstance(size, Mapping):
            size = size.get("height") or size["shortest_edge"]
        mean, std = content["image_mean"], content["image_std"]
        return replace(
            usual,
            size=int(size),
            mean=tuple(float(value) for value in mean),
            std=tuple(float(value) for value in std),
            crop="centre" if crops else usual.crop,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} does not say how to preprocess ({error!r}): give --size, --mean and --std"
        ) from error


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)


def _sidecar_needs(sidecar: Path) -> str:
    return (
        f'{sidecar} must hold "backbone" and "input" with "size", "mean" (3 numbers, or 1 for a'
        ' network of one channel) and "std" (as many above 0), for pixels scaled to 0..1; "crop"'
        f' may be {" or ".join(CROPS)}, "resize" {" or ".join(RESIZES)}'
    )


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
