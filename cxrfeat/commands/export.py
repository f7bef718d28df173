"""`cxrfeat export`: embeddings for programs that do not read HDF5.

Only rows that are done are exported, and none whose image is gone unless asked for. Ids, sha256,
labels, groups and every other column come along, and so does the provenance: spec, fingerprint and
environment.
"""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cxrfeat import defaults, interchange, store, tables
from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import InputError, StorageError, UnknownNameError
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike
from cxrfeat.version import __version__

_BLOCK_BYTES = 32 << 20

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, repr=False)
class Exported(Shown):
    """What `export` wrote.

    Attributes
    ----------
    path : Path
        The file, or the folder for TensorBoard.
    format : str
    rows, dimension : int
    left_out : int
        Rows without an embedding: pending or failed.
    gone : int
        Rows left out because their image was not among those of the last extract.
    """

    path: Path
    format: str
    rows: int
    dimension: int
    left_out: int
    gone: int


def export(
    file: PathLike,
    *,
    to: str = defaults.EXPORT,
    out: PathLike | None = None,
    include_gone: bool = False,
) -> Exported:
    """Write the embeddings of a file in another format.

    Parameters
    ----------
    file : path
        The embedding file.
    to : str
        "parquet", "npz", "csv", "anndata" (``.h5ad``) or "tensorboard" (a folder for the Embedding
        Projector).
    out : path, optional
        Where to; default: beside the file, under its name. It must not exist.
    include_gone : bool
        Also write rows whose image was not among those of the last extract; a column ``gone``
        says which they are.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        For an unknown format, or if `out` exists.
    FileFormatError
        If the file is damaged or not ours.
    MissingExtraError
        If Parquet is asked for without pyarrow.
    """
    if to not in FORMATS:
        raise UnknownNameError("export format", to, FORMATS)
    chosen = FORMATS[to]
    path = Path(file)
    target = Path(out) if out is not None else path.with_name(path.stem + chosen.ending)
    if target.exists():
        raise InputError(f"'{target}' exists already: give another name with --out, or delete it")
    new = target.with_name(target.name + ".new")
    with store.load(path) as embeddings:
        done = embeddings.status == store.DONE
        gone = np.zeros_like(done) if include_gone else embeddings.gone
        rows = np.flatnonzero(done & ~gone)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            chosen.write(
                embeddings, rows, store.columns_of(embeddings, rows, include_gone=include_gone), new
            )
            if not chosen.holds_provenance:
                beside = target.with_name(target.name + ".json")
                beside.write_text(_provenance(embeddings), encoding="utf-8")
            new.rename(target)
        except OSError as error:
            raise StorageError(
                f"'{target}' cannot be written ({error.strerror or error}): make room there, "
                "or give another place with --out"
            ) from error
        finally:
            _remove(new)
        return Exported(
            target,
            to,
            rows=len(rows),
            dimension=embeddings.dimension,
            left_out=int(np.count_nonzero(~done & ~gone)),
            gone=int(np.count_nonzero(gone)),
        )


def _write_parquet(e: store.Embeddings, rows: RowNumbers, columns: Columns, path: Path) -> None:
    def blocks() -> Iterator[dict[str, Any]]:
        for part in _blocks(e, len(rows)):
            block: dict[str, Any] = {name: values[part] for name, values in columns.items()}
            yield {**block, "embedding": e[rows[part]]}

    tables.write_parquet(path, blocks(), {"cxrfeat": _provenance(e)})


def _write_npz(e: store.Embeddings, rows: RowNumbers, columns: Columns, path: Path) -> None:
    """Write what `numpy.load` reads without pickle, one block of embeddings after the other."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "ids": _text([e.ids[row] for row in rows]),
        "sha256": _text([e.sha256[row] for row in rows]),
        "provenance": np.array(_provenance(e)),
    }
    if e.labels is not None:
        arrays["labels"] = e.labels[rows]
        arrays["classes"] = _text(e.classes)
    arrays |= {f"meta_{name}": values[rows] for name, values in e.meta.items()}
    if store.GONE in columns:
        arrays[store.GONE] = columns[store.GONE]
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), e.dimension)}
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
        with archive.open("embeddings.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in _blocks(e, len(rows)):
                file.write(e[rows[part]].astype("<f4").tobytes())


def _write_csv(e: store.Embeddings, rows: RowNumbers, columns: Columns, path: Path) -> None:
    """Write one line per image; a CSV has no place for provenance, so a JSON stands beside it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *(f"embedding_{i}" for i in range(e.dimension))])
        for part in _blocks(e, len(rows)):
            known = [_cells(values[part]) for values in columns.values()]
            for *cells, vector in zip(*known, e[rows[part]].astype(np.str_), strict=True):
                writer.writerow([*cells, *vector])


