"""The ranking as CSV, Markdown and LaTeX, drawn from results alone."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrfeat.results.data import Score

SHOWN = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1",
    "brier": "Brier",
}
"""The metrics of a table for people; all of them are in ``scores.csv``."""


def scores_csv(ranking: Sequence[Score], metric: str) -> str:
    """``scores.csv``: a row per extractor and head; each metric with its spread over folds."""
    names = list(ranking[0].mean) if ranking else []
    header = ["extractor", "head", "control", f"{metric}_low", f"{metric}_high"]
    header += [column for name in names for column in (name, f"{name}_sd")]
    rows: list[list[object]] = []
    for score in ranking:
        row: list[object] = [score.extractor, score.head, "yes" if score.control else "no"]
        row += [_number(limit) for limit in score.interval]
        for name in names:
            row += [_number(score.mean[name]), _number(score.sd[name])]
        rows.append(row)
    return csv_text(header, rows)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table as CSV with Unix line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def markdown_table(results: Mapping[str, Any]) -> str:
    """Draw the ranking as a Markdown table.

    Parameters
    ----------
    results
        ``FitResult.as_json()``, or what ``results.json`` holds: nothing is fitted again.
    """
    header, rows = _cells(results, "{mean:.3f} ± {sd:.3f}")
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)], *rows]
    return "".join(f"| {' | '.join(_escaped(c) for c in line)} |\n" for line in lines)


def latex_table(results: Mapping[str, Any]) -> str:
    r"""Draw the ranking as a LaTeX ``tabular`` with ``booktabs`` rules.

    Parameters
    ----------
    results
        ``FitResult.as_json()``, or what ``results.json`` holds.
    """
    header, rows = _cells(results, r"${mean:.3f} \pm {sd:.3f}$")
    body = [" & ".join(_tex(cell) for cell in row) + r" \\" for row in rows]
    top = " & ".join(_tex(cell) for cell in header) + r" \\"
    columns = "ll" + "r" * (len(header) - 2)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            *(r"\toprule", top, r"\midrule"),
            *body,
            *(r"\bottomrule", r"\end{tabular}", ""),
        ]
    )


def _cells(results: Mapping[str, Any], form: str) -> tuple[list[str], list[list[str]]]:
    shown = {results["metric"]: results["metric"]} | SHOWN
    names = {name: SHOWN.get(name, name.replace("_", " ")) for name in shown}
    rows = []
    for score in results["ranking"]:
        extractor = f"{score['extractor']} (control)" if score["control"] else score["extractor"]
        cells = [extractor, score["head"]]
        for name in names:
            mean, sd = score["mean"][name], score["sd"][name]
            if mean is None:
                cells.append("–")
            elif sd is None or not math.isfinite(sd):
                cells.append(f"{mean:.3f}")
            else:
                cells.append(form.format(mean=mean, sd=sd))
        rows.append(cells)
    return ["Extractor", "Head", *names.values()], rows


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")


def _tex(cell: str) -> str:
    if cell.startswith("$"):
        return cell
    for plain in "&%#_":
        cell = cell.replace(plain, rf"\{plain}")
    return cell.replace("–", "--")


def _number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else ""
