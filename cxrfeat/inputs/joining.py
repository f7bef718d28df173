"""Which image each row of a table means: its path as it stands first, then what may be mended."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxrfeat.errors import InputError
from cxrfeat.inputs.archives import Member, is_archive
from cxrfeat.inputs.folders import find_images, image_id
from cxrfeat.inputs.label_table import same_form, slashes
from cxrfeat.inputs.places import ImageIds, PlaceList, Root
from cxrfeat.inputs.places import Place as Where
from cxrfeat.inputs.remote_images import RemoteFile, RemoteFolder
from cxrfeat.signatures import IMAGE_SUFFIXES

Place = tuple[str, Where]
"""The id of an image, and where it is."""


@dataclass
class Located:
    """Which rows have their image.

    Attributes
    ----------
    rows : list of int
        Rows whose image is there, in their order.
    ids : list of str
    paths : sequence of Path, Member or RemoteFile
        Of the images of `rows`.
    missing : list of str
        What the other rows name.
    by_fallback : dict of str to str
        What rows name that was found in another way than as it stands, with the id it became.
    notes : list of str
    """

    rows: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    paths: PlaceList = field(default_factory=PlaceList)
    missing: list[str] = field(default_factory=list)
    by_fallback: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


USE_PATHS = (
    "write in the table the path from the image folder, or name the one folder that is meant"
)


def locate(values: Sequence[str], roots: Sequence[Root], mend: str = USE_PATHS) -> Located:
    """Find the image of each row.

    A value is looked for as a path from the image folders, or from a folder above them, in either
    Unicode form. Only then, and said in the notes: a value without a folder as a file name below
    the image folders; a value without a suffix with one; and, where no value with a folder was
    found, all of them without one leading part that they share.

    Parameters
    ----------
    values
        Path, file name, or either without its suffix; Windows paths too.
    roots
        The image folders; or the ids of images, among which a value is looked for in the same way.
    mend
        What to do about a value that could be several images.

    Returns
    -------
    Located

    Raises
    ------
    InputError
        A value that could be several images, or several prefixes that could be dropped.
    """
    search = _Search(roots, mend)
    places: dict[int, Place] = {}
    names: dict[int, str] = {}  # found by the file name alone, below the folders
    suffixes: dict[int, str] = {}  # found in their folder, once a suffix is added
    with_folder: list[int] = []  # not found yet
    prefix_allowed = True
    for row, value in enumerate(values):
        place, added_suffix = search.as_it_stands(value)
        bare = len(_parts(value)) < 2
        if place is None and bare:
            place = search.by_name(value)
            if place is not None:
                names[row] = value
        elif added_suffix:
            suffixes[row] = value
        if place is not None:
            places[row] = place
            prefix_allowed = prefix_allowed and bare
        elif not bare:
            with_folder.append(row)
    prefix, dropped = "", dict[int, Place]()
    if prefix_allowed and with_folder:
        prefix, dropped = search.without_prefix({row: values[row] for row in with_folder})
        places |= dropped

    found = Located(missing=[v for row, v in enumerate(values) if row not in places])
    for row in sorted(places):
        name, path = places[row]
        found.rows.append(row)
        found.ids.append(name)
        found.paths.append(path)
    for rows, how in (
        (names, f"{len(names)} row(s) joined by the file name alone"),
        (suffixes, f"{len(suffixes)} row(s) joined by their path without a suffix"),
        (dropped, f"'{prefix}' dropped from the paths of {len(dropped)} row(s)"),
    ):
        if rows:
            joined = {values[row]: places[row][0] for row in rows}
            found.by_fallback |= joined
            found.notes.append(f"{how} ({_examples(joined)})")
    other_case = search.in_other_case(found.missing)
    if other_case:
        found.notes.append(
            f"{len(other_case)} row(s) differ from an image in upper and lower case alone, which "
            f"is another name ({_examples(other_case)})"
        )
    return found


def _examples(joined: dict[str, str]) -> str:
    more = ", ..." if len(joined) > 3 else ""
    return ", ".join(f"'{value}' is '{name}'" for value, name in [*joined.items()][:3]) + more


def _parts(value: str) -> list[str]:
    """Split a path as POSIX or Windows writes it, a drive as a folder."""
    return [p for p in os.path.normpath(slashes(value)).split("/") if p not in ("", ".")]


class _Search:
    """Looks for images as the disk has them; walks the folders at most once, when it must."""

    def __init__(self, roots: Sequence[Root], mend: str) -> None:
        self._mend = mend
        self._roots = list(roots)
        self._tails = [_parts(same_form(_written_out(root))) for root in roots]
        self._folders = [root for root in roots if isinstance(root, Path)]
        self._known = {id_ for root in roots if isinstance(root, ImageIds) for id_ in root.ids}
        # Where absolute paths may begin, by name and with every link followed.
        self._bases = [
            Path(base)
            for folder in map(_folder_of, self._folders)
            for base in dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder)))
        ]
        self._listed: _Listed | None = None

    def as_it_stands(self, value: str) -> tuple[Place | None, bool]:
        """Find a path from the folders or from one above them; and whether it lacked a suffix."""
        for written in dict.fromkeys((value, slashes(value))):
            places = self._on_disk(written)
            if places:
                return self._only(value, places), False
        parts = _parts(same_form(value))
        if not parts:
            return None, False
        listed = self._images()
        tries = [(root, parts) for root in range(len(self._roots))]
        for root, tail in enumerate(self._tails):
            for length in range(1, min(len(parts), len(tail) + 1)):
                if parts[:length] == tail[-length:]:
                    tries.append((root, parts[length:]))
        whole = [place for root, rest in tries for place in listed.whole(root, "/".join(rest))]
        if whole or len(parts) == 1:
            return self._only(value, whole), False
        place = self._only(
            value, [p for root, rest in tries for p in listed.without_suffix(root, "/".join(rest))]
        )
        return place, place is not None

    def by_name(self, value: str) -> Place | None:
        """Find a file name, with or without its suffix, anywhere below the folders."""
        name = "/".join(_parts(same_form(value)))
        return self._only(value, self._images().named.get(name, ()))

    def without_prefix(self, values: dict[int, str]) -> tuple[str, dict[int, Place]]:
        """Drop the one prefix that leaves most of the rows with their image.

        Returns
        -------
        prefix : str
            "" where none leaves any.
        places : dict of int to Place
            By row.
        """
        listed = self._images()
        found: dict[str, dict[int, list[Place]]] = {}
        for row, value in values.items():
            parts = _parts(same_form(value))
            start = "/" if value.startswith(("/", "\\")) else ""
            for length in range(1, len(parts)):
                rest = "/".join(parts[length:])
                places = [p for root in range(len(self._roots)) for p in listed.any(root, rest)]
                if places:
                    prefix = start + "/".join(parts[:length]) + "/"
                    found.setdefault(prefix, {})[row] = places
        if not found:
            return "", {}
        best, *others = sorted(found, key=lambda prefix: -len(found[prefix]))
        chosen = {row: self._only(values[row], places) for row, places in found[best].items()}
        claimed = set(chosen.values())
        for other in others:
            nested = other.startswith(best) or best.startswith(other)
            as_many = len(found[other]) == len(found[best])
            same = not nested and any(p in claimed for ps in found[other].values() for p in ps)
            if as_many or same:
                one, two = sorted((best, other))
                raise InputError(
                    f"'{one}' and '{two}' could each be dropped from the paths of the table "
                    f"('{values[next(iter(found[best]))]}', '{values[next(iter(found[other]))]}'): "
                    "name the folder that its paths begin in"
                )
        return best, {row: place for row, place in chosen.items() if place is not None}

    def in_other_case(self, values: Iterable[str]) -> dict[str, str]:
        """Return the values that are an image's name but for upper and lower case."""
        values = [value for value in values if value]
        if not values:
            return {}
        folded = self._images().folded()
        keys = {value: "/".join(_parts(same_form(value))).casefold() for value in values}
        return {value: folded[key] for value, key in keys.items() if key in folded}

    def _only(self, value: str, places: Sequence[Place]) -> Place | None:
        """Return the one place, None for none.

        Raises
        ------
        InputError
            Several that are not one file under several names.
        """
        if len(places) > 1:
            files = {os.path.realpath(p) if isinstance(p, Path) else p for _, p in places}
            if len(files) > 1:
                ids = sorted({name for name, _ in places})
                names = ids if len(ids) > 1 else sorted(_written(path) for _, path in places)
                shown = " or ".join(f"'{name}'" for name in names[:3])
                raise InputError(f"'{value}' could be {shown}: {self._mend}")
        return places[0] if places else None

    def _images(self) -> _Listed:
        if self._listed is None:
            self._listed = _Listed(self._roots)
        return self._listed

    def _on_disk(self, value: str) -> list[Place]:
        if not value:
            return []
        if self._known:  # an id may be an absolute path, too
            id_ = same_form(value)
            return [(id_, Path(id_))] if id_ in self._known else []
        value = os.path.normpath(value)
        if os.path.isabs(value):
            if not _is_there(value):
                return []
            path = Path(value)
            base = next((base for base in self._bases if path.is_relative_to(base)), None)
            return [(image_id(path if base is None else path.relative_to(base)), path)]
        paths = [os.path.join(root, value) for root in self._folders]
        return [(image_id(Path(value)), Path(path)) for path in paths if _is_there(path)]


