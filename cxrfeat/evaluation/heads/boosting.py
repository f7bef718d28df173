"""Gradient-boosted trees along the number of rounds, from one booster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xgboost

from cxrfeat.arrays import Matrix
from cxrfeat.estimators import balanced_weights, boosting_parameters, two_columns
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Pairs, Setting, label_by_label

PATIENCE = 20
"""Rounds without a better log-loss on the held-out part before training stops."""


@label_by_label
def boosting_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Pairs,
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Probabilities along ``n_estimators``: one booster, read after each number of rounds.

    With several numbers of rounds, training stops early once the held-out rows no longer gain;
    the numbers beyond that get the scores of the last round.
    """
    n_classes = int(y.max()) + 1
    most = max(setting["n_estimators"] for setting in settings)
    results = []
    weighs = settings[0].get("class_weight") is not None
    for fit, val in pairs:
        weight = np.ones(n_classes)
        if weighs:
            of_fit = balanced_weights(y[fit])
            weight[: len(of_fit)] = of_fit
        train = xgboost.QuantileDMatrix(
            fold.raw(fit), label=y[fit], weight=weight[y[fit]] if weighs else None, max_bin=64
        )
        held_out = xgboost.QuantileDMatrix(fold.raw(val), ref=train, max_bin=64)
        stop = None
        if len(settings) > 1:
            held_out.set_label(y[val])
            if weighs:
                held_out.set_weight(weight[y[val]])
            stop = PATIENCE
        booster = xgboost.train(
            boosting_parameters(n_classes, seed),
            train,
            most,
            evals=[(held_out, "val")] if stop else [],
            early_stopping_rounds=stop,
            verbose_eval=False,
        )
        rounds = booster.num_boosted_rounds()
        along = [
            two_columns(
                booster.predict(held_out, iteration_range=(0, min(s["n_estimators"], rounds)))
            )
            for s in settings
        ]
        results.append(np.stack(along).astype(np.float64))
    return results
