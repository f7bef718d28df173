"""What is audited, out of embedding files, and out of a run where there is one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxrfeat import defaults, store
from cxrfeat.auditing.columns import names_images
from cxrfeat.auditing.pictures import find_sources
from cxrfeat.comparison.loaded_study import load_study, need_mapping
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.registry import find_heads, for_size, weighted
from cxrfeat.evaluation.outcome.saved_run import read_results
from cxrfeat.evaluation.statistics import metrics
from cxrfeat.evaluation.study import folds as folding
from cxrfeat.evaluation.study.design import Asked, plan_comparison
from cxrfeat.evaluation.study.enlarging import combined
from cxrfeat.evaluation.study.relabelling import Relabelling
from cxrfeat.evaluation.study.study import Study
from cxrfeat.extraction.sources import ImageSource
from cxrfeat.inputs import LabelTable
from cxrfeat.paths import PathLike, several
from cxrfeat.reporting.thumbnails import find_folders


@dataclass(frozen=True)
class Audited:
    """Everything that the questions of an audit are asked about.

    Attributes
    ----------
    subject : Subject
        The extractor that images are extracted with anew comes first in its study.
    files : list of Path
        Of the embeddings.
    images : list of str
        Where they are, as it was given or found.
    sources : mapping of str to ImageSource
        Their images, by id.
    collections : list of str
        Public collections that the images are said to be of.
    source : str or None
        The column of sources, if there is one.
    attributes : list of str
        The columns that are asked about.
    weights : sequence of str
        Where to find those of the extractors.
    device : str
    quick : bool
        Nothing is extracted anew.
    folds : str
        In words.
    notes : list of str
    """

    subject: Subject
    files: list[Path]
    images: list[str]
    sources: Mapping[str, ImageSource]
    collections: list[str]
    source: str | None
    attributes: list[str]
    weights: Sequence[str]
    device: str
    quick: bool
    folds: str
    notes: list[str]

    @property
    def folders(self) -> list[Path]:
        """The folders among the places of images, in which ids begin."""
        return [path for path in map(Path, self.images) if path.is_dir()]

    @property
    def extractor(self) -> str:
        """The name of the one that images are extracted with anew."""
        return self.subject.study.extractors[0].name


NO_ATTRIBUTES = ("group", "split")
"""Columns that say who and which side, not what an image is like; asked about when named."""


def open_audited(
    embeddings: PathLike | Sequence[PathLike] | None,
    images: PathLike | Sequence[PathLike] | None,
    *,
    run: Path | None = None,
    source: str | None = None,
    attributes: Sequence[str] = (),
    collections: Sequence[str] = (),
    head: str | None = None,
    metric: str | None = None,
    seed: int = 0,
    jobs: int | None = None,
    weights: Sequence[str] = (),
    device: str = defaults.DEVICE,
    quick: bool = False,
    mapped: Path | None = None,
) -> Audited:
    """Open what is audited.

    Parameters
    ----------
    mapped
        A folder to map embeddings from that are too large for the memory.

    Raises
    ------
    InputError
        No labels; images that are not there; a run of other embeddings, or one that was scored on
        an outside set; an unknown head, metric or column.
    FileFormatError
        A file that is damaged or not ours.
    """
    results = None if run is None else read_results(run / "results.json")
    if results is not None and results["options"].get("test"):
        raise InputError(
            f"{run} was scored on an outside set (--test), whose folds cannot be audited: leave"
            " --run out"
        )
    files = _files(embeddings, run, results)
    options: Mapping[str, Any] = {} if results is None else results["options"]
    joined = list(options.get("combine") or [])
    place = mapped if need_mapping([files], joined) else None
    study = load_study(
        files,
        include_gone=bool(options.get("include_gone")),
        mapped=place,
        labels=_table(run, options.get("labels")),
    )
    study = Relabelling.asked_for(options.get("map") or None, options.get("positive")).of(study)
    study = replace(
        study, extractors=[*study.extractors, *(combined(study, n, place) for n in joined)]
    )
    if run is not None and results is not None:
        _refuse_others(study, run, results)
    study = _first(study, None if results is None else results["winner"]["extractor"])
    asked = Asked(seed=seed)
    if run is not None:
        asked = replace(asked, splits=run / "splits.json", groups=options.get("groups", "auto"))
    study, design = plan_comparison(study, asked)
    if results is not None and study.classes != results["classes"]:
        raise InputError(
            f"{run} told apart {', '.join(results['classes'])}, these embeddings have"
            f" {', '.join(study.classes)}: give the files of that run, or leave EMBEDDINGS out"
        )
    chosen, notes = _head(head, results, max(len(fold.train) for fold in design.folds))
    named = metric or (defaults.METRIC if results is None else results["metric"])
    places, sources = _pictures(images, study, files)
    subject = Subject(study, design, chosen, metrics.primary(named), seed, jobs)
    return Audited(
        subject=subject,
        files=files,
        images=places,
        sources=sources,
        collections=list(collections),
        source=_source(study, source),
        attributes=_attributes(study, attributes),
        weights=list(weights),
        device=device,
        quick=quick,
        folds=design.sentence if results is None else results["folds"],
        notes=[*study.notes, *design.notes, *notes],
    )


def _files(
    embeddings: PathLike | Sequence[PathLike] | None,
    run: Path | None,
    results: Mapping[str, Any] | None,
) -> list[Path]:
    if embeddings is not None and several(embeddings):
        return store.embedding_files(embeddings)
    if run is None or results is None:
        return store.embedding_files(defaults.EMBEDDINGS)
    files = [Path(os.path.normpath(run / entry["path"])) for entry in results["embeddings"]]
    if gone := next((file for file in files if not file.is_file()), None):
        raise InputError(f"{gone}, of {run}, is not there any more: give EMBEDDINGS")
    return store.embedding_files(files)


def _table(run: Path | None, written: Mapping[str, Any] | None) -> LabelTable | None:
    """Open the table that a run took its labels from, as it was."""
    if not written:
        return None
    columns = {name: value for name, value in written.items() if name not in ("table", "sha256")}
    table = LabelTable(written["table"], **columns)
    if table.digest() != written["sha256"]:
        raise InputError(
            f"{table.table} has changed since {run} took its labels from it: restore it, or fit"
            " again"
        )
    return table


def _refuse_others(study: Study, run: Path, results: Mapping[str, Any]) -> None:
    """Refuse embeddings that a run was not of."""
    of_run = {entry["name"]: entry["fingerprint"] for entry in results["embeddings"]}
    for extractor in study.extractors:
        if extractor.widths:  # side by side: of the others
            continue
        if of_run.get(extractor.name) != extractor.fingerprint:
            how = "made in another way" if extractor.name in of_run else "not among those"
            raise InputError(
                f"{run} was of other embeddings: '{extractor.name}' is {how} of that run; give its"
                " files, or leave EMBEDDINGS out"
            )
    try:
        folding.read(run / "splits.json", study.ids)
    except InputError:
        raise InputError(
            f"{run} was of other images than these embeddings: give its files, or leave EMBEDDINGS"
            " out"
        ) from None


def _first(study: Study, winner: str | None) -> Study:
    """Put the extractor first that is extracted with anew: the winner, or one that learned."""
    ordered = sorted(study.extractors, key=lambda e: (e.name != winner, e.control))
    return replace(study, extractors=ordered)


def _head(
    name: str | None, results: Mapping[str, Any] | None, n_train: int
) -> tuple[Head, list[str]]:
    options: Mapping[str, Any] = {} if results is None else results["options"]
    won = defaults.AUDIT_HEAD if results is None else str(results["winner"]["head"])
    heads, _ = weighted(find_heads([name or won]), options.get("class_weight"))
    heads, notes = for_size(heads, n_train)
    return heads[0], notes


def _source(study: Study, asked: str | None) -> str | None:
    if asked is not None and asked not in study.meta:
        raise UnknownNameError("column", asked, study.meta, "(--source)")
    return asked or ("source" if "source" in study.meta else None)


def _attributes(study: Study, asked: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in study.meta:
            raise UnknownNameError("column", name, study.meta, "(--attribute)")
    if asked:
        return list(dict.fromkeys(asked))
    named = [name for name in study.meta if name not in NO_ATTRIBUTES]
    return [name for name in named if not names_images(study.meta[name])]


def _pictures(
    images: PathLike | Sequence[PathLike] | None, study: Study, files: Sequence[Path]
) -> tuple[list[str], Mapping[str, ImageSource]]:
    """Find the images, where they are said to be, or else here and beside the embeddings."""
    if images is not None and several(images):
        places = [str(path) for path in several(images)]
        return places, find_sources(study, places)
    for folder in find_folders(study.ids, files):
        return [str(folder)], find_sources(study, folder)
    raise InputError(
        "the radiographs were not found here, nor beside the embeddings: --images FOLDER says where"
        " their ids begin"
    )
