"""Which networks an audit shows pictures to: the audited ones again, and their random twins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cxrfeat import features
from cxrfeat.errors import InputError
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.images import ReadingOptions
from cxrfeat.prediction.embedded import reopen_all
from cxrfeat.prediction.reopened_extractor import reading_options

ANY = ("any",)
"""What was extracted was read; its modality is not asked again."""


@dataclass(frozen=True)
class Networks:
    """Networks of the audited extractors, by the extractor's name.

    Attributes
    ----------
    audited : dict of str to Extractor
        As their embeddings were made.
    random : dict of str to Extractor
        The same architecture with random weights; those that are random themselves have none.
    reading : ReadingOptions
        How their images were read.
    notes : list of str
    """

    reading: ReadingOptions
    audited: Mapping[str, features.Extractor] = field(default_factory=dict)
    random: Mapping[str, features.Extractor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def open_networks(
    extractors: Sequence[Extractor], *, weights: Sequence[str] = (), device: str = "auto"
) -> Networks:
    """Open the networks of some audited extractors again.

    Parameters
    ----------
    extractors
        Of the study; those side by side, which are of the others, are passed over.
    weights, device
        As for `extract`.

    Raises
    ------
    InputError
        Extractors that read their images in different ways.
    WeightsError, SpecMismatchError, FileFormatError
        As `reopen_extractor` says.
    """
    single = {one.name: one for one in extractors if not one.widths}
    reading = how_read(list(single.values()))
    opened = reopen_all({n: one.spec for n, one in single.items()}, weights=weights, device=device)
    random, notes = {}, []
    for name, one in single.items():
        if one.control:
            notes.append(f"{name} is of random weights itself: it has no random twin as a control")
            continue
        if not features.has_random_weights(str(one.spec["backbone"])):
            notes.append(f"{name} makes its weights itself: it has no random twin as a control")
            continue
        random[name] = features.open_extractor(
            str(one.spec["backbone"]),
            weights=features.WeightsChoice("random"),
            pooling=str(one.spec["pooling"]),
            image_size=opened[name].image_size,
            precision=str(one.spec["precision"]),
            device=device,
        )
    return Networks(reading, opened, random, notes)


def how_read(extractors: Sequence[Extractor]) -> ReadingOptions:
    """Say how the images of some extractors were read.

    Raises
    ------
    InputError
        Not all in the same way.
    """
    ways = {
        reading_options(one.spec, ANY)
        for one in extractors
        if isinstance(one.spec.get("image"), dict)
    }
    if len(ways) > 1:
        raise InputError(
            "the extractors read another frame of a file, or other bits, each: audit them apart"
        )
    return next(iter(ways), ReadingOptions(modalities=None))
