"""What `help` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.commands.help_ import Topic


def topics(found: list[Topic]) -> None:
    """List the topics."""
    screen, shown = console(), table("topic", "what it is about", right=2)
    for one in found:
        shown.add_row(one.name, one.title)
    screen.print(shown)
    screen.print("cxrfeat help TOPIC prints one; it also takes the code of a finding.")


def topic(found: list[Topic]) -> None:
    """Print a topic as it is written, in lines of 80 columns."""
    (one,) = found
    console().print(f"{one.title}\n\n{one.text}", end="", soft_wrap=True)
