"""The bytes of one file, or the code of why they are not to be had."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from cxrfeat.errors import ImageError
from cxrfeat.images.decoded import ReadingOptions
from cxrfeat.paths import PathLike


def load_file(path: PathLike, limit: int = ReadingOptions.max_bytes) -> bytes:
    """Return the bytes of a file.

    Parameters
    ----------
    path
        Of a regular file; what else there is, is not opened.
    limit
        Most bytes that are taken.

    Raises
    ------
    ImageError
        ``missing``, ``unreadable``, ``not_a_file`` or ``too_large``.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for its writer
            raise ImageError("not_a_file", "a folder, pipe, socket or device, not a file")
        ReadingOptions(max_bytes=limit).check_bytes(status.st_size)
        with open(path, "rb") as file:
            return file.read(status.st_size)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError("missing", "there is no such file") from None
    except PermissionError:
        raise ImageError("unreadable", "no permission to read the file") from None
    except OSError as error:
        raise ImageError("unreadable", error.strerror or "reading failed") from None
    except ValueError:
        raise ImageError("unreadable", "the path is not valid") from None


@contextmanager
def opened(source: PathLike | BinaryIO) -> Iterator[BinaryIO | None]:
    """Give a file from its beginning, opened where only its path is given.

    Yields
    ------
    BinaryIO or None
        None for what is no regular file: opening a named pipe would wait for its writer.
    """
    if not isinstance(source, str | os.PathLike):
        source.seek(0)
        yield source
    elif os.path.isfile(source):
        with open(source, "rb") as file:
            yield file
    else:
        yield None
