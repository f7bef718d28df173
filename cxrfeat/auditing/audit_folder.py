"""The folder of an audit: ``audit.json``, its tables, and its page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrfeat import pages
from cxrfeat.auditing.opening import Audited
from cxrfeat.errors import CxrfeatError
from cxrfeat.pages.audit_page import SHEET, SHOWN, AuditContent, audit_page
from cxrfeat.reporting.audit_file import AUDIT_JSON, AUDIT_PAGE
from cxrfeat.reporting.command_line import command_line
from cxrfeat.reporting.run_folder import RunFolder
from cxrfeat.reporting.thumbnails import BUDGET, Radiographs
from cxrfeat.results import json_text
from cxrfeat.results.audit import Audit, Section
from cxrfeat.results.audit_tables import audit_tables
from cxrfeat.version import __version__


def write_audit(folder: RunFolder, audit: Audit, audited: Audited, report: Path | None) -> Audit:
    """Write everything; what was found is not lost because the page cannot be made.

    Parameters
    ----------
    report
        The page of the run that was audited, to be linked; None without one.

    Returns
    -------
    Audit
        With the places of its files, and with a note where the page could not be made.

    Raises
    ------
    StorageError
        The place cannot be written.
    """
    tables = audit_tables(audit.checks)
    for name, text in tables.items():
        folder.write(name, text)
    names = [AUDIT_JSON, *tables]
    try:
        pages.check_installed()
        folder.write(AUDIT_PAGE, _page(folder, audit, audited, report))
        names.append(AUDIT_PAGE)
    except CxrfeatError as error:
        audit = replace(audit, notes=[*audit.notes, f"no {AUDIT_PAGE}: {error}"])
    audit = replace(
        audit,
        folder=str(folder.final),
        files={name: str(folder.final / name) for name in names},
    )
    folder.write(AUDIT_JSON, json_text(audit.as_json()))
    return audit


def _page(folder: RunFolder, audit: Audit, audited: Audited, report: Path | None) -> str:
    document = audit.as_json()
    jpegs, notes = _thumbnails(audit, audited)
    return audit_page(
        AuditContent(
            audit=document,
            title=Path(audit.run).name if audit.run else ", ".join(audit.extractors),
            version=__version__,
            jpegs=jpegs,
            command=command_line(document, "audit"),
            report="" if report is None else _relative(report, folder.final),
            notes=notes,
        )
    )


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return path.absolute().as_uri()


def _thumbnails(audit: Audit, audited: Audited) -> tuple[Mapping[str, bytes], list[str]]:
    """Make thumbnails of the candidates that the page shows."""
    study = audited.subject.study
    rows = {id_: row for row, id_ in enumerate(study.ids)}
    shown = (
        id_
        for check in audit.checks
        for candidate in check.candidates[: SHEET if check.section is Section.OUTLIERS else SHOWN]
        for id_ in candidate.ids
        if id_ in rows
    )
    wanted = {rows[id_]: rows[id_] for id_ in dict.fromkeys(shown)}
    if not wanted:
        return {}, []
    found, notes = Radiographs(
        study.ids,
        wanted,
        audited.folders,
        dict(zip(study.ids, study.sha256, strict=True)),
        frame=_stated(audited, "frame"),
        bits=_stated(audited, "bits"),
    ).jpegs(BUDGET)
    return {study.ids[row]: jpeg for row, jpeg in found.items()}, notes


def _stated(audited: Audited, name: str) -> int | None:
    """Return what a spec says of reading images: the frame of DICOM files, or bits."""
    specs: Sequence[Mapping[str, Any]] = [e.spec for e in audited.subject.study.extractors]
    values = (spec.get("image", {}).get(name) for spec in specs)
    return next((int(value) for value in values if value is not None), None)
