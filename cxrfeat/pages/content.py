"""What a page is made of: plain data, computed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Curve:
    """One class of one extractor's best head: a mean curve over the folds with its band.

    Attributes
    ----------
    name : str
        Of the class.
    area : float or None
        As in ``results.json``: AUROC or average precision.
    floor : float or None
        What guessing gives: the prevalence, for precision-recall; None for ROC.
    x, y, low, high : sequence of float
    """

    extractor: str
    head: str
    control: bool
    name: str
    area: float | None
    floor: float | None
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Picture:
    """One image as the page knows it.

    Attributes
    ----------
    name : str
        Its id, or what stands for it.
    label, source : str
        `source` is "" where unknown.
    jpeg : bytes or None
        A thumbnail.
    """

    name: str
    label: str
    source: str
    jpeg: bytes | None = None


@dataclass(frozen=True)
class Plane:
    """One extractor's embeddings on their first two principal components.

    Attributes
    ----------
    shares : tuple of two floats
        Of the variance that each component explains.
    pictures : sequence of int, length n
        Numbers into the page's pictures.
    x, y : sequence of float, length n
    predicted, wrong, agreement
        What the extractor's best head said out of fold ("" where no fold tested the image),
        whether that is wrong, and the probability it gave the truth (None where unknown).
    computed_from : int or None
        How many images, drawn at random, the components are of; None where they are of all.
    """

    extractor: str
    head: str
    control: bool
    shares: tuple[float, float]
    pictures: Sequence[int]
    x: Sequence[float]
    y: Sequence[float]
    predicted: Sequence[str]
    wrong: Sequence[bool]
    agreement: Sequence[float | None]
    computed_from: int | None = None


@dataclass(frozen=True)
class Difficult:
    """One image of a gallery.

    Attributes
    ----------
    picture : int
        Its number.
    agreement : float
        Probability that the truth was given.
    predicted : str
        By the winner.
    """

    picture: int
    agreement: float
    predicted: str


@dataclass(frozen=True)
class Content:
    """Everything on a page that is not in ``results.json``, beside it.

    Attributes
    ----------
    results : mapping
        ``results.json``.
    title : str
    version : str
        Of cxrfeat.
    roc, precision_recall : sequence of Curve
        Of every extractor's best head, class by class.
    draws : int
        Of patients, behind the bands.
    pictures : sequence of Picture
    source : str
        What a picture's source is: the name of a column; "" without one.
    planes : sequence of Plane
    hardest, confidently_wrong : sequence of Difficult
    command : str
        That repeats the run.
    notes : sequence of str
        What could not be shown, and why.
    hashed : bool
        Whether names stand for ids.
    audit : mapping or None
        ``audit.json``, where the run was audited.
    audit_page : str
        Where the page of the audit is, relative to this one; "" without a link.
    """

    results: Mapping[str, Any]
    title: str
    version: str
    roc: Sequence[Curve] = ()
    precision_recall: Sequence[Curve] = ()
    draws: int = 0
    pictures: Sequence[Picture] = ()
    source: str = ""
    planes: Sequence[Plane] = ()
    hardest: Sequence[Difficult] = ()
    confidently_wrong: Sequence[Difficult] = ()
    command: str = ""
    notes: Sequence[str] = field(default_factory=list)
    hashed: bool = False
    audit: Mapping[str, Any] | None = None
    audit_page: str = ""
