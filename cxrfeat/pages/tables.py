"""The tables of the page: every number as ``results.json`` has it, to three digits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cxrfeat.pages.words import (
    TITLES,
    drawn_unit,
    interval,
    metric_title,
    number,
    shown,
    shown_names,
)
from cxrfeat.results.checklist import ChecklistItem
from cxrfeat.spec import made_elsewhere, stated_name

IN_RANKING = ("auroc", "auprc", "balanced_accuracy", "accuracy", "f1", "mcc", "brier", "ece")


@dataclass(frozen=True)
class Column:
    """The heading of a column."""

    name: str
    number: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell; `value` is what it sorts by, where it is a number; `folded` opens when asked.

    `aside` follows the text, on a line of its own where the column is narrow.
    """

    text: str
    value: float | None = None
    aside: str = ""
    folded: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """One table of the page; the first cell of a row is its heading."""

    id: str
    caption: str
    header: Sequence[Column]
    rows: Sequence[Sequence[Cell]] = field(default_factory=list)
    sortable: bool = False


def _text(value: object) -> Cell:
    return Cell(str(value))


def _number(value: float | None, digits: int = 3) -> Cell:
    if value is None or not math.isfinite(value):
        return Cell("–")
    return Cell(number(value, digits), value)


def _interval(limits: Sequence[float | None]) -> Cell:
    return Cell("–") if limits[0] is None else Cell(interval(limits), limits[0])


def _spread(mean: float | None, sd: float | None) -> Cell:
    return Cell(number(mean), mean, "" if sd is None or mean is None else f"± {number(sd)}")


def _shuffled(results: Mapping[str, Any], extractor: str) -> Cell:
    area = results["permuted"].get(extractor)
    return Cell("cannot be tested") if area is None else _number(area)


def _columns(*names: str, words: int) -> list[Column]:
    """Headings, of which the first `words` stand over text and the others over numbers."""
    return [Column(name, place >= words) for place, name in enumerate(names)]


def extractors(results: Mapping[str, Any]) -> Table:
    """Extractors with the head chosen inside the folds."""
    return Table(
        "table-extractors",
        f"Extractors by {metric_title(results)}, the head chosen inside the training images of"
        " each fold; mean ± standard deviation over the folds",
        _columns(
            *("Extractor", "Heads chosen", metric_title(results), "95 % interval"),
            "AUROC, labels shuffled",
            words=2,
        ),
        [
            [
                _text(shown(one)),
                _text(", ".join(dict.fromkeys(one["heads"]))),
                _spread(one["mean"], one["sd"]),
                _interval(one["interval"]),
                _shuffled(results, one["extractor"]),
            ]
            for one in results["extractors"]
        ],
    )


def ranking(results: Mapping[str, Any]) -> Table:
    """Every extractor with every head."""
    names = list(dict.fromkeys([results["metric"], *IN_RANKING]))
    titles = [TITLES.get(name, name) for name in names]
    return Table(
        "table-ranking",
        f"Every extractor and head; mean ± standard deviation over: {results['folds']}",
        _columns("Extractor", "Head", "95 % interval", *titles, words=2),
        [
            [
                _text(shown(score)),
                _text(score["head"]),
                _interval(score["interval"]),
                *(_spread(score["mean"][name], score["sd"][name]) for name in names),
            ]
            for score in results["ranking"]
        ],
        sortable=True,
    )


def differences(results: Mapping[str, Any]) -> Table:
    """Every pair of extractors."""
    names = shown_names(results)
    return Table(
        "table-differences",
        "Pairs of extractors: corrected resampled t-test, Holm's adjustment over the pairs,"
        " probabilities of its Bayesian form",
        _columns(
            *("First", "Second", "Verdict", "Difference", "95 % interval", "p"),
            *("p (Holm)", "First better", "Practically same", "Second better"),
            words=3,
        ),
        [
            [
                _text(names[pair["first"]]),
                _text(names[pair["second"]]),
                _text(pair["verdict"]),
                _number(pair["difference"]),
                _interval(pair["interval"]),
                *(_number(pair[name]) for name in ("p", "p_holm", "better", "same", "worse")),
            ]
            for pair in results["comparisons"]
        ],
        sortable=True,
    )


def fixed_test_set(results: Mapping[str, Any]) -> Table:
    """DeLong's tests, where the run has a fixed test set with one image per patient."""
    names = shown_names(results)
    return Table(
        "table-delong",
        "AUROC of pairs on the fixed test set: DeLong's test; p (Holm) is adjusted over all classes"
        " and pairs of this table",
        _columns(
            *("First", "Second", "Class", "First's AUROC", "Second's AUROC", "Difference", "p"),
            "p (Holm)",
            words=3,
        ),
        [
            [
                *(_text(text) for text in (names[pair["first"]], names[pair["second"]])),
                _text(test["class"]),
                *(_number(test[name]) for name in ("first", "second", "difference", "p")),
                _number(test.get("p_holm")),
            ]
            for pair in results["comparisons"]
            for test in pair["delong"]
        ],
        sortable=True,
    )


