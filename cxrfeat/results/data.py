"""What `cxrfeat fit` found, as plain data that can be saved and shown again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cxrfeat.notebook import Rows, Shown

Interval = tuple[float, float]
OVER_TESTED = "over test patients, with the models as they are"
"""What intervals are over where one division of the images has fewer than three folds."""
OVER_BOTH = "over test and training patients"
FORMAT, FORMAT_VERSION = "cxrfeat-results", 1


def intervals_over(results: Mapping[str, Any]) -> str:
    """Say what the intervals of a run are over.

    Runs of before ``results.json`` said so drew test patients anew, or images where no patients
    were known.
    """
    words = results.get("intervals")
    return str(words) if words else over(OVER_TESTED, patients=bool(results["patients"]))


def over(words: str, *, patients: bool) -> str:
    """Name images where patients are not known."""
    return words if patients else words.replace("patients", "images")


@dataclass(frozen=True, repr=False)
class Score(Shown):
    """One extractor with one head, over the folds.

    Attributes
    ----------
    control : bool
        The extractor's weights are random: a score of the architecture alone.
    mean, sd : dict of str to float
        Per metric, over the folds; the spread is NaN for a single fold.
    interval : tuple of float
        95 % of the primary metric; `FitResult.intervals` says over what.
    folds : list of dict
        Per fold: ``name``, ``repeat``, ``train`` and ``test`` (images), ``tuned`` (one entry, or
        one per label: the ``setting`` chosen inside the training rows, every setting ``tried``
        with its inner score), ``gain`` (inner score of the chosen one), ``thresholds`` (the
        probability above which each label is called; empty for multi-class), ``metrics``.
    """

    extractor: str
    head: str
    control: bool
    mean: dict[str, float]
    sd: dict[str, float]
    interval: Interval
    folds: list[dict[str, Any]]


@dataclass(frozen=True, repr=False)
class ClassReport(Shown):
    """One class of one extractor's best head, against all others.

    Attributes
    ----------
    support, known : int
        Images of the class, and images on which it is known; of the first repeat.
    prevalence : float
        Their ratio, the floor of `auprc`.
    auroc, auprc : float
        Means over the folds.
    precision, recall, f1, specificity, npv : float
        Of the decisions on all out-of-fold images; precision is the PPV, recall the sensitivity.
    sensitivity_at, specificity_at : float
        With a threshold chosen in the training rows for the wanted specificity: what came of it.
    ppv_at_prevalence, npv_at_prevalence : float
        Where the class has the share that was asked for; NaN if none was.
    reliability : list of dict
        Observed against predicted share, in ten bins.
    ece : float
        Expected calibration error of all out-of-fold images, debiased; mean over the repeats.
    calibration_slope, calibration_intercept : float
        Of a logistic recalibration of all out-of-fold images, mean over the repeats; ideal are 1
        and 0. NaN where none is finite.
    calibration_slope_interval, calibration_intercept_interval : tuple of float
        95 %, from the spread over patients.
    decision_curve : dict
        Lists ``threshold``, ``net_benefit`` and ``treat_all``; mean over the repeats.
    auroc_interval : tuple of float
        95 % of `auroc`.
    """

    name: str
    support: int
    known: int
    prevalence: float
    auroc: float
    auprc: float
    precision: float
    recall: float
    f1: float
    specificity: float
    npv: float
    sensitivity_at: float
    specificity_at: float
    ppv_at_prevalence: float
    npv_at_prevalence: float
    reliability: list[dict[str, float]]
    ece: float
    calibration_slope: float
    calibration_slope_interval: Interval
    calibration_intercept: float
    calibration_intercept_interval: Interval
    decision_curve: dict[str, list[float]]
    auroc_interval: Interval = (math.nan, math.nan)


@dataclass(frozen=True, repr=False)
class HeadReport(Shown):
    """The best head of an extractor, class by class.

    Attributes
    ----------
    intervals : dict of str to tuple of float
        95 % of every metric but ``ece``.
    confusion : list of list of int, shape (K, K)
        A row per true class, a column per predicted one, of the first repeat; empty for
        multi-label labels.
    """

    extractor: str
    head: str
    control: bool
    intervals: dict[str, Interval]
    classes: list[ClassReport]
    confusion: list[list[int]]


@dataclass(frozen=True)
class ExtractorScore:
    """An extractor in the primary metric, its head chosen inside the training rows of each fold.

    No score of the test rows took part in any choice, so that this one is not flattered.
    """

    extractor: str
    control: bool
    mean: float
    sd: float
    interval: Interval
    heads: list[str]
    values: list[float]


@dataclass(frozen=True)
class Comparison:
    """Two extractors under the primary metric, heads chosen inside the training rows.

    Attributes
    ----------
    difference : float
        First minus second, turned so that positive means the first is better.
    interval : tuple of float
        95 %; of the corrected t-test over folds, or of the t-test over the test patients of a
        single fold.
    bootstrap : tuple of float
        95 % by drawing patients anew, both extractors on the same ones.
    p, p_holm : float
        Nadeau and Bengio's corrected test (for a single fold: a t-test over its patients), and
        Holm over pairs.
    worse, same, better : float
        Probabilities, `same` within the region of practical equivalence.
    detectable : float
        The difference that would have been found with 80 % probability.
    verdict : str
        ``"better"``, ``"same"`` or ``"undecided"``.
    sentence : str
    delong, mcnemar
        Only for a fixed test set with one image per patient. DeLong's ``p_holm`` is adjusted over
        all classes and pairs of the run.
    """

    first: str
    second: str
    metric: str
    difference: float
    interval: Interval
    bootstrap: Interval
    p: float
    p_holm: float
    worse: float
    same: float
    better: float
    detectable: float
    verdict: str
    sentence: str
    delong: list[dict[str, Any]] = field(default_factory=list)
    mcnemar: float | None = None


@dataclass(frozen=True, repr=False)
class LearningCurve(Shown):
    """An extractor's best head with fewer patients.

    Attributes
    ----------
    points : list of dict
        ``share``, ``images`` (mean number trained on), ``mean`` and ``sd`` of the primary metric.
    sentence : str
        Whether more patients would help.
    """

    extractor: str
    head: str
    points: list[dict[str, float]]
    sentence: str


@dataclass(frozen=True, repr=False)
class EmbeddingFile(Shown):
    """One embedding file that a run used, as it was then.

    Attributes
    ----------
    name : str
        Of the extractor.
    path : str
        Relative to the run's folder, ``/`` as separator.
    outside : bool
        Whether its images are the outside test set (``--test``).
    rows, done, pending : int
        Images that the file knows, has embeddings of, and has not come to; gone ones are in
        `rows` alone.
    failures : dict of str to int
        Images that could not be used, per code of ``docs/images.md``.
    gone : int
        Images that were not among those of the last extract; left out but for
        ``--include-gone``.
    dimension : int
    control : bool
        Whether the weights are random.
    fingerprint : str
    spec, environment : dict
        How the embeddings were made, and the process that last added to them.
    origins : list of dict
        ``rows`` that are done, and the ``environment`` they were computed in; null where that is
        not known.
    created : str
    """

    name: str
    path: str
    outside: bool
    rows: int
    done: int
    pending: int
    failures: dict[str, int]
    gone: int
    dimension: int
    control: bool
    fingerprint: str
    spec: dict[str, Any]
    environment: dict[str, Any]
    origins: list[dict[str, Any]]
    created: str


@dataclass(frozen=True, repr=False)
class JoinedTable(Shown):
    """A table that a run took labels from, joined by id (``--labels``, ``--test-labels``).

    Attributes
    ----------
    path : str
    sha256 : str
        Of the file.
    outside : bool
        Whether it is that of the outside test set.
    images : int
        Images that have a row.
    images_without_row, rows_without_image : int
    first_images, first_rows : list of str
        The first thousand of either.
    """

    path: str
    sha256: str
    outside: bool
    images: int
    images_without_row: int
    rows_without_image: int
    first_images: list[str]
    first_rows: list[str]


@dataclass(frozen=True)
class Finding:
    """Something that a reader of the scores has to know.

    Attributes
    ----------
    code : str
        Stable; the list is in ``docs/results.md``.
    message : str
        One sentence with the numbers.
    """

    code: str
    message: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class FitResult(Shown):
    """Everything `cxrfeat fit` found; ``results.json`` holds the same.

    Attributes
    ----------
    run : Path
        The folder with the files.
    options : dict
        What the run was asked for.
    ranking : list of Score
        By the primary metric, the best first.
    reports : list of HeadReport
        The best head of each extractor by held-out training images, in the order of `extractors`.
    extractors : list of ExtractorScore
        With heads chosen inside the folds, the best first.
    comparisons : list of Comparison
        Every pair of extractors.
    permuted : dict of str to float
        Per extractor, the AUROC on labels shuffled among patients: chance is 0.5. NaN where no
        patient is known to have several images, so that this cannot be tested.
    curves : list of LearningCurve
    winner : dict
        ``extractor``, ``head``, ``settings`` (one, or one per label), ``thresholds`` (per class)
        of the saved model, and in words what it was ``fitted_on`` and ``why`` it is called best:
        its extractor leads `extractors`, its head is the one that training images chose.
    notes : list of str
        What was taken for what and what was left out, in sentences.
    embeddings : list of EmbeddingFile
        The files that were used.
    decisions : str
        What is called, in words: in scores, predictions, and by the saved model.
    intervals : str
        What the 95 % intervals of scores are over, in words: `OVER_BOTH`, or `OVER_TESTED`; for
        images where patients are not known.
    tables : list of JoinedTable
        That labels came from, where they are not those of the embedding files.
    """

    run: Path
    metric: str
    images: int
    patients: int | None
    classes: list[str]
    kind: str
    folds: str
    options: dict[str, Any]
    ranking: list[Score]
    reports: list[HeadReport]
    extractors: list[ExtractorScore]
    comparisons: list[Comparison]
    permuted: dict[str, float]
    curves: list[LearningCurve]
    winner: dict[str, Any]
    findings: list[Finding]
    notes: list[str]
    seconds: float
    files: dict[str, str]
    versions: dict[str, str]
    embeddings: list[EmbeddingFile] = field(default_factory=list)
    decisions: str = ""
    intervals: str = OVER_TESTED
    tables: list[JoinedTable] = field(default_factory=list)

    def _headline(self) -> str:
        best = self.winner
        return (
            f"{self.run.name}, {len(self.extractors)} extractors by {len(self.ranking)} scores on"
            f" {self.images} images; best by {self.metric}: {best.get('extractor')} with"
            f" {best.get('head')}"
        )

    def _table(self) -> tuple[Sequence[str], Rows]:
        rows = [
            (
                f"{score.extractor} (control)" if score.control else score.extractor,
                score.head,
                *(f"{score.mean.get(name, math.nan):.3f}" for name in score.mean),
            )
            for score in self.ranking
        ]
        names = list(self.ranking[0].mean) if self.ranking else []
        return ("extractor", "head", *names), rows

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``results.json`` and ``--json``; what is undefined is null."""
        document = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        document["run"] = str(self.run)
        plain: dict[str, Any] = without_nan(document)
        return plain


def without_nan(value: Any) -> Any:
    """Plain data with null for what is undefined, as JSON can hold it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value


def json_text(document: Mapping[str, Any]) -> str:
    """Readable JSON with a line end."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
