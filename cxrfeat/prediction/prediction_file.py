"""Predictions as CSV, Parquet or JSON: a row for every image that was asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrfeat import tables
from cxrfeat.errors import InputError, StorageError, UnknownNameError
from cxrfeat.paths import PathLike
from cxrfeat.version import __version__

if TYPE_CHECKING:
    from cxrfeat.prediction.result import PredictResult


def target_file(to: str | None, out: PathLike | None) -> Path | None:
    """Decide which file is written, before any work is done; None for none.

    Raises
    ------
    UnknownNameError
        A format that there is not.
    InputError
        A file that exists.
    """
    if to is None and out is None:
        return None
    kind = to if to is not None else Path(str(out)).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UnknownNameError("format of predictions", kind, FORMATS, "(--to)")
    target = Path(out) if out is not None else Path(f"predictions.{kind}")
    if target.exists():
        raise InputError(f"'{target}' exists already: give another name with --out, or delete it")
    return target


def write_predictions(result: PredictResult, to: str | None, target: Path) -> None:
    """Write predictions; the file appears whole or not at all.

    Raises
    ------
    StorageError
        A place that cannot be written.
    MissingExtraError
        Parquet without pyarrow.
    """
    kind = to if to is not None else target.suffix.lower().removeprefix(".")
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        FORMATS[kind](result, new)
        if kind == "csv":  # which has no place for where the numbers come from
            beside = target.with_name(target.name + ".json")
            beside.write_text(_provenance(result), encoding="utf-8")
        os.replace(new, target)
    except OSError as error:
        raise StorageError(
            f"'{target}' cannot be written ({error.strerror or error}): make room there, or give"
            " another place with --out"
        ) from error
    finally:
        new.unlink(missing_ok=True)


def _columns(result: PredictResult) -> dict[str, list[Any]]:
    """Every image with its probabilities; one that failed has an error in their place."""
    columns: dict[str, list[Any]] = {
        "id": [one.id for one in result.predictions],
        "sha256": [one.sha256 for one in result.predictions],
        "predicted": ["|".join(one.labels) for one in result.predictions],
    }
    for name in result.classes:
        columns[f"p_{name}"] = [one.probabilities[name] for one in result.predictions]
    columns["distance"] = [one.distance for one in result.predictions]
    columns["quantile"] = [one.quantile for one in result.predictions]
    columns["unlike_training"] = [
        "yes" if one.unlike_training else "no" for one in result.predictions
    ]
    columns["error"] = [""] * len(result.predictions)
    for failure in result.failures:
        for name, values in columns.items():
            number = name.startswith("p_") or name in ("distance", "quantile")
            values.append(None if number else "")
        columns["id"][-1] = failure.id
        columns["error"][-1] = f"{failure.code}: {failure.reason}"
    return columns


def _write_csv(result: PredictResult, path: Path) -> None:
    """Write numbers with every digit, so that they read back to the same bits."""
    columns = _columns(result)
    texts = {
        name: ["" if value is None else str(value) for value in values]
        for name, values in columns.items()
    }
    tables.write_table(path, texts)


def _write_parquet(result: PredictResult, path: Path) -> None:
    tables.write_parquet(path, [_columns(result)], {"cxrfeat": _provenance(result)})


def _write_json(result: PredictResult, path: Path) -> None:
    text = json.dumps(asdict(result), indent=2, ensure_ascii=False, default=str)
    path.write_text(text + "\n", encoding="utf-8")


FORMATS: dict[str, Callable[[PredictResult, Path], None]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
    "json": _write_json,
}


def _provenance(result: PredictResult) -> str:
    return json.dumps(
        {
            "model": str(result.model),
            "model_sha256": result.model_sha256,
            "extractor": result.extractor,
            "fingerprint": result.fingerprint,
            "head": result.head,
            "classes": result.classes,
            "kind": result.kind,
            "thresholds": result.thresholds,
            "notes": result.notes,
            "predicted_by": f"cxrfeat {__version__}",
            "use": result.use,
        },
        sort_keys=True,
        ensure_ascii=False,
    )
