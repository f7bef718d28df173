"""`cxrfeat inspect`: what the network will see, and what a person should look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrfeat import defaults, inputs
from cxrfeat import images as pictures
from cxrfeat.errors import ImageError, InputError
from cxrfeat.extraction.bit_depth import decide_bits
from cxrfeat.extraction.reading_ahead import read_in_order, reader_count
from cxrfeat.extraction.sources import ImageSource, sources_of
from cxrfeat.images.checks import inverted_against_the_rest, picture_warnings
from cxrfeat.images.drawing.contact_sheet import Tile, draw_sheet
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike, several

_COMPARED_SIDE = 32


@dataclass(frozen=True)
class InspectedImage:
    """One image as `extract` reads it.

    Attributes
    ----------
    id : str
    format : str
        "" where it failed.
    width, height, bits : int
        As stored; `bits` are the significant ones.
    polarity : str
        "as stored" or "inverted".
    decoder : str
        With its version.
    steps, warnings : tuple of str
        What was done to the samples, in order; what a person should look at.
    error : str
        Code and reason, "" where the image was read.
    """

    id: str
    format: str = ""
    width: int = 0
    height: int = 0
    bits: int = 0
    polarity: str = ""
    decoder: str = ""
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, repr=False)
class Inspection(Shown):
    """What `inspect` saw.

    Attributes
    ----------
    images : list of InspectedImage
    failed : int
    sheet : Path or None
        The contact sheet, where one was asked for.
    on_sheet : int
        Images on it: failures and warnings first, then the others in their order.
    notes : list of str
        What was understood of the input.
    """

    images: list[InspectedImage]
    failed: int
    sheet: Path | None
    on_sheet: int
    notes: list[str]


def inspect(
    images: PathLike | Sequence[PathLike] = defaults.IMAGES,
    *,
    out: PathLike | None = None,
    modality: str | Sequence[str] = defaults.MODALITIES,
    frame: int | None = None,
    bits: int | None = None,
    image_size: int = defaults.SEEN_SIZE,
    sheet_images: int = defaults.SHEET_IMAGES,
    workers: int | None = None,
) -> Inspection:
    """Read images as `extract` does and report how each was read; draw them if asked to.

    Parameters
    ----------
    images : path or sequence of paths
        Folders of radiographs, or files.
    out : path, optional
        Contact sheet to write, e.g. ``sheet.png``.
    modality, frame, bits
        As `cxrfeat.extract` takes them.
    image_size : int
        Side in pixels of what the network sees.
    sheet_images : int
        Images on the sheet at most.
    workers : int, optional
        Threads that read images; default: one for each core this process may use.

    Returns
    -------
    Inspection

    Raises
    ------
    InputError, StorageError
        No images; a sheet that cannot be written.
    """
    if image_size < 1 or sheet_images < 1:
        raise InputError("the image size and the images on the sheet must be 1 or more")
    options = pictures.ReadingOptions.asked_for(several(modality), frame, bits)
    found = inputs.find(images)
    threads = reader_count(workers)
    sources = sources_of(found)
    options, decided = decide_bits(sources, options, workers=threads)
    seen: list[InspectedImage] = []
    small = np.zeros((len(found), _COMPARED_SIDE, _COMPARED_SIDE), dtype=np.float32)
    look = partial(_look, options=options)
    reading = read_in_order(sources.values(), look, threads, 2 * threads)
    for place, (image, picture) in enumerate(reading):
        seen.append(image)
        if picture is not None:
            small[place] = picture
    seen = _with_inverted(seen, small)
    order = sorted(range(len(seen)), key=lambda i: (not seen[i].error, not seen[i].warnings, i))[
        :sheet_images
    ]
    if out is not None:
        draw_sheet([_tile(seen[i], sources.at(i), image_size, options) for i in order], out)
    return Inspection(
        images=seen,
        failed=sum(bool(image.error) for image in seen),
        sheet=Path(out) if out is not None else None,
        on_sheet=len(order) if out is not None else 0,
        notes=[*found.notes, *decided],
    )


def _look(
    source: ImageSource, options: pictures.ReadingOptions
) -> tuple[InspectedImage, npt.NDArray[np.float32] | None]:
    try:
        radiograph = pictures.read_image(source.read(options.max_bytes), options=options)
    except ImageError as error:
        return InspectedImage(id=source.id, error=str(error)), None
    inverted = any(step.startswith("inverted") for step in radiograph.steps)
    seen = InspectedImage(
        id=source.id,
        format=radiograph.format,
        width=radiograph.width,
        height=radiograph.height,
        bits=radiograph.bits,
        polarity="inverted" if inverted else "as stored",
        decoder=radiograph.decoder,
        steps=radiograph.steps,
        warnings=(*radiograph.warnings, *picture_warnings(radiograph.pixels)),
    )
    return seen, pictures.resize(radiograph.pixels, _COMPARED_SIDE)


def _with_inverted(
    seen: list[InspectedImage], small: npt.NDArray[np.float32]
) -> list[InspectedImage]:
    read = [place for place, image in enumerate(seen) if not image.error]
    marked = list(seen)
    for place, inverted in zip(read, inverted_against_the_rest(small[read]), strict=True):
        if inverted:
            warnings = (*seen[place].warnings, "inverted against the rest")
            marked[place] = replace(seen[place], warnings=warnings)
    return marked


def _tile(
    image: InspectedImage, source: ImageSource, size: int, options: pictures.ReadingOptions
) -> Tile:
    if image.error:
        return Tile(None, (image.id,), (image.error,))
    radiograph = pictures.read_image(source.read(options.max_bytes), options=options)
    pixels = pictures.resize(radiograph.pixels, size)
    facts = f"{image.width} x {image.height}, {image.bits} bit, {image.format}, {image.polarity}"
    return Tile(pixels, (image.id, facts, "; ".join(image.steps)), image.warnings)
