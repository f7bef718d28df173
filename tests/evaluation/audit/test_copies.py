"""Copies are found whichever search sees them; groups are complete, and nothing chains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxrfeat.evaluation.audit import copies
from cxrfeat.evaluation.audit.aligning import aligned_correlation
from cxrfeat.evaluation.audit.copies import (
    EMBEDDING,
    HASH,
    LAID_OVER,
    Ordinary,
    complete_groups,
    components,
    find_copies,
    hash_bits,
    identical,
)
from cxrfeat.evaluation.audit.tails import Tail
from cxrfeat.images.altered_copies import altered_copy
from cxrfeat.images.fingerprints import fingerprint
from tests.evaluation.audit.made_copies import pictures, prints

N = 120


@pytest.fixture(autouse=True)
def _few_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "REFERENCES", 200)


def images(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, small pictures and hashes of images that have nothing to do with each other."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(N, 16)) @ random.normal(size=(16, 64))
    hashes = random.integers(0, 2**63, N, dtype=np.uint64)
    return X.astype(np.float32), pictures(N, seed=seed), hashes


def alone(n: int = N) -> np.ndarray:
    return np.zeros(n, dtype=np.intp)


def test_images_that_have_nothing_to_do_with_each_other_are_no_copies() -> None:
    alarms = 0
    for seed in range(6):
        X, small, hashes = images(seed)
        alarms += bool(len(find_copies(X, prints(small, hashes), alone(), None).pairs))
    assert alarms <= 1


def test_a_pair_is_judged_by_neighbours_of_the_search_that_chose_it() -> None:
    """Of 100,000 images the nearest by their waves lie on each other well, copies or not."""
    pairs, closeness = np.array([[0, 1], [2, 3], [4, 5]]), np.full(3, 6.0)
    tails = Tail(0.0, 0.5), Tail(5.0, 0.5)
    found = Ordinary(tails, (0.0, 0.0), pairs, np.array([0, 1, 1]), closeness)
    assert found.chance[0] < 1e-6
    np.testing.assert_allclose(found.chance[1:], 0.1 * np.exp(-2))
    too_few = replace(found, tails=(tails[0], None))
    np.testing.assert_array_equal(too_few.chance[1:], 1.0)


def test_each_search_finds_what_the_others_do_not_see() -> None:
    X, small, hashes = images()
    near = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    X[1] = X[0] + 0.05 * near[0]  # the same to the network alone
    hashes[11] = hashes[10] ^ np.uint64(1 << 40)  # the same to the hash alone
    X[21] = X[20] + 0.9 * near[1]  # near, as others are; the picture is the same, mirrored
    small[21] = small[20][:, ::-1]
    found = find_copies(X, prints(small, hashes), alone(), None)
    assert found.pairs.tolist() == [[0, 1], [10, 11], [20, 21]]
    assert found.by[EMBEDDING][0]
    assert found.by[HASH].tolist() == [False, True, False]
    assert found.by[LAID_OVER].tolist() == [False, False, True]
    assert found.bits[1] == 1
    assert found.correlation[2] > 0.99
    assert found.cosine[0] > 0.99


def test_a_cut_copy_is_found_whatever_the_network_makes_of_it() -> None:
    X, small, hashes = images()
    whole = pictures(8, side=128, seed=5).astype(np.float32) / np.float32(255)
    for row, one in enumerate(whole):
        for place, picture in enumerate([one, altered_copy(one, "cropped", row)]):
            small[2 * row + place] = fingerprint(picture).small
    found = find_copies(X, prints(small, hashes), alone(), None)
    assert found.pairs.tolist() == [[row, row + 1] for row in range(0, 16, 2)]
    assert not found.by[EMBEDDING].any()


def test_what_could_not_be_read_again_is_searched_in_the_embedding_alone() -> None:
    X, small, hashes = images()
    X[1] = X[0] + 0.01
    hashes[:10] = 0
    of = prints(small, hashes)
    of.readable[:10] = False
    found = find_copies(X, of, alone(), None)
    assert found.pairs.tolist() == [[0, 1]]
    assert np.isnan(found.bits).all()
    found = find_copies(X, None, alone(), None)
    assert found.pairs.tolist() == [[0, 1]]
    assert set(found.by) == {EMBEDDING}


def test_images_of_one_patient_are_not_compared() -> None:
    X, small, hashes = images()
    hashes[1] = hashes[0]
    names = np.array([f"p{row}" for row in range(N)])
    assert find_copies(X, prints(small, hashes), alone(), names).pairs.tolist() == [[0, 1]]
    names[1] = "p0"
    assert not len(find_copies(X, prints(small, hashes), alone(), names).pairs)


@pytest.mark.parametrize("kind", ["cropped", "rotated", "mirrored", "with another contrast"])
def test_an_altered_copy_lies_on_its_original_and_another_picture_does_not(kind: str) -> None:
    whole = pictures(20, side=128).astype(np.float32) / np.float32(255)
    small = [fingerprint(one).small for one in whole]
    altered = [fingerprint(altered_copy(one, kind, row)).small for row, one in enumerate(whole)]
    pairs = np.stack([np.arange(20), np.arange(20, 40)], axis=1)
    both = np.array(small + altered)
    of_copies = aligned_correlation(both, pairs)
    of_others = aligned_correlation(both, np.stack([np.arange(20), np.roll(np.arange(20), 1)], 1))
    assert np.quantile(of_copies, 0.1) > 0.98
    assert of_others.max() < np.quantile(of_copies, 0.1)


def test_a_copy_with_another_gamma_lies_on_its_original_as_well_as_the_original() -> None:
    small = pictures(6)
    other = np.round(255 * (small / 255.0) ** 2.5).astype(np.uint8)
    pairs = np.stack([np.arange(6), np.arange(6, 12)], axis=1)
    assert aligned_correlation(np.concatenate([small, other]), pairs).min() > 0.999


def test_a_blank_picture_lies_on_nothing() -> None:
    small = np.zeros((3, 32, 32), dtype=np.uint8)
    small[2] = pictures(1)[0]
    np.testing.assert_array_equal(aligned_correlation(small, np.array([[0, 1], [0, 2]])), 0)
    assert aligned_correlation(small, np.zeros((0, 2), dtype=np.intp)).shape == (0,)


def test_a_hash_is_taken_apart_into_its_bits() -> None:
    bits = hash_bits(np.array([1, 2**63, 2**64 - 1], dtype=np.uint64))
    assert bits.sum(axis=1).tolist() == [1, 1, 64]
    assert bits[0, 63] == bits[1, 0] == 1


def test_images_are_the_same_that_share_any_key_and_an_empty_key_is_none() -> None:
    one = identical(np.array(["a", "b", "a", "", ""]), np.array(["x", "y", "z", "y", ""]))
    assert one[0] == one[2]
    assert one[1] == one[3]
    assert len(np.unique(one)) == 3


def test_a_chain_of_pairs_is_one_component_and_no_group() -> None:
    chain = np.array([[0, 1], [1, 2], [2, 3]])
    assert len(np.unique(components(5, chain))) == 2
    assert complete_groups(chain, np.array([0.9, 0.8, 0.9])) == [[0, 1], [2, 3]]


def test_images_that_are_all_pairs_are_one_group() -> None:
    pairs = np.array([[a, b] for b in range(5) for a in range(b)] + [[4, 9]])
    closeness = np.random.default_rng(0).uniform(size=len(pairs))
    closeness[-1] = 0.0
    assert complete_groups(pairs, closeness) == [[0, 1, 2, 3, 4]]
    assert complete_groups(pairs[:0], closeness[:0]) == []
