"""A fitted head as one file: who made it, on which embeddings, and how well it did.

The file is a skops archive (a zip of JSON and numbers). Loading builds only types from
scikit-learn and the few of our own that are named here; anything else is refused, unexecuted.
`docs/model.md` says what the file holds and what loading checks, in order.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from cxrfeat import absence
from cxrfeat.errors import CxrfeatError, FileFormatError, InputError, StorageError
from cxrfeat.inputs import LabelKind
from cxrfeat.model.archive import read_schema, text_of, with_types_moved
from cxrfeat.model.bounds import check_bounds
from cxrfeat.paths import PathLike
from cxrfeat.spec import fingerprint as fingerprint_of

FORMAT = "cxrfeat-model"
FORMAT_VERSION = 3
READABLE = (2, 3)
"""Versions that are read: 2 is as 3, but for where our own types stood, which `MOVED` says."""

TRUSTED = (
    "cxrfeat.estimators.BlockScaler",
    "cxrfeat.estimators.BoostedTrees",
    "cxrfeat.estimators.Calibrated",
    "cxrfeat.estimators.GaussianLandmarks",
    "cxrfeat.estimators.NearestVotes",
    "cxrfeat.estimators.PerLabel",
    "cxrfeat.estimators.PrincipalComponents",
    "cxrfeat.estimators.RowByRow",
    "cxrfeat.estimators.TrainingRows",
    "sklearn.tree._tree.Tree",
)
"""Types beyond scikit-learn's public ones that a model file may hold; all of them plain data."""

MOVED = {
    "cxrfeat.evaluation.boosting.BoostedTrees": "cxrfeat.estimators.BoostedTrees",
    "cxrfeat.evaluation.calibration.Calibrated": "cxrfeat.estimators.Calibrated",
    "cxrfeat.evaluation.refit.BlockScaler": "cxrfeat.estimators.BlockScaler",
    "cxrfeat.evaluation.refit.PerLabel": "cxrfeat.estimators.PerLabel",
    "cxrfeat.evaluation.row_by_row.RowByRow": "cxrfeat.estimators.RowByRow",
}
"""Where types stood in older model files, and where they stand now; entries are only ever added."""

AGREES = 1e-5
"""How far a probability may be from what it was when the model was made."""


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
        How the embeddings were made; new ones have to be made in the same way. Several extractors
        side by side have the spec ``{"combined": {name: spec, ...}}``.
    dimension : int
    thresholds : dict of str to float
        Per class the probability above which it is called, from held-out training images, by the
        rule that ``decisions`` in `training` names; for multi-class labels the most probable class
        is called whatever these say.
    training : dict
        Plain data: images, patients, setting, cross-validated scores.
    versions : dict of str to str
        Of the packages the model was made with.
    reference : dict of str to arrays, or None
        What images are compared with to see whether they are like the training images; see
        `cxrfeat.evaluation.final_model.training_distance.Reference`.
    probe : dict of str to arrays, or None
        ``embeddings``, shape (k, dimension), and what the model made of them when it was saved,
        ``probabilities``, shape (k, L): loading compares.
    notes : list of str
        What to know about this copy, e.g. that it was made with another scikit-learn; found while
        loading, never stored.
    """

    estimator: Any
    head: str
    classes: list[str]
    kind: LabelKind
    extractor: str
    spec: Mapping[str, Any]
    fingerprint: str
    dimension: int
    thresholds: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, Any] | None = None
    probe: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()

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


def save(path: PathLike, model: Model) -> None:
    """Write a model; the file appears whole or not at all.

    Raises
    ------
    InputError
        An estimator that could not be loaded again, because it holds types that are not trusted.
    StorageError
        A place that cannot be written.
    """
    path = Path(path)
    about = {name: getattr(model, name) for name in _ABOUT}
    about |= {name: dict(about[name]) for name in ("spec", "thresholds", "training")}
    about["versions"] = dict(model.versions) or installed_versions()
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "about": json.dumps(about, ensure_ascii=False),
        "estimator": model.estimator,
        "reference": None if model.reference is None else dict(model.reference),
        "probe": None if model.probe is None else dict(model.probe),
    }
    content = _skops().dumps(document)
    if strange := _untrusted(content):
        raise InputError(
            f"head '{model.head}' holds {', '.join(strange)}, which a model file must"
            " not hold; use a scikit-learn classifier"
        )
    try:
        read_schema(content)
    except ValueError as error:
        raise InputError(
            f"head '{model.head}' cannot be saved as a model ({error}); use another classifier"
        ) from error
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


_ABOUT = {
    "head": str,
    "classes": list,
    "kind": str,
    "extractor": str,
    "spec": dict,
    "fingerprint": str,
    "dimension": int,
    "thresholds": dict,
    "training": dict,
    "versions": dict,
}
"""What the plain part of a model file holds, and of which type."""


def why_unsavable(estimator: Any) -> str:
    """Say why an unfitted classifier could not be saved once it is fitted, "" where it could."""
    try:
        strange = _untrusted(_skops().dumps(estimator))
    except Exception as error:  # whatever skops trips over: a lambda, a lock, a handle
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"it holds {', '.join(strange)}, which a model file must not hold" if strange else ""


def _untrusted(content: bytes) -> list[str]:
    return sorted(set(_skops().get_untrusted_types(data=content)) - set(TRUSTED))


def load(path: PathLike) -> Model:
    """Read a model without executing anything it holds.

    Returns
    -------
    Model
        With a note where it was made with another minor version of scikit-learn or another major
        one of XGBoost, and still gives the probabilities that it gave then.

    Raises
    ------
    InputError
        No such file; where its run could not save it, the message says why.
    FileFormatError
        Not a model of cxrfeat, a damaged or changed one, one that holds types that are not
        trusted, or one that the installed packages cannot read or read differently.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        if path.is_dir():
            raise InputError(f"{path} is a folder: give the model in it, model.skops") from error
        if reason := _not_saved(path):
            raise InputError(
                f"{path} is not there, because {reason}: fit again with heads that can be saved"
            ) from error
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    made_with: dict[str, str] = {}
    try:
        about = _about(path, read_schema(content))
        made_with = about["versions"]
        content = with_types_moved(content, MOVED)
        _refuse_untrusted(path, content)
        with warnings.catch_warnings():
            # scikit-learn warns of every other version; `_compared` says what that means here.
            warnings.simplefilter("ignore")
            document = _skops().loads(content, trusted=list(TRUSTED))
            check_bounds(document["estimator"], about["dimension"])
            model = Model(
                estimator=document["estimator"],
                reference=document["reference"],
                probe=document["probe"],
                **about,
            )
            return replace(model, notes=_compared(path, model))
    except CxrfeatError:
        raise
    # Whatever a foreign or damaged archive makes the reader raise, it is not a model.
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise FileFormatError(
            f"{path} is not a model file of cxrfeat, or is damaged ({reason}): make one with"
            f" cxrfeat fit{_made_with(made_with)}"
        ) from error


