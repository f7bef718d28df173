"""Charts of scores: extractors, the ranking, paired differences, confusion, learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxrfeat.pages.content import Content
from cxrfeat.pages.vega import FAINT, INK, LEGEND, PALETTE, Spec, coloured
from cxrfeat.pages.words import FLOOR, metric_title, number, shown

_KINDS = ["pretrained", "random weights (control)"]
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
_VERDICTS = {"better": "a difference", "same": "practically the same", "undecided": "undecided"}


def panels(least: int, most: int, beside: int, count: int = 1) -> dict[str, Any]:
    """Tell the page how to fit panels into its width: pixels of one, and of the axis beside it."""
    return {"panels": {"least": least, "most": most, "beside": beside, "count": count}}


def colour_of(results: Mapping[str, Any]) -> dict[str, str]:
    """Give each extractor its colour, in the order of the ranking."""
    names = [report["extractor"] for report in results["reports"]]
    return {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}


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
    spec = _dots(rows, "extractor", title)
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
    inner = _dots(rows, "head", title)
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


def _dots(rows: Sequence[Mapping[str, Any]], field: str, title: str) -> Spec:
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
                        "scale": {"zero": False, "padding": 8},
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


def differences(content: Content) -> tuple[Spec, str] | None:
    """Every pair of extractors: the difference, its interval, and what is practically none."""
    pairs = content.results["comparisons"]
    if not pairs:
        return None
    title = metric_title(content.results)
    controls = {one["extractor"]: shown(one) for one in content.results["extractors"]}
    rows = [
        {
            "pair": f"{controls[pair['first']]}\n− {controls[pair['second']]}",
            "difference": pair["difference"],
            "low": pair["interval"][0],
            "high": pair["interval"][1],
            "p": pair["p_holm"],
            "verdict": _VERDICTS[pair["verdict"]],
        }
        for pair in pairs
    ]
    rope = content.results["options"].get("rope", 0)
    x = {"type": "quantitative", "scale": {"zero": True, "padding": 8}, "axis": {"tickCount": 5}}
    name = f"difference in {title} (positive: the first is better)"
    y = {
        "field": "pair",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelExpr": "split(datum.label, '\\n')", "labelLimit": 175},
    }
    color = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": list(_VERDICTS.values()), "range": [PALETTE[2], PALETTE[0], FAINT]},
        "legend": LEGEND,
    }
    tooltip = [
        {"field": "pair", "type": "nominal"},
        *(
            {"field": field, "type": "quantitative", "format": ".3f", "title": says}
            for field, says in (
                ("difference", "difference"),
                ("low", "95 % from"),
                ("high", "to"),
                ("p", "p (Holm)"),
            )
        ),
        {"field": "verdict", "type": "nominal"},
    ]
    band = {"values": [{"from": -rope, "to": rope}]}
    spec: Spec = {
        "data": {"values": rows},
        "width": 420,
        "height": {"step": 44},
        "layer": [
            {
                "data": band,
                "mark": {"type": "rect", "color": "#dde6ee"},
                "encoding": {
                    "x": {"field": "from", **x, "title": name.split(" (")[0]},
                    "x2": {"field": "to"},
                },
            },
            {
                "data": {"values": [{"zero": 0}]},
                "mark": {"type": "rule", "color": INK, "strokeDash": [4, 3]},
                "encoding": {"x": {"field": "zero", "type": "quantitative"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "x": {"field": "low", "type": "quantitative"},
                    "x2": {"field": "high"},
                    "y": y,
                    "color": color,
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "x": {"field": "difference", "type": "quantitative"},
                    "y": y,
                    "color": color,
                    "tooltip": tooltip,
                },
            },
        ],
        "usermeta": panels(130, 600, 180),
    }
    said = " ".join(f"{pair['sentence']}." for pair in pairs[:8])
    return spec, f"Dot plot of the {name} with 95 % intervals for {len(rows)} pairs. {said}"


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
        "spec": {
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
        },
        "usermeta": panels(side, side, 130, len(reports)),
    }
    said = "; ".join(
        f"{shown(report)} with {report['head']} has"
        f" {sum(row[k] for k, row in enumerate(report['confusion']))} of"
        f" {sum(map(sum, report['confusion']))} right"
        for report in reports
    )
    return spec, f"Confusion matrices, a row per true class: {said}."


def learning_curve(content: Content) -> tuple[Spec, str] | None:
    """Score against the number of training images, where the run has it."""
    found = content.results["curves"]
    if not found:
        return None
    title = metric_title(content.results)
    controls = {one["extractor"]: shown(one) for one in content.results["extractors"]}
    names = [controls.get(curve["extractor"], curve["extractor"]) for curve in found]
    colours = colour_of(content.results)
    domain = {controls[name]: colour for name, colour in colours.items() if controls[name] in names}
    color = coloured(list(domain), domain)
    shapes = {"domain": list(domain), "range": [_SHAPES[k % 6] for k in range(len(domain))]}
    rows = [
        {
            "extractor": name,
            "images": round(point["images"]),
            "mean": point["mean"],
            "low": None if point["sd"] is None else point["mean"] - point["sd"],
            "high": None if point["sd"] is None else point["mean"] + point["sd"],
        }
        for name, curve in zip(names, found, strict=True)
        for point in curve["points"]
        if point["mean"] is not None
    ]
    spec = {
        "data": {"values": rows},
        "width": 520,
        "height": 280,
        "encoding": {
            "x": {
                "field": "images",
                "type": "quantitative",
                "title": "images trained on",
                "scale": {"zero": False, "nice": False, "padding": 12},
                "axis": {"tickCount": 6},
            },
            "color": color,
        },
        "layer": [
            {
                "mark": {"type": "rule", "opacity": 0.5},
                "encoding": {
                    "y": {
                        "field": "low",
                        "type": "quantitative",
                        "title": title,
                        "scale": {"zero": False},
                    },
                    "y2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "line", "point": {"size": 60, "filled": True}},
                "encoding": {
                    "y": {"field": "mean", "type": "quantitative"},
                    "shape": color | {"scale": shapes},
                    "tooltip": [
                        {"field": "extractor", "type": "nominal"},
                        {"field": "images", "type": "quantitative"},
                        {
                            "field": "mean",
                            "type": "quantitative",
                            "format": ".3f",
                            "title": title,
                        },
                    ],
                },
            },
        ],
        "usermeta": panels(200, 680, 80),
    }
    said = " ".join(
        f"{name} with {curve['head']}: {curve['sentence']}."
        for name, curve in zip(names, found, strict=True)
    )
    return spec, f"Learning curve, {title} against images trained on. {said}"
