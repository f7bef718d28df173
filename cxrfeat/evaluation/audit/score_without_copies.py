"""The score again, with copies on one side only.

In two ways: on the same folds, learning from no image that is a copy of a tested one (the same
images are tested, so that the difference is paired); and on folds that are drawn anew with the same
seed, copies counted as one patient (not paired: both intervals are given).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cxrfeat.errors import InputError
from cxrfeat.evaluation.audit.copies import components
from cxrfeat.evaluation.audit.duplicate_pairs import Pairs, looked_at
from cxrfeat.evaluation.audit.nearest import numbered
from cxrfeat.evaluation.audit.subject import Subject, score
from cxrfeat.evaluation.outcome.extractor_scores import score_extractors
from cxrfeat.evaluation.statistics.extractor_comparison import compare
from cxrfeat.evaluation.study import folds as folding
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.results import Comparison, ExtractorScore
from cxrfeat.results.audit import Check, Figure, Section, Verdict

KEPT = 0.5
"""Of the images that a fold learns from, the share that must be left to take the score again."""


def score_without_copies(subject: Subject, found: Pairs) -> Check:
    """Ask what the score of the extractor that copies are looked for with owes to them."""
    code, question = "score-without-copies", "Does the score fall when no copy is learned from?"
    design = subject.design
    apart = [
        replace(fold, train=fold.train[~found.copies_of(fold.test)[fold.train]])
        for fold in design.folds
    ]
    if all(len(a.train) == len(b.train) for a, b in zip(apart, design.folds, strict=True)):
        return Check(
            code, Section.DUPLICATES, question, Verdict.NOT_FOUND,
            "No copy of a tested image was learned from, so the score owes nothing to copies.",
            seen="pairs that the searches above found",
        )  # fmt: skip
    if any(len(a.train) < KEPT * len(b.train) for a, b in zip(apart, design.folds, strict=True)):
        return Check(
            code, Section.DUPLICATES, question, Verdict.UNTESTED,
            "Without copies too few images are left to learn from: keep one of each.",
        )  # fmt: skip
    pair, scores = _paired(subject, apart)
    as_is, without = scores
    metric = subject.metric
    gap = pair.difference
    found_it = pair.interval[0] > 0
    moved = f"a {'fall' if gap > 0 else 'rise'} of {abs(gap):.3f}"
    answer = (
        f"{metric.title} {as_is.mean:.3f} as it is, {without.mean:.3f} when no copy of a tested"
        f" image is learned from: {moved if abs(gap) >= 0.0005 else 'no fall'} (95 % interval of"
        f" the fall {pair.interval[0]:.3f} to {pair.interval[1]:.3f}, paired: the same tested"
        " images)."
    )
    figures = [
        Figure("fall of the score", gap, pair.interval),
        Figure(f"{metric.title} as it is", as_is.mean, as_is.interval),
        Figure(f"{metric.title} without copies of tested images", without.mean, without.interval),
    ]
    anew = _drawn_anew(subject, found)
    if anew is not None:
        figures.append(
            Figure(f"{metric.title} on new folds, copies together", anew.mean, anew.interval)
        )
        answer += (
            f" On folds drawn anew with copies together it is {anew.mean:.3f} (interval"
            f" {anew.interval[0]:.3f} to {anew.interval[1]:.3f}; not paired)."
        )
    return Check(
        code, Section.DUPLICATES, question,
        Verdict.FOUND if found_it else Verdict.NOT_FOUND,
        answer,
        figures,
        seen=f"a fall of {pair.detectable:.3f} with 80 % probability",
        detectable=pair.detectable,
        remedy="report the score without copies" if found_it else "",
    )  # fmt: skip


def _paired(subject: Subject, apart: list[Fold]) -> tuple[Comparison, list[ExtractorScore]]:
    """Compare the folds as they are with those that learn from less, on the same tested images."""
    extractor = looked_at(subject)
    scores, evidence = [], {}
    for name, folds in (("as it is", subject.design.folds), ("without copies", apart)):
        of = replace(subject, design=replace(subject.design, folds=folds))
        (one,), proof = score_extractors(score(of, {name: extractor.X}).out_of_fold)
        scores.append(one)
        evidence[name] = proof[name]
    folds = subject.design.folds
    images = len(np.unique(np.concatenate([fold.test for fold in folds])))
    (pair,) = compare(scores, evidence, folds, subject.metric, rope=0.01, images=images)
    return pair, scores


def _drawn_anew(subject: Subject, found: Pairs) -> ExtractorScore | None:
    """Score on new folds with copies as one patient; None where folds were not drawn by lot."""
    study, design, extractor = subject.study, subject.design, looked_at(subject)
    cv = sum(fold.repeat == 0 for fold in design.folds)
    drawn = [fold.name for fold in design.folds if fold.repeat == 0]
    if drawn != [f"fold {number + 1}" for number in range(cv)] or cv < 2:
        return None
    patients = numbered(design.groups, len(study))
    _, first = np.unique(patients, return_index=True)
    every = np.arange(len(study))
    of_patient = np.stack([every, first[patients]], axis=1)
    same = np.stack([every, found.first[found.image]], axis=1)
    near = found.first[found.near.pairs]
    joined = components(len(study), np.concatenate([of_patient, same, near]))
    groups = joined.astype(np.str_)
    strata = study.y if subject.exclusive else folding.label_strata(study.labels, groups, cv)
    try:
        folds = folding.cross_validation(
            strata, groups, cv=cv, repeats=1 + max(fold.repeat for fold in design.folds),
            seed=subject.seed, classes=study.classes, exclusive=subject.exclusive,
        )  # fmt: skip
    except InputError:  # a class of fewer groups than folds
        return None
    of = replace(subject, design=replace(design, folds=folds, groups=groups))
    return score(of, {extractor.name: extractor.X}).extractors[0]
