"""The chart of scores against the images that were trained on."""

from __future__ import annotations

from cxrfeat.pages.content import Content
from cxrfeat.pages.look import (
    SHAPES,
    Spec,
    colour_of,
    coloured,
    panels,
    score_axis,
)
from cxrfeat.pages.words import metric_title, shown_names


def learning_curve(content: Content) -> tuple[Spec, str] | None:
    """Score against the number of training images, where the run has it."""
    found = content.results["curves"]
    if not found:
        return None
    title = metric_title(content.results)
    every = shown_names(content.results)
    names = [every.get(curve["extractor"], curve["extractor"]) for curve in found]
    colours = colour_of(content.results)
    domain = {every[name]: colour for name, colour in colours.items() if every[name] in names}
    color = coloured(list(domain), domain)
    shapes = {"domain": list(domain), "range": [SHAPES[k % 6] for k in range(len(domain))]}
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
    shown = [row[name] for row in rows for name in ("mean", "low", "high")]
    scale = score_axis(content.results["metric"], shown)
    for row in rows:  # a spread may reach beyond what a score can be
        if row["low"] is not None:
            low, high = scale["domain"]
            row["low"], row["high"] = max(row["low"], low), min(row["high"], high)
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
        "layer": _layers(title, color, shapes, scale),
        "usermeta": panels(200, 680, 80),
    }
    said = " ".join(
        f"{name} with {curve['head']}: {curve['sentence']}."
        for name, curve in zip(names, found, strict=True)
    )
    return spec, f"Learning curve, {title} against images trained on. {said}"


def _layers(title: str, color: Spec, shapes: Spec, scale: Spec) -> list[Spec]:
    """Draw the spread over the folds, and a line with points for each extractor."""
    return [
        {
            "mark": {"type": "rule", "opacity": 0.5},
            "encoding": {
                "y": {
                    "field": "low",
                    "type": "quantitative",
                    "title": title,
                    "scale": scale,
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
    ]
