"""Calibration, its slope, and net benefit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from cxrfeat.tables import read_table
from tests.commands.fit_options.made import N, fit
from tests.evaluation.made import blobs, write_file


def test_calibration_and_net_benefit_of_all_repeats_are_in_the_results() -> None:
    X, y = blobs(N, 12, distance=1.5)
    patients = [f"p{i // 2}" for i in range(N)]
    path = write_file(Path("hard.h5"), X, y, meta={"group": patients})
    result = fit(path, head=["logreg"], repeats=2)
    (report,) = result.reports
    assert "ece" not in report.intervals
    table = read_table(result.run / "predictions.csv")
    for entry in report.classes:
        slopes, benefits = [], []
        for repeat in ("0", "1"):
            rows = [row for row, of in enumerate(table["repeat"]) if of == repeat]
            truth = np.array([table["label"][row] == entry.name for row in rows], dtype=float)
            p = np.array([float(table[f"p_{entry.name}"][row]) for row in rows])
            line = sm.GLM(
                truth, sm.add_constant(np.log(p / (1 - p))), family=sm.families.Binomial()
            ).fit()
            slopes.append(line.params[1])
            called = p >= 0.25
            benefits.append((np.sum(called & (truth == 1)) - np.sum(called & (truth == 0)) / 3) / N)
        assert entry.calibration_slope == pytest.approx(np.mean(slopes), rel=1e-3)
        low, high = entry.calibration_slope_interval
        assert low < entry.calibration_slope < high
        low, high = entry.calibration_intercept_interval
        assert low < entry.calibration_intercept < high
        place = entry.decision_curve["threshold"].index(0.25)
        assert entry.decision_curve["net_benefit"][place] == pytest.approx(
            np.mean(benefits), abs=1e-6
        )


def test_classes_that_are_separated_have_no_slope_and_the_run_says_so() -> None:
    X, y = blobs(N, 12, distance=30)
    result = fit(write_file(Path("easy.h5"), X, y), head=["logreg", "dummy"])
    assert all(np.isnan(entry.calibration_slope) for entry in result.reports[0].classes)
    (note,) = [note for note in result.notes if "calibration slope" in note]
    assert note.startswith(
        "easy with logreg has no calibration slope for clear, opaque, streaked: "
    )
