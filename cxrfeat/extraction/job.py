"""What is needed to compute rows anywhere, what comes back, and what an engine must keep to."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from cxrfeat import features
from cxrfeat.arrays import Vector32
from cxrfeat.errors import ImageError, SpecMismatchError
from cxrfeat.extraction.plan import WorkItem
from cxrfeat.extraction.sources import Stamp
from cxrfeat.images import ReadingOptions, decoders
from cxrfeat.spec import Spec, difference
from cxrfeat.version import __version__

KEPT_SECONDS = 2.0
"""Rows are handed over at least this often, so that an interruption costs little work."""


@dataclass(frozen=True)
class ExtractorOptions:
    """Which extractor to open; the options of `features.prepare_extractor`, as plain data."""

    backbone: str
    weights: features.WeightsChoice
    pooling: str = "avg"
    image_size: int | None = None
    precision: str = "fp32"
    device: str = "auto"
    runtime: str = "auto"

    def prepare(self, *, here: bool = True) -> features.Prepared:
        """Find its weights and check everything, without running anything.

        Parameters
        ----------
        here
            False where other machines open it, whatever devices this one has.

        Raises
        ------
        InputError, UnknownNameError, WeightsError
            As `features.prepare_extractor` says.
        """
        return features.prepare_extractor(
            self.backbone,
            weights=self.weights,
            pooling=self.pooling,
            image_size=self.image_size,
            precision=self.precision,
            device=self.device,
            runtime=self.runtime,
            here=here,
        )


class NamedExtractor:
    """One extractor of a run: what it is, and what runs it once that is needed.

    Attributes
    ----------
    name : str
        Also the stem of its file.
    options : ExtractorOptions
    description : Description
    seconds : float
        What opening it took; 0 where it is not open.
    """

    def __init__(self, name: str, options: ExtractorOptions, prepared: features.Prepared) -> None:
        self.name = name
        self.options = options
        self.description = prepared.description
        self.seconds = 0.0
        self._prepared = prepared

    @cached_property
    def extractor(self) -> features.Extractor:
        """What runs; asking for it opens it."""
        start = time.monotonic()
        opened = self._prepared.open()
        self.seconds = time.monotonic() - start
        return opened

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know about how it runs; nothing where it does not."""
        return self.extractor.notes if "extractor" in vars(self) else ()

    def environment(self) -> dict[str, str]:
        """Say what computes the rows."""
        return environment_of(self.extractor)


def environment_of(extractor: features.Extractor) -> dict[str, str]:
    """Say what computes rows in this process."""
    return {"cxrfeat": __version__, **extractor.environment(), **decoders()}


@dataclass(frozen=True)
class OpenJob:
    """A job whose networks are open in this process.

    Attributes
    ----------
    extractors : mapping of str to Extractor
        By name.
    reading : ReadingOptions
    """

    extractors: Mapping[str, features.Extractor]
    reading: ReadingOptions


@dataclass(frozen=True)
class Job:
    """What is to be computed of every image, as plain data that can be pickled.

    Attributes
    ----------
    extractors : mapping of str to ExtractorOptions
        By name, as work items name them.
    specs : mapping of str to dict
        What each extractor has to turn out to be, wherever it is opened.
    reading : ReadingOptions
        How images are read, with the bits of 16-bit pictures settled.
    """

    extractors: Mapping[str, ExtractorOptions]
    specs: Mapping[str, Spec]
    reading: ReadingOptions

    @classmethod
    def of(cls, extractors: Sequence[NamedExtractor], reading: ReadingOptions) -> Job:
        """Describe the job of some extractors of this process."""
        return cls(
            {one.name: one.options for one in extractors},
            {one.name: one.description.spec for one in extractors},
            reading,
        )

    def open(self, here: Mapping[str, features.Extractor] | None = None) -> OpenJob:
        """Open every network, once in a process that computes.

        Parameters
        ----------
        here : mapping of str to Extractor, optional
            Networks that this process has open already.

        Raises
        ------
        SpecMismatchError
            An extractor would give other embeddings than those asked for, e.g. because this
            machine has other weights of that name.
        InputError, MissingExtraError, WeightsError
            As `features.open_extractor` says.
        """
        here = here or {}
        opened = {
            name: here[name] if name in here else options.prepare().open()
            for name, options in self.extractors.items()
        }
        for name, extractor in opened.items():
            if differs := difference(extractor.spec, self.specs[name]):
                raise SpecMismatchError(
                    f"{name} as it opens on this machine is not the extractor of this run"
                    " ('there'): use the same weights and package versions on each",
                    differs,
                )
        return OpenJob(opened, self.reading)


@dataclass(frozen=True)
class ComputedImage:
    """What became of one work item; it can be pickled.

    Attributes
    ----------
    id : str
    stamp : Stamp
        As it was before the image was read.
    sha256 : str
        Of the bytes that the rows were computed from; "" where it could not be read.
    rows : dict of str to ndarray of float32, shape (D,)
        By the extractor's name, for each that the item names; whether they are finite or not.
    error : ImageError or None
        Why there are no rows.
    warnings : tuple of str
        What was odd about the image.
    """

    id: str
    stamp: Stamp
    sha256: str = ""
    rows: dict[str, Vector32] = field(default_factory=dict)
    error: ImageError | None = None
    warnings: tuple[str, ...] = ()


class Engine(Protocol):
    """What turns work into rows, here or elsewhere; it writes nothing.

    It keeps to this:

    - An item comes back as one `ComputedImage`: a row for each extractor that it names, or an
      error. An image that cannot be read, or that kills its process, is an error; only what ends
      the whole run is raised.
    - Any order will do. An image that comes twice, as when a batch was tried again, counts once;
      one that does not come at all stays pending for the next run.
    - A row depends on its image and the job alone: not on its batch, nor on who computed it.
    - A batch is written and committed before the next one is asked for. What is ready is handed
      over within `KEPT_SECONDS`, or with the batch that it is computed in; a fast engine hands over
      more at a time, as each commit waits for the disk.
    - Memory is bounded: work goes on ahead of what was handed over by a fixed number of batches.
    - Closed, the generator starts nothing new and returns when what runs has ended.
    """

    def run(self, items: Sequence[WorkItem]) -> Generator[list[ComputedImage]]:
        """Compute the rows of some items."""
        ...
