"""How charts look: colours, legends, axes, and the width that the page gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]

PALETTE = ("#0b63a8", "#b84a00", "#00755e", "#97337c", "#7a5b00", "#4a4fb0", "#a01c2c", "#4d4d4d")
"""Told apart with any colour vision; at least 4.5 to 1 on white."""

INK, FAINT = "#1f2933", "#6b7785"

LEGEND: Spec = {
    "orient": "bottom",
    "title": None,
    "columns": 1,
    "symbolOpacity": 1,
    "symbolStrokeWidth": 2,
}

UNIT: Spec = {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"}
"""Ticks of an axis from 0 to 1."""

SIDE = 230
"""Pixels along a square panel."""

CONTROL_DASHED = {
    "condition": {"test": "indexof(datum.extractor, '(control)') >= 0", "value": [5, 3]},
    "value": [1, 0],
}
GUESSING = {"type": "line", "color": FAINT, "strokeDash": [4, 4], "strokeWidth": 1}

SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]

CONFIG: Spec = {
    "background": "white",
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "#e4e7eb",
        "domainColor": FAINT,
        "tickColor": FAINT,
        "labelLimit": 260,
    },
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "labelColor": INK, "labelLimit": 260},
    "header": {"labelFontSize": 13, "labelColor": INK, "labelFontWeight": "bold"},
    "range": {"category": list(PALETTE)},
    "view": {"stroke": "#cbd2d9"},
}


def coloured(names: Sequence[str], colours: Mapping[str, str]) -> Spec:
    """Colour lines by extractor, each with the colour it has everywhere on the page."""
    return {
        "field": "extractor",
        "type": "nominal",
        "scale": {"domain": list(names), "range": [colours[name] for name in names]},
        "legend": LEGEND,
    }


def panels(least: int, most: int, beside: int, count: int = 1) -> dict[str, Any]:
    """Tell the page how to fit panels into its width: pixels of one, and of the axis beside it."""
    return {"panels": {"least": least, "most": most, "beside": beside, "count": count}}


def class_panels(
    rows: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    layers: Sequence[Spec],
    beside: int = 75,
) -> Spec:
    """Draw a square panel for each class, three to a row; `beside` as for `panels`."""
    return {
        "data": {"values": list(rows)},
        "facet": {"field": "class", "type": "nominal", "title": None, "sort": list(classes)},
        "columns": 3,
        "spec": {"width": SIDE, "height": SIDE, "layer": list(layers)},
        "usermeta": panels(200, 300, beside, len(classes)),
    }


_LOWEST = {"mcc": -1.0}
_UNBOUNDED = frozenset(("log_loss", "brier"))


def score_axis(metric: str, values: Sequence[float | None]) -> Spec:
    """Scale an axis to scores with some room, and never beyond what the metric can be."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.06 * (high - low) or 0.05
    low = max(low - room, _LOWEST.get(metric, 0.0))
    high = high + room if metric in _UNBOUNDED else min(high + room, 1.0)
    return {"domain": [round(low, 4), round(high, 4)], "nice": False, "zero": False}


def colour_of(results: Mapping[str, Any]) -> dict[str, str]:
    """Give each extractor its colour, in the order of the ranking."""
    names = [report["extractor"] for report in results["reports"]]
    return {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}
