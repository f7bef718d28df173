"""`cxrfeat fit`: which extractor, with which head, and how sure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat import defaults, model, store
from cxrfeat.cluster.session import check_engine
from cxrfeat.comparison.loaded_study import Labelling, load_study, need_mapping
from cxrfeat.comparison.saved_winner import SavedWinner, cannot_be_saved, save_winner
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.heads.registry import find_heads, for_size, weighted
from cxrfeat.evaluation.outcome.compared_study import ComparedStudy
from cxrfeat.evaluation.outcome.copies import look_for_copies
from cxrfeat.evaluation.statistics import calling, metrics
from cxrfeat.evaluation.statistics.defined_metrics import check_defined
from cxrfeat.evaluation.statistics.extractor_comparison import hardly_decidable
from cxrfeat.evaluation.study.design import REFITS, Asked, patients_of, plan_comparison
from cxrfeat.evaluation.study.enlarging import combined, with_outside
from cxrfeat.evaluation.study.relabelling import Relabelling
from cxrfeat.evaluation.study.study import Study
from cxrfeat.evaluation.validation.calibration import find_method
from cxrfeat.evaluation.validation.cross_validation import FoldDone, ToDo, cross_validate
from cxrfeat.evaluation.validation.places import place_of
from cxrfeat.evaluation.validation.tuning import Plan
from cxrfeat.paths import PathLike, several
from cxrfeat.reporting.kept_pieces import KeptPieces
from cxrfeat.reporting.run_files import MODEL, as_written, files_of, with_page, write_run
from cxrfeat.reporting.run_folder import RunFolder, new_run
from cxrfeat.reporting.used_files import used_files
from cxrfeat.results import EmbeddingFile, FitResult, LearningCurve


def fit(
    embeddings: PathLike | Sequence[PathLike] = defaults.EMBEDDINGS,
    *,
    labels: PathLike | None = None,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    group_column: str | None = None,
    uncertain: str | None = None,
    where: str | Sequence[str] = (),
    repeated_rows: str = defaults.REPEATED_ROWS,
    positive: str | None = None,
    map: PathLike | Sequence[PathLike] | Mapping[str, str | None] | None = None,
    head: str | Any | Sequence[str | Any] | None = None,
    out: PathLike | None = None,
    cv: int = defaults.CV,
    repeats: int = defaults.REPEATS,
    split: bool = False,
    leave_out: str | None = None,
    groups: str = defaults.GROUPS,
    keep_copies_together: bool = False,
    splits: PathLike | None = None,
    test: PathLike | Sequence[PathLike] | None = None,
    test_labels: PathLike | None = None,
    combine: str | Sequence[str] | None = None,
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
    fresh: bool = False,
    engine: str = defaults.ENGINE,
    address: str | None = None,
    report: bool = defaults.REPORT,
    images: PathLike | Sequence[PathLike] | None = None,
    progress: Callable[[FoldDone], None] | None = None,
    planned: Callable[[ToDo], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> FitResult:
    """Compare extractors by cross-validating heads on their embeddings.

    What each head finds on each fold of each extractor is kept as it ends. After a kill, an error
    or an interruption the same call goes on from there, and a run with another head or extractor
    takes the rest from the runs beside it; the results are the same to the last bit.

    Parameters
    ----------
    embeddings
        Embedding files, or folders of them. They are joined by image id.
    labels
        A table of labels to take in place of those of the files, without extracting again. Its
        rows are joined to the ids by the rules that `cxrfeat.extract` joins rows to images by, and
        its columns take the place of those of the same name; images without a row are left out.
    path_column, label_column, group_column, uncertain, where, repeated_rows
        How the table is read, as `cxrfeat.extract` takes them.
    positive
        One class or finding, to take against all the rest, without extracting again; also a
        level of a label such as ``Pneumonia/Viral/COVID-19``. After `map`.
    map
        Other names for classes or findings: a mapping, ``"OLD=NEW"`` each, or a table with the
        columns ``from`` and ``to``. Several of one name become one; a blank (None) drops a class,
        and the images that have no other. A name also stands for labels that say it as a level.
    head
        Names of heads, ``pca+NAME`` or ``pca100+NAME`` for one on the 64 or 100 largest principal
        components, or scikit-learn classifiers: unfitted ones as they are, or ``module:Class``,
        also a function that makes one; all named ones when left out.
    out
        Folder for the results; the next free ``runs/fit-001`` when left out, or the first there
        that was asked for the same and has not ended.
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
    keep_copies_together
        Keep images that are byte for byte the same, or near copies in the embeddings, on one side
        of every fold. Where the division is given, copies of tested images are not learned from.
    splits
        A ``splits.json`` of an earlier run, to use its folds again.
    test
        Embeddings of an outside set: everything is fitted on `embeddings` and scored on these.
    test_labels
        As `labels`, for the outside set, whose files otherwise say its labels.
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
        Tasks worked on at a time, each with its share of the cores; one per core when left out.
        Fewer where the memory does not allow as many.
    fresh
        Compute everything anew, whatever was kept.
    engine
        ``"local"``, this process, or ``"ray"`` (the extra ``ray``): heads are fitted on the
        machines of a Ray cluster, as many tasks at a time as these have room for, each with as many
        threads as it would have here. The results are those of this process to the last bit, and
        one goes on where the other stopped.
    address
        ``HOST:PORT`` of the Ray cluster, or ``"auto"`` for the one that this machine is part of.
        Ray is started here, and ended at the end, when left out.
    report
        Also write ``report.html`` and the figures, as `cxrfeat.report` does.
    images
        Folders of the radiographs, for the thumbnails of the page; looked for when left out.
    progress
        Called with a `FoldDone` after each task: a fold of an extractor, by all heads or by one.
    planned
        Called with a `ToDo` before the work: how much it is, what is there already, and how much
        time and memory the rest will take.
    warn
        Called before the work with each sentence that may be a reason not to begin it; these are
        among the notes of the result, too. Called after it with what befell the machines of Ray.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError
        Unknown head or metric, no labels, images that do not overlap, too few images of a class
        or patients for the folds, patients on both sides of given folds, test images on which
        the metric is not defined, or more work than the memory allows.
    LockedError
        Another process writes the same run.
    FileFormatError
        An embedding file or splits file that is not ours.
    SpecMismatchError
        Outside embeddings that were made in another way, or a machine of Ray with other packages.
    MissingExtraError, ClusterError
        No Ray here, or its machines cannot be used. Nothing that was found is lost.

    Examples
    --------
    >>> import cxrfeat
    >>> result = cxrfeat.fit("embeddings", head=["logreg"])  # doctest: +SKIP
    >>> result.ranking[0].extractor  # doctest: +SKIP
    'vgg16'
    """
    started = time.monotonic()
    check_engine(engine, {"address": address})
    asked_heads = find_heads(None if head is None else several(head))
    together_as_one = several(combine)
    labelling = Labelling.asked_for(
        Relabelling.asked_for(map, positive), labels, test_labels, test is not None,
        path_column=path_column, label_column=label_column, group_column=group_column,
        uncertain=uncertain, where=several(where), repeated_rows=repeated_rows,
    )  # fmt: skip
    options = as_written(
        embeddings=[Path(path).as_posix() for path in several(embeddings)],
        **labelling.written(),
        head=None if head is None else [one.name for one in asked_heads], cv=cv, repeats=repeats,
        split=split, leave_out=leave_out, groups=groups,
        keep_copies_together=keep_copies_together, splits=splits,
        test=None if test is None else several(test), combine=together_as_one,
        include_gone=include_gone, refit=refit, calibrate=calibrate, class_weight=class_weight,
        metric=metric, rope=rope, specificity=specificity, threshold=threshold,
        prevalence=prevalence, learning_curve=learning_curve, seed=seed,
    )  # fmt: skip
    heads, unweighted = weighted(asked_heads, class_weight)
    primary = metrics.primary(metric)
    method = find_method(calibrate)
    _check_numbers(rope, specificity, prevalence, jobs)
    rule = calling.rule(threshold)
    if refit not in REFITS:
        raise UnknownNameError("way to refit", refit, REFITS, "(--refit)")
    asked = Asked(
        cv, repeats, split, leave_out, groups, None if splits is None else Path(splits), seed
    )
    run = new_run(out, options)
    try:
        together = need_mapping([embeddings, *([] if test is None else [test])], together_as_one)
        study, outside_from = _load(
            embeddings,
            test,
            together_as_one,
            include_gone,
            run.mapped if together else None,
            labelling,
        )
        kept = KeptPieces(run, fresh=fresh)
        copies = None
        if keep_copies_together:
            known = patients_of(study, groups)[1]
            copies = look_for_copies(study, np.arange(len(study)), known, seed, kept)
            study = replace(study, notes=[*study.notes, copies.note(len(study))])
        copied = None if copies is None else copies.groups(len(study))
        study, design = plan_comparison(study, asked, outside_from, copied)
        heads, approximated = for_size(heads, max(len(fold.train) for fold in design.folds))
        plan = Plan(heads, primary, study.kind == "multiclass", seed, method, specificity, rule)
        undefined = check_defined(study, design.folds, primary)
        hardly = [
            *hardly_decidable(design.folds, len(study.extractors), _mend(leave_out)),
            *cannot_be_saved(heads),
        ]
        if warn is not None:
            for sentence in hardly:
                warn(sentence)
        with place_of(
            engine, address, study.extractors, design.folds, len(study.classes), plan, jobs
        ) as place:
            validated = cross_validate(
                study.extractors, study.labels.astype(np.float64), design.groups, design.folds,
                plan, run=place.run, share=place.share, progress=progress,
                patients=design.patients, kept=kept, planned=planned,
            )  # fmt: skip
            compared = ComparedStudy(
                study,
                design,
                validated,
                plan,
                rope,
                prevalence,
                place.here,
                place.run,
                copies,
                kept,
            )
            curves = compared.learning_curves if learning_curve else []
        if warn is not None:
            for sentence in place.notes:
                warn(sentence)
        saved = save_winner(run.partial / MODEL, compared, "train" if test is not None else refit)
        result = _result(
            run, compared, saved, options,
            [*unweighted, *approximated, *compared.search_notes, *undefined, *hardly],
            curves=curves,
            embeddings=[
                *used_files(store.embedding_files(embeddings), run.final),
                *used_files(store.embedding_files(test or []), run.final, outside=True),
            ],
            started=started,
        )  # fmt: skip
        write_run(run, result, compared)
        if report:
            result = with_page(run, result, images)
        run.finish()
    except BaseException:
        run.leave()
        raise
    return result


def _check_numbers(
    rope: float, specificity: float, prevalence: float | None, jobs: int | None
) -> None:
    if rope < 0:
        raise InputError(f"--rope {rope:g}: 0 or more is needed")
    if not 0 < specificity < 1:
        raise InputError(f"--specificity {specificity:g}: a share between 0 and 1 is needed")
    if prevalence is not None and not 0 < prevalence < 1:
        raise InputError(f"--prevalence {prevalence:g}: a share between 0 and 1 is needed")
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: at least 1 is needed; leave it out for one per core")


def _load(
    embeddings: PathLike | Sequence[PathLike],
    test: PathLike | Sequence[PathLike] | None,
    combine: Sequence[str],
    include_gone: bool,
    mapped: Path | None,
    labelling: Labelling,
) -> tuple[Study, int | None]:
    """Open everything that is compared; where the images of an outside set begin, if there are."""
    study = load_study(embeddings, include_gone=include_gone, mapped=mapped, labels=labelling.table)
    study = labelling.names.of(study)
    outside_from = None
    if test is not None:
        beside = None if mapped is None else mapped / "test"
        outside = load_study(
            test, include_gone=include_gone, mapped=beside, labels=labelling.of_outside
        )
        study, outside_from = with_outside(study, labelling.names.of(outside), mapped)
    together = [combined(study, names, mapped) for names in combine]
    return replace(study, extractors=[*study.extractors, *together]), outside_from


def _mend(leave_out: str | None) -> str:
    if leave_out:
        return f"a third {leave_out}, or one of the two as an outside set (--test), can do so"
    return "more folds (--cv, --repeats) can do so"


def _result(
    run: RunFolder,
    compared: ComparedStudy,
    saved: SavedWinner,
    options: dict[str, Any],
    said: Sequence[str],
    *,
    curves: list[LearningCurve],
    embeddings: list[EmbeddingFile],
    started: float,
) -> FitResult:
    study, design, plan = compared.study, compared.design, compared.plan
    return FitResult(
        run=run.final,
        metric=plan.metric.name,
        images=len(study),
        patients=None if design.patients is None else len(np.unique(design.patients)),
        classes=study.classes,
        kind=study.kind,
        folds=design.sentence,
        options=options,
        ranking=compared.ranking,
        reports=compared.reports,
        extractors=compared.extractors,
        comparisons=compared.comparisons,
        permuted=compared.permuted,
        curves=curves,
        winner=saved.facts,
        findings=compared.findings,
        notes=[*study.notes, *design.notes, *said, *compared.report_notes, *saved.notes],
        files=files_of(run, compared),
        versions=model.installed_versions(),
        embeddings=embeddings,
        decisions=calling.in_words(plan.threshold, plan.exclusive, plan.specificity),
        intervals=compared.intervals_over,
        tables=study.tables,
        seconds=round(time.monotonic() - started, 2),  # last: the answers above are computed here
    )
