"""What this machine offers the extractors: devices, weights in order, a way to download."""

from __future__ import annotations

import torch

from cxrfeat.features.backbones import PACKAGED
from cxrfeat.features.carrying import WeightsFile, locate_weights
from cxrfeat.features.download import connect
from cxrfeat.features.weights import WeightsChoice, check_hash, named_url, read_sidecar


def devices() -> list[str]:
    """Name what ``--device`` can mean here, the CPU first."""
    found = ["cpu"]
    found += [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def examine_weights(backbone: str, choice: WeightsChoice) -> WeightsFile:
    """Locate a backbone's weights as `locate_weights` does, and check the file's hash.

    Raises
    ------
    WeightsError
        The file is damaged, or its sidecar is missing or of another file.
    """
    found = locate_weights(backbone, choice)
    if found.path is None:
        return found
    if choice.kind == "file" or found.path.with_suffix(".json").is_file():
        read_sidecar(found.path)
    else:
        check_hash(found.path)
    return found


def can_download(backbone: str, choice: WeightsChoice) -> str:
    """Ask whether named weights could be downloaded, without downloading them.

    Returns
    -------
    str
        Empty where they could, else why not.
    """
    if choice.kind != "named" or backbone in PACKAGED:
        return "these weights are not downloaded"
    try:
        connect(named_url(backbone, choice.name)[1]).close()
    except OSError as error:
        return str(error) or type(error).__name__
    return ""
