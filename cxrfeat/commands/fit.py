"""`cxrfeat fit`: which extractor, with which head, and how sure."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat import defaults, model, store
from cxrfeat.errors import CxrfeatError, InputError, UnknownNameError
from cxrfeat.evaluation.final_model import refit as refitting
from cxrfeat.evaluation.final_model.training_distance import reference
from cxrfeat.evaluation.heads import registry
from cxrfeat.evaluation.outcome import findings
from cxrfeat.evaluation.outcome.summary import Summary, winner, without_slope
from cxrfeat.evaluation.statistics import calling, extractor_comparison
from cxrfeat.evaluation.statistics.defined_metrics import check_defined
from cxrfeat.evaluation.statistics.metrics import primary as primary_metric
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.evaluation.statistics.patient_influence import TestPatients
from cxrfeat.evaluation.study import design as designing
from cxrfeat.evaluation.study import folds as folding
from cxrfeat.evaluation.study import scorable_labels
from cxrfeat.evaluation.study.alignment import Study, align, combined, with_outside
from cxrfeat.evaluation.validation.calibration import METHODS
from cxrfeat.evaluation.validation.cross_validation import CrossValidated, FoldDone, cross_validate
from cxrfeat.evaluation.validation.learning_curve import learning_curves
from cxrfeat.evaluation.validation.tuning import Plan
from cxrfeat.reporting.checklist_files import write_checklist_and_card
from cxrfeat.reporting.run_folder import RunFolder, new_run
from cxrfeat.reporting.run_page import write_page
from cxrfeat.reporting.used_files import used_files
from cxrfeat.results import (
    Comparison,
    ExtractorScore,
    Finding,
    FitResult,
    LearningCurve,
    Score,
    csv_text,
    json_text,
    latex_table,
    markdown_table,
    scores_csv,
)
from cxrfeat.version import __version__

PathLike = str | os.PathLike[str]


def fit(
    embeddings: PathLike | Sequence[PathLike] = defaults.EMBEDDINGS,
    *,
    head: Sequence[str] | None = None,
    out: PathLike | None = None,
    cv: int = defaults.CV,
    repeats: int = defaults.REPEATS,
    split: bool = False,
    leave_out: str | None = None,
    groups: str = defaults.GROUPS,
    splits: PathLike | None = None,
    test: PathLike | Sequence[PathLike] | None = None,
    combine: Sequence[str] | None = None,
    include_gone: bool = False,
    refit: str = defaults.REFIT,
    calibrate: str | None = None,
    class_weight: str | None = None,
    metric: str = defaults.METRIC,
    rope: float = defaults.ROPE,
    specificity: float = defaults.SPECIFICITY,
    threshold: str | float = defaults.THRESHOLD,
    prevalence: float | None = None,
    learning_curve: bool = False,
    seed: int = defaults.SEED,
    jobs: int | None = None,
    report: bool = defaults.REPORT,
    images: PathLike | Sequence[PathLike] | None = None,
    progress: Callable[[FoldDone], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> FitResult:
    """Compare extractors by cross-validating heads on their embeddings.

    Parameters
    ----------
    embeddings
        Embedding files, or folders of them. They are joined by image id.
    head
        Names of heads, or scikit-learn classifiers as ``module:Class``; all named ones when left
        out.
    out
        Folder for the results; the next free ``runs/fit-001`` when left out.
    cv, repeats
        Folds, and how often they are drawn anew.
    split
        Use the data's own division (its ``split`` column) instead of drawing folds.
    leave_out
        A column, e.g. ``"source"``: each of its values is tested once, learned from the others.
    groups
        ``"auto"`` keeps the patients of the ``group`` column on one side of every fold where
        there is such a column, and takes equal ids of two values of the ``source`` column for
        two patients; a column's name takes that one as it is (``"group"``: patients who were in
        several sources are the same); ``"none"`` keeps nobody together.
    splits
        A ``splits.json`` of an earlier run, to use its folds again.
    test
        Embeddings of an outside set: everything is fitted on `embeddings` and scored on these.
    combine
        Extractors to use side by side as one more, e.g. ``["vgg16+resnet50"]``.
    include_gone
        Also take rows whose image was not among those of the last extract.
    refit
        ``"train"`` fits the saved model on the images that some fold learns from: all where
        every image is tested in turn, and not the test part of a fixed division, so that its
        score is one of this model. ``"all"`` fits it on the test part too; an outside set
        (`test`) stays outside in any case.
    calibrate
        ``"sigmoid"`` or ``"isotonic"``: calibrate every head on held-out training images.
        (Heads without probabilities of their own get ``"sigmoid"`` in any case.)
    class_weight
        ``"balanced"``: classes weigh the same in the training rows, however rare; labels each by
        themselves. ``knn`` cannot; heads by import path need a parameter ``class_weight``.
    metric
        The primary metric, declared before looking: it ranks, tunes and chooses the winner.
    rope
        Half-width of the region of practical equivalence, in units of the metric.
    specificity
        At which the sensitivity is given, with a threshold from the training images.
    threshold
        Where any number of labels may hold: the rule that sets each label's threshold on held-out
        training images, ``"f1"``, ``"youden"`` or ``"specificity"`` (the one above), or one
        probability for all. Among classes that exclude each other, two included, the most
        probable one is called whatever this says.
    prevalence
        Of each class in the population of interest, for PPV and NPV there.
    learning_curve
        Also train on fewer patients, to see whether more would help.
    seed
        Of folds, heads, resamples and permutations.
    jobs
        Folds worked on at a time; one per core when left out.
    report
        Also write ``report.html`` and the figures, as `cxrfeat.report` does.
    images
        Folders of the radiographs, for the thumbnails of the page; looked for when left out.
    progress
        Called with a `FoldDone` after each fold of each extractor.
    warn
        Called before the work with each sentence that may be a reason not to begin it; these are
        among the notes of the result, too.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError
        Unknown head or metric, no labels, images that do not overlap, too few images of a class
        or patients for the folds, patients on both sides of given folds, or test images on which
        the metric is not defined.
    FileFormatError
        An embedding file or splits file that is not ours.
    SpecMismatchError
        Outside embeddings that were made in another way.

    Examples
    --------
    >>> import cxrfeat
    >>> result = cxrfeat.fit("embeddings", head=["logreg"])  # doctest: +SKIP
    >>> result.ranking[0].extractor  # doctest: +SKIP
    'vgg16'
    """
    started = time.monotonic()
    options = {
        "embeddings": [Path(path).as_posix() for path in _several(embeddings)],
        "head": None if head is None else list(head), "cv": cv, "repeats": repeats,
        "split": split, "leave_out": leave_out, "groups": groups,
        "splits": None if splits is None else str(splits),
        "test": None if test is None else [str(path) for path in _several(test)],
        "combine": list(combine or []), "include_gone": include_gone, "refit": refit,
        "calibrate": calibrate, "class_weight": class_weight,
        "metric": metric, "rope": rope, "specificity": specificity,
        "threshold": threshold, "prevalence": prevalence,
        "learning_curve": learning_curve, "seed": seed,
    }  # fmt: skip
    heads, unweighted = registry.weighted(registry.named(head), class_weight)
    primary = primary_metric(metric)
    _check_numbers(calibrate, rope, specificity, prevalence, jobs)
    rule = calling.rule(threshold)
    if refit not in designing.REFITS:
        raise UnknownNameError("way to refit", refit, designing.REFITS, "(--refit)")
    study = load_study(embeddings, include_gone=include_gone)
    outside_from = None
    if test is not None:
        study, outside_from = with_outside(study, load_study(test, include_gone=include_gone))
    study = replace(
        study, extractors=[*study.extractors, *(combined(study, name) for name in combine or [])]
    )
    found: list[Finding] = []
    if study.kind == "multilabel":
        folds_needed = cv if not (split or splits or leave_out or test) else 1
        together, _, _ = designing.patients_of(study, groups)
        study, found = scorable_labels.without_rare_labels(study, folds_needed, together)
    else:
        study = scorable_labels.without_empty_classes(study)
    asked = designing.Asked(
        cv, repeats, split, leave_out, groups, None if splits is None else Path(splits), seed
    )
    design = designing.design(study, asked, outside_from)
    if study.kind == "multilabel":
        study, unlearned = scorable_labels.without_unlearned_labels(study, design.folds)
        found += unlearned
    undefined = check_defined(study, design.folds, primary)
    mend = (
        f"a third {leave_out}, or one of the two as an outside set (--test), can do so"
        if leave_out
        else "more folds (--cv, --repeats) can do so"
    )
    hardly = extractor_comparison.hardly_decidable(design.folds, len(study.extractors), mend)
    if warn is not None:
        for sentence in hardly:
            warn(sentence)
    plan = Plan(
        heads,
        primary,
        study.kind == "multiclass",
        seed,
        calibrate,  # type: ignore[arg-type]  # checked above
        specificity,
        rule,
    )
    run = new_run(out)
    try:
        validated = cross_validate(
            study.extractors, study.labels.astype(np.float64), design.groups, design.folds, plan,
            jobs=jobs, progress=progress, patients=design.patients,
        )  # fmt: skip
        resamples = PatientResamples(len(study), design.patients, seed=seed)
        tested = TestPatients(design.folds, design.patients, seed=seed)
        summary = Summary(
            study, design.folds, validated.outcomes, primary, resamples, prevalence,
            tested, validated.retrained,
        )  # fmt: skip
        ranking = summary.ranking()
        reports = summary.reports(ranking)
        extractors, comparisons = _compare(summary, design, rope)
        best = winner(ranking)
        curves = _curves(study, design, ranking, plan, jobs) if learning_curve else []
        kept, notes = _save_winner(
            run, study, design, best, summary.nested(best.extractor), heads, plan,
            "train" if test is not None else refit,
        )  # fmt: skip
        near, searched = findings.near_duplicates_across_folds(
            study, design.folds, design.patients, seed
        )
        found += near
        found += _findings(study, design, validated, ranking, best, extractors, comparisons, plan)
        names = (
            "scores.csv", "predictions.csv", "splits.json", "results.json", "table.md",
            "table.tex", "checklist.csv", "model.skops", "model_card.md",
        )  # fmt: skip
        result = FitResult(
            run=run.final,
            metric=metric,
            images=len(study),
            patients=None if design.patients is None else len(np.unique(design.patients)),
            classes=study.classes,
            kind=study.kind,
            folds=design.sentence,
            options=options,
            ranking=ranking,
            reports=reports,
            extractors=extractors,
            comparisons=comparisons,
            permuted={
                one.name: float(np.mean(validated.permuted.get(one.name, np.nan)))
                for one in study.extractors
            },
            curves=curves,
            winner={"extractor": best.extractor, "head": best.head, **kept},
            findings=found,
            notes=[
                *study.notes,
                *design.notes,
                *unweighted,
                *searched,
                *undefined,
                *hardly,
                *without_slope(reports),
                *notes,
            ],
            seconds=round(time.monotonic() - started, 2),
            files={
                name: str(run.final / name)
                for name in names
                if not name.startswith("model") or (run.partial / "model.skops").exists()
            },
            versions=model.installed_versions(),
            embeddings=[
                *used_files(embedding_paths(embeddings), run.final),
                *used_files(embedding_paths(test or []), run.final, outside=True),
            ],
            decisions=calling.in_words(rule, plan.exclusive, specificity),
            intervals=summary.intervals_over,
        )
        _write(run, result, design, study, summary, options)
        if report:
            result = _with_page(run, result, images)
        run.finish()
    except BaseException:
        run.discard()
        raise
    return result


def _with_page(
    run: RunFolder, result: FitResult, images: PathLike | Sequence[PathLike] | None
) -> FitResult:
    """Write the page into the run; scores are not lost because it cannot be made."""
    try:
        made = write_page(run.partial, images=images)
    except CxrfeatError as error:
        again = f"then cxrfeat report {result.run} makes it"
        return replace(result, notes=[*result.notes, f"no report.html: {error}; {again}"])
    written = {path.relative_to(run.partial).as_posix() for path in (made.page, *made.figures)}
    files = {name: str(run.final / name) for name in sorted(written)}
    return replace(result, files={**result.files, **files})


def embedding_paths(embeddings: PathLike | Sequence[PathLike]) -> list[Path]:
    """List the embedding files among files and folders, each once, in order.

    Raises
    ------
    InputError
        A path that does not exist, or a folder without embedding files.
    """
    found: list[Path] = []
    for item in _several(embeddings):
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


def _several(paths: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def load_study(embeddings: PathLike | Sequence[PathLike], *, include_gone: bool = False) -> Study:
    """Open embedding files and join them by image id, as `fit` does."""
    with ExitStack() as stack:
        files = [stack.enter_context(store.load(path)) for path in embedding_paths(embeddings)]
        return align(files, include_gone=include_gone)


def _check_numbers(
    calibrate: str | None,
    rope: float,
    specificity: float,
    prevalence: float | None,
    jobs: int | None,
) -> None:
    if calibrate is not None and calibrate not in METHODS:
        raise UnknownNameError("calibration", calibrate, METHODS)
    if rope < 0:
        raise InputError(f"--rope {rope:g}: 0 or more is needed")
    if not 0 < specificity < 1:
        raise InputError(f"--specificity {specificity:g}: a share between 0 and 1 is needed")
    if prevalence is not None and not 0 < prevalence < 1:
        raise InputError(f"--prevalence {prevalence:g}: a share between 0 and 1 is needed")
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: at least 1 is needed; leave it out for one per core")


def _compare(
    summary: Summary, design: designing.Design, rope: float
) -> tuple[list[ExtractorScore], list[Comparison]]:
    extractors, evidence = summary.extractors()
    tested = np.unique(np.concatenate([fold.test for fold in design.folds]))
    pairs = extractor_comparison.compare(
        extractors, evidence, design.folds, summary.metric, rope=rope, images=len(tested)
    )
    if len(design.folds) == 1 and _one_image_per_patient(design):
        pairs = extractor_comparison.adjusted_over_all(
            [_with_fixed_tests(summary, design, pair) for pair in pairs]
        )
    return extractors, pairs


def _one_image_per_patient(design: designing.Design) -> bool:
    if design.patients is None:
        return False
    tested = design.patients[design.folds[0].test]
    return len(np.unique(tested)) == len(tested)


def _with_fixed_tests(summary: Summary, design: designing.Design, pair: Comparison) -> Comparison:
    first, second = (summary.chosen(name)[1][0].probability for name in (pair.first, pair.second))
    tests, p = extractor_comparison.on_fixed_test_set(
        summary.truth[design.folds[0].test], first, second, summary.study.classes,
        summary.exclusive,
    )  # fmt: skip
    return replace(pair, delong=tests, mcnemar=p)


def _curves(
    study: Study,
    design: designing.Design,
    ranking: Sequence[Score],
    plan: Plan,
    jobs: int | None,
) -> list[LearningCurve]:
    by_name = {head.name: head for head in plan.heads}
    best: dict[str, registry.Head] = {}
    for score in sorted(ranking, key=lambda score: score.head == registry.FLOOR):
        best.setdefault(score.extractor, by_name[score.head])
    return learning_curves(study, design.groups, design.folds, best, plan, jobs)


def _findings(
    study: Study,
    design: designing.Design,
    validated: CrossValidated,
    ranking: Sequence[Score],
    best: Score,
    extractors: Sequence[ExtractorScore],
    comparisons: Sequence[Comparison],
    plan: Plan,
) -> list[Finding]:
    return [
        *findings.patients_across_folds(design.folds, design.patients),
        *findings.duplicates_across_folds(study, design.folds),
        *findings.small_classes(study, design.folds, design.groups),
        *findings.not_learned(study, design.folds),
        *findings.shuffled_labels_predicted(validated.permuted),
        *findings.control_not_beaten(extractors, comparisons, plan.metric),
        *findings.no_better_than_dummy(ranking, design.folds, plan.metric),
        *findings.winner_flattered(ranking, best, extractors, plan.metric),
    ]


def _save_winner(
    run: RunFolder,
    study: Study,
    design: designing.Design,
    best: Score,
    nested: Mapping[str, float],
    heads: Sequence[registry.Head],
    plan: Plan,
    refit: str,
) -> tuple[dict[str, Any], list[str]]:
    """Refit and save. Returns what was saved, and notes."""
    rows, unseen, fitted_on = designing.rows_to_refit(design.folds, refit)
    extractor = next(one for one in study.extractors if one.name == best.extractor)
    head = next(one for one in heads if one.name == best.head)
    labels = study.labels[rows].astype(np.float64)
    exclusive = study.kind == "multiclass"
    # A class whose images only test is none that the model can answer.
    taught = np.nansum(labels, axis=0) > 0 if exclusive else np.full(labels.shape[1], True)
    labels = labels[:, taught]
    classes = [name for name, kept in zip(study.classes, taught, strict=True) if kept]
    known = None if design.groups is None else design.groups[rows]
    estimator, tuned = refitting.refit(
        head, extractor.X[rows], labels, known, plan, extractor.widths
    )
    settings = [one.setting for one in tuned]
    above = refitting.thresholds(tuned, plan, len(classes))
    kept: dict[str, Any] = {
        "settings": settings,
        "thresholds": dict(zip(classes, above, strict=True)),
        "fitted_on": fitted_on,
    }
    like = reference(
        extractor.X[rows], labels.argmax(axis=1) if exclusive else np.zeros(len(rows), int), known,
        plan.seed,
    )  # fmt: skip
    training = {
        "images": len(rows),
        "patients": None if known is None else len(np.unique(known)),
        "images_per_class": {
            name: int(count) for name, count in zip(classes, np.nansum(labels, axis=0), strict=True)
        },
        "fitted_on": fitted_on,
        "test_images_unseen": unseen,
        "settings": settings,
        "decisions": calling.in_words(plan.threshold, exclusive, plan.specificity),
        **({"specificity_of_thresholds": plan.specificity} if exclusive else {}),
        "folds": design.sentence,
        "scores": _finite(nested),
        "scores_as_ranked": _finite(best.mean),
    }
    saved = model.Model(
        estimator=estimator,
        head=best.head,
        classes=classes,
        kind=study.kind,
        extractor=best.extractor,
        spec=extractor.spec,
        fingerprint=extractor.fingerprint,
        dimension=int(extractor.X.shape[1]),
        thresholds=kept["thresholds"],
        training=training,
        versions={**model.installed_versions(), "cxrfeat": __version__},
        reference=None if like is None else like.plain(),
        probe=refitting.probe(estimator, extractor.X[rows], labels),
    )
    notes = [
        f"the model does not know '{name}': it was fitted on no image of it"
        for name, there in zip(study.classes, taught, strict=True)
        if not there
    ]
    if refit == "all" and len(design.folds) == 1:
        notes.append(f"the saved model was fitted on {fitted_on}")
    try:
        model.save(run.partial / "model.skops", saved)
    except InputError as error:
        # A classifier from elsewhere may not be storable; that is no reason to lose the scores.
        return kept, [f"the winner was not saved: {error}"]
    return kept, notes


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in scores.items() if np.isfinite(value)}


def _write(
    run: RunFolder,
    result: FitResult,
    design: designing.Design,
    study: Study,
    summary: Summary,
    options: dict[str, Any],
) -> None:
    scheme = {"folds": design.sentence, **options}
    plain = result.as_json()
    patients = design.patients
    run.write("splits.json", folding.to_json(design.folds, study.ids, scheme, patients))
    run.write("scores.csv", scores_csv(result.ranking, result.metric))
    run.write("predictions.csv", csv_text(*summary.predictions()))
    run.write("table.md", markdown_table(plain))
    run.write("table.tex", latex_table(plain))
    run.write("results.json", json_text(plain))
    write_checklist_and_card(run, plain)
