"""Every error cxrfeat raises on purpose.

::

    CxrfeatError                      catch this one to catch them all
    ├── InputError (ValueError)       an argument, a folder or a table that cannot be used as given
    │   └── UnknownNameError (LookupError)   a backbone, head, column ... of a name we do not have
    ├── FileFormatError (ValueError)  a file that is damaged, of another version or not ours
    ├── SpecMismatchError (ValueError)   embeddings made in another way than the ones at hand
    ├── MadeElsewhereError (ValueError)  images for a model of embeddings that we cannot compute
    ├── LockedError (OSError)         another process, or another writer of this one, has this file
    ├── StorageError (OSError)        the disk is full, or the place cannot be written
    ├── WeightsError (OSError)        weights that are missing, damaged or of another network
    ├── MissingExtraError (ImportError)  an optional package; names what to install
    ├── ClusterError (RuntimeError)   machines that cannot be reached, or lost every worker
    │   └── TaskDiedError             a task that ends its process, each time
    └── ImageError (ValueError)       one image that cannot be used; recorded, never fatal

A message is one line: what is wrong, then how to mend it. All of them can be copied and pickled, so
that they reach the caller from a worker process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class CxrfeatError(Exception):
    """Base of every error raised on purpose. A traceback of anything else is a bug."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's own way calls the constructor with the message alone, which several do not take.
        return _remake, (type(self), self.args, self.__dict__)


def _remake(
    kind: type[CxrfeatError], args: tuple[object, ...], attributes: dict[str, object]
) -> CxrfeatError:
    """Make an error again from what it holds, without the constructor that it was made with."""
    error = kind.__new__(kind, *args)
    super(CxrfeatError, error).__init__(*args)  # ImportError keeps its message there
    error.__dict__.update(attributes)
    return error


class InputError(CxrfeatError, ValueError):
    """An argument, a folder or a table that cannot be used as given."""


class UnknownNameError(InputError, LookupError):
    """A name that is not in a registry.

    Parameters
    ----------
    what
        What was looked for, e.g. ``"backbone"``.
    name
        The name that was not found.
    known
        Every valid name; the message holds them all where they are few, else the nearest ones.
        None where the hint says what was meant.
    hint
        A last sentence, e.g. the command that lists the names.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = list(known)
        self.nearest: list[str] = get_close_matches(name, known, n=3, cutoff=0.5)
        mend = []
        if self.nearest:
            mend.append("did you mean " + " or ".join(self.nearest) + "?")
        if known and (len(known) <= 8 or not self.nearest):
            more = ", ..." if len(known) > 12 else ""
            mend.append("valid names: " + ", ".join(known[:12]) + more + (";" if hint else ""))
        if hint:
            mend.append(hint)
        super().__init__(f"unknown {what} '{name}': " + " ".join(mend))


class FileFormatError(CxrfeatError, ValueError):
    """A file that is damaged, of another format version, or not ours."""


class SpecMismatchError(CxrfeatError, ValueError):
    """Embeddings that were made in another way than the ones at hand.

    Attributes
    ----------
    difference : list of str
        One line for each entry in which the two specs differ.
    """

    def __init__(self, message: str, difference: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.difference = list(difference)


class MadeElsewhereError(CxrfeatError, ValueError):
    """Images for a model whose embeddings were imported, so that we cannot compute theirs."""


class LockedError(CxrfeatError, OSError):
    """Another process writes this file."""


class StorageError(CxrfeatError, OSError):
    """The disk is full, or the place cannot be written."""


class WeightsError(CxrfeatError, OSError):
    """Weights that are missing, damaged, or of another network."""


class MissingExtraError(CxrfeatError, ImportError):
    """A feature that needs an optional package.

    Parameters
    ----------
    feature
        What was asked for, e.g. ``"reading Parquet tables"``.
    extra
        The extra that brings it, e.g. ``"parquet"``.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional package: pip install 'cxrfeat[{extra}]'")
        self.extra = extra


class ClusterError(CxrfeatError, RuntimeError):
    """A Ray cluster that cannot be reached, has no room, or lost every worker."""


class TaskDiedError(ClusterError):
    """A task that ends its process, each time.

    Attributes
    ----------
    place : int
        Among the tasks.
    """

    def __init__(self, task: str, place: int) -> None:
        super().__init__(
            f"{task} ends its process every time, perhaps for want of memory: use machines with"
            " more of it, or leave it out; everything finished is kept, and the same command goes"
            " on"
        )
        self.place = place


class ImageError(CxrfeatError, ValueError):
    """One image that cannot be used. The extraction records it and goes on.

    Attributes
    ----------
    code : str
        A stable, documented word, e.g. ``"truncated"``.
    reason : str
        What was wrong, for people.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
