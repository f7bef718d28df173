"""The files of this folder that pages are filled from."""

from __future__ import annotations

from importlib import resources
from typing import Any


def template(name: str) -> Any:
    """Return a template that escapes what it is given and refuses what it was not given."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(text_of),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def text_of(name: str) -> str:
    """Return the text of a file beside this one."""
    return resources.files("cxrfeat.pages").joinpath(name).read_text(encoding="utf-8")
