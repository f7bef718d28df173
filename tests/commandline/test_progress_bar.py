"""The bar that calls from Python show: in a notebook, and elsewhere."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

import cxrfeat
from cxrfeat.auditing.steps import AuditProgress
from cxrfeat.evaluation.validation.cross_validation import FoldDone
from cxrfeat.extraction.drain import Progress


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stands below a cell of a notebook, one entry for each time it changed."""
    shown: list[str] = []
    display = ModuleType("IPython.display")
    display.HTML = lambda text: text
    display.display = lambda drawn, display_id: (
        shown.append(drawn) or SimpleNamespace(update=shown.append)
    )
    package = ModuleType("IPython")
    package.display = display
    package.get_ipython = lambda: SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_in_a_notebook_a_bar_stands_below_the_cell(cell: list[str], capsys) -> None:
    with cxrfeat.progress_bar() as bar:
        bar(Progress(0, 0, 0, "waiting for <a> lock"))
        bar(Progress(5, 20, 1))
    assert cell == [
        "waiting for &lt;a&gt; lock",
        '<progress value="5" max="20"></progress> 5 of 20, 1 failed',
    ]
    assert capsys.readouterr() == ("", "")


def test_the_bar_takes_what_every_command_tells(cell: list[str]) -> None:
    with cxrfeat.progress_bar() as bar:
        bar(FoldDone("vgg16", "fold 1", 2, 10, ("logreg",), 1.0, 30.0))
        bar(AuditProgress("controls", 2, 4, 5, 10))
    assert cell[0].endswith("vgg16 fold 1: 2 of 10, about 30 s left")
    assert cell[1].startswith('<progress value="1.5" max="4">')


def test_elsewhere_lines_go_to_stderr(capsys) -> None:
    with cxrfeat.progress_bar() as bar:
        bar(Progress(20, 20, 0))
    assert "20 of 20 images" in capsys.readouterr().err
