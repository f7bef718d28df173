"""Gradient-boosted trees along the number of rounds, from one model that grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.estimators import BoostedTrees, balanced_weights
from cxrfeat.evaluation.heads.channel_blocks import Boosting, loss, probabilities
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes, Labels, Pairs, Setting, Task
from cxrfeat.spare_cores import on_spare_cores

Target = npt.NDArray[np.float32]
Known = tuple[Target, npt.NDArray[np.bool_]]
"""Ones and zeros to learn, shape (n, K) or (n, 1), and which rows know it."""
PATIENCE = 20
"""Rounds without a better log-loss on the held-out part before training stops."""


def boosting_path(
    fold: SharedFold,
    task: Task,
    pairs: Pairs,
    settings: Sequence[Sequence[Setting]],
    seed: int,
) -> list[Matrix]:
    """Probabilities along ``n_estimators``: one model, read after each number of rounds.

    With several numbers of rounds, training stops early once the held-out rows no longer gain;
    the numbers beyond that get the scores of the last round.
    """
    channels = fold.quantised  # made here, as the threads that share it do not wait for it
    if any(len(val) and val.max() >= fold.n_train for _, val in pairs):
        _ = channels.test

    def along_one(problem: tuple[Known, Sequence[Setting]]) -> list[Matrix]:
        (target, known), along = problem
        of_pairs = []
        for fit, val in pairs:
            weight = _weights(target, known, fit, along[0])
            if isinstance(task, Labels) and not _teaches(target, weight):
                of_pairs.append(np.full((len(along), len(val), target.shape[1]), np.nan))
                continue
            boosting = Boosting(channels, target, weight, seed)
            wanted = [setting["n_estimators"] for setting in along]
            if len(val) and val.max() >= fold.n_train:
                of_pairs.append(_of_test(fold, boosting, val, wanted))
            else:
                held_out = _weights(target, known, val, along[0], fit)
                of_pairs.append(_of_held_out(boosting, target, val, held_out, wanted))
        return of_pairs

    of_problems = on_spare_cores(along_one, list(zip(_targets(task), settings, strict=True)))
    if isinstance(task, Classes):
        (found,) = of_problems
        if task.n_classes > 2:
            return found
        return [np.concatenate([1 - one, one], axis=2) for one in found]
    return [np.concatenate(of_pair, axis=2) for of_pair in zip(*of_problems, strict=True)]


def boosted_trees(
    fold: SharedFold, task: Task, settings: Sequence[Setting], seed: int
) -> list[BoostedTrees]:
    """Fit what is saved, on all training rows that know a label, as the path does.

    Parameters
    ----------
    settings
        One for the classes, or one for each label.

    Returns
    -------
    list of BoostedTrees
        One for the classes, or one for each label.
    """
    channels = fold.quantised

    def fitted(problem: tuple[Known, Setting]) -> BoostedTrees:
        (target, known), setting = problem
        boosting = Boosting(channels, target, _weights(target, known, fold.train, setting), seed)
        for _ in range(setting["n_estimators"]):
            boosting.step()
        trees = BoostedTrees(setting["n_estimators"], seed, setting.get("class_weight"))
        trees.classes_ = np.arange(max(target.shape[1], 2))
        trees.booster_json_ = boosting.as_json()
        trees.n_features_in_ = fold.dimension
        return trees

    return on_spare_cores(fitted, list(zip(_targets(task), settings, strict=True)))


def _targets(task: Task) -> list[Known]:
    """Make out what is to be learned of each problem."""
    if not isinstance(task, Classes):
        return [
            ((column[:, None] == 1).astype(np.float32), np.isfinite(column))
            for column in task.values.T
        ]
    target = np.eye(task.n_classes, dtype=np.float32)[task.y]
    if task.n_classes == 2:
        target = target[:, 1:]
    return [(target, np.ones(len(target), dtype=bool))]


def _teaches(target: Target, weight: npt.NDArray[np.float32]) -> bool:
    """Whether the rows that count are of several classes."""
    learned = target[weight > 0]
    return len(learned) > 0 and bool((learned != learned[0]).any())


def _weights(
    target: Target,
    known: npt.NDArray[np.bool_],
    rows: RowNumbers,
    setting: Setting,
    fit: RowNumbers | None = None,
) -> npt.NDArray[np.float32]:
    """Weight of each training row, 0 for all but some that know the label, shape (n,).

    Parameters
    ----------
    fit
        The rows by which classes are balanced, where they are others.
    """
    weight = np.zeros(len(target), dtype=np.float32)
    counted = rows[known[rows]]
    weight[counted] = 1.0
    if setting.get("class_weight") is not None:
        y = target[:, 0].astype(np.intp) if target.shape[1] == 1 else target.argmax(axis=1)
        learned = counted if fit is None else fit[known[fit]]
        of_class = np.ones(max(target.shape[1], 2))
        balanced = balanced_weights(y[learned])
        of_class[: len(balanced)] = balanced
        weight[counted] = of_class[y[counted]]
    return weight


def _of_test(
    fold: SharedFold, boosting: Boosting, val: RowNumbers, wanted: Sequence[int]
) -> Matrix:
    for _ in range(max(wanted)):
        boosting.step()
    margins = [boosting.of_test(rounds)[val - fold.n_train] for rounds in wanted]
    return probabilities(np.stack(margins))


def _of_held_out(
    boosting: Boosting,
    target: Target,
    val: RowNumbers,
    weight: npt.NDArray[np.float32],
    wanted: Sequence[int],
) -> Matrix:
    """Read the margins of training rows that are not learned from, at each number of rounds.

    Parameters
    ----------
    weight : ndarray of float32, shape (n,)
        By which held-out rows count for the log-loss; 0 where they do not know the label.
    """
    counted = np.flatnonzero(weight)
    stops = len(wanted) > 1 and len(counted) > 0
    best, best_round = np.inf, 0
    along = {}
    while boosting.rounds < max(wanted):
        boosting.step()
        if boosting.rounds in wanted:
            along[boosting.rounds] = boosting.margins[val]
        if stops:
            now = loss(boosting.margins[counted], target[counted], weight[counted])
            if now < best:
                best, best_round = now, boosting.rounds
            elif boosting.rounds - best_round >= PATIENCE:
                break
    last = boosting.margins[val]
    return probabilities(np.stack([along.get(rounds, last) for rounds in wanted]))
