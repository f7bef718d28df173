"""Turn a network into the one form that converters take: a TorchScript trace."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from cxrfeat.features.runtimes.kept_conversion import NotRunError
from cxrfeat.features.weights.find import first_line


def traced(module: nn.Module, shape: tuple[int, ...]) -> tuple[torch.jit.ScriptModule, int]:
    """Return the trace of a network for an input of one shape, and how many maps it gives.

    Raises
    ------
    NotRunError
        torch cannot trace it.
    """
    example = torch.zeros(shape)
    with (
        warnings.catch_warnings(),
        torch.inference_mode(False),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")  # tracing turns shapes into constants, which is wanted
        outputs = len(module(example))  # what is wrong in the network itself is not the tracer's
        try:
            network = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
        except (RuntimeError, NotImplementedError) as error:
            raise NotRunError(f"torch cannot trace it ({first_line(error)})") from None
    return network, outputs
