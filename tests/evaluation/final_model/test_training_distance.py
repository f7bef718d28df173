"""The distance from the training images, and its quantile among their own."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.final_model.training_distance import FEWEST, UNLIKE, Reference, reference

# Fewer images than dimensions, as with real embeddings; correlated channels of unlike scale.
N, D = 150, 200
MIX = np.random.default_rng(5).normal(size=(D, D)) * np.exp(-np.arange(D) / 20)[:, None]
CENTRES = np.random.default_rng(6).normal(size=(3, D)) * 2


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = CENTRES[y] + random.normal(size=(n, D)) @ MIX + 0.3 * random.normal(size=(n, D))
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def learned() -> Reference:
    found = reference(*drawn(N, 0), None, 0)
    assert found is not None
    return found


def test_new_images_of_the_same_kind_have_every_quantile_alike(learned: Reference) -> None:
    quantile = learned.quantile(learned.distance(drawn(1200, 1)[0]))
    assert 0.4 < np.mean(quantile) < 0.6
    assert np.mean(quantile > 0.9) == pytest.approx(0.1, abs=0.06)
    assert np.mean(quantile > UNLIKE) < 0.04


def test_the_training_images_own_distances_are_not_flattered(learned: Reference) -> None:
    """Measured from a reference that holds them, the same images look much nearer."""
    within = learned.distance(drawn(N, 0)[0])
    assert np.median(learned.quantile(within)) < 0.35
    assert np.median(learned.training) > 1.1 * np.median(within)


def test_images_of_another_kind_are_told(learned: Reference) -> None:
    X, _ = drawn(60, 2)
    random = np.random.default_rng(3)
    another_place = X + 6 * random.normal(size=D).astype(np.float32)
    another_noise = X + 4 * random.normal(size=X.shape).astype(np.float32)
    for strange in (another_place, another_noise):
        assert learned.unlike(learned.distance(strange)).mean() > 0.9


def test_a_patients_images_are_never_measured_from_each_other() -> None:
    """Ten copies of each patient: by image every copy has its twins in the reference."""
    X, y = drawn(30, 4)
    X, y = np.repeat(X, 10, axis=0), np.repeat(y, 10)
    patients = np.repeat(np.arange(30).astype(str), 10)
    by_image, by_patient = reference(X, y, None, 0), reference(X, y, patients, 0)
    assert by_image is not None
    assert by_patient is not None
    assert np.median(by_patient.training) > 1.2 * np.median(by_image.training)


def test_of_few_training_images_unlike_is_farther_than_all_of_them() -> None:
    found = reference(*drawn(30, 7), None, 0)
    assert found is not None
    top = found.training[-1]
    assert found.unlike(np.array([top * 1.01, top])).tolist() == [True, False]


def test_too_few_images_give_no_reference() -> None:
    assert reference(*drawn(FEWEST - 1, 0), None, 0) is None
    assert reference(*drawn(30, 0), np.full(30, "p"), 0) is None


def test_identical_images_and_dead_channels_still_give_numbers() -> None:
    X = np.zeros((30, 8), dtype=np.float32)
    X[:, 0] = 3
    found = reference(X, np.arange(30) % 2, None, 0)
    assert found is not None
    distance = found.distance(np.vstack([X[:1], X[:1] + 1]))
    assert np.isfinite(distance).all()
    assert distance[1] > distance[0]


def test_it_comes_back_from_plain_numbers_and_wrong_shapes_are_refused(learned: Reference) -> None:
    plain = learned.plain()
    X, _ = drawn(5, 8)
    again = Reference.from_plain(plain, D)
    np.testing.assert_array_equal(again.distance(X), learned.distance(X))
    with pytest.raises(ValueError, match="other shapes"):
        Reference.from_plain(plain | {"scale": plain["scale"][:5]}, D)
    with pytest.raises(ValueError, match="other shapes"):
        Reference.from_plain(plain, D + 1)


def test_of_very_many_training_images_some_are_drawn_and_a_rare_class_stays_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cxrfeat.evaluation.final_model.training_distance.MOST", 400)
    X, y = drawn(3000, 0)
    kept = (y != 2) | (np.arange(3000) < 60)  # 20 images of the third class
    patients = (np.arange(3000) // 6).astype(str)
    found = reference(X[kept], y[kept], patients[kept], 0)
    again = reference(X[kept], y[kept], patients[kept], 0)
    assert found is not None
    assert again is not None
    assert 390 <= len(found.training) <= 400
    assert len(found.centres) == 3
    np.testing.assert_array_equal(found.training, again.training)
    X, y = drawn(600, 1)
    quantile = found.quantile(found.distance(X))
    assert np.mean(quantile[y != 2]) == pytest.approx(0.5, abs=0.1)
    assert found.unlike(found.distance(X[y == 2])).mean() < 0.1
