"""Frozen feature extractors: the only package that imports torch.

One story a file: `backbones` says which networks there are (`registry` knows torchvision's),
`locating` finds their weights (`download` and `carrying` bring them), `preparing` says what an
extractor is before it is opened (its `description` stands in the spec), and `extractor` is what the
rest of cxrfeat runs. Opening one for the first time takes torch: `opening` goes from `building` the
network, the `weights` put into it and `truncate`, which finds the layer that is pooled, to one of
the `runtimes`; `pooling` turns maps into vectors. What is `kept` then opens again without torch.
`maps` tells where in a picture the cells of a map lie.
"""

from __future__ import annotations

from cxrfeat.features.description import Description
from cxrfeat.features.devices import devices
from cxrfeat.features.extractor import BATCH, Extractor
from cxrfeat.features.network.backbones import Backbone, backbone_names, check_name, describe
from cxrfeat.features.network.pooling import POOLINGS
from cxrfeat.features.preparing import Prepared, open_extractor, prepare_extractor
from cxrfeat.features.runtimes import PRECISIONS, RUNTIMES
from cxrfeat.features.weights.availability import can_download, examine_weights
from cxrfeat.features.weights.choice import WeightsChoice, assign_each, assign_weights
from cxrfeat.features.weights.files import (
    WeightsFile,
    add_weights,
    check_weights,
    fetch_weights,
    locate_weights,
)

__all__ = [
    "BATCH",
    "POOLINGS",
    "PRECISIONS",
    "RUNTIMES",
    "Backbone",
    "Description",
    "Extractor",
    "Prepared",
    "WeightsChoice",
    "WeightsFile",
    "add_weights",
    "assign_each",
    "assign_weights",
    "backbone_names",
    "can_download",
    "check_name",
    "check_weights",
    "describe",
    "devices",
    "examine_weights",
    "fetch_weights",
    "locate_weights",
    "open_extractor",
    "prepare_extractor",
]