class _Listed:
    """The images below the folders, by whatever a table may call them."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._whole: list[dict[str, list[Place]]] = []
        self._without_suffix: list[dict[str, list[Place]]] = []
        self.named: dict[str, list[Place]] = {}
        for root in roots:
            whole: dict[str, list[Place]] = {}
            without_suffix: dict[str, list[Place]] = {}
            found = find_images([root] if not isinstance(root, Path) or root.exists() else [])
            for place in zip(found.ids, found.paths, strict=True):
                folder, slash, name = place[0].rpartition("/")
                stem = os.path.splitext(name)[0]
                whole.setdefault(place[0], []).append(place)
                for key in {name, stem}:
                    self.named.setdefault(key, []).append(place)
                if stem != name:
                    without_suffix.setdefault(folder + slash + stem, []).append(place)
            self._whole.append(whole)
            self._without_suffix.append(without_suffix)

    def whole(self, root: int, name: str) -> Sequence[Place]:
        return self._whole[root].get(name, ())

    def without_suffix(self, root: int, name: str) -> Sequence[Place]:
        return self._without_suffix[root].get(name, ())

    def any(self, root: int, name: str) -> Sequence[Place]:
        return self.whole(root, name) or self.without_suffix(root, name)

    def folded(self) -> dict[str, str]:
        """Return the id by each name of an image, written without upper and lower case."""
        names = (*self._whole, *self._without_suffix, self.named)
        return {key.casefold(): places[0][0] for part in names for key, places in part.items()}


def _folder_of(root: Path) -> Path:
    """Return the folder of a file; an archive stands for the folder that it was made of."""
    if not root.is_file():
        return root
    return root.with_suffix("") if is_archive(root) else root.parent


def _written_out(root: Root) -> str:
    """Return a folder, from the root of the disk or store on."""
    if isinstance(root, ImageIds):
        return ""
    return root.url if isinstance(root, RemoteFolder) else os.path.abspath(_folder_of(root))


def _written(path: Where) -> str:
    if isinstance(path, RemoteFile):
        return path.url
    return f"{path.archive.path}/{path.name}" if isinstance(path, Member) else str(path)


def _is_there(path: str) -> bool:
    """Tell whether a file is there, or a folder named like an image: a failure to report."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # also names that are too long, or hold a NUL
        return False
    return not stat.S_ISDIR(mode) or os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES
