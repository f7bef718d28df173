"""What a worker gets of a machine: chosen, asked for, or refused in one line."""

from __future__ import annotations

import pytest

from cxrfeat.cluster.shares import Node, Share, choose_share, node_of, share_of_task
from cxrfeat.errors import ClusterError, InputError


def nodes(*sizes: tuple[float, float]) -> list[Node]:
    return [Node(str(number), f"host{number}", *size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "device", "share", "workers"),
    [
        ([(8, 0), (8, 0)], "auto", Share(8, 0), [1, 1]),
        ([(0, 0), (4, 0), (16, 0)], "auto", Share(4, 0), [0, 1, 4]),  # a head without work
        ([(16, 4)], "auto", Share(4, 1), [4]),
        ([(32, 0), (16, 4), (6, 1)], "auto", Share(4, 1), [0, 4, 1]),
        ([(16, 4)], "cpu", Share(16, 0), [1]),
        ([(2, 4)], "cuda", Share(1, 1), [2]),
        ([(2, 0)], "mps", Share(2, 0), [1]),
    ],
)
def test_a_share_is_chosen_from_the_machines(
    sizes: list[tuple[float, float]], device: str, share: Share, workers: list[int]
) -> None:
    there = nodes(*sizes)
    assert choose_share(there, None, None, device=device) == share
    assert [share.workers_on(node) for node in there] == workers


def test_what_is_asked_for_is_given() -> None:
    there = nodes((8, 2))
    assert choose_share(there, 2, None) == Share(2, 1)
    assert choose_share(there, None, 0.5) == Share(2, 0.5)
    assert Share(2, 0.5).workers_on(there[0]) == 4
    assert choose_share(there, 3, 0) == Share(3, 0)


@pytest.mark.parametrize(
    ("cpus", "gpus", "device", "kind", "said"),
    [
        (0, None, "auto", InputError, "0 CPUs"),
        (None, 1.5, "auto", InputError, "1.5 GPUs"),
        (None, -1, "auto", InputError, "-1 GPUs"),
        (None, 1, "cpu", InputError, "leave out one"),
        (9, None, "auto", ClusterError, r"9 CPU\(s\) and 0 GPU\(s\) .*\(host0 8 and 0\)"),
        (None, None, "cuda", ClusterError, r"1 GPU\(s\)"),
    ],
)
def test_a_share_that_nobody_has_is_refused(
    cpus: int | None, gpus: float | None, device: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        choose_share(nodes((8, 0)), cpus, gpus, device=device)


@pytest.mark.parametrize(
    ("threads", "memory", "cpus", "workers"),
    [
        (1, 0, 1, [8, 2, 0]),
        (2, 0, 2, [4, 1, 0]),
        (8, 0, 2, [4, 1, 0]),  # on fewer CPUs, so that the small machine has part in it
        (1, 3e9, 1, [5, 1, 0]),
        (1, 5e9, 1, [3, 0, 0]),
        (1, 17e9, 1, [0, 0, 0]),
    ],
)
def test_a_worker_for_tasks_takes_what_a_task_takes(
    threads: int, memory: float, cpus: int, workers: list[int]
) -> None:
    there = [
        Node("0", "large", 8, 0, 16e9),
        Node("1", "small", 2, 0, 4e9),
        Node("2", "head", 0, 0, 9e9),
    ]
    share = share_of_task(there, threads, memory)
    assert share.cpus == cpus
    assert [share.workers_on(node) for node in there] == workers


def test_memory_that_ray_does_not_tell_is_not_counted() -> None:
    told = {"NodeID": "0", "NodeManagerHostname": "host", "Resources": {"CPU": 4.0}}
    assert share_of_task([node_of(told)], 1, 1e9).workers_on(node_of(told)) == 4
    told = {**told, "Resources": {"CPU": 4.0, "memory": 2.5e9}}
    assert share_of_task([node_of(told)], 1, 1e9).workers_on(node_of(told)) == 2


def test_machines_without_a_cpu_to_give_are_refused() -> None:
    with pytest.raises(ClusterError, match="CPU to give"):
        share_of_task(nodes((0, 0)), 1, 0)
