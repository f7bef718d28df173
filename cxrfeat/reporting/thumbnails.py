"""Find the radiographs that were extracted, and make them small enough for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from cxrfeat import images
from cxrfeat.errors import ImageError, InputError
from cxrfeat.extraction.reading_ahead import read_in_order, reader_count
from cxrfeat.images import ReadingOptions
from cxrfeat.images.drawing.thumbnails import thumbnail

OUTSIDE = "test:"
"""What ids of an outside test set begin with."""

BUDGET = 4_000_000
"""Bytes of all thumbnails at most; on a page they are text, a third more."""
SIDES = ((600, 176), (1500, 112), (3000, 80))
"""Up to how many images, how many pixels."""


@dataclass(frozen=True)
class _Small:
    row: int
    jpeg: bytes = b""
    why_not: str = ""


def find_folders(ids: Sequence[str], embeddings: Sequence[Path]) -> list[Path]:
    """Look for the folders that ids are relative to: here, beside the embedding files, one below.

    Only places that have one of the first images are returned; whether they are the same images
    is for `thumbnails` to tell.
    """
    first = [id_.removeprefix(OUTSIDE) for id_ in (*ids[:1], *ids[-1:])]
    near = [Path(), *(part for file in embeddings for part in (file.parent, file.parent.parent))]
    seen: dict[Path, None] = {}
    for place in near:
        seen.update(dict.fromkeys([place.resolve(), *_folders_in(place)]))
    return [place for place in seen if any(_places(place, id_) for id_ in first)]


def _places(folder: Path, id_: str) -> list[Path]:
    """Return the file of an id, whose accents the disk may write as two characters."""
    names = dict.fromkeys((id_, normalize("NFD", id_)))
    return [path for path in (folder / name for name in names) if path.is_file()]


def _folders_in(place: Path) -> Iterator[Path]:
    try:
        yield from (path for path in sorted(place.resolve().iterdir()) if path.is_dir())
    except OSError:
        return


@dataclass(frozen=True)
class Radiographs:
    """Which radiographs a page would show, and where they may be.

    Attributes
    ----------
    ids : sequence of str
        Of all images.
    numbers : dict of int to int
        The number on the page of each row, the rows that matter most first.
    folders : sequence of Path
        Where ids may begin.
    sha256 : dict of str to str
        By id, of the file that was extracted; "" where it is not known.
    frame, bits : int or None
        What a spec says of reading images.
    """

    ids: Sequence[str]
    numbers: Mapping[int, int]
    folders: Sequence[Path]
    sha256: Mapping[str, str]
    frame: int | None
    bits: int | None

    def jpegs(self, budget: int) -> tuple[dict[int, bytes], list[str]]:
        """Make thumbnails of at most so many bytes in all, by number; say what is missing."""
        made, notes = thumbnails(
            self.ids,
            list(self.numbers),
            self.folders,
            self.sha256,
            frame=self.frame,
            bits=self.bits,
            budget=min(BUDGET, budget),
        )
        return {self.numbers[row]: jpeg for row, jpeg in made.items()}, notes


def thumbnails(
    ids: Sequence[str],
    rows: Sequence[int],
    folders: Sequence[Path],
    sha256: Mapping[str, str],
    frame: int | None = None,
    bits: int | None = None,
    budget: int = BUDGET,
) -> tuple[dict[int, bytes], list[str]]:
    """Make thumbnails of some images, as far as they are there and are the same as then.

    Parameters
    ----------
    ids
        Of all images.
    rows
        Whose thumbnails; where there are too many for a page, the first of them.
    folders
        Where ids may begin.
    sha256
        By id, of the file that was extracted; "" where it is not known.
    frame
        Of DICOM files of several.
    bits
        Of pictures of 16 bits that do not state theirs.
    budget
        Bytes of all of them at most.

    Returns
    -------
    jpegs : dict of int to bytes
        By row.
    notes : list of str
        How many are missing, and why.

    Raises
    ------
    InputError
        A folder that does not exist.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"no such folder '{folder}': give --images the folder that ids begin in"
            )
    options = ReadingOptions.asked_for(["any"], frame, bits)
    side = next((side for most, side in SIDES if len(rows) <= most), SIDES[-1][1])

    def small(row: int) -> _Small:
        name = ids[row].removeprefix(OUTSIDE)
        changed = False
        for path in (path for folder in folders for path in _places(folder, name)):
            try:
                radiograph = images.read_image(path, options=options)
            except ImageError:
                changed = True
                continue
            if sha256.get(name, "") in ("", radiograph.sha256):  # imported: as a rule not known
                return _Small(row, thumbnail(radiograph.pixels, side=side))
            changed = True
        return _Small(row, why_not="changed" if changed else "gone")

    jpegs: dict[int, bytes] = {}
    size, missing = 0, {"changed": 0, "gone": 0}
    workers = reader_count(None)
    for one in read_in_order(rows, small, workers, 2 * workers):
        if one.why_not:
            missing[one.why_not] += 1
            continue
        size += len(one.jpeg)
        if size > budget:
            break
        jpegs[one.row] = one.jpeg
    return jpegs, _notes(missing, len(rows), len(jpegs), size > budget)


def _notes(missing: Mapping[str, int], wanted: int, made: int, full: bool) -> list[str]:
    notes = []
    if missing["gone"] == wanted:
        return [
            "no thumbnails: the radiographs were not found; --images FOLDER says where they are"
        ]
    if missing["gone"]:
        notes.append(f"{missing['gone']} images without thumbnail: not found")
    if missing["changed"]:
        notes.append(f"{missing['changed']} images without thumbnail: no longer what was extracted")
    if full:
        notes.append(
            f"thumbnails of {made} of {wanted} images, drawn at random: more would make the page"
            " too large"
        )
    return notes
