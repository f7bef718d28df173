"""Zip and tar archives stand for the folder that they were made of; nothing is unpacked."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat import inputs
from cxrfeat.errors import ImageError, InputError
from cxrfeat.extraction import changed_images
from cxrfeat.extraction.sources import MemberSource, sources_of
from cxrfeat.inputs.archives import members_of
from tests.commands.test_inputs import write_dicom
from tests.commands.test_shards import QUICK, STEM, contents

SIDE = 40
LIMIT = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: PNG, of 8 and 16 bits, and DICOM; also what is passed over, and one broken."""
    rng = np.random.default_rng(0)
    root = tmp_path / "images"
    for label in ("clear", "opaque"):
        (root / label).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (SIDE, SIDE), np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
        write_dicom(root / label / "d.dcm", PatientID=f"p {label}")
    Image.fromarray(rng.integers(0, 3000, (SIDE, SIDE)).astype(np.uint16)).save(
        root / "clear" / "deep.tif"
    )
    Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), np.uint8)).save(root / "clear" / "é", "PNG")
    (root / "opaque" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "opaque" / "notes.txt").write_text("no image")
    (root / "opaque" / ".hidden.png").write_bytes(b"hidden")
    return root


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def zipped(folder: Path, path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in files_of(folder):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def tarred(folder: Path, path: Path, start: str = "./") -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for file in files_of(folder):
            archive.add(file, start + file.relative_to(folder).as_posix())
    return path


def packed(folder: Path, kind: str) -> Path:
    if kind == "tar":
        return tarred(folder, folder.parent / "images.tar")
    method = zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED
    return zipped(folder, folder.parent / "images.zip", method)


KINDS = pytest.mark.parametrize("kind", ["stored", "deflated", "tar"])


def of_images(path: Path) -> dict[str, object]:
    """Everything in a file but what depends on when and where an image lay."""
    return {key: value for key, value in contents(path).items() if not key.startswith("stat")}


@KINDS
def test_an_archive_gives_the_file_of_its_folder_in_every_byte(folder, tmp_path, kind) -> None:
    loose = cxrfeat.extract(folder, out=tmp_path / "loose", **QUICK)
    result = cxrfeat.extract(packed(folder, kind), out=tmp_path / "e", **QUICK)
    assert result.images == loose.images == 11
    assert "16 bits" in "; ".join(result.notes)
    assert result.notes == loose.notes
    assert of_images(result.files[0].path) == of_images(loose.files[0].path)
    assert [(f.id, f.code) for f in result.failures] == [("opaque/broken.png", "truncated")]


@KINDS
def test_a_second_run_reads_nothing(folder, tmp_path, kind, monkeypatch) -> None:
    archive = packed(folder, kind)
    cxrfeat.extract(archive, out=tmp_path / "e", **QUICK)
    hashed = []
    plain = changed_images._sha256
    monkeypatch.setattr(changed_images, "_sha256", lambda one: hashed.append(one) or plain(one))
    again = cxrfeat.extract(archive, out=tmp_path / "e", **QUICK)
    assert (again.read, again.files[0].reused, hashed) == (0, 10, [])


@KINDS
def test_an_image_that_was_changed_in_the_archive_is_another(folder, tmp_path, kind) -> None:
    (folder / "opaque" / "broken.png").unlink()
    archive = packed(folder, kind)
    cxrfeat.extract(archive, out=tmp_path / "e", **QUICK)
    path = folder / "clear" / "0.png"
    status = path.stat()
    Image.fromarray(np.full((SIDE, SIDE), 7, np.uint8)).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the archive does not show it
    packed(folder, kind)
    result = cxrfeat.extract(archive, out=tmp_path / "e", **QUICK)
    assert (result.read, result.files[0].changes.changed) == (1, 1)


def test_an_archive_and_its_folder_share_their_rows(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **QUICK)
    result = cxrfeat.extract(packed(folder, "deflated"), out=tmp_path / "e", **QUICK)
    assert (result.files[0].computed, result.files[0].reused) == (0, 10)


@pytest.mark.parametrize("kind", ["deflated", "tar"])
def test_a_table_lies_beside_an_archive(folder, tmp_path, kind) -> None:
    table = tmp_path / "labels.csv"
    rows = [("clear/0.png", "a"), ("images/clear/1.png", "b"), ("2.png", "a"), ("gone.png", "b")]
    rows[2] = ("opaque/2.png", "a")
    table.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    loose = inputs.find(folder, table)
    found = inputs.find(packed(folder, kind), table)
    assert found.ids == loose.ids == ["clear/0.png", "clear/1.png", "opaque/2.png"]
    assert found.missing == ["gone.png"]
    np.testing.assert_array_equal(found.labels, loose.labels)
    table.write_text("path,label\n0.png,a\n")
    with pytest.raises(InputError, match=r"could be 'clear/0\.png' or 'opaque/0\.png'"):
        inputs.find(packed(folder, kind), table)


def test_shards_of_an_archive_are_those_of_its_folder(folder, tmp_path) -> None:
    single = cxrfeat.extract(folder, out=tmp_path / "single", **QUICK)
    archive = packed(folder, "deflated")
    for index in range(2):
        cxrfeat.extract(archive, out=tmp_path / "e", shard=f"{index}/2", **QUICK)
    merged = cxrfeat.shards_merge(tmp_path / "e")
    assert of_images(merged.files[0].path) == of_images(single.files[0].path)


@KINDS
def test_inspect_and_dataset_look_into_an_archive(folder, tmp_path, kind) -> None:
    archive = packed(folder, kind)
    loose, seen = (
        cxrfeat.inspect(images, out=tmp_path / f"{number}.png")
        for number, images in enumerate((folder, archive))
    )
    assert seen.images == loose.images
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()
    assert cxrfeat.dataset(archive) == cxrfeat.dataset(folder)


@pytest.mark.parametrize("name", ["images.tar.gz", "images.tgz", "images.tar.xz"])
def test_an_archive_that_is_packed_as_a_whole_is_refused_with_the_mend(folder, name) -> None:
    path = tarred(folder, folder.parent / "images.tar.gz").rename(folder.parent / name)
    with pytest.raises(InputError, match=r"unpack that layer by '(gunzip|unxz) -k images"):
        inputs.find(path)


@pytest.mark.parametrize("kind", ["deflated", "tar"])
def test_a_broken_archive_is_one_clear_line(folder, kind) -> None:
    archive = packed(folder, kind)
    whole = archive.read_bytes()
    for cut in (0, 100, len(whole) // 2):
        archive.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"images.* is a broken (zip|tar) archive"):
            inputs.find(archive)
    if kind == "tar":  # a header in the middle: what comes after it is not lost in silence
        member = members_of(tarred(folder, archive))[4]
        for before, told in ((400, "bad checksum"), (1436, "no header at byte")):
            place = member.offset - before
            archive.write_bytes(whole[:place] + b"\xff" * 100 + whole[place + 100 :])
            with pytest.raises(InputError, match=f"is a broken tar archive .{told}"):
                inputs.find(archive)


def test_a_sound_archive_that_is_not_read_is_not_called_broken(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.png", b"x")
    data = bytearray((tmp_path / "images.zip").read_bytes())
    struct.pack_into("<H", data, data.rfind(b"PK\x01\x02") + 6, 99)  # the version it needs
    (tmp_path / "images.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"of a kind that is not read .*9\.9.*pack it again"):
        inputs.find([tmp_path / "images.zip"])


def test_a_broken_member_is_a_failure_and_costs_no_other(folder, tmp_path) -> None:
    archive = packed(folder, "deflated")
    whole = bytearray(archive.read_bytes())
    data, header = (member.offset for member in members_of(archive)[1:3])
    whole[data + 80] ^= 0xFF
    whole[header] ^= 0xFF
    archive.write_bytes(whole)
    result = cxrfeat.extract(archive, out=tmp_path / "e", **QUICK)
    assert {failure.code for failure in result.failures} == {"damaged", "truncated"}
    assert len(result.failures) == 3
    assert result.files[0].computed == 8


def member(archive: Path, name: str) -> MemberSource:
    return sources_of(inputs.find(archive))[name]


def test_a_bomb_is_refused_by_its_header_and_a_lie_while_it_is_read(tmp_path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("honest.png", bytes(10 * LIMIT))
        file.writestr("liar.png", bytes(10 * LIMIT))
    with pytest.raises(ImageError, match="too_large"):
        member(archive, "honest.png").read(LIMIT)
    raw = archive.read_bytes()
    at = raw.rindex(b"PK\1\2")  # the entry of the second one in the list
    archive.write_bytes(raw[: at + 24] + struct.pack("<I", 1000) + raw[at + 28 :])
    liar = member(archive, "liar.png")
    with pytest.raises(ImageError, match="holds more bytes"):
        liar.read(LIMIT)
    with liar.open() as file:
        assert len(file.read()) == 1001  # not ten million


def test_what_cannot_be_read_has_a_code(tmp_path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a.png", b"pixels")
    source = member(archive, "a.png")
    with pytest.raises(ImageError, match="unsupported"):
        source.read(LIMIT)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", b"pixels")
    with pytest.raises(ImageError, match="changed after it was listed"):
        MemberSource("a.png", source.member.__class__(
            source.member.archive, "a.png", 0, 6, 6, 0, zlib.crc32(b"pixels"), 0
        )).read(LIMIT)  # fmt: skip
    source = member(archive, "a.png")
    assert source.read(LIMIT) == b"pixels"
    archive.unlink()
    assert (source.stamp(), source.sha256()) == (None, "")
    with pytest.raises(ImageError, match="missing"):
        source.read(LIMIT)


def test_members_that_lead_out_or_are_no_files_are_passed_over(tmp_path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as file:

        def add(name: str, **said: object) -> None:
            info = tarfile.TarInfo(name)
            info.size = 6 if "type" not in said else 0
            for key, value in said.items():
                setattr(info, key, value)
            file.addfile(info, io.BytesIO(b"pixels"))

        add("../out.png")
        add("/absolute.png")
        add("link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add("pipe.png", type=tarfile.FIFOTYPE)
        add("hard.png", type=tarfile.LNKTYPE, linkname="absolute.png")
        add("twice.png")
        add("twice.png")
        add("__MACOSX/._a.png")
        add("x/images/a.png")
        add("x/masks/a.png")
    found = inputs.find(archive)
    assert found.ids == ["absolute.png", "hard.png", "twice.png", "x/images/a.png"]
    assert member(archive, "hard.png").read(LIMIT) == b"pixels"
    assert "1 hidden file(s) passed over" in found.notes
    assert "1 lung mask(s) beside their images passed over" in found.notes


@KINDS
def test_threads_and_other_processes_read_members_by_themselves(folder, kind) -> None:
    sources = pickle.loads(pickle.dumps(sources_of(inputs.find(packed(folder, kind)))))
    expected = {id_: (folder / id_).read_bytes() for id_ in sources}
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            read = pool.map(lambda source: (source.id, source.read(LIMIT)), sources.values())
            assert dict(read) == expected
    for source in sources.values():
        with source.open() as file:
            assert file.seek(-5, io.SEEK_END) == len(expected[source.id]) - 5
            assert file.read() == expected[source.id][-5:]
            file.seek(2)
            assert file.read(4) == expected[source.id][2:6]


def test_archives_and_folders_go_together_unless_an_id_is_in_two(folder, tmp_path) -> None:
    other = tmp_path / "more.zip"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("clear/new.png", (folder / "clear" / "0.png").read_bytes())
    assert "clear/new.png" in inputs.find([folder, other]).ids
    with pytest.raises(InputError, match="more than once"):
        inputs.find([folder, packed(folder, "tar")])


def test_a_model_predicts_and_explains_from_an_archive(folder, tmp_path) -> None:
    (folder / "clear" / "deep.tif").unlink()
    cxrfeat.extract(folder, out=tmp_path / "e", **QUICK)
    run = cxrfeat.fit(
        tmp_path / "e" / f"{STEM}.h5", head=["logreg"], cv=2, out=tmp_path / "run", report=False
    )
    archive = packed(folder, "deflated")
    model = run.run / "model.skops"
    loose, packed_ = (cxrfeat.predict(model, images) for images in (folder, archive))
    assert loose.predictions == packed_.predictions
    explained = cxrfeat.explain(model, archive, out=tmp_path / "maps")
    assert [image.id for image in explained.images] == [one.id for one in loose.predictions]
