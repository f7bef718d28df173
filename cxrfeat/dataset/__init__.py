"""Which images there are, and what is known about each: plain data, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrfeat.dataset.data import Dataset, LabelKind, PatientKey
from cxrfeat.dataset.folders import find_images, from_folders
from cxrfeat.dataset.table import from_table
from cxrfeat.errors import InputError
from cxrfeat.tables import TABLE_SUFFIXES

__all__ = ["Dataset", "LabelKind", "PatientKey", "find", "from_folders", "from_table", "image_ids"]


def find(
    images: Path | str | Sequence[Path | str] = ".",
    labels: Path | str | None = None,
    *,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    group_column: str | None = None,
    uncertain: str | None = None,
) -> Dataset:
    """Find the images and what is known about them, from folders or from a table.

    Parameters
    ----------
    images
        Folders or image files; or one table that lists the images, relative to where it lies.
    labels
        A table that lists images; only these are taken.
    path_column, label_column, group_column
        Columns of the table; recognised by name where not given.
    uncertain
        What a label of -1 counts as: "ignore" (unknown), "zeros" or "ones".

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        Nothing found, ids that are not unique, or a table without the columns asked for.
    """
    roots = [Path(p) for p in ([images] if isinstance(images, (str, Path)) else images)]
    if labels is None and len(roots) == 1 and _is_table(roots[0]):
        labels, roots = roots[0], [roots[0].parent]
    if labels is None:
        asked = {"path": path_column, "label": label_column, "group": group_column}
        without_table = [f"--{name}-column" for name, column in asked.items() if column]
        if without_table:
            raise InputError(f"{without_table[0]} names a column, but there is no table: --labels")
        return from_folders(roots)
    return from_table(
        labels,
        images=roots,
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        uncertain=uncertain,
    )


def image_ids(roots: Sequence[Path | str]) -> list[str]:
    """Return the ids of all images below some folders, in their order, whatever a table says."""
    return sorted(find_images([Path(root) for root in roots]).ids)


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLE_SUFFIXES and path.is_file()
