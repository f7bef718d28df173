"""The command line: parse, call a verb, print what it returned.

Results go to stdout, progress and errors to stderr. Everything heavy is imported inside the
command that needs it, so that ``cxrfeat --help`` answers at once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from cxrfeat import display
from cxrfeat.errors import CxrfeatError, SpecMismatchError
from cxrfeat.version import __version__

EXIT_DONE, EXIT_SOME_FAILED, EXIT_WRONG_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="cxrfeat",
    help="Run frozen ImageNet backbones once over chest radiographs, keep their embeddings in "
    "HDF5, and compare the extractors honestly. For research only, not for diagnosis.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug keeps its plain traceback
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
weights_app = typer.Typer(
    help="List, fetch, describe and check weights, also for machines without network.",
    no_args_is_help=True,
)
app.add_typer(weights_app, name="weights")
model_app = typer.Typer(help="Look into a saved model.", no_args_is_help=True)
app.add_typer(model_app, name="model")

P = ParamSpec("P")
R = TypeVar("R")


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turn what the library raises into one line on stderr and an exit code."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except CxrfeatError as error:
            typer.echo(f"error: {error}", err=True)
            if isinstance(error, SpecMismatchError):
                for line in error.difference:
                    typer.echo(f"  {line}", err=True)
            raise typer.Exit(EXIT_WRONG_INPUT) from None
        except KeyboardInterrupt:
            typer.echo(
                "interrupted: everything finished is kept; the same command goes on", err=True
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:  # `cxrfeat ... | head`
            sys.stderr.close()
            raise typer.Exit(EXIT_DONE) from None

    return run


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
Backbones = Annotated[
    list[str],
    typer.Option("--backbone", "-b", help="A network; several times for several. See: backbones"),
]
Weights = Annotated[
    list[str],
    typer.Option(
        "--weights",
        help="[BACKBONE=]SOURCE: a torchvision name, a file with its .json, a folder to search, "
        "`random` (a control) or `random:SEED`. Several of one backbone are an extractor each: "
        "--weights resnet50=IMAGENET1K_V1 --weights resnet50=mine.pth.  "
        "[default: pinned ImageNet weights]",
    ),
]

ImagesOrTable = Annotated[
    list[str], typer.Argument(help="Folders of radiographs, or one table that lists them.")
]
Labels = Annotated[
    str | None,
    typer.Option(help="CSV, TSV or Parquet table.  [default: labels from class folders]"),
]
PathColumn = Annotated[str | None, typer.Option(help="Its column of image paths.")]
LabelColumn = Annotated[
    str | None, typer.Option(help="Its column of labels; or several, joined by commas.")
]
GroupColumn = Annotated[str | None, typer.Option(help="Its column of patients.")]
Uncertain = Annotated[
    str | None, typer.Option(help="What a label of -1 counts as: ignore, zeros or ones.")
]
Positive = Annotated[
    str | None,
    typer.Option(
        help="A class or finding to take against all the rest; also a level of A/B/C.  "
        "[default: every class for itself]"
    ),
]
Where = Annotated[
    list[str],
    typer.Option(
        help="COLUMN=VALUE or COLUMN=VALUE|VALUE: take only such rows of the table; several "
        "times for several."
    ),
]
RepeatedRows = Annotated[
    str,
    typer.Option(
        help="What becomes of several rows of one image: error, first (row) or join (labels)."
    ),
]
Modality = Annotated[
    list[str],
    typer.Option(help="DICOM modalities that are read; several times for several; or `any`."),
]
Bits = Annotated[
    int | None,
    typer.Option(
        help="Bits that PNG and TIFF of 16 bits use where they do not state it.  [default: as many "
        "as the largest sample of all needs]"
    ),
]
Frame = Annotated[
    int | None,
    typer.Option(help="Frame of a DICOM file of several, from 0.  [default: such a file fails]"),
]


Images = Annotated[
    list[str] | None,
    typer.Option(
        help="Folder of the radiographs, for thumbnails on the page.  [default: looked for here "
        "and beside the embeddings]"
    ),
]

IncludeGone = Annotated[
    bool,
    typer.Option(
        "--include-gone", help="Also take rows whose image was not there at the last extract."
    ),
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cxrfeat {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing to do before a command."""


