"""Embeddings in HDF5: a matrix (thingsvision), a group or a file for each image (TRIDENT, STAMP).

TRIDENT writes a file for each slide, with ``features`` and ``coords``; STAMP ``feats`` (and
``coords``, where the rows are of tiles) with the encoder as an attribute; thingsvision one
``features`` for all images, whose names stand in ``file_names.txt`` beside it, split into
``features_01`` ... where they were too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32, Vector32
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs import Columns
from cxrfeat.interchange.anndata_files import is_anndata, read_anndata
from cxrfeat.interchange.columns import (
    EMBEDDING_NAMES,
    ID_NAMES,
    matrix,
    one_array,
    plain,
    usual,
)
from cxrfeat.interchange.hdf5_guard import Member, attribute, members, opened, texts_of, values_of
from cxrfeat.interchange.numpy_files import load_array
from cxrfeat.interchange.outside import Outside, Wanted

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".h5ad")
NAMES_FILE = "file_names.txt"
"""Where thingsvision says which images its rows are of."""
_ENCODER = ("encoder", "extractor")


def read_hdf5(path: Path, wanted: Wanted) -> Outside:
    """Read one file: a matrix for all images, a group or dataset for each, or a single image.

    Raises
    ------
    InputError
        No embeddings, several that could be meant, or patches of an image.
    FileFormatError
        A damaged file.
    """
    with opened(path) as file:
        inside = members(file, path)
        _refuse_ours(file, path)
        if is_anndata(file, inside):
            return read_anndata(inside, path, wanted)
        name, parts = _at_the_root(inside, path, wanted)
        if not parts:
            return _one_for_each(dict(_per_image(file, path, wanted)), path, file)
        shape, ids = parts[0].shape, _ids(inside, path, wanted)
        if ids is None and not wanted.ids and _is_one_image(inside, shape):
            vector = _vector(values_of(parts[0], path), f"'{path}' '{name}'", wanted.patches)
            return Outside(
                "HDF5", vector[None], [path.stem], {}, None, _encoder(file, parts), [path]
            )
        X = np.concatenate([matrix(values_of(one, path), f"'{path}' '{name}'") for one in parts])
        beside, files = path.with_name(NAMES_FILE), [path]
        if ids is None and not wanted.ids and beside.is_file():
            ids, files = lines_of(beside), [path, beside]
        columns = _columns(inside, path, name, len(X))
        return Outside("HDF5", X, ids, columns, None, _encoder(file, parts), files)


def read_folder(path: Path, wanted: Wanted) -> Outside:
    """Read a folder with a file for each image, HDF5 or NumPy's; ids are their paths below it.

    Raises
    ------
    InputError
        No such files, both kinds, or files that are not of one length.
    FileFormatError
        A damaged file.
    """
    whole = [one for one in (path / "features.hdf5", path / "features.npy") if one.is_file()]
    if (path / NAMES_FILE).is_file() and len(whole) == 1:
        if whole[0].suffix == ".hdf5":
            return read_hdf5(whole[0], wanted)
        X = matrix(load_array(whole[0]), f"'{whole[0]}'")
        names = path / NAMES_FILE
        return Outside("npy", X, lines_of(names), files=[whole[0], names])
    files = sorted(one for one in path.rglob("*") if one.is_file() and one.name[0] != ".")
    of_hdf5 = [one for one in files if one.suffix.lower() in HDF5_SUFFIXES]
    of_numpy = [one for one in files if one.suffix.lower() == ".npy"]
    if bool(of_hdf5) == bool(of_numpy):
        kinds = ", ".join(sorted({one.suffix or one.name for one in files})) or "nothing"
        raise InputError(
            f"'{path}' needs a .h5 or .npy file for each image, all of one kind: it holds {kinds}"
        )
    chosen, vectors, encoders = of_hdf5 or of_numpy, dict[str, Vector32](), set[str]()
    for one in chosen:
        id_ = one.relative_to(path).with_suffix("").as_posix()
        if id_ in vectors:
            raise InputError(f"'{path}' has two files of '{id_}': leave one out")
        if of_numpy:
            vectors[id_] = _vector(load_array(one), f"'{one}'", wanted.patches)
            continue
        with opened(one) as file:
            inside = members(file, one)
            _refuse_ours(file, one)
            name, parts = _at_the_root(inside, one, wanted)
            if len(parts) != 1:
                raise InputError(f"'{one}' holds no embedding of one image: it has {_said(inside)}")
            vectors[id_] = _vector(values_of(parts[0], one), f"'{one}' '{name}'", wanted.patches)
            encoders.add(_encoder(file, parts))
    X = _stacked(vectors, path)
    encoders.discard("")
    encoder = encoders.pop() if len(encoders) == 1 else ""
    return Outside("HDF5" if of_hdf5 else "npy", X, list(vectors), {}, None, encoder, chosen)


def lines_of(path: Path) -> list[str]:
    """Read a file with an id in each line.

    Raises
    ------
    InputError
        Not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"'{path}' is not UTF-8 text: save the ids as UTF-8") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.strip() for line in lines]


def _refuse_ours(file: h5py.File, path: Path) -> None:
    if attribute(file, "format") == "cxrfeat-embeddings":
        raise InputError(f"'{path}' is an embedding file already: give it to cxrfeat fit as it is")


