"""What is audited, and how anything at all is scored on its folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cxrfeat.arrays import Matrix32
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.outcome.compared_study import ComparedStudy
from cxrfeat.evaluation.statistics.metrics import Metric
from cxrfeat.evaluation.study.design import Design
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.evaluation.validation.cost import share_out
from cxrfeat.evaluation.validation.cross_validation import cross_validate
from cxrfeat.evaluation.validation.side_by_side import in_threads
from cxrfeat.evaluation.validation.tuning import Plan


@dataclass(frozen=True)
class Subject:
    """A study with its folds, and the one head by which every question is asked.

    Attributes
    ----------
    study : Study
        Its columns (`Study.meta`) are the attributes that can be asked about.
    design : Design
        Folds and patients, the same for every question.
    head : Head
    metric : Metric
        The primary one.
    seed : int
    jobs : int or None
        Tasks at a time; one per core when left out.
    """

    study: Study
    design: Design
    head: Head
    metric: Metric
    seed: int = 0
    jobs: int | None = None

    @property
    def exclusive(self) -> bool:
        """Whether exactly one class holds per image."""
        return self.study.kind == "multiclass"


def score(
    subject: Subject, matrices: Mapping[str, Matrix32], study: Study | None = None
) -> ComparedStudy:
    """Score matrices with the head and folds of a subject, side by side.

    Parameters
    ----------
    matrices : mapping of str to ndarray of float32, shape (N, D)
        Of the images of the subject, in its order.
    study : Study or None
        The same images with other labels or columns; those of the subject when left out.

    Returns
    -------
    ComparedStudy
        `ComparedStudy.extractors` has the scores with intervals, `ComparedStudy.comparisons` every
        pair, `ComparedStudy.out_of_fold` the predictions.
    """
    asked = subject.study if study is None else study
    asked = replace(
        asked,
        extractors=[
            Extractor(name, np.ascontiguousarray(X, dtype=np.float32), False, {}, name)
            for name, X in matrices.items()
        ],
    )
    design = subject.design
    plan = Plan([subject.head], subject.metric, asked.kind == "multiclass", subject.seed)
    share = share_out(asked.extractors, design.folds, len(asked.classes), plan, subject.jobs)
    run = in_threads(share.at_once, share.threads)
    validated = cross_validate(
        asked.extractors, asked.labels.astype(np.float64), design.groups, design.folds, plan,
        run=run, share=share, patients=np.array(asked.ids),
    )  # fmt: skip
    return ComparedStudy(asked, design, validated, plan, run=run)