@app.command()
@command
def extract(
    images: ImagesOrTable = ["."],  # noqa: B006
    backbone: Backbones = ["vgg16", "vgg19", "resnet50"],  # noqa: B006
    out: Annotated[str, typer.Option(help="Folder for one NAME.h5 per extractor.")] = "embeddings",
    weights: Weights = [],  # noqa: B006
    name: Annotated[
        list[str],
        typer.Option(
            help="Of each extractor, and its file; once for each, in the order of --backbone and "
            "--weights.  [default: the backbone and what is not the default]"
        ),
    ] = [],  # noqa: B006
    pool: Annotated[
        str, typer.Option(help="avg, max, avgmax, multi (every stage's average) or flatten.")
    ] = "avg",
    image_size: Annotated[
        int | None,
        typer.Option(help="Side in pixels.  [default: what the weights were trained with]"),
    ] = None,
    labels: Labels = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    uncertain: Uncertain = None,
    positive: Positive = None,
    where: Where = [],  # noqa: B006
    repeated_rows: RepeatedRows = "error",
    modality: Modality = ["CR", "DX", "RG"],  # noqa: B006
    frame: Frame = None,
    bits: Bits = None,
    precision: Annotated[str, typer.Option(help="fp32, bf16, or on a GPU tf32 or fp16.")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    runtime: Annotated[
        str, typer.Option(help="On the CPU: auto (the fastest here), torch or ncnn.")
    ] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images that go through together.  [default: 32]"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read images.  [default: one per core]")
    ] = None,
    storage: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    prune: Annotated[bool, typer.Option(help="Drop rows whose image is gone.")] = False,
    retry_failed: Annotated[bool, typer.Option(help="Try again what failed before.")] = False,
    max_failures: Annotated[
        int | None, typer.Option(help="Stop early when more images fail.  [default: go on]")
    ] = None,
    json: Json = False,
) -> None:
    """Run frozen backbones once over radiographs; keep the embeddings in HDF5.

    Every image is read once, however many backbones are named. A second run computes only what
    is missing. Exit code 1 means: done, but some images failed; they are listed.
    """
    from cxrfeat.commands.extract import extract as verb

    with display.extraction_progress() as progress:
        result = verb(
            images,
            backbone=backbone,
            out=out,
            weights=weights,
            name=name,
            pool=pool,
            image_size=image_size,
            labels=labels,
            path_column=path_column,
            label_column=label_column,
            group_column=group_column,
            uncertain=uncertain,
            positive=positive,
            where=where,
            repeated_rows=repeated_rows,
            modality=modality,
            frame=frame,
            bits=bits,
            precision=precision,
            device=device,
            runtime=runtime,
            batch_size=batch_size,
            workers=workers,
            storage=storage,  # type: ignore[arg-type]  # the store names what it takes
            prune=prune,
            retry_failed=retry_failed,
            max_failures=max_failures,
            progress=progress,
        )
    _print(result, json, display.extraction)
    if result.failures:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
@command
def dataset(
    images: ImagesOrTable = ["."],  # noqa: B006
    labels: Labels = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    uncertain: Uncertain = None,
    positive: Positive = None,
    where: Where = [],  # noqa: B006
    repeated_rows: RepeatedRows = "error",
    workers: Annotated[
        int | None, typer.Option(help="Threads that read headers.  [default: one per core]")
    ] = None,
    json: Json = False,
) -> None:
    """Say what is understood of images and labels, before anything is computed."""
    from cxrfeat.commands.dataset import dataset as verb

    summary = verb(
        images,
        labels=labels,
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        uncertain=uncertain,
        positive=positive,
        where=where,
        repeated_rows=repeated_rows,
        workers=workers,
    )
    _print(summary, json, display.dataset_summary)


@app.command()
@command
def inspect(
    images: Annotated[list[str], typer.Argument(help="Folders of radiographs, or files.")] = ["."],  # noqa: B006
    out: Annotated[str | None, typer.Option(help="Contact sheet to write, e.g. sheet.png.")] = None,
    modality: Modality = ["CR", "DX", "RG"],  # noqa: B006
    frame: Frame = None,
    bits: Bits = None,
    image_size: Annotated[int, typer.Option(help="Side of what the network sees.")] = 224,
    sheet_images: Annotated[int, typer.Option(help="Images on the sheet at most.")] = 60,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read images.  [default: one per core]")
    ] = None,
    json: Json = False,
) -> None:
    """Show what the networks will see, how each image was read, and what looks wrong.

    Exit code 1 means that some images could not be read; they are listed.
    """
    from cxrfeat.commands.inspect import inspect as verb

    result = verb(
        images,
        out=out,
        modality=modality,
        frame=frame,
        bits=bits,
        image_size=image_size,
        sheet_images=sheet_images,
        workers=workers,
    )
    _print(result, json, display.inspection)
    if result.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
