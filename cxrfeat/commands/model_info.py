"""`cxrfeat model info`: what a saved model is, where it comes from, and what it is for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat.model import load as load_model
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike
from cxrfeat.prediction.result import USE


@dataclass(frozen=True, repr=False)
class ModelInfo(Shown):
    """What a model file says about itself.

    Attributes
    ----------
    path : Path
    bytes : int
    sha256 : str
        Of the file.
    head : str
    classes : list of str
    kind : "multiclass" or "multilabel"
    thresholds : dict of str to float
    extractor, fingerprint : str
    dimension : int
    spec : dict
        How images have to be read and embedded for it.
    training : dict
        Images, patients, settings, how it was validated, cross-validated scores.
    versions : dict of str to str
        Of the packages it was made with.
    distances : dict of str to float, or None
        ``images`` whose distances it keeps, their ``median``, and the distance beyond which an
        image is ``unlike_training``; None where it keeps none.
    notes : list of str
        E.g. that it was made with another scikit-learn.
    use : str
        What it is not for.
    """

    path: Path
    bytes: int
    sha256: str
    head: str
    classes: list[str]
    kind: str
    thresholds: Mapping[str, float]
    extractor: str
    fingerprint: str
    dimension: int
    spec: Mapping[str, Any]
    training: Mapping[str, Any]
    versions: Mapping[str, str]
    distances: dict[str, float] | None
    notes: list[str]
    use: str = USE


def model_info(model: PathLike) -> ModelInfo:
    """Describe a model: head, classes, extractor, how it was trained, with which packages.

    Parameters
    ----------
    model : path
        A ``model.skops`` of `cxrfeat.fit`.

    Raises
    ------
    FileFormatError
        A model that is damaged, changed, holds what is not trusted, or cannot be read by the
        installed packages.
    InputError
        No such file.
    """
    path = Path(model)
    loaded = load_model(path)
    content = path.read_bytes()
    distances = None
    if loaded.reference is not None:
        own = np.asarray(loaded.reference["training"], dtype=np.float64)
        distances = {
            "images": float(len(own)),
            "median": float(np.median(own)),
            "unlike_training": float(own[min(int(0.99 * (len(own) + 1)), len(own) - 1)]),
        }
    return ModelInfo(
        path=path,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        head=loaded.head,
        classes=loaded.classes,
        kind=loaded.kind,
        thresholds=loaded.thresholds,
        extractor=loaded.extractor,
        fingerprint=loaded.fingerprint,
        dimension=loaded.dimension,
        spec=loaded.spec,
        training=loaded.training,
        versions=loaded.versions,
        distances=distances,
        notes=list(loaded.notes),
    )
