"""Which known image each row of another program means: by path, name without suffix, or sha256."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cxrfeat.errors import InputError
from cxrfeat.inputs import ImageIds, locate

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class KnownImages:
    """Images of an embedding file: their ids, and the sha256 of each ("" where unknown)."""

    ids: list[str]
    sha256: list[str]


@dataclass(frozen=True)
class Matched:
    """Which rows are of known images.

    Attributes
    ----------
    rows : list of int
        Of the other program, in its order.
    places : list of int
        Where their images stand among the known ones.
    unknown : list of str
        Ids of the other rows.
    lacking : list of str
        Known images of which there is no row.
    notes : list of str
    """

    rows: list[int]
    places: list[int]
    unknown: list[str]
    lacking: list[str]
    notes: list[str] = field(default_factory=list)


def match(ids: Sequence[str], sha256: Sequence[str], known: KnownImages, where: str) -> Matched:
    """Find the known image of each id, by the rules that rows of a table are joined to images by.

    Parameters
    ----------
    ids
        Paths, file names with or without suffix, or the sha256 of the image files.
    sha256
        What is said of the images' bytes, "" where nothing is; it decides where the known
        images have it. Empty: nothing is said of any.
    where
        What the ids are of.

    Raises
    ------
    InputError
        No id of a known image, one that could be several, or several of one image.
    """
    by_digest: dict[str, list[int]] = {}
    for place, digest in enumerate(known.sha256):
        if digest:
            by_digest.setdefault(digest, []).append(place)
    place_of = {name: place for place, name in enumerate(known.ids)}
    stated = list(sha256) or [one if _SHA256.fullmatch(one) else "" for one in ids]
    found: dict[int, int] = {}
    for row, digest in enumerate(one.lower() for one in stated):
        if places := by_digest.get(digest, []) if digest else []:
            same = [place for place in places if known.ids[place] == ids[row]]
            if len(places) > 1 and not same:
                shown = " or ".join(f"'{known.ids[place]}'" for place in places[:3])
                raise InputError(
                    f"{where}: '{ids[row]}' could be {shown}, whose bytes are the same: use their"
                    " paths as ids"
                )
            found[row] = (same or places)[0]
    rest = [row for row in range(len(ids)) if row not in found]
    located = locate(
        [ids[row] for row in rest],
        [ImageIds(tuple(known.ids))],
        f"use paths, or the sha256 of the images, as ids in {where}",
    )
    notes = list(located.notes)
    if found:
        notes.insert(0, f"{len(found)} row(s) joined by the sha256 of their image")
    found |= {rest[at]: place_of[id_] for at, id_ in zip(located.rows, located.ids, strict=True)}
    if not found:
        raise InputError(
            f"{where}: none of its {len(ids)} ids is an image of the file to match (first:"
            f" '{ids[0]}'; there: '{known.ids[0]}'): paths, file names or sha256 are matched"
            " (cxrfeat help matching)"
        )
    _refuse_two_rows(found, ids, known, where)
    taken = set(found.values())
    rows = sorted(found)
    return Matched(
        rows,
        [found[row] for row in rows],
        [ids[row] for row in range(len(ids)) if row not in found],
        [name for place, name in enumerate(known.ids) if place not in taken],
        notes,
    )


def _refuse_two_rows(
    found: dict[int, int], ids: Sequence[str], known: KnownImages, where: str
) -> None:
    row_of: dict[int, int] = {}
    for row, place in found.items():
        if place in row_of:
            raise InputError(
                f"{where}: '{ids[row_of[place]]}' and '{ids[row]}' are both of the image"
                f" '{known.ids[place]}': leave one out, or use paths as ids"
            )
        row_of[place] = row
