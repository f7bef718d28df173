"""The reporting guidelines of a run, filled from its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from cxrfeat import model
from cxrfeat.errors import CxrfeatError, FileFormatError, InputError
from cxrfeat.paths import PathLike
from cxrfeat.reporting.audit_file import audit_of
from cxrfeat.reporting.run_folder import RunFolder
from cxrfeat.results import (
    ChecklistItem,
    EmbeddingFacts,
    RunFacts,
    checklist_csv,
    fill_checklist,
    model_card,
    read_checklist,
)
from cxrfeat.results.data import intervals_over
from cxrfeat.store import FileInfo, describe


def checklist(run: PathLike) -> list[ChecklistItem]:
    """Answer the items of CLAIM 2024, TRIPOD+AI, METRICS and REFORMS, as far as a run can.

    Parameters
    ----------
    run
        The folder that `fit` wrote. Its ``checklist.csv`` is read; without one the items are
        answered from the run's other files, and from the embedding files where these are still
        where they were.

    Raises
    ------
    InputError
        Not the folder of a run.
    FileFormatError
        Files of a run that are damaged.

    Examples
    --------
    >>> from cxrfeat.reporting.checklist_files import checklist
    >>> checklist("runs/fit-001")[0].status  # doctest: +SKIP
    'partly'
    """
    folder = Path(run)
    written = folder / "checklist.csv"
    if written.is_file():
        return read_checklist(written.read_text(encoding="utf-8"))
    return fill_checklist(run_facts(folder, _results(folder)))


def write_checklist_and_card(run: RunFolder, results: Mapping[str, Any]) -> None:
    """Write ``checklist.csv`` and, where a model was saved, ``model_card.md`` into a new run.

    Raises
    ------
    StorageError
        The place cannot be written.
    """
    facts = run_facts(run.partial, results)
    run.write("checklist.csv", checklist_csv(fill_checklist(facts)))
    if facts.model is not None:
        run.write("model_card.md", model_card(facts.model, results, facts.audit))


def run_facts(folder: Path, results: Mapping[str, Any]) -> RunFacts:
    """Gather what a checklist is filled from: results, saved model and embedding files."""
    options = results["options"]
    given = [(path, False) for path in options.get("embeddings") or []]
    given += [(path, True) for path in options.get("test") or []]
    found = [(file, outside) for path, outside in given for file in _embedding_files(Path(path))]
    embeddings = []
    for file, outside in dict.fromkeys(found):
        try:
            embeddings.append(embedding_facts(describe(file), outside))
        except CxrfeatError:
            continue  # gone or damaged since: what only it knows is left out
    return RunFacts(results, about(folder / "model.skops"), embeddings, audit_of(folder))


def embedding_facts(file: FileInfo, outside: bool = False) -> EmbeddingFacts:
    """Say what an embedding file says about itself, under the names it has there."""
    return EmbeddingFacts(
        name=f"{file.name} (outside test set)" if outside else file.name,
        file=file.path.as_posix(),
        facts={
            "/embeddings": {"rows": file.rows, "dimension": file.dimension},
            "/status": {"done": file.done, "failed": file.failed, "pending": file.pending},
            "/error": file.failures,
            "/labels": file.classes,
            "/meta": file.columns,
            "spec": file.spec,
            "fingerprint": file.fingerprint,
            "environment": file.environment,
            "created": file.created,
        },
    )


def about(path: Path) -> dict[str, Any] | None:
    """Read what a saved model says about itself; None where there is none.

    Raises
    ------
    FileFormatError
        A damaged one.
    """
    if not path.is_file():
        return None
    saved = model.load(path)
    return {f.name: getattr(saved, f.name) for f in fields(saved) if f.name != "estimator"}


def _embedding_files(path: Path) -> Sequence[Path]:
    return sorted(path.glob("*.h5")) if path.is_dir() else [path]


def _results(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(
            f"{folder} holds no results.json: give the folder that cxrfeat fit wrote"
        ) from None
    except ValueError:
        raise FileFormatError(f"{path} is damaged: run cxrfeat fit again") from None
    if document.get("format") != "cxrfeat-results":
        raise FileFormatError(f"{path} is not of cxrfeat fit: give the folder of a run")
    return {"intervals": intervals_over(document), **document}
