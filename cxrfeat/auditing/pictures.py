"""One read of each image, which gives everything that an audit asks of pictures.

Images are read ahead in threads, as `extract` reads them, and let go at once: what stays are a few
numbers of each, its grey values at 32 x 32, and the embeddings of what networks were shown. A
picture whose bytes are not those that its embedding was made of is not looked at: nothing of it is
compared with a row of another picture.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from cxrfeat import features, images, inputs
from cxrfeat.arrays import Picture
from cxrfeat.auditing.asked_of_pictures import CORNER_MARK, WHOLE, Asked
from cxrfeat.auditing.seen import (
    BLANK,
    BORDER,
    SMALL,
    TINY,
    CopySeen,
    FileFacts,
    Gathered,
    Looked,
    Seen,
    Shown,
)
from cxrfeat.errors import ImageError, InputError
from cxrfeat.evaluation.study.study import Study
from cxrfeat.extraction.local_engine import Stopwatch
from cxrfeat.extraction.reading_ahead import read_in_order
from cxrfeat.extraction.sources import ImageSource, sources_of
from cxrfeat.framing import Framing
from cxrfeat.images import Radiograph, ReadingOptions
from cxrfeat.images.checks import WIDE_BORDER, border_share, picture_warnings
from cxrfeat.images.masking import masked, with_corner_mark
from cxrfeat.paths import PathLike

READING = "reading"


def find_sources(study: Study, places: PathLike | Sequence[PathLike]) -> Mapping[str, ImageSource]:
    """Find the images of a study by their ids, in folders, archives, stores or a table.

    Raises
    ------
    InputError
        None of them is there, and whatever `inputs.find` raises.
    """
    sources = sources_of(inputs.find(places))
    if not any(id_ in sources for id_ in study.ids):
        raise InputError(
            f"none of the {len(study)} images is there, e.g. '{study.ids[0]}': give --images the"
            " folder that ids begin in, as it was given to cxrfeat extract"
        )
    return sources


def look_at_pictures(
    study: Study,
    sources: Mapping[str, ImageSource],
    reading: ReadingOptions,
    asked: Asked | None = None,
    *,
    workers: int,
    batch_size: int = features.BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> Seen:
    """Read every image of a study once and note what is asked.

    Parameters
    ----------
    sources
        By id, as `find_sources` gives them.
    reading
        As the embeddings were read (`prediction.reopened_extractor.reading_options`).
    workers : int
        Threads that read; networks that take one image on one core run in them.
    batch_size : int
        Pictures that other networks are shown together, and that are read ahead.
    progress : callable, optional
        Called with how many images are done, and how many there are.
    """
    asked = asked or Asked()
    watch, started = Stopwatch(), time.perf_counter()
    eye = _Eye(study, sources, reading, asked, watch)
    gathered = Gathered(len(study), asked)
    waiting: list[Shown] = []
    looked = read_in_order(range(len(study)), eye.look, workers, batch_size)
    for done, one in enumerate(looked, 1):
        gathered.take(one)
        gathered.keep([shown for shown in one.shown if shown.vector is not None])
        waiting += [shown for shown in one.shown if shown.vector is None]
        if len(waiting) >= batch_size:
            gathered.keep(_through_networks(waiting, watch))
            waiting = []
        if progress is not None:
            progress(done, len(study))
    gathered.keep(_through_networks(waiting, watch))
    spent, passed = sum(watch.seconds.values()), time.perf_counter() - started
    share = passed / spent if spent else 0.0  # several threads at a time, and waiting for them
    return gathered.finished({step: taken * share for step, taken in watch.seconds.items()})


class _Eye:
    """Looks at one image; safe to call from threads."""

    def __init__(
        self,
        study: Study,
        sources: Mapping[str, ImageSource],
        reading: ReadingOptions,
        asked: Asked,
        watch: Stopwatch,
    ) -> None:
        self._study = study
        self._sources = sources
        self._reading = reading
        self._asked = asked
        self._watch = watch
        self._marked = set(asked.marked.tolist())
        self._copied = {kind: set(rows.tolist()) for kind, (rows, _) in asked.copies.items()}

    def look(self, row: int) -> Looked:
        """Read an image and note what is asked of it."""
        source = self._sources.get(self._study.ids[row])
        if source is None:
            return Looked(row, "not found")
        with self._watch.on(READING):
            try:
                data = source.read(self._reading.max_bytes)
                radiograph = images.read_image(data, options=self._reading)
            except ImageError as error:
                return Looked(row, "not found" if error.code == "missing" else error.code)
            if self._study.sha256[row] not in ("", radiograph.sha256):
                return Looked(row, "changed")
            looked = self._noted(row, radiograph)
        for shown in self._squares(row, radiograph.pixels, looked):
            if shown.extractor.side_by_side and shown.square is not None:
                with self._watch.on(" ".join(shown.key)):
                    shown.vector = shown.extractor(shown.square[None])[0]
                shown.square = None
            looked.shown.append(shown)
        return looked

    def _noted(self, row: int, radiograph: Radiograph) -> Looked:
        pixels = radiograph.pixels
        odd = picture_warnings(pixels)
        warnings = {
            BLANK: "constant" in odd or "nearly empty" in odd,
            BORDER: border_share(pixels) > WIDE_BORDER,
        }
        return Looked(
            row,
            files=_facts(radiograph),
            grey=(float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))),
            small=images.resize(pixels, SMALL),
            tiny=images.resize(pixels, TINY),
            shape=(pixels.shape[0], pixels.shape[1]),
            warnings=tuple(name for name, found in warnings.items() if found),
            prints=None if self._asked.fingerprint is None else self._asked.fingerprint(pixels),
        )

    def _squares(self, row: int, pixels: Picture, looked: Looked) -> Iterator[Shown]:
        """Give what networks are shown of a picture; one at a time, so that few are in memory."""
        seen: dict[Framing, Picture] = {}
        for mask, extractors in self._asked.shown.items():
            for name, extractor in extractors.items():
                framing = extractor.framing
                if framing not in seen:
                    seen[framing] = images.frame(pixels, framing)
                square = seen[framing]
                if mask != WHOLE:
                    height, width = pixels[framing.box(*looked.shape)].shape
                    square = masked(square, mask, (height, width))
                yield Shown(row, (mask, name), extractor, square)
        if row in self._marked:
            marked = with_corner_mark(pixels)
            looked.small_marked = images.resize(marked, SMALL)
            yield from self._embedded(row, marked, CORNER_MARK)
        for kind, (_, alter) in self._asked.copies.items():
            if row in self._copied[kind]:
                copy = alter(pixels, row)
                if self._asked.fingerprint is not None:
                    small = images.resize(copy, SMALL)
                    looked.copies[kind] = CopySeen(*self._asked.fingerprint(copy), small)
                yield from self._embedded(row, copy, kind)

    def _embedded(self, row: int, pixels: Picture, what: str) -> Iterator[Shown]:
        for name, extractor in self._asked.embedded.items():
            yield Shown(row, (what, name), extractor, images.frame(pixels, extractor.framing))


def _facts(radiograph: Radiograph) -> FileFacts:
    """Note what the file says of itself; sex and age are the patient's, and asked about apart."""
    personal = ("sex", "age", "group")
    counted = ("bits", "rows", "columns")
    return FileFacts(
        {
            "bytes": radiograph.size_bytes,
            "height": radiograph.height,
            "width": radiograph.width,
            "bits": radiograph.bits,
        },
        {
            "format": radiograph.format,
            "read": "; ".join(
                step for step in radiograph.steps if not any(c.isdigit() for c in step)
            ),
            **{
                name: value
                for name, value in radiograph.meta.items()
                if name not in (*personal, *counted)
            },
        },
    )


def _through_networks(waiting: Sequence[Shown], watch: Stopwatch) -> list[Shown]:
    """Show squares to the networks that take several at once."""
    of_key: defaultdict[tuple[str, str], list[Shown]] = defaultdict(list)
    for shown in waiting:
        of_key[shown.key].append(shown)
    for key, together in of_key.items():
        with watch.on(" ".join(key)):
            squares = [shown.square for shown in together if shown.square is not None]
            rows = together[0].extractor(np.stack(squares))
        for shown, vector in zip(together, rows, strict=True):
            shown.vector, shown.square = vector, None
    return list(waiting)
