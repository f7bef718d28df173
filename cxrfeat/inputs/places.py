"""Where images are: on a disk, in an archive, in an object store, or known by their ids alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrfeat.inputs.archives import Member
from cxrfeat.inputs.remote_images import RemoteFile, RemoteFolder, remote_folder
from cxrfeat.paths import PathLike

Place = Path | Member | RemoteFile
"""Where an image is."""


@dataclass(frozen=True)
class KnownImages:
    """Images that are known by their ids alone, as those of an embedding file are.

    Attributes
    ----------
    ids : tuple of str
    """

    ids: tuple[str, ...]


Root = Path | RemoteFolder | KnownImages
"""Where images are looked for."""


def root_of(root: PathLike) -> Path | RemoteFolder:
    """Return what a path or an address names."""
    return remote_folder(root) or Path(root)
