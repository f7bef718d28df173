"""`cxrfeat weights list | fetch | add | check`: weights for machines with and without network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cxrfeat import defaults, features
from cxrfeat.paths import PathLike


def weights_list(
    backbone: Sequence[str] | None = None, *, weights: Sequence[str] = ()
) -> list[features.WeightsFile]:
    """Say for each backbone which file its default weights are, and where it lies.

    Parameters
    ----------
    backbone, weights : sequence of str
        As for `extract`.
    """
    names = backbone or features.named_backbones(weights) or defaults.BACKBONES
    choices = features.assign_each(names, weights)
    return [features.locate_weights(name, choice) for name, choice in choices]


def weights_fetch(
    backbone: Sequence[str] = defaults.BACKBONES,
    *,
    out: PathLike = defaults.WEIGHTS_FOLDER,
    weights: Sequence[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> list[features.WeightsFile]:
    """Download weights into a folder that can be carried to a machine without network.

    Parameters
    ----------
    backbone : sequence of str
    out : path
        The folder; give it to ``extract --weights`` there.
    weights : sequence of str
        Other names than the pinned ones, as for `extract`.
    progress : callable, optional
        Called with file name, bytes done and bytes in all.

    Raises
    ------
    WeightsError
        If one cannot be downloaded, or has another hash than its name says.
    """
    choices = features.assign_each(backbone, weights)
    return [features.fetch_weights(name, c, Path(out), progress) for name, c in choices]


def weights_add(
    file: PathLike,
    *,
    backbone: str,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> features.WeightsFile:
    """Check a file of weights of one's own and write the sidecar that describes it.

    Parameters
    ----------
    file : path
        ``.pth`` or ``.safetensors`` with torchvision's names for its tensors.
    backbone : str
        The network they are of.
    size : int, optional
        Side of the training images in pixels; default: as the ImageNet weights.
    mean, std : sequence of 3 floats, optional
        For pixels scaled to 0..1; default: as the ImageNet weights.

    Raises
    ------
    WeightsError, InputError
        If the file does not fit the network, or a sidecar is already there.
    """
    return features.add_weights(Path(file), backbone, size, mean, std)


def weights_check(file: PathLike) -> features.WeightsFile:
    """Load a file of weights strictly into the network its sidecar names.

    Raises
    ------
    WeightsError
        If anything about it is wrong; the message says what.
    """
    return features.check_weights(Path(file))
