"""`cxrfeat explain`: where in an image the evidence for a class lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from cxrfeat import defaults, evidence, inputs
from cxrfeat import images as pictures
from cxrfeat.errors import ImageError, InputError, UnknownNameError
from cxrfeat.extraction.drain import Progress
from cxrfeat.extraction.reading_ahead import read_in_order, reader_count
from cxrfeat.extraction.sources import ImageSource, sources_of
from cxrfeat.framing import Framing
from cxrfeat.inputs import Dataset
from cxrfeat.model import load as load_model
from cxrfeat.paths import PathLike, several
from cxrfeat.prediction.evidence_maps import OCCLUSION, Mapper, open_mapper
from cxrfeat.prediction.explanation_files import ExplanationFiles, ReadImage, write_evidence
from cxrfeat.prediction.explanation_result import ExplainResult
from cxrfeat.prediction.reopened_extractor import reading_options
from cxrfeat.reporting.run_folder import new_run

BATCH = 4  # radiographs at their own size in memory; the networks are kept busy by two

WARNING = (
    "A map shows where a score comes from. It is no proof that the score is right, that a finding "
    "is there, or that the model looks at the disease."
)
CENTRAL = (
    "The central region is the middle 80 % of the width and of the height: a rough geometric "
    f"region, not a segmentation of the lungs. It leaves {evidence.OUTSIDE_AREA:.0%} of the "
    "picture outside, which is the share that evenly spread evidence would have."
)


def explain(
    model: PathLike,
    images: PathLike | Sequence[PathLike],
    *,
    class_: str | None = None,
    out: PathLike = defaults.EXPLAINED,
    budget: int = defaults.BUDGET,
    weights: str | Sequence[str] = (),
    modality: str | Sequence[str] = defaults.MODALITIES,
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
    weights : str or sequence of str
        Where the extractor's weights are, as for `extract`.
    modality : str or sequence of str
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
    loaded = load_model(model)
    wanted = _position(class_, loaded.classes)
    found = inputs.find(images)
    mapper = open_mapper(loaded, budget=budget, weights=several(weights), device=device)
    options = reading_options(mapper.spec, several(modality))
    run = new_run(out)
    try:
        files = ExplanationFiles(run.partial, loaded.classes, mapper.method)
        places = list(sources_of(found).values())
        reading = read_in_order(
            places,
            partial(_read, options=options, framing=mapper.framing),
            reader_count(workers),
            BATCH,
        )
        while batch := list(islice(reading, BATCH)):
            files.take(batch, mapper, wanted)
            if progress:
                done = len(files.images) + len(files.failures)
                progress(Progress(done, len(found), len(files.failures)))
        notes = _notes(found, mapper)
        result = _result(run.final, str(model), mapper, files, notes, started)
        write_evidence(run.partial, result)
        run.finish()
    except BaseException:
        run.leave()
        raise
    return result


def _position(class_: str | None, classes: list[str]) -> int | None:
    if class_ is None:
        return None
    if class_ not in classes:
        raise UnknownNameError("class", class_, classes)
    return classes.index(class_)


def _read(source: ImageSource, options: pictures.ReadingOptions, framing: Framing) -> ReadImage:
    """Read what the network sees of an image."""
    try:
        data = source.read(options.max_bytes)
        radiograph = pictures.read_image(data, options=options)
        if framing.crop != "none":
            seen = radiograph.pixels[framing.box(*radiograph.pixels.shape)]
            side = min(radiograph.height, radiograph.width)
            radiograph = replace(radiograph, pixels=seen, height=side, width=side)
        return ReadImage(source.id, radiograph)
    except ImageError as error:
        return ReadImage(source.id, error=error)


def _result(
    folder: Path,
    model: str,
    mapper: Mapper,
    files: ExplanationFiles,
    notes: list[str],
    started: float,
) -> ExplainResult:
    side = mapper.occlusions
    return ExplainResult(
        out=folder,
        model=model,
        head=mapper.model.head,
        extractor=mapper.model.extractor,
        classes=mapper.model.classes,
        control=any(extractor.is_control for extractor in mapper.extractors),
        method=mapper.method,
        explains=_explained_number(mapper),
        occlusions=side**2,
        patch=2 / (side + 1) if side else None,
        baseline="the picture's own mean grey" if side else "",
        central=evidence.CENTRAL,
        outside_area=evidence.OUTSIDE_AREA,
        images=files.images,
        failures=files.failures,
        sheet=files.draw_sheet(),
        notes=notes,
        seconds=round(time.monotonic() - started, 2),
    )


def _explained_number(mapper: Mapper) -> str:
    below = " below the calibration" if mapper.score.calibrated else ""
    return f"{mapper.score.what} of head '{mapper.model.head}'{below}"


def _notes(found: Dataset, mapper: Mapper) -> list[str]:
    notes = [
        *mapper.model.notes,
        *(note for note in found.notes if "passed over" in note),
        f"The maps explain the {_explained_number(mapper)}.",
    ]
    if mapper.framing.crop != "none":
        notes.append("The network sees the middle square of an image; pictures and maps show that.")
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
