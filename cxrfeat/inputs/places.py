"""Where images are: on a disk, in an archive, or in an object store."""

from __future__ import annotations

from pathlib import Path

from cxrfeat.inputs.archives import Member
from cxrfeat.inputs.remote_images import RemoteFile, RemoteFolder, remote_folder
from cxrfeat.paths import PathLike

Place = Path | Member | RemoteFile
"""Where an image is."""

Root = Path | RemoteFolder
"""Where images are looked for."""


def root_of(root: PathLike) -> Root:
    """Return what a path or an address names."""
    return remote_folder(root) or Path(root)
