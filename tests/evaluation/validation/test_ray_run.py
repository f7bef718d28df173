"""Folds that are worked on by machines of a cluster give the bits of threads of one process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from cxrfeat.cluster.shares import Node
from cxrfeat.errors import ClusterError, InputError, SpecMismatchError
from cxrfeat.evaluation.validation import ray_run
from cxrfeat.evaluation.validation.cross_validation import cross_validate
from cxrfeat.evaluation.validation.ray_run import on_ray
from cxrfeat.evaluation.validation.side_by_side import Run, in_threads
from tests.evaluation.validation.test_side_by_side import bits, made, plan_of
from tests.ray_cluster import machines


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with machines(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def run(cluster: Any) -> Iterator[Run]:
    with on_ray(cluster.address) as run:
        yield run


def test_a_task_has_its_threads_also_where_a_machine_has_fewer_cpus(cluster: Any) -> None:
    with on_ray(cluster.address, threads=3) as run:
        assert run.workers == 2
        assert {threads for _, of in run(threads_here, [()] * 3) for threads in of} == {3}


def test_machines_of_another_kind_of_processor_are_not_used(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {**ray_run.environment(), "blas": ["openblas 0.3 Vax"]}
    monkeypatch.setattr(ray_run, "environment", lambda: ours)
    with (
        on_ray(cluster.address) as run,
        pytest.raises(ClusterError, match="has other packages or another kind of processor"),
    ):
        next(iter(run(threads_here, [()])))


def test_a_head_that_the_machines_lack_is_said_before_any_work(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_this_machine.py").write_text("from sklearn.svm import SVC\n")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        on_ray(cluster.address, modules=["sklearn.svm", "of_this_machine"]) as run,
        pytest.raises(SpecMismatchError, match="install the same on each") as caught,
    ):
        next(iter(run(threads_here, [()])))
    (line,) = caught.value.difference
    assert line.startswith("of_this_machine: ")
    assert line.endswith(" here, none there")


def test_a_machine_with_other_packages_is_refused_by_name() -> None:
    ours, theirs = {"blas": ["a"], "numpy": "2.1"}, {"blas": ["b"], "numpy": "2.0"}
    with pytest.raises(SpecMismatchError, match="ward-7 has another cxrfeat") as caught:
        ray_run._require_our_packages(Node("1", "ward-7", 8, 0), ours, theirs)
    assert caught.value.difference == ["numpy: 2.1 here, 2.0 there"]


def test_more_memory_than_any_machine_has_is_refused_at_once(cluster: Any) -> None:
    with (
        pytest.raises(
            ClusterError, match=r"svm_rbf on vgg16 takes about 1000000\.0 GB .*\(--head\)"
        ),
        on_ray(cluster.address, memory=1e15, dearest="svm_rbf on vgg16"),
    ):
        pass


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


def test_an_error_that_is_a_bug_says_where_it_was(run: Run) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        dict(run(divide, [(0,)]))
    assert "in divide" in "".join(caught.value.__notes__)


def test_what_a_task_gives_does_not_stay_in_the_object_store(run: Run) -> None:
    ((_, given),) = run(np.zeros, [(1 << 17,)])
    assert given.flags.writeable  # what is read from there in place is not


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


def threads_here() -> set[int]:
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def refuse(reason: str) -> None:
    raise InputError(reason)


def divide(by: int) -> float:
    return 1 / by


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(mark: Path, value: int) -> int:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return value
    die()
    return value
