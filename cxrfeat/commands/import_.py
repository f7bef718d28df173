"""`cxrfeat import`: embeddings that another program made become an embedding file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat import defaults, inputs, interchange, store
from cxrfeat.errors import InputError
from cxrfeat.extraction.file_names import check_names
from cxrfeat.inputs import Dataset, ImageIds, LabelTable, PatientKey
from cxrfeat.inputs.positive import one_against_the_rest
from cxrfeat.interchange import Matched, Outside, Wanted
from cxrfeat.interchange.reading import digest
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike, several
from cxrfeat.spec import OUTSIDE, made_elsewhere
from cxrfeat.version import __version__

IMPORT_VERSION = 1
"""Raised where the same file would be read as other numbers."""


@dataclass(frozen=True, repr=False)
class Imported(Shown):
    """What `import_` made.

    Attributes
    ----------
    path : Path
        The embedding file.
    name : str
        What the extractor is called.
    format : str
        Of what was read.
    rows, dimension : int
    fingerprint : str
    spec : dict
    kind : str
        "multiclass" or "multilabel"; "" without labels.
    classes : dict of str to int
        Images per class.
    groups : int or None
        Patients, where they are known.
    unmatched : list of str
        Ids of rows that were left out, because no image of `like`, or no row of the label table,
        is theirs.
    images_without_row : list of str
        Images of `like` of which there is no row.
    changes : Changes
        What became of a file that was there before.
    notes : list of str
    """

    path: Path
    name: str
    format: str
    rows: int
    dimension: int
    fingerprint: str
    spec: dict[str, Any]
    kind: str
    classes: dict[str, int]
    groups: int | None
    unmatched: list[str]
    images_without_row: list[str]
    changes: store.Changes
    notes: list[str] = field(default_factory=list)


def import_(
    files: PathLike | Sequence[PathLike],
    *,
    name: str | None = None,
    out: PathLike = defaults.EMBEDDINGS,
    ids: PathLike | None = None,
    id_column: str | None = None,
    embedding: str | None = None,
    patches: str | None = None,
    like: PathLike | None = None,
    labels: PathLike | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    keep_column: Sequence[str] = (),
    uncertain: str | None = None,
    positive: str | None = None,
    where: Sequence[str] = (),
    repeated_rows: str = defaults.REPEATED_ROWS,
    encoder: str | None = None,
    preprocessing: str | None = None,
    pretraining: Sequence[str] = (),
    licence: str | None = None,
    same_as: PathLike | None = None,
    prune: bool = False,
) -> Imported:
    """Make an embedding file of numbers that another program computed.

    The file is of format 1 like those of `extract`, for `fit`, `audit`, `report` and all others;
    only `predict` and `explain` on images refuse, because the encoder is not here. It appears
    whole, or not at all. A file that exists must be an import of the same source: its labels and
    columns are brought up to date, and no number of it is changed.

    Parameters
    ----------
    files : path or sequence of paths
        CSV, TSV, Parquet, npz, npy, HDF5 (of thingsvision, TRIDENT, STAMP), AnnData, or a folder
        with a ``.h5`` or ``.npy`` file for each image. Of several the rows come one after another.
    name : str, optional
        Of the extractor, and its file; default: the name of the first file.
    out : path
        Folder for ``<name>.h5``.
    ids : path, optional
        Which image each row is of: a text file with an id in each line, a table, or a ``.npy``.
        Default: what `files` say.
    id_column : str, optional
        The column, array or dataset of ids; default: recognised by its usual names.
    embedding : str, optional
        What holds the numbers: columns (a name, ``NAME*``, or several joined by commas), an array,
        a dataset, or a matrix of ``obsm``. Default: recognised.
    patches : str, optional
        "mean": where an image has several rows, of its patches, their mean is taken.
    like : path, optional
        An embedding file of the same images. Ids are matched to its ids, by path, file name or
        sha256 of the image, and take their place; its labels, patients and columns are taken where
        nothing else says them. Rows of no image of it are left out and listed.
    labels : path, optional
        A table of labels, as `extract` takes it; default: the columns of `files` themselves, else
        those of `like`, else class folders in the ids.
    path_column, label_column, group_column, keep_column, uncertain, where, repeated_rows
        How the table, or the columns of `files`, are read; as `extract` takes them.
    positive : str, optional
        One class or finding, to take against all the rest.
    encoder, preprocessing, licence : str, optional
        What is known of how the numbers were made; it becomes part of the spec.
    pretraining : sequence of str
        Collections that the encoder was trained on, so that an audit can name a leak.
    same_as : path, optional
        An earlier import of the same encoder: these numbers were made in the same way, so that the
        two may be training and outside set, or be given to one model.
    prune : bool
        Drop rows of a file that exists whose images are not among these, instead of keeping them
        and marking them as gone.

    Returns
    -------
    Imported

    Raises
    ------
    InputError
        A file of no known format; rows of different length, not finite or no numbers; ids that are
        missing, repeated, not as many as rows, or that could be several images.
    SpecMismatchError
        A file of that name with other embeddings; it is left as it is.
    FileFormatError, MissingExtraError, LockedError, StorageError
        A damaged file, Parquet without pyarrow, or a place that cannot be written.

    Examples
    --------
    >>> import cxrfeat
    >>> cxrfeat.import_(
    ...     "raddino.parquet", like="embeddings/vgg16.h5", encoder="RAD-DINO"
    ... )  # doctest: +SKIP
    """
    paths = [Path(one) for one in several(files)]
    wanted = Wanted(embedding, id_column, None if ids is None else Path(ids), patches)
    called = (paths[0].stem if paths else "") if name is None else name
    check_names([called], [called])
    target = Path(out) / f"{called}.h5"
    said = {
        key: value
        for key, value in {
            "name": encoder, "preprocessing": preprocessing,
            "pretraining": list(pretraining), "licence": licence,
        }.items()
        if value
    }  # fmt: skip
    if same_as is not None and said:
        raise InputError("--same-as takes over what is said of the encoder: leave that out")
    read = interchange.read(paths, wanted)
    place = f"'{paths[0]}'"
    store.refuse_not_finite(read.X, read.ids or [], f"{place}: ")
    of_files = digest(read.files)
    ours = _spec(read, of_files, wanted, said)
    spec = ours if same_as is None else _spec_of(Path(same_as), read)
    rows = _Rows.of(read)
    if like is not None:
        rows = rows.matched(Path(like), place)
    table = LabelTable.asked_for(
        labels if labels is not None else (paths[0] if read.columns else None),
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        keep_column=keep_column,
        uncertain=uncertain,
        where=where,
        repeated_rows=repeated_rows,
    )
    dataset, chosen = rows.labelled(table, own=labels is None)
    if positive is not None:
        dataset = one_against_the_rest(dataset, positive)
    changes = store.write_all(
        target,
        read.X[chosen],
        dataset,
        spec=spec,
        sha256=[rows.sha256_of.get(one, "") for one in dataset.ids],
        environment={
            "imported_from": ", ".join(path.name for path in paths),
            "imported_sha256": of_files,
            "imported_by": f"cxrfeat {__version__}",
        },
        prune=prune,
    )
    unmatched = [*rows.unmatched, *_without(rows.ids, dataset.ids)]
    info = store.describe(target)
    return Imported(
        target,
        called,
        read.format,
        len(dataset),
        read.X.shape[1],
        info.fingerprint,
        spec,
        info.kind,
        info.classes,
        info.groups,
        unmatched,
        rows.lacking,
        changes,
        [*rows.notes, *dataset.notes],
    )


def _spec(read: Outside, of_files: str, wanted: Wanted, said: dict[str, Any]) -> dict[str, Any]:
    """Say what decides the meaning of the numbers: which file they are of, and how it was read."""
    asked = {
        "embedding": wanted.embedding, "id_column": wanted.id_column, "patches": wanted.patches,
    }  # fmt: skip
    source = {"format": read.format, "files": len(read.files), "sha256": of_files}
    if read.encoder and "name" not in said:
        said = {"name": read.encoder, **said}
    return {
        "origin": OUTSIDE,
        "version": IMPORT_VERSION,
        "source": {**source, **{key: value for key, value in asked.items() if value}},
        **({"encoder": said} if said else {}),
    }


def _spec_of(path: Path, read: Outside) -> dict[str, Any]:
    with store.load(path) as earlier:
        if not made_elsewhere(earlier.spec):
            raise InputError(
                f"--same-as {path}: cxrfeat computed that file itself; only an import can be of the"
                " same encoder as another"
            )
        if earlier.dimension != read.X.shape[1]:
            raise InputError(
                f"--same-as {path}: its embeddings have {earlier.dimension} numbers, these"
                f" {read.X.shape[1]}"
            )
        return earlier.spec


@dataclass(frozen=True)
class _Rows:
    """Rows of another program on their way to an embedding file.

    Attributes
    ----------
    read : Outside
    at : list of int
        Which of its rows are taken.
    ids : list of str
        What these are called in the file.
    known : Dataset or None
        What the file that they are like says of them.
    sha256_of : dict of str to str
        Of the images, by id; "" where unknown.
    unmatched, lacking : list of str
        As `Imported.unmatched` and `Imported.images_without_row`.
    notes : list of str
    """

    read: Outside
    at: list[int]
    ids: list[str]
    known: Dataset | None = None
    sha256_of: dict[str, str] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, read: Outside) -> _Rows:
        """Take all rows, under their own ids."""
        ids = list(read.ids or [])
        stated = [one.lower() for one in read.columns.pop("sha256", [])]
        return cls(read, list(range(len(ids))), ids, sha256_of=dict(zip(ids, stated, strict=False)))

    def matched(self, like: Path, place: str) -> _Rows:
        """Take the rows of images of an embedding file, under its ids."""
        with store.load(like) as file:
            here = np.flatnonzero(~file.gone)
            known = interchange.KnownImages(
                [file.ids[row] for row in here], [file.sha256[row] for row in here]
            )
            stated = [self.sha256_of.get(one, "") for one in self.ids] if self.sha256_of else []
            found = interchange.match(self.ids, stated, known, place)
            rows = here[found.places]
            return replace(
                self,
                at=[self.at[row] for row in found.rows],
                ids=[file.ids[row] for row in rows],
                known=Dataset(
                    ids=[file.ids[row] for row in rows],
                    paths=[],
                    classes=file.classes,
                    labels=None if file.labels is None else file.labels[rows],
                    kind=file.kind,
                    meta={name: values[rows] for name, values in file.meta.items()},
                    patient_key=PatientKey(file.patient_key) if file.patient_key else None,
                ),
                sha256_of={file.ids[row]: file.sha256[row] for row in rows},
                unmatched=found.unknown,
                lacking=found.lacking,
                notes=_said_of_match(found, like),
            )

    def labelled(self, table: LabelTable | None, *, own: bool) -> tuple[Dataset, list[int]]:
        """Say what is known of the rows; return that, and which rows of the source they are."""
        if table is None:
            found = Dataset(self.ids, [])
        elif own:
            columns = {n: [c[row] for row in self.at] for n, c in self.read.columns.items()}
            found = table.read_columns(columns, self.ids)
        else:
            found = table.read(ImageIds(tuple(self.ids)))
        place_of = {name: place for place, name in enumerate(self.ids)}
        places = [place_of[name] for name in found.ids]
        rows = [self.at[place] for place in places]
        held = self.read.labels
        if found.labels is None and held is not None:
            found = replace(
                found,
                classes=held.classes,
                labels=held.matrix[rows],
                kind=held.kind,
                notes=_without(found.notes, ["no labels"]),
            )
        other = self.known
        if other is None:
            other, places = inputs.from_ids(found.ids), list(range(len(found.ids)))
        return _filled(found, other, places, folders=self.known is None), rows


def _filled(found: Dataset, other: Dataset, places: list[int], *, folders: bool) -> Dataset:
    """Take labels and columns that nothing said from another dataset."""
    notes = found.notes
    meta = {name: values[places] for name, values in other.meta.items()}
    key = None if "group" in found.meta else other.patient_key
    if found.labels is None and other.labels is not None:
        found = replace(found, classes=other.classes, labels=other.labels[places], kind=other.kind)
        whence = other.notes if folders else ["labels from the file that the ids were matched to"]
        notes = [*_without(notes, ["no labels"]), *whence]
    return replace(found, meta={**meta, **found.meta}, patient_key=key, notes=notes)


def _said_of_match(found: Matched, like: Path) -> list[str]:
    notes = [f"{len(found.rows)} rows are of images of '{like}'", *found.notes]
    if found.unknown:
        notes.append(
            f"{len(found.unknown)} row(s) are of no image of it and left out"
            f" ({_first(found.unknown)})"
        )
    if found.lacking:
        notes.append(f"{len(found.lacking)} of its images have no row ({_first(found.lacking)})")
    return notes


def _first(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    there = set(others)
    return [name for name in names if name not in there]
