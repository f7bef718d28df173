"""What is audited, and how anything at all is scored on its folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.defaults import THRESHOLD
from cxrfeat.errors import UnknownNameError
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

    @property
    def plan(self) -> Plan:
        """What is done on every fold alike."""
        return Plan([self.head], self.metric, self.exclusive, self.seed, threshold=THRESHOLD)

    def extractor(self, name: str) -> Extractor:
        """One of the study's extractors.

        Raises
        ------
        UnknownNameError
        """
        known = {one.name: one for one in self.study.extractors}
        if name not in known:
            raise UnknownNameError("extractor", name, known)
        return known[name]

    def of(self, rows: RowNumbers, extractors: Sequence[str] | None = None) -> Subject:
        """Ask the same of some of the images, on what is left of the folds.

        Parameters
        ----------
        rows : ndarray of int
            In rising order.
        extractors : list of str or None
            The only ones that are kept; all when left out.
        """
        study, design = self.study, self.design
        if len(rows) < len(study):
            place = np.full(len(study), -1)
            place[rows] = np.arange(len(rows))
            folds = [
                replace(fold, train=train[train >= 0], test=test[test >= 0])
                for fold in design.folds
                for train, test in [(place[fold.train], place[fold.test])]
            ]
            design = replace(
                design,
                folds=[fold for fold in folds if len(fold.train) and len(fold.test)],
                groups=None if design.groups is None else design.groups[rows],
                patients=None if design.patients is None else design.patients[rows],
            )
        some = len(rows) < len(study)
        kept = [self.extractor(name) for name in extractors or [e.name for e in study.extractors]]
        study = replace(
            study,
            ids=[study.ids[row] for row in rows],
            labels=study.labels[rows],
            sha256=[study.sha256[row] for row in rows],
            meta={name: column[rows] for name, column in study.meta.items()},
            extractors=[replace(one, X=one.X[rows]) if some else one for one in kept],
        )
        return replace(self, study=study, design=design)


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
    plan = replace(subject.plan, exclusive=asked.kind == "multiclass")
    share = share_out(asked.extractors, design.folds, len(asked.classes), plan, subject.jobs)
    run = in_threads(share.at_once, share.threads)
    validated = cross_validate(
        asked.extractors, asked.labels.astype(np.float64), design.groups, design.folds, plan,
        run=run, share=share, patients=np.array(asked.ids),
    )  # fmt: skip
    return ComparedStudy(asked, design, validated, plan, run=run)
