"""Embeddings of other programs stand beside ours in one comparison, and never pass for ours."""

from __future__ import annotations

import csv as csv_format
import json
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import cxrfeat
from cxrfeat.cli import app
from cxrfeat.commands.import_ import import_
from cxrfeat.errors import InputError, MadeElsewhereError, SpecMismatchError
from cxrfeat.pages.tables import files as files_table
from cxrfeat.spec import made_elsewhere
from cxrfeat.store import load, verify
from tests.evaluation.made import CLASSES, blobs, write_file

N, D = 60, 8
IDS = [f"{'train' if i % 4 else 'val'}/{CLASSES[i % 3]}/img-{i:03d}.png" for i in range(N)]
SHA256 = {id_: f"{i:064x}" for i, id_ in enumerate(IDS)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("embeddings").mkdir()
    return tmp_path


@pytest.fixture
def ours(folder: Path) -> Path:
    """The file of our own extractor, with classes, patients and the sha256 of each image."""
    X, y = numbers(0)
    return write_file(
        Path("embeddings/vgg16.h5"), X, y, ids=IDS, sha=SHA256,
        meta={"group": [f"p{i // 2}" for i in range(N)], "view": ["PA"] * N},
    )  # fmt: skip


def numbers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    X, _ = blobs(N, D, distance=0.0, seed=seed)
    y = np.arange(N) % 3
    X[:, :3] += 5 * np.eye(3, dtype=np.float32)[y]
    return X, y


def stem(id_: str) -> str:
    return Path(id_).stem


def csv(path: Path, ids: list[str], X: np.ndarray, **columns: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_format.writer(file)
        writer.writerow(["image", *columns, *(f"f{i}" for i in range(X.shape[1]))])
        cells = [*columns.values()]
        for row, id_ in enumerate(ids):
            writer.writerow([id_, *(one[row] for one in cells), *map(repr, X[row].tolist())])
    return path


def written(kind: str) -> Path:
    """One extractor's rows in the layout of a format, by stem or path, without ours."""
    X, _ = numbers(seed=len(kind))
    if kind == "csv":
        return csv(Path("own.csv"), list(map(stem, IDS)), X)
    if kind == "npz":
        np.savez("own.npz", features=X, ids=np.array([SHA256[id_] for id_ in IDS]))
        return Path("own.npz")
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="needs cxrfeat[parquet]")
        import pyarrow

        parquet.write_table(pyarrow.table({"path": IDS, "embedding": X.tolist()}), "own.parquet")
        return Path("own.parquet")
    for id_, row in zip(IDS, X, strict=True):
        Path("trident").mkdir(exist_ok=True)
        with h5py.File(f"trident/{stem(id_)}.h5", "w") as file:
            file["features"], file["coords"] = row, np.zeros((4, 2))
    return Path("trident")


def test_four_formats_and_our_own_file_are_compared_on_one_page(ours: Path) -> None:
    for kind in ("csv", "npz", "parquet", "trident"):
        made = import_(written(kind), name=kind, like=ours, encoder=f"encoder of {kind}")
        assert (made.rows, made.unmatched, made.images_without_row) == (N, [], [])
        with load(made.path) as e:
            assert e.ids == IDS
            np.testing.assert_array_equal(e.numpy(), numbers(seed=len(kind))[0])
            assert e.sha256 == list(SHA256.values())
            assert (e.classes, e.meta["group"].tolist()[:3]) == (CLASSES, ["p0", "p0", "p1"])
        assert verify(made.path).sound
    result = cxrfeat.fit("embeddings", head=["logreg"], cv=3, report=False)
    assert {score.extractor for score in result.ranking} == {
        *("vgg16", "csv", "npz", "parquet", "trident")
    }
    assert result.patients == N // 2
    assert not [note for note in result.notes if "left out" in note]
    listed = [[cell.text for cell in row] for row in files_table(result.as_json()).rows]
    assert ["npz", "encoder of npz (imported)"] in [row[:2] for row in listed]
    card = (result.run / "model_card.md").read_text(encoding="utf-8")
    if result.winner["extractor"] != "vgg16":
        assert f"encoder of {result.winner['extractor']}" in card
        assert "photographs" not in card


def test_ids_that_do_not_match_are_listed(ours: Path) -> None:
    X, _ = numbers(1)
    ids = [*map(stem, IDS[:-2]), "unknown-1", "unknown-2"]
    made = import_(csv(Path("own.csv"), ids, X), like=ours)
    assert made.unmatched == ["unknown-1", "unknown-2"]
    assert made.images_without_row == IDS[-2:]
    assert made.rows == N - 2
    done = CliRunner().invoke(app, ["import", "own.csv", "--like", str(ours)])
    assert done.exit_code == 0, done.output
    assert "2 row(s) are of no image of it and left out ('unknown-1', 'unknown-2')" in done.output
    told = CliRunner().invoke(app, ["import", "own.csv", "--like", str(ours), "--json"])
    assert json.loads(told.stdout)["unmatched"] == ["unknown-1", "unknown-2"]


def broken(kind: str, X: np.ndarray) -> tuple[list[str], list[str]]:
    """Options of a command that ends with one line, and words of that line."""
    ids = list(map(stem, IDS))
    if kind == "nan":
        X[3, 0], X[5, 1] = np.nan, np.inf
        csv(Path("own.csv"), ids, X)
        return ["own.csv"], ["own.csv", "2 of 60 rows", "'img-003', 'img-005'"]
    if kind == "twice":
        csv(Path("own.csv"), [*ids[:-1], ids[0]], X)
        return ["own.csv"], ["own.csv", "1 ids stand twice", "'img-000'"]
    if kind == "text":
        path = csv(Path("own.csv"), ids, X)
        lines = path.read_text().splitlines()
        lines[4] = "img-003,a,b" + "," * (D - 2) + "c"
        path.write_text("\n".join(lines))
        return ["own.csv"], ["column 'f0'", "row 5", "'a'"]
    if kind == "dimensions":
        csv(Path("own.csv"), ids[:30], X[:30])
        csv(Path("more.csv"), ids[30:], X[30:, :5])
        return ["own.csv", "more.csv"], ["'more.csv' has 5 numbers a row", "8"]
    if kind == "ids":
        np.save("own.npy", X)
        Path("ids.txt").write_text("\n".join(ids[:-1]))
        return ["own.npy", "--ids", "ids.txt"], ["59 ids", "60 rows"]
    Path("own.csv").write_bytes(b"")
    return ["own.csv"], ["'own.csv' is empty"]


@pytest.mark.parametrize("kind", ["nan", "twice", "text", "dimensions", "ids", "empty"])
def test_what_is_wrong_is_one_line_and_exit_code_2(kind: str) -> None:
    arguments, words = broken(kind, numbers(0)[0])
    done = CliRunner().invoke(app, ["import", *arguments, "--name", "own"])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert not list(Path("embeddings").iterdir())


def test_the_spec_says_that_the_numbers_came_from_outside() -> None:
    X, _ = numbers(0)
    made = import_(
        csv(Path("own.csv"), IDS, X), encoder="RAD-DINO", preprocessing="518 px",
        pretraining=["MIMIC-CXR"], licence="MIT",
    )  # fmt: skip
    with load(made.path) as e:
        assert made_elsewhere(e.spec)
        assert e.spec["source"]["format"] == "CSV"
        assert len(e.spec["source"]["sha256"]) == 64
        assert e.spec["encoder"] == {
            "name": "RAD-DINO", "preprocessing": "518 px", "pretraining": ["MIMIC-CXR"],
            "licence": "MIT",
        }  # fmt: skip
        assert e.environments[0]["imported_from"] == "own.csv"
        first = e.fingerprint
    X[0, 0] += 1
    other = import_(csv(Path("other.csv"), IDS, X), encoder="RAD-DINO")
    assert other.fingerprint != first


def test_labels_come_from_the_file_a_table_or_the_folders_in_ids(ours: Path) -> None:
    X, _ = numbers(0)
    said = [CLASSES[(i + 1) % 3] for i in range(N)]
    own = csv(Path("own.csv"), IDS, X, finding=said, patient=[f"q{i // 3}" for i in range(N)])
    made = import_(own, name="own")
    with load(made.path) as e:
        assert (e.classes, made.groups) == (CLASSES, N // 3)
        assert [CLASSES[i] for i in e.labels.argmax(axis=1)] == sorted_by_id(said)
    Path("labels.csv").write_text(
        "file,label\n" + "\n".join(f"{id_},{i % 2}" for i, id_ in enumerate(IDS[:40]))
    )
    made = import_(own, name="table", labels="labels.csv", label_column="label")
    assert (made.rows, made.classes) == (40, {"0": 20, "1": 20})
    assert made.unmatched == IDS[40:]
    bare = csv(Path("bare.csv"), IDS, X)
    made = import_(bare, name="folders")
    assert made.classes == dict.fromkeys(CLASSES, 20)
    assert import_(bare, name="positive", positive="opaque").classes == {
        "not opaque": 40,
        "opaque": 20,
    }


def sorted_by_id(values: list[str]) -> list[str]:
    return [value for _, value in sorted(zip(IDS, values, strict=True))]


def test_a_sha256_in_capitals_names_the_same_image(folder: Path) -> None:
    digests = [f"{i:064x}".replace("0", "A") for i in range(4)]
    np.savez("own.npz", X=numbers(1)[0][:4], ids=IDS[:4], sha256=digests)
    with load(import_("own.npz").path) as file:
        assert file.sha256 == [one.lower() for one in digests]


def test_importing_again_never_loses_or_changes_a_number(ours: Path) -> None:
    X, _ = numbers(0)
    own = csv(Path("own.csv"), list(map(stem, IDS)), X)
    made = import_(own, like=ours)
    before = made.path.read_bytes()
    changed = csv(Path("changed.csv"), list(map(stem, IDS)), X + 1)
    with pytest.raises(SpecMismatchError, match=r"source.sha256 differ.*choose another file"):
        import_(changed, name="own", like=ours)
    with pytest.raises(SpecMismatchError):
        import_(own, name="vgg16", like=ours)
    assert made.path.read_bytes() == before
    again = import_(own, like=ours)
    assert again.changes.reused == N
    write_file(ours, numbers(0)[0][:40], numbers(0)[1][:40], ids=IDS[:40])
    fewer = import_(own, like=ours)
    with load(made.path) as e:
        assert (fewer.changes.gone, int(e.gone.sum()), len(e)) == (20, 20, N)
        np.testing.assert_array_equal(e.numpy(IDS), X)
    import_(own, like=ours, prune=True)
    with load(made.path) as e:
        assert len(e) == 40


def test_a_model_of_imported_embeddings_refuses_images_and_takes_their_like(ours: Path) -> None:
    X, _ = numbers(0)
    own = import_(csv(Path("own.csv"), IDS, X), encoder="RAD-DINO", out="one").path
    result = cxrfeat.fit(own, head=["logreg"], cv=3, report=False)
    images = Path("images")
    images.mkdir()
    from PIL import Image

    Image.fromarray(np.zeros((40, 40), np.uint8)).save(images / "1.png")
    for refuses in (cxrfeat.predict, cxrfeat.explain):
        with pytest.raises(MadeElsewhereError, match=r"imported \(of RAD-DINO\).*--same-as"):
            refuses(result.run / "model.skops", images)
    command = ["predict", str(result.run / "model.skops"), str(images)]
    assert CliRunner().invoke(app, command).exit_code == 2

    new = csv(Path("new.csv"), [f"new/{i}.png" for i in range(N)], X + 0.01)
    with pytest.raises(SpecMismatchError):
        cxrfeat.predict(
            result.run / "model.skops", import_(new, out="two", encoder="RAD-DINO").path
        )
    outside = import_(new, name="own", out="outside", same_as=own)
    predicted = cxrfeat.predict(result.run / "model.skops", outside.path)
    assert len(predicted.predictions) == N
    with load(outside.path) as e:
        assert e.environments[0]["imported_from"] == "new.csv"
    with pytest.raises(InputError, match="cxrfeat computed that file itself"):
        import_(new, name="x", same_as=ours)


def test_a_model_of_ours_and_an_import_together_takes_files_of_both(ours: Path) -> None:
    own = import_(csv(Path("own.csv"), IDS, numbers(1)[0])).path  # whose images it does not know
    result = cxrfeat.fit([ours, own], head="logreg", cv=3, combine="vgg16+own", report=False)
    predicted = cxrfeat.predict(result.run / "model.skops", [own, ours])
    assert len(predicted.predictions) == N


def test_what_looks_after_files_takes_an_import(ours: Path) -> None:
    X, _ = numbers(0)
    own = csv(Path("own.csv"), list(map(stem, IDS)), X)
    whole = import_(own, like=ours)
    Path("parts").mkdir()
    for part, rows in (("a", slice(0, 30)), ("b", slice(20, N))):
        write_file(Path(f"{part}.h5"), X[rows], None, ids=IDS[rows])
        import_(own, name=part, out="parts", like=f"{part}.h5")
    merged = cxrfeat.merge(["parts/a.h5", "parts/b.h5"], out="merged.h5")
    assert (merged.rows, merged.shared) == (N, 10)
    exported = cxrfeat.export(whole.path, to="npz")
    back = import_(exported.path, name="back", out="back")
    with load(back.path) as e, load(whole.path) as one:
        np.testing.assert_array_equal(e.numpy(IDS), X)
        assert (e.classes, e.kind) == (one.classes, one.kind)
        assert dict(zip(e.ids, e.sha256, strict=True)) == SHA256
        assert sorted(e.meta) == ["group", "split", "view"]  # the split is that of the folders


def test_an_audit_knows_what_an_imported_encoder_was_trained_on(folder: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for id_ in IDS:
        path = folder / "images" / id_
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 40), np.uint8)).save(path)
    made = import_(
        csv(Path("own.csv"), IDS, numbers(0)[0]), encoder="E", pretraining=["NIH ChestX-ray14"]
    )
    found = cxrfeat.audit(
        made.path, images="images", collection=["NIH ChestX-ray14"], quick=False, jobs=1
    )
    checks = {check.code: check for check in found.checks}
    assert checks["pretraining:own"].verdict == "found"
    assert "were imported (of E)" in checks["controls-through-network"].answer


