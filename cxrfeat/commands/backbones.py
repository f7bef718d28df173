"""`cxrfeat backbones`: which networks there are, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence

from cxrfeat import features
from cxrfeat.errors import UnknownNameError
from cxrfeat.paths import several


def backbones(names: str | Sequence[str] = ()) -> list[features.Backbone]:
    """Describe backbones without loading or downloading anything.

    Parameters
    ----------
    names : str or sequence of str
        Names, or beginnings of names (``"vgg"``, ``"timm:vit_small"``); default: all of them but
        timm's, of which there are over a thousand.

    Returns
    -------
    list of features.Backbone

    Raises
    ------
    UnknownNameError
        If no backbone begins with one of the names.
    """
    chosen: list[str] = []
    for name in several(names):
        prefix, colon, _ = name.partition(":")
        in_family = colon and prefix in features.FAMILIES
        known = features.names_of(prefix) if in_family else features.backbone_names()
        matching = [name] if name in known else [k for k in known if k.startswith(name)]
        if not matching:
            raise UnknownNameError("backbone", name, known)
        chosen += matching
    return features.describe(chosen)
