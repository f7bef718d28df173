"""Workers on every machine of a cluster: lost ones are replaced, and what they had is done again.

Ray's own repetition is off: it would give an image that kills its process to one worker after the
other for ever. Work goes only to workers that have answered; of images two batches to each, so that
one is read while the other one is computed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from cxrfeat.cluster.batches import Batch, Suspects
from cxrfeat.cluster.shares import Node, Share, node_of
from cxrfeat.errors import ClusterError, CxrfeatError

AT_ONCE = 2
"""Batches in a worker."""

WAIT_SECONDS = 1.0
"""How often to look after the machines, at least, whatever is awaited."""

PATIENCE = 300.0
"""How long no worker at all may be ready, e.g. while others use the machines."""

STRAGGLERS = 60.0
"""How long machines are waited for when the first worker of another one is ready."""

FAILED_STARTS = 3
"""Workers of a machine that end before they are ready, in a row, until it is given up."""

DEADLY = 3
"""Items that kill their worker, with none done beside, until the fault is taken to be elsewhere."""

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Said(Generic[Value]):
    """What a worker made of a call: a value, or an error that was raised on purpose."""

    value: Value | None = None
    error: CxrfeatError | None = None

    @classmethod
    def by(cls, call: Callable[[], Value]) -> Said[Value]:
        """Call, and keep what it gives or raises; what is a bug is raised as it is."""
        try:
            return cls(call())
        except CxrfeatError as error:
            return cls(error=error)


class Worker(Protocol):
    """What works in a process of its own; made there from the arguments of the pool."""

    def open(self, how: Any) -> Said[Any]:
        """Make ready, once or several times; give what the driver wants to know."""
        ...

    def work(self, items: list[Any]) -> Said[Any]:
        """Do the work of some items; as many threads call it as batches are in a worker."""
        ...


class Supply(Protocol[Item]):
    """Where new work comes from."""

    def left(self) -> int:
        """Return for about how many batches there is work, 0 where there is none now."""
        ...

    def take(self, node: str) -> list[Item]:
        """Return the items of the next batch for a worker on a machine; perhaps none."""
        ...


@dataclass(frozen=True)
class Done(Generic[Item]):
    """A batch that came back.

    Attributes
    ----------
    node : str
        The machine that did it.
    items : list
    value
        What the worker gave.
    """

    node: str
    items: list[Item]
    value: Any


@dataclass(frozen=True)
class Deadly(Generic[Item]):
    """An item whose worker dies, however often it is tried."""

    item: Item


@dataclass(eq=False)
class _Actor(Generic[Item]):
    handle: Any
    node: Node
    opening: Any
    ready: bool = False
    flying: dict[Any, Batch[Item]] = field(default_factory=dict)


@dataclass
class _Machine:
    node: Node
    failed_starts: int = 0


class Pool(Generic[Item]):
    """Workers, one class of them, as many as the machines have room for.

    Parameters
    ----------
    ray : module
        Connected.
    worker : type
        A `Worker`; its module can be imported on every machine.
    arguments : tuple
        That each is made with; each argument is sent to a machine once.
    share : Share
        What each gets.
    at_once : int
        Batches that are in a worker together.

    Attributes
    ----------
    lost : int
        Workers that died so far.
    """

    def __init__(
        self,
        ray: Any,
        worker: type,
        arguments: tuple[Any, ...],
        share: Share,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        self._ray = ray
        self._at_once = at_once
        self._arguments = [ray.put(argument) for argument in arguments]
        self._share = share
        self._class = ray.remote(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            memory=share.memory or None,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=at_once,
        )(worker)
        self._actors: list[_Actor[Item]] = []
        self._machines: dict[str, _Machine] = {}
        self._here = ray.get_runtime_context().get_node_id()
        self._seen: dict[str, Node] = {}
        self._looked = -math.inf
        self._suspects: Suspects[Item] = Suspects()
        self.accept(None, _any)
        self._reason = ""
        self._ready_since = time.monotonic()
        self._done = self._deadly = self.lost = 0

    def open(
        self,
        how: Any,
        test: Callable[[Node, Any], bool] | None = None,
        *,
        only_first: bool = False,
    ) -> list[tuple[Node, Any]]:
        """Have a worker on each machine, at least, and make all of them ready.

        Parameters
        ----------
        how
            What `Worker.open` takes, of these workers and of all that come later.
        test
            Which of them may work, see `accept`; default: all.
        only_first : bool
            One worker alone, on this machine where that has room.

        Returns
        -------
        list of (Node, value)
            What each of them told; at least one. A machine that takes long is not waited for.

        Raises
        ------
        CxrfeatError
            That a worker raised.
        ClusterError
            None became ready.
        """
        self.accept(how, test or _any)
        most = 1 if only_first else None
        for actor in self._actors[:most]:
            actor.ready, actor.opening = False, actor.handle.open.remote(how)
        told: list[tuple[Node, Any]] = []
        begun = time.monotonic()
        while not told or time.monotonic() - begun < STRAGGLERS:
            self._look(most, each=1)
            waiting = [actor.opening for actor in self._actors[:most] if not actor.ready]
            if told and not waiting:
                break
            for ref in self._finished(waiting):
                told += self._opened(ref)
            self._require_patience()
        return told

    def accept(self, how: Any, test: Callable[[Node, Any], bool]) -> None:
        """Say how further workers are made ready, and which of them, by what they tell, may work.

        One that may not is ended, and its machine is not used again.
        """
        self._how, self._accept = how, test

    def run(self, supply: Supply[Item]) -> Generator[list[Done[Item] | Deadly[Item]]]:
        """Do all work; what has come back since the last time is given together.

        Raises
        ------
        CxrfeatError
            That a worker raised.
        ClusterError
            No worker is left, or none survives anything.
        """
        while True:
            self._look(self._in_work() + supply.left(), each=None)
            self._give_away(supply)
            if not supply.left() and not self._in_work():
                return
            events: list[Done[Item] | Deadly[Item]] = []
            waiting = [ref for actor in self._actors for ref in actor.flying]
            starting = [actor.opening for actor in self._actors if not actor.ready]
            for ref in self._finished([*waiting, *starting]):
                if ref in starting:
                    self._opened(ref)
                else:
                    events += self._came_back(ref)
            self._require_patience()
            if self._deadly >= DEADLY and not self._done and (supply.left() or self._in_work()):
                raise ClusterError(
                    f"whatever was tried ends its worker, each of {self._deadly} by itself "
                    f"({self._reason}): see the logs of Ray, or try one without it"
                )
            if events:
                yield events

    def close(self) -> None:
        """End every worker, whatever it does."""
        for actor in self._actors:
            self._end(actor)
        self._actors = []

    def _in_work(self) -> int:
        return sum(len(actor.flying) for actor in self._actors) + len(self._suspects)

    def _give_away(self, supply: Supply[Item]) -> None:
        for actor in [one for one in self._actors if one.ready]:
            if self._suspects:
                if not actor.flying:  # alone; until then it gets nothing new
                    self._send(actor, self._suspects.take())
                continue
            while len(actor.flying) < self._at_once and not any(
                b.losses for b in actor.flying.values()
            ):
                items = supply.take(actor.node.id) if supply.left() else []
                if not items:
                    break
                self._send(actor, Batch(items))

    def _send(self, actor: _Actor[Item], batch: Batch[Item]) -> None:
        actor.flying[actor.handle.work.remote(batch.items)] = batch

    def _finished(self, refs: list[Any]) -> list[Any]:
        """Wait for the first of some calls; return all that have ended, perhaps none."""
        if not refs:
            time.sleep(WAIT_SECONDS)
            return []
        first, _ = self._ray.wait(refs, num_returns=1, timeout=WAIT_SECONDS)
        if not first:
            return []
        ended, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        return list(ended)

    def _opened(self, ref: Any) -> list[tuple[Node, Any]]:
        """Take note of a worker that is ready, or never will be."""
        actor = next((one for one in self._actors if one.opening == ref and not one.ready), None)
        if actor is None:
            return []
        try:
            said = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._reason = _last_line(error)
            self._drop(actor)
            if machine := self._machines.get(actor.node.id):
                machine.failed_starts += 1
            return []
        if said.error is not None:
            raise _named(said.error, actor.node)
        if not self._accept(actor.node, said.value):
            self._reason = f"{actor.node.host} has other packages or another kind of processor"
            self._drop(actor)
            self._machines[actor.node.id].failed_starts = FAILED_STARTS
            return []
        actor.ready = True
        self._machines[actor.node.id].failed_starts = 0
        return [(actor.node, said.value)]

    def _came_back(self, ref: Any) -> list[Done[Item] | Deadly[Item]]:
        """Take the result of a batch, or of all batches of a worker that died."""
        actor = next((one for one in self._actors if ref in one.flying), None)
        if actor is None:  # was lost together with another batch
            return []
        try:
            said = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError:
            raise  # a bug
        except self._ray.exceptions.RayError as error:
            return self._lost(actor, _last_line(error))
        batch = actor.flying.pop(ref)
        if said.error is not None:
            raise said.error
        self._done += 1
        return [Done(actor.node.id, batch.items, said.value)]

    def _lost(self, actor: _Actor[Item], reason: str) -> list[Done[Item] | Deadly[Item]]:
        self.lost += 1
        self._reason = reason
        self._looked = -math.inf
        machine_is_there = actor.node.id in self._alive()
        deadly = []
        for batch in actor.flying.values():
            item = self._suspects.add(batch, its_fault=machine_is_there)
            if item is not None:
                deadly.append(Deadly(item))
        actor.flying.clear()
        self._drop(actor)
        self._deadly += len(deadly)
        return [*deadly]

    def _alive(self) -> dict[str, Node]:
        """Return the machines that are there, by their id, as they were a moment ago."""
        if time.monotonic() - self._looked > WAIT_SECONDS:
            nodes = [node_of(told) for told in self._ray.nodes() if told["Alive"]]
            self._seen, self._looked = {node.id: node for node in nodes}, time.monotonic()
        return self._seen

    def _look(self, most: int | None, each: int | None) -> None:
        """Look which machines are there, and start the workers that are missing.

        Parameters
        ----------
        most
            Workers that there is work for; None for as many as fit.
        each
            On one machine; None for as many as fit.
        """
        alive = self._alive()
        for gone in [one for one in self._machines if one not in alive]:
            del self._machines[gone]
        for actor in [one for one in self._actors if one.node.id not in alive and not one.flying]:
            self._drop(actor)  # what had work is told by its work
        # This machine first: it chooses what one process would choose here.
        for node in sorted(alive.values(), key=lambda node: node.id != self._here):
            machine = self._machines.setdefault(node.id, _Machine(node))
            room = self._share.workers_on(node)
            wanted = room if each is None else min(each, room)
            has = sum(actor.node.id == node.id for actor in self._actors)
            while (
                has < wanted
                and machine.failed_starts < FAILED_STARTS
                and (most is None or len(self._actors) < most)
            ):
                self._start(node)
                has += 1

    def _start(self, node: Node) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(node.id, soft=False)
        handle = self._class.options(scheduling_strategy=place).remote(*self._arguments)
        self._actors.append(_Actor(handle, node, handle.open.remote(self._how)))

    def _drop(self, actor: _Actor[Item]) -> None:
        self._actors.remove(actor)
        self._end(actor)

    def _end(self, actor: _Actor[Item]) -> None:
        with suppress(self._ray.exceptions.RayError, ValueError):  # it is gone
            self._ray.kill(actor.handle)

    def _require_patience(self) -> None:
        """Raise ClusterError where no worker is ready and none will be."""
        now = time.monotonic()
        if any(actor.ready for actor in self._actors):
            self._ready_since = now
            return
        given_up = not self._actors and all(
            machine.failed_starts >= FAILED_STARTS for machine in self._machines.values()
        )
        if (given_up and self._machines) or now - self._ready_since > PATIENCE:
            raise ClusterError(
                "no worker of the Ray cluster is ready, or becomes so "
                f"({self._reason or 'its machines are gone, or used by others'}): see `ray status`;"
                " everything finished is kept, and the same command goes on"
            )


def _any(node: Node, told: Any) -> bool:
    return True


def _named(error: CxrfeatError, node: Node) -> CxrfeatError:
    """Say on which machine an error was raised."""
    said = f"on {node.host}: {error}"
    error.args = (said, *error.args[1:])
    if isinstance(error, ImportError):
        error.msg = said  # what it shows
    return error


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
