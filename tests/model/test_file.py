from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from cxrfeat import model
from cxrfeat.errors import CxrfeatError, FileFormatError, InputError, StorageError


def fitted(**changes: object) -> model.Model:
    X = np.array([[0.0, 1.0], [1.0, 0.0]] * 5, dtype=np.float32)
    values: dict[str, object] = {
        "estimator": LogisticRegression().fit(X, [0, 1] * 5),
        "head": "logreg",
        "classes": ["clear", "opaque"],
        "kind": "multiclass",
        "extractor": "vgg16",
        "spec": {"backbone": "vgg16"},
        "fingerprint": "f" * 64,
        "dimension": 2,
    }
    return model.Model(**(values | changes))  # type: ignore[arg-type]


def test_everything_about_a_model_comes_back(tmp_path: Path) -> None:
    before = fitted(training={"images": 10, "scores": {"auroc": 0.9}})
    model.save(tmp_path / "m.skops", before)
    after = model.load(tmp_path / "m.skops")
    for name in ("head", "classes", "kind", "extractor", "spec", "fingerprint", "dimension"):
        assert getattr(after, name) == getattr(before, name)
    assert after.training == before.training
    assert after.versions == model.installed_versions()


def test_embeddings_of_another_dimension_are_refused() -> None:
    with pytest.raises(InputError, match="takes embeddings of 2 numbers, got shape"):
        fitted().predict_proba(np.zeros((1, 3), np.float32))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (Path.write_text, (Path("executed"), "yes"))


def test_a_pickle_is_refused_and_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.skops").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(FileFormatError, match="not a model file"):
        model.load("m.skops")
    assert not Path("executed").exists()


def test_an_archive_that_names_another_function_is_refused_and_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model.save("m.skops", fitted())
    with zipfile.ZipFile("m.skops") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    text = json.dumps(schema).replace('"LogisticRegression"', '"Evil"')
    text = text.replace("sklearn.linear_model._logistic", __name__)
    parts["schema.json"] = text.encode()
    with zipfile.ZipFile("m.skops", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(FileFormatError, match="not trusted: it was not loaded"):
        model.load("m.skops")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, share: float) -> None:
    path = tmp_path / "m.skops"
    model.save(path, fitted())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileFormatError) as caught:
        model.load(path)
    assert "\n" not in str(caught.value)


def test_a_skops_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    skops.io.dump({"a": 1}, tmp_path / "m.skops")
    with pytest.raises(FileFormatError, match="not a model file of cxrfeat"):
        model.load(tmp_path / "m.skops")


def test_a_model_of_a_later_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrfeat.model.file.FORMAT_VERSION", 2)
    model.save(tmp_path / "m.skops", fitted())
    monkeypatch.undo()
    with pytest.raises(FileFormatError, match="another format or version"):
        model.load(tmp_path / "m.skops")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        model.load(tmp_path / "none.skops")


class Foreign(LogisticRegression):
    pass


def test_an_estimator_that_could_not_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Foreign"):
        model.save(tmp_path / "m.skops", fitted(estimator=Foreign()))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        model.save(tmp_path / "missing" / "m.skops", fitted())
    assert issubclass(StorageError, CxrfeatError)
