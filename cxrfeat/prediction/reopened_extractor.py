"""Open an extractor again from the spec that a model or an embedding file was made with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cxrfeat import defaults, features, images
from cxrfeat.errors import (
    FileFormatError,
    MadeElsewhereError,
    SpecMismatchError,
    WeightsError,
)
from cxrfeat.features.weights.find import search_folders
from cxrfeat.features.weights.sidecar import SUFFIXES
from cxrfeat.images import ReadingOptions
from cxrfeat.spec import Spec, canonical_json, difference, made_elsewhere, stated_name

LARGEST_IMAGE = 8192  # a spec from elsewhere must not ask for all the memory


def reopen_extractor(
    spec: Mapping[str, Any], *, weights: Sequence[str] = (), device: str = "auto"
) -> features.Extractor:
    """Open the one extractor that makes embeddings of this spec.

    The extractors opened last stay in memory, so that asking again costs nothing.

    Parameters
    ----------
    spec : mapping
        Of a model or an embedding file, not of several extractors side by side.
    weights : sequence of str
        Where to find the weights, as for `extract`; random weights are drawn again from their
        seed and need none.
    device : str
        "auto", "cpu", "cuda" or "mps".

    Raises
    ------
    MadeElsewhereError
        A spec of embeddings that were imported.
    FileFormatError
        A spec that does not say what to open.
    UnknownNameError
        A network, pooling or precision that there is not.
    WeightsError
        The spec's weights cannot be found.
    SpecMismatchError
        What can be opened here would give other embeddings: other tensors, another version of
        image reading or preprocessing ...; with one line for each difference.
    """
    refuse_imported(spec)
    return _open(canonical_json(spec), tuple(weights), device)


def refuse_imported(spec: Spec) -> None:
    """Refuse a spec of embeddings that another program computed: no more can be made here.

    Raises
    ------
    MadeElsewhereError
    """
    if not made_elsewhere(spec):
        return
    name = stated_name(spec)
    raise MadeElsewhereError(
        f"these embeddings were imported{f' (of {name})' if name else ''}, and cxrfeat cannot"
        " compute those of other images: make them with the program that made these, import them"
        " with --same-as, and predict from that .h5 file"
    )


@lru_cache(maxsize=2)  # building VGG16 takes seconds, one image a fraction of one
def _open(spec_json: str, weights: tuple[str, ...], device: str) -> features.Extractor:
    spec = json.loads(spec_json)
    try:
        backbone, name = str(spec["backbone"]), str(spec["weights"]["name"])
        pooling, precision = str(spec["pooling"]), str(spec["precision"])
        size = int(spec["image"]["size"][0])
        options = reading_options(spec)
    except (LookupError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"the model's spec does not say which extractor to open ({error}): make it again with"
            " cxrfeat extract and cxrfeat fit"
        ) from error
    if size > LARGEST_IMAGE:
        raise FileFormatError(
            f"the model's spec asks for images of {size} x {size} pixels; more than"
            f" {LARGEST_IMAGE} are not taken"
        )
    features.check_name(backbone)
    extractor = features.open_extractor(
        backbone,
        weights=_choice(backbone, name, weights),
        pooling=pooling,
        image_size=size,
        precision=precision,
        device=device,
    )
    opened = {**extractor.spec, "image": images.reading_spec(extractor.framing, options)}
    if differs := difference(opened, spec):
        raise SpecMismatchError(
            f"{backbone} as it can be opened here is not the extractor of the model ('there'): use"
            " the weights and package versions it was fitted with, or extract and fit anew",
            differs,
        )
    return extractor


def reading_options(
    spec: Mapping[str, Any], modality: Sequence[str] = defaults.MODALITIES
) -> ReadingOptions:
    """Return how images are read for a spec.

    Parameters
    ----------
    modality : sequence of str
        DICOM modalities that are read, others fail; not part of a spec.
    """
    frame, bits = (spec["image"].get(name) for name in ("frame", "bits"))
    options = ReadingOptions.asked_for(
        modality, None if frame is None else int(frame), None if bits is None else int(bits)
    )
    return replace(options, guess_bits=False)


def _choice(backbone: str, name: str, sources: Sequence[str]) -> features.WeightsChoice:
    """Decide where the weights called `name` come from; never downloads others in their place."""
    choices = [choice for _, choice in features.assign_each([backbone], sources)]
    for choice in choices:
        if choice.weights_name == name:
            return choice
    given = choices[0]
    if match := re.fullmatch(r"random-seed-(\d+)", name):
        return features.WeightsChoice("random", seed=int(match[1]))
    if given.kind != "named" or given.name:
        return given
    if name in features.describe([backbone])[0].weights:
        return features.WeightsChoice("named", name, folders=given.folders)
    places = search_folders(given.folders)
    for path in (folder / f"{name}{suffix}" for folder in places for suffix in SUFFIXES):
        if path.is_file():
            return features.WeightsChoice("file", str(path))
    raise WeightsError(
        f"the weights '{name}' of {backbone} are in none of {_listed(places)}: give their file with"
        " --weights FILE"
    )


def _listed(places: Sequence[Path]) -> str:
    return ", ".join(str(place) for place in places)
