"""One self-contained page about a run, and its figures. Plain data in, HTML, SVG and PNG out.

The only folder that imports the charting library (vl-convert: Vega-Lite) and Jinja2; both come with
the extra ``report``. Imports plain data only; imported by `reporting`. To read: `content` (what
goes in), `words` and `tables` (what the page says), `charts` (which charts, in which order) with
`drawings` and `look`, `vega` (the library), `page` (puts it together in ``page.html``); then
`audit_page` (``audit.html``); `templates` fills both.
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
