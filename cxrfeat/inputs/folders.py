"""Images from folders, and labels from the names of class folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np

from cxrfeat.errors import ImageError, InputError
from cxrfeat.inputs.archives import Member, is_archive, members_of
from cxrfeat.inputs.dataset import Dataset
from cxrfeat.inputs.label_table import one_hot, same_form
from cxrfeat.inputs.places import ImageIds, Place, PlaceList, Root, root_of
from cxrfeat.inputs.remote_images import RemoteFile, RemoteFolder, objects_below
from cxrfeat.paths import PathLike, several
from cxrfeat.signatures import HEAD_BYTES, IMAGE_SUFFIXES, recognise

Listed = TypeVar("Listed", Member, RemoteFile)

SPLIT_NAMES = frozenset(
    ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
)
"""Folder names that are a split and not a class."""

OUR_OWN = (".h5.lock", ".h5.hashed")
"""How files end that `extract` makes before images are listed, or leaves when it is interrupted."""


@dataclass
class Found:
    """The image files below some roots, and what was passed over."""

    ids: list[str] = field(default_factory=list)
    paths: PlaceList = field(default_factory=PlaceList)
    hidden: int = 0
    others: int = 0
    masks: int = 0
    closed_folders: int = 0

    def notes(self) -> list[str]:
        """Say in sentences what was passed over."""
        counts = {
            "hidden file(s) passed over": self.hidden,
            "file(s) that are no image passed over": self.others,
            "lung mask(s) beside their images passed over": self.masks,
            "folder(s) without permission to look inside": self.closed_folders,
        }
        return [f"{count} {what}" for what, count in counts.items() if count]


def from_folders(roots: PathLike | Sequence[PathLike]) -> Dataset:
    """Take every image below some folders, in the order of their ids.

    Labels come from ``<class>/<file>`` or ``<split>/<class>/<file>`` when every image lies so and
    there are at least two classes; a split goes into ``meta["split"]``. A folder ``images`` below
    every class (as in the COVID-19 Radiography Database) counts for nothing, and a folder
    ``masks`` beside it is passed over.

    Parameters
    ----------
    roots
        Folders, zip or tar archives, addresses such as ``s3://bucket/images``, or image files.

    Returns
    -------
    Dataset
        Ids are paths relative to their root.

    Raises
    ------
    InputError
        A root that is missing, no image in any root, or the same id in two roots.
    """
    listed = [root_of(root) for root in several(roots)]
    found = find_images(listed)
    if not found.ids:
        places = ", ".join(f"'{root}'" for root in listed) or "no folder at all"
        raise InputError(f"no images in {places}: name a folder that holds radiographs")
    _refuse_duplicates(found)
    order = sorted(range(len(found.ids)), key=found.ids.__getitem__)
    labelled = from_ids([found.ids[i] for i in order])
    return replace(
        labelled, paths=found.paths.taken(order), notes=[*labelled.notes, *found.notes()]
    )


def from_ids(ids: Sequence[str]) -> Dataset:
    """Take images that are known by their ids alone, labels from the folders in these."""
    splits, names, notes = _layout(ids)
    classes = sorted(set(names))
    return Dataset(
        ids=list(ids),
        paths=PlaceList(ids),
        classes=classes,
        labels=one_hot(names, classes) if classes else None,
        meta={"split": np.array(splits)} if splits else {},
        notes=notes,
    )


def find_images(roots: Sequence[Root]) -> Found:
    """List the image files below `roots`, by suffix, or by content where the suffix says nothing.

    An archive counts as the folder that it was made of; nothing is unpacked. So does an address
    in an object store. Images known by their ids alone are taken as they are.

    Raises
    ------
    InputError
        A root that does not exist, an archive that is broken, or an address that cannot be listed.
    MissingExtraError
        An address without the extra ``cloud``.
    """
    found = Found()
    for root in roots:
        if isinstance(root, ImageIds):
            found.ids += root.ids
            for id_ in root.ids:
                found.paths.append(id_)
        elif isinstance(root, RemoteFolder):
            objects = objects_below(root)
            for one, name in _not_passed_over(objects, [each.below for each in objects], found):
                _add(found, one, id_of(name))
        elif root.is_file() and is_archive(root):
            members = members_of(root)
            for member, name in _not_passed_over(members, [each.name for each in members], found):
                _add(found, member, id_of(name))
        elif root.is_file():
            _add(found, root, root.name)
        elif not root.is_dir():
            raise InputError(f"no such folder '{root}': name the folder with the images")
        else:
            for file, below in _files_below(root, found):
                _add(found, file, id_of(below))
    return found


def image_id(path: PurePath) -> str:
    """Write a relative path as an id: ``/`` as separator, always valid UTF-8, in one form."""
    return id_of(path.as_posix())


def id_of(below: str) -> str:
    """Write as an id what has ``/`` as separator already."""
    if below.isascii():
        return below
    return same_form(os.fsencode(below).decode("utf-8", "backslashreplace"))


def _refuse_duplicates(found: Found) -> None:
    """Raise InputError naming the ids that occur twice."""
    if len(set(found.ids)) == len(found.ids):
        return
    doubled = {name for name, count in Counter(found.ids).items() if count > 1}
    shown = ", ".join(f"'{name}'" for name in sorted(doubled)[:3])
    paths = {str(p) for name, p in zip(found.ids, found.paths, strict=True) if name in doubled}
    mend = "give their common parent folder instead"
    if len({same_form(path) for path in paths}) < len(paths):
        mend = "names that differ only in how accents are written are one name: rename one"
    raise InputError(f"{len(doubled)} image id(s) occur more than once ({shown}): {mend}")


def _files_below(root: Path, found: Found) -> Iterator[tuple[str, str]]:
    """Walk without following a folder twice, however the links go round.

    Yields
    ------
    path, below : str
        The latter from the root on, with ``/``. Text: a million of `Path` take ten times as long.
    """
    seen: set[str] = set()
    length = len(os.fspath(root))

    def closed(_: OSError) -> None:
        found.closed_folders += 1

    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=closed):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        if {"images", "masks"} <= set(subfolders):
            subfolders.remove("masks")
            found.masks += sum(1 for _ in Path(folder, "masks").iterdir())
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        inside = folder[length:].replace(os.sep, "/").lstrip("/")
        before = f"{inside}/" if inside else ""
        for name in (*files, *_pretenders(folder, subfolders)):
            if name.startswith("."):
                found.hidden += 1
            else:
                yield os.path.join(folder, name), before + name


def _not_passed_over(
    listed: Sequence[Listed], names: Sequence[str], found: Found
) -> Iterator[tuple[Listed, str]]:
    """Pass over in an archive or object store what is passed over in a folder.

    `names` are paths, of folders there are no more than these.
    """
    places = [_without_empty_parts(name) for name in names]
    folders = {folder for place in places for folder in _folders_above(place)}
    masks = {
        folder
        for folder in folders
        if _last(folder) == "masks" and folder.removesuffix("masks") + "images" in folders
    }
    hidden = {folder for folder in folders if _last(folder).startswith(".")}
    for one, place in zip(listed, places, strict=True):
        if _last(place).startswith("."):
            found.hidden += 1
        elif hidden and not hidden.isdisjoint(_folders_above(place)):
            continue
        elif masks and not masks.isdisjoint(_folders_above(place)):
            found.masks += 1
        else:
            yield one, place


def _without_empty_parts(name: str) -> str:
    if "//" not in name and "./" not in name:
        return name
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _folders_above(place: str) -> Iterator[str]:
    while place := place.rpartition("/")[0]:
        yield place


def _last(place: str) -> str:
    return place.rpartition("/")[2]


def _pretenders(folder: str, subfolders: Sequence[str]) -> list[str]:
    """Return empty folders that are named like an image: a failure to report, not to walk into."""
    named = [name for name in subfolders if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    return [name for name in named if not any(Path(folder, name).iterdir())]


def _add(found: Found, path: Place | str, name: str) -> None:
    if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES or _content_is_image(path):
        found.ids.append(name)
        found.paths.append(path)
    elif not name.endswith(OUR_OWN):
        found.others += 1


def _content_is_image(path: Place | str) -> bool:
    if isinstance(path, str):
        path = Path(path)
    try:
        if isinstance(path, RemoteFile):
            return recognise(path.part(0, min(HEAD_BYTES, path.size))) is not None
        if isinstance(path, Member):
            with path.open(path.size) as file:
                return recognise(file.read(HEAD_BYTES)) is not None
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return recognise(file.read(HEAD_BYTES)) is not None
    except (OSError, ImageError):
        return False


def _layout(ids: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the splits, the class names and what was understood; empty lists where neither."""
    folders = [name.rpartition("/")[0] for name in ids]
    parts_of = {folder: tuple(filter(None, folder.split("/"))) for folder in set(folders)}
    splits: list[str] = []
    if all(parts and parts[0].lower() in SPLIT_NAMES for parts in parts_of.values()):
        splits = [parts_of[folder][0] for folder in folders]
        parts_of = {folder: parts[1:] for folder, parts in parts_of.items()}
    if all(len(parts) == 2 and parts[1] == "images" for parts in parts_of.values()):
        parts_of = {folder: parts[:1] for folder, parts in parts_of.items()}
    notes = [f"split from folders: {_counted(splits)}"] if splits else []
    if not all(len(parts) == 1 for parts in parts_of.values()):
        notes.append("no labels: not every image lies in <class>/ or <split>/<class>/")
        return splits, [], notes
    names = [parts_of[folder][0] for folder in folders]
    if len(set(names)) < 2:
        notes.append(f"no labels: all images lie in one folder, '{names[0]}'")
        return splits, [], notes
    notes.insert(0, f"labels from folders: {_counted(names)}")
    return splits, names, notes


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(names).items()))
