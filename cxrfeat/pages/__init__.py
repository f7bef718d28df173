"""One self-contained page about a run, and its figures. Plain data in, HTML, SVG and PNG out.

The only place that imports the charting library (vl-convert: Vega-Lite) and Jinja2. Both come with
the extra ``report``.
"""

from cxrfeat.pages.charts import Chart, charts
from cxrfeat.pages.content import Content, Curve, Difficult, Picture, Plane
from cxrfeat.pages.page import page
from cxrfeat.pages.vega import check_installed, png, svg

__all__ = [
    "Chart",
    "Content",
    "Curve",
    "Difficult",
    "Picture",
    "Plane",
    "charts",
    "check_installed",
    "page",
    "png",
    "svg",
]
