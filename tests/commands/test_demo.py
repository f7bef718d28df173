"""The demonstration can be run again in the same place."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest

import cxrfeat.commands.demo as demo_module
from cxrfeat.commands.demo import demo
from cxrfeat.errors import StorageError
from cxrfeat.features.network.backbones import PACKAGED


@pytest.fixture
def small(monkeypatch) -> None:
    """One network with random weights, one head, no page."""

    monkeypatch.setattr(demo_module.defaults, "BACKBONES", ("squeezenet1_1",))
    monkeypatch.setitem(
        PACKAGED, demo_module.TINY, replace(PACKAGED[demo_module.TINY], packages=("not_installed",))
    )
    monkeypatch.setattr(
        demo_module,
        "extract",
        functools.partial(demo_module.extract, image_size=64, device="cpu"),
    )
    monkeypatch.setattr(
        demo_module,
        "fit",
        functools.partial(demo_module.fit, head=["logreg"], report=False, jobs=1),
    )


def test_a_second_demo_takes_the_next_run_folder_and_computes_nothing_anew(small, tmp_path) -> None:
    first = demo(tmp_path / "demo", patients=15)
    second = demo(tmp_path / "demo", patients=15)
    assert [file.computed for file in second.extraction.files] == [0]
    assert [file.reused for file in second.extraction.files] == [30]
    folders = [
        Path(result.comparison.files["results.json"]).parent.name for result in (first, second)
    ]
    assert folders == ["demo", "demo-2"]
    before, after = (result.comparison.ranking[0].mean for result in (first, second))
    assert before == after


def test_a_place_that_cannot_be_written_is_said_in_one_line(small, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written .*--out"):
        demo(tmp_path / "file" / "demo", patients=15)
