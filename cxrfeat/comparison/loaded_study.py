"""A study out of embedding files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from cxrfeat import store
from cxrfeat.evaluation.study.alignment import align
from cxrfeat.evaluation.study.study import Study
from cxrfeat.paths import PathLike


def load_study(embeddings: PathLike | Sequence[PathLike], *, include_gone: bool = False) -> Study:
    """Open embedding files, or all in a folder, and join them by image id.

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
        return align(files, include_gone=include_gone)
