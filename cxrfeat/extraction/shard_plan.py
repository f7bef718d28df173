"""The plan that every shard of a set keeps to: written once, by whoever comes first.

What is decided over all images, such as the depth of 16-bit pictures, is decided by one process
while the others wait, and stands in the plan. Who comes with other images, labels, weights or
options is refused with the difference, before it computes anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat.errors import FileFormatError, InputError, LockedError, SpecMismatchError, StorageError
from cxrfeat.extraction.shards import SHARDS, shard_of
from cxrfeat.inputs import Dataset
from cxrfeat.spec import Spec, difference, fingerprint
from cxrfeat.store import FileLock

_FORMAT, _VERSION = "cxrfeat-shards", 1
_LOOK_AGAIN = 0.5  # seconds between two looks whether the plan is there
_SAY_AFTER, _SAY_AGAIN = 3.0, 60.0  # seconds of waiting


@dataclass(frozen=True)
class ShardPlan:
    """What all shards of a set have in common.

    Attributes
    ----------
    images : tuple of int
        How many fall to each shard.
    ids : str
        Sha256 of the list of all ids, in their order.
    labels : str
        Sha256 of the labels and columns of all images, as a table or the folders give them.
    options : dict
        Options that are not in the spec and decide which images fail, or how rows are stored.
    bits : int or None
        How many bits pictures of 16 use where they do not state it, decided over all images.
    notes : tuple of str
        How that was decided, in sentences.
    specs : dict of str to dict
        Of each extractor, by its name.
    """

    images: tuple[int, ...]
    ids: str
    labels: str
    options: dict[str, Any]
    bits: int | None
    notes: tuple[str, ...]
    specs: dict[str, Spec]

    @classmethod
    def of(
        cls,
        found: Dataset,
        count: int,
        options: Mapping[str, Any],
        bits: int | None,
        specs: Mapping[str, Spec],
        notes: Sequence[str] = (),
    ) -> ShardPlan:
        """Plan `count` shards of all the images that were found."""
        places = [shard_of(id_, count) for id_ in found.ids]
        return cls(
            images=tuple(np.bincount(places, minlength=count).tolist()),
            ids=digest_of(found.ids),
            labels=_labels_digest(found),
            options=json.loads(json.dumps(dict(options))),  # as it will be read back
            bits=bits,
            notes=tuple(notes),
            specs=json.loads(json.dumps(dict(specs))),
        )

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.images)

    def fingerprint(self, name: str) -> str:
        """Return the fingerprint that the files of an extractor must have."""
        return fingerprint(self.specs[name])

    def require(self, ours: ShardPlan, path: Path) -> None:
        """Refuse a process that would compute something else.

        Parameters
        ----------
        ours
            What that process is to compute.
        path
            Where this plan is, for the message.

        Raises
        ------
        InputError, SpecMismatchError
            The first difference; the latter with a line for each entry of a spec.
        """
        self.require_count(ours.shards, path)
        if ours.ids != self.ids:
            ours_all, all_ = sum(ours.images), sum(self.images)
            told = "as many, but others" if ours_all == all_ else f"not {all_:,}"
            raise InputError(
                f"'{path}' is a plan for other images: there are {ours_all:,} now, {told}: bring"
                f" the images back to what they were, or choose another --out"
            )
        if ours.labels != self.labels:
            raise InputError(
                f"'{path}' is a plan for other labels or columns of the same images: give the same"
                " table and options to every shard, or choose another --out"
            )
        if differs := difference(ours.options, self.options):
            raise InputError(
                f"'{path}' is a plan with other options ({'; '.join(differs)}): give the same ones"
                " to every shard, or choose another --out"
            )
        if ours.specs.keys() != self.specs.keys():
            raise InputError(
                f"'{path}' is a plan for {', '.join(sorted(self.specs))}, not"
                f" {', '.join(sorted(ours.specs))}: name the same extractors for every shard, or"
                " choose another --out"
            )
        for name, spec in ours.specs.items():
            if fingerprint(spec) != self.fingerprint(name):
                raise SpecMismatchError(
                    f"'{path}' is a plan for another {name} ('there'): use the same options,"
                    " weights and package versions for every shard, or choose another --out",
                    difference(spec, self.specs[name]),
                )

    def require_count(self, count: int, path: Path) -> None:
        """Refuse another number of shards.

        Raises
        ------
        InputError
        """
        if count != self.shards:
            raise InputError(
                f"'{path}' is a plan for {self.shards} shards, not {count}: go on with --shard"
                f" I/{self.shards}, or choose another --out"
            )


def plan_file(out: Path) -> Path:
    """Return where the plan of the shards of a folder of embeddings is."""
    return out / SHARDS / "plan.json"


def read_plan(out: Path) -> ShardPlan | None:
    """Read the plan of a folder of embeddings; None where there is none.

    Raises
    ------
    FileFormatError
        A file that is no plan, or one of a later version.
    """
    path = plan_file(out)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"'{path}' cannot be read ({error}): restore it from a copy"
        ) from None
    try:
        if document.pop("format") != _FORMAT:
            raise ValueError("another format")
        version = document.pop("version")
        if version == _VERSION:
            document.pop("fingerprints")
            document["images"] = tuple(document["images"])
            document["notes"] = tuple(document["notes"])
            return ShardPlan(**document)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise FileFormatError(f"'{path}' is no plan of shards: restore it from a copy") from None
    raise FileFormatError(
        f"'{path}' is a plan of version {version}; this cxrfeat knows version {_VERSION}: use the"
        " cxrfeat that wrote it"
    )


def settled_plan(
    out: Path, draft: Callable[[], ShardPlan], say: Callable[[str], None] = lambda _: None
) -> ShardPlan:
    """Return the plan of a folder of embeddings; where there is none, make it.

    However many processes ask at once, one of them drafts and the others wait for it; where it is
    killed, another one takes over. Should locks not reach from machine to machine, several draft,
    the first to be done writes, and the others keep to that.

    Parameters
    ----------
    out
        The folder.
    draft
        Makes the plan.
    say
        Told after some seconds, and then now and then, whom this process waits for.

    Raises
    ------
    StorageError
        The plan cannot be written.
    """
    path = plan_file(out)
    say_at = time.monotonic() + _SAY_AFTER
    while (plan := read_plan(out)) is None:
        try:
            lock = FileLock(path)
        except LockedError as error:
            if time.monotonic() >= say_at:
                say(f"waiting for the plan of the shards: {error}")
                say_at = time.monotonic() + _SAY_AGAIN
            time.sleep(_LOOK_AGAIN * (0.5 + random.random()))
            continue
        with lock:
            if read_plan(out) is None:
                write_once(path, _text(draft()))
    return plan


def write_once(path: Path, text: str) -> str:
    """Write a whole file unless there is one already, and return what it holds now.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    mine = path.with_name(f"{path.name}.{os.getpid()}-{random.getrandbits(64):016x}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with mine.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(mine, path)  # whole, and only if there is none: of several processes one wins
        except FileExistsError:
            pass
        except OSError:  # a file system without links; a rename is whole as well
            if not path.exists():
                mine.replace(path)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"'{path}' cannot be written ({error.strerror or error}): make room, or choose another"
            " --out"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            mine.unlink()


def require_patient_key(out: Path, key: str) -> None:
    """Refuse a process that hashes patients with another key than the shards before it.

    Raises
    ------
    InputError
    """
    path = out / SHARDS / "patient-key.txt"
    there = write_once(path, key + "\n").strip()
    if there != key:
        raise InputError(
            f"the patients of other shards were hashed with another key ({there}, here {key}), so"
            " that one patient would have two groups: set $CXRFEAT_PATIENT_KEY to the same value"
            " for every shard, or copy the key file, ~/.config/cxrfeat/patient-key"
        )


def digest_of(texts: Sequence[str]) -> str:
    """Return the sha256 of a list of texts, each of them in UTF-8 and ended by a NUL."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _labels_digest(found: Dataset) -> str:
    columns = sorted(found.meta)
    parts = [digest_of([found.kind, *found.classes]), digest_of(columns)]
    if found.labels is not None:
        labels = np.where(np.isnan(found.labels), np.float32(np.nan), found.labels)
        parts.append(hashlib.sha256(np.ascontiguousarray(labels, dtype="<f4").data).hexdigest())
    parts += [digest_of(found.meta[name].tolist()) for name in columns]
    return digest_of(parts)


def _text(plan: ShardPlan) -> str:
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        **asdict(plan),
        "fingerprints": {name: plan.fingerprint(name) for name in plan.specs},
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
