"""Which images a model got wrong, and how far off it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.outcome.label_texts import label_texts
from cxrfeat.evaluation.outcome.saved_run import SavedRun
from cxrfeat.evaluation.statistics.metrics import decide


@dataclass(frozen=True)
class Answers:
    """What one extractor's head said of every image out of fold, averaged over the repeats.

    Attributes
    ----------
    probability : ndarray, shape (N, K)
        NaN where no fold that could learn the label tested the image.
    predicted : list of str
        The class, or the labels joined by a bar; "" where not tested. Of several repeats the mean
        probability is compared with the mean threshold.
    agreement : ndarray, shape (N,)
        Probability of the true class; for multi-label labels that of the known label it was most
        wrong about. 1 is perfect, NaN where not tested or unknown.
    wrong : ndarray of bool, shape (N,)
        A known label was decided wrongly.
    """

    probability: Matrix
    predicted: list[str]
    agreement: Matrix
    wrong: npt.NDArray[np.bool_]


def answers(run: SavedRun, extractor: str, head: str) -> Answers:
    """Collect the out-of-fold answers of one extractor with one head."""
    total, above, times = (np.zeros_like(run.truth) for _ in range(3))
    pair = extractor, head
    for fold, p, cuts in zip(run.folds, run.probabilities[pair], run.cuts[pair], strict=True):
        # A label that a fold could not learn has no probability there.
        total[fold.test] += np.nan_to_num(p)
        above[fold.test] += np.where(np.isfinite(p), cuts, 0.0)
        times[fold.test] += np.isfinite(p)
    p = np.divide(total, times, out=np.full_like(total, np.nan), where=times > 0)
    tested = np.asarray(np.isfinite(p).any(axis=1))
    # Sums, so that the only repeat of a run is compared to the bit.
    decided = decide(total, run.exclusive, above)
    known = np.isfinite(run.truth) & np.isfinite(p)
    of_truth = np.where(known, np.where(run.truth == 1, p, 1 - p), np.inf)
    if run.exclusive:
        of_truth = np.where(run.truth == 1, p, np.inf)
    agreement = of_truth.min(axis=1)
    return Answers(
        probability=p,
        predicted=label_names(run, decided, tested),
        agreement=np.where(np.isfinite(agreement), agreement, np.nan),
        wrong=np.asarray((known & (decided != (run.truth == 1))).any(axis=1)),
    )


def label_names(
    run: SavedRun, held: npt.NDArray[np.bool_], tested: npt.NDArray[np.bool_]
) -> list[str]:
    """Write labels as ``predictions.csv`` does, "none" where no label of several holds.

    Images that are not tested have "".
    """
    texts = label_texts(run.results["classes"], held)
    return [text or "none" if one else "" for text, one in zip(texts, tested, strict=True)]


def hardest(agreements: list[Matrix], count: int) -> list[int]:
    """Rows with the lowest agreement, on the average of several extractors, hardest first."""
    mean = np.mean(agreements, axis=0)
    order = np.argsort(mean, kind="stable")
    return order[np.isfinite(mean[order])][:count].tolist()


def confidently_wrong(of: Answers, count: int) -> list[int]:
    """Rows decided wrongly with the most certainty, the most certain first."""
    order = np.argsort(of.agreement, kind="stable")
    return order[of.wrong[order]][:count].tolist()
