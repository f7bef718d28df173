"""What this machine offers the extractors: weights in order, a way to download them."""

from __future__ import annotations

from cxrfeat.features.network.backbones import PACKAGED
from cxrfeat.features.network.families import family_of
from cxrfeat.features.weights.choice import WeightsChoice
from cxrfeat.features.weights.download import connect
from cxrfeat.features.weights.files import WeightsFile, locate_weights
from cxrfeat.features.weights.find import named_url
from cxrfeat.features.weights.sidecar import check_hash, read_sidecar


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
    if choice.kind != "named" or backbone in PACKAGED or family_of(backbone) is not None:
        return "these weights are not downloaded"
    try:
        connect(named_url(backbone, choice.name)[1]).close()
    except OSError as error:
        return str(error) or type(error).__name__
    return ""
