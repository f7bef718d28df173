"""`cxrfeat.open_extractor`: a network for radiographs that are at hand, without any file."""

from __future__ import annotations

from collections.abc import Sequence

from cxrfeat import defaults, features
from cxrfeat.errors import InputError
from cxrfeat.images import ReadingOptions
from cxrfeat.paths import several
from cxrfeat.prediction.picture_extractor import PictureExtractor


def open_extractor(
    backbone: str,
    *,
    weights: str | Sequence[str] = (),
    pool: str = defaults.POOL,
    image_size: int | None = None,
    precision: str = defaults.PRECISION,
    device: str = defaults.DEVICE,
    runtime: str = defaults.RUNTIME,
    modality: str | Sequence[str] = defaults.MODALITIES,
    frame: int | None = None,
    bits: int | None = None,
) -> PictureExtractor:
    """Open a frozen network that takes radiographs: files, arrays and pictures of Pillow.

    Parameters
    ----------
    backbone : str
        See `cxrfeat.backbones`.
    weights : str or sequence of str
        As for `cxrfeat.extract`; for this backbone alone.
    pool, image_size, precision, device, runtime, modality, frame, bits
        As for `cxrfeat.extract`.

    Returns
    -------
    PictureExtractor
        To be called with radiographs; its rows are those that `cxrfeat.extract` writes.

    Raises
    ------
    UnknownNameError, InputError, WeightsError, MissingExtraError
        As `cxrfeat.extract`.

    Examples
    --------
    >>> import cxrfeat
    >>> embed = cxrfeat.open_extractor("vgg16")  # doctest: +SKIP
    >>> embed(["one.png", "two.dcm"]).shape  # doctest: +SKIP
    (2, 512)
    """
    if not isinstance(backbone, str):
        raise InputError(f"one backbone is needed, not {backbone!r}: open each by itself")
    features.check_name(backbone)
    choice = features.assign_weights([backbone], several(weights))[backbone]
    extractor = features.open_extractor(
        backbone,
        weights=choice,
        pooling=pool,
        image_size=image_size,
        precision=precision,
        device=device,
        runtime=runtime,
    )
    return PictureExtractor(extractor, ReadingOptions.asked_for(several(modality), frame, bits))
