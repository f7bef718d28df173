"""What a call returns is one line as text, and a table in a notebook."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path

import numpy as np
import pytest

import cxrfeat
from cxrfeat.notebook import ROWS, Shown, html_table
from tests.evaluation.made import blobs, write_file

OTHERS = {
    *("load", "write", "open_extractor", "progress_bar", "__version__"),
    *("Embeddings", "Encoder", "RadiographEmbedder", "CxrfeatError"),
}
"""No commands."""
PLAIN = {
    *("backbones", "weights_list", "weights_fetch", "weights_add", "weights_check"),
    *("weights_convert", "help_"),
}
"""What is returned is a short line each, or a list of such."""


@pytest.mark.parametrize("name", sorted(set(cxrfeat.__all__) - OTHERS - PLAIN))
def test_every_command_returns_what_shows_itself(name: str) -> None:
    returned = typing.get_type_hints(getattr(cxrfeat, name))["return"]
    assert returned is str or issubclass(returned, Shown)


def test_a_comparison_is_one_line_and_a_table(tmp_path: Path) -> None:
    X, y = blobs(60, 5, distance=3)
    write_file(tmp_path / "a.h5", X, y)
    result = cxrfeat.fit(
        tmp_path / "a.h5", head=["logreg"], cv=3, out=tmp_path / "run", report=False
    )
    line = repr(result)
    assert line.startswith(
        "<FitResult: run, 1 extractors by 1 scores on 60 images; best by auroc: a"
    )
    for part in (*result.ranking, *result.reports, *result.embeddings, *result.findings):
        assert len(repr(part)) < 500
    table = result._repr_html_()
    assert "<td>logreg</td>" in table
    assert f"<td>{result.ranking[0].mean['auroc']:.3f}</td>" in table


def test_everything_in_a_table_is_escaped() -> None:
    assert "<script>" not in html_table("<script>", ["<script>"], [["<script>"]])
    assert "and 5 more" in html_table("", ["n"], [[i] for i in range(ROWS + 5)])


def test_files_show_themselves(tmp_path: Path) -> None:
    ids = [f"{i}.png" for i in range(4)]
    cxrfeat.write(tmp_path / "b.h5", np.eye(4), ids, labels=["x", "y", "x", "y"])
    cxrfeat.write(tmp_path / "c.h5", np.eye(4)[:, :2], ids)
    with cxrfeat.load(tmp_path / "b.h5") as file:
        assert repr(file) == "<Embeddings 'b': 4 of 4 rows done, dimension 4, float32>"
        assert "<td>x</td><td>2</td>" in file._repr_html_()
    with cxrfeat.load(tmp_path) as files:
        assert repr(files) == "<AlignedEmbeddings: b, c; 4 images>"
        assert "<td>c</td><td>2</td><td>4</td>" in files._repr_html_()
    info = repr(cxrfeat.info(tmp_path / "b.h5"))
    assert info.startswith("<FileInfo: path=")
    assert "\n" not in info
    assert inspect.ismethod(cxrfeat.info(tmp_path / "b.h5")._repr_html_)
