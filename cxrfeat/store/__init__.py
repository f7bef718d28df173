"""The embedding file: format 1 of ``docs/format.md``, and the only place that imports h5py."""

from cxrfeat.store.embeddings import Embeddings, KnownRow, known, load
from cxrfeat.store.layout import DONE, FAILED, PENDING
from cxrfeat.store.plan import Changes
from cxrfeat.store.writer import StoreWriter, open_writer

__all__ = [
    "DONE",
    "FAILED",
    "PENDING",
    "Changes",
    "Embeddings",
    "KnownRow",
    "StoreWriter",
    "known",
    "load",
    "open_writer",
]
