"""The classes that model files hold by their path: fitted classifiers of our own.

A model file names each class as ``module.Class``. So these stay here under these names, whatever
becomes of the modules that fit them, and so do the names of their attributes.
`cxrfeat/model/file.py: MOVED` leads from where they stood in older files.
`tests/model/golden` keeps files of every version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from cxrfeat.arrays import Matrix, Matrix32

BLOCK = 4096
"""Rows that are worked on at a time."""

Method = Literal["sigmoid", "isotonic"]
Curve = list[list[list[float]]]
"""Per class the corners of an isotonic curve: scores and probabilities."""


class RowByRow(BaseEstimator):
    """A fitted classifier that gives an image the same bits in any company.

    Parameters
    ----------
    estimator
        A fitted classifier, or one per label as `PerLabel`.
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def predict_proba(self, X: npt.ArrayLike) -> Matrix:
        """Probability of each class or label, shape (n, K)."""
        return row_by_row(self.estimator.predict_proba, X)


def row_by_row(
    function: Callable[[npt.NDArray[np.float32]], npt.ArrayLike], X: npt.ArrayLike
) -> Matrix:
    """Apply a function of rows to one row at a time: the same bits in any company.

    The last bits of a matrix product depend on how many rows it has, on where a row stands among
    them, and on how many threads share the work. So every row goes through alone, on one thread.

    Parameters
    ----------
    function
        Takes float32 of shape (1, D), gives shape (1, ...).
    X : array, shape (n, D)

    Returns
    -------
    ndarray of float64, shape (n, ...)
    """
    rows = np.asarray(X, dtype=np.float32)
    alone = np.zeros((1, rows.shape[1]), dtype=np.float32)  # always the same place in memory
    results = []
    with threadpool_limits(1):
        if not len(rows):
            return np.array(function(alone), dtype=np.float64)[:0]
        for row in rows:
            alone[0] = row
            results.append(np.array(function(alone), dtype=np.float64))
    return np.concatenate(results)


class PerLabel(BaseEstimator):
    """One classifier per label; any number of labels may hold for an image.

    Parameters
    ----------
    estimators : list
        Fitted classifiers of two classes.
    """

    def __init__(self, estimators: list[Any] | None = None) -> None:
        self.estimators = estimators

    def predict_proba(self, X: npt.ArrayLike) -> Matrix:
        """Probability of each label, shape (n, L); rows do not sum to 1."""
        return np.stack([one.predict_proba(X)[:, 1] for one in self.estimators or []], axis=1)


class BlockScaler(TransformerMixin, BaseEstimator):
    """Give several extractors side by side the same weight, whatever their dimensions.

    Parameters
    ----------
    widths : list of int
        Dimension of each extractor, in order.
    """

    def __init__(self, widths: list[int] | None = None) -> None:
        self.widths = widths

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> BlockScaler:
        """Nothing to learn."""
        return self

    def transform(self, X: npt.ArrayLike) -> Matrix:
        """Scale standardised columns, shape (n, D)."""
        return np.asarray(X) * block_factors(self.widths or [])


def block_factors(widths: Sequence[int]) -> npt.NDArray[np.float64]:
    """Factors by which each standardised column is multiplied, shape (D,).

    Proportional to 1/sqrt(dimension) of the column's block, so that every extractor has the same
    total variance; the common factor keeps the mean variance at 1, where the grids of the heads
    are made for.
    """
    mean_width = sum(widths) / len(widths)
    return np.concatenate([np.full(width, np.sqrt(mean_width / width)) for width in widths])


