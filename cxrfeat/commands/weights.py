"""`cxrfeat weights list | fetch | add | check | convert`: weights, with or without network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cxrfeat import defaults, features
from cxrfeat.paths import PathLike, several


def weights_list(
    backbone: str | Sequence[str] | None = None, *, weights: str | Sequence[str] = ()
) -> list[features.WeightsFile]:
    """Say for each backbone which file its default weights are, and where it lies.

    Parameters
    ----------
    backbone, weights : sequence of str
        As for `extract`.
    """
    sources = several(weights)
    names = several(backbone) or features.named_backbones(sources) or defaults.BACKBONES
    choices = features.assign_each(names, sources)
    return [features.locate_weights(name, choice) for name, choice in choices]


def weights_fetch(
    backbone: str | Sequence[str] = defaults.BACKBONES,
    *,
    out: PathLike = defaults.WEIGHTS_FOLDER,
    weights: str | Sequence[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> list[features.WeightsFile]:
    """Download weights into a folder that can be carried to a machine without network.

    Parameters
    ----------
    backbone : str or sequence of str
    out : path
        The folder; give it to ``extract --weights`` there.
    weights : str or sequence of str
        Other names than the pinned ones, as for `extract`.
    progress : callable, optional
        Called with file name, bytes done and bytes in all.

    Raises
    ------
    WeightsError
        If one cannot be downloaded, or has another hash than its name says.
    """
    choices = features.assign_each(several(backbone), several(weights))
    return [features.fetch_weights(name, c, Path(out), progress) for name, c in choices]


def weights_add(
    file: PathLike,
    *,
    backbone: str,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    crop: str | None = None,
    preprocessor: PathLike | None = None,
    pretraining: str | Sequence[str] | None = None,
    licence: str | None = None,
    citation: str | None = None,
) -> features.WeightsFile:
    """Check a file of weights of one's own and write the sidecar that describes it.

    Parameters
    ----------
    file : path
        ``.pth`` or ``.safetensors`` with its package's names for its tensors; for DINOv2 networks
        of timm also those of transformers.
    backbone : str
        The network they are of.
    size : int, optional
        Side of the training images in pixels; default: as the network's default weights.
    mean, std : sequence of 1 or 3 floats, optional
        For pixels scaled to 0..1; default: as the network's default weights.
    crop : str, optional
        "none", or "centre" for the largest square in the middle; default: as the network's default
        weights.
    preprocessor : path, optional
        A ``preprocessor_config.json`` of transformers, which says what is not given here.
    pretraining : str or sequence of str, optional
        The collections that the weights were trained on; `audit` asks for them.
    licence, citation : str, optional
        Of the weights.

    Raises
    ------
    WeightsError, InputError
        If the file does not fit the network, or a sidecar is already there.
    """
    return features.add_weights(
        Path(file),
        backbone,
        size,
        mean,
        std,
        crop=crop,
        preprocessor=None if preprocessor is None else Path(preprocessor),
        pretraining=None if pretraining is None else several(pretraining),
        licence=licence,
        citation=citation,
    )


def weights_convert(
    file: PathLike,
    out: PathLike,
    *,
    backbone: str | None = None,
    warn: Callable[[str], None] | None = None,
) -> features.WeightsFile:
    """Make tensors of a pickle once, in a process of its own; `extract` never opens such files.

    Parameters
    ----------
    file : path
        A pickle of a network or of its ``state_dict``, such as torchxrayvision's ``.pt`` files.
    out : path
        The ``.safetensors`` file, which does not exist yet.
    backbone : str, optional
        The network that it is of: its sidecar is written, too. Known for torchxrayvision's files.
    warn : callable, optional
        Called, before the file is opened, with a sentence on what pickles are.

    Raises
    ------
    WeightsError
        A pickle that asks for anything but tensors, plain containers and parts of networks, or
        tensors of another network. Nothing of it is run or kept.
    InputError, StorageError
        No such file, one that is there already, or a folder that cannot be written.
    """
    if warn is not None:
        warn(features.PICKLE_WARNING.format(path=file))
    return features.convert_weights(Path(file), Path(out), backbone)


def weights_check(file: PathLike) -> features.WeightsFile:
    """Load a file of weights strictly into the network its sidecar names.

    Raises
    ------
    WeightsError
        If anything about it is wrong; the message says what.
    """
    return features.check_weights(Path(file))
