"""What a model file may be made of, checked before anything is built from it.

A model file is a skops archive: a zip of one JSON text and arrays in NumPy's format. skops has a
list of types it trusts and refuses others before it builds anything. The rules here are narrower
still, and are about the archive, not the types: no packed entries, no other kinds of entry, no
kinds of node that name a function.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from numpy.lib import format as npy

NODES = frozenset(
    (
        *("CachedNode", "DTypeNode", "DictNode", "JsonNode", "ListNode", "LossNode"),
        *("NdArrayNode", "ObjectNode", "RandomStateNode", "SetNode", "TreeNode", "TupleNode"),
        "TypeNode",
    )
)
"""Kinds of skops node that a fitted classifier needs. Those for functions, methods and calls are
not among them."""

_ENTRY = re.compile(r"schema\.json|\d+\.npy")


def read_schema(content: bytes) -> dict[str, Any]:
    """Check an archive and return its JSON; nothing is built.

    Raises
    ------
    ValueError, KeyError, TypeError, zipfile.BadZipFile
        Not such an archive, or one with anything in it that a model never has.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _check_entries(archive, len(content))
        schema = json.loads(archive.read("schema.json"))
        for node in _nodes(schema):
            if node["__loader__"] not in NODES:
                raise ValueError(f"it holds a {node['__loader__']}, which a model never has")
    return dict(schema)


def text_of(schema: dict[str, Any], name: str) -> Any:
    """Return what the archive's outermost dictionary holds under a name as plain JSON."""
    node = schema["content"][name]
    if node["__loader__"] != "JsonNode":
        raise ValueError(f"'{name}' is not plain data")
    return json.loads(node["content"])


def with_types_moved(content: bytes, moved: Mapping[str, str]) -> bytes:
    """Rewrite a checked archive so that types that stood elsewhere are found where they are now.

    Parameters
    ----------
    moved
        From the ``module.Class`` that an archive may name to the one that is there.

    Returns
    -------
    bytes
        The archive as it was where it names none of them.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
        old = [node for node in _nodes(schema) if _type_of(node) in moved]
        if not old:
            return content
        for node in old:
            node["__module__"], _, node["__class__"] = moved[_type_of(node)].rpartition(".")
        rewritten = io.BytesIO()
        with zipfile.ZipFile(rewritten, "w") as into:
            for name in archive.namelist():
                whole = json.dumps(schema) if name == "schema.json" else archive.read(name)
                into.writestr(name, whole)
    return rewritten.getvalue()


def _type_of(node: Mapping[str, Any]) -> str:
    return f"{node.get('__module__')}.{node.get('__class__')}"


def _check_entries(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse what could take more memory than the file is long."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names) or not all(_ENTRY.fullmatch(name) for name in names):
        raise ValueError("it holds files that a model never has")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is packed, which a model never is")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("it claims to hold more than the file is long")
    for entry in entries:
        if entry.filename.endswith(".npy"):
            with archive.open(entry) as file:
                version = npy.read_magic(file)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read(file)
                count = 1
                for side in shape:
                    count *= int(side)
                if dtype.hasobject or file.tell() + count * dtype.itemsize != entry.file_size:
                    raise ValueError("an array is not of the size it claims")


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Walk every node of a schema, however deep, without recursion."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "__loader__" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
