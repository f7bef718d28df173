"""A study out of embedding files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cxrfeat import store
from cxrfeat.evaluation.study.alignment import align
from cxrfeat.evaluation.study.study import Study
from cxrfeat.memory import usable_memory
from cxrfeat.paths import PathLike

MOST_OF_MEMORY = 0.25
"""Share of the free memory that embeddings may take; the work on them needs several times that."""


def load_study(
    embeddings: PathLike | Sequence[PathLike],
    *,
    include_gone: bool = False,
    mapped: Path | None = None,
) -> Study:
    """Open embedding files, or all in a folder, and join them by image id.

    Parameters
    ----------
    mapped
        A folder to keep the embeddings in, which are then mapped from there; None reads them into
        the memory.

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
        return align(files, include_gone=include_gone, mapped=mapped)


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