def test_a_kill_leaves_no_half_file(ours: Path) -> None:
    X = np.random.default_rng(0).random((400, 2000), dtype=np.float32)
    np.savez("big.npz", features=X, ids=np.array([f"{i}" for i in range(400)]))
    program = (
        "import os, signal\n"
        "from cxrfeat.store import whole_file\n"
        "fill = whole_file.checksums\n"
        "def then_die(*arguments):\n"
        "    fill(*arguments)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "whole_file.checksums = then_die\n"
        "import cxrfeat\n"
        "cxrfeat.import_('big.npz')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not Path("embeddings/big.h5").exists()
    assert import_("big.npz").rows == 400
    assert verify("embeddings/big.h5").sound
    assert sorted(path.name for path in Path("embeddings").iterdir()) == ["big.h5", "vgg16.h5"]


def test_pictures_of_images_whose_bytes_are_not_known_are_found_by_their_ids(
    folder: Path,
) -> None:
    from PIL import Image

    from cxrfeat.reporting.thumbnails import Radiographs

    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "1.png")
    jpegs, notes = Radiographs(["1.png"], {0: 0}, [folder], {"1.png": ""}, None, None).jpegs(10**6)
    assert (list(jpegs), notes) == ([0], [])
    jpegs, notes = Radiographs(["1.png"], {0: 0}, [folder], {"1.png": "0" * 64}, None, None).jpegs(
        10**6
    )
    assert (list(jpegs), notes) == (
        [],
        ["1 images without thumbnail: no longer what was extracted"],
    )


