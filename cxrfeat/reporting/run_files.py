"""The text files of a run: what was asked for, splits, scores, predictions, tables, results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cxrfeat.errors import CxrfeatError
from cxrfeat.evaluation.outcome.compared_study import ComparedStudy
from cxrfeat.evaluation.study import folds as folding
from cxrfeat.paths import PathLike
from cxrfeat.reporting.checklist_files import write_checklist_and_card
from cxrfeat.reporting.run_folder import RunFolder
from cxrfeat.reporting.run_page import write_page
from cxrfeat.results import (
    FitResult,
    json_text,
    latex_table,
    markdown_table,
    scores_csv,
)

MODEL = "model.skops"
ALWAYS = (
    "scores.csv", "splits.json", "results.json", "table.md", "table.tex", "checklist.csv",
)  # fmt: skip
WITH_MODEL = (MODEL, "model_card.md")


def as_written(**options: Any) -> dict[str, Any]:
    """Write options as plain data: paths as text, several of anything as a list."""
    return {name: _plain(value) for name, value in options.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def files_of(run: RunFolder, compared: ComparedStudy) -> dict[str, str]:
    """Name the files of a run with their places; a model may be one that cannot be saved."""
    saved = WITH_MODEL if (run.partial / MODEL).exists() else ()
    names = (*ALWAYS, compared.predictions_name, *saved)
    return {name: str(run.final / name) for name in names}


def write_run(run: RunFolder, result: FitResult, compared: ComparedStudy) -> None:
    """Write all but the model and the page."""
    design, plain = compared.design, result.as_json()
    scheme = {"folds": design.sentence, **result.options}
    ids = compared.study.ids
    run.write("splits.json", folding.to_json(design.folds, ids, scheme, design.patients))
    run.write("scores.csv", scores_csv(result.ranking, result.metric))
    run.write_blocks(compared.predictions_name, compared.predictions())
    run.write("table.md", markdown_table(plain))
    run.write("table.tex", latex_table(plain))
    run.write("results.json", json_text(plain))
    write_checklist_and_card(run, plain)


def with_page(
    run: RunFolder, result: FitResult, images: PathLike | Sequence[PathLike] | None
) -> FitResult:
    """Write the page into the run; scores are not lost because it cannot be made."""
    try:
        made = write_page(run.partial, images=images)
    except CxrfeatError as error:
        again = f"then cxrfeat report {result.run} makes it"
        return replace(result, notes=[*result.notes, f"no report.html: {error}; {again}"])
    written = {path.relative_to(run.partial).as_posix() for path in (made.page, *made.figures)}
    files = {name: str(run.final / name) for name in sorted(written)}
    return replace(result, files={**result.files, **files})
