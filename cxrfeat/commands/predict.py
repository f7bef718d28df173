"""`cxrfeat predict`: what a saved model says about images, and whether they are like its own.

For research only, not for diagnosis.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat import defaults
from cxrfeat.arrays import Matrix, Matrix32
from cxrfeat.errors import FileFormatError, InputError
from cxrfeat.evaluation.final_model.training_distance import UNLIKE, Reference
from cxrfeat.extraction.drain import Progress
from cxrfeat.extraction.reading_ahead import reader_count
from cxrfeat.images import is_picture, pictures_in
from cxrfeat.model import Model
from cxrfeat.model import load as load_model
from cxrfeat.paths import PathLike, several
from cxrfeat.prediction.called_labels import called
from cxrfeat.prediction.embedded import Embedded, from_files, from_images, from_pictures
from cxrfeat.prediction.prediction_file import target_file, write_predictions
from cxrfeat.prediction.result import Prediction, PredictResult


def predict(
    model: PathLike,
    images: Any,
    *,
    to: str | None = None,
    out: PathLike | None = None,
    weights: str | Sequence[str] = (),
    modality: str | Sequence[str] = defaults.MODALITIES,
    device: str = defaults.DEVICE,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PredictResult:
    """Apply a saved model to images, read and embedded as its training images were.

    For research only, not for diagnosis. The same image gets the same bits in any company.

    Parameters
    ----------
    model : path
        A ``model.skops`` of `cxrfeat.fit`.
    images : path, array, picture of Pillow, or a sequence of these
        Radiographs or folders of them; or the embedding file (``.h5``) of the model's extractor,
        several for a model of several extractors. Arrays are as `cxrfeat.open_extractor` takes
        them; they and pictures go by ``image-0``, ``image-1`` ...
    to : str, optional
        "csv", "parquet" or "json"; default: by the ending of `out`.
    out : path, optional
        A file that does not exist yet; default: ``predictions`` with the ending of `to`. Without
        `to` and `out` nothing is written.
    weights : str or sequence of str
        Where the weights of the model's extractor are, as for `extract`.
    modality : str or sequence of str
        DICOM modalities that are read, others fail; "any" reads any.
    device : str
        "auto", "cpu", "cuda" or "mps".
    batch_size : int, optional
        Images that go through the network together. Default: 32, or on accelerators as many as
        keep them busy.
    workers : int, optional
        Threads that read images, on accelerators processes; default: one for each core this
        process may use.
    progress : callable, optional
        Called with a `Progress` after every batch.

    Returns
    -------
    PredictResult

    Raises
    ------
    FileFormatError
        A model that is damaged, changed, or holds what is not trusted.
    SpecMismatchError
        Embeddings, or an extractor as it can be opened here, that are not the model's.
    InputError, WeightsError
        No images, wrong options, or weights that cannot be found.

    Examples
    --------
    >>> import cxrfeat
    >>> result = cxrfeat.predict("runs/first/model.skops", "image.png")  # doctest: +SKIP
    >>> result.predictions[0].labels  # doctest: +SKIP
    ['Normal']
    """
    start = time.monotonic()
    if (batch_size is not None and batch_size < 1) or (workers is not None and workers < 1):
        raise InputError(f"batch size {batch_size} and {workers} workers: use 1 or more of each")
    target = target_file(to, out)
    path = Path(model)
    loaded = load_model(path)
    given = pictures_in(images)
    asked = several(weights), several(modality), device
    if any(is_picture(one) for one in given):
        embedded = from_pictures(loaded, given, *asked)
    elif any(Path(one).suffix.lower() == ".h5" for one in given):
        embedded = from_files(loaded, [Path(one) for one in given])
    else:
        paths = [Path(one) for one in given]
        embedded = from_images(loaded, paths, *asked, batch_size, reader_count(workers), progress)
    predictions = _predictions(path, loaded, embedded)
    unlike = sum(prediction.unlike_training for prediction in predictions)
    notes = [*(f"this model was {note}" for note in loaded.notes), *embedded.notes]
    if loaded.reference is None:
        notes.append("the model was fitted on too few images to tell which are unlike them")
    if unlike:
        notes.append(
            f"{unlike} image(s) are unlike the training images (farther from them than"
            f" {UNLIKE:.0%} of themselves): what the model says of these rests on nothing like them"
        )
    result = PredictResult(
        model=path,
        model_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        extractor=loaded.extractor,
        head=loaded.head,
        fingerprint=loaded.fingerprint,
        classes=loaded.classes,
        kind=loaded.kind,
        thresholds=dict(loaded.thresholds),
        predictions=predictions,
        failures=embedded.failures,
        notes=notes,
        path=target,
        seconds=time.monotonic() - start,
    )
    if target is not None:
        write_predictions(result, to, target)
    return result


def _predictions(path: Path, loaded: Model, embedded: Embedded) -> list[Prediction]:
    broken = ~np.isfinite(embedded.X).all(axis=1)
    if broken.any():
        name = embedded.ids[int(np.flatnonzero(broken)[0])]
        raise InputError(f"the embedding of '{name}' is not finite: extract it again")
    probability = loaded.predict_proba(embedded.X)
    away = _distances(path, loaded, embedded.X)
    labels = called(loaded, probability)
    found = []
    for number, id_ in enumerate(embedded.ids):
        row = probability[number]
        found.append(
            Prediction(
                id=id_,
                sha256=embedded.sha256[number],
                labels=labels[number],
                probabilities=dict(zip(loaded.classes, row.tolist(), strict=True)),
                distance=None if away is None else float(away[0][number]),
                quantile=None if away is None else float(away[1][number]),
                unlike_training=away is not None and bool(away[2][number]),
            )
        )
    return found


def _distances(
    path: Path, loaded: Model, X: Matrix32
) -> tuple[Matrix, Matrix, npt.NDArray[np.bool_]] | None:
    """Distance, quantile, and whether that is too far, each of shape (n,)."""
    if loaded.reference is None:
        return None
    try:
        reference = Reference.from_plain(loaded.reference, loaded.dimension)
    except (TypeError, ValueError) as error:
        raise FileFormatError(
            f"{path} is damaged ({error}): make a model with cxrfeat fit"
        ) from error
    distance = reference.distance(X)
    return distance, reference.quantile(distance), reference.unlike(distance)
