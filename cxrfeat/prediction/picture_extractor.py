"""An extractor that takes radiographs as they come: files, arrays and pictures of Pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cxrfeat import features, images
from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.errors import ImageError
from cxrfeat.images import ReadingOptions

SEVERAL = 32
"""Radiographs that are read before they go through the network together."""


class PictureExtractor:
    """A frozen network that turns radiographs into embeddings; made by `cxrfeat.open_extractor`.

    Attributes
    ----------
    backbone, weights_name : str
    dimension : int
        Length D of an embedding.
    spec : dict
        What decides the meaning of the embeddings, as it stands in a file.
    notes : tuple of str
        What its user should know about how it runs.
    """

    def __init__(self, extractor: features.Extractor, options: ReadingOptions) -> None:
        self._extractor = extractor
        self._options = options
        self.backbone = extractor.backbone
        self.weights_name = extractor.weights_name
        self.dimension = extractor.dimension
        reading = images.reading_spec(extractor.framing, options)
        self.spec: dict[str, Any] = {**extractor.spec, "image": reading}
        self.notes = extractor.notes

    def __repr__(self) -> str:
        return repr(self._extractor)

    def environment(self) -> dict[str, str]:
        """Return the versions that a reader may want to know, but that decide nothing."""
        return self._extractor.environment()

    def __call__(self, radiographs: Any, progress: Callable[[int], None] | None = None) -> Matrix32:
        """Embed radiographs.

        Parameters
        ----------
        radiographs : path, array, picture of Pillow, or a sequence of these
            Arrays hold grey values, bone bright, of shape (H, W), of any size: uint8, uint16, or
            floats in [0, 1]; (N, H, W) are several.
        progress : callable, optional
            Called with the number of radiographs that are done.

        Returns
        -------
        ndarray of float32, shape (n, D)
            The same for an image whatever else is embedded with it.

        Raises
        ------
        ImageError
            One that cannot be read; its place is named.
        InputError
            Something that is no image.
        """
        given = images.pictures_in(radiographs)
        rows = []
        for start, batch in self._batches(given):
            rows.append(self._extractor(batch))
            if progress:
                progress(start + len(batch))
        return np.concatenate(rows) if rows else np.empty((0, self.dimension), np.float32)

    def sha256(self, radiographs: Sequence[Any]) -> list[str]:
        """Return what tells radiographs apart: of a file's bytes, or of an array's values.

        Raises
        ------
        ImageError
            A file that cannot be read.
        """
        return [images.identity_of(one) for one in radiographs]

    def _batches(self, given: Sequence[Any]) -> Iterator[tuple[int, Pictures]]:
        many = max(SEVERAL, self._extractor.batch)
        for start in range(0, len(given), many):
            seen = [self._seen(start + n, one) for n, one in enumerate(given[start : start + many])]
            yield start, np.stack(seen)

    def _seen(self, number: int, one: Any) -> Pictures:
        try:
            radiograph = images.read_picture(one, options=self._options)
        except ImageError as error:
            what = f"image {number}" if images.is_picture(one) else str(one)
            raise ImageError(error.code, f"{what}: {error.reason}") from error
        return images.frame(radiograph.pixels, self._extractor.framing)
