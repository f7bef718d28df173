"""What `predict` and `model info` print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.commands.model_info import ModelInfo
    from cxrfeat.prediction.result import PredictResult

SHOWN_IMAGES = 40
SHOWN_FAILURES = 10


def predictions(result: PredictResult) -> None:
    """Print a line for each image, those unlike the training images first."""
    screen = console()
    order = sorted(result.predictions, key=lambda one: not one.unlike_training)
    shown = table("image", "predicted", *result.classes, "distance", "nearer", "look at", right=2)
    for one in order[:SHOWN_IMAGES]:
        shown.add_row(
            one.id,
            ", ".join(one.labels) or "(none)",
            *(f"{one.probabilities[name]:.3f}" for name in result.classes),
            "" if one.distance is None else f"{one.distance:.2f}",
            "" if one.quantile is None else f"{one.quantile:.1%}",
            "unlike training images" if one.unlike_training else "",
        )
    if result.predictions:
        screen.print(shown)
    if len(order) > SHOWN_IMAGES:
        screen.print(f"... and {len(order) - SHOWN_IMAGES} more (--to or --json has all)")
    for note in result.notes:
        screen.print(note)
    if result.kind == "multilabel":
        above = ", ".join(f"{name} {value:.3f}" for name, value in result.thresholds.items())
        screen.print(f"a label is called above its threshold: {above}")
    failed = len(result.failures)
    screen.print(
        f"{len(result.predictions) + failed} images, {failed} failed; {result.extractor} with "
        f"{result.head}; distance 1 is usual, nearer is the share of the training images that lie "
        f"nearer ({result.seconds:.1f} s)"
    )
    for failure in result.failures[:SHOWN_FAILURES]:
        screen.print(f"  {failure.id}: {failure.code}: {failure.reason}")
    if failed > SHOWN_FAILURES:
        screen.print(f"  ... and {failed - SHOWN_FAILURES} more")
    if result.path is not None:
        screen.print(f"Written to {result.path}")
    screen.print(result.use)


def model_info(info: ModelInfo) -> None:
    """Print what a model file says about itself."""
    screen = console()
    above = ", ".join(f"{name} {value:.3f}" for name, value in info.thresholds.items())
    multiclass = info.kind == "multiclass"
    lines = {
        "file": f"{info.path} ({info.bytes / 1e6:,.1f} MB)",
        "sha256": info.sha256,
        "head": info.head,
        "classes": f"{info.kind}: {', '.join(info.classes)}",
        "thresholds": f"{above} (the most probable class is called)" if multiclass else above,
        "extractor": f"{info.extractor}, {info.dimension} numbers an image",
        "fingerprint": info.fingerprint,
    }
    lines |= {f"training: {key}": _one_line(value) for key, value in info.training.items()}
    if info.distances is None:
        lines["distances"] = "none: too few training images to tell which are unlike them"
    else:
        lines["distances"] = (
            f"of {info.distances['images']:.0f} training images, median "
            f"{info.distances['median']:.2f}; unlike them is more than "
            f"{info.distances['unlike_training']:.2f}"
        )
    lines |= {f"spec: {key}": _one_line(value) for key, value in info.spec.items()}
    lines["made with"] = ", ".join(f"{name} {of}" for name, of in info.versions.items())
    for number, note in enumerate(info.notes):
        lines[f"note {number + 1}"] = note
    width = max(map(len, lines))
    for key, value in lines.items():
        screen.print(f"{key:{width}}  {value}", soft_wrap=True)
    screen.print(info.use)


def _one_line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
