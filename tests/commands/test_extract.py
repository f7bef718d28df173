"""`extract`: every image read once, one file an extractor, nothing computed twice."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import cxrfeat
import cxrfeat.extraction.changed_images as changed
from cxrfeat.errors import InputError, SpecMismatchError, UnknownNameError, WeightsError
from cxrfeat.extraction.sources import FileSource
from cxrfeat.features import WeightsChoice, open_extractor
from cxrfeat.tables import read_table

# Quick to build and to run; random weights, and called so.
SMALL = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64, "device": "cpu"}
STEM = "squeezenet1_1-random-64"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of six pictures each."""
    rng = np.random.default_rng(0)
    for label in ("clear", "opaque"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (80, 70 + number), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    return tmp_path / "images"


def rows(path: Path) -> dict[str, np.ndarray]:
    with cxrfeat.load(path) as embeddings:
        done = [i for i, s in zip(embeddings.ids, embeddings.status, strict=True) if s == 1]
        return dict(zip(done, embeddings.numpy(), strict=True))


def test_the_file_reads_with_h5py_alone(folder, tmp_path) -> None:
    result = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    with h5py.File(tmp_path / "e" / f"{STEM}.h5") as file:
        assert file.attrs["format"] == "cxrfeat-embeddings"
        assert file.attrs["format_version"] == 1
        spec = json.loads(file.attrs["spec"])
        assert spec["backbone"] == "squeezenet1_1"
        assert spec["weights"]["name"] == "random-seed-0"
        assert file.attrs["fingerprint"] == result.files[0].fingerprint
        assert file["embeddings"].shape == (12, 512)
        assert file["embeddings"].dtype == np.float32
        assert np.isfinite(file["embeddings"][:]).all()
        assert (file["status"][:] == 1).all()
        assert file["id"].asstr()[0] == "clear/0.png"
        assert list(file["labels"].attrs["names"]) == ["clear", "opaque"]
        assert file["labels"].attrs["kind"] == "multiclass"
        np.testing.assert_array_equal(file["labels"][:], np.repeat(np.eye(2), 6, axis=0))


def test_a_row_is_the_extractor_on_that_image(folder, tmp_path) -> None:
    from cxrfeat.images import read_image, resize

    cxrfeat.extract(folder, out=tmp_path / "e", batch_size=5, **SMALL)
    extractor = open_extractor(
        "squeezenet1_1", weights=WeightsChoice("random"), image_size=64, device="cpu"
    )
    for id_, row in rows(tmp_path / "e" / f"{STEM}.h5").items():
        picture = resize(read_image(folder / id_).pixels, 64)
        np.testing.assert_array_equal(row, extractor(picture[None])[0])


def test_rows_do_not_depend_on_batch_size_or_workers(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "a", batch_size=1, workers=1, **SMALL)
    cxrfeat.extract(folder, out=tmp_path / "b", batch_size=7, workers=4, **SMALL)
    first, second = rows(tmp_path / "a" / f"{STEM}.h5"), rows(tmp_path / "b" / f"{STEM}.h5")
    assert first.keys() == second.keys()
    for id_ in first:
        np.testing.assert_array_equal(first[id_], second[id_])


def test_every_image_is_read_once_for_several_backbones(folder, tmp_path, monkeypatch) -> None:
    read = []
    original = FileSource.read

    def counting(source, limit):
        read.append(Path(source.path))
        return original(source, limit)

    monkeypatch.setattr(FileSource, "read", counting)
    result = cxrfeat.extract(
        folder,
        out=tmp_path / "e",
        **{**SMALL, "backbone": ["squeezenet1_1", "squeezenet1_0", "mobilenet_v3_small"]},
    )
    assert sorted(read) == sorted(folder.rglob("*.png"))
    assert result.read == 12
    assert [file.computed for file in result.files] == [12, 12, 12]


def test_a_second_run_computes_nothing_and_reads_nothing(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    before = (tmp_path / "e" / f"{STEM}.h5").read_bytes()
    again = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert (again.read, again.files[0].computed, again.files[0].reused) == (0, 0, 12)
    assert (tmp_path / "e" / f"{STEM}.h5").read_bytes() == before


def test_new_and_changed_images_alone_are_computed(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    before = rows(tmp_path / "e" / f"{STEM}.h5")
    Image.fromarray(np.full((50, 50), 200, np.uint8)).save(folder / "clear" / "new.png")
    Image.fromarray(np.full((50, 50), 100, np.uint8)).save(folder / "clear" / "0.png")
    result = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    after = rows(tmp_path / "e" / f"{STEM}.h5")
    assert (result.read, result.files[0].computed, result.files[0].reused) == (2, 2, 11)
    differing = {i for i in after if i not in before or not np.array_equal(before[i], after[i])}
    assert differing == {"clear/0.png", "clear/new.png"}


def test_a_touched_but_equal_image_is_not_computed_again(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    for path in folder.rglob("*.png"):
        path.touch()
    result = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert (result.read, result.files[0].reused) == (0, 12)


def test_a_broken_image_is_recorded_and_costs_no_other(folder, tmp_path) -> None:
    whole = (folder / "clear" / "3.png").read_bytes()
    (folder / "clear" / "3.png").write_bytes(whole[: len(whole) // 2])
    (folder / "opaque" / "0.png").write_bytes(b"")
    result = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert {failure.id for failure in result.failures} == {"clear/3.png", "opaque/0.png"}
    assert all(failure.code and failure.reason for failure in result.failures)
    assert (result.files[0].computed, result.files[0].failed) == (10, 2)
    assert result.failures_file is not None
    listed = read_table(result.failures_file)
    assert listed["id"] == ["clear/3.png", "opaque/0.png"]
    assert set(rows(tmp_path / "e" / f"{STEM}.h5")).isdisjoint(listed["id"])

    (folder / "clear" / "3.png").write_bytes(whole)
    left = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    retried = cxrfeat.extract(folder, out=tmp_path / "e", retry_failed=True, **SMALL)
    assert {failure.id for failure in retried.failures} == {"opaque/0.png"}
    assert left.files[0].computed + retried.files[0].computed == 1


def test_an_interruption_keeps_what_was_finished(folder, tmp_path) -> None:
    def interrupt(progress) -> None:
        if progress.done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cxrfeat.extract(folder, out=tmp_path / "e", batch_size=2, progress=interrupt, **SMALL)
    assert len(rows(tmp_path / "e" / f"{STEM}.h5")) == 4
    result = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert (result.read, result.files[0].reused) == (8, 4)


def test_other_embeddings_in_the_same_file_are_refused_with_the_difference(
    folder, tmp_path
) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    (tmp_path / "e" / f"{STEM}.h5").rename(tmp_path / "e" / "squeezenet1_1-random.h5")
    with pytest.raises(SpecMismatchError) as caught:
        cxrfeat.extract(folder, out=tmp_path / "e", **{**SMALL, "image_size": None})
    assert any(line.startswith("image.size") for line in caught.value.difference)


@pytest.mark.parametrize("pool", ["max", "avgmax", "multi", "flatten"])
def test_every_pooling_has_its_own_file(folder, tmp_path, pool) -> None:
    result = cxrfeat.extract(folder, out=tmp_path / "e", pool=pool, **SMALL)
    assert result.files[0].path.name == f"squeezenet1_1-random-{pool}-64.h5"
    assert result.files[0].computed == 12


def test_labels_and_patients_come_from_a_table(folder, tmp_path) -> None:
    table = tmp_path / "labels.csv"
    lines = [f"{label}/{n}.png,{label},p{n}" for label in ("clear", "opaque") for n in range(5)]
    table.write_text("file,finding,person\n" + "\n".join(lines) + "\n")
    result = cxrfeat.extract(
        folder,
        labels=table,
        path_column="file",
        label_column="finding",
        group_column="person",
        out=tmp_path / "e",
        **SMALL,
    )
    assert result.images == 10
    with cxrfeat.load(result.files[0].path) as embeddings:
        assert embeddings.groups is not None
        assert list(embeddings.groups[:5]) == [f"p{n}" for n in range(5)]
        assert embeddings.classes == ["clear", "opaque"]


def test_wrong_input_is_refused_in_words(folder, tmp_path) -> None:
    with pytest.raises(UnknownNameError, match="vgg19"):
        cxrfeat.extract(folder, backbone=["vgg91"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        cxrfeat.extract(tmp_path / "empty", out=tmp_path / "e", **SMALL)
    with pytest.raises(InputError, match="batch size 0"):
        cxrfeat.extract(folder, out=tmp_path / "e", batch_size=0, **SMALL)
    with pytest.raises(InputError, match="0 workers"):
        cxrfeat.extract(folder, out=tmp_path / "e", workers=0, **SMALL)
    with pytest.raises(InputError, match="at least one"):
        cxrfeat.extract(folder, out=tmp_path / "e", **{**SMALL, "backbone": []})
    with pytest.raises(WeightsError, match="no such file"):
        cxrfeat.extract(folder, out=tmp_path / "e", **{**SMALL, "weights": ["none.pth"]})
    assert not (tmp_path / "e").exists()


def test_real_weights_on_real_radiographs_equal_torchvisions_forward_pass(
    radiographs, vgg16_weights, tmp_path
) -> None:
    from safetensors.torch import load_file
    from torchvision.models import vgg16

    from cxrfeat.images import read_image, resize

    paths = sorted(radiographs.rglob("*.jp*g"))[::60]
    result = cxrfeat.extract(
        [str(path) for path in paths],
        backbone=["vgg16"],
        weights=[str(vgg16_weights)],
        out=tmp_path,
        device="cpu",
    )
    network = vgg16(weights=None).eval()
    network.load_state_dict(load_file(vgg16_weights), strict=False)
    sidecar = json.loads(vgg16_weights.with_suffix(".json").read_text())["input"]
    mean, std = (torch.tensor(sidecar[key])[:, None, None] for key in ("mean", "std"))
    ours = rows(result.files[0].path)
    assert len(ours) == len(paths)
    for path in paths:
        grey = torch.from_numpy(resize(read_image(path).pixels, 224))
        with torch.inference_mode():
            maps = network.features(((grey.expand(3, -1, -1) - mean) / std)[None])
        expected = maps.mean((2, 3))[0].numpy()
        error = np.linalg.norm(ours[path.name] - expected) / np.linalg.norm(expected)
        assert error < 1e-5


def test_an_image_that_failed_is_tried_again_once_it_is_another(folder, tmp_path) -> None:
    bad = folder / "clear" / "0.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:50])
    assert len(cxrfeat.extract(folder, out=tmp_path / "e", **SMALL).failures) == 1
    again = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert (again.read, len(again.failures)) == (0, 1)
    bad.write_bytes(good)
    mended = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert (mended.read, mended.failures, mended.files[0].changes.changed) == (1, [], 1)


def test_images_that_were_only_touched_are_hashed_once(folder, tmp_path, monkeypatch) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    hashed = []
    plain = changed._sha256
    monkeypatch.setattr(changed, "_sha256", lambda path: hashed.append(path) or plain(path))
    for path in folder.rglob("*.png"):
        path.touch()
    for expected in (12, 12):
        assert cxrfeat.extract(folder, out=tmp_path / "e", **SMALL).read == 0
        assert len(hashed) == expected


def test_a_damaged_row_is_repaired_by_extract_to_the_same_bits(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    path = tmp_path / "e" / f"{STEM}.h5"
    before = path.read_bytes()
    with h5py.File(path) as file:
        wanted = file["embeddings"][7].tobytes()
    at = before.index(wanted) + 123
    path.write_bytes(before[:at] + bytes([before[at] ^ 0x10]) + before[at + 1 :])

    found = cxrfeat.verify(path, repair=True)
    assert [damage.id for damage in found.damaged] == ["opaque/1.png"]
    result = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert (result.read, result.files[0].computed, result.files[0].reused) == (1, 1, 11)
    assert path.read_bytes() == before
