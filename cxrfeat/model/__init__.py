"""Fitted heads as files that can be loaded without executing what they hold.

The only folder that imports skops. Imports plain data only; imported by what several commands
share, and by commands. To read: `file` (what is saved, and loaded again), `archive` (what a file
may be made of), `bounds` (what its numbers may be).
"""

from cxrfeat.model.file import Model, installed_versions, load, save, why_unsavable

__all__ = ["Model", "installed_versions", "load", "save", "why_unsavable"]
