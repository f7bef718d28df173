"""`cxrfeat shards`: what became of shards, and one file out of them; `docs/cluster.md`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrfeat import defaults, store
from cxrfeat.errors import InputError
from cxrfeat.extraction.failures import Failure, failures_in, write_failures
from cxrfeat.extraction.shard_files import ShardState, as_array, states_of
from cxrfeat.extraction.shard_plan import ShardPlan, plan_file, read_plan
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike


@dataclass(frozen=True)
class ShardedExtractor:
    """What became of the shards of one extractor.

    Attributes
    ----------
    name : str
    complete, incomplete, missing, unusable : int
        Shards in each state.
    done, failed, pending : int
        Images.
    shards : list of ShardState
        Every shard, in order.
    """

    name: str
    complete: int
    incomplete: int
    missing: int
    unusable: int
    done: int
    failed: int
    pending: int
    shards: list[ShardState]


@dataclass(frozen=True, repr=False)
class ShardsStatus(Shown):
    """What became of the shards of a folder.

    Attributes
    ----------
    out : Path
    shards, images : int
        How many there are by the plan.
    complete : bool
        Whether every shard of every extractor is.
    array : str
        The shards that are still to be run, as ``--array=`` takes them; "" where none is.
    extractors : list of ShardedExtractor
    """

    out: Path
    shards: int
    images: int
    complete: bool
    array: str
    extractors: list[ShardedExtractor]


@dataclass(frozen=True, repr=False)
class ShardsMerge(Shown):
    """What `shards_merge` made.

    Attributes
    ----------
    files : list of store.Merged
        One for each extractor.
    left_out : dict of str to str
        By extractor, shards that are not in it, as ``--array=`` takes them; empty where none is.
    failures : list of Failure
        Every image that failed.
    failures_file : Path or None
        The same as a table, where there are any.
    """

    files: list[store.Merged]
    left_out: dict[str, str]
    failures: list[Failure]
    failures_file: Path | None


def shards_status(out: PathLike = defaults.EMBEDDINGS) -> ShardsStatus:
    """Say which shards of a folder of embeddings are complete, and which are to be run still.

    Parameters
    ----------
    out : path
        As `cxrfeat.extract` was given it.

    Returns
    -------
    ShardsStatus

    Raises
    ------
    InputError
        There are no shards.
    FileFormatError
        Their plan is damaged.
    """
    plan = _plan_of(Path(out))
    extractors = [_sharded(name, states_of(plan, Path(out), name)) for name in plan.specs]
    to_run = {
        state.shard
        for extractor in extractors
        for state in extractor.shards
        if state.status != "complete"
    }
    return ShardsStatus(
        out=Path(out),
        shards=plan.shards,
        images=sum(plan.images),
        complete=not to_run,
        array=as_array(to_run),
        extractors=extractors,
    )


def shards_merge(out: PathLike = defaults.EMBEDDINGS, *, partial: bool = False) -> ShardsMerge:
    """Make one file per extractor out of its shards, as one run over all images would have.

    The shards stay as they are. Where the file has all their rows already, it stays as well.

    Parameters
    ----------
    out : path
        As `cxrfeat.extract` was given it; the files go there.
    partial : bool
        Leave out shards that are missing, and take those that are not complete; a later merge
        makes up for it.

    Returns
    -------
    ShardsMerge

    Raises
    ------
    InputError
        There are no shards, one is missing, incomplete or not of the plan, or there is a file
        that holds what the shards do not.
    FileFormatError, LockedError, StorageError
        A shard is damaged; the file is being written, or cannot be.
    """
    folder = Path(out)
    plan = _plan_of(folder)
    states = {name: states_of(plan, folder, name) for name in plan.specs}
    for name, found in states.items():
        _refuse(name, found, plan, partial)
    files, left_out = [], {}
    for name, found in states.items():
        there = [state.path for state in found if state.path.exists()]
        files.append(store.merge_shards(there, folder / f"{name}.h5"))
        if lacking := [state.shard for state in found if state.status == "missing"]:
            left_out[name] = as_array(lacking)
    failures = failures_in([file.path for file in files])
    return ShardsMerge(
        files=files,
        left_out=left_out,
        failures=failures,
        failures_file=write_failures(folder / "failures.csv", failures),
    )


def _plan_of(out: Path) -> ShardPlan:
    plan = read_plan(out)
    if plan is None:
        raise InputError(
            f"no shards in '{out}' (there is no '{plan_file(out)}'): run cxrfeat extract with"
            " --shard I/N first, or name its --out"
        )
    return plan


def _sharded(name: str, shards: list[ShardState]) -> ShardedExtractor:
    statuses = [state.status for state in shards]
    return ShardedExtractor(
        name=name,
        complete=statuses.count("complete"),
        incomplete=statuses.count("incomplete"),
        missing=statuses.count("missing"),
        unusable=statuses.count("unusable"),
        done=sum(state.done for state in shards),
        failed=sum(state.failed for state in shards),
        pending=sum(state.pending for state in shards),
        shards=shards,
    )


def _refuse(name: str, found: Sequence[ShardState], plan: ShardPlan, partial: bool) -> None:
    for state in found:
        if state.status == "unusable":
            raise InputError(f"shard {state.shard} of {plan.shards}: {state.why}")
    if not any(state.path.exists() for state in found):
        raise InputError(f"no shard of {name} is there: run cxrfeat extract with --shard first")
    if partial:
        return
    told = []
    for status in ("missing", "incomplete"):
        if shards := [state.shard for state in found if state.status == status]:
            told.append(f"{as_array(shards)} {'is' if len(shards) == 1 else 'are'} {status}")
    if told:
        to_run = as_array(state.shard for state in found if state.status != "complete")
        raise InputError(
            f"of the {plan.shards} shards of {name} {' and '.join(told)}: run them (again;"
            f" --array={to_run}), or merge without them by --partial"
        )
