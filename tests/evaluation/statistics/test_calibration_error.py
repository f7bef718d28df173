"""The calibration error of probabilities whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.evaluation.study.folds import Fold

DRAWS = 40


def drawn(n: int, pull: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities of a label that is 1 with ``p + pull * (0.5 - p)``."""
    random = np.random.default_rng(seed)
    p = random.random(n)
    truth = (random.random(n) < p + pull * (0.5 - p)).astype(float)
    return truth[:, None], p[:, None]


@pytest.mark.parametrize("n", [100, 317, 1000])
@pytest.mark.parametrize("pull", [0.0, 0.4], ids=["calibrated", "overconfident"])
def test_the_error_is_the_true_one_on_average(n: int, pull: float) -> None:
    """In squares, which is what is free of bias; in ten bins of equal width and frequency."""
    true = pull**2 * (1 - 0.1**2) / 12
    found = [METRICS["ece"](*drawn(n, pull, seed), False) ** 2 for seed in range(DRAWS)]
    # Cut at 0: where there is no error, half of the sampling noise stays.
    assert np.mean(found) == pytest.approx(true, abs=0.5 / n + 0.1 * true)


def test_no_interval_is_drawn_around_the_error() -> None:
    """Drawing images anew adds their noise a second time: 0.047 and more where the truth is 0."""
    truth, p = drawn(317, 0.0, 0)
    fold = [Fold("all", 0, np.arange(0), np.arange(317))]
    values = PatientResamples(317, None, resamples=200).scores(
        METRICS["ece"], truth, fold, [p], False
    )
    assert np.isnan(values).all()
