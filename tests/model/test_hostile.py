"""Files that were made to do harm: refused in one line, and nothing of them runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.svm import SVC

from cxrfeat import model
from cxrfeat.errors import FileFormatError
from cxrfeat.estimators import BoostedTrees
from tests.model.test_file import fitted

MARKER = "executed"
EVIL_MODULE = (
    f"from pathlib import Path\nPath({MARKER!r}).write_text('imported')\nclass Thing: pass\n"
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, from which a module that leaves a mark can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("evil_module.py").write_text(EVIL_MODULE)


def parts_of(path: str) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile("m.skops", "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def with_schema(change: Callable[[dict[str, Any]], None], **options: Any) -> None:
    """Save a good model, then change its JSON."""
    model.save("m.skops", fitted(**options))
    parts = parts_of("m.skops")
    schema = json.loads(parts["schema.json"])
    change(schema)
    parts["schema.json"] = json.dumps(schema).encode()
    rewrite(parts)


def with_about(**changes: Any) -> None:
    def change(schema: dict[str, Any]) -> None:
        node = schema["content"]["about"]
        about = json.loads(json.loads(node["content"])) | changes
        node["content"] = json.dumps(json.dumps(about))

    with_schema(change)


def refused(words: str) -> None:
    with pytest.raises(FileFormatError, match=words) as caught:
        model.load("m.skops")
    assert "\n" not in str(caught.value)
    assert not Path(MARKER).exists()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"echo run > {MARKER}",))


def test_the_mark_would_be_left_if_anything_ran() -> None:
    pickle.loads(pickle.dumps(Evil()))
    assert Path(MARKER).exists()


def test_a_pickle_called_skops_is_refused_and_not_executed() -> None:
    Path("m.skops").write_bytes(pickle.dumps(Evil()))
    refused("not a model file")


def test_a_type_from_elsewhere_is_refused_before_its_module_is_imported() -> None:
    def change(schema: dict[str, Any]) -> None:
        node = schema["content"]["estimator"]
        node["__class__"], node["__module__"] = "Thing", "evil_module"

    with_schema(change)
    refused(r"evil_module\.Thing, which is not trusted: it was not loaded")


def test_a_type_hidden_deep_inside_is_refused_too() -> None:
    def change(schema: dict[str, Any]) -> None:
        inside = schema["content"]["estimator"]["content"]["content"]
        inside["coef_"] = {
            "__class__": "Thing", "__module__": "evil_module", "__loader__": "TypeNode",
        }  # fmt: skip

    with_schema(change)
    refused("evil_module")


@pytest.mark.parametrize(
    "loader",
    ["FunctionNode", "MethodNode", "PartialNode", "OperatorFuncNode", "ConstructorFromReduceNode"],
)
def test_nodes_that_name_functions_are_refused_whatever_they_name(loader: str) -> None:
    def change(schema: dict[str, Any]) -> None:
        schema["content"]["estimator"] = {
            "__class__": "system", "__module__": "os", "__loader__": loader,
            "content": {"func": "system", "obj": {}}, "attrs": {},
        }  # fmt: skip

    with_schema(change)
    refused(f"holds a {loader}, which a model never has")


def test_an_array_of_pickled_objects_is_refused_and_not_unpickled() -> None:
    model.save("m.skops", fitted())
    parts = parts_of("m.skops")
    evil = io.BytesIO()
    np.save(evil, np.array([Evil()], dtype=object), allow_pickle=True)
    name = next(name for name in parts if name.endswith(".npy"))
    rewrite({**parts, name: evil.getvalue()})
    refused("an array is not of the size it claims")


def test_an_array_that_claims_more_than_there_is_takes_no_memory() -> None:
    model.save("m.skops", fitted())
    parts = parts_of("m.skops")
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
    )
    name = next(name for name in parts if name.endswith(".npy"))
    rewrite({**parts, name: huge.getvalue()})
    refused("an array is not of the size it claims")


def test_a_packed_archive_is_refused_however_much_it_would_unpack_to() -> None:
    model.save("m.skops", fitted())
    parts = parts_of("m.skops")
    parts["schema.json"] += b" " * 50_000_000
    rewrite(parts, zipfile.ZIP_DEFLATED)
    assert Path("m.skops").stat().st_size < 200_000
    refused("it is packed, which a model never is")


def test_other_files_in_the_archive_are_refused() -> None:
    model.save("m.skops", fitted())
    rewrite(parts_of("m.skops") | {"../evil.py": b"x"})
    refused("holds files that a model never has")


def test_a_schema_nested_beyond_reason_is_refused() -> None:
    model.save("m.skops", fitted())
    rewrite(parts_of("m.skops") | {"schema.json": b"[" * 200_000})
    refused("not a model file")


def test_a_changed_fingerprint_or_spec_is_refused() -> None:
    with_about(fingerprint="0" * 64)
    refused("was changed after it was made")
    with_about(spec={"backbone": "resnet50"})
    refused("was changed after it was made")


@pytest.mark.parametrize(
    "changes",
    [
        {"dimension": "2"}, {"dimension": 0}, {"classes": []}, {"classes": [1, 2]}, {"kind": "x"},
        {"thresholds": {"clear": "high"}}, {"versions": {"skops": 1}}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_plain_data_of_the_wrong_kind_is_refused(changes: dict[str, Any]) -> None:
    with_about(**changes)
    refused("not a model file of cxrfeat, or is damaged")


X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def test_a_tree_that_leads_nowhere_is_refused_before_it_is_walked() -> None:
    forest = ExtraTreesClassifier(3, random_state=0).fit(X, Y)
    model.save("m.skops", fitted(estimator=forest))
    model.load("m.skops")
    for field, value in (("left_child", 10**6), ("left_child", 0), ("feature", 7)):
        model.save("m.skops", fitted(estimator=forest))
        parts = parts_of("m.skops")
        for name, content in parts.items():
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(content))
                if array.dtype.names and field in array.dtype.names:
                    array[field][0] = value
                    changed = io.BytesIO()
                    np.save(changed, array)
                    parts[name] = changed.getvalue()
        rewrite(parts)
        refused("a tree (has a child that is not below|asks for a channel)")


@pytest.mark.parametrize(
    ("entry", "value"),
    [("left_children", 10**6), ("left_children", 0), ("split_indices", 9), ("split_type", 1)],
)
def test_a_booster_that_leads_nowhere_is_refused_before_it_is_walked(
    entry: str, value: int
) -> None:
    trees = BoostedTrees(5).fit(X, Y)
    model.save("m.skops", fitted(estimator=trees))
    model.load("m.skops")
    document = json.loads(trees.booster_json_)
    document["learner"]["gradient_booster"]["model"]["trees"][0][entry][0] = value
    trees.booster_json_ = json.dumps(document)
    model.save("m.skops", fitted(estimator=trees))
    refused("a tree (has|asks)")


def test_support_vectors_that_do_not_belong_together_are_refused() -> None:
    machine = SVC().fit(X, Y)
    model.save("m.skops", fitted(estimator=machine))
    model.load("m.skops")
    machine._dual_coef_ = machine._dual_coef_[:, :3]
    model.save("m.skops", fitted(estimator=machine))
    refused("support vectors do not belong together")
