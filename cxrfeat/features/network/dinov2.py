"""DINOv2 as transformers stores it, in timm's names: RAD-DINO and others of its kind.

Both compute the same. Transformers keeps query, key and value apart and, with register tokens, a
position for the class token, which timm adds to that token once and for all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cxrfeat.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = re.compile(r"^(?:\w+\.)?(?=(?:embeddings|encoder\.layer|layernorm)\.)")

_NAMES = {
    r"embeddings\.cls_token": "cls_token",
    r"embeddings\.register_tokens": "reg_token",
    r"embeddings\.position_embeddings": "pos_embed",
    r"embeddings\.patch_embeddings\.projection\.(\w+)": r"patch_embed.proj.\1",
    r"encoder\.layer\.(\d+)\.(norm[12])\.(\w+)": r"blocks.\1.\2.\3",
    r"encoder\.layer\.(\d+)\.attention\.(?:output\.dense|o_proj)\.(\w+)": r"blocks.\1.attn.proj.\2",
    r"encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1": r"blocks.\1.ls\2.gamma",
    r"encoder\.layer\.(\d+)\.mlp\.(fc[12])\.(\w+)": r"blocks.\1.mlp.\2.\3",
    r"encoder\.layer\.(\d+)\.mlp\.weights_in\.(\w+)": r"blocks.\1.mlp.fc1.\2",
    r"encoder\.layer\.(\d+)\.mlp\.(?:weights_out|down_proj)\.(\w+)": r"blocks.\1.mlp.fc2.\2",
    r"layernorm\.(\w+)": r"norm.\1",
}
_JOINED = {
    r"encoder\.layer\.(\d+)\.attention\.(?:attention\.)?(query|key|value|[qkv]_proj)\.(\w+)": (
        "blocks.{0}.attn.qkv.{2}",
        ("query", "key", "value"),
    ),
    r"encoder\.layer\.(\d+)\.mlp\.(gate_proj|up_proj)\.(\w+)": (
        "blocks.{0}.mlp.fc1.{2}",
        ("gate_proj", "up_proj"),
    ),
}
"""Tensors that timm has one below the other."""

_NEWER = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}


def in_transformers_layout(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors are named as transformers' ``Dinov2Model`` names them."""
    return any(_PREFIX.sub("", name) == "embeddings.cls_token" for name in tensors)


def from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors of a ``Dinov2Model`` as timm does.

    Raises
    ------
    WeightsError
        A tensor that has no place in timm's network.
    """
    import torch

    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    order: dict[str, tuple[str, ...]] = {}
    for name, tensor in tensors.items():
        plain = _PREFIX.sub("", name)
        if plain == "embeddings.mask_token" or plain.startswith("classifier."):
            continue
        renamed = _renamed(plain)
        if renamed:
            found[renamed] = tensor
            continue
        for pattern, (target, members) in _JOINED.items():
            if match := re.fullmatch(pattern, plain):
                whole = target.format(*match.groups())
                parts.setdefault(whole, {})[_NEWER.get(match[2], match[2])] = tensor
                order[whole] = members
                break
        else:
            raise WeightsError(
                f"'{name}' has no place in a DINOv2 network: give the file of a Dinov2Model"
            )
    for whole, given in parts.items():
        if missing := [member for member in order[whole] if member not in given]:
            raise WeightsError(
                f"the file has {whole} without its part '{missing[0]}': copy it again"
            )
        found[whole] = torch.cat([given[member] for member in order[whole]])
    if "reg_token" in found and {"cls_token", "pos_embed"} <= found.keys():
        found["cls_token"] = found["cls_token"] + found["pos_embed"][:, :1]
        found["pos_embed"] = found["pos_embed"][:, 1:]
    return found


def _renamed(name: str) -> str:
    for pattern, target in _NAMES.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(target)
    return ""
