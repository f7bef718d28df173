"""A study out of embedding files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrfeat import store
from cxrfeat.errors import InputError
from cxrfeat.evaluation.study.alignment import align
from cxrfeat.evaluation.study.relabelling import Relabelling
from cxrfeat.evaluation.study.study import Study
from cxrfeat.inputs import LabelTable
from cxrfeat.memory import usable_memory
from cxrfeat.paths import PathLike

MOST_OF_MEMORY = 0.25
"""Share of the free memory that embeddings may take; the work on them needs several times that."""


@dataclass(frozen=True)
class Labelling:
    """What a user wants as labels: those of other tables, under other names, or as they are.

    Attributes
    ----------
    names : Relabelling
    table, of_outside : LabelTable or None
        In place of the labels of the embedding files, and of those of the outside set.
    """

    names: Relabelling
    table: LabelTable | None = None
    of_outside: LabelTable | None = None

    @classmethod
    def asked_for(
        cls,
        names: Relabelling,
        labels: PathLike | None,
        of_outside: PathLike | None,
        has_outside: bool,
        **columns: Any,
    ) -> Labelling:
        """Understand what a user gave: tables, and the columns and rows that are read of both.

        Raises
        ------
        InputError
            Columns without a table, a table for an outside set that there is not, or no such file.
        """
        if of_outside is not None and not has_outside:
            raise InputError("--test-labels needs the embeddings of an outside set: --test")
        LabelTable.asked_for(of_outside if labels is None else labels, **columns)
        tables = [
            None if one is None else LabelTable(one, **columns) for one in (labels, of_outside)
        ]
        return cls(names, *tables)

    def written(self) -> dict[str, Any]:
        """Write it as plain data, each table with its digest."""
        return {
            "positive": self.names.positive,
            "map": self.names.written(),
            "labels": None if self.table is None else self.table.written(),
            "test_labels": None if self.of_outside is None else self.of_outside.written(),
        }


def load_study(
    embeddings: PathLike | Sequence[PathLike],
    *,
    include_gone: bool = False,
    mapped: Path | None = None,
    labels: LabelTable | None = None,
) -> Study:
    """Open embedding files, or all in a folder, and join them by image id.

    Parameters
    ----------
    mapped
        A folder to keep the embeddings in, which are then mapped from there; None reads them into
        the memory.
    labels
        A table whose labels and columns are taken in place of those of the files.

    Raises
    ------
    InputError
        A path that does not exist, a folder without embedding files, or files that cannot be
        joined.
    """
    with ExitStack() as stack:
        files = [
            stack.enter_context(store.load(path)) for path in store.embedding_files(embeddings)
        ]
        return align(files, include_gone=include_gone, mapped=mapped, labels=labels)


def need_mapping(
    embeddings: Sequence[PathLike | Sequence[PathLike]], combine: Sequence[str]
) -> bool:
    """Whether embeddings take so much of the memory that they had better be mapped.

    Parameters
    ----------
    embeddings
        Files or folders: those that are learned from, and an outside set.
    combine
        Names joined by ``+``, of those that are put side by side as well.
    """
    needed = 0
    for place in embeddings:
        of_name = {}
        for path in store.embedding_files(place):
            with store.load(path) as file:
                of_name[file.name] = 4 * int(file.done.sum()) * file.dimension
        together = [of_name.get(name.strip(), 0) for names in combine for name in names.split("+")]
        needed += sum(of_name.values()) + sum(together)
    free = usable_memory()
    return free is not None and needed > free * MOST_OF_MEMORY
