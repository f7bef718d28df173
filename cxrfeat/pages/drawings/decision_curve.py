"""The chart of net benefit, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxrfeat.pages.content import Content
from cxrfeat.pages.look import (
    CONTROL_DASHED,
    FAINT,
    UNIT,
    Spec,
    class_panels,
    colour_of,
    coloured,
)
from cxrfeat.pages.words import shown

BELOW = 0.25
"""Net benefits this share of the prevalence below 0 are not drawn: worse than nothing is enough."""


def decision_curve(content: Content) -> tuple[Spec, str] | None:
    """Net benefit against the threshold probability, beside calling every image or none."""
    reports: Sequence[Mapping[str, Any]] = content.results["reports"]
    known = [
        (report, entry)
        for report in reports
        for entry in report["classes"]
        if entry.get("decision_curve") and entry["prevalence"] is not None
    ]
    rows = [
        {
            "class": entry["name"],
            "extractor": f"{shown(report)}, {report['head']}",
            "threshold": threshold,
            "benefit": benefit,
        }
        for report, entry in known
        for threshold, benefit in _points(entry, "net_benefit")
    ]
    if not rows:
        return None
    classes = list(dict.fromkeys(row["class"] for row in rows))
    of = colour_of(content.results)
    colours = {f"{shown(one)}, {one['head']}": of[one["extractor"]] for one in reports}
    names = list(dict.fromkeys(row["extractor"] for row in rows))
    first = {entry["name"]: entry for _, entry in reversed(known)}
    beside = [
        {"class": name, "threshold": threshold, "reference": benefit, "called": "all"}
        for name in classes
        for threshold, benefit in _points(first[name], "treat_all")
    ]
    beside += [
        {"class": name, "threshold": at, "reference": 0, "called": "none"}
        for name in classes
        for at in (0, 1)
    ]
    spec = class_panels(rows + beside, classes, _layers(coloured(names, colours)), beside=90)
    # The best that can be had is the prevalence, and that differs from class to class.
    spec["resolve"] = {"scale": {"y": "independent"}}
    said = "; ".join(
        f"{entry['name']}, {shown(report)} with {report['head']}: {_above(entry)}"
        for report, entry in known[:24]
    )
    return spec, f"Decision curves: net benefit against threshold, a panel per class. {said}."


def _layers(color: Spec) -> list[Spec]:
    """Draw calling every image and calling none, and each extractor."""
    x = {
        "field": "threshold",
        "type": "quantitative",
        "title": "threshold probability",
        "scale": {"domain": [0, 1]},
        "axis": UNIT,
    }
    y = {"type": "quantitative", "title": "net benefit", "axis": {"tickCount": 5}}
    return [
        {
            "transform": [{"filter": "isValid(datum.called)"}],
            "mark": {"type": "line", "color": FAINT, "strokeWidth": 1},
            "encoding": {
                "x": x,
                "y": {"field": "reference", **y},
                "detail": {"field": "called", "type": "nominal"},
                "strokeDash": {
                    "condition": {"test": "datum.called === 'all'", "value": [4, 4]},
                    "value": [1, 0],
                },
            },
        },
        {
            "transform": [{"filter": "isValid(datum.extractor)"}],
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {
                "x": x,
                "y": {"field": "benefit", **y},
                "color": color,
                "strokeDash": CONTROL_DASHED,
                "tooltip": [
                    {"field": "extractor", "type": "nominal"},
                    {
                        "field": "threshold",
                        "type": "quantitative",
                        "format": ".2f",
                        "title": "called from",
                    },
                    {
                        "field": "benefit",
                        "type": "quantitative",
                        "format": ".3f",
                        "title": "net benefit",
                    },
                ],
            },
        },
    ]


def _points(entry: Mapping[str, Any], which: str) -> list[tuple[float, float | None]]:
    """Thresholds and net benefits, None where there is nothing worth drawing: a gap."""
    curve = entry["decision_curve"]
    least = -BELOW * entry["prevalence"]
    return [
        (threshold, None if benefit is None or benefit < least else round(benefit, 4))
        for threshold, benefit in zip(curve["threshold"], curve[which], strict=True)
    ]


def _above(entry: Mapping[str, Any]) -> str:
    """Say from where to where a curve is above both calling every image and calling none."""
    curve = entry["decision_curve"]
    above = [
        threshold
        for threshold, benefit, of_all in zip(
            curve["threshold"], curve["net_benefit"], curve["treat_all"], strict=True
        )
        if benefit is not None and benefit > max(of_all, 0)
    ]
    if not above:
        return "at no threshold more than calling every image or none"
    return f"more than calling every image or none between {above[0]:.2f} and {above[-1]:.2f}"
