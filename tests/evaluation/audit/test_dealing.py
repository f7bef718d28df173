"""Values change places patient by patient, within strata, and nothing is lost where sizes agree."""

from __future__ import annotations

import numpy as np

from cxrfeat.evaluation.audit import dealing
from cxrfeat.evaluation.audit.dealing import Dealing


def dealt(units: np.ndarray, strata: np.ndarray, count: int = 50, **options: object) -> np.ndarray:
    made = Dealing.among(units, strata, **options)  # type: ignore[arg-type]
    return np.concatenate(list(made.deals(np.random.default_rng(0), count)))


def test_single_images_are_permuted_within_strata() -> None:
    strata = np.array([0, 1, 0, 1, 1, 0, 0])
    for source in dealt(np.arange(7), strata):
        assert sorted(source) == list(range(7))
        assert (strata[source] == strata).all()


def test_what_a_patients_images_have_in_common_stays_in_common() -> None:
    patient = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    sex = np.array(["f", "m", "m", "f"])[patient]
    for source in dealt(patient, np.zeros(8, int)):
        for one in range(4):
            assert len(set(sex[source][patient == one])) == 1


def test_patients_of_equally_many_images_change_places_whole_and_by_label() -> None:
    patient, label = np.repeat(np.arange(6), 2), np.tile([0, 1], 6)
    for source in dealt(patient, np.zeros(12, int), within=label):
        assert sorted(source) == list(range(12))
        assert (label[source] == label).all()
        assert (patient[source][::2] == patient[source][1::2]).all()


def test_every_patient_comes_to_every_place_equally_often() -> None:
    source = dealt(np.arange(4), np.zeros(4, int), count=4000)
    counted = np.stack([np.bincount(column, minlength=4) for column in source.T])
    assert np.abs(counted / 4000 - 0.25).max() < 0.03


def test_blocks_do_not_change_what_is_dealt_of_one_stratum(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    patient = np.repeat(np.arange(5), 3)
    whole = dealt(patient, np.zeros(15, int))
    monkeypatch.setattr(dealing, "AT_ONCE", 40)
    np.testing.assert_array_equal(dealt(patient, np.zeros(15, int)), whole)
