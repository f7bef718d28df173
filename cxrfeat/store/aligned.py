"""Several embedding files of the same images, brought to one order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.errors import InputError
from cxrfeat.inputs import LabelKind
from cxrfeat.notebook import html_table
from cxrfeat.paths import PathLike
from cxrfeat.store.columns import columns_of, frame_of, target_of
from cxrfeat.store.listing import embedding_files
from cxrfeat.store.reader import Embeddings
from cxrfeat.store.reader import load as load_file


def load(path: PathLike) -> Embeddings | AlignedEmbeddings:
    """Open an embedding file, or all those of a folder, for reading.

    Parameters
    ----------
    path : path
        A file; or a folder, whose files are brought to the images that all of them have.

    Returns
    -------
    Embeddings or AlignedEmbeddings
        To be used in a ``with`` statement, or closed.

    Raises
    ------
    FileFormatError
        If a file is damaged, of another version, or not ours.
    InputError
        A folder without embedding files, or whose files have no image in common.

    Examples
    --------
    >>> import cxrfeat
    >>> with cxrfeat.load("embeddings") as files:  # doctest: +SKIP
    ...     for name, X in files.items():
    ...         print(name, X.shape, files.y.shape)
    """
    return AlignedEmbeddings(embedding_files(path)) if Path(path).is_dir() else load_file(path)


class AlignedEmbeddings(Mapping[str, Matrix32]):
    """Embeddings of several extractors by name, a row of each for each image, in one order.

    Images are joined by id: those that are done in every file and gone in none.

    Attributes
    ----------
    files : dict of str to Embeddings
        By the name of the extractor.
    ids : list of str, length n
        In the order of the first file.
    classes : list of str
    kind : "multiclass" or "multilabel"
    labels : ndarray of float32, shape (n, L), or None
        Of the first file that has any.
    meta : dict of str to ndarray of str, shape (n,)
        Columns, each of the first file that has it.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._open = ExitStack()
        try:
            opened = [self._open.enter_context(load_file(path)) for path in paths]
            self.files = {file.name: file for file in opened}
            if len(self.files) < len(opened):
                raise InputError("two files of one name: rename one")
            self._rows = _common(opened)
        except BaseException:
            self._open.close()
            raise
        first = opened[0]
        self.ids = [first.ids[row] for row in self._rows[first.name]]
        labelled = next((file for file in opened if file.labels is not None), first)
        self.classes = labelled.classes
        self.kind: LabelKind = labelled.kind
        self.labels: Matrix32 | None = (
            None if labelled.labels is None else labelled.labels[self._rows[labelled.name]]
        )
        self.meta: dict[str, npt.NDArray[np.str_]] = {}
        for file in opened:
            for name, values in file.meta.items():
                self.meta.setdefault(name, values[self._rows[file.name]])
        self._labelled = labelled

    @property
    def groups(self) -> npt.NDArray[np.str_] | None:
        """The column ``group`` (patient), if there is one."""
        return self.meta.get("group")

    @property
    def y(self) -> npt.NDArray[Any]:
        """The labels, as `Embeddings.y` has them."""
        return target_of(self.labels, self.kind, "these files")

    def __getitem__(self, name: str) -> Matrix32:
        """Read the embeddings of an extractor, shape (n, D)."""
        if name not in self.files:
            raise KeyError(name)
        return self.files[name][self._rows[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row for each image, its id as index.

        Returns
        -------
        pandas.DataFrame
            The columns of `Embeddings.to_pandas`, the embeddings as ``<name>_<i>``.

        Raises
        ------
        MissingExtraError
            Without pandas.
        """
        columns = columns_of(self._labelled, self._rows[self._labelled.name])
        columns |= {name: values for name, values in self.meta.items() if name not in columns}
        return frame_of(columns, dict(self))

    def close(self) -> None:
        """Close the files; calling it again does nothing."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(self.files) if len(self.files) < 6 else f"{len(self.files)} files"
        return f"<AlignedEmbeddings: {names}; {len(self.ids)} images>"

    def _repr_html_(self) -> str:
        rows = [(name, file.dimension, len(file)) for name, file in self.files.items()]
        return html_table(repr(self)[1:-1], ("extractor", "dimension", "rows"), rows)


def _common(files: list[Embeddings]) -> dict[str, RowNumbers]:
    """Where the images that are done in every file stand in each, in the order of the first."""
    done = [{file.ids[row]: row for row in np.flatnonzero(file.done).tolist()} for file in files]
    ids = [id_ for id_ in done[0] if all(id_ in one for one in done[1:])]
    if not ids:
        raise InputError(
            f"{', '.join(file.name for file in files)} have no finished image in common: extract"
            " them over the same images, or import with --like"
        )
    rows = [np.array([one[id_] for id_ in ids], dtype=np.intp) for one in done]
    ours = [files[0].sha256[row] for row in rows[0]]
    for file, of_file in zip(files[1:], rows[1:], strict=True):
        for id_, digest, row in zip(ids, ours, of_file.tolist(), strict=True):
            if digest and file.sha256[row] and digest != file.sha256[row]:
                raise InputError(
                    f"'{id_}' is another image in {files[0].path} than in {file.path} (sha256"
                    " differs): extract both from the same folder"
                )
    return {file.name: of_file for file, of_file in zip(files, rows, strict=True)}
