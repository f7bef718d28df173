"""Which images there are, and what is known about each: plain data, and where it comes from.

Imports nothing but plain data; imported by every folder above. To read: `dataset` (what is found),
`archives`, `remote_images`, the `places` that these and disks have in common, and `folders`; then
tables: `table` (the steps), `filtering`, `public_collections` (recognised by their header),
`label_table` (what labels are said), `joining` (rows to images), `repeated_rows`, `positive` (one
class against the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrfeat.inputs.archives import Member, is_archive
from cxrfeat.inputs.dataset import Dataset, LabelKind, PatientKey
from cxrfeat.inputs.folders import find_images, from_folders, from_ids, id_of
from cxrfeat.inputs.joining import Located, locate
from cxrfeat.inputs.label_table import Columns, one_hot
from cxrfeat.inputs.places import ImageIds, Place, PlaceList, root_of
from cxrfeat.inputs.positive import against_the_rest, one_against_the_rest, overlap_note
from cxrfeat.inputs.remote_images import RemoteFile, RemoteFolder
from cxrfeat.inputs.table import PATH_COLUMNS, LabelTable
from cxrfeat.paths import PathLike, several
from cxrfeat.tables import TABLE_SUFFIXES

__all__ = [
    "PATH_COLUMNS",
    "Columns",
    "Dataset",
    "ImageIds",
    "LabelKind",
    "LabelTable",
    "Located",
    "Member",
    "PatientKey",
    "Place",
    "PlaceList",
    "RemoteFile",
    "against_the_rest",
    "find",
    "from_folders",
    "from_ids",
    "id_of",
    "image_ids",
    "locate",
    "one_hot",
]


def find(
    images: PathLike | Sequence[PathLike] = ".",
    labels: PathLike | None = None,
    *,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    group_column: str | None = None,
    keep_column: Sequence[str] = (),
    uncertain: str | None = None,
    positive: str | None = None,
    where: Sequence[str] = (),
    repeated_rows: str = "error",
) -> Dataset:
    """Find the images and what is known about them, from folders or from a table.

    Parameters
    ----------
    images
        Folders, zip or tar archives, addresses such as ``s3://bucket/images``, or image files; or
        one table that lists the images, relative to where it lies.
    labels
        A table that lists images; only these are taken.
    path_column, label_column, group_column
        Columns of the table; recognised by name where not given.
    keep_column
        Further columns to keep of a recognised collection; of any other table all are.
    uncertain
        What a label of -1 counts as: "ignore" (unknown), "zeros" or "ones".
    positive
        One class or finding, to take against all the rest; also a level of a label such as
        ``Pneumonia/Viral/COVID-19``.
    where
        Conditions ``COLUMN=VALUE`` that rows of the table must meet.
    repeated_rows
        What becomes of several rows of one image: "error", "first" or "join".

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        Nothing found, ids that are not unique, or a table without the columns asked for.
    """
    roots = several(images)
    if labels is None and len(roots) == 1 and _is_table(roots[0]):
        labels, roots = roots[0], [Path(roots[0]).parent]
    table = LabelTable.asked_for(
        labels,
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        keep_column=keep_column,
        uncertain=uncertain,
        where=where,
        repeated_rows=repeated_rows,
    )
    found = from_folders(roots) if table is None else table.read(roots)
    if positive is not None:
        return one_against_the_rest(found, positive)
    if found.kind == "multiclass":
        return replace(found, notes=[*found.notes, *overlap_note(found.classes)])
    return found


def image_ids(roots: Sequence[PathLike]) -> list[str]:
    """Return the ids of all images below some folders, in their order, whatever a table says."""
    return sorted(find_images([root_of(root) for root in roots]).ids)


def _is_table(root: PathLike) -> bool:
    path = root_of(root)
    if isinstance(path, RemoteFolder):
        return False
    named = path.suffix.lower() in TABLE_SUFFIXES and not is_archive(path)
    return named and path.is_file()
