"""cxrfeat: frozen ImageNet backbones over chest radiographs, once; then compare them honestly.

Every command of the command line is a function of the same name here (``cxrfeat weights list`` is
`weights_list`; only ``cxrfeat dataset`` is elsewhere, `cxrfeat.verbs.dataset.dataset`, because
`cxrfeat.dataset` is the package of plain data). Nothing heavy is imported until a function is used.
For research only, not for diagnosis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cxrfeat.store import Embeddings as Embeddings
    from cxrfeat.store import load as load
    from cxrfeat.verbs.backbones import backbones as backbones
    from cxrfeat.verbs.demo import demo as demo
    from cxrfeat.verbs.doctor import doctor as doctor
    from cxrfeat.verbs.explain import explain as explain
    from cxrfeat.verbs.export import export as export
    from cxrfeat.verbs.extract import extract as extract
    from cxrfeat.verbs.fit import fit as fit
    from cxrfeat.verbs.info import info as info
    from cxrfeat.verbs.inspect import inspect as inspect
    from cxrfeat.verbs.merge import merge as merge
    from cxrfeat.verbs.model_info import model_info as model_info
    from cxrfeat.verbs.predict import predict as predict
    from cxrfeat.verbs.report import report as report
    from cxrfeat.verbs.verify import verify as verify
    from cxrfeat.verbs.weights import weights_add as weights_add
    from cxrfeat.verbs.weights import weights_check as weights_check
    from cxrfeat.verbs.weights import weights_fetch as weights_fetch
    from cxrfeat.verbs.weights import weights_list as weights_list

_PUBLIC = {
    "backbones": "cxrfeat.verbs.backbones",
    "demo": "cxrfeat.verbs.demo",
    "doctor": "cxrfeat.verbs.doctor",
    "explain": "cxrfeat.verbs.explain",
    "extract": "cxrfeat.verbs.extract",
    "export": "cxrfeat.verbs.export",
    "fit": "cxrfeat.verbs.fit",
    "info": "cxrfeat.verbs.info",
    "inspect": "cxrfeat.verbs.inspect",
    "merge": "cxrfeat.verbs.merge",
    "model_info": "cxrfeat.verbs.model_info",
    "predict": "cxrfeat.verbs.predict",
    "report": "cxrfeat.verbs.report",
    "verify": "cxrfeat.verbs.verify",
    "weights_add": "cxrfeat.verbs.weights",
    "weights_check": "cxrfeat.verbs.weights",
    "weights_fetch": "cxrfeat.verbs.weights",
    "weights_list": "cxrfeat.verbs.weights",
    "load": "cxrfeat.store",
    "Embeddings": "cxrfeat.store",
    "CxrfeatError": "cxrfeat.errors",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    """Import a verb when it is first used (PEP 562)."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'cxrfeat' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
