"""Follow every source of a checklist into the file it names, by other means than the checklist.

JSON and HDF5 are read with json and h5py alone.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cxrfeat import model
from cxrfeat.results import ChecklistItem

NOTHING = ("none", "not known", "unknown", "no second extractor", "undefined", "no finding")


def untraceable(items: list[ChecklistItem], run: Path, base: Path) -> list[str]:
    """Name every source that does not exist, or whose value the item does not hold."""
    wrong = []
    for item in items:
        for source in filter(None, item.source.split("; ")):
            file, _, key = source.partition(": ")
            try:
                value = _read(base / file if file.endswith(".h5") else run / file, key)
            except (LookupError, OSError, TypeError) as error:
                wrong.append(f"{item.guideline} {item.item}: {source}: {error!r}")
                continue
            wrong += [
                f"{item.guideline} {item.item}: {source} is {leaf!r}: {item.value}"
                for leaf in _leaves(value)
                if not _stands_in(leaf, item.value)
            ]
    return wrong


def _read(path: Path, key: str) -> Any:
    if path.suffix == ".json":
        return _walk(json.loads(path.read_text()), key)
    if path.suffix == ".skops":
        return _walk(vars(model.load(path)), key)
    with h5py.File(path) as file:
        return _walk(_told(file), key)


def _told(file: h5py.File) -> dict[str, Any]:
    status = file["status"][...]
    reasons = file["error"].asstr()[...]
    labels = file["labels"]
    return {
        "/embeddings": dict(zip(("rows", "dimension"), file["embeddings"].shape, strict=True)),
        "/status": {
            "pending": int((status == 0).sum()),
            "done": int((status == 1).sum()),
            "failed": int((status == 2).sum()),
        },
        "/error": dict(Counter(text.split(":")[0] for text in reasons[status == 2])),
        "/labels": dict(
            zip(labels.attrs["names"], np.nansum(labels[...], axis=0).astype(int), strict=True)
        ),
        "/meta": {name: len(set(column.asstr()[...])) for name, column in file["meta"].items()},
        "spec": json.loads(file.attrs["spec"]),
        "environment": json.loads(file.attrs["environment"]),
        "fingerprint": file.attrs["fingerprint"],
        "created": file.attrs["created"],
    }


def _walk(value: Any, key: str) -> Any:
    while key:
        if found := re.match(r"\[(.*?)\]", key):
            inside, rest = found[1], key[found.end() :].removeprefix(".")
            if inside == "*":
                return [_walk(item, rest) for item in value]
            if inside.startswith("*"):
                name, said = inside[1:].split("=")
                return [_walk(item, rest) for item in value if item[name] == said]
            if "=" in inside:
                name, said = inside.split("=")
                value = next(item for item in value if item[name] == said)
            else:
                value = value[int(inside)]
            key = rest
        else:
            name, key = re.match(r"([^.\[]+)\.?(.*)", key).groups()  # type: ignore[union-attr]
            value = value[name]
    return value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield name
            yield from _leaves(item)
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from _leaves(item)
    else:
        yield value if not isinstance(value, dict | list | tuple) else None


def _stands_in(leaf: Any, text: str) -> bool:
    if leaf is None:
        return any(word in text for word in NOTHING)
    if isinstance(leaf, bool):
        return ("yes" if leaf else "no") in re.findall(r"\w+", text)
    if isinstance(leaf, str):
        return leaf in text
    for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?", text):
        digits, _, power = number.partition("e")
        step = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
        whole = isinstance(leaf, int | np.integer)
        if abs(float(number) - leaf) <= (0 if whole else step / 2 * 1.001):
            return True
    return False
