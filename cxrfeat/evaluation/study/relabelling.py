"""Other labels out of those that the embedding files hold, without extracting again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.inputs import against_the_rest
from cxrfeat.inputs.positive import depth, holds, names_said
from cxrfeat.paths import PathLike, several
from cxrfeat.tables import TABLE_SUFFIXES, read_table

FROM, TO = "from", "to"
"""Columns of a table of names."""


@dataclass(frozen=True)
class Relabelling:
    """What becomes of the labels of a study before anything is learned.

    Attributes
    ----------
    names : mapping of str to str
        What a class or finding is called instead; several of one name are one; "" drops it.
        Classes that are not named stay.
    positive : str or None
        One class or finding, to take against all the rest; after the renaming.
    """

    names: Mapping[str, str]
    positive: str | None = None

    @classmethod
    def asked_for(
        cls,
        names: PathLike | Sequence[PathLike] | Mapping[str, str | None] | None,
        positive: str | None,
    ) -> Relabelling:
        """Understand what a user gave: names, ``OLD=NEW`` each, or tables of them.

        Raises
        ------
        InputError
            A table without the columns ``from`` and ``to``, or a name that is given twice.
        """
        if names is None:
            return cls({}, positive)
        if isinstance(names, Mapping):
            return cls({old: new or "" for old, new in names.items()}, positive)
        pairs = [pair for one in several(names) for pair in _pairs(one)]
        said = [old for old, _ in pairs]
        if twice := next((old for old in said if said.count(old) > 1), None):
            raise InputError(f"--map names '{twice}' twice: leave one out")
        return cls(dict(pairs), positive)

    def __bool__(self) -> bool:
        return bool(self.names) or self.positive is not None

    def written(self) -> list[str]:
        """Write the names as ``--map`` takes them."""
        return [f"{old}={new}" for old, new in self.names.items()]

    def of(self, study: Study) -> Study:
        """Give a study the new labels; images that have none any more are left out and counted.

        Raises
        ------
        UnknownNameError
            A name that no class says.
        InputError
            Nothing is left to tell apart.
        """
        if self.names:
            study = _renamed(study, self.names)
        if self.positive is None:
            return study
        classes, labels = against_the_rest(study.classes, study.labels, self.positive)
        counts = (
            f"{int((labels[:, 1] == 1).sum())} images with it, {int((labels[:, 0] == 1).sum())}"
        )
        note = f"'{self.positive}' against the rest: {counts} without"
        return _where_known(
            replace(
                study, classes=classes, labels=labels, kind="multiclass", notes=[*study.notes, note]
            )
        )


def _pairs(one: PathLike) -> list[tuple[str, str]]:
    if Path(one).suffix.lower() not in TABLE_SUFFIXES:
        old, equals, new = str(one).partition("=")
        if not equals:
            raise InputError(f"--map {one}: give OLD=NEW, or a table with the columns from and to")
        return [(old, new)]
    table = read_table(one)
    if set(table) != {FROM, TO}:
        raise InputError(
            f"'{one}' has the columns {', '.join(table)}: a table of names has two, '{FROM}' and"
            f" '{TO}'; blank in '{TO}' drops a class"
        )
    return list(zip(table[FROM], table[TO], strict=True))


def _renamed(study: Study, names: Mapping[str, str]) -> Study:
    """Rename, merge and drop; a name says a class as a whole, or as a level or part of it.

    A class that several names say is called by the one that says it as a whole, else by the most
    particular one.
    """
    found: dict[str, str] = {}
    for old in names:
        if not any(holds(name, old) for name in study.classes):
            raise UnknownNameError("class", old, names_said(study.classes), "(to be renamed)")
    for name in study.classes:
        saying = [old for old in names if holds(name, old)]
        if saying:
            found[name] = names[_most_particular(name, saying)]
    new = [found.get(name, name) for name in study.classes]
    classes = [name for name in dict.fromkeys(new) if name]
    if not classes:
        raise InputError("every class is dropped: nothing is left to tell apart")
    labels = np.stack(
        [_any(study.labels[:, [i for i, to in enumerate(new) if to == name]]) for name in classes],
        axis=1,
    )
    if study.kind == "multiclass":
        # An image of a class that was dropped has none, which is not the same as none of these.
        labels[labels.max(axis=1) < 1] = np.nan
    said = [f"'{old}' as '{to}'" if to else f"'{old}' dropped" for old, to in found.items()]
    note = f"labels renamed: {', '.join(said[:8])}" + (", ..." if len(said) > 8 else "")
    return _where_known(replace(study, classes=classes, labels=labels, notes=[*study.notes, note]))


def _most_particular(name: str, saying: Sequence[str]) -> str:
    return max(saying, key=lambda old: (old == name, depth(name, old), old.count("/")))


def _any(labels: Matrix32) -> Matrix32:
    """Let a 1 win over unknown, and unknown over a 0; shape (N,)."""
    held = (labels == 1).any(axis=1)
    return np.where(held, np.float32(1), labels.sum(axis=1)).astype(np.float32)


def _where_known(study: Study) -> Study:
    rows = np.flatnonzero(np.isfinite(study.labels).any(axis=1))
    if len(rows) == len(study):
        return study
    if not len(rows):
        raise InputError("no image has a label any more: keep more classes")
    return replace(
        study,
        ids=[study.ids[row] for row in rows.tolist()],
        labels=study.labels[rows],
        sha256=[study.sha256[row] for row in rows.tolist()],
        meta={name: column[rows] for name, column in study.meta.items()},
        extractors=[_of_rows(extractor, rows) for extractor in study.extractors],
        notes=[*study.notes, f"{len(study) - len(rows)} images without such a label were left out"],
    )


def _of_rows(extractor: Extractor, rows: RowNumbers) -> Extractor:
    return replace(extractor, X=extractor.X[rows])
