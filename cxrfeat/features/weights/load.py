"""Put the tensors of a file into a network: tensors only, strictly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cxrfeat.errors import WeightsError
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.families import family_of
from cxrfeat.features.weights.find import Source, first_line


@dataclass(frozen=True)
class Loaded:
    """A network with its weights.

    Attributes
    ----------
    network : Module
        Frozen, in evaluation mode.
    absent : frozenset of str
        Tensors of the network that the file did not hold (a classifier that was left out).
    file : str
        The file's name, or "" for random weights.
    """

    network: nn.Module
    absent: frozenset[str] = frozenset()
    file: str = ""


def load(backbone: str, source: Source) -> Loaded:
    """Build a network and load its weights into it.

    Raises
    ------
    WeightsError
        If the file is damaged, or is of another network.
    """
    if source.path is None:
        return Loaded(build(backbone, source.seed))
    network = build(backbone, size=source.input.size, empty=True)
    tensors = read_tensors(source.path)
    if (family := family_of(backbone)) is not None:
        tensors = family[0].translate(network, tensors)
    absent = _fill(network, tensors, source.path)
    return Loaded(network, absent, source.path.name)


def require_all(loaded: Loaded, module: nn.Module) -> None:
    """Raise `WeightsError` if the file left out a tensor that `module` needs.

    Counters that evaluation does not use are filled in.
    """
    if missing := sorted(loaded.absent & needed_tensors(module)):
        raise WeightsError(
            f"{loaded.file} lacks {len(missing)} tensors of the network, first '{missing[0]}': "
            "give the file of this network"
        )
    for owner in module.modules():
        for name, buffer in owner.named_buffers(recurse=False):
            if buffer.is_meta:  # counters of batch normalisation, which older files lack
                setattr(owner, name, torch.zeros_like(buffer, device="cpu"))


def needed_tensors(module: nn.Module) -> set[str]:
    """Name the tensors of a network cut off, as the network itself names them."""
    return {name.removeprefix("network.encoder.") for name in module.state_dict()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors; nothing in it is executed.

    Raises
    ------
    WeightsError
        If the file is damaged or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, SafetensorError) as error:
        raise WeightsError(
            f"{path} cannot be read ({first_line(error)}): fetch it again"
        ) from error
    except Exception as error:  # pickle.UnpicklingError and its like: not tensors alone
        raise WeightsError(
            f"{path} holds Python objects besides tensors, which are never loaded here: save its "
            f"state_dict() alone, or make tensors of it with 'cxrfeat weights convert {path}"
            f" {path.with_suffix('.safetensors')}'"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(t, Tensor) for t in content.values()):
        raise WeightsError(f"{path} is not a state_dict: save the network's state_dict() alone")
    return dict(content)


def _fill(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> frozenset[str]:
    """Load `tensors` strictly; return the names the file left out (extractors check those)."""
    # torchvision's DenseNet files were saved under older module names ("norm.1" for "norm1").
    older = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.(.*)")
    tensors = {older.sub(r"\1\2", key): tensor for key, tensor in tensors.items()}
    # Tensors of the file become the network's own, in the network's type.
    types = {key: tensor.dtype for key, tensor in network.state_dict().items()}
    tensors = {key: tensor.to(types.get(key, tensor.dtype)) for key, tensor in tensors.items()}
    try:
        result = network.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:  # torch names the tensors whose shapes differ
        detail = first_line(str(error).partition(":")[2].strip() or error)
        raise WeightsError(
            f"{path} holds weights of another network than {type(network).__name__} ({detail}): "
            "give the file of this one"
        ) from error
    if result.unexpected_keys:
        raise WeightsError(
            f"{path} holds weights of another network than {type(network).__name__}: "
            f"{len(result.unexpected_keys)} of its {len(tensors)} tensors have no place there, "
            f"first '{result.unexpected_keys[0]}'; give the file of this one"
        )
    network.requires_grad_(False)
    return frozenset(k for k in result.missing_keys if not k.endswith("num_batches_tracked"))


def tensors_sha256(module: nn.Module) -> str:
    """Return the sha256 of the tensors of a module, whatever file they came in.

    Taken over name, type, shape and little-endian bytes of every parameter and buffer in order of
    name. Counters that batch normalisation keeps while training are left out.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.ndim else array.tobytes())
    return digest.hexdigest()
