"""The chart of observed against predicted shares, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxrfeat.pages.content import Content
from cxrfeat.pages.look import GUESSING, UNIT, Spec, class_panels, colour_of, coloured
from cxrfeat.pages.words import number, shown


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
    spec = class_panels(rows + diagonal, classes, _layers(coloured(names, colours)))
    said = "; ".join(
        f"{entry['name']}, {shown(report)} with {report['head']}: slope"
        f" {number(entry.get('calibration_slope'))}, expected calibration error"
        f" {number(entry.get('ece'))}"
        for report in reports[:6]
        for entry in report["classes"][:6]
    )
    return spec, f"Reliability curves: observed against predicted share, a panel per class. {said}."


def _layers(color: Spec) -> list[Spec]:
    """Draw the diagonal, the points of each extractor, and what joins them."""
    unit = {"domain": [0, 1]}
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
    return [
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
    ]
