"""The chart of confusion matrices."""

from __future__ import annotations

from cxrfeat.pages.content import Content
from cxrfeat.pages.look import (
    INK,
    Spec,
    panels,
)
from cxrfeat.pages.words import shown


def confusion(content: Content) -> tuple[Spec, str] | None:
    """Confusion matrices of the best heads, shaded by the share of the true class."""
    reports = [report for report in content.results["reports"] if report["confusion"]]
    if not reports:
        return None
    classes = [entry["name"] for entry in reports[0]["classes"]]
    rows = [
        {
            "head": f"{shown(report)}, {report['head']}",
            "true": classes[i],
            "predicted": classes[j],
            "images": count,
            "share": count / max(1, sum(of_class)),
        }
        for report in reports
        for i, of_class in enumerate(report["confusion"])
        for j, count in enumerate(of_class)
    ]
    side = max(40, min(64, 260 // len(classes))) * len(classes)
    spec = {
        "data": {"values": rows},
        "facet": {
            "field": "head",
            "type": "nominal",
            "title": None,
            "sort": list(dict.fromkeys(row["head"] for row in rows)),
            "header": {"labelLimit": 250, "labelExpr": "split(datum.label, ', ')"},
        },
        "columns": 3,
        "spec": _matrix(classes, side),
        "usermeta": panels(side, side, 130, len(reports)),
    }
    said = "; ".join(
        f"{shown(report)} with {report['head']} has"
        f" {sum(row[k] for k, row in enumerate(report['confusion']))} of"
        f" {sum(map(sum, report['confusion']))} right"
        for report in reports
    )
    return spec, f"Confusion matrices, a row per true class: {said}."


def _matrix(classes: list[str], side: int) -> Spec:
    """One matrix: a shade and a number in each cell."""
    axis = {"labelLimit": 140}
    encoding = {
        "x": {
            "field": "predicted",
            "type": "nominal",
            "sort": classes,
            "title": "predicted",
            "axis": axis | {"labelAngle": -35},
        },
        "y": {"field": "true", "type": "nominal", "sort": classes, "title": "true", "axis": axis},
    }
    tooltip = [
        {"field": "true", "type": "nominal"},
        {"field": "predicted", "type": "nominal"},
        {"field": "images", "type": "quantitative"},
        {"field": "share", "type": "quantitative", "format": ".1%", "title": "of the true class"},
    ]
    return {
        "width": side,
        "height": side,
        "encoding": encoding,
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "white"},
                "encoding": {
                    "color": {
                        "field": "share",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1], "range": ["#eef3f8", "#0b4f86"]},
                        "legend": {
                            "format": ".0%",
                            "title": "of the true class",
                            "orient": "bottom",
                        },
                    },
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {"type": "text", "fontSize": 13},
                "encoding": {
                    "text": {"field": "images", "type": "quantitative"},
                    "color": {
                        "condition": {"test": "datum.share > 0.5", "value": "white"},
                        "value": INK,
                    },
                },
            },
        ],
    }