class PrincipalComponents(TransformerMixin, BaseEstimator):
    """Projections on the directions along which rows vary most.

    scikit-learn's `PCA` asks for no more components than there are rows and columns; here there
    are fewer where there are fewer. The decomposition is exact, of the products of columns or of
    rows, whichever are fewer; where both are more than `WIDE`, it is a seeded randomised one.

    Parameters
    ----------
    n_components : int

    Attributes
    ----------
    mean_ : ndarray, shape (D,)
    components_ : ndarray, shape (k, D)
        Unit vectors; the largest entry of each is positive.
    """

    WIDE = 5000

    def __init__(self, n_components: int = 64) -> None:
        self.n_components = n_components

    def fit(self, X: Matrix32, y: npt.ArrayLike | None = None) -> PrincipalComponents:
        """Decompose rows X of shape (n, D)."""
        self.n_features_in_ = int(X.shape[1])
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        k = max(1, min(self.n_components, *X.shape))
        if min(X.shape) > self.WIDE:
            centred = np.asarray(X - self.mean_, dtype=np.float32)
            _, _, directions = randomized_svd(centred, k, n_iter=4, random_state=0)
        elif X.shape[0] < X.shape[1]:
            centred = X - self.mean_
            vectors = self._largest(centred @ centred.T, k)
            directions = vectors.T @ centred
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        else:
            product = np.zeros((X.shape[1],) * 2)
            for start in range(0, len(X), BLOCK):
                block = X[start : start + BLOCK] - self.mean_
                product += block.T @ block
            directions = self._largest(product, k).T
        largest = np.abs(directions).argmax(axis=1)
        sign = np.sign(directions[np.arange(len(directions)), largest])
        self.components_ = np.asarray(directions * sign[:, None], dtype=np.float64)
        return self

    @staticmethod
    def _largest(product: Matrix, k: int) -> Matrix:
        """Directions of a symmetric matrix that rows are not all equal along, shape (n, <= k)."""
        n = len(product)
        values, vectors = eigh(product, subset_by_index=[n - k, n - 1])
        there = values > max(values[-1], 0.0) * 1e-10
        there[-1] = True
        return np.asarray(vectors[:, there][:, ::-1])

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """Project rows X of shape (n, D), shape (n, k); as precise as they are given."""
        rows = np.asarray(X)
        return np.asarray((rows - self.mean_) @ self.components_.T, dtype=rows.dtype)


