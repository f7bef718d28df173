"""The embedding file: format 1 of ``docs/format.md``, and the only folder that imports h5py.

Imports plain data only; imported by what several commands share, and by commands. To read:
`format1` (what is in a file), `rows` (how one row is kept), `reader` with `validation` and
`hdf5_guard` (a file may come from a stranger), `writer` with `lock` and `disk` (a kill loses a
batch at most), `reconcile` and `rewrite` (other images than last time), `whole_file` and
`from_arrays` (embeddings that are there already); then `columns`, `aligned`, `description`,
`verification`, and `merging` and `shard_merging` over `joining` and `joined_files`, each of one
command.
"""

from cxrfeat.store.aligned import AlignedEmbeddings
from cxrfeat.store.columns import GONE, columns_of
from cxrfeat.store.description import FileInfo, describe
from cxrfeat.store.format1 import DONE, FAILED, PENDING
from cxrfeat.store.from_arrays import write
from cxrfeat.store.joined_files import Merged
from cxrfeat.store.listing import embedding_files
from cxrfeat.store.lock import FileLock
from cxrfeat.store.merging import merge
from cxrfeat.store.reader import Embeddings, KnownRows, Origin, known, load
from cxrfeat.store.reconcile import Changes, positions
from cxrfeat.store.rows import finite_rows
from cxrfeat.store.shard_merging import merge_shards
from cxrfeat.store.verification import Damage, Verification, verify
from cxrfeat.store.whole_file import refuse_not_finite, write_all
from cxrfeat.store.writer import StoreWriter, foresee, open_writer

__all__ = [
    "DONE",
    "FAILED",
    "GONE",
    "PENDING",
    "AlignedEmbeddings",
    "Changes",
    "Damage",
    "Embeddings",
    "FileInfo",
    "FileLock",
    "KnownRows",
    "Merged",
    "Origin",
    "StoreWriter",
    "Verification",
    "columns_of",
    "describe",
    "embedding_files",
    "finite_rows",
    "foresee",
    "known",
    "load",
    "merge",
    "merge_shards",
    "open_writer",
    "positions",
    "refuse_not_finite",
    "verify",
    "write",
    "write_all",
]
