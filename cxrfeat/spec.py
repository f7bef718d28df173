"""What decides the meaning of an embedding, and its fingerprint.

A spec is a plain JSON object: backbone, layer, pooling, weights, image reading, preprocessing,
image size and precision. Batch size, device and number of workers are left out, because they do
not change what a number means. Two files may be mixed exactly when their fingerprints are equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]

OUTSIDE = "outside"
"""The ``origin`` of numbers that cxrfeat did not compute; ours say none."""


def made_elsewhere(spec: Spec) -> bool:
    """Whether embeddings of this spec were not computed by cxrfeat, so that none can be added."""
    return spec.get("origin") == OUTSIDE


def stated_name(spec: Spec) -> str:
    """Return what a user called the encoder of embeddings that were made elsewhere; "" if not."""
    stated = spec.get("encoder")
    return str(stated.get("name", "")) if isinstance(stated, Mapping) else ""


def canonical_json(spec: Spec) -> str:
    """Write a spec as the one JSON text that its fingerprint is taken over.

    Keys are sorted, there is no white space, and characters beyond ASCII are escaped, so that
    the text does not depend on who wrote it.
    """
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(spec: Spec) -> str:
    """Return the sha256 of the canonical spec, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def difference(ours: Spec, theirs: Spec) -> list[str]:
    """Name every entry in which two specs differ, one line each.

    Returns
    -------
    list of str
        E.g. ``["pooling: avg here, max there"]``; empty when the specs are equal.
    """
    left, right = dict(_leaves(ours)), dict(_leaves(theirs))
    lines = []
    for key in sorted(left.keys() | right.keys()):
        here, there = left.get(key, "(absent)"), right.get(key, "(absent)")
        if here != there:
            lines.append(f"{key}: {here} here, {there} there")
    return lines


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, sort_keys=True)
