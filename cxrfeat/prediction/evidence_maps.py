"""From a model and pictures to maps of evidence: exact where they can be, else by occlusion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat import features, images
from cxrfeat.arrays import Matrix, Picture
from cxrfeat.errors import InputError
from cxrfeat.evaluation.final_model.linear_form import Linear, Score, collapse, score_of
from cxrfeat.evidence import EvidenceMap, Grid
from cxrfeat.framing import Framing
from cxrfeat.model import Model
from cxrfeat.prediction.called_labels import called
from cxrfeat.prediction.embedded import parts_of, reopen_all

EXACT, OCCLUSION = "class activation map", "occlusion"
FEWEST_OCCLUSIONS = 4
BATCH = 32


@dataclass(frozen=True)
class _Facts:
    predicted: list[str]
    explained: int
    score: float
    probability: float


@dataclass(frozen=True)
class Explanation(_Facts):
    """Why one image got its score for one class.

    Attributes
    ----------
    predicted : list of str
        The class that is called, or every label.
    explained : int
        Position among the model's classes.
    score, probability : float
        Of the explained class.
    intercept, residual : float or None
        Of an exact map: what is added to its sum, and how much of the sum made up for rounding.
    maps : list of EvidenceMap
        They add up.
    """

    intercept: float | None
    residual: float | None
    maps: list[EvidenceMap]


@dataclass(frozen=True)
class Mapper:
    """A model with its extractors open; made by `open_mapper`.

    Attributes
    ----------
    score : Score
        The number per class that is explained.
    linear : Linear or None
        The head as one linear function of the embedding; None means occlusion.
    grids : list of list of Grid
        Of each extractor's pooled maps; empty for occlusion.
    occlusions : int
        Positions of the patch along a side; 0 for exact maps.
    why : str
        Why the map is not exact, or "".
    """

    model: Model
    extractors: list[features.Extractor]
    score: Score
    linear: Linear | None
    grids: list[list[Grid]]
    occlusions: int
    why: str

    @property
    def method(self) -> str:
        """Return "class activation map" or "occlusion"."""
        return EXACT if self.linear is not None else OCCLUSION

    @property
    def framing(self) -> Framing:
        """What of a radiograph the extractors see; their sizes may differ."""
        return self.extractors[0].framing

    @property
    def spec(self) -> Mapping[str, Any]:
        """Return the spec of the (first) extractor, which says how images are read."""
        return next(iter(parts_of(self.model).values()))

    def explain(self, pictures: Sequence[Picture], wanted: int | None) -> list[Explanation]:
        """Map the evidence in radiographs of any sizes, shapes (H, W), in [0, 1].

        The maps lie over what the extractors see of them.

        Parameters
        ----------
        wanted : int, optional
            The class to explain; default: the most probable one of each picture.
        """
        squares = [
            np.stack([images.frame(picture, extractor.framing) for picture in pictures])
            for extractor in self.extractors
        ]
        if self.linear is None:
            return [self._occluded([s[i] for s in squares], wanted) for i in range(len(pictures))]
        return self._exact(squares, self.linear, wanted)

    def _exact(
        self, squares: list[Picture], linear: Linear, wanted: int | None
    ) -> list[Explanation]:
        """Weigh the maps before pooling [Zhou et al. 2016]; an average is a sum over H W."""
        pairs = [
            extractor.with_maps(batch)
            for extractor, batch in zip(self.extractors, squares, strict=True)
        ]
        facts = self._facts(np.concatenate([rows for rows, _ in pairs], axis=1), wanted)
        maps = list(chain.from_iterable(maps for _, maps in pairs))
        weighed = _weighed(maps, linear.weights[:, [fact.explained for fact in facts]])
        grids = list(chain.from_iterable(self.grids))
        return [
            _summed(fact, linear, [values[i] for values in weighed], grids)
            for i, fact in enumerate(facts)
        ]

    def _occluded(self, squares: list[Picture], wanted: int | None) -> Explanation:
        """Cover one place after the other by the picture's mean grey [Zeiler & Fergus 2014]."""
        X = [one(square[None]) for one, square in zip(self.extractors, squares, strict=True)]
        (fact,) = self._facts(np.concatenate(X, axis=1), wanted)
        drops = []
        for batch in _batches(self.occlusions):
            rows = [
                extractor(np.stack([_covered(square, place, self.occlusions) for place in batch]))
                for extractor, square in zip(self.extractors, squares, strict=True)
            ]
            left = self.score.of(np.concatenate(rows, axis=1).astype(np.float64))[:, fact.explained]
            drops.append(fact.score - left)
        values = np.concatenate(drops).reshape(self.occlusions, self.occlusions)
        side = squares[0].shape[0]
        step = side / (self.occlusions + 1)
        maps = [EvidenceMap(values, Grid(side, self.occlusions, step - 0.5, step))]
        return Explanation(**vars(fact), intercept=None, residual=None, maps=maps)

    def _facts(self, X: npt.NDArray[np.float32], wanted: int | None) -> list[_Facts]:
        probability, score = self.model.predict_proba(X), self.score.of(X.astype(np.float64))
        predicted = called(self.model, probability)
        top = [int(k) for k in probability.argmax(axis=1)]
        explained = top if wanted is None else [wanted] * len(X)
        return [
            _Facts(predicted[i], k, float(score[i, k]), float(probability[i, k]))
            for i, k in enumerate(explained)
        ]


