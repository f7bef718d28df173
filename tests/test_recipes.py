"""The recipes of docs/recipes.md run, for every tool that is installed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import cxrfeat

DOCUMENT = Path(__file__).parents[1] / "docs" / "recipes.md"
if not DOCUMENT.is_file():
    pytest.skip("the documents are not part of the package", allow_module_level=True)

MODULES = {"scikit-learn": "sklearn"}
UNTRIED = {"FiftyOne"}
"""Needs a database program, and says so."""
TEXT = DOCUMENT.read_text(encoding="utf-8")
RECIPES = {
    section.partition("\n")[0]: block
    for section in TEXT.split("\n## ")[1:]
    for block in re.findall(r"```python\n(.*?)```", section, re.S)
}
IDS = [f"{'ab'[i % 2]}/{i}.png" for i in range(12)]
X = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def test_there_are_recipes() -> None:
    assert set(RECIPES) == {
        *("pandas", "polars", "datasets", "anndata", "scikit-learn"),
        *UNTRIED,
    }


@pytest.mark.parametrize("tool", sorted(set(RECIPES) - UNTRIED))
def test_a_recipe_runs(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(MODULES.get(tool, tool), reason=f"needs {tool}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    labels, patients = [id_[0] for id_ in IDS], [f"p{i // 2}" for i in range(12)]
    cxrfeat.write("embeddings/vgg16.h5", X, IDS, labels=labels, groups=patients)
    cxrfeat.write("embeddings/own.h5", 2 * X, IDS)
    scope: dict = {}
    exec(RECIPES[tool], scope)
    if tool == "pandas":
        np.testing.assert_array_equal(scope["frame"].filter(like="embedding_"), X)
        np.testing.assert_array_equal(np.stack(scope["table"]["embedding"]), X)
    elif tool == "scikit-learn":
        assert len(scope["scores"]) == 2
    else:
        np.testing.assert_array_equal(scope["adata"].X if tool == "anndata" else scope["X"], X)
