"""Folds that are worked on by machines of a cluster give the bits of threads of one process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import ClusterError, InputError
from cxrfeat.evaluation.validation.cross_validation import cross_validate
from cxrfeat.evaluation.validation.ray_run import on_ray
from cxrfeat.evaluation.validation.side_by_side import Run, in_threads
from tests.evaluation.validation.test_side_by_side import bits, made, plan_of
from tests.ray_cluster import machines


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with machines(2) as cluster, on_ray(cluster.address) as run:
        yield run


def test_two_machines_give_the_bits_that_threads_give(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrfeat.evaluation.validation.side_by_side.available_cores", lambda: 2)
    monkeypatch.setattr("cxrfeat.cluster.parcels.SHARED_BYTES", 1000)  # the embeddings go apart
    extractors, y, groups, folds = made()
    here, there = (
        cross_validate(extractors, np.eye(3)[y], groups, folds, plan_of("logreg"), run=place)
        for place in (in_threads(2), run)
    )
    assert bits(there) == bits(here)


def test_an_error_of_a_task_is_raised_as_it_was(run: Run) -> None:
    with pytest.raises(InputError, match="no such fold"):
        dict(run(refuse, [("no such fold",)]))


def test_a_task_whose_process_dies_once_is_done_again(run: Run, tmp_path: Path) -> None:
    tasks = [(tmp_path / "first", 1), (tmp_path / "first", 2)]
    assert sorted(run(die_once, tasks)) == [(0, 1), (1, 2)]


@pytest.mark.slow
def test_a_task_that_ends_its_process_every_time_is_said(run: Run) -> None:
    with pytest.raises(ClusterError, match="task 1 of 1"):
        dict(run(die, [()]))


def refuse(reason: str) -> None:
    raise InputError(reason)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(mark: Path, value: int) -> int:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return value
    die()
    return value
