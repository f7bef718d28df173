"""Files in HDF5: embeddings and kept pictures, as in ``docs/format.md``; nothing else imports h5py.

Imports plain data only; imported by what several commands share, and by commands. To read:
`format1` (what is in a file), `rows` (how one row is kept), `reader` with `validation` and
`hdf5_guard` (a file may come from a stranger), `writer` with `lock` and `disk` (a kill loses a
batch at most), `reconcile` and `rewrite` (other images than last time), `whole_file` and
`from_arrays` (embeddings that are there already); then `columns`, `aligned`, `description`,
`verification`, and `merging` and `shard_merging` over `joining` and `joined_files`, each of one
command. Beside them `pictures`, the file of `extract --cache`.
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
from cxrfeat.store.pictures import (
    KEPT_IMAGE,
    WARNING_BYTES,
    KeptImages,
    PictureFile,
    make_picture_file,
    row_bytes,
)
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
    "KEPT_IMAGE",
    "PENDING",
    "WARNING_BYTES",
    "AlignedEmbeddings",
    "Changes",
    "Damage",
    "Embeddings",
    "FileInfo",
    "FileLock",
    "KeptImages",
    "KnownRows",
    "Merged",
    "Origin",
    "PictureFile",
    "StoreWriter",
    "Verification",
    "columns_of",
    "describe",
    "embedding_files",
    "finite_rows",
    "foresee",
    "known",
    "load",
    "make_picture_file",
    "merge",
    "merge_shards",
    "open_writer",
    "positions",
    "refuse_not_finite",
    "row_bytes",
    "verify",
    "write",
    "write_all",
]
