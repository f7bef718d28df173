"""The files of `explain`: an overlay and a map for each image, the contact sheet, the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from cxrfeat import evidence, results, tables
from cxrfeat.arrays import Matrix
from cxrfeat.errors import ImageError, StorageError
from cxrfeat.extraction.failures import Failure, write_failures
from cxrfeat.images import Radiograph
from cxrfeat.images.drawing.contact_sheet import Tile, draw_sheet
from cxrfeat.images.drawing.overlay import overlay, tile, upright_size, write_overlay
from cxrfeat.prediction.evidence_maps import Explanation, Mapper
from cxrfeat.prediction.explanation_result import ExplainedImage, ExplainResult
from cxrfeat.prediction.result import USE

FORMAT, FORMAT_VERSION = "cxrfeat-explanation", 1
SHEET_IMAGES = 60
"""On the contact sheet at most."""


@dataclass(frozen=True)
class ReadImage:
    """A radiograph, or why it could not be read."""

    id: str
    radiograph: Radiograph | None = None
    error: ImageError | None = None


class ExplanationFiles:
    """Writes what belongs to each image as soon as it is known, and keeps the rest small."""

    def __init__(self, folder: Path, classes: list[str], method: str) -> None:
        self._folder = folder
        self._classes = classes
        self._method = method
        self._tiles: list[Tile] = []
        self.images: list[ExplainedImage] = []
        self.failures: list[Failure] = []

    def take(self, batch: Sequence[ReadImage], mapper: Mapper, wanted: int | None) -> None:
        """Explain the images of a batch that could be read."""
        good = [(item.id, item.radiograph) for item in batch if item.radiograph is not None]
        explained = mapper.explain([seen.pixels for _, seen in good], wanted) if good else []
        for (id_, radiograph), why in zip(good, explained, strict=True):
            self._write(id_, radiograph, why)
        for item in batch:
            if item.error is not None:
                self.failures.append(Failure(item.id, item.error.code, item.error.reason))
                self._keep(Tile(None, (item.id,), (str(item.error),)))

    def draw_sheet(self) -> str:
        """Draw the contact sheet of the first images."""
        if not self._tiles:
            return ""
        title = f"{self._method}, red: for the class, blue: against it. {USE}"
        draw_sheet(self._tiles, self._folder / "sheet.png", title=title)
        return "sheet.png"

    def _write(self, id_: str, radiograph: Radiograph, why: Explanation) -> None:
        height, width = upright_size(radiograph.pixels, radiograph.height, radiograph.width)
        drawn = evidence.density(why.maps, height, width)
        peak = evidence.peak(drawn)
        name = _file_name(id_)
        image = ExplainedImage(
            id=id_,
            class_name=self._classes[why.explained],
            predicted="|".join(why.predicted),
            score=why.score,
            probability=why.probability,
            peak_x=peak[0] if peak else None,
            peak_y=peak[1] if peak else None,
            width=width,
            height=height,
            share_outside=evidence.share_outside(why.maps),
            intercept=why.intercept,
            residual=why.residual,
            overlay=f"overlays/{name}.png",
            map=f"maps/{name}.npy",
        )
        coloured = overlay(radiograph.pixels, drawn)
        caption = f"{image.class_name} {image.score:+.2f}, {self._method}. {USE}"
        write_overlay(coloured, peak, caption, self._folder / image.overlay)
        _save_map(evidence.added(why.maps), self._folder / image.map)
        self._keep(Tile(tile(coloured), _captions(image)))
        self.images.append(image)

    def _keep(self, one: Tile) -> None:
        if len(self._tiles) < SHEET_IMAGES:
            self._tiles.append(one)


def _file_name(id_: str) -> str:
    """Keep the folders of an id, but never leave the folder of the result."""
    return "/".join("__" if part in ("..", "/") else part for part in PurePosixPath(id_).parts)


def _captions(image: ExplainedImage) -> tuple[str, ...]:
    outside = "-" if image.share_outside is None else f"{image.share_outside:.0%}"
    return (
        image.id,
        f"{image.class_name}: score {image.score:+.2f}, probability {image.probability:.2f}",
        f"{outside} of the evidence outside the centre",
    )


def _save_map(values: Matrix, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def write_evidence(folder: Path, result: ExplainResult) -> None:
    """Write the tables of images and of failures, and ``evidence.json``, which holds all.

    Raises
    ------
    StorageError
        The folder of the result cannot be written.
    """
    rows = [asdict(image) for image in result.images]
    names = list(ExplainedImage.__dataclass_fields__)
    columns = {n: ["" if row[n] is None else row[n] for row in rows] for n in names}
    columns["class"] = columns.pop("class_name")
    order = ["id", "class", *(name for name in names if name not in ("id", "class_name"))]
    document = {"format": FORMAT, "format_version": FORMAT_VERSION, "use": USE, **asdict(result)}
    document["out"] = str(result.out)
    try:
        tables.write_table(folder / "evidence.csv", {name: columns[name] for name in order})
        write_failures(folder / "failures.csv", result.failures)
        (folder / "evidence.json").write_text(results.json_text(document), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{result.out} cannot be written: {error.strerror}") from error
