"""Model files of earlier versions: they load for ever, and give what they gave.

The files of a version are added when its way of writing them changes; none is written anew.
`probabilities.json` holds, per file, embeddings that no model has seen and what it made of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cxrfeat import model
from cxrfeat.evaluation.final_model.training_distance import Reference
from cxrfeat.model.file import MOVED, TRUSTED

GOLDEN = Path(__file__).parent / "golden"
GAVE = {
    f"{folder.name}/{name}": gave
    for folder in sorted(path for path in GOLDEN.iterdir() if path.is_dir())
    for name, gave in json.loads((folder / "probabilities.json").read_text()).items()
}


@pytest.mark.parametrize("name", GAVE)
def test_a_model_file_of_an_earlier_version_gives_the_probabilities_it_gave(name: str) -> None:
    loaded = model.load(GOLDEN / f"{name}.skops")
    X = np.array(GAVE[name]["embeddings"], dtype=np.float32)
    np.testing.assert_allclose(loaded.predict_proba(X), GAVE[name]["probabilities"], atol=1e-6)
    assert loaded.reference is not None
    distance = Reference.from_plain(loaded.reference, loaded.dimension).distance(X)
    assert np.all(distance > 0)


@pytest.mark.parametrize("name", GAVE)
def test_an_earlier_model_is_written_again_with_the_names_of_today(
    name: str, tmp_path: Path
) -> None:
    """Types are named where they are now, so that a copy made today needs no detour."""
    model.save(tmp_path / "m.skops", model.load(GOLDEN / f"{name}.skops"))
    X = np.array(GAVE[name]["embeddings"], dtype=np.float32)
    again = model.load(tmp_path / "m.skops").predict_proba(X)
    np.testing.assert_allclose(again, GAVE[name]["probabilities"], atol=1e-6)
    assert not any(
        old.rpartition(".")[0].encode() in (tmp_path / "m.skops").read_bytes() for old in MOVED
    )


def test_every_name_that_ever_stood_in_a_file_leads_to_a_trusted_type() -> None:
    assert set(MOVED.values()) <= set(TRUSTED)
    assert not set(MOVED) & set(TRUSTED)
