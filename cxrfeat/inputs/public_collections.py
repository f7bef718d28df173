"""The label tables of public chest radiograph collections, each recognised by its header.

Adding one is a function and an entry in `FORMATS`; ``docs/labels.md`` says what each becomes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cxrfeat.inputs.archives import is_archive
from cxrfeat.inputs.folders import find_images
from cxrfeat.inputs.label_table import (
    Columns,
    Understood,
    filled_by_no_finding,
    is_unknown,
    joined_findings,
    plain,
    slashes,
)
from cxrfeat.inputs.places import ImageIds, Root
from cxrfeat.inputs.remote_images import RemoteFolder


@dataclass(frozen=True)
class Format:
    """How to tell a table by its header, and how to understand it.

    Attributes
    ----------
    header : tuple of str
        Names, as `plain` writes them, that must all be there.
    understand : callable
        Gets the columns by their plain names, the columns as they are, and the image folders.
    where : tuple of str
        A column, by its plain name, and the values of the rows that are taken unless the user
        names values of that column; empty for all rows.
    findings : tuple of str
        The findings or classes of the collection, to say which of them no image has; empty where
        there are too many to list.
    """

    header: tuple[str, ...]
    understand: Callable[[Columns, Columns, Sequence[Root]], Understood]
    where: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def recognise_format(columns: Columns) -> str | None:
    """Return the name of the first format in `FORMATS` whose header `columns` has, or None."""
    names = {plain(name) for name in columns}
    return next((name for name, f in FORMATS.items() if names.issuperset(f.header)), None)


def nowhere(name: str, held: Sequence[str]) -> list[str]:
    """Say which findings of a collection no image has, given those that some image has."""
    said = {plain(one) for one in held}
    lacking = [one for one in FORMATS[name].findings if plain(one) not in said]
    if not lacking or len(lacking) == len(FORMATS[name].findings):
        return []
    return [f"of the findings of this collection no image has: {', '.join(lacking)}"]


def understand(name: str, columns: Columns, roots: Sequence[Root]) -> Understood:
    """Understand a table of the format `name`."""
    by_plain_name = {plain(column): cells for column, cells in columns.items()}
    return FORMATS[name].understand(by_plain_name, columns, roots)


_PLAIN_META = {
    "viewposition": "view",
    "patientage": "age",
    "age": "age",
    "patientgender": "sex",
    "sex": "sex",
    "patientsexdicom": "sex",
    "view": "view",
    "projection": "view",
}


def _meta(cells: Columns, **more: list[str]) -> Columns:
    known = {kept: cells[name] for name, kept in _PLAIN_META.items() if name in cells}
    return {**known, **more}


def _chestxray14(cells: Columns, _: Columns, __: Sequence[Root]) -> Understood:
    labels = [[part for part in cell.split("|") if part] for cell in cells["findinglabels"]]
    return Understood(
        format="NIH ChestX-ray14",
        paths=cells["imageindex"],
        findings=joined_findings(labels),
        meta=_meta(cells, group=cells["patientid"]),
    )


# Thirteen observations of the CheXpert labeller, which MIMIC-CXR-JPG uses too.
_OBSERVATIONS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)
_CHEXPERT = frozenset(map(plain, (*_OBSERVATIONS, "No Finding")))
_FOURTEEN = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening"),
    "Hernia",
)


def _observations(columns: Columns) -> Columns:
    return {name: cells for name, cells in columns.items() if plain(name) in _CHEXPERT}


def _chexpert(cells: Columns, columns: Columns, _: Sequence[Root]) -> Understood:
    parts = [PurePosixPath(slashes(path)).parts for path in cells["path"]]
    patients = [next((p for p in row if re.fullmatch(r"patient\d+", p)), "") for row in parts]
    splits = [next((p for p in row if p in ("train", "valid", "test")), "") for row in parts]
    projection = cells.get("appa", [""] * len(parts))
    views = [ap or side for ap, side in zip(projection, cells["frontallateral"], strict=True)]
    return Understood(
        format="CheXpert",
        paths=cells["path"],
        findings=filled_by_no_finding(_observations(columns)),
        meta=_meta(cells, group=patients, split=splits, view=views),
    )


def _can_be_listed(root: Root) -> bool:
    return isinstance(root, RemoteFolder | ImageIds) or root.is_dir() or is_archive(root)


def _mimic(cells: Columns, columns: Columns, roots: Sequence[Root]) -> Understood:
    """Give every image the labels of its study, which its path names: ``p10000032/s5041426/``."""
    studies: dict[tuple[str, str], list[int]] = {}
    for row, (subject, study) in enumerate(zip(cells["subjectid"], cells["studyid"], strict=True)):
        studies.setdefault((_digits(subject), _digits(study)), []).append(row)
    paths: list[str] = []
    rows: list[int] = []
    patients: list[str] = []
    without_row = 0
    for name in find_images([root for root in roots if _can_be_listed(root)]).ids:
        match = re.search(r"(?:^|/)p(\d{4,})/s(\d+)/", name)
        found = studies.get((match[1], match[2]), []) if match else []
        without_row += not found
        for row in found:
            paths.append(name)
            rows.append(row)
            patients.append(match[1] if match else "")
    findings = filled_by_no_finding(_observations(columns))
    seen = set(rows)
    return Understood(
        format="MIMIC-CXR-JPG",
        paths=paths,
        findings={name: [column[row] for row in rows] for name, column in findings.items()},
        meta={"group": patients, "study": [cells["studyid"][row] for row in rows]},
        rows=rows,
        rows_without_image=[
            f"study {study}" for (_, study), found in studies.items() if found[0] not in seen
        ],
        notes=["labels joined on subject and study, from the folders p<subject>/s<study>"]
        + ([f"{without_row} image(s) of no study in the table"] if without_row else []),
    )


def _digits(cell: str) -> str:
    return cell.removesuffix(".0").lstrip("ps")


def _padchest(cells: Columns, _: Columns, __: Sequence[Root]) -> Understood:
    return Understood(
        format="PadChest",
        paths=cells["imageid"],
        findings=joined_findings([_listed(cell) for cell in cells["labels"]]),
        meta=_meta(cells, group=cells["patientid"]),
    )


def _listed(cell: str) -> list[str]:
    """Read a list written as Python writes it; what is no list says nothing."""
    try:
        names = ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        return []
    return [str(n).strip() for n in names if str(n).strip()] if isinstance(names, list) else []


_BOX_COLUMNS = frozenset(
    ("imageid", "radid", "classid", "classname", "xmin", "ymin", "xmax", "ymax")
)


def _vindr_boxes(cells: Columns, _: Columns, __: Sequence[Root]) -> Understood:
    """VinDr-CXR as on Kaggle: one row per box and reader."""
    readings: dict[tuple[str, str], set[str]] = {}
    for image, reader, name in zip(
        cells["imageid"], cells["radid"], cells["classname"], strict=True
    ):
        readings.setdefault((image, reader), set()).add(name)
    names = sorted({name for found in readings.values() for name in found})
    votes = [
        (image, {name: name in found for name in names}) for (image, _), found in readings.items()
    ]
    return _majority(votes, names)


def _vindr_readers(cells: Columns, columns: Columns, _: Sequence[Root]) -> Understood:
    """VinDr-CXR as on PhysioNet: one row per image and reader, 0/1 per finding."""
    names = [name for name in columns if plain(name) not in _BOX_COLUMNS]
    votes = [
        (image, {name: columns[name][row] in ("1", "1.0") for name in names})
        for row, image in enumerate(cells["imageid"])
    ]
    return _majority(votes, names)


def _majority(votes: Sequence[tuple[str, dict[str, bool]]], names: Sequence[str]) -> Understood:
    """Let a finding hold where more than half of an image's readers saw it."""
    by_image: dict[str, list[dict[str, bool]]] = {}
    for image, vote in votes:
        by_image.setdefault(image, []).append(vote)
    findings = {
        name: [
            str(int(2 * sum(vote[name] for vote in found) > len(found)))
            for found in by_image.values()
        ]
        for name in names
    }
    readers = sorted({len(found) for found in by_image.values()})
    return Understood(
        format="VinDr-CXR",
        paths=list(by_image),
        findings=filled_by_no_finding(findings),
        meta={"readers": [str(len(found)) for found in by_image.values()]},
        notes=[
            f"{len(votes)} readings of {len(by_image)} images, "
            f"{' or '.join(map(str, readers))} each: more than half of the readers decide",
            "no patients: the table does not name them",
        ],
    )


