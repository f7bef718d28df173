"""The embeddings that a model takes: of images, or out of embedding files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat import features, images, inputs, store
from cxrfeat.arrays import Matrix32
from cxrfeat.errors import ImageError, InputError, SpecMismatchError
from cxrfeat.extraction.drain import Progress, Target, drain
from cxrfeat.extraction.failures import Failure
from cxrfeat.extraction.job import OpenJob
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.plan import plan
from cxrfeat.extraction.sources import sources_of
from cxrfeat.images import ReadingOptions
from cxrfeat.model import Model
from cxrfeat.prediction.reopened_extractor import (
    reading_options,
    refuse_imported,
    reopen_extractor,
)
from cxrfeat.spec import difference
from cxrfeat.spec import fingerprint as fingerprint_of


@dataclass(frozen=True)
class Embedded:
    """Images with the embeddings that the model takes.

    Attributes
    ----------
    ids, sha256 : list of str, length n
    X : ndarray of float32, shape (n, D)
    """

    ids: list[str]
    sha256: list[str]
    X: Matrix32
    failures: list[Failure]
    notes: list[str] = field(default_factory=list)


class _Collected:
    """Rows of one extractor in memory, filled as an embedding file is."""

    def __init__(self) -> None:
        self.rows: dict[str, Matrix32] = {}
        self.sha256: dict[str, str] = {}
        self.failures: dict[str, Failure] = {}

    def write(
        self,
        ids: Sequence[str],
        vectors: Matrix32,
        sha256: Sequence[str],
        stats: Sequence[tuple[int, int]] | None = None,
    ) -> Sequence[str]:
        """Keep the rows of some images."""
        self.rows.update(zip(ids, vectors, strict=True))
        self.sha256.update(zip(ids, sha256, strict=True))
        return ()

    def fail(
        self,
        id: str,
        code: str,
        reason: str,
        sha256: str = "",
        stat: tuple[int, int] | None = None,
    ) -> None:
        """Keep why an image has no row."""
        self.failures[id] = Failure(id, code, reason)

    def commit(self) -> None:
        """Nothing to do in memory."""


def parts_of(loaded: Model) -> dict[str, Mapping[str, Any]]:
    """Return the spec of every extractor of a model by its name, in the order of the columns."""
    combined = loaded.spec.get("combined")
    return {loaded.extractor: loaded.spec} if combined is None else dict(combined)


def from_images(
    loaded: Model,
    given: Sequence[Path],
    weights: Sequence[str],
    modality: Sequence[str],
    device: str,
    batch_size: int | None,
    workers: int,
    progress: Callable[[Progress], None] | None,
) -> Embedded:
    """Read and embed images as the model's training images were, each image read once.

    Raises
    ------
    InputError, WeightsError, SpecMismatchError, MadeElsewhereError
    """
    found = inputs.find(given)
    specs = parts_of(loaded)
    opened = reopen_all(specs, weights=weights, device=device)
    options = _how_read(specs, modality)
    collected = {name: _Collected() for name in specs}
    engine = LocalEngine(OpenJob(opened, options), batch_size=batch_size, workers=workers)
    drained = drain(
        engine,
        plan(sources_of(found), dict.fromkeys(specs, found.ids)),
        [Target(name, str(opened[name].spec["precision"]), collected[name]) for name in specs],
        progress=progress,
    )
    first = next(iter(collected.values()))
    ids = [id_ for id_ in found.ids if all(id_ in one.rows for one in collected.values())]
    failures: dict[str, Failure] = {}
    for one in collected.values():
        failures |= one.failures
    return Embedded(
        ids,
        [first.sha256[id_] for id_ in ids],
        _side_by_side([[one.rows[id_] for id_ in ids] for one in collected.values()], loaded),
        [failures[id_] for id_ in found.ids if id_ in failures],
        [
            *(note for note in found.notes if "passed over" in note),
            *(note for extractor in opened.values() for note in extractor.notes),
            *drained.notes(),
        ],
    )


def from_pictures(
    loaded: Model,
    given: Sequence[Any],
    weights: Sequence[str],
    modality: Sequence[str],
    device: str,
) -> Embedded:
    """Embed arrays and pictures that are in memory, and files among them.

    Raises
    ------
    InputError, WeightsError, SpecMismatchError
    """
    specs = parts_of(loaded)
    opened = reopen_all(specs, weights=weights, device=device)
    options = _how_read(specs, modality)
    ids, sha256, failures = list[str](), list[str](), list[Failure]()
    seen: dict[str, list[Matrix32]] = {name: [] for name in specs}
    for number, one in enumerate(given):
        id_ = f"image-{number}" if images.is_picture(one) else str(one)
        try:
            radiograph = images.read_picture(one, options=options)
        except ImageError as error:
            failures.append(Failure(id_, error.code, error.reason))
            continue
        ids.append(id_)
        sha256.append(radiograph.sha256)
        for name, extractor in opened.items():
            seen[name].append(images.frame(radiograph.pixels, extractor.framing))
    X = (
        np.concatenate([opened[name](np.stack(squares)) for name, squares in seen.items()], axis=1)
        if ids
        else np.zeros((0, loaded.dimension), np.float32)
    )
    notes = [note for extractor in opened.values() for note in extractor.notes]
    return Embedded(ids, sha256, X, failures, notes)


def _how_read(specs: Mapping[str, Mapping[str, Any]], modality: Sequence[str]) -> ReadingOptions:
    options = {reading_options(spec, modality) for spec in specs.values()}
    if len(options) > 1:
        raise InputError(
            "the model's extractors read another frame of a file, or other bits, each: extract"
            " with the same --frame and --bits"
        )
    return options.pop()


def reopen_all(
    specs: Mapping[str, Mapping[str, Any]], *, weights: Sequence[str] = (), device: str = "auto"
) -> dict[str, features.Extractor]:
    """Open every extractor of a model; each gets the sources of weights that are for it."""
    for spec in specs.values():
        refuse_imported(spec)
    backbones = [str(spec.get("backbone", "")) for spec in specs.values()]
    known = [name for name in dict.fromkeys(backbones) if name]
    for name in known:
        features.check_name(name)
    if known:
        features.assign_each(known, weights)  # a source that is for none of them is refused
    return {
        name: reopen_extractor(
            spec,
            weights=[one for one in weights if _is_for(one, name, specs, known)],
            device=device,
        )
        for name, spec in specs.items()
    }


def _is_for(
    source: str, name: str, specs: Mapping[str, Mapping[str, Any]], backbones: Sequence[str]
) -> bool:
    """Whether a source of weights is for an extractor, and not for another one of the model."""
    backbone = specs[name].get("backbone")
    asked = features.assign_each(backbones, [source])
    chosen = next(choice for asked_for, choice in asked if asked_for == backbone)
    # A source is for a backbone when naming it changes what the others get, or what all get.
    if len(backbones) > 1 and (backbone, chosen) in features.assign_each(backbones):
        return False
    others = [s for n, s in specs.items() if n != name and s.get("backbone") == backbone]
    return chosen.weights_name not in [_weights_name(spec) for spec in others] or (
        chosen.weights_name == _weights_name(specs[name])
    )


def _weights_name(spec: Mapping[str, Any]) -> str:
    weights = spec.get("weights")
    return str(weights.get("name")) if isinstance(weights, Mapping) else ""


def from_files(loaded: Model, given: Sequence[Path]) -> Embedded:
    """Take the rows of embedding files, one for each extractor of the model, in any order.

    Raises
    ------
    InputError
        Another number of files, or images that differ between them.
    SpecMismatchError
        A file of another fingerprint than the model's.
    """
    if not all(path.suffix.lower() == ".h5" for path in given):
        raise InputError("embedding files and images cannot be mixed: give one or the other")
    specs = parts_of(loaded)
    if len(given) != len(specs):
        raise InputError(
            f"this model takes embeddings of {', '.join(specs)}: give {len(specs)} embedding"
            f" file(s), not {len(given)}"
        )
    files = [_File.of(path) for path in given]
    matched = [_matching(name, spec, files) for name, spec in specs.items()]
    first = matched[0]
    ids = [id_ for id_ in first.done if all(id_ in one.done for one in matched)]
    for one in matched[1:]:
        for id_ in ids:
            known = one.sha256[id_] and first.sha256[id_]  # an import may not know it
            if known and one.sha256[id_] != first.sha256[id_]:
                raise InputError(
                    f"'{id_}' is another image in {one.path} than in {first.path} (sha256"
                    " differs): extract both from the same folder"
                )
    failures: dict[str, Failure] = {}
    for one in matched:
        failures |= one.failures
    pending = first.rows - first.gone - len(ids) - len(failures)
    notes = [f"{pending} row(s) without an embedding were left out"] if pending > 0 else []
    if first.gone:
        notes.append(
            f"{first.gone} row(s) whose image is gone since the last extract were left out"
        )
    X = np.concatenate([one.read(ids) for one in matched], axis=1)
    return Embedded(ids, [first.sha256[id_] for id_ in ids], X, list(failures.values()), notes)


@dataclass(frozen=True)
class _File:
    """What `predict` needs of an embedding file."""

    path: Path
    spec: Mapping[str, Any]
    fingerprint: str
    rows: int
    gone: int
    done: dict[str, None]
    sha256: dict[str, str]
    failures: dict[str, Failure]

    @classmethod
    def of(cls, path: Path) -> _File:
        with store.load(path) as file:
            split = [error.partition(": ") for error in file.errors]
            everything = zip(file.ids, file.status.tolist(), split, file.gone, strict=True)
            rows = [(id_, status, error) for id_, status, error, gone in everything if not gone]
            return cls(
                path,
                file.spec,
                file.fingerprint,
                len(file),
                len(file) - len(rows),
                {id_: None for id_, status, _ in rows if status == store.DONE},
                dict(zip(file.ids, file.sha256, strict=True)),
                {
                    id_: Failure(id_, code, reason)
                    for id_, status, (code, _, reason) in rows
                    if status == store.FAILED
                },
            )

    def read(self, ids: Sequence[str]) -> Matrix32:
        with store.load(self.path) as file:
            return file.numpy(ids)


def _matching(name: str, spec: Mapping[str, Any], files: Sequence[_File]) -> _File:
    wanted = fingerprint_of(spec)
    for file in files:
        if file.fingerprint == wanted:
            return file
    nearest = min(files, key=lambda file: len(difference(file.spec, spec)))
    raise SpecMismatchError(
        f"{nearest.path} was made in another way than the model's {name} ('there'): predict from"
        " the images, or extract with the same options",
        difference(nearest.spec, spec),
    )


def _side_by_side(rows: Sequence[Sequence[Matrix32]], loaded: Model) -> Matrix32:
    if not rows[0]:
        return np.zeros((0, loaded.dimension), dtype=np.float32)
    return np.concatenate([np.stack(of_one) for of_one in rows], axis=1)
