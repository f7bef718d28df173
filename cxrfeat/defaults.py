"""Every default that a command and its Python function share, said once.

Plain values and no imports, so that ``cxrfeat --help`` can show them without loading what uses
them. Defaults that say "nothing" (None, False, an empty list) need no name.
"""

from typing import Final

IMAGES: Final = "."
EMBEDDINGS: Final = "embeddings"
"""Folder of the embedding files: written by `extract`, read by `fit`."""

REPEATED_ROWS: Final = "error"
MODALITIES: Final = ("CR", "DX", "RG")
"""DICOM modalities that are projection radiography: computed, digital, and film."""
SEEN_SIZE: Final = 224
"""Side in pixels at which `inspect` shows images: what nearly all networks take."""
SHEET_IMAGES: Final = 60
"""Images on a contact sheet."""

BACKBONES: Final = ("vgg16", "vgg19", "resnet50")
WEIGHTS_FOLDER: Final = "weights"
POOL: Final = "avg"
PRECISION: Final = "fp32"
STORAGE: Final = "float32"
CACHE_SIZE: Final = "50GB"
"""Of kept pictures: a quarter of a million at 224 pixels."""

DEVICE: Final = "auto"
RUNTIME: Final = "auto"
BATCH_SIZE: Final = 32
ENGINE: Final = "local"

SHARDS: Final = 64
SHARDS_AT_ONCE: Final = 16
SHARD_WORKERS: Final = 4
SHARD_MEMORY: Final = "8G"

CV: Final = 5
REPEATS: Final = 1
GROUPS: Final = "auto"
REFIT: Final = "train"
SEED: Final = 0

METRIC: Final = "auroc"
ROPE: Final = 0.01
SPECIFICITY: Final = 0.9
THRESHOLD: Final = "f1"

REPORT: Final = True
AUDIT: Final = "audit"
"""Folder of an audit: in its run, or here."""
AUDIT_HEAD: Final = "logreg"
EXPORT: Final = "parquet"
EXPLAINED: Final = "explained"
BUDGET: Final = 100
DEMO: Final = "cxrfeat-demo"
PATIENTS: Final = 120
