"""What the files of a run say of its audit: its page, its checklist and its model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrfeat import defaults
from cxrfeat.errors import CxrfeatError, StorageError
from cxrfeat.evaluation.outcome.saved_run import read_results
from cxrfeat.reporting.anonymous_page import ids_beside
from cxrfeat.reporting.checklist_files import run_facts
from cxrfeat.reporting.run_page import PAGE, write_page
from cxrfeat.results import RunFacts, checklist_csv, fill_checklist, model_card


def mention_audit(run: Path, audit: Path, images: Sequence[Path]) -> list[str]:
    """Let the files of a run say what its audit found.

    Files that somebody has worked on since `fit` wrote them stay as they are; so does a page
    without ids.

    Parameters
    ----------
    audit
        The folder of the audit; only the one in the run's own folder is mentioned.
    images
        Folders of the radiographs.

    Returns
    -------
    list of str
        What does not mention it, and why.

    Raises
    ------
    StorageError
        The run cannot be written.
    """
    own = run / defaults.AUDIT
    if audit.resolve() != own.resolve():
        return [f"the files of {run} mention an audit in {own} alone, not this one"]
    facts = run_facts(run, read_results(run / "results.json"))
    before, now = _texts(replace(facts, audit=None)), _texts(facts)
    notes = []
    for name, text in now.items():
        path = run / name
        if path.is_file() and path.read_text(encoding="utf-8") != before[name]:
            notes.append(f"{path} was changed since fit wrote it and does not mention the audit")
            continue
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    return [*notes, *_page(run, images)]


def _texts(facts: RunFacts) -> dict[str, str]:
    texts = {"checklist.csv": checklist_csv(fill_checklist(facts))}
    if facts.model is not None:
        texts["model_card.md"] = model_card(facts.model, facts.results, facts.audit)
    return texts


def _page(run: Path, images: Sequence[Path]) -> list[str]:
    page = run / PAGE
    if not page.is_file():
        return []
    if ids_beside(page).exists():
        return [f"{page} was made without ids and stays as it is; cxrfeat report makes it anew"]
    try:
        write_page(run, images=list(images))
    except CxrfeatError as error:
        return [f"{page} does not mention the audit: {error}"]
    return []