def _rsna_target(cells: Columns, _: Columns, __: Sequence[Root]) -> Understood:
    opaque: dict[str, bool] = {}
    for image, target in zip(cells["patientid"], cells["target"], strict=True):
        opaque[image] = opaque.get(image, False) or target in ("1", "1.0")
    return _rsna(
        list(opaque), ["Lung Opacity" if o else "No Lung Opacity" for o in opaque.values()]
    )


def _rsna_class(cells: Columns, _: Columns, __: Sequence[Root]) -> Understood:
    first: dict[tuple[str, str], int] = {}  # the table has a row for each box
    for row, pair in enumerate(zip(cells["patientid"], cells["class"], strict=True)):
        first.setdefault(pair, row)
    return _rsna([image for image, _ in first], [name for _, name in first], list(first.values()))


def _rsna(images: list[str], classes: list[str], rows: Sequence[int] = ()) -> Understood:
    return Understood(
        format="RSNA pneumonia",
        paths=images,
        classes=classes,
        rows=list(rows),
        notes=["no patients: the column patientId names the image, not the patient"],
    )


def _ieee8023(cells: Columns, _: Columns, __: Sequence[Root]) -> Understood:
    return Understood(
        format="covid-chestxray-dataset (ieee8023)",
        paths=cells["filename"],
        classes=["" if is_unknown(cell) else cell for cell in cells["finding"]],
        meta=_meta(cells, group=cells["patientid"], **_there(cells, "location")),
    )


