"""Fitted heads as files that can be loaded without executing what they hold.

The only place that imports skops.
"""

from cxrfeat.model.file import Model, installed_versions, load, save

__all__ = ["Model", "installed_versions", "load", "save"]
