"""Frozen feature extractors: the only package that imports torch.

One story a file: `backbones` says which networks there are, `truncate` finds the layer that is
pooled, `weights` finds and checks the tensors
(`download` and `carrying` bring them), `pooling` turns maps into vectors, `runtimes` run
the network fast, `extractor` puts them together, and `maps`
tells where in a picture the cells of a map lie.
"""

from __future__ import annotations

from cxrfeat.features.backbones import Backbone, backbone_names, check_name, describe
from cxrfeat.features.carrying import (
    WeightsFile,
    add_weights,
    check_weights,
    fetch_weights,
    locate_weights,
)
from cxrfeat.features.examining import can_download, devices, examine_weights
from cxrfeat.features.extractor import BATCH, Extractor, open_extractor
from cxrfeat.features.maps import grids
from cxrfeat.features.pooling import POOLINGS
from cxrfeat.features.runtimes import PRECISIONS, RUNTIMES
from cxrfeat.features.weights import WeightsChoice, assign_weights

__all__ = [
    "BATCH",
    "POOLINGS",
    "PRECISIONS",
    "RUNTIMES",
    "Backbone",
    "Extractor",
    "WeightsChoice",
    "WeightsFile",
    "add_weights",
    "assign_weights",
    "backbone_names",
    "can_download",
    "check_name",
    "check_weights",
    "describe",
    "devices",
    "examine_weights",
    "fetch_weights",
    "grids",
    "locate_weights",
    "open_extractor",
]
