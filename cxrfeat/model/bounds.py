"""Compiled predictors believe the numbers of a model: check those first.

A type that is trusted can still hold numbers that are not. scikit-learn's and XGBoost's trees,
libsvm and the neighbours' counting follow what they are given without looking whether it leads
anywhere, so that a forged file could make them read other memory or go round for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def check_bounds(estimator: Any, dimension: int) -> None:
    """Look through a fitted classifier for what compiled code follows, and check where it leads.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError
        A child that is not below its parent, a channel that embeddings do not have, or arrays
        whose lengths do not belong together.
    """
    for value, widest in _values(estimator, dimension):
        kind = f"{type(value).__module__}.{type(value).__name__}"
        if kind == "sklearn.tree._tree.Tree":
            state = value.__getstate__()["nodes"]
            left, right = (state[f"{side}_child"].astype(np.int64) for side in ("left", "right"))
            _check(left, right, state["feature"].astype(np.int64), widest)
        elif kind == "cxrfeat.estimators.BoostedTrees":
            _check_booster(value.booster_json_, widest)
        elif kind in ("sklearn.svm._classes.SVC", "sklearn.svm._classes.NuSVC"):
            _check_libsvm(value, widest)
        elif kind == "sklearn.neighbors._classification.KNeighborsClassifier":
            _check_neighbours(value)


def _check_neighbours(neighbours: Any) -> None:
    if neighbours._fit_X.ndim != 2 or len(neighbours._y) != len(neighbours._fit_X):
        raise ValueError("its neighbours have no class each")


def _check_libsvm(machine: Any, widest: int) -> None:
    vectors, classes = machine.support_vectors_, len(machine.classes_)
    pairs = classes * (classes - 1) // 2
    shapes = (
        (vectors.shape, (len(vectors), widest)),
        (machine.support_.shape, (len(vectors),)),
        (machine._n_support.shape, (classes,)),
        (machine._dual_coef_.shape, (classes - 1, len(vectors))),
        (machine._intercept_.shape, (pairs,)),
    )
    probability = {len(machine._probA), len(machine._probB)}
    counted = int(machine._n_support.sum()) == len(vectors) and (machine._n_support >= 0).all()
    if any(shape != expected for shape, expected in shapes) or not counted:
        raise ValueError("its support vectors do not belong together")
    if probability - {0, pairs} or len(probability) > 1:
        raise ValueError("its support vectors do not belong together")


def _check_booster(text: str, widest: int) -> None:
    learner = json.loads(text)["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise ValueError("its booster is not one of trees")
    trees = booster["model"]["trees"]
    classes = max(int(learner["learner_model_param"]["num_class"]), 1)
    groups = booster["model"]["tree_info"]
    if len(groups) != len(trees) or not all(0 <= int(group) < classes for group in groups):
        raise ValueError("a tree belongs to no class")
    starts = np.asarray(booster["model"].get("iteration_indptr", [0, len(trees)]), dtype=np.int64)
    if starts[0] != 0 or starts[-1] != len(trees) or (np.diff(starts) < 0).any():
        raise ValueError("its rounds do not hold its trees")
    for tree in trees:
        if tree.get("categories_nodes") or any(tree.get("split_type", ())):
            raise ValueError("a tree has categories, which embeddings do not have")
        if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
            raise ValueError("a tree has leaves of several numbers")
        left, right, feature, threshold = (
            np.asarray(tree[name], dtype=np.float64)
            for name in ("left_children", "right_children", "split_indices", "split_conditions")
        )
        if not len(left) == len(right) == len(feature) == len(threshold):
            raise ValueError("a tree has lists of different lengths")
        _check(left.astype(np.int64), right.astype(np.int64), feature.astype(np.int64), widest)


def _check(left: Numbers, right: Numbers, feature: Numbers, widest: int) -> None:
    """Check one tree; a leaf has -1 for both children."""
    nodes = np.arange(len(left))
    inner = left != -1
    if not len(left) or ((right != -1) != inner).any():
        raise ValueError("a tree has a node with one child")
    for child in (left[inner], right[inner]):
        # A child has a higher number than its parent, so that every walk ends.
        if ((child <= nodes[inner]) | (child >= len(left))).any():
            raise ValueError("a tree has a child that is not below its parent")
    if ((feature[inner] < 0) | (feature[inner] >= widest)).any():
        raise ValueError("a tree asks for a channel that embeddings do not have")


def _values(estimator: Any, dimension: int) -> Iterator[tuple[Any, int]]:
    """Yield everything inside, with the fewest columns that any object around it is given."""
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[Any, int]] = [(estimator, dimension)]
    while waiting:
        value, widest = waiting.pop()
        if (id(value), widest) in seen:
            continue
        seen.add((id(value), widest))
        if isinstance(value, dict):
            waiting.extend((item, widest) for item in value.values())
        elif isinstance(value, list | tuple | set):
            waiting.extend((item, widest) for item in value)
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                waiting.extend((item, widest) for item in value.ravel())
        elif not isinstance(value, str | bytes | int | float | np.generic | type(None)):
            inside = getattr(value, "__dict__", {})
            columns = inside.get("n_features_in_", widest)
            yield value, min(widest, int(columns))
            waiting.append((inside, min(widest, int(columns))))
