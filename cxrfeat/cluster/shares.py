"""How much of a machine a worker gets: asked for, or chosen from what the machines have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrfeat.errors import ClusterError, InputError


@dataclass(frozen=True)
class Node:
    """A machine of a cluster.

    Attributes
    ----------
    id : str
    host : str
        Its name, for people.
    cpus, gpus : float
        That Ray may give away there.
    memory : float
        Bytes, the same, beside those of the object store; 0 where Ray does not say.
    """

    id: str
    host: str
    cpus: float
    gpus: float
    memory: float = 0.0


@dataclass(frozen=True)
class Share:
    """What each worker gets.

    Attributes
    ----------
    cpus : int
    gpus : float
    memory : int
        Bytes; 0 where they are not counted.
    """

    cpus: int
    gpus: float
    memory: int = 0

    def workers_on(self, node: Node) -> int:
        """Return how many fit on a machine."""
        room = int((node.cpus + 1e-6) // self.cpus)
        if self.gpus:
            room = min(room, int((node.gpus + 1e-6) // self.gpus))
        if self.memory and node.memory:
            room = min(room, int(node.memory // self.memory))
        return room


def check_share(cpus: int | None, gpus: float | None) -> None:
    """Refuse numbers that are no share of a machine.

    Raises
    ------
    InputError
    """
    if cpus is not None and cpus < 1:
        raise InputError(f"{cpus} CPUs for each worker: use 1 or more")
    if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
        raise InputError(f"{gpus:g} GPUs for each worker: use a part of one, or whole ones")


def choose_share(
    nodes: Sequence[Node], cpus: int | None, gpus: float | None, *, device: str = "auto"
) -> Share:
    """Decide what each worker gets: the same everywhere, so that all of them round alike.

    Parameters
    ----------
    nodes
        Of the cluster.
    cpus, gpus
        As asked for. Default: a GPU each where there are some, and its part of the CPUs; else all
        CPUs of the smallest machine, as one process has them.
    device : str
        What the workers are to run on.

    Raises
    ------
    ClusterError
        No machine has room for a worker.
    InputError
        GPUs asked for together with the device "cpu".
    """
    check_share(cpus, gpus)
    if device == "cpu" and gpus:
        raise InputError("GPUs for workers that run on the CPU: leave out one of the two")
    if gpus is None:
        some = device == "cuda" or (device == "auto" and any(node.gpus >= 1 for node in nodes))
        gpus = 1.0 if some else 0.0
    usable = [node for node in nodes if node.cpus >= 1 and node.gpus >= gpus]
    if cpus is None and usable:
        cpus = min(_part(node, gpus) for node in usable)
    share = Share(cpus or 1, gpus)
    if not any(share.workers_on(node) for node in nodes):
        there = ", ".join(f"{node.host} {node.cpus:g} and {node.gpus:g}" for node in nodes)
        raise ClusterError(
            f"no machine of the Ray cluster has {share.cpus} CPU(s) and {share.gpus:g} GPU(s) for "
            f"a worker ({there or 'there is none'}): ask for fewer"
        )
    return share


def share_of_task(nodes: Sequence[Node], threads: int, memory: float) -> Share:
    """Decide what a worker gets that does one task after the other.

    Parameters
    ----------
    nodes
        Of the cluster.
    threads : int
        Of each task: as many CPUs, where the smallest machine has them.
    memory : float
        Bytes that a task takes.

    Raises
    ------
    ClusterError
        No machine has a CPU to give.
    """
    cpus = [int(node.cpus) for node in nodes if node.cpus >= 1]
    if not cpus:
        raise ClusterError("no machine of the Ray cluster has a CPU to give: see `ray status`")
    return Share(min(threads, *cpus), 0, int(memory))


def _part(node: Node, gpus: float) -> int:
    workers = int((node.gpus + 1e-6) // gpus) if gpus else 1
    return max(1, int(node.cpus) // workers)


def node_of(told: Mapping[str, object]) -> Node:
    """Return what Ray tells of a node."""
    resources = told["Resources"]
    assert isinstance(resources, Mapping)
    return Node(
        str(told["NodeID"]),
        str(told["NodeManagerHostname"]),
        float(resources.get("CPU", 0.0)),
        float(resources.get("GPU", 0.0)),
        float(resources.get("memory", 0.0)),
    )
