"""The answer of a run in words, and how its numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

FLOOR = "dummy"
"""The head that guesses."""

TITLES = {
    "auroc": "macro AUROC",
    "auprc": "macro AUPRC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "f1": "macro F1",
    "mcc": "MCC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "log_loss": "log-loss",
    "brier": "Brier score",
    "ece": "ECE",
    "sensitivity_at_specificity": "sensitivity at the chosen specificity",
}


def metric_title(results: Mapping[str, Any]) -> str:
    """Name the primary metric for people."""
    return TITLES.get(results["metric"], results["metric"])


def number(value: float | None, digits: int = 3) -> str:
    """Write a number to the digits that are shown everywhere; a dash where it is undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def interval(limits: Sequence[float | None]) -> str:
    """Write an interval."""
    return f"{number(limits[0])} to {number(limits[1])}"


def shown(entry: Mapping[str, Any]) -> str:
    """Name an extractor, saying so where it is a control."""
    return f"{entry['extractor']} (control)" if entry["control"] else str(entry["extractor"])


def shown_names(results: Mapping[str, Any]) -> dict[str, str]:
    """Return each extractor's name as the page shows it."""
    return {one["extractor"]: shown(one) for one in results["extractors"]}


def pretrained(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the best heads of the extractors that are no control, leaving guessing out."""
    return [one for one in results["reports"] if not one["control"] and one["head"] != FLOOR]


def drawn_unit(results: Mapping[str, Any]) -> str:
    """Name what intervals and learning curves draw: images, where no patients are known."""
    return "patients" if results["patients"] else "images"


def map_words(results: Mapping[str, Any], points: int) -> str:
    """Say truthfully which images the map shows."""
    total = results["images"]
    if points == total:
        return "Every image is a point"
    return (
        f"{points:,} of {total:,} images are points, drawn at random so that every class, and what"
        " the winner got right and wrong, has its true share; the images of the galleries are"
        " among them"
    )


def answer(results: Mapping[str, Any]) -> list[str]:
    """Answer the question of a run: which extractor, and how far to trust it.

    Returns
    -------
    list of str
        Sentences, the most important first.
    """
    title = metric_title(results)
    winner = results["winner"]["extractor"]
    of = {one["extractor"]: one for one in results["extractors"]}
    best = of[winner]
    patients = results["patients"]
    whom = f"{results['images']} images" + (f" of {patients} patients" if patients else "")
    head = f"{shown(best)} with {results['winner']['head']}"
    choice = len({score["head"] for score in results["ranking"]} - {FLOOR}) > 1
    if len(of) > 1:
        others = f"Of {len(of)} extractors, {head} comes first"
        first = f"{others}{_but_for_controls(results)} by {title}."
    elif choice:
        first = f"One extractor was scored: {head} comes first among its heads by {title}."
    else:
        first = f"One extractor was scored with one head: {head}."
    chosen = f"With the head chosen inside the training images of each fold, {shown(best)}"
    sentences = [
        first,
        f"{chosen if choice else head} has a"
        f" {title} of {number(best['mean'])} (95 % interval {interval(best['interval'])}) on"
        f" {whom}; {results['folds']}.",
    ]
    return sentences + _against_the_others(results, winner, of) + _how_far(results)


def _but_for_controls(results: Mapping[str, Any]) -> str:
    leader = results["extractors"][0]
    if not leader["control"] or leader["extractor"] == results["winner"]["extractor"]:
        return ""
    return " of those with pretrained weights"


def _against_the_others(
    results: Mapping[str, Any], winner: str, of: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    beaten, same, open_, above = [], [], [], []
    for pair in results["comparisons"]:
        if winner not in (pair["first"], pair["second"]):
            continue
        first = pair["first"] == winner
        other = shown(of[pair["second" if first else "first"]])
        if pair["verdict"] == "same":
            same.append(other)
        elif pair["verdict"] != "better":
            open_.append(other)
        elif (pair["difference"] > 0) == first:
            beaten.append(other)
        else:
            above.append(other)
    said = [
        (beaten, "It is better than {} (corrected paired test, Holm's adjustment, 5 %)."),
        (above, "It is worse than {} (corrected paired test, Holm's adjustment, 5 %)."),
        (same, "It is practically the same as {}."),
        (open_, "It cannot be told apart from {} on these images."),
    ]
    sentences = [sentence.format(_listed(names)) for names, sentence in said if names]
    controls = {shown(one) for one in of.values() if one["control"]}
    if not of[winner]["control"] and controls & {*above, *same, *open_}:
        sentences.append(
            "Random weights were not shown to be worse: on these images pretraining cannot be shown"
            " to help, and much of what separates the classes need not be disease."
        )
    return sentences


def _how_far(results: Mapping[str, Any]) -> list[str]:
    if not results["findings"]:
        return ["No finding speaks against these scores."]
    codes = list(dict.fromkeys(finding["code"] for finding in results["findings"]))
    count = len(results["findings"])
    what = "1 finding limits" if count == 1 else f"{count} findings limit"
    return [f"{what} how far this can be trusted: {', '.join(codes)}."]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
