"""A fitted head as one file: who made it, on which embeddings, and how well it did.

The file is a skops archive (a zip of JSON and numbers). Loading builds only types from
scikit-learn and the few of our own that are named here; anything else is refused, unexecuted.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skops.io

from cxrfeat.dataset import LabelKind
from cxrfeat.errors import FileFormatError, InputError, StorageError

FORMAT = "cxrfeat-model"
FORMAT_VERSION = 1

TRUSTED = (
    "cxrfeat.evaluation.boosting.BoostedTrees",
    "cxrfeat.evaluation.calibration.Calibrated",
    "cxrfeat.evaluation.refit.BlockScaler",
    "cxrfeat.evaluation.refit.PerLabel",
    "sklearn.tree._tree.Tree",
)
"""Types beyond scikit-learn's public ones that a model file may hold; all of them plain data."""


@dataclass(frozen=True)
class Model:
    """A fitted head with what is needed to use it on new images.

    Attributes
    ----------
    estimator
        A scikit-learn classifier: ``predict_proba`` takes embeddings of shape (n, dimension).
    head : str
        Its name in the registry.
    classes : list of str
        The names of the probability columns.
    kind : "multiclass" or "multilabel"
    extractor : str
        Name of the extractor, i.e. the stem of the embedding file.
    spec, fingerprint
        How the embeddings were made; new ones have to be made in the same way.
    dimension : int
    training : dict
        Plain data: images, patients, setting, cross-validated scores.
    versions : dict of str to str
        Of the packages the model was made with.
    """

    estimator: Any
    head: str
    classes: list[str]
    kind: LabelKind
    extractor: str
    spec: Mapping[str, Any]
    fingerprint: str
    dimension: int
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def predict_proba(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability of each class for embeddings X of shape (n, dimension), shape (n, L).

        Raises
        ------
        InputError
            Embeddings of another dimension.
        """
        if X.ndim != 2 or X.shape[1] != self.dimension:
            raise InputError(
                f"this model takes embeddings of {self.dimension} numbers, got shape {X.shape}:"
                " extract with the backbone and pooling it was fitted on"
            )
        return np.asarray(self.estimator.predict_proba(X), dtype=np.float64)


def installed_versions() -> dict[str, str]:
    """Versions of the packages that decide how a model is read."""
    found = {}
    for name in ("cxrfeat", "scikit-learn", "xgboost", "numpy", "skops"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def save(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model; the file appears whole or not at all.

    Raises
    ------
    InputError
        An estimator that could not be loaded again, because it holds types that are not trusted.
    StorageError
        A place that cannot be written.
    """
    path = Path(path)
    about = {
        "head": model.head,
        "classes": model.classes,
        "kind": model.kind,
        "extractor": model.extractor,
        "spec": dict(model.spec),
        "fingerprint": model.fingerprint,
        "dimension": model.dimension,
        "training": dict(model.training),
        "versions": dict(model.versions) or installed_versions(),
    }
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "about": json.dumps(about, ensure_ascii=False),
        "estimator": model.estimator,
    }
    content = skops.io.dumps(document)
    if strange := set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED):
        raise InputError(
            f"head '{model.head}' holds {', '.join(sorted(strange))}, which a model file must"
            " not hold; use a scikit-learn classifier"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model without executing anything it holds.

    Raises
    ------
    InputError
        No such file.
    FileFormatError
        Not a model of cxrfeat, a damaged one, or one that holds types that are not trusted.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        strange = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED)
        if strange:
            raise FileFormatError(
                f"{path} holds {', '.join(sorted(strange)[:3])}, which is not trusted: it was not"
                " loaded; make models with cxrfeat fit"
            )
        with warnings.catch_warnings():
            # scikit-learn warns of other versions; the versions are in the model for the caller.
            warnings.simplefilter("ignore")
            document = skops.io.loads(content, trusted=list(TRUSTED))
        if document["format"] != FORMAT or document["format_version"] != FORMAT_VERSION:
            raise ValueError("another format or version")
        about = json.loads(document["about"])
        return Model(estimator=document["estimator"], **about)
    except FileFormatError:
        raise
    # Whatever a foreign or damaged archive makes the reader raise, it is not a model.
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise FileFormatError(
            f"{path} is not a model file of cxrfeat, or is damaged ({reason}): make one with"
            " cxrfeat fit"
        ) from error
