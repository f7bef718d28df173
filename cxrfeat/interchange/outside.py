"""What a file of another program is read as, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cxrfeat.arrays import Matrix32
from cxrfeat.errors import InputError
from cxrfeat.inputs import Columns, LabelKind
from cxrfeat.memory import usable_memory

PATCHES = ("mean",)
"""What can be made of several rows of one image."""


def refuse_too_large(stated: int, what: str) -> None:
    """Refuse what a small file can state and no memory can hold.

    Raises
    ------
    InputError
    """
    room = usable_memory()
    if room is not None and stated > room:
        raise InputError(
            f"{what} states {stated / 1e9:,.1f} GB, more than the {room / 1e9:,.1f} GB of memory"
            " that are free"
        )


@dataclass(frozen=True)
class Wanted:
    """What a user says of a file, where it cannot be told by itself.

    Attributes
    ----------
    embedding : str or None
        The columns (a name, ``NAME*``, or several joined by commas), dataset or array that holds
        the numbers.
    id_column : str or None
        The column, dataset or array of ids.
    ids : Path or None
        A file of ids, one for each row.
    patches : str or None
        One of `PATCHES`: what becomes of several rows of one image.
    """

    embedding: str | None = None
    id_column: str | None = None
    ids: Path | None = None
    patches: str | None = None


@dataclass(frozen=True)
class Labels:
    """Labels as a file has them; as `cxrfeat.inputs.Dataset` has them."""

    classes: list[str]
    matrix: Matrix32
    kind: LabelKind


@dataclass(frozen=True)
class Outside:
    """Embeddings of another program.

    Attributes
    ----------
    format : str
        E.g. ``"CSV"``.
    X : ndarray of float32, shape (n, D)
    ids : list of str, or None
        What each row is called; None where the file does not say.
    columns : dict of str to list of str
        What else is said of each row.
    labels : Labels or None
        Where they are a matrix, not columns of text.
    encoder : str
        What the file says that it was made by; "" where it does not.
    files : list of Path
        That were read, ids included.
    """

    format: str
    X: Matrix32
    ids: list[str] | None
    columns: Columns = field(default_factory=dict)
    labels: Labels | None = None
    encoder: str = ""
    files: list[Path] = field(default_factory=list)
