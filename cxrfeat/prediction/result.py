"""What a model says about images, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.extraction.failures import Failure
from cxrfeat.notebook import Rows, Shown

USE = "For research only, not for diagnosis."


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image.

    Attributes
    ----------
    id : str
    sha256 : str
        Of the image's bytes.
    labels : list of str
        Multi-class: the most probable class. Multi-label: every label whose probability is above
        its threshold.
    probabilities : dict of str to float
    distance : float or None
        From the training images, in the space of the embeddings; about 1 for an image like them.
        None where the model was fitted on too few images to tell.
    quantile : float or None
        Share of the training images that lie nearer (each measured from the others).
    unlike_training : bool
        Whether that is more than 0.99: what the model says then rests on nothing it has seen.
    """

    id: str
    sha256: str
    labels: list[str]
    probabilities: dict[str, float]
    distance: float | None
    quantile: float | None
    unlike_training: bool


@dataclass(frozen=True, repr=False)
class PredictResult(Shown):
    """What `predict` found.

    Attributes
    ----------
    model : Path
    model_sha256 : str
        Of its bytes.
    extractor, head, fingerprint : str
        Of the model.
    classes : list of str
    kind : "multiclass" or "multilabel"
    thresholds : dict of str to float
        For multi-label: a label holds above its threshold.
    predictions : list of Prediction
        In the order of the images' ids.
    failures : list of Failure
        Images that could not be read.
    notes : list of str
        What to know about the model and the images, in sentences.
    path : Path or None
        The file that was written.
    seconds : float
    use : str
        What none of this is for.
    """

    model: Path
    model_sha256: str
    extractor: str
    head: str
    fingerprint: str
    classes: list[str]
    kind: str
    thresholds: dict[str, float]
    predictions: list[Prediction]
    failures: list[Failure]
    notes: list[str]
    path: Path | None
    seconds: float
    use: str = USE

    def _headline(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{len(self.predictions)} images by {self.head} on {self.extractor}{failed}"

    def _table(self) -> tuple[Sequence[str], Rows]:
        rows = [
            (one.id, "|".join(one.labels), *(f"{p:.3f}" for p in one.probabilities.values()))
            for one in self.predictions
        ]
        return ("image", "label", *self.classes), rows

    def numpy(self) -> Matrix:
        """Return the probabilities, shape (n, L), a row for each of `predictions`."""
        rows = [[p.probabilities[name] for name in self.classes] for p in self.predictions]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.classes))
