"""What stands beside the verdict on an attribute; see `attributes`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.evaluation.audit.predictions import (
    Difference,
    PartScore,
    Predicted,
    paired,
    part_score,
    predict,
)
from cxrfeat.evaluation.audit.removal import Removed
from cxrfeat.evaluation.audit.restricted_shuffling import Left, shuffled_within
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.statistics.calling import fallback
from cxrfeat.results.audit import Figure


@dataclass(frozen=True)
class Beside:
    """Scores with and without an attribute, on the images whose level is known.

    Attributes
    ----------
    alone : PartScore
        Of the labels, by the share of each class among training images of the same level.
    readable : PartScore
        Of the attribute, by the head from the embeddings.
    guessed : float
        Of the attribute, by the share of each level among the training images.
    full : PartScore
        Of the labels, from the embeddings.
    kept_class, plain : Difference
        By how much that falls where the attribute's part is taken off, see `removal`.
    left : Left
        On labels shuffled within levels.
    """

    alone: PartScore
    readable: PartScore
    guessed: float
    full: PartScore
    kept_class: Difference
    plain: Difference
    left: Left

    def figures(self, metric: str, extractor: str, name: str) -> list[Figure]:
        """Give them by name; `metric` is its title."""
        alone, read, full, left = self.alone, self.readable, self.full, self.left
        return [
            Figure(f"{metric} of the label by {name} alone", alone.value, alone.interval),
            Figure(f"{metric} of {name} by {extractor}", read.value, read.interval),
            Figure(f"{metric} of {name} by guessing", self.guessed),
            Figure(
                f"{metric} of the label by {extractor} on these images", full.value, full.interval
            ),
            Figure(
                f"fall without {name}, given the class", self.kept_class.value,
                self.kept_class.interval,
            ),
            Figure(f"fall without {name}, plain", self.plain.value, self.plain.interval),
            Figure(f"AUROC left on labels shuffled within {name}", left.left, left.spread),
            Figure("AUROC of the same classifier on the true labels", left.true),
            Figure("AUROC of the same classifier on freely shuffled labels", left.free),
        ]  # fmt: skip


def beside(subject: Subject, code: RowNumbers, predicted: Predicted | None = None) -> Beside:
    """Work out the figures beside a verdict, on images of known level.

    Parameters
    ----------
    predicted : Predicted or None
        From the embeddings as they are, where it is there already.
    """
    study, patients, metric = subject.study, subject.design.patients, subject.metric
    X, exclusive = study.extractors[0].X, subject.exclusive
    truth = study.labels.astype(np.float64)
    columns = np.eye(int(code.max()) + 1, dtype=np.float32)[code]
    of_levels = replace(
        study, labels=columns, classes=[str(k) for k in range(columns.shape[1])], kind="multiclass"
    )

    def scored(predicted: Predicted) -> PartScore:
        return part_score(predicted, truth, patients, metric, exclusive)

    full = scored(predicted or predict(subject, X))
    of_attribute = columns.astype(np.float64)
    readable, guessed = (
        part_score(one, of_attribute, patients, metric, True)
        for one in (predict(subject, X, of_levels), _shares(subject, of_attribute, None))
    )
    return Beside(
        alone=scored(_shares(subject, truth, code)),
        readable=readable,
        guessed=guessed.value,
        full=full,
        kept_class=paired(full, scored(predict(subject, Removed(X, code, truth))), metric),
        plain=paired(full, scored(predict(subject, Removed(X, code, None))), metric),
        left=shuffled_within(subject, X, code),
    )


def _shares(subject: Subject, truth: Matrix, code: RowNumbers | None) -> Predicted:
    """Predict the share of each class among the training images, or those of the same level."""
    code = np.zeros(len(truth), dtype=np.intp) if code is None else code
    at = np.eye(int(code.max()) + 1)[code]
    probability = []
    for fold in subject.design.folds:
        of = truth[fold.train]
        known = np.isfinite(of).astype(np.float64)
        overall = np.nansum(of, axis=0) / np.maximum(known.sum(axis=0), 1)
        # One image in addition, of the overall shares, for levels that hardly any has.
        held = at[fold.train].T @ np.nan_to_num(of) + overall
        probability.append((held / (at[fold.train].T @ known + 1))[code[fold.test]])
    cuts = np.full(truth.shape[1], fallback(subject.plan.threshold))
    return Predicted(subject.design.folds, probability, [cuts] * len(probability))
