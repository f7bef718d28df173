"""Which embedding files there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrfeat.errors import InputError
from cxrfeat.paths import PathLike, several


def embedding_files(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """List the embedding files among files and folders, each once, in order.

    Raises
    ------
    InputError
        A path that does not exist, or a folder without embedding files.
    """
    found: list[Path] = []
    for item in several(paths):
        path = Path(item)
        if path.is_dir():
            inside = sorted(path.glob("*.h5"))
            if not inside:
                raise InputError(
                    f"no embedding file (*.h5) in {path}: run cxrfeat extract IMAGES --out {path}"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path} does not exist: run cxrfeat extract first")
    return list(dict.fromkeys(found))
