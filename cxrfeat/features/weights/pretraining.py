"""What weights were trained on, as far as something states it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cxrfeat.errors import CxrfeatError
from cxrfeat.features.network.backbones import PACKAGED, named_weights
from cxrfeat.features.network.families import family_of
from cxrfeat.features.weights.find import search_folders
from cxrfeat.features.weights.sidecar import SUFFIXES, read_sidecar


def stated_pretraining(
    backbone: str, weights_name: str, sources: Sequence[str] = ()
) -> list[str] | None:
    """Name the collections that weights were trained on; nothing is loaded or downloaded.

    Parameters
    ----------
    backbone : str
    weights_name : str
        As it stands in a spec.
    sources : sequence of str
        What ``--weights`` said: files and folders among it are looked at, and the usual folders.

    Returns
    -------
    list of str or None
        From the name for those of torchvision and of packages, which were trained on photographs,
        and for those that a family states; nothing for random ones; the list ``pretraining`` of
        the sidecar for a file. None where nothing states it.

    Raises
    ------
    WeightsError
        A sidecar that cannot be used.
    """
    if re.fullmatch(r"random-seed-\d+", weights_name):
        return []
    if re.match(r"IMAGENET1K_", weights_name):
        return ["ImageNet", *(["Instagram"] if "SWAG" in weights_name else [])]
    if family_of(backbone) is not None:
        try:
            named = named_weights(backbone).get(weights_name)
        except CxrfeatError:  # its package is not installed here: a sidecar may still say it
            named = None
        if named is not None and named.pretraining is not None:
            return list(named.pretraining)
    if backbone in PACKAGED and weights_name == PACKAGED[backbone].weights_name:
        return ["ImageNet"]
    given = [Path(source.rpartition("=")[2]) for source in sources]
    places = [path for path in given if path.is_file() and path.stem == weights_name]
    for folder in search_folders([path for path in given if path.is_dir()]):
        places += [folder / f"{weights_name}{suffix}" for suffix in SUFFIXES]
    for path in places:
        if path.suffix in SUFFIXES and path.is_file() and path.with_suffix(".json").is_file():
            stated = read_sidecar(path).get("pretraining")
            return None if stated is None else [str(name) for name in stated]
    return None
