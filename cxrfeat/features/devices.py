"""What ``--device`` means on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from cxrfeat.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")

_ACCELERATORS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What a Linux system with a driver for an accelerator that torch takes has at least one of."""


def devices() -> list[str]:
    """Name what ``--device`` can mean here, the CPU first."""
    import torch

    found = ["cpu"]
    found += [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def device_type(device: str) -> str:
    """Turn ``--device`` into torch's name; "auto" takes CUDA, then Apple's GPU, then the CPU.

    Raises
    ------
    InputError
        If the named device is not there.
    """
    if device == "cpu" or (device == "auto" and not _may_have_accelerator()):
        return "cpu"  # without asking torch, whose import takes seconds
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise InputError(f"device '{device}' is not available here: use --device auto or cpu")
    return device


def require_precision(precision: str, device: str) -> None:
    """Refuse a precision that a device, as `device_type` names it, does not have.

    Raises
    ------
    InputError
        For fp16 on the CPU, and for tf32 anywhere but on an NVIDIA GPU that has it.
    """
    if precision == "fp16" and device == "cpu":
        raise InputError("precision fp16 needs a GPU: use --precision bf16 or fp32 on the CPU")
    if precision == "tf32" and not (device == "cuda" and _has_tf32()):
        raise InputError(
            "precision tf32 needs an NVIDIA GPU of compute capability 8.0 (Ampere) or later, which "
            f"{device} here is not: use --precision fp32"
        )


def _has_tf32() -> bool:
    import torch

    return torch.version.hip is None and torch.cuda.get_device_capability() >= (8, 0)


def _may_have_accelerator() -> bool:
    return sys.platform != "linux" or any(Path(path).exists() for path in _ACCELERATORS)
