"""Frozen feature extractors: the only package that imports torch.

One story a file: `backbones` says which networks there are, `truncate` finds the layer that is
pooled, `weights` finds and checks the tensors
(`download` and `carrying` bring them), `pooling` turns maps into vectors, and `extractor`
puts them together.
"""

from __future__ import annotations

from cxrfeat.features.backbones import Backbone, backbone_names, describe
from cxrfeat.features.carrying import WeightsFile, add, check, fetch, locate
from cxrfeat.features.extractor import PRECISIONS, Extractor, environment, open_extractor
from cxrfeat.features.pooling import POOLINGS
from cxrfeat.features.weights import WeightsChoice, assign_weights

__all__ = [
    "POOLINGS",
    "PRECISIONS",
    "Backbone",
    "Extractor",
    "WeightsChoice",
    "WeightsFile",
    "add",
    "assign_weights",
    "backbone_names",
    "check",
    "describe",
    "environment",
    "fetch",
    "locate",
    "open_extractor",
]
