"""Who was predicted what, out of fold: what every table of a run is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.statistics.metrics import Metric
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.evaluation.statistics.patient_influence import TestPatients
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Study
from cxrfeat.evaluation.validation.cross_validation import Outcomes
from cxrfeat.evaluation.validation.retrained import Retrained
from cxrfeat.evaluation.validation.tuning import gains

RetrainedFolds = Sequence[Retrained | None]


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold predictions with the truth and the patients.

    Attributes
    ----------
    study, folds, outcomes
        What was predicted for whom.
    metric : Metric
        The primary one.
    resamples : PatientResamples
        The same draws for every extractor, so that differences are paired.
    patients : TestPatients
        Those of the test rows, for intervals.
    retrained : dict
        From `CrossValidated`, for the training patients' part of the intervals.
    """

    study: Study
    folds: Sequence[Fold]
    outcomes: Outcomes
    metric: Metric
    resamples: PatientResamples
    patients: TestPatients
    retrained: Mapping[tuple[str, str], RetrainedFolds] = field(default_factory=dict)

    @property
    def exclusive(self) -> bool:
        """Whether exactly one class holds per image."""
        return self.study.kind == "multiclass"

    @property
    def sign(self) -> float:
        """1 where larger is better in the primary metric, else -1."""
        return 1.0 if self.metric.larger_is_better else -1.0

    @cached_property
    def truth(self) -> Matrix:
        """Ones and zeros, NaN where unknown, shape (N, K)."""
        return self.study.labels.astype(np.float64)

    @cached_property
    def gained(self) -> dict[str, list[dict[str, float]]]:
        """Per extractor and fold, the gain of each head that learns."""
        return {
            extractor.name: [
                gains(
                    {
                        head: of_folds[number]
                        for (name, head), of_folds in self.outcomes.items()
                        if name == extractor.name
                    }
                )
                for number in range(len(self.folds))
            ]
            for extractor in self.study.extractors
        }

    @cached_property
    def rarer_side(self) -> list[int]:
        """Tested patients of the rarer side of each class: what an interval has to go by."""
        return [self.patients.of_rarer_side(column) for column in self.truth.T]

    @cached_property
    def first_repeat(self) -> list[int]:
        """Numbers of the folds of the first repeat, in which every image is tested once."""
        return [number for number, fold in enumerate(self.folds) if fold.repeat == 0]

    def control(self, extractor: str) -> bool:
        """Whether an extractor's weights are random."""
        return next(one.control for one in self.study.extractors if one.name == extractor)
