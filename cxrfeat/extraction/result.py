"""What an extraction gives back: plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrfeat import features, store
from cxrfeat.extraction.failures import Failure
from cxrfeat.extraction.forecast import Forecast
from cxrfeat.extraction.job import NamedExtractor
from cxrfeat.notebook import Rows, Shown


@dataclass(frozen=True, repr=False)
class ExtractedFile(Shown):
    """What happened to one embedding file.

    Attributes
    ----------
    name : str
        Of the extractor; also the file's stem.
    path : Path
    backbone, weights : str
    control : bool
        Whether the weights are random: a control, not a pretrained extractor.
    dimension : int
    rows, computed, reused, failed : int
        Rows in the file; rows computed now, taken over as they were, and not to be had (of
        images that are there).
    changes : store.Changes
        What the file gained, lost or kept because the images changed.
    fingerprint : str
    """

    name: str
    path: Path
    backbone: str
    weights: str
    control: bool
    dimension: int
    rows: int
    computed: int
    reused: int
    failed: int
    changes: store.Changes
    fingerprint: str


@dataclass(frozen=True, repr=False)
class ExtractResult(Shown):
    """What `extract` did.

    Attributes
    ----------
    files : list of ExtractedFile
    images : int
        Images in the dataset.
    read : int
        Images that were read in this run, each of them once; or taken from kept pictures.
    stopped_early : bool
        More than `max_failures` images failed, so that the rest was not tried.
    failures : list of Failure
        Every image that failed, in this run or an earlier one.
    failures_file : Path or None
        The same as a table, where there are any.
    classes : dict of str to int
        Images per class; empty without labels.
    notes : list of str
        What was understood of the input, in sentences.
    seconds : float
    steps : dict of str to float
        What "opening" the networks took, and, in seconds of one thread each, "reading", "keeping"
        (pictures, with a cache), each extractor by its name, and "writing"; these go on at once.
    forecast : Forecast or None
        What the run would compute, where `dry_run` asked for that alone.
    """

    files: list[ExtractedFile]
    images: int
    read: int
    stopped_early: bool
    failures: list[Failure]
    failures_file: Path | None
    classes: dict[str, int]
    notes: list[str]
    seconds: float
    steps: dict[str, float]
    forecast: Forecast | None = None

    def _headline(self) -> str:
        names = ", ".join(file.name for file in self.files)
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{names}: {self.images} images, {self.read} read{failed}"

    def _table(self) -> tuple[Sequence[str], Rows]:
        names = ("extractor", "weights", "dimension", "rows", "computed", "reused", "failed")
        shown = [
            (one.name, one.weights, one.dimension, one.rows, one.computed, one.reused, one.failed)
            for one in self.files
        ]
        return names, shown


def extracted_file(
    embeddings: store.Embeddings,
    description: features.Description,
    changes: store.Changes,
    computed: int,
) -> ExtractedFile:
    """Say what became of the file of an extractor.

    Parameters
    ----------
    embeddings
        The file, written and opened again.
    description
        Of the extractor.
    changes
        What opening the file did.
    computed
        Rows that were computed now.
    """
    return ExtractedFile(
        name=embeddings.name,
        path=embeddings.path,
        backbone=description.backbone,
        weights=description.weights_name,
        control=description.is_control,
        dimension=description.dimension,
        rows=len(embeddings),
        computed=computed,
        reused=changes.reused,
        failed=int(((embeddings.status == store.FAILED) & ~embeddings.gone).sum()),
        changes=changes,
        fingerprint=embeddings.fingerprint,
    )


def foreseen_file(extractor: NamedExtractor, path: Path, changes: store.Changes) -> ExtractedFile:
    """Say what a file is that a run would make or bring up to date, with no row computed."""
    description = extractor.description
    return ExtractedFile(
        name=extractor.name,
        path=path,
        backbone=description.backbone,
        weights=description.weights_name,
        control=description.is_control,
        dimension=description.dimension,
        rows=changes.reused + changes.failed_kept + changes.gone,
        computed=0,
        reused=changes.reused,
        failed=changes.failed_kept,
        changes=changes,
        fingerprint="",
    )