def _at_the_root(
    inside: Mapping[str, Member], path: Path, wanted: Wanted
) -> tuple[str, list[h5py.Dataset]]:
    """Find the dataset with the embeddings of all images, or those it was split into."""
    datasets = {name: one for name, one in inside.items() if isinstance(one, h5py.Dataset)}
    if wanted.embedding is not None and wanted.embedding in inside:
        chosen = inside[wanted.embedding]
        return wanted.embedding, [chosen] if isinstance(chosen, h5py.Dataset) else []
    named = [name for name in datasets if plain(name) in EMBEDDING_NAMES]
    if len(named) == 1 and wanted.embedding is None:
        return named[0], [datasets[named[0]]]
    split = sorted(name for name in datasets if re.fullmatch(r"features_\d+", name))
    if split and wanted.embedding in (None, "features"):
        return "features", [datasets[name] for name in split]
    if any(isinstance(one, h5py.Group) for one in inside.values()) or wanted.embedding:
        return "", []
    numbers = {
        name: one.shape
        for name, one in datasets.items()
        if one.dtype.kind in "fiub" and name != "coords"
    }
    if not numbers or all(len(shape) < 2 or shape[0] == 1 for shape in numbers.values()):
        return "", []  # a dataset for each image
    name = one_array(numbers, None, str(path), "dataset")
    return name, [datasets[name]]


def _is_one_image(inside: Mapping[str, Member], shape: tuple[int, ...]) -> bool:
    return "coords" in inside or len(shape) != 2 or shape[0] == 1


def _ids(inside: Mapping[str, Member], path: Path, wanted: Wanted) -> list[str] | None:
    """Read the dataset of ids, where there is one."""
    texts = {
        name: one
        for name, one in inside.items()
        if isinstance(one, h5py.Dataset) and one.ndim == 1 and one.dtype.kind in "OSU"
    }
    if wanted.id_column is not None and not wanted.ids:
        if wanted.id_column not in texts:
            raise UnknownNameError(
                "dataset of text", wanted.id_column, texts, f"in '{path}' (--id-column)"
            )
        return texts_of(texts[wanted.id_column], path)
    named = usual(texts, ID_NAMES)
    return texts_of(texts[named[0]], path) if named else None


def _columns(inside: Mapping[str, Member], path: Path, taken: str, n: int) -> Columns:
    """Take what else has a value for each row."""
    return {
        name: texts_of(one, path)
        for name, one in inside.items()
        if isinstance(one, h5py.Dataset)
        and one.shape == (n,)
        and one.dtype.kind in "OSUfiub"
        and name != taken
        and plain(name) not in ID_NAMES
    }


def _per_image(
    group: h5py.Group, path: Path, wanted: Wanted, above: str = ""
) -> Iterator[tuple[str, Vector32]]:
    """Go through groups, or datasets, of which each is an image called by its name."""
    for name, one in members(group, path).items():
        id_, what = above + name, f"'{path}' '{above}{name}'"
        if isinstance(one, h5py.Dataset):
            if one.dtype.kind in "fiub" and one.ndim:
                yield id_, _vector(values_of(one, path), what, wanted.patches)
            continue
        inside = members(one, path)
        datasets = [key for key, held in inside.items() if isinstance(held, h5py.Dataset)]
        if wanted.embedding is not None:
            named = [key for key in datasets if key == wanted.embedding]
        else:
            named = [key for key in datasets if plain(key) in EMBEDDING_NAMES]
        if len(named) == 1:
            yield id_, _vector(values_of(inside[named[0]], path), what, wanted.patches)
        elif named or "coords" in datasets or (wanted.embedding is not None and datasets):
            raise InputError(
                f"{what} holds no embedding that could be told: it has {_said(inside)}; choose by"
                " --embedding"
            )
        else:
            yield from _per_image(one, path, wanted, id_ + "/")


def _one_for_each(vectors: dict[str, Vector32], path: Path, file: h5py.File) -> Outside:
    if not vectors:
        raise InputError(
            f"'{path}' holds no embeddings: a matrix such as 'features' or 'feats' is needed, or a"
            " group with one for each image"
        )
    X = _stacked(vectors, path)
    return Outside("HDF5", X, list(vectors), {}, None, _encoder(file, []), [path])


def _vector(values: npt.NDArray[Any], what: str, patches: str | None) -> Vector32:
    """Take what is kept of one image as one row."""
    if values.dtype.kind not in "fiub":
        raise InputError(f"{what} holds no numbers but {values.dtype}")
    while values.ndim > 1 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 2 and patches == "mean" and len(values):
        values = values.astype(np.float64).mean(axis=0)
    if values.ndim == 2:
        raise InputError(
            f"{what} has {values.shape[0]} rows, of patches of one image: one row is needed for"
            " each image; --patches mean takes their mean"
        )
    if values.ndim != 1:
        raise InputError(f"{what} has shape {values.shape}: one row of numbers is needed")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _stacked(vectors: Mapping[str, Vector32], path: Path) -> Matrix32:
    (first, ours), *_ = vectors.items()
    for name, vector in vectors.items():
        if len(vector) != len(ours):
            raise InputError(
                f"'{path}': '{name}' has {len(vector)} numbers, '{first}' {len(ours)}: all"
                " embeddings need the same length"
            )
    return np.stack(list(vectors.values()))


def _encoder(file: h5py.File, parts: list[h5py.Dataset]) -> str:
    """Return what the file says that it was made by."""
    told = (attribute(owner, name) for owner in (*parts, file) for name in _ENCODER)
    return next((one for one in told if one), "")


def _said(inside: Mapping[str, Member]) -> str:
    shown = [
        f"'{name}' {one.shape}" if isinstance(one, h5py.Dataset) else f"'{name}/'"
        for name, one in [*inside.items()][:6]
    ]
    return ", ".join(shown) + (", ..." if len(inside) > 6 else "") if shown else "nothing"
