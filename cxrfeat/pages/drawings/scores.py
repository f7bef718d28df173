"""Charts of scores: extractors, and every extractor with every head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxrfeat.pages.content import Content
from cxrfeat.pages.look import (
    LEGEND,
    PALETTE,
    Spec,
    panels,
    score_axis,
)
from cxrfeat.pages.words import FLOOR, metric_title, number, shown

_KINDS = ["pretrained", "random weights (control)"]


def extractors(content: Content) -> tuple[Spec, str]:
    """Each extractor with the head chosen inside the folds, with its interval."""
    title = metric_title(content.results)
    rows = [
        {
            "extractor": shown(one),
            "kind": _KINDS[one["control"]],
            "mean": one["mean"],
            "low": one["interval"][0],
            "high": one["interval"][1],
        }
        for one in content.results["extractors"]
    ]
    spec = _dots(rows, "extractor", title, content.results["metric"])
    return spec | {"usermeta": panels(120, 620, 175)}, _in_words(
        f"Dot plot of {title} with 95 % intervals, one row per extractor, the best on top",
        ((row["extractor"], row) for row in rows),
    )


def ranking(content: Content) -> tuple[Spec, str] | None:
    """Every extractor with every head but the floor, grouped by extractor."""
    results = content.results
    title = metric_title(results)
    scored = [score for score in results["ranking"] if score["head"] != FLOOR]
    if not scored:
        return None
    rows = [
        {
            "extractor": shown(score),
            "head": score["head"],
            "kind": _KINDS[score["control"]],
            "mean": score["mean"][results["metric"]],
            "low": score["interval"][0],
            "high": score["interval"][1],
        }
        for score in scored
    ]
    order = list(dict.fromkeys(row["extractor"] for row in rows))
    inner = _dots(rows, "head", title, results["metric"])
    spec = {
        "data": inner.pop("data"),
        "facet": {
            "row": {
                "field": "extractor",
                "sort": order,
                "title": None,
                "header": {"labelOrient": "top", "labelAnchor": "start", "labelAngle": 0},
            }
        },
        "spec": inner,
        "spacing": 6,
        "usermeta": panels(150, 640, 110),
    }
    return spec, _in_words(
        f"Dot plot of {title} with 95 % intervals for {len(rows)} pairs of extractor and head,"
        " grouped by extractor",
        ((f"{row['extractor']} with {row['head']}", row) for row in rows),
    )


def _dots(rows: Sequence[Mapping[str, Any]], field: str, title: str, metric: str) -> Spec:
    """Draw dots with interval lines, in the order of the rows."""
    y = {
        "field": field,
        "type": "nominal",
        "sort": list(dict.fromkeys(row[field] for row in rows)),
        "title": None,
        "axis": {"labelLimit": 170},
    }
    color = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": _KINDS, "range": [PALETTE[0], PALETTE[1]]},
        "legend": LEGEND,
    }
    tooltip = [
        {"field": name, "type": "quantitative", "format": ".3f", "title": says}
        for name, says in (("mean", title), ("low", "95 % from"), ("high", "to"))
    ]
    tooltip.insert(0, {"field": field, "type": "nominal", "title": field})
    return {
        "data": {"values": list(rows)},
        "width": 420,
        "height": {"step": 24},
        "encoding": {"y": y, "color": color, "tooltip": tooltip},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "x": {
                        "field": "low",
                        "type": "quantitative",
                        "title": title,
                        "scale": score_axis(
                            metric, [row[name] for row in rows for name in ("mean", "low", "high")]
                        ),
                        "axis": {"tickCount": 5},
                    },
                    "x2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "x": {"field": "mean", "type": "quantitative"},
                    "shape": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": {"domain": _KINDS, "range": ["circle", "diamond"]},
                    },
                },
            },
        ],
    }


def _in_words(begin: str, rows: Any) -> str:
    said = "; ".join(
        f"{name} {number(row['mean'])} ({number(row['low'])} to {number(row['high'])})"
        for name, row in list(rows)[:12]
    )
    return f"{begin}: {said}."
