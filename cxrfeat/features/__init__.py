"""Frozen feature extractors: the only folder that imports torch.

Imports plain data only; imported by what several commands share, and by commands. To read:
`network` (what a backbone is), `weights` (where its tensors come from), `runtimes` (what runs it),
then `description` (what an extractor is, as it stands in the spec), `devices`, `preparing` (an
extractor before it is opened), `opening` (with torch, the first time) and `extractor` (what the
rest of cxrfeat calls). torch is imported inside the functions that need it: what has been converted
once opens without.
"""

from __future__ import annotations

from cxrfeat.features.description import Description
from cxrfeat.features.devices import devices
from cxrfeat.features.extractor import BATCH, Extractor, batch_memory, embed_each
from cxrfeat.features.network.backbones import (
    Backbone,
    backbone_names,
    check_name,
    describe,
    is_backbone,
)
from cxrfeat.features.network.families import FAMILIES, has_random_weights, names_of
from cxrfeat.features.network.pooling import POOLINGS
from cxrfeat.features.preparing import Prepared, open_extractor, prepare_extractor
from cxrfeat.features.runtimes import PRECISIONS, RUNTIMES
from cxrfeat.features.runtimes.kept_conversion import runtimes_here
from cxrfeat.features.runtimes.processor import processor
from cxrfeat.features.weights.availability import can_download, examine_weights
from cxrfeat.features.weights.choice import (
    WeightsChoice,
    assign_each,
    assign_weights,
    named_backbones,
)
from cxrfeat.features.weights.convert import WARNING as PICKLE_WARNING
from cxrfeat.features.weights.convert import convert_weights
from cxrfeat.features.weights.files import (
    WeightsFile,
    add_weights,
    check_weights,
    fetch_weights,
    locate_weights,
)
from cxrfeat.features.weights.pretraining import stated_pretraining

__all__ = [
    "BATCH",
    "FAMILIES",
    "PICKLE_WARNING",
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
    "batch_memory",
    "can_download",
    "check_name",
    "check_weights",
    "convert_weights",
    "describe",
    "devices",
    "embed_each",
    "examine_weights",
    "fetch_weights",
    "has_random_weights",
    "is_backbone",
    "locate_weights",
    "named_backbones",
    "names_of",
    "open_extractor",
    "prepare_extractor",
    "processor",
    "runtimes_here",
    "stated_pretraining",
]
