"""A study after cross-validation: everything that can be asked of it, computed when it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cxrfeat.evaluation.outcome import findings
from cxrfeat.evaluation.outcome.class_reports import report_heads, without_slope
from cxrfeat.evaluation.outcome.copies import Copies, KeptSearches, look_for_copies
from cxrfeat.evaluation.outcome.extractor_scores import (
    chosen_heads,
    compare_extractors,
    nested_means,
    score_extractors,
    why_winner,
    winner,
)
from cxrfeat.evaluation.outcome.fold_scores import rank
from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold
from cxrfeat.evaluation.outcome.predictions_table import predictions_csv, predictions_name
from cxrfeat.evaluation.outcome.score_intervals import intervals_over
from cxrfeat.evaluation.statistics.extractor_comparison import Evidence
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.evaluation.statistics.patient_influence import TestPatients
from cxrfeat.evaluation.study.design import Design
from cxrfeat.evaluation.study.study import Study
from cxrfeat.evaluation.validation.cross_validation import CrossValidated
from cxrfeat.evaluation.validation.learning_curve import learning_curves
from cxrfeat.evaluation.validation.side_by_side import Run
from cxrfeat.evaluation.validation.tuning import Plan
from cxrfeat.results import (
    Comparison,
    ExtractorScore,
    Finding,
    HeadReport,
    LearningCurve,
    Score,
)


@dataclass(frozen=True)
class ComparedStudy:
    """What the folds say: the folds have been worked on, the rest is computed once, when asked for.

    Nothing here changes afterwards; the same inputs give the same answers in whatever order they
    are asked for.

    Attributes
    ----------
    study, design, validated, plan
        What was compared, on which folds, with what outcome.
    rope : float
        Half-width of the region of practical equivalence, in units of the primary metric.
    prevalence : float or None
        For PPV and NPV in another population.
    run : Run or None
        Where scores and reports are worked on.
    fitting : Run or None
        Where heads are fitted again, for learning curves.
    copies : Copies or None
        Copies of images among all of them, where they have been looked for.
    kept : KeptSearches or None
        Where searches for near copies are kept, to be found by a later run.
    """

    study: Study
    design: Design
    validated: CrossValidated
    plan: Plan
    rope: float = 0.01
    prevalence: float | None = None
    run: Run | None = None
    fitting: Run | None = None
    copies: Copies | None = None
    kept: KeptSearches | None = None

    @cached_property
    def out_of_fold(self) -> OutOfFold:
        """Predictions, truth and patients: what all below is computed from."""
        folds, patients, seed = self.design.folds, self.design.patients, self.plan.seed
        return OutOfFold(
            self.study,
            folds,
            self.validated.outcomes,
            self.plan.metric,
            PatientResamples(len(self.study), patients, seed=seed),
            TestPatients(folds, patients, seed=seed),
            self.validated.retrained,
        )

    @cached_property
    def ranking(self) -> list[Score]:
        """Every extractor with every head, the best mean of the primary metric first."""
        return rank(self.out_of_fold, self.run)

    @cached_property
    def heads(self) -> dict[str, str]:
        """Of each extractor the head that its training rows chose, the best extractor first."""
        return chosen_heads(self.out_of_fold)

    @cached_property
    def winner(self) -> Score:
        """What is called best, by the one rule of `extractor_scores.winner`."""
        best = winner(self.out_of_fold, self.heads)
        return next(score for score in self.ranking if (score.extractor, score.head) == best)

    @cached_property
    def why_winner(self) -> str:
        """Why that one, in words."""
        return why_winner(self.out_of_fold, self.heads)

    @cached_property
    def winner_nested(self) -> dict[str, float]:
        """Mean of every metric for the winning extractor, its head chosen inside each fold."""
        return nested_means(self.out_of_fold, self.winner.extractor)

    @cached_property
    def reports(self) -> list[HeadReport]:
        """The chosen head of each extractor, class by class; extractors as in `extractors`."""
        return report_heads(self.out_of_fold, self.ranking, self.heads, self.prevalence, self.run)

    @property
    def extractors(self) -> list[ExtractorScore]:
        """Extractors with heads chosen inside the folds, the best first."""
        return self._extractors[0]

    @cached_property
    def _extractors(self) -> tuple[list[ExtractorScore], dict[str, Evidence]]:
        return score_extractors(self.out_of_fold, self.run)

    @property
    def evidence(self) -> dict[str, Evidence]:
        """By extractor, what compares it with those of another study on the same folds."""
        return self._extractors[1]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every pair of extractors, with an interval of the difference."""
        scores, evidence = self._extractors
        return compare_extractors(
            self.out_of_fold, scores, evidence, self.design.patients, self.rope
        )

    @cached_property
    def permuted(self) -> dict[str, float]:
        """Per extractor the mean AUROC on shuffled labels; NaN where it cannot be tested."""
        return {
            one.name: float(np.mean(self.validated.permuted.get(one.name, np.nan)))
            for one in self.study.extractors
        }

    @cached_property
    def learning_curves(self) -> list[LearningCurve]:
        """The chosen head of each extractor on fewer patients; as long as the folds take."""
        by_name = {head.name: head for head in self.plan.heads}
        best = {name: by_name[head] for name, head in self.heads.items()}
        return learning_curves(
            self.study, self.design.groups, self.design.folds, best, self.plan, self.fitting
        )

    @cached_property
    def _near_copies(self) -> tuple[list[Finding], list[str]]:
        study, design = self.study, self.design
        copies = self.copies
        if copies is None:
            used = np.concatenate(
                [rows for fold in design.folds for rows in (fold.train, fold.test)]
            )
            copies = look_for_copies(
                study, np.unique(used), design.patients, self.plan.seed, self.kept
            )
        among = design.groups if design.patients is None else design.patients
        return findings.near_duplicates_across_folds(
            study, design.folds, copies, design.patients, among
        )

    @cached_property
    def findings(self) -> list[Finding]:
        """What a reader of the scores has to know."""
        study, design, metric = self.study, self.design, self.plan.metric
        return [
            *design.findings,
            *self._near_copies[0],
            *findings.patients_across_folds(design.folds, design.patients),
            *findings.duplicates_across_folds(study, design.folds),
            *findings.small_classes(study, design.folds, design.groups, design.unit),
            *findings.not_learned(study, design.folds),
            *findings.shuffled_labels_predicted(self.validated.permuted),
            *findings.control_not_beaten(self.extractors, self.comparisons, metric),
            *findings.no_better_than_dummy(self.ranking, design.folds, metric),
            *findings.winner_flattered(self.ranking, self.winner, self.extractors, metric),
            *findings.winner_useless(
                self.winner, self.ranking, self.extractors, self.out_of_fold, metric
            ),
        ]

    @property
    def search_notes(self) -> list[str]:
        """How near copies were looked for, and how far."""
        return self._near_copies[1]

    @cached_property
    def report_notes(self) -> list[str]:
        """What the reports leave out."""
        return without_slope(self.reports)

    @cached_property
    def intervals_over(self) -> str:
        """What the intervals are over, in words."""
        return intervals_over(self.out_of_fold)

    @property
    def predictions_name(self) -> str:
        """What the table of all predictions is called: packed where it is large."""
        return predictions_name(self.out_of_fold)

    def predictions(self) -> Iterator[str]:
        """Text of the table of all predictions, block by block."""
        return predictions_csv(self.out_of_fold)
