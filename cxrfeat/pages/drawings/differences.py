"""The chart of paired differences between extractors."""

from __future__ import annotations

from cxrfeat.pages.content import Content
from cxrfeat.pages.look import (
    FAINT,
    INK,
    LEGEND,
    PALETTE,
    Spec,
    panels,
)
from cxrfeat.pages.words import metric_title, shown_names

_VERDICTS = {"better": "a difference", "same": "practically the same", "undecided": "undecided"}


def differences(content: Content) -> tuple[Spec, str] | None:
    """Every pair of extractors: the difference, its interval, and what is practically none."""
    pairs = content.results["comparisons"]
    if not pairs:
        return None
    title = metric_title(content.results)
    names = shown_names(content.results)
    rows = [
        {
            "pair": f"{names[pair['first']]}\n− {names[pair['second']]}",
            "difference": pair["difference"],
            "low": pair["interval"][0],
            "high": pair["interval"][1],
            "p": pair["p_holm"],
            "verdict": _VERDICTS[pair["verdict"]],
        }
        for pair in pairs
    ]
    name = f"difference in {title} (positive: the first is better)"
    rope = content.results["options"].get("rope", 0)
    spec: Spec = {
        "data": {"values": rows},
        "width": 420,
        "height": {"step": 44},
        "layer": _layers(name.split(" (")[0], rope),
        "usermeta": panels(130, 600, 180),
    }
    said = " ".join(f"{pair['sentence']}." for pair in pairs[:8])
    return spec, f"Dot plot of the {name} with 95 % intervals for {len(rows)} pairs. {said}"


def _layers(title: str, rope: float) -> list[Spec]:
    """Draw the region of practical equivalence, no difference, and each pair with its interval."""
    x = {"type": "quantitative", "scale": {"zero": True, "padding": 8}, "axis": {"tickCount": 5}}
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
    shared = {"y": y, "color": color, "tooltip": tooltip}
    return [
        {
            "data": {"values": [{"from": -rope, "to": rope}]},
            "mark": {"type": "rect", "color": "#dde6ee"},
            "encoding": {
                "x": {"field": "from", **x, "title": title},
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
                **shared,
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {
                "x": {"field": "difference", "type": "quantitative"},
                **shared,
            },
        },
    ]
