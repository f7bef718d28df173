"""Options and arguments that more than one command takes, each declared once."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrfeat import defaults
from cxrfeat.commandline import panels

Quiet = Annotated[
    bool,
    panels.saying(
        "--quiet", "-q", help="Print errors alone, and results that are asked for as JSON."
    ),
]
Verbose = Annotated[
    bool,
    panels.saying(
        "--verbose", "-v", help="Print every step, what each took, and where an error arose."
    ),
]
Log = Annotated[
    str | None,
    panels.saying(help="Add what happens to this file, a JSON object a line.  [default: no log]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]

ImagesOrTable = Annotated[
    list[str],
    typer.Argument(
        help="Folders of radiographs, zip or tar archives of such, or one table that lists them."
    ),
]
EmbeddingFile = Annotated[str, typer.Argument(help="An embedding file.")]
ModelFile = Annotated[str, typer.Argument(help="A model.skops of `fit`.")]

Labels = Annotated[
    str | None,
    panels.images_and_labels(
        help="CSV, TSV or Parquet table that names the images.  [default: labels from class "
        "folders; for fit those of the embedding files]"
    ),
]
PathColumn = Annotated[str | None, panels.images_and_labels(help="Its column of image paths.")]
LabelColumn = Annotated[
    str | None,
    panels.images_and_labels(help="Its column of labels; or several, joined by commas."),
]
GroupColumn = Annotated[str | None, panels.images_and_labels(help="Its column of patients.")]
KeepColumn = Annotated[
    list[str],
    panels.images_and_labels(
        help="A column to keep of a recognised collection; several times for several. Of any "
        "other table all are."
    ),
]
Uncertain = Annotated[
    str | None,
    panels.images_and_labels(help="What a label of -1 counts as: ignore, zeros or ones."),
]
Positive = Annotated[
    str | None,
    panels.images_and_labels(
        help="A class or finding to take against all the rest; also a level of A/B/C.  "
        "[default: every class for itself]"
    ),
]
Where = Annotated[
    list[str],
    panels.images_and_labels(
        help="COLUMN=VALUE or COLUMN=VALUE|VALUE: take only such rows of the table; several "
        "times for several."
    ),
]
RepeatedRows = Annotated[
    str,
    panels.images_and_labels(
        help="What becomes of several rows of one image: error, first (row) or join (labels)."
    ),
]
Modality = Annotated[
    list[str],
    panels.images_and_labels(
        help="DICOM modalities that are read; several times for several; or `any`."
    ),
]
Frame = Annotated[
    int | None,
    panels.images_and_labels(
        help="Frame of a DICOM file of several, from 0.  [default: such a file fails]"
    ),
]
Bits = Annotated[
    int | None,
    panels.images_and_labels(
        help="Bits that PNG and TIFF of 16 bits use where they do not state it.  [default: as many "
        "as the largest sample of all needs]"
    ),
]

Backbones = Annotated[
    list[str],
    panels.networks(
        "--backbone",
        "-b",
        help="A network; several times for several. See: backbones.  [default: those that "
        f"--weights is of, else {', '.join(defaults.BACKBONES)}]",
    ),
]
Weights = Annotated[
    list[str],
    panels.networks(
        help="[BACKBONE=]SOURCE: a torchvision name, a file with its .json, a folder to search, "
        "`random` (a control) or `random:SEED`. Several of one backbone are an extractor each: "
        "--weights resnet50=IMAGENET1K_V1 --weights resnet50=mine.pth.  "
        "[default: pinned ImageNet weights]",
    ),
]

Prune = Annotated[bool, panels.output(help="Drop rows whose image is gone.")]
Pretraining = Annotated[
    list[str],
    panels.networks(
        help="A collection that the network was trained on, e.g. ImageNet or CheXpert; several "
        "times for several. An audit names a leak by it."
    ),
]
Licence = Annotated[str | None, panels.networks(help="Of the network's weights.")]

IncludeGone = Annotated[
    bool,
    panels.embeddings(
        "--include-gone", help="Also take rows whose image was not there at the last extract."
    ),
]

RadiographFolders = Annotated[
    list[str] | None,
    panels.images_and_labels(
        help="Folder of the radiographs, in which their ids begin.  [default: looked for here and "
        "beside the embeddings]"
    ),
]

Device = Annotated[str, panels.running(help="auto, cpu, cuda or mps.")]
BatchSize = Annotated[
    int | None,
    panels.running(
        help=f"Images that go through together.  [default: {defaults.BATCH_SIZE}; on accelerators"
        " as many as keep them busy]",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None, panels.running(help="Threads that read images.  [default: one per core]")
]
Engine = Annotated[
    str, panels.machines(help="local, or ray: several machines, or the GPUs of this one.")
]
Address = Annotated[
    str | None,
    panels.machines(help="HOST:PORT of the Ray cluster, or auto.  [default: Ray is started here]"),
]
Jobs = Annotated[
    int | None, panels.running(help="Tasks worked on at a time.  [default: one per core]")
]
Full = Annotated[
    bool, panels.output("--full", help="Print everything that was found, not only the best of it.")
]
Seed = Annotated[
    int, panels.running(help="Of all that is drawn by chance: folds, heads, resamples.")
]
