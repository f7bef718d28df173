"""What `explain` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.prediction.explanation_result import ExplainResult

SHOWN_IMAGES = 40
SHOWN_FAILURES = 10


def explanation(result: ExplainResult) -> None:
    """Print where the evidence lies, and what has to be known to read it."""
    screen = console()
    control = " (control)" if result.control else ""
    shown = table(
        *("image", "class", "score", "probability", "peak x, y", "outside the centre"),
        title=f"{result.extractor}{control} with {result.head}: {result.method}",
        right=2,
    )
    for image in result.images[:SHOWN_IMAGES]:
        outside, size = image.share_outside, f"{image.width} x {image.height}"
        shown.add_row(
            *(image.id, image.class_name, f"{image.score:+.3f}", f"{image.probability:.3f}"),
            "-" if image.peak_x is None else f"{image.peak_x}, {image.peak_y} of {size}",
            "-" if outside is None else f"{outside:.0%}",
        )
    screen.print(shown)
    if len(result.images) > SHOWN_IMAGES:
        rest = len(result.images) - SHOWN_IMAGES
        screen.print(f"... and {rest} more, in {result.out}/evidence.csv")
    if result.failures:
        screen.print(f"{len(result.failures)} images failed ({result.out}/failures.csv):")
        for failure in result.failures[:SHOWN_FAILURES]:
            screen.print(f"  {failure.id}: {failure.code}: {failure.reason}")
    for note in result.notes:
        screen.print(note)
    screen.print(f"Overlays, maps and tables are in {result.out} ({result.seconds:.1f} s)")
    screen.print("For research only, not for diagnosis.")