@command
def fit(
    embeddings: Annotated[
        list[str], typer.Argument(help="Embedding files, or folders of them.")
    ] = ["embeddings"],  # noqa: B006
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="logreg, linear_svm, lda, knn, svm_rbf, xgboost, dummy, or a classifier of "
            "scikit-learn as MODULE:CLASS; several times for several.  [default: all named]"
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Folder for the results.  [default: runs/fit-NNN]")
    ] = None,
    cv: Annotated[int, typer.Option(help="Folds.")] = 5,
    repeats: Annotated[int, typer.Option(help="How often the folds are drawn anew.")] = 1,
    split: Annotated[
        bool, typer.Option("--split", help="Use the data's own train/val/test division.")
    ] = False,
    leave_out: Annotated[
        str | None, typer.Option(help="A column, e.g. source: test on each of its values in turn.")
    ] = None,
    groups: Annotated[
        str,
        typer.Option(
            help="auto keeps patients apart, equal ids of two sources being two patients; none "
            "does not; or a column's name: group where ids are the same in every source."
        ),
    ] = "auto",
    splits: Annotated[
        str | None, typer.Option(help="A splits.json of an earlier run, to use its folds.")
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(help="Embeddings of an outside set: fit on EMBEDDINGS, score on these."),
    ] = None,
    combine: Annotated[
        list[str] | None,
        typer.Option(help="Extractors to use side by side as one more, e.g. vgg16+resnet50."),
    ] = None,
    include_gone: IncludeGone = False,
    refit: Annotated[
        str,
        typer.Option(
            help="The saved model learns from train: what the folds learn from, not the test part "
            "of a fixed division; all: from that, too."
        ),
    ] = "train",
    calibrate: Annotated[
        str | None, typer.Option(help="sigmoid or isotonic, on held-out training images.")
    ] = None,
    class_weight: Annotated[
        str | None,
        typer.Option(help="balanced: rare classes weigh as much as others; knn stays as it is."),
    ] = None,
    metric: Annotated[str, typer.Option(help="Ranks, tunes and chooses the winner.")] = "auroc",
    rope: Annotated[
        float, typer.Option(help="A difference up to this is practically none.")
    ] = 0.01,
    specificity: Annotated[
        float, typer.Option(help="At which sensitivity is given (threshold from training images).")
    ] = 0.9,
    threshold: Annotated[
        str,
        typer.Option(
            help="Where any number of labels may hold: f1, youden, specificity, or a probability "
            "such as 0.5 (threshold from training images)."
        ),
    ] = "f1",
    prevalence: Annotated[
        float | None, typer.Option(help="Share of each class to give PPV and NPV at.")
    ] = None,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also train on fewer patients.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of folds, heads and resamples.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Folds worked on at a time.  [default: one per core]")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write report.html and figures, too.")] = True,
    images: Images = None,
    json: Json = False,
) -> None:
    """Compare extractors by cross-validating classifiers on their embeddings.

    All extractors see the same folds; patients never cross folds; scaling, tuning and calibration
    happen inside the training folds. Every pair of extractors gets a difference with its interval.
    """
    from cxrfeat.commands.fit import fit as verb

    with display.fit_progress() as progress:
        result = verb(
            embeddings,
            head=head,
            out=out,
            cv=cv,
            repeats=repeats,
            split=split,
            leave_out=leave_out,
            groups=groups,
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
            report=report,
            images=images,
            progress=progress,
            warn=functools.partial(typer.echo, err=True),
        )
    if json:
        typer.echo(display.to_json(result.as_json()))
    else:
        display.comparison(result)


