"""Charts of curves, class by class: ROC, precision-recall, reliability, net benefit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxrfeat.pages.content import Content, Curve
from cxrfeat.pages.scores import colour_of, panels
from cxrfeat.pages.vega import FAINT, UNIT, Spec, coloured
from cxrfeat.pages.words import number, shown

SIDE = 230
CONTROL_DASHED = {
    "condition": {"test": "indexof(datum.extractor, '(control)') >= 0", "value": [5, 3]},
    "value": [1, 0],
}
GUESSING = {"type": "line", "color": FAINT, "strokeDash": [4, 4], "strokeWidth": 1}


def roc(content: Content) -> tuple[Spec, str] | None:
    """Sensitivity against the false positive rate, with bands."""
    if not content.roc:
        return None
    names = dict.fromkeys(curve.name for curve in content.roc)
    guess = [{"class": name, "x": at, "y": at} for name in names for at in (0, 1)]
    spec = _banded(content, content.roc, "false positive rate", "sensitivity", guess)
    return spec, _areas("ROC curves", "AUROC", content.roc)


def precision_recall(content: Content) -> tuple[Spec, str] | None:
    """Precision against recall, with bands and the prevalence as floor."""
    if not content.precision_recall:
        return None
    floors = {curve.name: curve.floor for curve in content.precision_recall}
    guess = [{"class": name, "x": x, "y": y} for name, y in floors.items() for x in (0, 1)]
    spec = _banded(content, content.precision_recall, "recall", "precision", guess)
    return spec, _areas("Precision-recall curves", "average precision", content.precision_recall)


def _areas(what: str, area: str, curves: Sequence[Curve]) -> str:
    said = "; ".join(
        f"{curve.name}, {curve.extractor} with {curve.head}: {area} {number(curve.area)}"
        for curve in curves[:24]
    )
    return (
        f"{what} with 95 % bands over test patients, a panel per class and a line per extractor."
        f" {said}."
    )


def _banded(
    content: Content, curves: Sequence[Curve], x: str, y: str, guess: list[dict[str, Any]]
) -> Spec:
    classes = list(dict.fromkeys(curve.name for curve in curves))
    of = colour_of(content.results)
    colours = {_line(curve): of[curve.extractor] for curve in curves}
    names = list(colours)
    rows = [
        {
            "class": curve.name,
            "extractor": _line(curve),
            "x": round(at, 4),
            "y": round(mean, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
        for curve in curves
        for at, mean, low, high in zip(curve.x, curve.y, curve.low, curve.high, strict=True)
    ]
    rows += [point | {"guess": True} for point in guess]
    unit = {"domain": [0, 1]}
    color = coloured(names, colours)
    faded = {"condition": {"param": "shown", "value": 1}, "value": 0.08}
    tooltip = [
        {"field": "extractor", "type": "nominal"},
        *(
            {"field": field, "type": "quantitative", "format": ".3f", "title": title}
            for field, title in (("x", x), ("y", y), ("low", "95 % from"), ("high", "to"))
        ),
    ]
    horizontal = {
        "field": "x",
        "type": "quantitative",
        "title": x,
        "scale": unit,
        "axis": UNIT,
    }
    curve_only = {"filter": "!datum.guess"}
    return {
        "data": {"values": rows},
        "facet": {"field": "class", "type": "nominal", "title": None, "sort": classes},
        "columns": 3,
        "spec": {
            "width": SIDE,
            "height": SIDE,
            "layer": [
                {
                    "transform": [{"filter": "datum.guess"}],
                    "mark": GUESSING,
                    "encoding": {
                        "x": horizontal,
                        "y": {
                            "field": "y",
                            "type": "quantitative",
                            "title": y,
                            "scale": unit,
                            "axis": UNIT,
                        },
                    },
                },
                {
                    "transform": [curve_only],
                    "mark": {"type": "area", "opacity": 0.16},
                    "encoding": {
                        "x": horizontal,
                        "y": {
                            "field": "low",
                            "type": "quantitative",
                            "title": y,
                            "scale": unit,
                            "axis": UNIT,
                        },
                        "y2": {"field": "high"},
                        "color": color,
                        "fillOpacity": faded,
                    },
                },
                {
                    "params": [
                        {
                            "name": "shown",
                            "select": {"type": "point", "fields": ["extractor"]},
                            "bind": "legend",
                        }
                    ],
                    "transform": [curve_only],
                    "mark": {"type": "line", "strokeWidth": 2},
                    "encoding": {
                        "x": horizontal,
                        "y": {"field": "y", "type": "quantitative"},
                        "color": color,
                        "strokeDash": CONTROL_DASHED,
                        "opacity": faded,
                        "tooltip": tooltip,
                    },
                },
            ],
        },
        "usermeta": panels(200, 300, 75, len(classes)),
    }


def _line(curve: Curve) -> str:
    name = shown({"extractor": curve.extractor, "control": curve.control})
    return f"{name}, {curve.head}"


def reliability(content: Content) -> tuple[Spec, str] | None:
    """Observed against predicted share in ten bins, of each extractor's best head."""
    reports: Sequence[Mapping[str, Any]] = content.results["reports"]
    rows = [
        {
            "class": entry["name"],
            "extractor": f"{shown(report)}, {report['head']}",
            "predicted": point["predicted"],
            "observed": point["observed"],
            "images": point["images"],
        }
        for report in reports
        for entry in report["classes"]
        for point in entry["reliability"]
    ]
    if not rows:
        return None
    classes = list(dict.fromkeys(row["class"] for row in rows))
    of = colour_of(content.results)
    colours = {f"{shown(one)}, {one['head']}": of[one["extractor"]] for one in reports}
    names = list(dict.fromkeys(row["extractor"] for row in rows))
    diagonal = [{"class": name, "diagonal": at} for name in classes for at in (0, 1)]
    unit = {"domain": [0, 1]}
    color = coloured(names, colours)
    x = {"type": "quantitative", "title": "predicted share", "scale": unit, "axis": UNIT}
    y = {"type": "quantitative", "title": "observed share", "scale": unit, "axis": UNIT}
    points = {
        "x": {"field": "predicted", **x},
        "y": {"field": "observed", **y},
        "color": color,
        "tooltip": [
            {"field": "extractor", "type": "nominal"},
            {"field": "predicted", "type": "quantitative", "format": ".3f"},
            {"field": "observed", "type": "quantitative", "format": ".3f"},
            {"field": "images", "type": "quantitative"},
        ],
    }
    binned = {"filter": "isValid(datum.images)"}
    spec = {
        "data": {"values": rows + diagonal},
        "facet": {"field": "class", "type": "nominal", "title": None, "sort": classes},
        "columns": 3,
        "spec": {
            "width": SIDE,
            "height": SIDE,
            "layer": [
                {
                    "transform": [{"filter": "isValid(datum.diagonal)"}],
                    "mark": GUESSING,
                    "encoding": {"x": {"field": "diagonal", **x}, "y": {"field": "diagonal", **y}},
                },
                {
                    "transform": [binned],
                    "mark": {"type": "line", "opacity": 0.5},
                    "encoding": points,
                },
                {
                    "transform": [binned],
                    "mark": {"type": "point", "filled": True, "opacity": 0.9},
                    "encoding": points
                    | {
                        "size": {
                            "field": "images",
                            "type": "quantitative",
                            "legend": None,
                            "scale": {"range": [25, 260]},
                        }
                    },
                },
            ],
        },
        "usermeta": panels(200, 300, 75, len(classes)),
    }
    said = "; ".join(
        f"{entry['name']}, {shown(report)} with {report['head']}: slope"
        f" {number(entry.get('calibration_slope'))}, expected calibration error"
        f" {number(entry.get('ece'))}"
        for report in reports[:6]
        for entry in report["classes"][:6]
    )
    return spec, f"Reliability curves: observed against predicted share, a panel per class. {said}."


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
    x = {
        "field": "threshold",
        "type": "quantitative",
        "title": "threshold probability",
        "scale": {"domain": [0, 1]},
        "axis": UNIT,
    }
    y = {"type": "quantitative", "title": "net benefit", "axis": {"tickCount": 5}}
    spec = {
        "data": {"values": rows + beside},
        "facet": {"field": "class", "type": "nominal", "title": None, "sort": classes},
        "columns": 3,
        # The best that can be had is the prevalence, and that differs from class to class.
        "resolve": {"scale": {"y": "independent"}},
        "spec": {
            "width": SIDE,
            "height": SIDE,
            "layer": [
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
                        "color": coloured(
                            list(dict.fromkeys(r["extractor"] for r in rows)), colours
                        ),
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
            ],
        },
        "usermeta": panels(200, 300, 90, len(classes)),
    }
    said = "; ".join(
        f"{entry['name']}, {shown(report)} with {report['head']}: {_above(entry)}"
        for report, entry in known[:24]
    )
    return spec, f"Decision curves: net benefit against threshold, a panel per class. {said}."


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
