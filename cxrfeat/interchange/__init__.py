"""Embeddings of other programs: read as plain data, and written for those that have a format.

Imports `inputs`, tables and plain data; imported by commands. Of files that others may have made:
nothing in them is run or followed out of them. To read: `outside` (what every format is read as),
`reading` (which format a file is of; the registry of formats), one module for each family of
formats, `table_files`, `numpy_files`, `hdf5_files` and `anndata_files` over `hdf5_guard`, with
`columns` (which columns, arrays and datasets are meant); then `matching` (their ids to images that
are known).

With `store` the only folder that imports h5py.
"""

from cxrfeat.interchange.anndata_files import write_anndata
from cxrfeat.interchange.matching import KnownImages, Matched, match
from cxrfeat.interchange.outside import PATCHES, Outside, Wanted
from cxrfeat.interchange.reading import READERS, read

__all__ = [
    "PATCHES",
    "READERS",
    "KnownImages",
    "Matched",
    "Outside",
    "Wanted",
    "match",
    "read",
    "write_anndata",
]
