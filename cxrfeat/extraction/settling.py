"""Which images a run works on and how they are read, once all of them, or all shards, agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxrfeat.errors import InputError
from cxrfeat.extraction.bit_depth import decide_bits
from cxrfeat.extraction.declared_columns import with_declared_columns
from cxrfeat.extraction.heads import heads_of
from cxrfeat.extraction.known_images import KnownImages
from cxrfeat.extraction.largest_samples import LargestSamples
from cxrfeat.extraction.shard_plan import (
    ShardPlan,
    plan_file,
    read_plan,
    require_patient_key,
    settled_plan,
)
from cxrfeat.extraction.shards import Shard
from cxrfeat.extraction.sources import sources_of
from cxrfeat.images import ReadingOptions
from cxrfeat.inputs import Dataset
from cxrfeat.spec import Spec


@dataclass(frozen=True)
class Settled:
    """What a run works on.

    Attributes
    ----------
    images : Dataset
        With the columns that images declare of themselves.
    reading : ReadingOptions
        With the bits of 16-bit pictures settled.
    notes : list of str
        What was decided, in sentences.
    known : KnownImages
        What the files of the run know about the images.
    """

    images: Dataset
    reading: ReadingOptions
    notes: list[str]
    known: KnownImages


def settle(
    found: Dataset,
    reading: ReadingOptions,
    files: Sequence[Path],
    workers: int,
    samples: LargestSamples | None = None,
) -> Settled:
    """Settle a run over all images that were found, into some files.

    `samples` are largest samples that were kept, as `decide_bits` takes them.
    """
    known = KnownImages(files, found, sources_of(found), workers)
    heads = heads_of(known.sources, workers, known.to_look_at([*found.meta]))
    found = with_declared_columns(found, workers, known, heads)
    reading, decided = decide_bits(
        known.sources, reading, kept=known.bits, heads=heads, samples=samples, workers=workers
    )
    return Settled(found, reading, [*found.notes, *decided], known)


def settle_shard(
    shard: Shard,
    found: Dataset,
    reading: ReadingOptions,
    out: Path,
    files: Sequence[Path],
    *,
    storage: str,
    specs: Callable[[ReadingOptions], dict[str, Spec]],
    say: Callable[[str], None],
    workers: int,
    samples: LargestSamples | None = None,
) -> Settled:
    """Settle a run over one shard of all images that were found.

    Parameters
    ----------
    shard, found
        Which of them.
    reading
        As it was asked for.
    out
        Folder of the embeddings, for the plan.
    files
        Of the shard.
    storage
        How rows are stored.
    specs
        Gives the spec of every extractor by its name, for images that are read in some way.
    say
        Told what is waited for.
    workers
        Threads that read.
    samples
        As for `settle`.

    Raises
    ------
    InputError, SpecMismatchError
        What the other shards of the plan do is something else.
    StorageError, FileFormatError
        The plan cannot be written or read.
    """
    options = {
        "--modality": reading.modalities,
        "--frame": reading.frame,
        "--bits": reading.bits,
        "--storage": storage,
    }

    def draft() -> ShardPlan:
        decided, notes = decide_bits(sources_of(found), reading, samples=samples, workers=workers)
        return ShardPlan.of(found, shard.count, options, decided.bits, specs(decided), notes)

    plan = settled_plan(out, draft, say)
    settled = replace(reading, bits=plan.bits, guess_bits=False)
    plan.require(
        ShardPlan.of(found, shard.count, options, plan.bits, specs(settled)), plan_file(out)
    )
    ours = shard.of(found)
    known = KnownImages(files, ours, sources_of(ours), workers)
    ours = with_declared_columns(ours, workers, known)
    if ours.patient_key is not None:
        require_patient_key(out, ours.patient_key.id)
    said = f"shard {shard.index} of {shard.count}: {len(ours)} of {len(found)} images"
    return Settled(ours, settled, [*ours.notes, *plan.notes, said], known)


def check_shards(out: Path, shard: Shard | None, names: Sequence[str]) -> None:
    """Refuse at once what a folder of shards cannot take; listing images takes its time.

    Parameters
    ----------
    out
        Folder of the embeddings.
    shard
        What the run is to compute, None for all.
    names
        Of its extractors.

    Raises
    ------
    InputError
        Another number of shards, or all images where shards are not merged yet.
    """
    plan = read_plan(out)
    if plan is None:
        return
    if shard is not None:
        plan.require_count(shard.count, plan_file(out))
        return
    lacking = [name for name in names if name in plan.specs and not (out / f"{name}.h5").exists()]
    if lacking:
        raise InputError(
            f"'{out}' has shards of {', '.join(lacking)} that are not merged: run cxrfeat shards"
            f" merge {out} first, name one with --shard, or choose another --out"
        )