def features_of(path: Path, side: int) -> np.ndarray:
    """Grey values and their spread: what any other program could compute."""
    from PIL import Image

    with Image.open(path) as opened:
        grey = np.asarray(opened.convert("L").resize((side, side)), dtype=np.float32) / 255
    return np.concatenate([grey.reshape(-1), np.histogram(grey, bins=16, range=(0, 1))[0]])


@pytest.mark.slow
def test_the_317_radiographs_of_four_formats_stand_beside_vgg16(
    folder: Path, radiographs: Path, vgg16_weights: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs cxrfeat[parquet]")
    import pyarrow

    cxrfeat.extract(radiographs, backbone=["vgg16"], weights=[str(vgg16_weights)], image_size=64)
    ours = Path("embeddings/vgg16-64.h5")
    paths = sorted(path for path in radiographs.rglob("*.*") if path.suffix != ".md")
    ids = [path.relative_to(radiographs).as_posix() for path in paths]
    X = {side: np.stack([features_of(path, side) for path in paths]) for side in (4, 8, 12, 16)}
    np.savez("npz.npz", features=X[4], ids=np.array(ids))
    csv(Path("csv.csv"), [id_.replace("/", "\\") for id_ in ids], X[8])
    parquet.write_table(
        pyarrow.table({"file": [f"/mnt/{id_}" for id_ in ids], "x": X[12].tolist()}), "pq.parquet"
    )
    for id_, row in zip([*ids, "nowhere.png"], [*X[16], X[16][0]], strict=True):
        path = Path("trident", id_).with_suffix(".h5")
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["features"], file["coords"] = row, np.zeros((4, 2))
    for source in ("npz.npz", "csv.csv", "pq.parquet", "trident"):
        made = import_(source, like=ours)
        assert (made.rows, made.images_without_row) == (317, [])
        assert made.unmatched == (["nowhere"] if source == "trident" else [])
    result = cxrfeat.fit("embeddings", head=["logreg"], images=radiographs)
    assert {score.extractor for score in result.extractors} == {
        *("vgg16-64", "npz", "csv", "pq", "trident")
    }
    page = (result.run / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("vgg16-64", "npz", "csv", "pq", "trident"))
