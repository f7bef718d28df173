"""The map of the embeddings: every image a point, coloured by class, source or error."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from cxrfeat.pages.content import Content, Plane
from cxrfeat.pages.look import PALETTE, SHAPES, Spec, panels
from cxrfeat.pages.words import shown

COLOURS = {"label": "class", "source": "source", "error": "error"}
"""What points can be coloured by: the field, and what it is called."""


OTHERS_LOOK = "#8796a5", "circle"
MOST = 12
"""Colours of a map; beyond them the rarer values are one."""
OTHERS = re.compile(r"\d+ others")


def groups(content: Content, field: str) -> list[str]:
    """Name what each picture is coloured by: its label or source, the rarer of too many as one.

    Several labels for each image make hundreds of values, which no legend can hold.
    """
    values = [getattr(picture, field) or "unknown" for picture in content.pictures]
    counted = Counter(values)
    if len(counted) <= MOST:
        return values
    by_number = sorted(counted, key=lambda value: (-counted[value], value))
    own, others = set(by_number[: MOST - 1]), f"{len(counted) - MOST + 1} others"
    return [value if value in own else others for value in values]


def points(content: Content, plane: Plane) -> list[dict[str, Any]]:
    """Every image of an extractor's map, as rows; `i` is the picture's number on the page."""
    labels, sources = groups(content, "label"), groups(content, "source")
    return [
        {
            "i": number,
            "x": round(plane.x[place], 3),
            "y": round(plane.y[place], 3),
            "label": labels[number],
            "source": sources[number],
            "error": error(plane, place),
        }
        for place, number in enumerate(plane.pictures)
    ]


def error(plane: Plane, place: int) -> str:
    """Say whether the extractor's best head was right."""
    if plane.wrong[place]:
        return "wrong"
    return "right" if plane.predicted[place] else "not tested"


def by_class(content: Content) -> tuple[Spec, str] | None:
    """Map of the winner's embeddings coloured by class."""
    return _map(content, "label")


def by_source(content: Content) -> tuple[Spec, str] | None:
    """Map coloured by source, where images have one."""
    return _map(content, "source") if content.source else None


def by_error(content: Content) -> tuple[Spec, str] | None:
    """Map coloured by what the best head got wrong."""
    return _map(content, "error")


def _map(content: Content, colour: str) -> tuple[Spec, str] | None:
    if not content.planes:
        return None
    plane = content.planes[0]
    rows = points(content, plane)
    name = shown({"extractor": plane.extractor, "control": plane.control})
    wrong = sum(row["error"] == "wrong" for row in rows)
    total = content.results["images"]
    drawn = f"{len(rows)} images"
    if len(rows) < total:
        drawn = f"{len(rows):,} of {total:,} images, drawn at random,"
    if plane.computed_from is not None:
        drawn += f" (directions from {plane.computed_from:,} images, drawn at random)"
    what = {"source": content.source}.get(colour, COLOURS[colour])
    alt = (
        f"Map of {drawn} by the first two principal components of the embeddings of"
        f" {name} ({plane.shares[0]:.0%} and {plane.shares[1]:.0%} of the variance), coloured by"
        f" {what}; {wrong} of them are wrong with {plane.head}."
    )
    return spec(rows, colour, plane, what), alt


def spec(rows: list[dict[str, Any]], colour: str, plane: Plane, what: str) -> Spec:
    """Build the chart of one map; the page changes its points and its colour by `colours`."""
    return {
        "data": {"name": "points", "values": rows},
        "width": 620,
        "height": 460,
        "params": [
            {"name": "chosen", "value": -1},
            {
                "name": "zoom",
                "select": {"type": "interval", "zoom": "wheel![event.shiftKey]"},
                "bind": "scales",
                "views": ["dots"],
            },
        ],
        "layer": [
            {
                "name": "dots",
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 70,
                    "opacity": 0.8,
                    "stroke": "white",
                    "strokeWidth": 0.5,
                    "aria": False,  # thousands of points would drown a screen reader
                    "tooltip": {"content": "data"},
                    "cursor": "pointer",
                },
                "encoding": {**positions(rows, plane), **colouring(rows, colour, what)},
            },
            {
                "transform": [{"filter": "datum.i === chosen"}],
                "mark": {
                    "type": "point",
                    "size": 340,
                    "strokeWidth": 3,
                    "color": "#111111",
                    "aria": False,
                },
                "encoding": positions(rows, plane),
            },
        ],
        "usermeta": panels(240, 760, 40),
    }


def positions(rows: list[dict[str, Any]], plane: Plane) -> Spec:
    """Where points lie; with the extent of all, which an empty layer cannot know."""
    encoding = {}
    for number, field in enumerate(("x", "y")):
        values = [row[field] for row in rows]
        margin = 0.04 * ((max(values) - min(values)) or 1)
        encoding[field] = {
            "field": field,
            "type": "quantitative",
            "title": f"component {number + 1} ({plane.shares[number]:.0%} of the variance)",
            "scale": {
                "domain": [min(values) - margin, max(values) + margin],
                "zero": False,
                "nice": False,
            },
            "axis": {"labels": False, "ticks": False, "grid": False},
        }
    return encoding


def _is_others(value: str) -> bool:
    return OTHERS.fullmatch(value) is not None


def colouring(rows: list[dict[str, Any]], colour: str, what: str) -> Spec:
    """Colour and shape by one field; errors stand out, everything else by the palette."""
    values = sorted({row[colour] for row in rows}, key=lambda one: (_is_others(one), one))
    range_ = [PALETTE[k % len(PALETTE)] for k in range(len(values))]
    shapes = [SHAPES[k % len(SHAPES)] for k in range(len(values))]
    if colour == "error":
        values = [one for one in ("right", "wrong", "not tested") if one in values]
        looks = {"right": "#8796a5", "wrong": "#b3001b", "not tested": "#d9c98a"}
        range_ = [looks[one] for one in values]
        shapes = [{"wrong": "diamond"}.get(one, "circle") for one in values]
    if values and _is_others(values[-1]):
        range_[-1], shapes[-1] = OTHERS_LOOK
    legend = {"orient": "bottom", "title": what, "columns": 3}
    return {
        "color": {
            "field": colour,
            "type": "nominal",
            "scale": {"domain": values, "range": range_},
            "legend": legend,
        },
        "shape": {
            "field": colour,
            "type": "nominal",
            "scale": {"domain": values, "range": shapes},
            "legend": legend,
        },
    }
