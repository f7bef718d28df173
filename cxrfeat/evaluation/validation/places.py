"""Where a comparison is worked on: in this process, or on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation.cost import Share, memory_needed, share_out
from cxrfeat.evaluation.validation.keys import module_of
from cxrfeat.evaluation.validation.ray_run import on_ray
from cxrfeat.evaluation.validation.side_by_side import Run, in_threads, threads_of_each
from cxrfeat.evaluation.validation.tuning import Plan


@dataclass(frozen=True)
class Place:
    """Where a comparison is worked on.

    Attributes
    ----------
    run : Run
        Fits heads: one task for each extractor, fold and group of heads.
    here : Run
        Threads of this process, for what needs all that was found.
    share : Share
        How the place is shared out among tasks.
    notes : list of str
        What its user should know about how it went; complete when it has been left.
    """

    run: Run
    here: Run
    share: Share
    notes: list[str] = field(default_factory=list)


@contextmanager
def place_of(
    engine: str,
    address: str | None,
    extractors: Sequence[Extractor],
    folds: Sequence[Fold],
    labels: int,
    plan: Plan,
    jobs: int | None = None,
) -> Iterator[Place]:
    """Give the place where a comparison is worked on, for as long as it is.

    The bits of the results are the same in every place: a task has as many threads of linear
    algebra as it would have in this process.

    Parameters
    ----------
    engine : str
        "local" or "ray".
    address : str or None
        As `cluster.session.connected` takes it; for "ray".
    jobs : int or None
        Tasks at a time in this process, None for one per core. A cluster works on as many as it has
        room for.

    Raises
    ------
    InputError
        Not even one task fits into the memory.
    MissingExtraError, ClusterError, SpecMismatchError
        As `ray_run.on_ray` says.
    """
    if engine == "local":
        share = share_out(extractors, folds, labels, plan, jobs)
        run = in_threads(share.at_once, share.threads)
        yield Place(run, run, share)
        return
    need, threads = memory_needed(extractors, folds, labels, plan), threads_of_each(jobs)
    modules = [module for head in plan.heads if (module := module_of(head))]
    with on_ray(
        address, threads=threads, memory=need.task, dearest=need.dearest, modules=modules
    ) as there:
        memory = need.task * there.workers + need.results
        place = Place(there, in_threads(jobs, threads), Share(there.workers, threads, memory))
        yield place
        place.notes.extend(there.notes)
