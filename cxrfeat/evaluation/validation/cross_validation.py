"""Every extractor with every head over the same folds, piece by piece."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from cxrfeat.arrays import Groups, Matrix, Matrix32
from cxrfeat.cores import available_cores
from cxrfeat.evaluation.heads.neighbours import CANDIDATES_FROM, Neighbours
from cxrfeat.evaluation.heads.standardised_fold import SharedFold, candidates
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation.cost import (
    Clock,
    Share,
    groups_of_heads,
    seconds,
    size_of,
)
from cxrfeat.evaluation.validation.keys import Keys
from cxrfeat.evaluation.validation.label_shuffling import (
    can_be_shuffled,
    permuted_auroc,
    shuffled_labels,
)
from cxrfeat.evaluation.validation.pieces import (
    SHUFFLED,
    FoldScores,
    Kept,
    Piece,
)
from cxrfeat.evaluation.validation.problems import Problems, problems
from cxrfeat.evaluation.validation.retrained import Retrained, retrain
from cxrfeat.evaluation.validation.side_by_side import Run, in_threads, naming, threads_of_each
from cxrfeat.evaluation.validation.tuning import Outcome, Plan, score_head

Outcomes = Mapping[tuple[str, str], Sequence[Outcome]]


@dataclass(frozen=True)
class FoldDone:
    """Told to the caller after each task: a fold of an extractor, by all heads or by one.

    Also before the first, while neighbours of all images are looked for.

    Attributes
    ----------
    extractor : str
    fold : str
        Its name, or ``neighbours`` and the share that is found.
    done, total : int
        Pieces; those that were there before are done.
    heads : tuple of str
        Which of them have just ended.
    seconds : float
        That they took.
    left : float
        Seconds until all are done, as far as can be told.
    """

    extractor: str
    fold: str
    done: int
    total: int
    heads: tuple[str, ...] = ()
    seconds: float = 0.0
    left: float = 0.0


Progress = Callable[[FoldDone], None]


@dataclass(frozen=True)
class ToDo:
    """Told to the caller before the work.

    Attributes
    ----------
    extractors, folds, heads : int
        How many.
    pieces : int
        One for each of them with each, and the control of each extractor and fold.
    kept : dict of str to int
        How many are there already, by the run that they come from.
    seconds : float
        That the others will take, as far as can be told.
    memory : float
        Bytes that the work takes at most, beside what is in memory already.
    at_once, threads : int
        Tasks at a time, and threads of linear algebra for each.
    """

    extractors: int
    folds: int
    heads: int
    pieces: int
    kept: Mapping[str, int]
    seconds: float
    memory: float
    at_once: int
    threads: int


@dataclass(frozen=True)
class CrossValidated:
    """What came out of all folds.

    Attributes
    ----------
    outcomes : dict of (extractor, head) to list of Outcome
        In the order of the folds.
    permuted : dict of str to ndarray
        Per extractor, the mean AUROC over the folds on shuffled labels, one per permutation; empty
        where no patients are known.
    retrained : dict of (extractor, head) to list of Retrained or None
        In the order of the folds; None for later repeats and where there are too few folds.
    """

    outcomes: dict[tuple[str, str], list[Outcome]]
    permuted: dict[str, Matrix]
    retrained: dict[tuple[str, str], list[Retrained | None]]


@dataclass(frozen=True)
class Common:
    """What the folds of all extractors have in common.

    Attributes
    ----------
    labels : ndarray, shape (N, K)
    groups : ndarray of str, shape (N,), or None
        Patients that tuning keeps together.
    folds : list of Fold
    plan : Plan
    shuffled : ndarray, shape (N, PERMUTATIONS, K), or None
        Labels dealt out anew among patients; None where none is known to have several images.
    problems : dict of int to Problems
        What is to be learned on each fold: the same for every extractor and head, so that it is
        made out once. Those that are missing are made out where they are needed.
    candidates : dict of str to ndarray of int32, shape (N, M)
        Of extractors with many images, the rows that may be neighbours of each row in any fold.
    """

    labels: Matrix
    groups: Groups
    folds: Sequence[Fold]
    plan: Plan
    shuffled: Matrix32 | None = None
    problems: Mapping[int, Problems] = field(default_factory=dict)
    candidates: Mapping[str, Neighbours] = field(default_factory=dict)

    def problems_of(self, number: int) -> Problems:
        """Say what is to be learned on the fold of a number."""
        if number in self.problems:
            return self.problems[number]
        train = self.folds[number].train
        known = None if self.groups is None else self.groups[train]
        return problems(self.labels[train], known, self.plan.exclusive, self.plan.seed)


class Task(NamedTuple):
    """Pieces that are worked on together: of one extractor and one fold."""

    extractor: Extractor
    number: int
    heads: tuple[str, ...]

    @property
    def pieces(self) -> list[Piece]:
        """One for each head."""
        return [Piece(self.extractor.name, self.number, head) for head in self.heads]


def score_extractor(
    common: Common, extractor: Extractor, number: int, heads: Sequence[str]
) -> FoldScores:
    """Score one extractor with some heads on the fold of a number.

    It depends on its arguments alone, and they and the result can be pickled: it runs anywhere.
    What a head finds does not depend on the others.

    Parameters
    ----------
    heads
        Names of some of the plan's, and `SHUFFLED` for the control.
    """
    fold, labels, plan = common.folds[number], common.labels, common.plan
    shared = SharedFold(
        extractor.X,
        fold.train,
        fold.test,
        extractor.widths,
        common.candidates.get(extractor.name),
    )
    asked = [head for head in plan.heads if head.name in heads]
    found = common.problems_of(number) if asked else None
    outcomes = {}
    if found is not None:
        n_columns = labels.shape[1]
        outcomes = {head.name: score_head(head, shared, found, n_columns, plan) for head in asked}
    permuted = None
    if SHUFFLED in heads and common.shuffled is not None:
        permuted = permuted_auroc(shared, fold, common.shuffled)
    return FoldScores(
        outcomes,
        permuted,
        {} if found is None else retrain(shared, fold, common.folds, labels, plan, found, outcomes),
    )


def cross_validate(
    extractors: Sequence[Extractor],
    labels: Matrix,
    groups: Groups,
    folds: Sequence[Fold],
    plan: Plan,
    *,
    run: Run | None = None,
    share: Share | None = None,
    progress: Progress | None = None,
    patients: Groups = None,
    kept: Kept | None = None,
    planned: Callable[[ToDo], None] | None = None,
) -> CrossValidated:
    """Score all of them.

    Parameters
    ----------
    labels : ndarray, shape (N, K)
    groups : ndarray of str, shape (N,), or None
        Patients that tuning keeps together.
    run : Run or None
        Where the folds are worked on; in threads, one per core, when left out.
    share : Share or None
        How that place is shared out among tasks, see `places.place_of`.
    patients
        Patients as far as they are known, also where the folds do not keep them together: labels
        are shuffled among them. Where none has several images they cannot be: see `permuted`.
    kept : Kept or None
        Where pieces are kept as they end. Those that are there already are not computed again; the
        result is the same to the last bit.
    planned
        Called before the work.

    Raises
    ------
    ClusterError
        A task ends its process elsewhere each time; it is named.
    """
    among = groups if patients is None else patients
    control = can_be_shuffled(among)
    share = share or Share(available_cores(), threads_of_each())
    pieces = [
        Piece(extractor.name, number, head)
        for extractor in extractors
        for number in range(len(folds))
        for head in [*(head.name for head in plan.heads), *([SHUFFLED] if control else [])]
    ]
    keys, scores, came_from = {}, {}, Counter[str]()
    if kept is not None:
        made = Keys(extractors, labels, groups, among, folds, plan, share.threads)
        keys = {piece: made.of(piece) for piece in pieces}
        for piece, key in keys.items():
            if there := kept.find(key):
                scores[piece], where = there
                came_from[where] += 1
    costs = _costs(extractors, folds, labels.shape[1], plan, pieces)
    tasks = _tasks(extractors, folds, plan, control, scores, costs)
    clock = Clock(
        _by_head(costs, [piece for piece in pieces if piece not in scores]), share.at_once
    )
    if planned is not None:
        planned(
            ToDo(
                len(extractors), len(folds), len(plan.heads), len(pieces), dict(came_from),
                clock.left, share.memory if tasks else 0.0, share.at_once, share.threads,
            )
        )  # fmt: skip

    def told(extractor: str, fold: str, heads: tuple[str, ...], took: float) -> None:
        if progress is not None:
            done, total = len(scores), len(pieces)
            progress(FoldDone(extractor, fold, done, total, heads, took, clock.left))

    common = _common(labels, groups, among, folds, plan, tasks)
    common = replace(common, candidates=_candidates(tasks, share, told))
    with naming(lambda place: _in_words(tasks[place], folds)):
        for place, (took, found) in (run or in_threads())(partial(_timed, common), tasks):
            task = tasks[place]
            for piece in task.pieces:
                scores[piece] = found.of(piece.head)
                if kept is not None:
                    kept.keep(keys[piece], piece, scores[piece])
            clock.ended(_by_head(costs, task.pieces), took)
            told(task.extractor.name, folds[task.number].name, task.heads, took)
    return _put_together(pieces, scores)


def _in_words(task: Task, folds: Sequence[Fold]) -> str:
    return f"{', '.join(task.heads)} on {task.extractor.name}, {folds[task.number].name},"


def _timed(
    common: Common, extractor: Extractor, number: int, heads: Sequence[str]
) -> tuple[float, FoldScores]:
    """Also give the seconds that it took, which are no part of the result."""
    started = time.perf_counter()
    scores = score_extractor(common, extractor, number, heads)
    return time.perf_counter() - started, scores


def _common(
    labels: Matrix,
    groups: Groups,
    among: Groups,
    folds: Sequence[Fold],
    plan: Plan,
    tasks: Sequence[Task],
) -> Common:
    """Prepare what the tasks have in common, as far as they need it."""
    asked = {head for task in tasks for head in task.heads}
    shuffled = None
    if SHUFFLED in asked and can_be_shuffled(among):
        shuffled = shuffled_labels(labels, among, plan.seed)
    common = Common(labels, groups, folds, plan, shuffled)
    numbers = sorted({task.number for task in tasks if set(task.heads) != {SHUFFLED}})
    return replace(common, problems={number: common.problems_of(number) for number in numbers})


def _candidates(
    tasks: Sequence[Task],
    share: Share,
    told: Callable[[str, str, tuple[str, ...], float], None],
) -> dict[str, Neighbours]:
    """Look for neighbours of all images once for all folds, where there are many of them."""
    asked = {
        task.extractor.name: task.extractor
        for task in tasks
        if "knn" in task.heads and len(task.extractor.X) >= CANDIDATES_FROM
    }
    jobs = min(share.at_once * share.threads, available_cores())  # tasks may be elsewhere
    found = {}
    for name, one in asked.items():
        started = time.perf_counter()

        def progress(part: float, name: str = name, started: float = started) -> None:
            took = time.perf_counter() - started
            told(name, f"neighbours {100 * part:.0f} %", ("knn",), took)

        found[name] = candidates(one.X, one.widths, jobs, progress)
    return found


def _costs(
    extractors: Sequence[Extractor],
    folds: Sequence[Fold],
    n_labels: int,
    plan: Plan,
    pieces: Sequence[Piece],
) -> dict[Piece, float]:
    """Estimate the seconds of each piece."""
    of_name = {extractor.name: extractor for extractor in extractors}
    heads = {head.name: head for head in plan.heads}
    return {
        piece: seconds(
            piece.head,
            size_of(
                of_name[piece.extractor], folds[piece.fold], folds, n_labels, heads.get(piece.head)
            ),
        )
        for piece in pieces
    }


def _by_head(costs: Mapping[Piece, float], pieces: Sequence[Piece]) -> dict[str, float]:
    of_head: dict[str, float] = {}
    for piece in pieces:
        of_head[piece.head] = of_head.get(piece.head, 0.0) + costs[piece]
    return of_head


def _tasks(
    extractors: Sequence[Extractor],
    folds: Sequence[Fold],
    plan: Plan,
    control: bool,
    there: Container[Piece],
    costs: Mapping[Piece, float],
) -> list[Task]:
    """Group what is missing into tasks, in the order in which they are begun.

    Extractor by extractor, so that the embeddings of one are read at a time; of each the dearest
    first, so that no core waits long for the last one.
    """
    tasks = []
    for extractor in extractors:
        of_extractor = []
        for number, fold in enumerate(folds):
            for heads in groups_of_heads(plan, len(fold.train), control):
                pieces = [Piece(extractor.name, number, head) for head in heads]
                missing = tuple(piece.head for piece in pieces if piece not in there)
                if missing:
                    of_extractor.append(Task(extractor, number, missing))
        of_extractor.sort(key=lambda task: -sum(costs[piece] for piece in task.pieces))
        tasks += of_extractor
    return tasks


def _put_together(pieces: Sequence[Piece], scores: Mapping[Piece, FoldScores]) -> CrossValidated:
    """Put pieces together in their order, whatever the order in which they came."""
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    areas: dict[str, list[Matrix]] = {}
    retrained: dict[tuple[str, str], list[Retrained | None]] = {}
    for piece in pieces:
        of_piece = scores[piece]
        if of_piece.permuted is not None:
            areas.setdefault(piece.extractor, []).append(of_piece.permuted)
        for head, outcome in of_piece.outcomes.items():
            outcomes.setdefault((piece.extractor, head), []).append(outcome)
            retrained.setdefault((piece.extractor, head), []).append(of_piece.retrained.get(head))
    return CrossValidated(
        outcomes, {name: np.mean(of, axis=0) for name, of in areas.items()}, retrained
    )
