"""`cxrfeat explain`: where in an image the evidence for a class lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from cxrfeat import defaults, evidence, model, results, tables
from cxrfeat import images as pictures
from cxrfeat import inputs as datasets
from cxrfeat.arrays import Matrix
from cxrfeat.errors import ImageError, InputError, StorageError, UnknownNameError
from cxrfeat.extraction.drain import Progress
from cxrfeat.extraction.failures import Failure, write_failures
from cxrfeat.extraction.reading_ahead import read_in_order, reader_count
from cxrfeat.images.drawing.contact_sheet import Tile, draw_sheet
from cxrfeat.images.drawing.overlay import overlay, tile, upright_size, write_overlay
from cxrfeat.prediction.evidence_maps import OCCLUSION, Explanation, Mapper, open_mapper
from cxrfeat.prediction.reopened_extractor import reading_options
from cxrfeat.reporting.run_folder import RunFolder, new_run

PathLike = str | Path
FORMAT, FORMAT_VERSION = "cxrfeat-explanation", 1
SHEET_IMAGES = 60
BATCH = 4  # radiographs at their own size in memory; the networks are kept busy by two

USE = "For research only, not for diagnosis."
WARNING = (
    "A map shows where a score comes from. It is no proof that the score is right, that a finding "
    "is there, or that the model looks at the disease."
)
CENTRAL = (
    "The central region is the middle 80 % of the width and of the height: a rough geometric "
    f"region, not a segmentation of the lungs. It leaves {evidence.OUTSIDE_AREA:.0%} of the "
    "picture outside, which is the share that evenly spread evidence would have."
)


@dataclass(frozen=True)
class ExplainedImage:
    """One image, one class.

    Attributes
    ----------
    id : str
    class_name : str
        The class that is explained.
    predicted : str
        The class that `predict` gives; several labels joined by a vertical bar.
    score, probability : float
        Of the explained class; the score is what the map explains.
    peak_x, peak_y : int or None
        Where the evidence for the class is densest: pixels of the upright radiograph at its own
        size, from the upper left; None where nothing speaks for the class.
    width, height : int
        Of the upright radiograph, and of the overlay.
    share_outside : float or None
        Share of the evidence for the class that lies outside the central region; None as above.
    intercept, residual : float or None
        Of an exact map: its sum plus the intercept is the score; the residual is how much of the
        sum made up for rounding.
    overlay, map : str
        Files in the folder of the result.
    """

    id: str
    class_name: str
    predicted: str
    score: float
    probability: float
    peak_x: int | None
    peak_y: int | None
    width: int
    height: int
    share_outside: float | None
    intercept: float | None
    residual: float | None
    overlay: str
    map: str


@dataclass(frozen=True)
class ExplainResult:
    """What `explain` found; ``evidence.json`` holds the same.

    Attributes
    ----------
    out : Path
        The folder.
    model, head, extractor : str
    classes : list of str
    control : bool
        Whether the extractor's weights are random.
    method : "class activation map" or "occlusion"
    explains : str
        Which number the map explains.
    occlusions : int
        Of each image; 0 for exact maps.
    patch : float or None
        Side of the occluding patch, as a fraction of the picture's.
    baseline : str
        What the patch is filled with; "" for exact maps.
    central : tuple of float
        From where to where the central region goes, as fractions of width and of height.
    outside_area : float
        Share of the picture outside of it.
    images : list of ExplainedImage
    failures : list of Failure
    sheet : str
        The contact sheet in the folder, "" where there was nothing to show.
    notes : list of str
        What has to be known to read the maps, in sentences.
    seconds : float
    """

    out: Path
    model: str
    head: str
    extractor: str
    classes: list[str]
    control: bool
    method: str
    explains: str
    occlusions: int
    patch: float | None
    baseline: str
    central: tuple[float, float]
    outside_area: float
    images: list[ExplainedImage]
    failures: list[Failure]
    sheet: str
    notes: list[str]
    seconds: float


def explain(
    model: PathLike,
    images: PathLike | Sequence[PathLike],
    *,
    class_: str | None = None,
    out: PathLike = defaults.EXPLAINED,
    budget: int = defaults.BUDGET,
    weights: Sequence[str] = (),
    modality: Sequence[str] = defaults.MODALITIES,
    device: str = defaults.DEVICE,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ExplainResult:
    """Show where in each image the evidence for a class lies. For research, not for diagnosis.

    Linear heads on averaged maps get the exact class activation map: its sum plus the intercept
    is the head's decision function. Any other head or pooling is explained by occlusion.

    Parameters
    ----------
    model : path
        A model that `fit` saved.
    images : path or sequence of paths
        Folders of radiographs, files, or one table that lists them.
    class_ : str, optional
        The class to explain; default: the most probable one of each image.
    out : path
        Folder for overlays, maps, contact sheet and tables; it must not hold anything.
    budget : int
        Occlusions of an image at most, for heads and poolings without an exact map.
    weights : sequence of str
        Where the extractor's weights are, as for `extract`.
    modality : sequence of str
        DICOM modalities that are read, others fail; "any" reads any.
    device : str
        "auto", "cpu", "cuda" or "mps".
    workers : int, optional
        Threads that read images; default: one for each core this process may use.
    progress : callable, optional
        Called with a `Progress` after every few images.

    Returns
    -------
    ExplainResult

    Raises
    ------
    InputError
        No images, an unknown class, a head that does not look at the image, a folder that is not
        empty.
    WeightsError, SpecMismatchError, FileFormatError
        A model that cannot be read, or an extractor that cannot be opened again.

    References
    ----------
    Zhou B et al. Learning deep features for discriminative localization. CVPR 2016.
    Zeiler MD, Fergus R. Visualizing and understanding convolutional networks. ECCV 2014.
    """
    started = time.monotonic()
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers: use 1 or more")
    loaded = _load(model)
    wanted = _position(class_, loaded.classes)
    found = datasets.find(images)
    mapper = open_mapper(loaded, budget=budget, weights=weights, device=device)
    options = reading_options(mapper.spec, modality)
    run = new_run(out)
    try:
        writer = _Writer(run, loaded.classes, mapper.method)
        places = list(zip(found.ids, found.paths, strict=True))
        read = partial(_read, options=options)
        threads = reader_count(workers)
        for batch in _batches(read_in_order(places, read, threads, BATCH)):
            writer.take(batch, mapper, wanted)
            if progress:
                done = len(writer.images) + len(writer.failures)
                progress(Progress(done, len(found), len(writer.failures)))
        side = mapper.occlusions
        result = ExplainResult(
            out=run.final,
            model=str(model),
            head=loaded.head,
            extractor=loaded.extractor,
            classes=loaded.classes,
            control=any(extractor.is_control for extractor in mapper.extractors),
            method=mapper.method,
            explains=_explained_number(mapper),
            occlusions=side**2,
            patch=2 / (side + 1) if side else None,
            baseline="the picture's own mean grey" if side else "",
            central=evidence.CENTRAL,
            outside_area=evidence.OUTSIDE_AREA,
            images=writer.images,
            failures=writer.failures,
            sheet=writer.draw_sheet(),
            notes=[
                *loaded.notes,
                *(note for note in found.notes if "passed over" in note),
                *_notes(mapper),
            ],
            seconds=round(time.monotonic() - started, 2),
        )
        _write_tables(run, result)
        run.finish()
    except BaseException:
        run.discard()
        raise
    return result


def _load(path: PathLike) -> model.Model:
    return model.load(path)


def _position(class_: str | None, classes: list[str]) -> int | None:
    if class_ is None:
        return None
    if class_ not in classes:
        raise UnknownNameError("class", class_, classes)
    return classes.index(class_)


@dataclass(frozen=True)
class _Read:
    id: str
    radiograph: pictures.Radiograph | None = None
    error: ImageError | None = None


def _read(place: tuple[str, Path], options: pictures.ReadingOptions) -> _Read:
    id_, path = place
    try:
        return _Read(id_, pictures.read_image(path, options=options))
    except ImageError as error:
        return _Read(id_, error=error)


def _batches(items: Iterator[_Read]) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Writer:
    """Writes what belongs to each image as soon as it is known, and keeps the rest small."""

    def __init__(self, run: RunFolder, classes: list[str], method: str) -> None:
        self._run = run
        self._classes = classes
        self._method = method
        self._tiles: list[Tile] = []
        self.images: list[ExplainedImage] = []
        self.failures: list[Failure] = []

    def take(self, batch: list[_Read], mapper: Mapper, wanted: int | None) -> None:
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
        draw_sheet(self._tiles, self._run.partial / "sheet.png", title=title)
        return "sheet.png"

    def _write(self, id_: str, radiograph: pictures.Radiograph, why: Explanation) -> None:
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
        write_overlay(coloured, peak, caption, self._run.partial / image.overlay)
        _save_map(evidence.added(why.maps), self._run.partial / image.map)
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


def _explained_number(mapper: Mapper) -> str:
    below = " below the calibration" if mapper.score.calibrated else ""
    return f"{mapper.score.what} of head '{mapper.model.head}'{below}"


def _notes(mapper: Mapper) -> list[str]:
    notes = [f"The maps explain the {_explained_number(mapper)}."]
    if mapper.score.calibrated:
        notes.append("Probabilities are calibrated after it and have no map of their own.")
    if mapper.method == OCCLUSION:
        side = mapper.occlusions
        notes.append(
            f"No exact map: {mapper.why}. Occlusion at {side * side} places by a patch of "
            f"{2 / (side + 1):.0%} of the side, filled with the picture's own mean grey; a place "
            "counts by how much the score falls."
        )
    else:
        notes.append("Exact: the sum over a map plus the intercept is the score.")
    if any(extractor.is_control for extractor in mapper.extractors):
        notes.append("The extractor's weights are random: a control, not a pretrained network.")
    return [*notes, CENTRAL, WARNING]


def _write_tables(run: RunFolder, result: ExplainResult) -> None:
    rows = [asdict(image) for image in result.images]
    names = list(ExplainedImage.__dataclass_fields__)
    columns = {n: ["" if row[n] is None else row[n] for row in rows] for n in names}
    columns["class"] = columns.pop("class_name")
    order = ["id", "class", *(name for name in names if name not in ("id", "class_name"))]
    try:
        tables.write_table(run.partial / "evidence.csv", {name: columns[name] for name in order})
        write_failures(run.partial / "failures.csv", result.failures)
    except OSError as error:
        raise StorageError(f"{run.final} cannot be written: {error.strerror}") from error
    document = {"format": FORMAT, "format_version": FORMAT_VERSION, "use": USE, **asdict(result)}
    document["out"] = str(result.out)
    run.write("evidence.json", results.json_text(document))
