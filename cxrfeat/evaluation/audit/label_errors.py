"""The check for wrong labels: candidates, and how many of them are chance.

`contradicted_labels` has the method. Flipped labels that are planted say how many wrong labels are
found, and so how many there can be at most. The p-values of several questions are joined (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from cxrfeat.arrays import Matrix, Matrix32, Vector
from cxrfeat.evaluation.audit.contradicted_labels import (
    FEWEST,
    Flagged,
    Question,
    flag,
    flipped,
)
from cxrfeat.evaluation.audit.duplicate_words import label_text
from cxrfeat.evaluation.audit.predictions import predict
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.registry import FLOOR, HEADS
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.statistics.paired_tests import holm
from cxrfeat.evaluation.study.study import Study
from cxrfeat.results.audit import Candidate, Check, Figure, Proof, Section, Table, Verdict

COARSE, IN_PLACE = frozenset(("knn", FLOOR)), "logreg"
"""Heads whose probabilities are shares of few images, and what is asked in their place."""

RATE = 0.05
"""Share of labels that are flipped to see how many are found."""
FLIPS, MOST_DRAWS = 15, 3
"""Flips that say enough, and draws of them at most."""
LEVEL = 0.05
SHOWN = 100
LISTED = 10_000


def label_checks(subject: Subject) -> list[Check]:
    """Look for wrong labels, and plant some to see how many are found."""
    head, subject = subject.head.name, _smooth(subject)
    matrices = _extractors(subject.study)
    found = {name: out_of_fold(subject, X) for name, X in matrices.items()}
    asked = questions(subject.study, list(found.values()))
    random = np.random.default_rng(subject.seed)
    flagged = [flag(one, [one.probabilities(p) for p in found.values()], random) for one in asked]
    question = "Are there labels that the other images contradict?"
    if not any(np.isfinite(one.p) for one in flagged):
        answer = f"No class has {FEWEST} images that were tested: too few to know what is ordinary."
        return [Check("label-errors", Section.LABELS, question, Verdict.UNTESTED, answer)]
    proof = planted_flips(subject, matrices, asked, flagged)
    check = _check(subject, question, asked, flagged, found, proof)
    if subject.head.name != head:
        said = f" Asked by {subject.head.name}: {head} gives shares of a few images."
        check = replace(check, answer=check.answer + said)
    return [check]


def _extractors(study: Study) -> dict[str, Matrix32]:
    """Take the first two pretrained extractors, or one; controls where there is nothing else."""
    alone = [one for one in study.extractors if not one.widths] or study.extractors
    pretrained = [one for one in alone if not one.control] or alone
    return {one.name: one.X for one in pretrained[:2]}


def _smooth(subject: Subject) -> Subject:
    """Ask by logistic regression where the head tells shares of a few votes.

    A share of 0 or 1 among a handful of neighbours says nothing of how far an image is from the
    other classes: most log-odds are the same, and what lies beyond the limit by chance cannot be
    told from their spread.
    """
    if subject.head.name not in COARSE:
        return subject
    return replace(subject, head=HEADS[IN_PLACE])


def out_of_fold(subject: Subject, X: Matrix32, study: Study | None = None) -> Matrix:
    """Probabilities of each image by models that did not learn from it, shape (N, K).

    Mean over the repeats; NaN where no fold tested it.
    """
    predicted = predict(subject, X, study)
    total, times = np.zeros((2, len(subject.study), len(subject.study.classes)))
    for fold, p in zip(predicted.folds, predicted.probability, strict=True):
        total[fold.test] += np.nan_to_num(p)
        times[fold.test] += np.isfinite(p)
    return np.divide(total, times, out=np.full_like(total, np.nan), where=times > 0)


def questions(study: Study, probabilities: Sequence[Matrix]) -> list[Question]:
    """List what is asked of the labels, about images that all extractors were tested on."""
    tested = np.asarray(np.isfinite(np.stack(probabilities)).all(axis=0))
    if study.kind == "multiclass":
        rows = np.flatnonzero(tested.all(axis=1))
        return [Question(list(study.classes), rows, study.y[rows].astype(np.intp))]
    found = []
    for k, name in enumerate(study.classes):
        rows = np.flatnonzero(np.isfinite(study.labels[:, k]) & tested[:, k])
        given = (study.labels[rows, k] == 1).astype(np.intp)
        found.append(Question([f"no {name}", name], rows, given, k))
    return found


def planted_flips(
    subject: Subject,
    matrices: Mapping[str, Matrix32],
    asked: Sequence[Question],
    before: Sequence[Flagged],
) -> Proof:
    """Flip labels, learn anew, and count which flips are flagged.

    Precision is among the images that were not flagged before.
    """
    study, random = subject.study, np.random.default_rng([subject.seed, 1])
    planted = hit = new = 0
    for _ in range(MOST_DRAWS):
        labels = flipped(study.labels, subject.exclusive, RATE, random)
        other = replace(study, labels=labels)
        p = [out_of_fold(subject, X, other) for X in matrices.values()]
        for question, was in zip(asked, before, strict=True):
            one = question.with_labels(labels)
            found = flag(one, [one.probabilities(of) for of in p], random).suggested >= 0
            flips = one.given != question.given
            planted += int(flips.sum())
            hit += int((found & flips).sum())
            new += int((found & (flips | (was.suggested < 0))).sum())
        if planted >= FLIPS * len(before):
            break
    precision = hit / new if new else float("nan")
    return Proof("flipped labels", RATE, planted, hit / max(planted, 1), precision)


def _check(
    subject: Subject,
    question: str,
    asked: Sequence[Question],
    flagged: Sequence[Flagged],
    probabilities: Mapping[str, Matrix],
    proof: Proof,
) -> Check:
    p = holm([one.p for one in flagged])
    least = float(np.nanmin(p))
    count = sum(one.count for one in flagged)
    expected = sum(one.expected for one in flagged)
    labels = sum(len(one.rows) for one in asked)
    verdict = Verdict.FOUND if least <= LEVEL else Verdict.NOT_FOUND
    most = float(stats.chi2.ppf(0.95, 2 * (count + 1)) / 2)
    bound = min(1.0, most / (max(proof.recall, 1e-9) * labels))
    both = " and ".join(probabilities)
    answer = (
        f"{count} of {labels} labels are contradicted by {both}, out of fold; {expected:.1f} would"
        f" be by chance if all were right (p {least:.3f}). Of flipped labels"
        f" {proof.recall:.0%} are found, so at most {bound:.1%} of the labels are wrong"
        " (one-sided 95 %), if wrong labels are like flipped ones."
    )
    needed = _needed(np.sum([one.drawn for one in flagged], axis=0))
    truth = subject.study.labels.astype(np.float64)
    figures = [
        Figure("labels that are contradicted", count),
        Figure("expected by chance", expected),
        Figure("p", least),
        Figure("share of wrong labels at most", bound),
        *(
            Figure(
                f"expected calibration error of {name}",
                METRICS["ece"](truth[known], of[known], subject.exclusive),
            )
            for name, of in probabilities.items()
            for known in [np.isfinite(of).any(axis=1)]
        ),
    ]
    share = needed / (max(proof.recall, 1e-9) * labels)
    return Check(
        "label-errors",
        Section.LABELS,
        question,
        verdict,
        answer,
        figures,
        seen=(
            f"of {proof.count} labels that were flipped {proof.recall:.0%} are flagged, and"
            f" {proof.precision:.0%} of what is flagged anew was flipped; {share:.1%} of wrong"
            " labels would be found with 80 % probability; hard images are flagged as well"
        ),
        detectable=float(needed),
        proofs=[proof],
        candidates=_candidates(subject, asked, flagged, probabilities)[:SHOWN],
        tables=_tables(subject, asked, flagged, p, probabilities),
        remedy="have a person read these images again; do not change labels by this list alone"
        if count
        else "",
    )


def _needed(drawn: Vector) -> int:
    """How many must be contradicted on average, so that it is found with 80 % probability."""
    count = int(np.quantile(drawn, 1 - LEVEL)) + 1
    mean = count
    while float(stats.poisson.sf(count - 1, mean)) < 0.8:
        mean += 1
    return mean


def _ranked(asked: Sequence[Question], flagged: Sequence[Flagged]) -> list[tuple[int, int, bool]]:
    """Question, place and whether all agree, of what is flagged at all, the surest first."""
    found = [
        (number, int(place), bool(one.suggested[place] >= 0))
        for number, one in enumerate(flagged)
        for place in np.flatnonzero(one.any_suggested >= 0)
    ]
    return sorted(found, key=lambda one: (not one[2], -flagged[one[0]].margin[one[1]]))


def _candidates(
    subject: Subject,
    asked: Sequence[Question],
    flagged: Sequence[Flagged],
    probabilities: Mapping[str, Matrix],
) -> list[Candidate]:
    found, study = [], subject.study
    for number, place, agree in _ranked(asked, flagged)[:SHOWN]:
        if not agree:
            break
        one, of = asked[number], flagged[number]
        row, suggested = int(one.rows[place]), int(of.suggested[place])
        facts = {
            "label": label_text(subject, row)
            if one.column is None
            else one.names[one.given[place]],
            "suggested": one.names[suggested],
        }
        for name, p in probabilities.items():
            facts[f"probability by {name}"] = f"{one.probabilities(p)[place, suggested]:.3f}"
        if subject.design.patients is not None:
            facts["patient"] = str(subject.design.patients[row])
        note = f"labelled {facts['label']}, looks like {facts['suggested']}"
        found.append(Candidate([study.ids[row]], float(of.margin[place]), note, facts))
    return found


def _tables(
    subject: Subject,
    asked: Sequence[Question],
    flagged: Sequence[Flagged],
    p: Sequence[float],
    probabilities: Mapping[str, Matrix],
) -> list[Table]:
    study = subject.study
    pairs: list[list[str | float | int | None]] = [
        [*row, float(p[number]) if np.isfinite(p[number]) else None]
        for number, one in enumerate(flagged)
        for row in one.rows
    ]
    by_class = Table(
        "label-errors-by-class",
        "Labels that are contradicted, by class",
        ["label", "suggested", "contradicted", "expected by chance", "p of the question"],
        pairs,
    )
    images: list[list[str | float | int | None]] = []
    for number, place, agree in _ranked(asked, flagged)[:LISTED]:
        one, of = asked[number], flagged[number]
        suggested = int(of.any_suggested[place])
        images.append(
            [
                study.ids[int(one.rows[place])], one.names[one.given[place]], one.names[suggested],
                "all" if agree else "one", float(of.margin[place]),
                *(float(one.probabilities(q)[place, suggested]) for q in probabilities.values()),
            ]
        )  # fmt: skip
    columns = ["image", "label", "suggested", "suggested by", "margin"]
    return [
        Table(
            "label-errors", "Candidates for wrong labels, the surest first",
            [*columns, *(f"probability by {name}" for name in probabilities)], images,
        ),
        by_class,
    ]  # fmt: skip
