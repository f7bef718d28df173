"""Decide once for a set of images how many bits its 16-bit pictures use."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from cxrfeat import images
from cxrfeat.errors import ImageError
from cxrfeat.extraction.heads import Heads, heads_of
from cxrfeat.extraction.largest_samples import LargestSamples
from cxrfeat.extraction.reading_ahead import look_in_order, read_in_order
from cxrfeat.extraction.sources import ImageSource, Sources, look_at
from cxrfeat.images import ReadingOptions

MOST_SAMPLED = 200
"""Pictures that are read to decide; with fewer in the set, all of them."""


def decide_bits(
    sources: Sources,
    options: ReadingOptions,
    *,
    kept: int | None = None,
    heads: Heads | None = None,
    samples: LargestSamples | None = None,
    workers: int,
) -> tuple[ReadingOptions, list[str]]:
    """Settle the bits that PNG and TIFF of 16 bits are read with where they do not state them.

    A detector of 12 bits writes 12 bits into 16-bit files. Were each picture scaled by its own
    largest sample, the same grey would be another number in each. Headers are looked at in all
    files; pixels only where none states its depth, and of `MOST_SAMPLED` files at most, spread
    evenly over the set.

    Parameters
    ----------
    sources
        Every image.
    options
        As the images are to be read; bits that were asked for stand.
    kept
        The bits of embedding files that the rows shall be added to.
    heads
        Of the images that are looked at, where it is known that the others state their bits;
        default: of all.
    samples
        Largest samples that were kept, and where those that are found are kept.
    workers
        Threads that read.

    Returns
    -------
    options : ReadingOptions
        With the bits, None where no picture needs them; they are guessed for no picture.
    notes : list of str
        What was decided, from what, and how to decide otherwise.
    """
    options = replace(options, guess_bits=False)
    if kept is not None:
        return (options if options.bits else replace(options, bits=kept)), []
    perhaps = (heads or heads_of(sources, workers)).perhaps_deep.tolist()
    is_deep = partial(look_at, look=images.states_no_depth, without=False)
    deep = look_in_order((sources.at(row) for row in perhaps), is_deep, workers)
    unstated = [row for row, is_one in zip(perhaps, deep, strict=True) if is_one]
    if not unstated:
        return replace(options, bits=None), []
    if options.bits is not None:
        return options, [_note(len(unstated), f"read as {options.bits} bits, as asked for")]
    sample = unstated
    if len(unstated) > MOST_SAMPLED:
        step = (len(unstated) - 1) / (MOST_SAMPLED - 1)
        sample = [unstated[round(number * step)] for number in range(MOST_SAMPLED)]
    look = partial(_largest_sample, options=options, samples=samples)
    chosen = (sources.at(row) for row in sample)
    largest = [
        value for value in read_in_order(chosen, look, workers, workers) if value is not None
    ]
    if not largest:
        return options, []
    bits = images.needed_bits(max(largest))
    return replace(options, bits=bits), [_decision(len(unstated), largest, bits)]


def _largest_sample(
    source: ImageSource, options: ReadingOptions, samples: LargestSamples | None
) -> int | None:
    version = "" if samples is None else source.version()
    if samples is not None and (known := samples.find(version)) is not None:
        return known
    try:
        data = source.read(options.max_bytes)
    except ImageError:
        return None
    if samples is None:
        return images.largest_sample(data, options)
    digest = hashlib.sha256(data).hexdigest()
    largest = samples.find(digest)  # of an image that has moved
    if largest is None:
        largest = images.largest_sample(data, options)
    if largest is not None:
        for name in filter(None, (version, digest)):
            samples.keep(name, largest)
    return largest


def _decision(unstated: int, largest: Sequence[int], bits: int) -> str:
    counts = sorted(Counter(images.needed_bits(value) for value in largest).items())
    looked = "" if len(largest) == unstated else f" of {len(largest)} of {unstated}"
    said = f"read as {bits} bits, which the largest sample{looked} needs ({max(largest)})"
    if len(counts) == 1:
        return _note(unstated, f"{said}; --bits N decides otherwise")
    each = ", ".join(f"{count} of {needed} bits" for needed, count in counts)
    return _note(
        unstated,
        f"{said}, though by their own largest samples there are {each}: if these come from"
        " different detectors, the darker ones stand out by that alone; extract each set apart"
        " with its own --bits, or convert them to one scale",
    )


def _note(unstated: int, said: str) -> str:
    return f"{unstated} picture(s) of 16 bits do not state how many they use: {said}"
