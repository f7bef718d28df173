"""`cxrfeat shards script`: a script that runs all shards, to be edited; `docs/cluster.md`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from string import Template

from cxrfeat import defaults
from cxrfeat.errors import InputError
from cxrfeat.extraction.shards import Shard
from cxrfeat.paths import several

_TO_EDIT = """
# ---- to edit ----
# What makes `cxrfeat` a command here, e.g.: source /path/to/venv/bin/activate
# Computing nodes often have no network: `cxrfeat weights fetch BACKBONE --out FOLDER` on one that
# has, then: export CXRFEAT_WEIGHTS=FOLDER
# ---- as it was asked for ----
shards=$shards
out=$out
extract=($command)
"""

_SLURM = Template(
    """#!/bin/bash
# bash shards.sh          submits all shards, then, when they ended, status and merge
# bash shards.sh 3,5-7    submits these shards again, as `cxrfeat shards status` lists them
#SBATCH --job-name=cxrfeat
#SBATCH --cpus-per-task=$workers
#SBATCH --mem=$memory
#SBATCH --time=24:00:00
##SBATCH --gres=gpu:1
#SBATCH --output=cxrfeat-%A_%a.log
set -euo pipefail
"""
    + _TO_EDIT
    + """at_once=$at_once # tasks that run at the same time
most=1000 # tasks of one array, below MaxArraySize: scontrol show config | grep MaxArraySize

submit() { # submit DEPENDENCY INDICES FIRST: prints the job that it made
    local job
    job=$$(sbatch --parsable $${1:+"--dependency=$$1"} "--array=$$2%$$at_once" "$$0" run "$$3")
    echo "$${job%%;*}"
}

case "$${1-}" in
run) # one task of an array: the shard is the first one of its array and the task's own number
    exec "$${extract[@]}" --shard "$$(($$2 + SLURM_ARRAY_TASK_ID))/$$shards"
    ;;
merge)
    cxrfeat shards status "$$out"
    exec cxrfeat shards merge "$$out"
    ;;
"") # in several arrays where one may not be so large; each waits for the one before it
    job=
    for ((first = 0; first < shards; first += most)); do
        last=$$((shards - first < most ? shards - first - 1 : most - 1))
        job=$$(submit "$${job:+afterany:$$job}" "0-$$last" "$$first")
    done
    ;;
*)
    job=$$(submit "" "$$1" 0)
    ;;
esac
sbatch --dependency="afterany:$$job" --output=cxrfeat-merge-%j.log "$$0" merge
"""
)

_PLAIN = Template(
    """#!/bin/bash
# On each of several machines that share this folder, with its number from 0 and how many there are:
# bash shards.sh 0 4      on the first of four; in the end, on one of them: bash shards.sh merge
set -euo pipefail
"""
    + _TO_EDIT
    + """
if [ "$${1-}" = merge ]; then
    cxrfeat shards status "$$out"
    exec cxrfeat shards merge "$$out"
fi
machine=$${1:?number of this machine, from 0}
machines=$${2:?how many machines there are}
for ((shard = machine; shard < shards; shard += machines)); do
    # 1: some images failed, which are listed; anything else ends the loop
    "$${extract[@]}" --shard "$$shard/$$shards" || [ $$? = 1 ]
done
"""
)


def shards_script(
    arguments: str | Sequence[str],
    *,
    slurm: bool = False,
    shards: int = defaults.SHARDS,
    at_once: int = defaults.SHARDS_AT_ONCE,
    workers: int = defaults.SHARD_WORKERS,
    memory: str = defaults.SHARD_MEMORY,
) -> str:
    """Write a script that runs all shards of an extraction, and then merges them.

    Parameters
    ----------
    arguments : str or sequence of str
        What `cxrfeat extract` is to be given, without ``--shard``.
    slurm : bool
        For Slurm, as arrays of jobs; default: for machines that share a folder.
    shards : int
        How many there are.
    at_once : int
        Of them run at the same time (Slurm).
    workers : int
        Threads, and so cores, of each.
    memory : str
        Of each, as ``sbatch --mem`` takes it (Slurm).

    Returns
    -------
    str
        A script for bash, to be edited where it says so.

    Raises
    ------
    InputError
        Arguments that a script of shards cannot have, or numbers that cannot be.
    """
    given = several(arguments)
    if not given:
        raise InputError("nothing to extract: give the arguments of cxrfeat extract after --")
    if given[0] == "extract":
        given = given[1:]
    if any(word == "--shard" or word.startswith("--shard=") for word in given):
        raise InputError("leave out --shard: the script gives each process its own")
    Shard.parse(f"0/{shards}")
    if at_once < 1 or workers < 1:
        raise InputError(f"{at_once} at once, {workers} workers: use 1 or more of each")
    if not re.fullmatch(r"[0-9]+[KMGT]?", memory):
        raise InputError(f"memory '{memory}': write it as sbatch takes it, e.g. 8G")
    if not any(word == "--workers" or word.startswith("--workers=") for word in given):
        given += ["--workers", str(workers)]
    command = shlex.join(["cxrfeat", "extract", *given])
    return (_SLURM if slurm else _PLAIN).substitute(
        shards=shards,
        out=shlex.quote(_out_of(given)),
        command=command,
        at_once=at_once,
        workers=workers,
        memory=memory,
    )


def _out_of(given: Sequence[str]) -> str:
    out = defaults.EMBEDDINGS
    for word, following in zip(given, [*given[1:], ""], strict=True):
        if word == "--out":
            out = following
        elif word.startswith("--out="):
            out = word.removeprefix("--out=")
    return out