def _there(cells: Columns, name: str) -> Columns:
    return {name: cells[name]} if name in cells else {}


def _covid_radiography(cells: Columns, _: Columns, __: Sequence[Root]) -> Understood:
    """Understand the lists of the COVID-19 Radiography Database: names such as ``COVID-12``."""
    names = [PurePosixPath(slashes(name)).name for name in cells["filename"]]
    classes = [re.sub(r"[\s_(-]*\d+\)?(\.\w+)?$", "", name) for name in names]
    return Understood(
        format="COVID-19 Radiography Database",
        paths=cells["filename"],
        classes=classes,
        notes=["classes from the file names; no patients: the table does not name them"],
    )


FORMATS: dict[str, Format] = {
    "chestxray14": Format(
        ("imageindex", "findinglabels", "patientid"), _chestxray14, findings=_FOURTEEN
    ),
    "chexpert": Format(
        ("path", "frontallateral", "nofinding", "edema"), _chexpert, findings=_OBSERVATIONS
    ),
    "mimic-cxr-jpg": Format(
        ("subjectid", "studyid", "nofinding", "edema"), _mimic, findings=_OBSERVATIONS
    ),
    "padchest": Format(("imageid", "imagedir", "patientid", "labels"), _padchest),
    "vindr-boxes": Format(("imageid", "radid", "classname"), _vindr_boxes),
    "vindr-readers": Format(("imageid", "radid", "nofinding"), _vindr_readers),
    "rsna-target": Format(
        ("patientid", "target", "x", "y"),
        _rsna_target,
        findings=("Lung Opacity", "No Lung Opacity"),
    ),
    "rsna-class": Format(
        ("patientid", "class"),
        _rsna_class,
        findings=("Lung Opacity", "No Lung Opacity / Not Normal", "Normal"),
    ),
    "ieee8023": Format(
        ("patientid", "offset", "finding", "filename"), _ieee8023, ("modality", "X-ray", "")
    ),
    "covid-radiography": Format(
        ("filename", "format", "size", "url"),
        _covid_radiography,
        findings=("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"),
    ),
}
"""Every recognised table, the more particular header first."""
