"""What a comparison costs, said before it begins: seconds, and bytes of memory.

A cost grows as the products that a head multiplies do; how long one product takes here is measured
while the work goes on (`Clock`). The constants are of one core of a common server processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cxrfeat.cores import available_cores
from cxrfeat.errors import InputError
from cxrfeat.evaluation.heads.channel_blocks import bins_of
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.principal import split_name
from cxrfeat.evaluation.heads.registry import APPROXIMATE, FLOOR
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation.label_shuffling import PERMUTATIONS
from cxrfeat.evaluation.validation.pieces import SHUFFLED
from cxrfeat.evaluation.validation.problems import INNER
from cxrfeat.evaluation.validation.side_by_side import threads_of_each
from cxrfeat.evaluation.validation.tuning import LARGE, Plan
from cxrfeat.memory import usable_memory

GIGA = 1e9
LANDMARKS = 1024
"""Width that a kernel machine has at most, in what is estimated here."""
ROUNDS = 70
"""Of boosting, until it stops, in what is estimated here."""
NEIGHBOURS = 200
"""Rows whose distance to a row is computed again, in what is estimated here."""


@dataclass(frozen=True)
class Size:
    """How large one piece is.

    Attributes
    ----------
    train, test : int
        Rows.
    dimensions : int
        D.
    labels : int
        Labels or classes.
    fits : float
        Fits to all training rows that the fits of the piece amount to: those of tuning, every
        setting in every inner fold, the final one, and those without another fold each.
    scans : float
        The same, each pass over rows counted once for all settings.
    """

    train: int
    test: int
    dimensions: int
    labels: int
    fits: float
    scans: float

    @property
    def rows(self) -> int:
        """Training and test rows."""
        return self.train + self.test

    @property
    def matrix(self) -> float:
        """Bytes of the standardised rows."""
        return 4.0 * self.rows * self.dimensions


def size_of(
    extractor: Extractor,
    fold: Fold,
    folds: Sequence[Fold],
    labels: int,
    head: Head | None,
) -> Size:
    """Measure the piece of a head, or of the control for None."""
    others = sum(one.repeat == 0 for one in folds) - 1
    again = others if fold.repeat == 0 and others >= 2 else 0
    inner = 0.0
    settings = 1
    if head is not None and head.name != FLOOR:
        used = min(INNER, head.inner) if len(fold.train) > LARGE else INNER
        inner, settings = used * (INNER - 1) / INNER, len(head.grid)
    return Size(
        len(fold.train), len(fold.test), int(extractor.X.shape[1]), labels,
        fits=inner * settings + 1 + again, scans=inner + 1 + again,
    )  # fmt: skip


def _floor(s: Size) -> float:
    """Give what every head costs: its metrics, on the test rows and on those held out."""
    return 0.01 + 2e-6 * s.rows * s.labels


def _logreg(s: Size) -> float:
    return _floor(s) + 2.0 * s.train * s.dimensions * s.labels * s.fits / GIGA


def _linear_svm(s: Size) -> float:
    return _floor(s) + 3.7 * s.train * s.dimensions * s.labels * s.fits / GIGA


def _lda(s: Size) -> float:
    gram = 0.03 * s.train * s.dimensions**2 * s.scans
    return _floor(s) + (gram + 0.03 * s.dimensions**3 * s.labels * s.fits) / GIGA


def _knn(s: Size) -> float:
    pairs = 0.0035 * s.train * s.rows * s.dimensions
    nearest = 1.5 * s.rows * min(s.train, NEIGHBOURS) * s.dimensions
    return _floor(s) + (pairs + nearest) / GIGA


def _svm_rbf(s: Size) -> float:
    kernel = 0.03 * s.rows * s.train * s.dimensions
    return _floor(s) + (kernel + 100.0 * s.train**2 * s.labels * s.fits) / GIGA


def _svm_rbf_nystroem(s: Size) -> float:
    width = min(LANDMARKS, s.train)
    kernel = 0.03 * s.rows * s.dimensions * width
    return _floor(s) + (kernel + 3.7 * s.train * width * s.labels * s.fits) / GIGA


def _xgboost(s: Size) -> float:
    quantised = 150.0 * s.rows * s.dimensions
    of_bins = 16.0 * bins_of(s.train) * s.dimensions
    tree = 150_000.0 + of_bins + 0.22 * s.train * s.dimensions
    return _floor(s) + (quantised + ROUNDS * s.scans * s.labels * tree) / GIGA


def _shuffled(s: Size) -> float:
    columns = PERMUTATIONS * s.labels
    products = 0.05 * s.rows * s.dimensions * (min(s.train, s.dimensions) + columns)
    return 0.02 + products / GIGA + 1e-7 * s.rows * columns


def _components(s: Size) -> float:
    fewer, more = sorted((s.train, s.dimensions))
    return 0.03 * (more * fewer**2 + 10.0 * fewer**3) * s.scans / GIGA


def _elsewhere(s: Size) -> float:
    return _floor(s) + 0.1 + 10.0 * s.train * s.dimensions * s.labels * s.fits / GIGA


SECONDS: Mapping[str, Callable[[Size], float]] = {
    "logreg": _logreg,
    "linear_svm": _linear_svm,
    "lda": _lda,
    "knn": _knn,
    "svm_rbf": _svm_rbf,
    APPROXIMATE: _svm_rbf_nystroem,
    "xgboost": _xgboost,
    FLOOR: _floor,
    SHUFFLED: _shuffled,
}
"""Of one core, for a piece of a head; others are taken for slow ones."""

COPIES: Mapping[str, float] = {
    "logreg": 1.0,
    "linear_svm": 1.0,
    "lda": 0.5,
    "knn": 0.5,
    "svm_rbf": 0.5,
    APPROXIMATE: 0.5,
    "xgboost": 2.0,
    FLOOR: 0.0,
    SHUFFLED: 0.0,
}
"""Copies of the standardised rows that a head makes at its peak, beside these."""


def seconds(head: str, size: Size) -> float:
    """Estimate the seconds of one core for a piece."""
    n_components, base = split_name(head)
    if not n_components:
        return SECONDS.get(head, _elsewhere)(size)
    fewer = replace(size, dimensions=min(n_components, size.dimensions))
    return _components(size) + seconds(base, fewer)


def memory(heads: Sequence[str], size: Size) -> float:
    """Estimate the bytes that a task takes at its peak, beside the embeddings.

    Parameters
    ----------
    heads
        Worked on one after the other.
    """
    copies = max((COPIES.get(head, 2.0) for head in heads), default=0.0)
    needs_rows = 0.0 if set(heads) <= {FLOOR} else 1.0
    scores = 8.0 * size.rows * size.labels * 10
    control = 8.0 * size.rows * size.labels * PERMUTATIONS if SHUFFLED in heads else 0.0
    kernel = 4.0 * size.rows * LANDMARKS if APPROXIMATE in heads else 0.0
    # Of few rows the products of each with each are kept: as they are, as cosines, as a kernel.
    exact = size.train <= LARGE or "svm_rbf" in heads
    square = 16.0 * size.rows * size.train if exact else 0.0
    return (needs_rows + copies) * size.matrix + scores + control + kernel + square


@dataclass(frozen=True)
class Share:
    """How the machine is shared out among tasks.

    Attributes
    ----------
    at_once : int
        Tasks at a time.
    threads : int
        Of linear algebra, for each. They depend on the cores and on ``--jobs`` alone, not on what
        is free or left to do: the last bits of a result do depend on them.
    memory : float
        Bytes that the tasks of one time take at most.
    """

    at_once: int
    threads: int
    memory: float = 0.0


@dataclass(frozen=True)
class Need:
    """Memory that a comparison takes beside the embeddings.

    Attributes
    ----------
    task : float
        Bytes of its dearest task.
    dearest : str
        Which that is, for people.
    results : float
        Bytes of what comes out of all tasks.
    """

    task: float
    dearest: str
    results: float


def memory_needed(
    extractors: Sequence[Extractor],
    folds: Sequence[Fold],
    labels: int,
    plan: Plan,
    control: bool = True,
) -> Need:
    """Estimate the memory that a comparison takes, wherever it is worked on."""
    needed, dearest = 0.0, ""
    for extractor in extractors:
        for fold in folds:
            for heads in groups_of_heads(plan, len(fold.train), control):
                size = size_of(extractor, fold, folds, labels, None)
                task = memory(heads, size)
                if task > needed:
                    needed, dearest = task, f"{' and '.join(heads[:1])} on {extractor.name}"
    whole = 8.0 * sum(len(fold.test) for fold in folds) * labels
    results = whole * len(extractors) * len(plan.heads) * 3  # as they are, and made up as tables
    return Need(needed, dearest, results)


def share_out(
    extractors: Sequence[Extractor],
    folds: Sequence[Fold],
    labels: int,
    plan: Plan,
    jobs: int | None = None,
    control: bool = True,
) -> Share:
    """Decide how many tasks at a time the memory allows.

    Raises
    ------
    InputError
        Not even one.
    """
    wanted = jobs or available_cores()
    need = memory_needed(extractors, folds, labels, plan, control)
    free = usable_memory()
    if free is None:
        return Share(wanted, threads_of_each(jobs), need.task * wanted + need.results)
    at_once = min(wanted, int((free - need.results) // need.task)) if need.task else wanted
    if at_once < 1:
        raise InputError(
            f"{need.dearest} takes about {(need.task + need.results) / GIGA:.1f} GB of memory and"
            f" {free / GIGA:.1f} GB are free: leave that head out (--head), compare embeddings of"
            " fewer numbers (cxrfeat extract --pool avg), or use a machine with more memory"
        )
    return Share(at_once, threads_of_each(jobs), need.task * at_once + need.results)


def groups_of_heads(plan: Plan, train: int, control: bool) -> list[tuple[str, ...]]:
    """Say which heads are worked on together on a fold.

    Where training rows are few, all: they share the products of each row with each. Where they are
    many nothing is shared that would be worth the wait for the slowest one.
    """
    heads = [head.name for head in plan.heads] + ([SHUFFLED] if control else [])
    return [tuple(heads)] if train <= LARGE else [(head,) for head in heads]


class Clock:
    """Tells how long the rest will take, by what has ended.

    Parameters
    ----------
    expected
        Seconds that each kind of work was estimated to take, all of it.
    at_once : int
        Tasks at a time.
    """

    def __init__(self, expected: Mapping[str, float], at_once: int) -> None:
        self._left = dict(expected)
        self._at_once = at_once
        self._took: dict[str, float] = {}
        self._estimated: dict[str, float] = {}

    def ended(self, expected: Mapping[str, float], took: float) -> None:
        """Count a task: what was estimated for its parts, and the seconds that it took."""
        whole = sum(expected.values())
        for kind, part in expected.items():
            rest = self._left[kind] - part
            self._left[kind] = rest if rest > part * 1e-6 else 0.0  # but for rounding
            self._took[kind] = self._took.get(kind, 0.0) + took * part / whole
            self._estimated[kind] = self._estimated.get(kind, 0.0) + part

    @property
    def left(self) -> float:
        """Seconds until everything has ended."""
        seen = sum(self._estimated.values())
        pace = sum(self._took.values()) / seen if seen else 1.0
        rest = sum(
            left * (self._took[kind] / self._estimated[kind] if kind in self._took else pace)
            for kind, left in self._left.items()
        )
        return rest / self._at_once
