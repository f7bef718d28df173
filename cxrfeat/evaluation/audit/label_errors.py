"""Images whose label the others contradict: candidates for wrong labels, and how many are chance.

Confident learning (Northcutt et al. 2021): out of fold, patients kept together, an image is flagged
where another class has at least the probability that images of that class have on average, and more
than its own has, if that is as high. The averages take care of a head that is too sure or too shy
of a whole class. Of two pretrained extractors both must flag the same class.

Flagged are hard images as well as wrong labels. How many right labels would be flagged is taken
from the images themselves: within a class the log-odds of another class are near a normal
distribution (exactly so where embeddings are, and the head is linear). Its middle is the median,
its spread on the side of the other class is told by the quantile 0.8; both are hardly moved by a
few wrong labels. They say how many lie beyond the limit by chance; the draws behind the p-value
include how well the two quantiles are known.

That is wrong where a class has a part that looks like another class though it is labelled rightly.
No method on labels and embeddings can tell that from wrong labels: a person has to look.

Flipped labels that are planted say how many wrong labels are found, and so how many there can be at
most. For labels of which any number may hold, each label is a question of its own (Holm).

References
----------
Northcutt CG, Jiang L, Chuang IL. Confident learning: estimating uncertainty in dataset labels.
Journal of Artificial Intelligence Research 2021;70:1373-1411.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers, Vector
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
FEWEST = 20
"""Images of a class below which nothing is said of the shape of its log-odds."""
LEVEL = 0.05
DRAWS = 4000
UPPER = 0.8
"""Quantile that tells the spread on the side of another class."""
Z_UPPER = float(stats.norm.ppf(UPPER))
SMALLEST = 1e-12
SHOWN = 100
LISTED = 10_000


@dataclass(frozen=True)
class Question:
    """Classes of which one holds: all of them, or a label and its absence.

    Attributes
    ----------
    names : list of str, length C
    rows : ndarray of int, shape (n,)
        Images with a known answer.
    given : ndarray of int, shape (n,)
        Their class.
    column : int or None
        Of the label that is asked about; None for all classes.
    """

    names: list[str]
    rows: RowNumbers
    given: RowNumbers
    column: int | None = None

    def probabilities(self, p: Matrix) -> Matrix:
        """Of the classes of this question, shape (n, C), from those of all labels."""
        if self.column is None:
            return p[self.rows]
        one = p[self.rows, self.column]
        return np.stack([1 - one, one], axis=1)

    def with_labels(self, labels: Matrix32) -> Question:
        """Ask the same of other labels, known for the same images."""
        if self.column is None:
            return replace(self, given=labels[self.rows].argmax(axis=1))
        return replace(self, given=(labels[self.rows, self.column] == 1).astype(np.intp))


@dataclass(frozen=True)
class Flagged:
    """What the extractors say of the images of a question; arrays of shape (n,).

    Attributes
    ----------
    suggested : ndarray of int
        The class that both (or the only) suggest; -1 for none.
    any_suggested : ndarray of int
        That some extractor suggests.
    margin : ndarray
        Mean probability of the suggested class minus that of the given one.
    expected : float
        Right labels that would be flagged, the smallest of the extractors.
    drawn : ndarray, shape (DRAWS,)
        How many are flagged by chance.
    p : float
        That so many are flagged by chance.
    rows : list
        Per pair of classes: given, suggested, flagged, expected.
    """

    suggested: RowNumbers
    any_suggested: RowNumbers
    margin: Vector
    expected: float
    drawn: Vector
    p: float
    rows: list[list[str | float | int | None]]

    @property
    def count(self) -> int:
        """How many are flagged by all."""
        return int((self.suggested >= 0).sum())


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


def suggestions(p: Matrix, given: RowNumbers) -> tuple[RowNumbers, Vector]:
    """Which other class each image confidently is, -1 for none; and the limits of the classes.

    Parameters
    ----------
    p : ndarray, shape (n, C)
    given : ndarray of int, shape (n,)

    Returns
    -------
    suggested : ndarray of int, shape (n,)
    limits : ndarray, shape (C,)
        Mean probability of each class among its images; infinite for a class without any.
    """
    limits = np.full(p.shape[1], np.inf)
    for k in range(p.shape[1]):
        if (given == k).any():
            limits[k] = p[given == k, k].mean()
    confident = np.where(p >= limits, p, -1.0)
    best = confident.argmax(axis=1)
    wrong = (confident.max(axis=1) >= 0) & (best != given)
    return np.where(wrong, best, -1), limits


def flag(
    question: Question, probabilities: Sequence[Matrix], random: np.random.Generator
) -> Flagged:
    """Flag images that all extractors contradict, and say how many are so by chance."""
    given, classes = question.given, range(len(question.names))
    each = [suggestions(p, given) for p in probabilities]
    agreed = each[0][0].copy()
    for suggested, _ in each[1:]:
        agreed[suggested != agreed] = -1
    any_ = np.max([suggested for suggested, _ in each], axis=0)
    mean = np.mean(probabilities, axis=0)
    every = np.arange(len(given))
    margin = mean[every, any_] - mean[every, given]
    drawn = np.zeros((len(probabilities), DRAWS))
    expected = np.zeros(len(probabilities))
    rows: list[list[str | float | int | None]] = []
    judged = 0
    for k in classes:
        of_class = np.flatnonzero(given == k)
        if len(of_class) < FEWEST:  # its shape is not known, so that it is not judged
            agreed[of_class] = -1
            continue
        for j in classes:
            if j == k or not (given == j).any():
                continue
            by_chance = []
            for place, (p, (_, limits)) in enumerate(zip(probabilities, each, strict=True)):
                odds, limit = _log_odds(p[of_class, j]), float(_log_odds(limits[j]))
                shape = _Shape.of(odds)
                drawn[place] += shape.draws(limit, random)
                by_chance.append(shape.count * shape.beyond(limit))
            judged += 1
            expected += by_chance
            count = int((agreed[of_class] == j).sum())
            rows.append([question.names[k], question.names[j], count, float(min(by_chance))])
    count = int((agreed >= 0).sum())
    p_value = float("nan")
    if judged:
        p_value = float((1 + (drawn >= count).sum(axis=1).max()) / (1 + DRAWS))
    return Flagged(agreed, any_, margin, float(expected.min()), drawn.max(axis=0), p_value, rows)


def _log_odds(p: npt.ArrayLike) -> Vector:
    kept = np.clip(np.asarray(p, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(kept) - np.log1p(-kept))


@dataclass(frozen=True)
class _Shape:
    """The upper half of a normal distribution, by two quantiles of so many images."""

    middle: float
    spread: float
    count: int

    @classmethod
    def of(cls, values: Vector) -> _Shape:
        middle, high = np.quantile(values, [0.5, UPPER])
        return cls(float(middle), max(float(high - middle) / Z_UPPER, 1e-9), len(values))

    def beyond(self, limit: float) -> float:
        """Share beyond a limit."""
        return float(stats.norm.sf((limit - self.middle) / self.spread))

    def draws(self, limit: float, random: np.random.Generator) -> npt.NDArray[np.intp]:
        """How many lie beyond a limit, with other quantiles in each draw.

        Quantiles of normal data are nearly normal, and so is how they move together.
        """
        density = stats.norm.pdf([0.0, Z_UPPER])
        shares = np.array([[0.25, 0.5 * (1 - UPPER)], [0.5 * (1 - UPPER), UPPER * (1 - UPPER)]])
        covariance = shares / np.outer(density, density) / self.count
        off = random.multivariate_normal([0.0, 0.0], covariance, size=DRAWS) * self.spread
        middle = self.middle + off[:, 0]
        spread = self.spread + (off[:, 1] - off[:, 0]) / Z_UPPER
        away = (limit - middle) / np.maximum(spread, 0.1 * self.spread)
        return np.asarray(random.binomial(self.count, stats.norm.sf(away)))


def flipped(
    labels: Matrix32, exclusive: bool, rate: float, random: np.random.Generator
) -> Matrix32:
    """Flip labels: to another class by lot, or of each label as many from 1 to 0 as back."""
    new = labels.copy()
    if exclusive:
        rows = random.permutation(len(labels))[: round(rate * len(labels))]
        given = labels[rows].argmax(axis=1)
        other = (given + random.integers(1, labels.shape[1], len(rows))) % labels.shape[1]
        new[rows] = 0
        new[rows, other] = 1
    else:
        for k in range(labels.shape[1]):
            positive, negative = (np.flatnonzero(labels[:, k] == value) for value in (1, 0))
            count = min(round(rate * len(positive)) or 1, len(negative), len(positive))
            for rows in (positive, negative):
                chosen = random.permutation(rows)[:count]
                new[chosen, k] = 1 - labels[chosen, k]
    return new


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
