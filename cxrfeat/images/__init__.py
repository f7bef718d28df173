"""Radiographs from files: one 2-D float32 array in [0, 1] with bone bright, whatever the format.

The only folder that imports Pillow, pydicom and simplejpeg. Imports plain data only; imported by
what several commands share, and by commands. To read: `radiograph` (recognises the format and
calls its reader), `decoded` (what a reader is asked and hands back), the readers `raster` with
`containers` and `jpeg`, and `dicom`; `in_memory` (arrays and pictures of Pillow),
`depth` (how many bits are used), `resizing` (to what a
network sees), `masking` (without its centre, or with a mark), `checks` (what a person should look
at), `fingerprints` and `altered_copies` (what copies are found by, and copies to be found),
`versions`, `quiet`; `drawing` makes pictures.
"""

from cxrfeat.images.decoded import ReadingOptions
from cxrfeat.images.depth import largest_sample, needed_bits, states_no_depth
from cxrfeat.images.dicom.patient_key import named_key
from cxrfeat.images.in_memory import identity_of, is_picture, pictures_in, read_picture
from cxrfeat.images.loading import load_file
from cxrfeat.images.radiograph import Radiograph, asks_for, declared_columns, read_image
from cxrfeat.images.resizing import READING_VERSION, frame, reading_spec, resize
from cxrfeat.images.versions import decoders
from cxrfeat.signatures import HEAD_BYTES

__all__ = [
    "HEAD_BYTES",
    "READING_VERSION",
    "Radiograph",
    "ReadingOptions",
    "asks_for",
    "declared_columns",
    "decoders",
    "frame",
    "identity_of",
    "is_picture",
    "largest_sample",
    "load_file",
    "named_key",
    "needed_bits",
    "pictures_in",
    "read_image",
    "read_picture",
    "reading_spec",
    "resize",
    "states_no_depth",
]