def _write_tensorboard(e: store.Embeddings, rows: RowNumbers, columns: Columns, path: Path) -> None:
    """Write a folder as https://projector.tensorflow.org and TensorBoard's projector read it."""
    path.mkdir(exist_ok=True)
    with (path / "tensors.tsv").open("w", encoding="utf-8") as file:
        for part in _blocks(e, len(rows)):
            for vector in e[rows[part]].astype(np.str_):
                file.write("\t".join(vector) + "\n")
    with (path / "metadata.tsv").open("w", encoding="utf-8") as file:
        file.write("\t".join(_one_cell(name) for name in columns) + "\n")
        for cells in zip(*(_cells(values) for values in columns.values()), strict=True):
            file.write("\t".join(_one_cell(cell) for cell in cells) + "\n")
    (path / "projector_config.pbtxt").write_text(
        f"embeddings {{\n  tensor_name: {json.dumps(e.name)}\n"
        '  tensor_path: "tensors.tsv"\n  metadata_path: "metadata.tsv"\n}\n',
        encoding="utf-8",
    )
    (path / "provenance.json").write_text(_provenance(e), encoding="utf-8")


def _write_anndata(e: store.Embeddings, rows: RowNumbers, columns: Columns, path: Path) -> None:
    interchange.write_anndata(
        path,
        ids=[e.ids[row] for row in rows],
        blocks=(e[rows[part]] for part in _blocks(e, len(rows))),
        dimension=e.dimension,
        obs={name: values for name, values in columns.items() if name != "id"},
        uns={
            "spec": json.dumps(e.spec, sort_keys=True),
            "fingerprint": e.fingerprint,
            "provenance": _provenance(e),
        },
    )


class _Format(NamedTuple):
    """How one format is written: the target's ending, by what, and whether it takes provenance."""

    ending: str
    write: Callable[[store.Embeddings, RowNumbers, Columns, Path], None]
    holds_provenance: bool = True


FORMATS = {
    "parquet": _Format(".parquet", _write_parquet),
    "npz": _Format(".npz", _write_npz),
    "csv": _Format(".csv", _write_csv, holds_provenance=False),
    "anndata": _Format(".h5ad", _write_anndata),
    "tensorboard": _Format("-tensorboard", _write_tensorboard),
}


def _provenance(e: store.Embeddings) -> str:
    return json.dumps(
        {
            "extractor": e.name,
            "fingerprint": e.fingerprint,
            "spec": e.spec,
            "environment": e.environment,
            "origins": [asdict(origin) for origin in e.origins()],
            "patient_key": e.patient_key or None,
            "created": e.created,
            "storage": e.storage,
            "classes": e.classes,
            "kind": e.kind if e.labels is not None else None,
            "exported_by": f"cxrfeat {__version__}",
        },
        sort_keys=True,
    )


def _blocks(e: store.Embeddings, rows: int) -> Iterator[slice]:
    """Cut n rows into slices of bounded size; one empty slice where there are none."""
    step = max(1, _BLOCK_BYTES // max(1, 4 * e.dimension))
    for start in range(0, max(rows, 1), step):
        yield slice(start, min(start + step, rows))


def _text(values: list[str]) -> npt.NDArray[np.str_]:
    return np.array(values, dtype=np.str_)


def _cells(values: npt.NDArray[Any]) -> list[str]:
    """Write values as text: numbers as short as they can be read back, "" where unknown."""
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else f"{value:g}" for value in values]
    return [str(value) for value in values]


def _one_cell(text: str) -> str:
    return " ".join(text.split()) if any(c in text for c in "\t\r\n") else text


def _remove(path: Path) -> None:
    """Remove what an interrupted export left; after a finished one there is nothing."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
