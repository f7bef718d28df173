"""Other labels out of those that the embedding files hold, without extracting again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.inputs import against_the_rest
from cxrfeat.inputs.positive import depth, holds, names_said
from cxrfeat.paths import PathLike
from cxrfeat.tables import read_table

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
        cls, names: PathLike | Mapping[str, str | None] | None, positive: str | None
    ) -> Relabelling:
        """Understand what a user gave: a table of names, or the names themselves.

        Raises
        ------
        InputError
            A table without the columns ``from`` and ``to``, or a name in it twice.
        """
        if names is None:
            return cls({}, positive)
        if isinstance(names, Mapping):
            return cls({old: new or "" for old, new in names.items()}, positive)
        table = read_table(names)
        if set(table) != {FROM, TO}:
            raise InputError(
                f"'{names}' has the columns {', '.join(table)}: a table of names has two, '{FROM}'"
                f" and '{TO}'; blank in '{TO}' drops a class"
            )
        if len(set(table[FROM])) < len(table[FROM]):
            twice = next(name for name in table[FROM] if table[FROM].count(name) > 1)
            raise InputError(f"'{names}' has '{twice}' in '{FROM}' twice: leave one out")
        return cls(dict(zip(table[FROM], table[TO], strict=True)), positive)

    def __bool__(self) -> bool:
        return bool(self.names) or self.positive is not None

    def as_json(self) -> dict[str, Any]:
        """Say it as a run records it."""
        return {"names": dict(self.names), "positive": self.positive}

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