class GaussianLandmarks(TransformerMixin, BaseEstimator):
    """Features whose inner products approximate a Gaussian kernel (Nyström).

    Exact between landmarks, which are rows drawn at random; a linear machine on the features then
    is nearly a kernel machine, with no n x n matrix.

    Parameters
    ----------
    n_landmarks : int
        All rows where there are fewer.
    seed : int

    Attributes
    ----------
    gamma_ : float
        The width, see `gaussian_width`.
    landmarks_ : ndarray of float32, shape (m, D)
    root_ : ndarray of float32, shape (m, r)
        Root of the inverse of the kernel between landmarks; copies of an image add nothing to it.

    References
    ----------
    Williams CKI, Seeger M. Using the Nyström method to speed up kernel machines. NIPS 2000.
    """

    def __init__(self, n_landmarks: int = 1024, seed: int = 0) -> None:
        self.n_landmarks = n_landmarks
        self.seed = seed

    def fit(self, X: Matrix32, y: npt.ArrayLike | None = None) -> GaussianLandmarks:
        """Draw landmarks among rows X of shape (n, D)."""
        rows = np.random.default_rng(self.seed).permutation(len(X))[: self.n_landmarks]
        self.gamma_ = gaussian_width(X)
        self.landmarks_ = np.asarray(X[np.sort(rows)], dtype=np.float32)
        among = gaussian_kernel(self.landmarks_, self.landmarks_, self.gamma_)
        values, vectors = np.linalg.eigh(among.astype(np.float64))
        kept = values > 1e-6 * values[-1]
        self.root_ = (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
        return self

    def transform(self, X: npt.ArrayLike) -> Matrix32:
        """Features of rows X of shape (n, D), shape (n, r)."""
        rows = np.asarray(X, dtype=np.float32)
        features = np.empty((len(rows), self.root_.shape[1]), np.float32)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            features[block] = (
                gaussian_kernel(rows[block], self.landmarks_, self.gamma_) @ self.root_
            )
        return features


def gaussian_kernel(X: Matrix32, Y: Matrix32, gamma: float) -> Matrix32:
    """``exp(-gamma |x - y|^2)`` of rows of X and Y, shape (len(X), len(Y))."""
    exponent = X @ Y.T
    exponent *= np.float32(-2.0)
    exponent += np.einsum("ij,ij->i", X, X)[:, None]
    exponent += np.einsum("ij,ij->i", Y, Y)
    np.maximum(exponent, np.float32(0.0), out=exponent)
    exponent *= np.float32(-gamma)
    return np.asarray(np.exp(exponent, out=exponent))


def gaussian_width(X: npt.NDArray[np.floating]) -> float:
    """Width of the Gaussian kernel: scikit-learn's ``gamma="scale"`` on rows X of shape (n, D)."""
    blocks = [X[start : start + BLOCK] for start in range(0, len(X), BLOCK)]
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / X.size
    away = sum(float(np.square(block - mean).sum(dtype=np.float64)) for block in blocks)
    variance = away / X.size
    return 1.0 / (X.shape[1] * variance) if variance > 0 else 1.0


class TrainingRows(BaseEstimator):
    """Rows among which several classifiers look for neighbours.

    Parameters
    ----------
    mean, scale : ndarray, shape (D,)
        Of each channel.
    rows : ndarray of float32, shape (n, D)
        Standardised and of unit length.
    """

    def __init__(self, mean: Any = None, scale: Any = None, rows: Any = None) -> None:
        self.mean = mean
        self.scale = scale
        self.rows = rows

    def cosines(self, X: npt.ArrayLike) -> Matrix32:
        """Cosine of rows X of shape (m, D) with every one, shape (m, n)."""
        Z = ((np.asarray(X) - self.mean) / self.scale).astype(np.float32)
        # Labels ask for the same image one after the other.
        known = getattr(self, "_known", None)
        if known is None or not np.array_equal(known[0], Z):
            length = np.sqrt(np.einsum("ij,ij->i", Z, Z))
            unit = Z / np.where(length > 0, length, np.float32(1.0))[:, None]
            known = self._known = (Z, unit @ self.rows.T)
        return known[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was worked out."""
        return {"mean": self.mean, "scale": self.scale, "rows": self.rows}


class NearestVotes(ClassifierMixin, BaseEstimator):
    """Share of each class among the nearest neighbours by cosine that know theirs.

    Parameters
    ----------
    among : TrainingRows
        May serve several labels; a file holds it once.
    y : ndarray of int, shape (n,)
        Classes 0 to K - 1, or -1 where it is unknown.
    n_neighbors : int
    """

    def __init__(self, among: Any = None, y: Any = None, n_neighbors: int = 5) -> None:
        self.among = among
        self.y = y
        self.n_neighbors = n_neighbors

    @property
    def classes_(self) -> npt.NDArray[np.intp]:
        """0 to K - 1."""
        return np.arange(int(np.max(self.y)) + 1)

    def predict_proba(self, X: npt.ArrayLike) -> Matrix:
        """Share of each class, shape (m, K)."""
        known = np.flatnonzero(self.y >= 0)
        cosine = self.among.cosines(X)[:, known]
        k = min(self.n_neighbors, len(known))
        nearest = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        votes = self.y[known][nearest]
        return np.stack([(votes == one).mean(axis=1) for one in self.classes_], axis=1)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Class with the most votes of each row, shape (m,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


class Calibrated(ClassifierMixin, BaseEstimator):
    """A fitted classifier, and what turns its scores into calibrated probabilities.

    Parameters
    ----------
    estimator
        A fitted classifier.
    gives : "probabilities" or "decisions"
        Whether its ``predict_proba`` or its ``decision_function`` is taken.
    method : "sigmoid" or "isotonic"
    parameters
        From `fit_platt` or `fit_isotonic` of `cxrfeat.evaluation.validation.calibration`, on rows
        the estimator's likes had not seen.
    """

    def __init__(
        self,
        estimator: Any = None,
        gives: str = "decisions",
        method: Method = "sigmoid",
        parameters: Any = None,
    ) -> None:
        self.estimator = estimator
        self.gives = gives
        self.method = method
        self.parameters = parameters

    def around(self, estimator: Any) -> Calibrated:
        """Return the same calibration for a fitted estimator."""
        return Calibrated(estimator, self.gives, self.method, self.parameters)

    def apply(self, scores: Matrix) -> Matrix:
        """Probabilities of shape (n, K) from what the estimator gives."""
        scores = as_scores(self.gives, scores)
        if self.method == "sigmoid":
            return apply_platt(self.parameters, scores)
        return apply_isotonic(self.parameters, scores)

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Calibrated:
        """Fit the estimator; the calibration stays as it was given."""
        self.estimator.fit(X, y)
        return self

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes of the estimator, in the order of the probability columns."""
        return np.asarray(self.estimator.classes_)

    def predict_proba(self, X: npt.ArrayLike) -> Matrix:
        """Probability of each class, shape (n, K)."""
        return self.apply(raw_scores(self.estimator, self.gives, X))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def raw_scores(estimator: Any, gives: str, X: npt.ArrayLike) -> Matrix:
    """Take what a fitted estimator gives, one column per class, shape (n, K)."""
    if gives == "probabilities":
        return np.asarray(estimator.predict_proba(X), dtype=np.float64)
    score = np.asarray(estimator.decision_function(X), dtype=np.float64)
    return np.stack([-score, score], axis=1) if score.ndim == 1 else score


def as_scores(gives: str, scores: Matrix) -> Matrix:
    """Decision scores, or logarithms of probabilities."""
    return np.log(np.maximum(scores, 1e-12)) if gives == "probabilities" else scores


def apply_platt(parameter: Matrix, scores: Matrix) -> Matrix:
    """Probabilities of shape (n, K) from scores of shape (n, K)."""
    return softmax(parameter[0] * scores + parameter[1:])


def apply_isotonic(curve: Curve, scores: Matrix) -> Matrix:
    """Probabilities of shape (n, K), each row divided by its sum; equal shares where it is 0."""
    p = np.stack([np.interp(scores[:, k], x, y) for k, (x, y) in enumerate(curve)], axis=1)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1.0), 1.0 / p.shape[1])