def open_mapper(
    model: Model, *, budget: int, weights: Sequence[str] = (), device: str = "auto"
) -> Mapper:
    """Open a model's extractors and decide how its evidence can be mapped.

    Parameters
    ----------
    budget : int
        Occlusions of an image at most, where the map cannot be exact.
    weights, device
        As for `extract`.

    Raises
    ------
    InputError
        A budget below 4, a head that does not look at the image, or extractors that see different
        parts of it.
    WeightsError, SpecMismatchError, FileFormatError
        An extractor that cannot be opened again.
    """
    if budget < FEWEST_OCCLUSIONS:
        raise InputError(f"--budget {budget}: at least {FEWEST_OCCLUSIONS} occlusions are needed")
    score = score_of(model.estimator)
    extractors = list(reopen_all(parts_of(model), weights=weights, device=device).values())
    if len({extractor.framing.crop for extractor in extractors}) > 1:
        raise InputError(
            "the model's extractors see different parts of an image, so that their maps do not lie"
            " over one another: explain a model of one of them"
        )
    grids = [extractor.grids() for extractor in extractors]
    placed = [of_one for of_one in grids if of_one is not None]
    linear = collapse(model.estimator, model.dimension) if len(placed) == len(grids) else None
    if linear is not None:
        return Mapper(model, extractors, score, linear, placed, 0, "")
    pooling = " and ".join(str(extractor.spec["pooling"]) for extractor in extractors)
    why = (
        f"head '{model.head}' is not linear"
        if len(placed) == len(grids)
        else f"pooling '{pooling}' of {model.extractor} is no average over places"
    )
    return Mapper(model, extractors, score, None, [], math.isqrt(budget), why)


def _weighed(maps: Sequence[Picture], weights: Matrix) -> list[Matrix]:
    """Weigh the channels of maps (B, C, H, W) by weights (D, B), D being all channels."""
    weighed, first = [], 0
    for one in maps:
        _, channels, height, width = one.shape
        part = weights[first : first + channels] / (height * width)
        weighed.append(np.einsum("bchw,cb->bhw", one.astype(np.float64), part))
        first += channels
    return weighed


def _summed(
    fact: _Facts, linear: Linear, weighed: Sequence[Matrix], grids: Sequence[Grid]
) -> Explanation:
    """Spread evenly over the places what belongs to none: the steps' shift, and the rounding.

    The embedding is an average rounded to float32; what that took is the residual.
    """
    intercept, shift = linear.intercept[fact.explained], linear.shift[fact.explained]
    total = sum(float(values.sum()) for values in weighed) + intercept
    share = (fact.score - total) / len(weighed)
    return Explanation(
        **vars(fact),
        intercept=float(intercept),
        residual=abs(float(fact.score - shift - total)),
        maps=[
            EvidenceMap(values + share / values.size, grid)
            for values, grid in zip(weighed, grids, strict=True)
        ],
    )


def _covered(square: Picture, place: tuple[int, int], positions: int) -> Picture:
    """Cover a patch two steps wide, so that neighbouring patches overlap by half."""
    covered = square.copy()
    low, high = (
        [round((n + more) * len(square) / (positions + 1)) for n in place] for more in (0, 2)
    )
    covered[low[0] : high[0], low[1] : high[1]] = square.mean()
    return covered


def _batches(positions: int) -> Iterator[list[tuple[int, int]]]:
    places = [(row, column) for row in range(positions) for column in range(positions)]
    return (places[i : i + BATCH] for i in range(0, len(places), BATCH))