@app.command()
@command
def predict(
    model: Annotated[str, typer.Argument(help="A model.skops of `fit`.")],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Radiographs, or folders of them; or the .h5 of the model's extractor."
        ),
    ],
    to: Annotated[
        str | None, typer.Option(help="csv, parquet or json.  [default: by the ending of OUT]")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="A file that does not exist yet.  [default: predictions.TO; without --to nothing "
            "is written]"
        ),
    ] = None,
    weights: Weights = [],  # noqa: B006
    modality: Modality = ["CR", "DX", "RG"],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images that go through together.")] = 32,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read images.  [default: one per core]")
    ] = None,
    json: Json = False,
) -> None:
    """Apply a saved model to images. For research only, not for diagnosis.

    Images are read and embedded as the model's training images were, or refused. Each gets its
    probabilities, its label, and its distance from the training images, with a warning where it
    is unlike them. Exit code 1 means: done, but some images failed; they are listed.
    """
    from cxrfeat.commands.predict import predict as verb

    with display.extraction_progress() as progress:
        result = verb(
            model,
            images,
            to=to,
            out=out,
            weights=weights,
            modality=modality,
            device=device,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
    _print(result, json, display.predictions)
    if result.failures:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
@command
def explain(
    model: Annotated[str, typer.Argument(help="A model.skops of a run of `fit`.")],
    images: Annotated[
        list[str], typer.Argument(help="Folders of radiographs, files, or one table of them.")
    ],
    class_: Annotated[
        str | None,
        typer.Option("--class", help="Class to explain.  [default: the predicted one of each]"),
    ] = None,
    out: Annotated[
        str, typer.Option(help="Folder for overlays, maps, contact sheet and tables.")
    ] = "explained",
    budget: Annotated[
        int, typer.Option(help="Occlusions of an image at most, where no exact map exists.")
    ] = 100,
    weights: Weights = [],  # noqa: B006
    modality: Modality = ["CR", "DX", "RG"],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Threads that read images.  [default: one per core]")
    ] = None,
    json: Json = False,
) -> None:
    """Show where in each image the evidence for a class lies. For research, not for diagnosis.

    Linear heads on averaged maps get the exact class activation map; other heads and poolings
    are explained by occlusion. A map is no proof. Exit code 1 means that some images failed.
    """
    from cxrfeat.commands.explain import explain as verb

    with display.extraction_progress() as progress:
        result = verb(
            model,
            images,
            class_=class_,
            out=out,
            budget=budget,
            weights=weights,
            modality=modality,
            device=device,
            workers=workers,
            progress=progress,
        )
    _print(result, json, display.explanation)
    if result.failures:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