def softmax(scores: Matrix) -> Matrix:
    """Probabilities over the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


class BoostedTrees(ClassifierMixin, BaseEstimator):
    """Gradient-boosted trees with histogram splits: XGBoost behind the scikit-learn contract.

    Our own estimator, not `xgboost.XGBClassifier`, because the booster is kept as XGBoost's JSON
    text. A model file then holds plain text and numbers, and nothing that has to be trusted.

    Parameters
    ----------
    n_estimators : int
        Rounds of boosting.
    seed : int
    class_weight : "balanced" or None
        Every class has the same total weight.

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

    class_weight: str | None = None  # of models that were saved before there was one

    def __init__(
        self, n_estimators: int = 100, seed: int = 0, class_weight: str | None = None
    ) -> None:
        self.n_estimators = n_estimators
        self.seed = seed
        self.class_weight = class_weight

    def fit(self, X: Matrix32, y: npt.ArrayLike) -> BoostedTrees:
        """Fit to rows X of shape (n, D) and their classes y of shape (n,)."""
        self.classes_, labels = np.unique(np.asarray(y), return_inverse=True)
        weights = None if self.class_weight is None else balanced_weights(labels)[labels]
        train = _xgboost().QuantileDMatrix(
            np.asarray(X, np.float32), label=labels, weight=weights, max_bin=64
        )
        booster = _xgboost().train(
            boosting_parameters(len(self.classes_), self.seed),
            train,
            self.n_estimators,
            verbose_eval=False,
        )
        self.booster_json_ = booster.save_raw("json").decode("utf-8")
        self.n_features_in_ = int(np.shape(X)[1])
        return self

    def predict_proba(self, X: Matrix32) -> npt.NDArray[np.float32]:
        """Probability of each class, shape (n, K)."""
        check_is_fitted(self, "booster_json_")
        return two_columns(_booster(self.booster_json_).inplace_predict(np.asarray(X, np.float32)))

    def predict(self, X: Matrix32) -> npt.NDArray[Any]:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def balanced_weights(y: npt.NDArray[np.intp]) -> Matrix:
    """Weight of each class by which all have the same total, as scikit-learn's ``"balanced"``.

    Parameters
    ----------
    y : ndarray of int, shape (n,)

    Returns
    -------
    ndarray, shape (max(y) + 1,)
        n / (classes that are there * images of the class); 1 for a class without an image.
    """
    count = np.bincount(y)
    there = count > 0
    return np.where(there, len(y) / (there.sum() * np.maximum(count, 1)), 1.0)


def boosting_parameters(n_classes: int, seed: int, threads: int = 1) -> dict[str, Any]:
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


def two_columns(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities of both of two classes where XGBoost gives that of the second."""
    if probability.ndim == 2:
        return probability
    return np.stack([1.0 - probability, probability], axis=1)


@lru_cache(maxsize=32)  # reading the text takes longer than predicting a block of rows
def _booster(text: str) -> Any:
    return _xgboost().Booster(model_file=bytearray(text.encode("utf-8")))


def _xgboost() -> Any:
    """Import XGBoost where it is needed: it takes a second, and most models do without."""
    import xgboost

    return xgboost
