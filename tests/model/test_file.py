from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from cxrfeat import model
from cxrfeat.errors import CxrfeatError, FileFormatError, InputError, StorageError
from cxrfeat.spec import fingerprint


def fitted(**changes: object) -> model.Model:
    X = np.array([[0.0, 1.0], [1.0, 0.0]] * 5, dtype=np.float32)
    values: dict[str, object] = {
        "estimator": LogisticRegression().fit(X, [0, 1] * 5),
        "head": "logreg",
        "classes": ["clear", "opaque"],
        "kind": "multiclass",
        "extractor": "vgg16",
        "spec": {"backbone": "vgg16"},
        "fingerprint": fingerprint({"backbone": "vgg16"}),
        "dimension": 2,
    }
    return model.Model(**(values | changes))  # type: ignore[arg-type]


def test_everything_about_a_model_comes_back(tmp_path: Path) -> None:
    before = fitted(
        training={"images": 10, "scores": {"auroc": 0.9}},
        thresholds={"clear": 0.4, "opaque": 0.625},
        reference={"training": np.arange(3.0), "rest": 0.5},
    )
    model.save(tmp_path / "m.skops", before)
    after = model.load(tmp_path / "m.skops")
    for name in ("head", "classes", "kind", "extractor", "spec", "fingerprint", "dimension"):
        assert getattr(after, name) == getattr(before, name)
    assert after.thresholds == before.thresholds
    assert after.reference is not None
    np.testing.assert_array_equal(after.reference["training"], [0.0, 1.0, 2.0])
    assert after.notes == []
    assert after.training == before.training
    assert after.versions == model.installed_versions()


def test_a_model_is_loaded_and_saved_without_torch(tmp_path: Path) -> None:
    """Scikit-learn's packages, which skops lists, import it."""
    model.save(tmp_path / "m.skops", fitted())
    code = (
        "import sys\n"
        "from cxrfeat import model\n"
        "model.save('again.skops', model.load('m.skops'))\n"
        "print('torch' in sys.modules)\n"
        "import torch\n"
        "from sklearn.externals.array_api_compat import torch as its_own\n"
        "print(its_own.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "sklearn.externals.array_api_compat.torch"]


def test_embeddings_of_another_dimension_are_refused() -> None:
    with pytest.raises(InputError, match="takes embeddings of 2 numbers, got shape"):
        fitted().predict_proba(np.zeros((1, 3), np.float32))


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
    monkeypatch.setattr("cxrfeat.model.file.FORMAT_VERSION", model.file.FORMAT_VERSION + 1)
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


def probed(**changes: object) -> model.Model:
    made = fitted(**changes)
    X = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    probe = {"embeddings": X, "probabilities": made.predict_proba(X)}
    return fitted(probe=probe, **changes)


def versions(**changes: str) -> dict[str, str]:
    return model.installed_versions() | {k.replace("_", "-"): v for k, v in changes.items()}


def minor(text: str, step: int) -> str:
    first, second, *rest = text.split(".")
    return ".".join([first, str(int(second) + step), *rest])


def test_another_patch_of_scikit_learn_is_nothing_to_mention(tmp_path: Path) -> None:
    here = model.installed_versions()["scikit-learn"].split(".")
    model.save(
        tmp_path / "m.skops", probed(versions=versions(scikit_learn=f"{here[0]}.{here[1]}.99"))
    )
    assert model.load(tmp_path / "m.skops").notes == []


@pytest.mark.parametrize("step", [-1, 1])
def test_another_minor_version_of_scikit_learn_is_a_note_that_the_caller_gets(
    tmp_path: Path, step: int
) -> None:
    other = minor(model.installed_versions()["scikit-learn"], step)
    model.save(tmp_path / "m.skops", probed(versions=versions(scikit_learn=other)))
    (note,) = model.load(tmp_path / "m.skops").notes
    assert f"made with scikit-learn {other}" in note
    assert "the same probabilities as then at 2 recorded embeddings" in note


def test_an_older_estimator_inside_warns_nobody_behind_the_notes(tmp_path: Path) -> None:
    """scikit-learn's own InconsistentVersionWarning would be an error in these tests."""
    made = fitted()
    made.estimator.__dict__["_sklearn_version"] = "1.0"
    model.save(tmp_path / "m.skops", made)
    model.load(tmp_path / "m.skops")


def test_a_model_that_gives_other_probabilities_than_when_it_was_made_is_refused(
    tmp_path: Path,
) -> None:
    good = probed(versions=versions(scikit_learn="1.2.3"))
    assert good.probe is not None
    wrong = {**good.probe, "probabilities": good.probe["probabilities"][:, ::-1]}
    model.save(tmp_path / "m.skops", fitted(probe=wrong, versions=versions(scikit_learn="1.2.3")))
    with pytest.raises(
        FileFormatError, match=r"other probabilities.*made with scikit-learn 1\.2\.3"
    ):
        model.load(tmp_path / "m.skops")
