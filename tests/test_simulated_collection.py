"""The simulated study that `fit` is measured with: sound files, the same every time."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrfeat.comparison.loaded_study import load_study
from cxrfeat.store import load, verify
from tests.benchmark import benchmark

large = benchmark("large_study")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """More images than one block has."""
    return large.simulated_collection(5000, (64, 96), 14, 3, tmp_path_factory.mktemp("simulated"))


def test_the_files_are_sound_and_of_the_same_images(files: list[Path]) -> None:
    assert all(verify(path).sound for path in files)
    study = load_study(files)
    assert len(study) == 5000
    assert not study.notes
    assert [extractor.X.shape[1] for extractor in study.extractors] == [64, 96]
    assert not any(extractor.control for extractor in study.extractors)


def test_equal_arguments_give_equal_rows(files: list[Path], tmp_path: Path) -> None:
    again = large.simulated_collection(5000, (64,), 14, 3, tmp_path)
    other = large.simulated_collection(5000, (64,), 14, 4, tmp_path / "other")
    with load(files[0]) as ours, load(again[0]) as theirs, load(other[0]) as another:
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert ours.ids == theirs.ids
        assert not np.array_equal(ours.numpy(), another.numpy())


def test_findings_and_patients_are_as_frequent_as_in_the_collection(files: list[Path]) -> None:
    with load(files[0]) as embeddings:
        labels, groups = embeddings.labels, embeddings.meta["group"]
    assert labels is not None
    wanted = [max(share, large.FEWEST / 5000) for share, _ in large.FINDINGS.values()]
    np.testing.assert_allclose(labels.mean(axis=0), wanted, atol=1 / 5000)
    _, sizes = np.unique(groups, return_counts=True)
    assert len(sizes) == round(5000 * large.NIH_PATIENTS / large.NIH_IMAGES)
    assert np.median(sizes) <= 2
    assert sizes.max() > 20


def test_findings_can_be_told_from_the_features_but_not_fully(files: list[Path]) -> None:
    study = load_study(files[:1])
    X = np.column_stack([study.extractors[0].X, np.ones(len(study))]).astype(float)
    learn = np.array([int(group) % 2 == 0 for group in study.meta["group"]])
    weights = np.linalg.lstsq(X[learn], study.labels[learn], rcond=None)[0]
    frequent = slice(0, 3)
    found = roc_auc_score(
        study.labels[~learn, frequent], X[~learn] @ weights[:, frequent], average=None
    )
    assert (found > 0.55).all()
    assert (found < 0.9).all()
