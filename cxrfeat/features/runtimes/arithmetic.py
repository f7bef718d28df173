"""What torch computes with while a network runs: the precision that was asked for, and no other.

torch lets cuDNN's convolutions round float32 to TF32 (10 bits of 23) unless told otherwise, and
whoever uses cxrfeat as a library may have allowed more. These settings belong to the process, so
they are made for the time of a block alone and then set back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_one_at_a_time = threading.RLock()  # two threads would set back each other's settings


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Compute in one precision, with the same kernels each time.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`. "tf32" allows TF32 on a GPU; whatever the others leave in float32 is
        float32. What runs in 16 bits is autocast's to say.
    """
    with _one_at_a_time:
        before = []
        try:
            for owner, name, value in settings(precision):
                before.append((owner, name, getattr(owner, name)))
                setattr(owner, name, value)
            yield
        finally:
            for owner, name, value in reversed(before):
                setattr(owner, name, value)


def settings(precision: str) -> list[tuple[Any, str, Any]]:
    """Return what decides the precision and the kernels: owner, attribute and value.

    torch 2.9 gave each of its libraries an attribute of its own; the older ones, which it warns
    about, must not be touched beside them.
    """
    backends: Any = torch.backends  # which attributes there are depends on the version
    cudnn, matmul, tf32 = backends.cudnn, backends.cuda.matmul, precision == "tf32"
    made: list[tuple[Any, str, Any]] = [
        (cudnn, "deterministic", True),
        (cudnn, "benchmark", False),
    ]
    if not hasattr(matmul, "fp32_precision"):
        return [*made, (matmul, "allow_tf32", tf32), (cudnn, "allow_tf32", tf32)]
    on_gpu = [matmul, cudnn.conv, cudnn.rnn]
    on_cpu = [backends.mkldnn.matmul, backends.mkldnn.conv]
    made += [(owner, "fp32_precision", "tf32" if tf32 else "ieee") for owner in on_gpu]
    return made + [(owner, "fp32_precision", "ieee") for owner in on_cpu]
