"""Connect to a Ray cluster, or start one on this machine for the time of a block."""

from __future__ import annotations

import gc
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any

from cxrfeat.cores import available_cores
from cxrfeat.errors import ClusterError, InputError, MissingExtraError, UnknownNameError

ENGINES = ("local", "ray")
"""Where a command may have its work done: in this process, or by Ray."""

CONNECT_SECONDS = 10.0
"""How long an address may take to answer; Ray itself would try for minutes, then end Python."""

LOCAL_OBJECT_BYTES = 256 << 20
"""Shared memory of a local Ray, where batches are small; Ray would take a third of the machine."""

_SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray prints what it has to say of dead workers among our results on stdout.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}


@contextmanager
def connected(
    address: str | None = None, *, object_bytes: int = LOCAL_OBJECT_BYTES
) -> Iterator[Any]:
    """Give the module `ray`, connected; leave the cluster at the end, or end the local one.

    Parameters
    ----------
    address : str, optional
        ``HOST:PORT`` of a cluster, or "auto" for the one that runs on this machine. Default: a
        local one is started, whatever ``RAY_ADDRESS`` or the files of an ended one say. Where this
        process is connected already, that connection is used and kept.
    object_bytes : int
        Shared memory of a local one.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    InputError
        An address that cannot be one.
    ClusterError
        Nothing answers there, or Ray does not start.
    """
    with _silent():
        if address is None:
            _lock_out_others()
        ray = imported()
        if ray.is_initialized():
            yield ray
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if address is None:
            options |= {
                "num_cpus": available_cores(),
                "object_store_memory": object_bytes,
                "include_dashboard": False,
            }
        else:
            _require_answer(address)
        _start(ray, address=address or "local", **options)
        try:
            yield ray
        finally:
            _leave(ray)


def check_engine(engine: str, of_ray: Mapping[str, object]) -> None:
    """Refuse an engine that there is not, or that cannot be used, before any work.

    Parameters
    ----------
    engine : str
        One of `ENGINES`.
    of_ray
        Options that are for Ray alone, by their name on the command line; None for those not given.

    Raises
    ------
    UnknownNameError, InputError
        It does not exist, or options do not belong to it.
    MissingExtraError
        Ray is not installed.
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    given = [option for option, value in of_ray.items() if value is not None]
    if given and engine != "ray":
        raise InputError(f"--{given[0]} is for Ray: add --engine ray, or leave it out")
    if engine == "ray" and find_spec("ray") is None:
        raise MissingExtraError("engine 'ray'", "ray")


def imported() -> Any:
    """Import Ray so that it sends and prints nothing of its own accord.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    with _silent():
        try:
            import ray
        except ImportError:
            raise MissingExtraError("engine 'ray'", "ray") from None
    return ray


def _silent() -> AbstractContextManager[None]:
    return _environment({name: value for name, value in _SILENT.items() if name not in os.environ})


def _start(ray: Any, **options: Any) -> None:
    where = "on this machine" if options["address"] == "local" else f"at {options['address']}"
    try:
        ray.init(**options)
    except (OSError, RuntimeError, ValueError, SystemExit, ray.exceptions.RayError) as error:
        first, *_ = [*str(error).strip().splitlines(), "no reason is given"]
        raise ClusterError(
            f"Ray cannot be used {where} ({first.rstrip('.')}): see `ray status` there, and the "
            "newest folder of /tmp/ray for its logs"
        ) from None


def _leave(ray: Any) -> None:
    """Disconnect, with no collection of cycles meanwhile.

    A reference to something of Ray's that is let go while Ray ends makes it end the whole process.
    Those that an error left in a cycle would be let go by whichever thread collects.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if collects:
            gc.enable()


def _lock_out_others() -> None:
    """Let nobody else on this machine give work to our Ray, unless tokens are settled already.

    Ray reads this when it is imported, for as long as the process lives.
    """
    if "ray" not in sys.modules and not any(name.startswith("RAY_AUTH_") for name in os.environ):
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _require_answer(address: str) -> None:
    """Refuse an address where nothing listens."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not (colon and host and port.isdigit()):
        raise InputError(
            f"address '{address}' is not HOST:PORT (or auto): take the one that `ray start --head` "
            "printed, and run this on a machine of that cluster"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ClusterError(
            f"no Ray cluster answers at {address} ({reason}): see `ray status` on its head, or "
            "leave out the address for a Ray of this machine alone"
        ) from None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which the processes of Ray inherit, for a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
