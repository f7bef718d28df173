"""Charts of ROC and precision-recall curves, class by class, with bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxrfeat.pages.content import Content, Curve
from cxrfeat.pages.look import (
    CONTROL_DASHED,
    GUESSING,
    UNIT,
    Spec,
    class_panels,
    colour_of,
    coloured,
)
from cxrfeat.pages.words import drawn_unit, number, shown

NEAR = 0.001
"""How far a drawn curve or band may be from the computed one: a third of a pixel."""


def roc(content: Content) -> tuple[Spec, str] | None:
    """Sensitivity against the false positive rate, with bands."""
    if not content.roc:
        return None
    names = dict.fromkeys(curve.name for curve in content.roc)
    guess = [{"class": name, "x": at, "y": at} for name in names for at in (0, 1)]
    spec = _banded(content, content.roc, "false positive rate", "sensitivity", guess)
    return spec, _areas(content, "ROC curves", "AUROC", content.roc)


def precision_recall(content: Content) -> tuple[Spec, str] | None:
    """Precision against recall, with bands and the prevalence as floor."""
    if not content.precision_recall:
        return None
    floors = {curve.name: curve.floor for curve in content.precision_recall}
    guess = [{"class": name, "x": x, "y": y} for name, y in floors.items() for x in (0, 1)]
    spec = _banded(content, content.precision_recall, "recall", "precision", guess)
    of = "Precision-recall curves", "average precision"
    return spec, _areas(content, *of, content.precision_recall)


def _kept(curve: Curve) -> list[int]:
    """Choose the points that are drawn: straight lines between them stay within `NEAR` of all."""
    x = np.asarray(curve.x)
    lines = np.array([curve.y, curve.low, curve.high])
    kept, open_ = {0, len(x) - 1}, [(0, len(x) - 1)]
    while open_:
        start, stop = open_.pop()
        part = slice(start, stop + 1)
        share = (x[part] - x[start]) / ((x[stop] - x[start]) or 1.0)
        ends = lines[:, [start]], lines[:, [stop]]
        gap = np.abs(lines[:, part] - (ends[0] + share * (ends[1] - ends[0]))).max(axis=0)
        worst = int(gap.argmax())
        if gap[worst] > NEAR:
            kept.add(start + worst)
            open_ += [(start, start + worst), (start + worst, stop)]
    return sorted(kept)


def _areas(content: Content, what: str, area: str, curves: Sequence[Curve]) -> str:
    said = "; ".join(
        f"{curve.name}, {curve.extractor} with {curve.head}: {area} {number(curve.area)}"
        for curve in curves[:24]
    )
    return (
        f"{what} with 95 % bands over test {drawn_unit(content.results)}, a panel per class and a"
        " line per extractor,"
        f" drawn to within {NEAR:g}."
        f" {said}."
    )


def _banded(
    content: Content, curves: Sequence[Curve], x: str, y: str, guess: list[dict[str, Any]]
) -> Spec:
    classes = list(dict.fromkeys(curve.name for curve in curves))
    of = colour_of(content.results)
    colours = {_line(curve): of[curve.extractor] for curve in curves}
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
        for at, mean, low, high in (
            (curve.x[k], curve.y[k], curve.low[k], curve.high[k]) for k in _kept(curve)
        )
    ]
    rows += [point | {"guess": True} for point in guess]
    return class_panels(rows, classes, _layers(x, y, coloured(list(colours), colours)))


def _layers(x: str, y: str, color: Spec) -> list[Spec]:
    """Guessing as a dashed line; bands; the curves, which the legend brings out one by one."""
    unit = {"domain": [0, 1]}
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
    vertical = {"type": "quantitative", "title": y, "scale": unit, "axis": UNIT}
    curve_only = {"filter": "!datum.guess"}
    return [
        {
            "transform": [{"filter": "datum.guess"}],
            "mark": GUESSING,
            "encoding": {
                "x": horizontal,
                "y": {"field": "y", **vertical},
            },
        },
        {
            "transform": [curve_only],
            "mark": {"type": "area", "opacity": 0.16},
            "encoding": {
                "x": horizontal,
                "y": {"field": "low", **vertical},
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
    ]


def _line(curve: Curve) -> str:
    name = shown({"extractor": curve.extractor, "control": curve.control})
    return f"{name}, {curve.head}"
