"""Gradient-boosted trees: XGBoost's booster behind the scikit-learn contract.

Our own estimator, not `xgboost.XGBClassifier`, because the booster is kept as XGBoost's JSON
text. A model file then holds plain text and numbers, and nothing that has to be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from cxrfeat.evaluation.shared import FloatMatrix, Rows, SharedFold

Matrix = npt.NDArray[np.float64]
Setting = dict[str, Any]

PATIENCE = 20
"""Rounds without a better log-loss on the held-out part before training stops."""


def parameters(n_classes: int, seed: int, threads: int = 1) -> dict[str, Any]:
    """Booster parameters; a tenth of the channels per tree suits wide, redundant embeddings."""
    task = (
        {"objective": "binary:logistic", "eval_metric": "logloss"}
        if n_classes == 2
        else {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": n_classes}
    )
    return task | {
        "tree_method": "hist",
        "max_depth": 3,
        "learning_rate": 0.25,
        "subsample": 0.8,
        "colsample_bytree": 0.1,
        "max_bin": 64,
        "seed": seed,
        "nthread": threads,
        "verbosity": 0,
    }


def boosting_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Sequence[tuple[Rows, Rows]],
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
    for fit, val in pairs:
        train = xgboost.QuantileDMatrix(fold.raw[fit], label=y[fit], max_bin=64)
        held_out = xgboost.QuantileDMatrix(fold.raw[val], ref=train, max_bin=64)
        stop = None
        if len(settings) > 1:
            held_out.set_label(y[val])
            stop = PATIENCE
        booster = xgboost.train(
            parameters(n_classes, seed),
            train,
            most,
            evals=[(held_out, "val")] if stop else [],
            early_stopping_rounds=stop,
            verbose_eval=False,
        )
        rounds = booster.num_boosted_rounds()
        along = [
            _two_columns(
                booster.predict(held_out, iteration_range=(0, min(s["n_estimators"], rounds)))
            )
            for s in settings
        ]
        results.append(np.stack(along).astype(np.float64))
    return results


def _two_columns(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if probability.ndim == 2:
        return probability
    return np.stack([1.0 - probability, probability], axis=1)


@lru_cache(maxsize=32)  # reading the text takes longer than predicting a block of rows
def _booster(text: str) -> xgboost.Booster:
    return xgboost.Booster(model_file=bytearray(text.encode("utf-8")))


class BoostedTrees(ClassifierMixin, BaseEstimator):
    """Gradient-boosted trees with histogram splits.

    Parameters
    ----------
    n_estimators : int
        Rounds of boosting.
    seed : int

    Attributes
    ----------
    classes_ : ndarray
    booster_json_ : str
        XGBoost's own JSON model.

    References
    ----------
    Chen T, Guestrin C. XGBoost: a scalable tree boosting system. KDD 2016.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [0.1], [0.9], [1.0]] * 10, dtype=np.float32)
    >>> y = np.array(["clear", "clear", "opaque", "opaque"] * 10)
    >>> BoostedTrees(n_estimators=20).fit(X, y).predict(X[:4]).tolist()
    ['clear', 'clear', 'opaque', 'opaque']
    """

    def __init__(self, n_estimators: int = 100, seed: int = 0) -> None:
        self.n_estimators = n_estimators
        self.seed = seed

    def fit(self, X: FloatMatrix, y: npt.ArrayLike) -> BoostedTrees:
        """Fit to rows X of shape (n, D) and their classes y of shape (n,)."""
        self.classes_, labels = np.unique(np.asarray(y), return_inverse=True)
        train = xgboost.QuantileDMatrix(np.asarray(X, np.float32), label=labels, max_bin=64)
        booster = xgboost.train(
            parameters(len(self.classes_), self.seed), train, self.n_estimators, verbose_eval=False
        )
        self.booster_json_ = booster.save_raw("json").decode("utf-8")
        self.n_features_in_ = int(np.shape(X)[1])
        return self

    def predict_proba(self, X: FloatMatrix) -> npt.NDArray[np.float32]:
        """Probability of each class, shape (n, K)."""
        check_is_fitted(self, "booster_json_")
        return _two_columns(_booster(self.booster_json_).inplace_predict(np.asarray(X, np.float32)))

    def predict(self, X: FloatMatrix) -> npt.NDArray[Any]:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
