"""`fit` compares extractors, `audit` doubts what it found, `report` draws it, `demo` does all."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from cxrfeat import defaults, display
from cxrfeat.commandline import options, panels
from cxrfeat.commandline.running import say, show


def fit(
    embeddings: Annotated[
        list[str], typer.Argument(help="Embedding files, or folders of them.")
    ] = [defaults.EMBEDDINGS],
    test: Annotated[
        list[str] | None,
        panels.embeddings(help="Embeddings of an outside set: fit on EMBEDDINGS, score on these."),
    ] = None,
    combine: Annotated[
        list[str] | None,
        panels.embeddings(help="Extractors to use side by side as one more, e.g. vgg16+resnet50."),
    ] = None,
    include_gone: options.IncludeGone = False,
    labels: options.Labels = None,
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
    group_column: options.GroupColumn = None,
    uncertain: options.Uncertain = None,
    where: options.Where = [],
    repeated_rows: options.RepeatedRows = defaults.REPEATED_ROWS,
    test_labels: Annotated[
        str | None,
        panels.images_and_labels(
            help="As --labels, for the outside set.  [default: the labels of its files]"
        ),
    ] = None,
    positive: options.Positive = None,
    map: Annotated[
        list[str],
        panels.images_and_labels(
            help="OLD=NEW, or a table with the columns from and to: other names for classes. "
            "Several of one name become one, a blank drops one."
        ),
    ] = [],
    cv: Annotated[int, panels.folds(help="Folds.")] = defaults.CV,
    repeats: Annotated[
        int, panels.folds(help="How often the folds are drawn anew.")
    ] = defaults.REPEATS,
    split: Annotated[
        bool, panels.folds("--split", help="Use the data's own train/val/test division.")
    ] = False,
    leave_out: Annotated[
        str | None,
        panels.folds(help="A column, e.g. source: test on each of its values in turn."),
    ] = None,
    groups: Annotated[
        str,
        panels.folds(
            help="auto keeps patients apart, equal ids of two sources being two patients; none "
            "does not; or a column's name: group where ids are the same in every source."
        ),
    ] = defaults.GROUPS,
    keep_copies_together: Annotated[
        bool,
        panels.folds(
            "--keep-copies-together",
            help="Keep equal images, and near copies in the embeddings, on one side of every fold.",
        ),
    ] = False,
    splits: Annotated[
        str | None, panels.folds(help="A splits.json of an earlier run, to use its folds.")
    ] = None,
    head: Annotated[
        list[str] | None,
        panels.heads(
            help="logreg, linear_svm, lda, knn, svm_rbf, xgboost, dummy; pca+NAME or pca100+NAME, "
            "on 64 or 100 principal components; or a classifier of scikit-learn, or a function "
            "that makes one, as MODULE:NAME; several times for several.  [default: all named]  "
            "svm_rbf_nystroem: svm_rbf on random landmarks, which stands for it at size."
        ),
    ] = None,
    class_weight: Annotated[
        str | None,
        panels.heads(help="balanced: rare classes weigh as much as others; knn stays as it is."),
    ] = None,
    calibrate: Annotated[
        str | None, panels.heads(help="sigmoid or isotonic, on held-out training images.")
    ] = None,
    refit: Annotated[
        str,
        panels.heads(
            help="The saved model learns from train: what the folds learn from, not the test part "
            "of a fixed division; all: from that, too."
        ),
    ] = defaults.REFIT,
    metric: Annotated[
        str, panels.scores(help="Ranks, tunes and chooses the winner.")
    ] = defaults.METRIC,
    rope: Annotated[
        float, panels.scores(help="A difference up to this is practically none.")
    ] = defaults.ROPE,
    specificity: Annotated[
        float,
        panels.scores(help="At which sensitivity is given (threshold from training images)."),
    ] = defaults.SPECIFICITY,
    threshold: Annotated[
        str,
        panels.scores(
            help="Where any number of labels may hold: f1, youden, specificity, or a probability "
            "such as 0.5 (threshold from training images)."
        ),
    ] = defaults.THRESHOLD,
    prevalence: Annotated[
        float | None, panels.scores(help="Share of each class to give PPV and NPV at.")
    ] = None,
    learning_curve: Annotated[
        bool, panels.scores("--learning-curve", help="Also train on fewer patients.")
    ] = False,
    out: Annotated[
        str | None, panels.output(help="Folder for the results.  [default: runs/fit-NNN]")
    ] = None,
    report: Annotated[
        bool, panels.output(help="Write report.html and figures, too.")
    ] = defaults.REPORT,
    images: options.RadiographFolders = None,
    full: options.Full = False,
    seed: options.Seed = defaults.SEED,
    jobs: options.Jobs = None,
    fresh: Annotated[
        bool, panels.running("--fresh", help="Compute everything anew, whatever runs have kept.")
    ] = False,
    engine: options.Engine = defaults.ENGINE,
    address: options.Address = None,
    json: options.Json = False,
) -> None:
    """Compare extractors by cross-validating classifiers on their embeddings.

    All extractors see the same folds; patients never cross folds; scaling, tuning and calibration
    happen inside the training folds. Every pair of extractors gets a difference with its interval.
    """
    from cxrfeat.commands.fit import fit as verb

    with display.fit_progress() as progress:
        result = verb(
            embeddings,
            labels=labels,
            path_column=path_column,
            label_column=label_column,
            group_column=group_column,
            uncertain=uncertain,
            where=where,
            repeated_rows=repeated_rows,
            test_labels=test_labels,
            positive=positive,
            map=map or None,
            head=head,
            out=out,
            cv=cv,
            repeats=repeats,
            split=split,
            leave_out=leave_out,
            groups=groups,
            keep_copies_together=keep_copies_together,
            splits=splits,
            test=test,
            combine=combine,
            include_gone=include_gone,
            refit=refit,
            calibrate=calibrate,
            class_weight=class_weight,
            metric=metric,
            rope=rope,
            specificity=specificity,
            threshold=threshold,
            prevalence=prevalence,
            learning_curve=learning_curve,
            seed=seed,
            jobs=jobs,
            fresh=fresh,
            engine=engine,
            address=address,
            report=report,
            images=images,
            progress=progress,
            planned=lambda work: say(display.to_do(work)),
            warn=say,
        )
    show(result.as_json() if json else result, json, partial(display.comparison, full=full))


def audit(
    embeddings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Embedding files, or folders of them.  [default: those of --run, or embeddings]"
        ),
    ] = None,
    images: options.RadiographFolders = None,
    source: Annotated[
        str | None,
        panels.images_and_labels(
            help="The column that says where images come from.  [default: source, where there is "
            "one]"
        ),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        panels.images_and_labels(
            help="A column to ask about, e.g. view or sex; several times for several.  [default: "
            "all but patient and split]"
        ),
    ] = None,
    collection: Annotated[
        list[str] | None,
        panels.images_and_labels(
            help="A public collection that the images are of, e.g. CheXpert: were the weights "
            "trained on it? Several times for several."
        ),
    ] = None,
    run: Annotated[
        str | None,
        panels.embeddings(
            help="The folder of a run: its folds, head, metric, labels and winner are taken."
        ),
    ] = None,
    quick: Annotated[
        bool,
        panels.embeddings("--quick", help="Extract nothing anew: no masked images, no copies."),
    ] = False,
    weights: options.Weights = [],
    head: Annotated[
        str | None,
        panels.heads(help="The one by which everything is scored.  [default: of --run, or logreg]"),
    ] = None,
    metric: Annotated[
        str | None,
        panels.scores(help="By which everything is scored.  [default: that of --run, or auroc]"),
    ] = None,
    out: Annotated[
        str | None, panels.output(help="Folder for the results.  [default: RUN/audit, or audit]")
    ] = None,
    full: options.Full = False,
    device: options.Device = defaults.DEVICE,
    seed: options.Seed = defaults.SEED,
    jobs: options.Jobs = None,
    json: options.Json = False,
) -> None:
    """Ask whether the score comes from the lungs, and prove that the question was asked well.

    Controls without the lungs, duplicates, attributes and sources, label errors, outliers,
    subgroups: each is found, not found, or could not be tested, with what it could have seen.
    Nothing is deleted or changed. Exit code 0 whatever is found.
    """
    from cxrfeat.commands.audit import audit as verb

    with display.audit_progress() as progress:
        result = verb(
            embeddings,
            images=images,
            run=run,
            source=source,
            attribute=attribute,
            collection=collection,
            head=head,
            metric=metric,
            quick=quick,
            weights=weights,
            out=out,
            device=device,
            seed=seed,
            jobs=jobs,
            progress=progress,
        )
    show(result.as_json() if json else result, json, partial(display.audit, full=full))


def report(
    run: Annotated[str, typer.Argument(help="The folder of a run, as `fit` wrote it.")],
    out: Annotated[
        str | None,
        panels.output(help="The page; figures go beside it.  [default: RUN/report.html]"),
    ] = None,
    images: options.RadiographFolders = None,
    no_images: Annotated[
        bool, panels.output("--no-images", help="Leave the radiographs out of the page.")
    ] = False,
    hash_ids: Annotated[
        bool,
        panels.output(
            "--hash-ids",
            help="For a page that leaves the house: no ids, paths or sources, and no radiographs "
            "unless --images names them.",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Write one self-contained HTML page about a run, and its charts as SVG and PNG."""
    from cxrfeat.commands.report import report as verb

    made = verb(run, out=out, images=images, no_images=no_images, hash_ids=hash_ids)
    show(made, json, display.report)


def demo(
    patients: Annotated[
        int, panels.images_and_labels(help="Synthetic patients, two images each.")
    ] = defaults.PATIENTS,
    out: Annotated[
        str, panels.output(help="Folder for images, embeddings and results.")
    ] = defaults.DEMO,
    seed: options.Seed = defaults.SEED,
    json: options.Json = False,
) -> None:
    """Go the whole way on synthetic radiographs, without network, in about two minutes."""
    from cxrfeat.commands.demo import demo as verb

    with display.extraction_progress() as progress, display.fit_progress() as fit_progress:
        result = verb(
            out, patients=patients, seed=seed, progress=progress, fit_progress=fit_progress
        )
    show(result, json, display.demonstration)
