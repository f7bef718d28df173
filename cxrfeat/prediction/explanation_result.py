"""What the evidence maps of images say, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrfeat.extraction.failures import Failure
from cxrfeat.notebook import Shown


@dataclass(frozen=True)
class ExplainedImage:
    """One image, one class.

    Attributes
    ----------
    id : str
    class_name : str
        The class that is explained.
    predicted : str
        The class that `predict` gives; several labels joined by a vertical bar.
    score, probability : float
        Of the explained class; the score is what the map explains.
    peak_x, peak_y : int or None
        Where the evidence for the class is densest: pixels of the upright radiograph at its own
        size, from the upper left; None where nothing speaks for the class.
    width, height : int
        Of the upright radiograph, and of the overlay.
    share_outside : float or None
        Share of the evidence for the class that lies outside the central region; None as above.
    intercept, residual : float or None
        Of an exact map: its sum plus the intercept is the score; the residual is how much of the
        sum made up for rounding.
    overlay, map : str
        Files in the folder of the result.
    """

    id: str
    class_name: str
    predicted: str
    score: float
    probability: float
    peak_x: int | None
    peak_y: int | None
    width: int
    height: int
    share_outside: float | None
    intercept: float | None
    residual: float | None
    overlay: str
    map: str


@dataclass(frozen=True, repr=False)
class ExplainResult(Shown):
    """What `explain` found; ``evidence.json`` holds the same.

    Attributes
    ----------
    out : Path
        The folder.
    model, head, extractor : str
    classes : list of str
    control : bool
        Whether the extractor's weights are random.
    method : "class activation map" or "occlusion"
    explains : str
        Which number the map explains.
    occlusions : int
        Of each image; 0 for exact maps.
    patch : float or None
        Side of the occluding patch, as a fraction of the picture's.
    baseline : str
        What the patch is filled with; "" for exact maps.
    central : tuple of float
        From where to where the central region goes, as fractions of width and of height.
    outside_area : float
        Share of the picture outside of it.
    images : list of ExplainedImage
    failures : list of Failure
    sheet : str
        The contact sheet in the folder, "" where there was nothing to show.
    notes : list of str
        What has to be known to read the maps, in sentences.
    seconds : float
    """

    out: Path
    model: str
    head: str
    extractor: str
    classes: list[str]
    control: bool
    method: str
    explains: str
    occlusions: int
    patch: float | None
    baseline: str
    central: tuple[float, float]
    outside_area: float
    images: list[ExplainedImage]
    failures: list[Failure]
    sheet: str
    notes: list[str]
    seconds: float