@command
def report(
    run: Annotated[str, typer.Argument(help="The folder of a run, as `fit` wrote it.")],
    out: Annotated[
        str | None,
        typer.Option(help="The page; figures go beside it.  [default: RUN/report.html]"),
    ] = None,
    images: Images = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave the radiographs out of the page.")
    ] = False,
    hash_ids: Annotated[
        bool,
        typer.Option(
            "--hash-ids",
            help="For a page that leaves the house: no ids, paths or sources, and no radiographs "
            "unless --images names them.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page about a run, and its charts as SVG and PNG."""
    from cxrfeat.commands.report import report as verb

    made = verb(run, out=out, images=images, no_images=no_images, hash_ids=hash_ids)
    _print(made, json, display.report)


@app.command()
@command
def demo(
    out: Annotated[
        str, typer.Option(help="Folder for images, embeddings and results.")
    ] = "cxrfeat-demo",
    patients: Annotated[int, typer.Option(help="Synthetic patients, two images each.")] = 120,
    seed: Annotated[int, typer.Option(help="Of the drawing, the folds and the heads.")] = 0,
    json: Json = False,
) -> None:
    """Go the whole way on synthetic radiographs, without network, in about two minutes."""
    from cxrfeat.commands.demo import demo as verb

    with display.extraction_progress() as progress, display.fit_progress() as fit_progress:
        result = verb(
            out, patients=patients, seed=seed, progress=progress, fit_progress=fit_progress
        )
    _print(result, json, display.demonstration)


@app.command()
@command
def info(
    file: Annotated[str, typer.Argument(help="An embedding file.")],
    json: Json = False,
) -> None:
    """Describe an embedding file: how it was made, rows, classes, patients, failures."""
    from cxrfeat.commands.info import info as verb

    _print(verb(file), json, display.file_info)


@app.command()
@command
def verify(
    file: Annotated[str, typer.Argument(help="An embedding file.")],
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Set damaged rows back to pending: `extract` redoes them."),
    ] = False,
    json: Json = False,
) -> None:
    """Read a whole embedding file against its checksums and name every damaged row.

    Exit code 1 means that damage was found; it is listed.
    """
    from cxrfeat.commands.verify import verify as verb

    found = verb(file, repair=repair)
    _print(found, json, display.verification)
    if not found.sound:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
@command
def merge(
    files: Annotated[list[str], typer.Argument(help="Two embedding files or more.")],
    out: Annotated[str, typer.Option(help="The new file; it must not exist.")],
    json: Json = False,
) -> None:
    """Join files of the same extractor, such as shards that several machines computed.

    Rows are matched by id; rows that disagree are an error.
    """
    from cxrfeat.commands.merge import merge as verb

    _print(verb(files, out=out), json, display.merged)


@app.command()
@command
def export(
    file: Annotated[str, typer.Argument(help="An embedding file.")],
    to: Annotated[str, typer.Option(help="parquet, npz, csv or tensorboard.")] = "parquet",
    out: Annotated[
        str | None,
        typer.Option(help="A file that does not exist yet.  [default: beside FILE, its name]"),
    ] = None,
    include_gone: IncludeGone = False,
    json: Json = False,
) -> None:
    """Write embeddings, ids, labels, columns and provenance for other programs."""
    from cxrfeat.commands.export import export as verb

    _print(verb(file, to=to, out=out, include_gone=include_gone), json, display.exported)


@app.command()
@command
def backbones(
    names: Annotated[
        list[str], typer.Argument(help="Names, or beginnings of names.  [default: all]")
    ] = [],  # noqa: B006
    json: Json = False,
) -> None:
    """List the networks with dimension, cost and weights; nothing is downloaded."""
    from cxrfeat.commands.backbones import backbones as verb

    _print(verb(names), json, display.backbones)


@app.command()
@command
def doctor(
    backbone: Backbones = ["vgg16", "vgg19", "resnet50"],  # noqa: B006
    weights: Weights = [],  # noqa: B006
    out: Annotated[str, typer.Option(help="Where embeddings are to be written.")] = "embeddings",
    online: Annotated[
        bool, typer.Option("--online", help="Also ask whether weights could be downloaded.")
    ] = False,
    json: Json = False,
) -> None:
    """Check that this machine has what is needed, and say how to get what is missing."""
    from cxrfeat.commands.doctor import doctor as verb

    found = verb(backbone, weights=weights, out=out, online=online)
    _print(found, json, display.diagnosis)
    if not found.healthy:
        typer.echo(f"error: {found.to_do}", err=True)
        raise typer.Exit(EXIT_WRONG_INPUT)


@weights_app.command("list")
@command
def weights_list(
    backbone: Backbones = ["vgg16", "vgg19", "resnet50"],  # noqa: B006
    weights: Weights = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Say which file each backbone's weights are in, and where it lies."""
    from cxrfeat.commands.weights import weights_list as verb

    _print(verb(backbone, weights=weights), json, display.weights)


@weights_app.command("fetch")
@command
def weights_fetch(
    backbone: Annotated[list[str], typer.Argument(help="Networks.")] = [  # noqa: B006
        "vgg16",
        "vgg19",
        "resnet50",
    ],
    out: Annotated[
        str, typer.Option(help="Folder to carry over; give it to `extract --weights`.")
    ] = "weights",
    weights: Weights = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Download weights, with their hash checked, into a folder to carry over."""
    from cxrfeat.commands.weights import weights_fetch as verb

    with display.download_progress() as progress:
        files = verb(backbone, out=out, weights=weights, progress=progress)
    _print(files, json, display.weights)


@weights_app.command("add")
@command
def weights_add(
    file: Annotated[str, typer.Argument(help="A .pth or .safetensors file of tensors.")],
    backbone: Annotated[str, typer.Option("--backbone", "-b", help="The network they are of.")],
    size: Annotated[int | None, typer.Option(help="Side of the images, in pixels.")] = None,
    mean: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Per channel, for pixels in 0..1.")
    ] = None,
    std: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Per channel, for pixels in 0..1.")
    ] = None,
    json: Json = False,
) -> None:
    """Check weights of your own and write the sidecar that says how to preprocess for them."""
    from cxrfeat.commands.weights import weights_add as verb

    _print([verb(file, backbone=backbone, size=size, mean=mean, std=std)], json, display.weights)


@weights_app.command("check")
@command
def weights_check(
    file: Annotated[str, typer.Argument(help="A weights file with its sidecar.")],
    json: Json = False,
) -> None:
    """Load weights strictly into the network that their sidecar names."""
    from cxrfeat.commands.weights import weights_check as verb

    _print([verb(file)], json, display.weights)


@model_app.command("info")
@command
def model_info(
    model: Annotated[str, typer.Argument(help="A model.skops of `fit`.")],
    json: Json = False,
) -> None:
    """Describe a saved model. For research only, not for diagnosis."""
    from cxrfeat.commands.model_info import model_info as verb

    _print(verb(model), json, display.model_info)


def _print(result: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    if as_json:
        typer.echo(display.to_json(result))
    else:
        show(result)


def main() -> None:
    """Run the command line."""
    app()