def _not_saved(path: Path) -> str:
    """Return why the run that a model file would lie in has none, "" where it does not say."""
    try:
        results = json.loads((path.parent / "results.json").read_text(encoding="utf-8"))
        return str(results["winner"].get("not_saved", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def _about(path: Path, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the plain part of a file after checking it; nothing else of it was touched yet."""
    if text_of(schema, "format") != FORMAT:
        raise ValueError("another format")
    if text_of(schema, "format_version") not in READABLE:
        raise ValueError("another format or version")
    about = json.loads(text_of(schema, "about"))
    if about.keys() != _ABOUT.keys():
        raise ValueError("it lacks entries, or has others")
    for name, kind in _ABOUT.items():
        if type(about[name]) is not kind:
            raise ValueError(f"'{name}' is not of type {kind.__name__}")
    texts = [*about["classes"], *about["versions"].values()]
    numbers = about["thresholds"].values()
    if not all(isinstance(text, str) for text in texts) or not about["classes"]:
        raise ValueError("its classes or versions are no names")
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError("its thresholds are no numbers")
    if about["kind"] not in get_args(LabelKind) or about["dimension"] < 1:
        raise ValueError("its kind or dimension is none")
    if fingerprint_of(about["spec"]) != about["fingerprint"]:
        raise FileFormatError(
            f"{path} was changed after it was made: its fingerprint is not that of its spec; use"
            " the file as cxrfeat fit wrote it"
        )
    return dict(about)


def _refuse_untrusted(path: Path, content: bytes) -> None:
    if strange := _untrusted(content):
        raise FileFormatError(
            f"{path} holds {', '.join(strange[:3])}, which is not trusted: it was not"
            " loaded; make models with cxrfeat fit"
        )


def _compared(path: Path, model: Model) -> list[str]:
    """Compare a loaded model with what it was, and say what is different about the packages.

    Raises
    ------
    FileFormatError
        It no longer gives the probabilities that it gave when it was made.
    """
    here = installed_versions()
    others = [
        f"{name} {model.versions[name]} (here {here.get(name, 'none')})"
        for name, digits in (("scikit-learn", 2), ("xgboost", 1))
        if name in model.versions
        and model.versions[name].split(".")[:digits] != here.get(name, "").split(".")[:digits]
    ]
    if model.probe is None:
        return [f"made with {' and '.join(others)}: not checked that it reads alike"] * bool(others)
    now = model.predict_proba(np.asarray(model.probe["embeddings"], dtype=np.float32))
    then = np.asarray(model.probe["probabilities"], dtype=np.float64)
    off = float(np.max(np.abs(now - then))) if now.shape == then.shape else float("inf")
    if not off <= AGREES:
        raise FileFormatError(
            f"{path} gives other probabilities than when it was made (by up to {off:.2g}): it was"
            f" changed, or the packages read it differently{_made_with(model.versions)}"
        )
    if not others:
        return []
    return [
        f"made with {' and '.join(others)}; it gives the same probabilities as then at"
        f" {len(then)} recorded embeddings, to {AGREES:g}"
    ]


def _made_with(versions: Mapping[str, str]) -> str:
    here = installed_versions()
    names = [name for name in ("scikit-learn", "skops", "xgboost") if name in versions]
    if all(versions[name] == here.get(name) for name in names):
        return ""
    return "; it was made with " + ", ".join(f"{name} {versions[name]}" for name in names)


def _skops() -> Any:
    """Import skops where it is needed: it takes seconds, because it lists all of scikit-learn.

    For that it imports every package of scikit-learn, also the one that imports torch, which takes
    as long again and 300 MB, and is of no use here.
    """
    with absence.missing("sklearn.externals.array_api_compat.torch"):
        import skops.io

    return skops.io
