"""The charting library: Vega-Lite through vl-convert, which needs no network and no browser."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.util import find_spec
from typing import Any

from cxrfeat.errors import MissingExtraError

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


def coloured(names: Sequence[str], colours: Mapping[str, str]) -> Spec:
    """Colour lines by extractor, each with the colour it has everywhere on the page."""
    return {
        "field": "extractor",
        "type": "nominal",
        "scale": {"domain": list(names), "range": [colours[name] for name in names]},
        "legend": LEGEND,
    }


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

# What the page needs of the library: one function that draws a spec, without evaluating strings.
_SNIPPET = "window.drawChart = (place, spec, options) => vegaEmbed(place, spec, options);"


def check_installed() -> None:
    """Raise unless the packages of the extra ``report`` are there.

    Raises
    ------
    MissingExtraError
    """
    if find_spec("vl_convert") is None or find_spec("jinja2") is None:
        raise MissingExtraError("the page of a run", "report")


@cache
def library() -> str:
    """Return the JavaScript that draws Vega-Lite specs, self-contained (0.9 MB)."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(_SNIPPET)
    # Inside <script> an end tag in a string would end the script.
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def svg(name: str, spec: Spec, alt: str) -> str:
    """Draw a Vega-Lite spec as SVG, with words for who cannot see it; it may not load anything.

    The parts that the drawing refers to are named after `name`, so that several drawings can stand
    on one page, and the same chart is the same text.
    """
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(spec, config=CONFIG, allowed_base_urls=[])
    parts: dict[str, str] = {}
    text = re.sub(
        r"\b(?:clip|gradient_)\d+\b",
        lambda found: parts.setdefault(found[0], f"{name}-part{len(parts)}"),
        text,
    )
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)


def png(svg_text: str) -> bytes:
    """Draw an SVG as PNG, two pixels to a point."""
    import vl_convert

    data: bytes = vl_convert.svg_to_png(svg_text, scale=2)
    return data


def versions() -> dict[str, str]:
    """Versions of the charting library."""
    import vl_convert

    return {
        "vl-convert-python": str(getattr(vl_convert, "__version__", "")),
        "vega": vl_convert.get_vega_version(),
        "vega-lite": vl_convert.get_vegalite_versions()[-1],
    }
