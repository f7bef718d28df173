"""`cxrfeat backbones`: which networks there are, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence

from cxrfeat import features
from cxrfeat.errors import UnknownNameError


def backbones(names: Sequence[str] = ()) -> list[features.Backbone]:
    """Describe backbones without loading or downloading anything.

    Parameters
    ----------
    names : sequence of str
        Names, or beginnings of names (``"vgg"``); default: all of them.

    Returns
    -------
    list of features.Backbone

    Raises
    ------
    UnknownNameError
        If no backbone begins with one of the names.
    """
    known = features.backbone_names()
    chosen: list[str] = []
    for name in names:
        matching = [name] if name in known else [k for k in known if k.startswith(name)]
        if not matching:
            raise UnknownNameError("backbone", name, known)
        chosen += matching
    return features.describe(chosen or known)
