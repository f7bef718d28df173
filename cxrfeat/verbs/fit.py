"""`cxrfeat fit`: which extractor with which head, over one set of folds."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat import model, store
from cxrfeat.errors import InputError, StorageError, UnknownNameError
from cxrfeat.evaluation import folds as folding
from cxrfeat.evaluation import heads as registry
from cxrfeat.evaluation import summary
from cxrfeat.evaluation.align import Study, align
from cxrfeat.evaluation.crossvalidate import FoldDone, cross_validate
from cxrfeat.evaluation.metrics import METRICS
from cxrfeat.evaluation.metrics import metric as metric_named
from cxrfeat.evaluation.tuning import refit
from cxrfeat.results import FitResult, Score, csv_text, json_text, scores_csv

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class _Design:
    """The folds, the patients they keep apart, and both in words."""

    folds: list[folding.Fold]
    groups: folding.Groups
    sentence: str
    notes: list[str]


def fit(
    embeddings: PathLike | Sequence[PathLike] = "embeddings",
    *,
    head: Sequence[str] | None = None,
    out: PathLike | None = None,
    cv: int = 5,
    repeats: int = 1,
    split: bool = False,
    groups: str = "auto",
    splits: PathLike | None = None,
    metric: str = "auroc",
    seed: int = 0,
    jobs: int | None = None,
    progress: Callable[[FoldDone], None] | None = None,
) -> FitResult:
    """Compare extractors by cross-validating heads on their embeddings.

    Parameters
    ----------
    embeddings
        Embedding files, or folders of them. They are joined by image id.
    head
        Names of heads; all of them when left out.
    out
        Folder for the results; the next free ``runs/fit-001`` when left out.
    cv, repeats
        Folds, and how often they are drawn anew.
    split
        Use the data's own division (its ``split`` column) instead of drawing folds.
    groups
        ``"auto"`` keeps the patients of the ``group`` column on one side of every fold where
        there is such a column; a column's name uses that one; ``"none"`` keeps nobody together.
    splits
        A ``splits.json`` of an earlier run, to use its folds again.
    metric
        The primary metric, declared before looking: it ranks, tunes and chooses the winner.
    seed
        Of folds and heads.
    jobs
        Folds worked on at a time; one per core when left out.
    progress
        Called with a `FoldDone` after each fold of each extractor.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError
        Unknown head or metric, no labels, images that do not overlap, too few images of a class
        or patients for the folds.
    FileFormatError
        An embedding file or splits file that is not ours.

    Examples
    --------
    >>> import cxrfeat
    >>> result = cxrfeat.fit("embeddings", head=["logreg"])  # doctest: +SKIP
    >>> result.ranking[0].extractor  # doctest: +SKIP
    'vgg16'
    """
    started = time.monotonic()
    heads = registry.named(head)
    primary = metric_named(metric)
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: at least 1 is needed; leave it out for one per core")
    paths = embedding_paths(embeddings)
    with ExitStack() as stack:
        study = align([stack.enter_context(store.load(path)) for path in paths])
    if study.kind == "multilabel":
        raise InputError(
            "these labels are multi-label; give a table with one class per image (--label-column)"
        )
    study = summary.without_empty_classes(study)
    design = _design(study, cv, repeats, split, groups, splits, seed)
    run = _new_run(out)
    try:
        outcomes = cross_validate(
            study.extractors, study.y, design.groups, design.folds, heads, primary,
            seed=seed, jobs=jobs, progress=progress,
        )  # fmt: skip
        ranking = summary.ranking(study, design.folds, outcomes, metric)
        best = summary.winner(ranking)
        chosen = next(e for e in study.extractors if e.name == best.extractor)
        estimator, tuned = refit(
            registry.HEADS[best.head], chosen.X, study.y, design.groups, primary, seed
        )
        files = {
            name: str(run.final / name)
            for name in (
                "scores.csv", "predictions.csv", "splits.json", "results.json", "model.skops"
            )
        }  # fmt: skip
        result = FitResult(
            run=run.final,
            metric=metric,
            images=len(study),
            patients=None if design.groups is None else len(np.unique(design.groups)),
            classes=study.classes,
            kind=study.kind,
            folds=design.sentence,
            ranking=ranking,
            reports=summary.reports(study, design.folds, outcomes, ranking),
            winner={"extractor": best.extractor, "head": best.head, "setting": tuned.setting},
            findings=[],
            notes=study.notes + design.notes,
            seconds=round(time.monotonic() - started, 2),
            files=files,
            versions=model.installed_versions(),
        )
        model.save(
            run.partial / "model.skops",
            model.Model(
                estimator=estimator,
                head=best.head,
                classes=study.classes,
                kind=study.kind,
                extractor=best.extractor,
                spec=chosen.spec,
                fingerprint=chosen.fingerprint,
                dimension=int(chosen.X.shape[1]),
                training=_training(study, design, best, tuned.setting),
                versions=result.versions,
            ),
        )
        scheme = {"folds": design.sentence, "cv": cv, "repeats": repeats, "seed": seed}
        run.write("splits.json", folding.to_json(design.folds, study.ids, scheme))
        run.write("scores.csv", scores_csv(ranking, list(METRICS)))
        run.write("predictions.csv", csv_text(*summary.predictions(study, design.folds, outcomes)))
        run.write("results.json", json_text(result.as_json()))
        run.finish()
    except BaseException:
        run.discard()
        raise
    return result


def embedding_paths(embeddings: PathLike | Sequence[PathLike]) -> list[Path]:
    """List the embedding files among files and folders, each once, in order.

    Raises
    ------
    InputError
        A path that does not exist, or a folder without embedding files.
    """
    given = [embeddings] if isinstance(embeddings, str | os.PathLike) else list(embeddings)
    found: list[Path] = []
    for item in given:
        path = Path(item)
        if path.is_dir():
            inside = sorted(path.glob("*.h5"))
            if not inside:
                raise InputError(
                    f"no embedding file (*.h5) in {path}: run cxrfeat extract IMAGES --out {path}"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path} does not exist: run cxrfeat extract first")
    return list(dict.fromkeys(found))


def _design(
    study: Study,
    cv: int,
    repeats: int,
    split: bool,
    groups: str,
    splits: PathLike | None,
    seed: int,
) -> _Design:
    patients, notes = _patients(study, groups)
    if splits is not None:
        if split:
            raise InputError("--split and --splits cannot both decide the folds: give one")
        folds, sentence = folding.read(Path(splits), study.ids)
        return _Design(folds, patients, sentence, notes)
    if split:
        if "split" not in study.meta:
            raise InputError(
                "--split needs a split column: extract from <split>/<class>/ folders or from a"
                " table with a split column"
            )
        folds, sentence = folding.fixed_split(study.meta["split"])
        return _Design(folds, patients, sentence, notes)
    folds = folding.cross_validation(
        study.y, patients, cv=cv, repeats=repeats, seed=seed, classes=study.classes
    )
    sentence = f"{cv}-fold cross-validation, stratified"
    sentence += ", patients kept together" if patients is not None else ", by image"
    if repeats > 1:
        sentence += f", {repeats} times"
    return _Design(folds, patients, sentence, notes)


def _patients(study: Study, groups: str) -> tuple[folding.Groups, list[str]]:
    if groups == "none":
        if "group" in study.meta:
            return None, ["the group column is not used (--groups none): patients may cross folds"]
        return None, []
    column = "group" if groups == "auto" else groups
    if column not in study.meta:
        if groups == "auto":
            return None, [
                "no patient column: images of one patient may be on both sides of a fold, which"
                " flatters every score; give --group-column to cxrfeat extract if there is one"
            ]
        raise UnknownNameError("group column", groups, [*study.meta, "none"])
    values = study.meta[column].astype(object)
    blank = values == ""
    notes = []
    if blank.any():
        # Two images without a patient id must not become one patient.
        values[blank] = [f"(image) {id_}" for id_ in np.array(study.ids, object)[blank]]
        notes.append(
            f"{int(blank.sum())} images have no {column}: each was taken for a patient of its own"
        )
    return values.astype(np.str_), notes


def _training(
    study: Study, design: _Design, best: Score, setting: dict[str, Any]
) -> dict[str, Any]:
    counts: npt.NDArray[np.intp] = np.bincount(study.y, minlength=len(study.classes))
    return {
        "images": len(study),
        "patients": None if design.groups is None else len(np.unique(design.groups)),
        "images_per_class": dict(zip(study.classes, counts.tolist(), strict=True)),
        "setting": setting,
        "folds": design.sentence,
        "scores": {name: round(value, 6) for name, value in best.mean.items()},
    }


@dataclass(frozen=True)
class _Run:
    """A folder of results that appears whole: written beside its place, then renamed."""

    final: Path
    partial: Path

    def write(self, name: str, text: str) -> None:
        try:
            (self.partial / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{self.final} cannot be written: {error.strerror}") from error

    def finish(self) -> None:
        try:
            os.replace(self.partial, self.final)
        except OSError as error:
            raise StorageError(f"{self.final} cannot be written: {error.strerror}") from error

    def discard(self) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)


def _new_run(out: PathLike | None) -> _Run:
    final = Path(out) if out is not None else _next_free(Path("runs"))
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise InputError(f"{final} exists already: give another --out, or delete it")
    # Made before the work starts, so that a place that cannot be written costs no time.
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{final} cannot be written: {error.strerror}") from error
    return _Run(final, partial)


def _next_free(parent: Path) -> Path:
    number = 1
    while (parent / f"fit-{number:03d}").exists():
        number += 1
    return parent / f"fit-{number:03d}"
