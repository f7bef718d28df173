"""cxrfeat: frozen ImageNet backbones over chest radiographs, once; then compare them honestly.

Every command of the command line is a function of the same name here (``cxrfeat weights list`` is
`weights_list`; ``cxrfeat import`` and ``cxrfeat help``, words of Python's own, are `import_` and
`help_`), with the same options and defaults. Nothing heavy is imported until a function is used.
For research only, not for diagnosis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cxrfeat.version import __version__ as __version__

if TYPE_CHECKING:
    from cxrfeat.commands.audit import audit as audit
    from cxrfeat.commands.backbones import backbones as backbones
    from cxrfeat.commands.dataset import dataset as dataset
    from cxrfeat.commands.demo import demo as demo
    from cxrfeat.commands.doctor import doctor as doctor
    from cxrfeat.commands.explain import explain as explain
    from cxrfeat.commands.export import export as export
    from cxrfeat.commands.extract import extract as extract
    from cxrfeat.commands.fit import fit as fit
    from cxrfeat.commands.help_ import help_ as help_
    from cxrfeat.commands.import_ import import_ as import_
    from cxrfeat.commands.info import info as info
    from cxrfeat.commands.inspect import inspect as inspect
    from cxrfeat.commands.merge import merge as merge
    from cxrfeat.commands.model_info import model_info as model_info
    from cxrfeat.commands.open_extractor import open_extractor as open_extractor
    from cxrfeat.commands.predict import predict as predict
    from cxrfeat.commands.radiograph_embedder import RadiographEmbedder as RadiographEmbedder
    from cxrfeat.commands.report import report as report
    from cxrfeat.commands.shard_script import shards_script as shards_script
    from cxrfeat.commands.shards import shards_merge as shards_merge
    from cxrfeat.commands.shards import shards_status as shards_status
    from cxrfeat.commands.verify import verify as verify
    from cxrfeat.commands.weights import weights_add as weights_add
    from cxrfeat.commands.weights import weights_check as weights_check
    from cxrfeat.commands.weights import weights_convert as weights_convert
    from cxrfeat.commands.weights import weights_fetch as weights_fetch
    from cxrfeat.commands.weights import weights_list as weights_list
    from cxrfeat.display.progress_bar import progress_bar as progress_bar
    from cxrfeat.features.network.family import Encoder as Encoder
    from cxrfeat.store import Embeddings as Embeddings
    from cxrfeat.store import write as write
    from cxrfeat.store.aligned import load as load

_PUBLIC = {
    "audit": "cxrfeat.commands.audit",
    "backbones": "cxrfeat.commands.backbones",
    "dataset": "cxrfeat.commands.dataset",
    "demo": "cxrfeat.commands.demo",
    "doctor": "cxrfeat.commands.doctor",
    "explain": "cxrfeat.commands.explain",
    "extract": "cxrfeat.commands.extract",
    "export": "cxrfeat.commands.export",
    "fit": "cxrfeat.commands.fit",
    "help_": "cxrfeat.commands.help_",
    "import_": "cxrfeat.commands.import_",
    "info": "cxrfeat.commands.info",
    "inspect": "cxrfeat.commands.inspect",
    "merge": "cxrfeat.commands.merge",
    "model_info": "cxrfeat.commands.model_info",
    "open_extractor": "cxrfeat.commands.open_extractor",
    "predict": "cxrfeat.commands.predict",
    "RadiographEmbedder": "cxrfeat.commands.radiograph_embedder",
    "report": "cxrfeat.commands.report",
    "shards_merge": "cxrfeat.commands.shards",
    "shards_script": "cxrfeat.commands.shard_script",
    "shards_status": "cxrfeat.commands.shards",
    "verify": "cxrfeat.commands.verify",
    "weights_add": "cxrfeat.commands.weights",
    "weights_check": "cxrfeat.commands.weights",
    "weights_convert": "cxrfeat.commands.weights",
    "weights_fetch": "cxrfeat.commands.weights",
    "weights_list": "cxrfeat.commands.weights",
    "load": "cxrfeat.store.aligned",
    "write": "cxrfeat.store",
    "Embeddings": "cxrfeat.store",
    "CxrfeatError": "cxrfeat.errors",
    "Encoder": "cxrfeat.features.network.family",
    "progress_bar": "cxrfeat.display.progress_bar",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    """Import a verb when it is first used (PEP 562)."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'cxrfeat' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
