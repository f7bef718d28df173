"""The page of a run: put together, drawn and written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxrfeat import defaults, pages
from cxrfeat.errors import StorageError
from cxrfeat.evaluation.outcome.saved_run import read_results, read_run
from cxrfeat.notebook import Shown
from cxrfeat.pages import Content
from cxrfeat.paths import PathLike, several
from cxrfeat.reporting.anonymous_page import anonymous, ids_beside
from cxrfeat.reporting.audit_file import AUDIT_PAGE
from cxrfeat.reporting.checklist_files import checklist, run_facts
from cxrfeat.reporting.command_line import command_line
from cxrfeat.reporting.page_content import content_of
from cxrfeat.reporting.thumbnails import Radiographs
from cxrfeat.results import ChecklistItem, fill_checklist

PAGE = "report.html"

LARGEST = 7_900_000
"""Bytes of a page, so that with what is said of its thumbnails it stays below 8 MB."""


@dataclass(frozen=True, repr=False)
class ReportResult(Shown):
    """What `report` wrote.

    Attributes
    ----------
    page : Path
    bytes : int
        Its size.
    figures : list of Path
        Every chart as SVG and PNG.
    thumbnails : int
        Radiographs on the page.
    notes : list of str
        What could not be shown, and why.
    """

    page: Path
    bytes: int
    figures: list[Path]
    thumbnails: int
    notes: list[str]


def write_page(
    run: PathLike,
    *,
    out: PathLike | None = None,
    images: PathLike | Sequence[PathLike] | None = None,
    no_images: bool = False,
    hash_ids: bool = False,
) -> ReportResult:
    """Write the page and its figures; `cxrfeat.report` says how and what it raises."""
    pages.check_installed()
    folder = Path(run)
    saved = read_run(folder, shown_only=True)
    wanted = None if images is None else [Path(path) for path in several(images)]
    with_thumbnails = not no_images and not (hash_ids and wanted is None)
    content, radiographs = content_of(folder, saved, wanted)
    page = Path(out) if out is not None else folder / PAGE
    if content.audit is not None and not hash_ids:
        content = replace(content, audit_page=_place_of_audit(folder, page))
    names = None
    if hash_ids:
        content, names = anonymous(content, saved, secrets.token_bytes(32))
        content = replace(content, command=command_line(dict(content.results)))
    charts = pages.charts(content)
    drawn = {chart.name: pages.svg(chart.name, chart.spec, chart.alt) for chart in charts}
    items = _checklist(folder, content)
    text = pages.page(content, charts, drawn, items)
    if with_thumbnails:
        content = _with_thumbnails(content, radiographs, LARGEST - len(text.encode()))
        text = pages.page(content, charts, drawn, items)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        figures = _write_figures(page.parent / "figures", drawn)
        if names is not None:
            names.write(ids_beside(page))
    except OSError as error:
        raise StorageError(f"{page} cannot be written: {error.strerror}") from error
    return ReportResult(
        page=page,
        bytes=page.stat().st_size,
        figures=figures,
        thumbnails=sum(picture.jpeg is not None for picture in content.pictures),
        notes=list(content.notes),
    )


def _place_of_audit(folder: Path, page: Path) -> str:
    """Say where the page of the run's audit is, seen from the page; "" where there is none."""
    there = folder / defaults.AUDIT / AUDIT_PAGE
    if not there.is_file():
        return ""
    try:
        return Path(os.path.relpath(there, page.parent)).as_posix()
    except ValueError:  # on another drive
        return there.absolute().as_uri()


def _with_thumbnails(content: Content, radiographs: Radiographs, room: int) -> Content:
    """Put thumbnails on a page, as many as there is room for in bytes."""
    jpegs, notes = radiographs.jpegs(room * 3 // 4)  # as text they are a third more
    pictures = [
        replace(picture, jpeg=jpegs.get(number)) for number, picture in enumerate(content.pictures)
    ]
    return replace(content, pictures=pictures, notes=[*content.notes, *notes])


def _write_figures(folder: Path, drawn: dict[str, str]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    written = []
    for name, text in drawn.items():
        for suffix, data in ((".svg", text.encode()), (".png", pages.png(text))):
            path = folder / (name + suffix)
            path.write_bytes(data)
            written.append(path)
    return written


def _checklist(folder: Path, content: Content) -> list[ChecklistItem]:
    """Answer reporting guidelines; anew, from what the page may say, where places are left out."""
    if not content.hashed:
        return checklist(folder)
    results = dict(content.results)
    facts = run_facts(folder, read_results(folder / "results.json"))
    saved = facts.model
    if saved is not None:
        saved = {**saved, "training": {**saved["training"], "folds": results["folds"]}}
    files = [replace(one, file=Path(one.file).name) for one in facts.embeddings]
    # Answers of an audit name images and places.
    hidden = replace(facts, results=results, model=saved, embeddings=files, audit=None)
    return fill_checklist(hidden)
