"""`cxrfeat demo`: the whole way on synthetic radiographs, without network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrfeat import defaults, features
from cxrfeat.commands.extract import ExtractResult, extract
from cxrfeat.commands.fit import fit
from cxrfeat.errors import InputError, MissingExtraError, StorageError
from cxrfeat.extraction.drain import Progress
from cxrfeat.images.drawing import phantom
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike
from cxrfeat.reporting.run_folder import next_free
from cxrfeat.results import FitResult

TINY = "efficientnet_lite0"


@dataclass(frozen=True, repr=False)
class DemoResult(Shown):
    """What `demo` made.

    Attributes
    ----------
    folder : Path
        Where everything lies.
    labels : Path
        The table of the synthetic radiographs.
    pretrained : bool
        Whether ImageNet weights of the three backbones were at hand.
    extraction : ExtractResult
    comparison : FitResult
    notes : list of str
        What is real here and what is not, in sentences.
    """

    folder: Path
    labels: Path
    pretrained: bool
    extraction: ExtractResult
    comparison: FitResult
    notes: list[str]


def demo(
    out: PathLike = defaults.DEMO,
    *,
    patients: int = defaults.PATIENTS,
    seed: int = defaults.SEED,
    progress: Callable[[Progress], None] | None = None,
    fit_progress: Callable[[Any], None] | None = None,
) -> DemoResult:
    """Draw synthetic radiographs, extract embeddings, and compare the extractors.

    ImageNet weights of VGG16, VGG19 and ResNet50 are used where they are on this machine (torch's
    cache or $CXRFEAT_WEIGHTS); nothing is downloaded. Elsewhere these three run with random
    weights, as a control, beside `efficientnet_lite0`, whose ImageNet weights come in a package.
    A second time in the same folder computes no embedding anew and compares in a new run folder.

    Parameters
    ----------
    out : path
        Folder for images, embeddings and results.
    patients : int
        Synthetic patients, two images each.
    seed : int
        The same seed draws the same images and folds.
    progress, fit_progress : callable, optional
        As in `extract` and `fit`.

    Raises
    ------
    InputError
        If there are too few patients.
    StorageError
        If `out` cannot be written.
    """
    if patients < 15:
        raise InputError(
            f"{patients} patients are too few for 5 folds of 3 classes: use 15 or more"
        )
    folder = Path(out)
    run = next_free(folder / "runs" / "demo")
    try:
        labels = phantom.write_phantoms(folder / "images", patients=patients, seed=seed)
    except OSError as error:
        raise StorageError(
            f"'{folder}' cannot be written ({error.strerror or error}): give another place with"
            " --out"
        ) from None
    choices = features.assign_each(defaults.BACKBONES)
    pretrained = all(features.locate_weights(name, choice).path for name, choice in choices)
    backbones, weights = list(defaults.BACKBONES), []
    notes = [
        f"{2 * patients} synthetic radiographs of {patients} synthetic patients: drawn by a "
        "formula, not photographed; no figure here says anything about patients."
    ]
    if pretrained:
        notes.append("VGG16, VGG19 and ResNet50 run with their ImageNet weights.")
    else:
        weights = [f"{name}=random" for name in defaults.BACKBONES]
        notes.append(
            "ImageNet weights of VGG16, VGG19 and ResNet50 are not on this machine, so these three "
            "run with RANDOM weights, as a control: 'cxrfeat weights fetch' brings the real ones."
        )
        try:
            features.prepare_extractor(TINY)
            backbones.append(TINY)
            notes.append(f"{TINY} runs with its real ImageNet weights, from a Python package.")
        except MissingExtraError as error:
            notes.append(f"No pretrained network is at hand. {error}")
    extraction = extract(
        folder / "images",
        labels=labels,
        backbone=backbones,
        weights=weights,
        out=folder / "embeddings",
        progress=progress,
    )
    comparison = fit(folder / "embeddings", out=run, seed=seed, progress=fit_progress)
    return DemoResult(folder, labels, pretrained, extraction, comparison, notes)
