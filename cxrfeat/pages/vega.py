"""The charting library: Vega-Lite through vl-convert, which needs no network and no browser."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.util import find_spec

from cxrfeat.errors import MissingExtraError
from cxrfeat.pages.look import CONFIG, Spec

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
