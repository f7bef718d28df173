"""How the site is built: ``make docs``; `docs/decisions/documentation.md` says why so."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import command_reference  # noqa: E402  # beside this file

from cxrfeat.version import __version__  # noqa: E402

project = "cxrfeat"
author = "the developers of cxrfeat"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns: list[str] = []
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # types are words, not names to be linked
autodoc_typehints = "none"  # the docstrings give types, with shapes and units
autodoc_default_options = {"member-order": "bysource"}
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"  # else only the first line of a command is copied
html_theme = "pydata_sphinx_theme"
html_title = f"cxrfeat {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_search_summary = False  # would fetch pages, which no browser does from a folder
html_theme_options = {
    "announcement": "Research use only. Not for diagnosis.",
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}


class NamedPages(SphinxTransform):
    """Make a link of ``docs/NAME.md`` in code type, which is how texts name pages."""

    default_priority = 200

    def apply(self) -> None:
        """Replace every such literal."""
        for literal in list(self.document.findall(nodes.literal)):
            text = literal.astext()
            if not (text.startswith("docs/") and text.endswith(".md")):
                continue
            page = text.removeprefix("docs/").removesuffix(".md")
            reference = pending_xref(
                "", reftype="doc", refdomain="std", reftarget=f"/{page}", refexplicit=False,
                refwarn=True, refdoc=self.env.docname,
            )  # fmt: skip
            reference += nodes.inline("", page)
            literal.replace_self(reference)


def setup(app: Sphinx) -> None:
    """Write the reference of the commands, and link pages that are named."""
    app.add_transform(NamedPages)
    app.connect(
        "builder-inited", lambda _: command_reference.write(HERE / "reference" / "commands.md")
    )
