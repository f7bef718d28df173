"""`cxrfeat help`: a short page behind a message for which one line is not enough.

The pages lie beside this file, in ``topics/``; the site shows the same files (docs/help.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from cxrfeat.errors import UnknownNameError
from cxrfeat.notebook import Shown

FOLDER = Path(__file__).with_name("topics")


@dataclass(frozen=True, repr=False)
class Topic(Shown):
    """A page of help.

    Attributes
    ----------
    name : str
        As `help_` takes it.
    title : str
    text : str
        What stands below the title, in Markdown.
    codes : list of str
        Findings, checks of an audit and failures of images that the page is about: those that a
        point of a list begins with.
    """

    name: str
    title: str
    text: str
    codes: list[str]


def help_(topic: str | None = None) -> list[Topic]:
    """Return the pages of help: all of them, or the one that is asked for.

    Parameters
    ----------
    topic : str, optional
        The name of a page, as messages give it, or the code of a finding, of a check of an audit
        or of a failed image, such as ``"control-not-beaten"``.

    Raises
    ------
    UnknownNameError
        There is no such page.

    Examples
    --------
    >>> import cxrfeat
    >>> cxrfeat.help_("control-not-beaten")[0].name
    'controls'
    """
    if topic is None:
        return list(_topics())
    asked = topic.strip("[]").partition(":")[0]  # a check's code is followed by what it is about
    found = [one for one in _topics() if asked == one.name]
    found = found or [one for one in _topics() if any(fnmatchcase(asked, c) for c in one.codes)]
    if not found:
        raise UnknownNameError(
            "topic",
            topic,
            [one.name for one in _topics()]
            + [code for one in _topics() for code in one.codes if "*" not in code],
            f"'cxrfeat help' lists the topics; if it is a command: 'cxrfeat {topic} --help'",
        )
    return found[:1]


@cache
def _topics() -> tuple[Topic, ...]:
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.md")))


def _read(path: Path) -> Topic:
    title, _, text = path.read_text(encoding="utf-8").partition("\n")
    points = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    codes = [
        code for one in points for code in re.findall(r"`([a-z*][a-z_*-]+)`", one.split(":")[0])
    ]
    return Topic(path.stem, title.removeprefix("# "), text.strip() + "\n", codes)
