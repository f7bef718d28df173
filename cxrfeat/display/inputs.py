"""What `cxrfeat dataset` and `cxrfeat inspect` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.commands.dataset import DatasetSummary
    from cxrfeat.commands.inspect import Inspection

SHOWN_NAMES = 5
SHOWN_IMAGES = 40


def dataset_summary(summary: DatasetSummary) -> None:
    """Print what was understood of images and labels."""
    screen = console()
    for note in summary.notes:
        screen.print(note)
    if summary.classes:
        multilabel = summary.kind == "multilabel"
        shown = table("finding" if multilabel else "class", "images", "without", "unknown")
        for entry in summary.classes:
            numbers = (entry.positive, entry.negative, entry.unknown)
            shown.add_row(entry.name, *(str(n) for n in numbers))
        screen.print(shown)
    screen.print(f"{summary.images} images, {summary.unlabelled} of them without a label")
    if refused := sum(summary.refused.values()):
        listed = ", ".join(f"{name or 'not stated'} {n}" for name, n in summary.refused.items())
        screen.print(
            f"extract takes {summary.images - refused} of them at most: {refused} are of another"
            f" DICOM modality ({listed}); --modality names those that are read"
        )
    if summary.patients is None or summary.images_per_patient is None:
        screen.print("patients: not known, so images of one patient can fall into several folds")
    else:
        low, median, high = summary.images_per_patient
        unknown = f"; {summary.without_patient} images of none" if summary.without_patient else ""
        screen.print(
            f"patients: {summary.patients}, with {low} to {high} images "
            f"(median {median:g}){unknown}"
        )
    for name, counts in (("splits", summary.splits), ("views", summary.views)):
        if counts:
            listed = ", ".join(f"{value or '(none)'} {n}" for value, n in counts.items())
            screen.print(f"{name}: {listed}")
    if summary.columns:
        screen.print(f"columns: {', '.join(summary.columns)}")
    _some(screen, "missing files", summary.missing)
    _some(screen, "rows without image", summary.rows_without_image)
    _some(screen, "images without row", summary.images_without_row)


def _some(screen: Console, what: str, names: Sequence[str]) -> None:
    if names:
        more = ", ..." if len(names) > SHOWN_NAMES else ""
        listed = ", ".join(names[:SHOWN_NAMES]) + more
        screen.print(f"{what}: {len(names)} ({listed})")


def inspection(result: Inspection) -> None:
    """Print how images were read, those to look at first."""
    screen = console()
    order = sorted(result.images, key=lambda image: (not image.error, not image.warnings))
    shown = table("image", "format", "size", "bits", "polarity", "how it was read", "look at")
    for column in shown.columns:
        column.justify = "left"
    for image in order[:SHOWN_IMAGES]:
        cells = (
            *(image.id, image.format, f"{image.width} x {image.height}" if image.format else ""),
            *(str(image.bits or ""), image.polarity),
            "; ".join((image.decoder, *image.steps)) if image.format else "",
            image.error or ", ".join(image.warnings),
        )
        shown.add_row(*cells)
    screen.print(shown)
    if len(result.images) > SHOWN_IMAGES:
        screen.print(f"... and {len(result.images) - SHOWN_IMAGES} more (--json lists all)")
    counts = Counter(warning for image in result.images for warning in image.warnings)
    for warning, count in counts.most_common():
        screen.print(f"{warning}: {count} image(s)")
    screen.print(f"{len(result.images)} images, {result.failed} failed")
    if result.sheet is not None:
        screen.print(f"{result.on_sheet} of them are on {result.sheet}")
