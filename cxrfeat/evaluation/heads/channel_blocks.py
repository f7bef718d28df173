"""Boosting in which each tree sees a tenth of the channels, and reads no more.

XGBoost counts all channels of a matrix in its histograms, whatever ``colsample_bytree`` leaves.
Here the channels are dealt out to ten matrices of quantiles, and another way to ten more; the trees
take turns: tree i is grown on matrix i modulo 20, and reads a tenth of what it would. All rows of a
fold are quantised once for all labels, inner folds and refits. Which of them count for a model is
said by the gradients, which are 0 for the others, so that a matrix holds no label and no weight,
and is never changed: models that grow at the same time share them.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from scipy.special import expit, logit, softmax

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers, Vector
from cxrfeat.estimators import boosting_parameters
from cxrfeat.spare_cores import on_spare_cores

BLOCKS = 10
"""Parts of the channels: each tree sees one, as many as ``colsample_bytree=0.1`` would draw."""
DEALS = 2
"""Ways to deal the channels out; with one, channels of two parts never stand in one tree."""
BINS = 64
"""Quantiles of a channel at most."""
FEWEST_BINS = 16
IMAGES_A_BIN = 50
"""Few rows have fewer quantiles: a tree of 800 rows spends most of its time on its bins."""


def bins_of(n_train: int) -> int:
    """Quantiles of a channel of some training rows, at most."""
    return min(max(n_train // IMAGES_A_BIN, FEWEST_BINS), BINS)


class QuantisedChannels:
    """The quantiles of a fold's embeddings, found by its training rows alone; a byte a number.

    Parameters
    ----------
    source : ndarray of float32, shape (N, D)
    train, test : ndarray of int
        Rows of it.

    Attributes
    ----------
    bins : int
        Of a channel, at most.
    channels : list of ndarray of int
        Those of each block, in order.
    train, test : list of QuantileDMatrix
        A block each.
    """

    def __init__(self, source: Matrix32, train: RowNumbers, test: RowNumbers) -> None:
        self._source, self._test = source, test
        self.dimension = int(source.shape[1])
        self.bins = bins_of(len(train))
        deal = np.random.default_rng(0)
        self.channels = [
            np.sort(part)
            for _ in range(DEALS)
            for part in np.array_split(
                deal.permutation(self.dimension), min(BLOCKS, self.dimension)
            )
        ]
        self.train = on_spare_cores(
            lambda part: xgboost.QuantileDMatrix(
                source[np.ix_(train, part)], max_bin=self.bins, nthread=1
            ),
            self.channels,
        )

    @cached_property
    def test(self) -> list[xgboost.QuantileDMatrix]:
        """The test rows, in the bins of the training rows."""
        return on_spare_cores(
            lambda of: xgboost.QuantileDMatrix(
                self._source[np.ix_(self._test, of[0])], ref=of[1], max_bin=self.bins, nthread=1
            ),
            list(zip(self.channels, self.train, strict=True)),
        )


class Boosting:
    """One model of K classes, or of a label, that grows by a round at a time.

    Parameters
    ----------
    channels : QuantisedChannels
    target : ndarray of float32, shape (n, K)
        1 for the class of each training row, else 0; of a label one column.
    weight : ndarray of float32, shape (n,)
        0 for rows that are not learned from.
    seed : int

    Attributes
    ----------
    rounds : int
        Done so far.
    margins : ndarray of float32, shape (n, K)
        Of all training rows, learned from or not; of a label its log odds.
    """

    def __init__(
        self,
        channels: QuantisedChannels,
        target: npt.NDArray[np.float32],
        weight: npt.NDArray[np.float32],
        seed: int,
    ) -> None:
        self._channels, self._target = channels, target
        self._weight = weight[:, None]
        self._outputs = target.shape[1]
        parameters = boosting_parameters(max(self._outputs, 2), seed) | {
            "colsample_bytree": 1.0,
            # The matrices have their bins. Stated again, 64 cost a tenth more of the time on 16,000
            # rows, and change no bit; few bins are faster stated.
            **({"max_bin": channels.bins} if channels.bins < BINS else {}),
            # The gradients come from here, the start as well: all zero margins for XGBoost.
            "base_score": 0.5 if self._outputs == 1 else 0.0,
            # Else boosters that take turns draw from one stream that each has set back once.
            "seed_per_iteration": True,
        }
        self._boosters = [
            xgboost.Booster(parameters | {"seed": seed * BLOCKS * DEALS + block}, cache=[matrix])
            for block, matrix in enumerate(channels.train)
        ]
        # In a model a class that no row has must be as good as impossible, not minus infinity.
        share = weight @ target / weight.sum(dtype=np.float64)
        share = np.clip(share, 1e-6, 1 - 1e-6)
        self._start = (logit(share) if self._outputs == 1 else np.log(share)).astype(np.float32)
        self.rounds = 0
        self.margins: Matrix32 = np.tile(self._start, (len(target), 1))
        self._of_block = [np.float32(0.0) * self.margins for _ in self._boosters]

    def step(self) -> None:
        """Grow one tree for each class, on the block of channels whose turn it is."""
        block, turn = self.rounds % len(self._boosters), self.rounds // len(self._boosters)
        booster, matrix = self._boosters[block], self._channels.train[block]
        if self._outputs == 1:
            p = expit(self.margins)
            hess = p * (1 - p)
        else:
            p = softmax(self.margins, axis=1)
            hess = 2 * p * (1 - p)  # as XGBoost has it
        grad = self._weight * (p - self._target)
        hess = self._weight * np.maximum(hess, np.float32(1e-16))
        if not turn:
            # XGBoost then keeps the margins of these rows as the first tree is grown, too.
            self._margins_of(block)
        booster.boost(matrix, iteration=turn, grad=grad, hess=hess)
        after = self._margins_of(block)
        self.margins += after - self._of_block[block]
        self._of_block[block] = after
        self.rounds += 1

    def _margins_of(self, block: int) -> Matrix32:
        """Read what the trees of a block make of the training rows; nothing is computed."""
        return np.asarray(
            self._boosters[block].predict(
                self._channels.train[block],
                output_margin=True,
                training=True,
                validate_features=False,
            )
        ).reshape(self.margins.shape)

    def of_test(self, rounds: int) -> Matrix32:
        """Margins of the test rows after some of the rounds, shape (m, K)."""
        matrices = self._channels.test
        total = np.tile(self._start, (matrices[0].num_row(), 1))
        for block, (booster, matrix) in enumerate(zip(self._boosters, matrices, strict=True)):
            turns = len(range(block, min(rounds, self.rounds), len(matrices)))
            if turns:
                total += booster.predict(
                    matrix,
                    output_margin=True,
                    iteration_range=(0, turns),
                    validate_features=False,
                ).reshape(total.shape)
        return total

    def as_json(self) -> str:
        """One XGBoost model of all channels, in its own JSON.

        The trees stand in the order in which they were grown; the first ones hold the start.
        """
        parts = [json.loads(one.save_raw("json")) for one in self._boosters]
        whole = parts[0]
        trees: list[dict[str, Any]] = []
        for number in range(self.rounds):
            block, turn = number % len(parts), number // len(parts)
            grown = parts[block]["learner"]["gradient_booster"]["model"]["trees"]
            for output in range(self._outputs):
                tree = dict(grown[turn * self._outputs + output])
                leaves = [left == -1 for left in tree["left_children"]]
                tree["split_indices"] = [
                    0 if leaf else int(self._channels.channels[block][channel])
                    for leaf, channel in zip(leaves, tree["split_indices"], strict=True)
                ]
                if number == 0:
                    start = float(self._start[output])
                    for entry in ("split_conditions", "base_weights"):
                        tree[entry] = [
                            value + start if leaf else value
                            for leaf, value in zip(leaves, tree[entry], strict=True)
                        ]
                tree["id"] = len(trees)
                tree["tree_param"] = tree["tree_param"] | self._width
                trees.append(tree)
        model = whole["learner"]["gradient_booster"]["model"]
        model["trees"] = trees
        model["tree_info"] = list(range(self._outputs)) * self.rounds
        model["iteration_indptr"] = list(range(0, len(trees) + 1, self._outputs))
        model["gbtree_model_param"]["num_trees"] = str(len(trees))
        whole["learner"]["learner_model_param"] |= self._width
        return json.dumps(whole)

    @property
    def _width(self) -> dict[str, str]:
        return {"num_feature": str(self._channels.dimension)}


def probabilities(margins: npt.NDArray[np.floating]) -> Matrix:
    """Probabilities of classes of margins of shape (..., K), or of a label where K is 1."""
    wide = np.asarray(margins, np.float64)
    return np.asarray(expit(wide) if wide.shape[-1] == 1 else softmax(wide, axis=-1))


def loss(margins: Matrix32, target: Matrix32, weight: npt.NDArray[np.float32]) -> float:
    """Weighted mean log-loss of rows of shape (n, K)."""
    p = probabilities(margins)
    of_truth = np.abs(1 - target - p)[:, 0] if p.shape[1] == 1 else (p * target).sum(axis=1)
    losses: Vector = -np.log(np.maximum(of_truth, 1e-16))
    return float(weight @ losses / weight.sum(dtype=np.float64))