def classes(results: Mapping[str, Any]) -> list[Table]:
    """List the best head of each extractor, class by class."""
    at = f"at {results['options'].get('specificity', 0.9):g}"
    called = f"; else called is {results['decisions']}" if results.get("decisions") else ""
    return [
        Table(
            f"table-classes-{place}",
            f"{shown(report)} with {report['head']}, one class against the rest; sensitivity"
            f" {at}: with thresholds from the training images for that specificity{called}",
            _columns(
                *("Class", "AUROC", "95 % interval", "Average precision", "Precision (PPV)"),
                *("Recall (sensitivity)", "F1", "Specificity", "NPV", f"Sensitivity {at}"),
                *("Images", "Known", "Prevalence"),
                words=1,
            ),
            [
                [
                    _text(entry["name"]),
                    _number(entry["auroc"]),
                    _interval(entry.get("auroc_interval", (None, None))),
                    *(
                        _number(entry[name])
                        for name in (
                            *("auprc", "precision", "recall", "f1", "specificity"),
                            *("npv", "sensitivity_at"),
                        )
                    ),
                    Cell(str(entry["support"]), entry["support"]),
                    Cell(str(entry["known"]), entry["known"]),
                    _number(entry["prevalence"]),
                ]
                for entry in report["classes"]
            ],
        )
        for place, report in enumerate(results["reports"])
    ]


def calibration(results: Mapping[str, Any]) -> Table:
    """List how far the probabilities of each class can be taken at their word."""
    return Table(
        "table-calibration",
        "Calibration of the out-of-fold probabilities, one class against the rest: ideal are a"
        " slope of 1, an intercept of 0 and no error; 95 % intervals. A dash: not defined, e.g."
        " where the probabilities separate the class from the rest",
        _columns(
            *("Class", "Extractor", "Head", "Slope", "95 % interval", "Intercept"),
            *("95 % interval", "Expected calibration error"),
            words=3,
        ),
        [
            [
                _text(entry["name"]),
                _text(shown(report)),
                _text(report["head"]),
                *(
                    cell
                    for name in ("calibration_slope", "calibration_intercept")
                    for cell in (_number(entry[name]), _interval(entry[f"{name}_interval"]))
                ),
                _number(entry["ece"]),
            ]
            for report in results["reports"]
            for entry in report["classes"]
            if "calibration_slope" in entry
        ],
        sortable=True,
    )


def learning(results: Mapping[str, Any]) -> Table:
    """List the points of the learning curves."""
    return Table(
        "table-learning",
        f"{metric_title(results)} with fewer {drawn_unit(results)}; mean ± standard deviation over"
        " the folds",
        _columns(
            "Extractor", "Head", f"Share of {drawn_unit(results)}", "Images", "Score", words=2
        ),
        [
            [
                _text(curve["extractor"]),
                _text(curve["head"]),
                _number(point["share"], 1),
                _number(point["images"], 0),
                _spread(point["mean"], point["sd"]),
            ]
            for curve in results["curves"]
            for point in curve["points"]
        ],
    )


def _made_by(spec: Mapping[str, Any]) -> str:
    if made_elsewhere(spec):
        return f"{stated_name(spec) or 'not stated'} (imported)"
    return str(spec.get("weights", {}).get("name", ""))


def files(results: Mapping[str, Any]) -> Table:
    """List the embedding files: what was found, failed and done."""
    return Table(
        "table-files",
        "Embedding files: images found, with embeddings, failed (by code) and not come to",
        _columns(
            *("Extractor", "Weights", "Why images failed", "Fingerprint"),
            *("Found", "Done", "Failed", "Pending", "Dimension"),
            words=4,
        ),
        [
            [
                _text(entry["name"] + (" (outside)" if entry["outside"] else "")),
                _text(_made_by(entry["spec"]) + (" (control)" if entry["control"] else "")),
                _text(", ".join(f"{code} {n}" for code, n in entry["failures"].items()) or "–"),
                _text(entry["fingerprint"][:12]),
                *(
                    Cell(str(count), count)
                    for count in (
                        *(entry["rows"], entry["done"], sum(entry["failures"].values())),
                        *(entry["pending"], entry["dimension"]),
                    )
                ),
            ]
            for entry in results["embeddings"]
        ],
    )


def versions(results: Mapping[str, Any], charting: Mapping[str, str]) -> Table:
    """Versions that made the embeddings, the scores and this page."""
    rows = [("scores", name, of) for name, of in results["versions"].items()]
    made = {
        (name, str(of))
        for entry in results["embeddings"]
        for environment in _environments(entry)
        for name, of in environment.items()
    }
    rows += [("embeddings", name, of) for name, of in sorted(made)]
    rows += [("this page", name, of) for name, of in charting.items()]
    return Table(
        "table-versions",
        "Versions",
        _columns("Package", "Version", "Of", words=3),
        [[_text(name), _text(of), _text(what)] for what, name, of in rows],
    )


def _environments(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return where the rows of a file were computed; of old files, what it names instead."""
    known = [origin["environment"] for origin in entry.get("origins", ())]
    return [one for one in known if one] or [entry["environment"]]


def checklist(items: Sequence[ChecklistItem]) -> Table:
    """Answers to reporting guidelines."""
    return Table(
        "table-checklist",
        "Items of reporting guidelines",
        _columns("Guideline", "Item", "Topic", "Status", "Answer", "Source", words=6),
        [
            [
                *(_text(text) for text in (item.guideline, item.item, item.topic, item.status)),
                _text(item.value or "–"),
                _places(item.source),
            ]
            for item in items
        ],
        sortable=True,
    )


def _places(source: str) -> Cell:
    """Fold a list of places that is too long to read."""
    places = source.split("; ") if source else []
    if len(places) < 4:
        return Cell("; ".join(places) or "–")
    return Cell(f"{len(places)} places", folded=places)
