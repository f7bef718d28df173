"""How many bits a 16-bit picture uses is decided once for a set, and stands in the spec."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cxrfeat
from cxrfeat.cli import app
from cxrfeat.errors import InputError, SpecMismatchError
from cxrfeat.extraction import bit_depth
from cxrfeat.images import ReadingOptions, read_image

SMALL = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64, "device": "cpu"}
QUICK = {**SMALL, "runtime": "torch"}  # nothing is converted and measured first
SIDE = 40


def ramp(largest: int) -> np.ndarray:
    """A picture with a pixel of 2,000 in its corner and `largest` in the opposite one."""
    samples = np.linspace(0, min(2000, largest), SIDE * SIDE).astype(np.uint16)
    samples[0], samples[-1] = 2000, largest
    return samples.reshape(SIDE, SIDE)


def write(folder: Path, **largest: int) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in largest.items():
        Image.fromarray(ramp(value)).save(folder / f"{name}.png")
    return folder


def extract(folder: Path, out: Path, **options: object) -> cxrfeat.commands.extract.ExtractResult:
    return cxrfeat.extract(folder, out=out, **QUICK, **options)


def spec_bits(result: cxrfeat.commands.extract.ExtractResult) -> int | None:
    return cxrfeat.load(result.files[0].path).spec["image"].get("bits")


def test_one_grey_is_one_number_in_every_picture_of_a_set(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", a=4095, b=4096)
    result = extract(folder, tmp_path / "e")
    assert spec_bits(result) == 14
    together = cxrfeat.load(result.files[0].path).numpy(["a.png", "b.png"])
    options = ReadingOptions(bits=14)
    first, second = (read_image(folder / name, options=options) for name in ("a.png", "b.png"))
    assert first.pixels[0, 0] == second.pixels[0, 0] == np.float32(2000) / np.float32(2**14 - 1)
    alone = extract(write(tmp_path / "alone", a=4095), tmp_path / "f", bits=14)
    np.testing.assert_array_equal(cxrfeat.load(alone.files[0].path).numpy(["a.png"]), together[:1])


def test_mixed_evidence_is_a_note_with_counts_and_the_mend(tmp_path: Path) -> None:
    mixed = extract(write(tmp_path / "mixed", a=4095, b=3000, c=60_000), tmp_path / "e")
    note = next(note for note in mixed.notes if "bits" in note)
    assert "2 of 12 bits" in note
    assert "1 of 16 bits" in note
    assert "--bits" in note
    alike = extract(write(tmp_path / "alike", a=4095, b=3000), tmp_path / "f")
    note = next(note for note in alike.notes if "bits" in note)
    assert "12 bits" in note
    assert "apart" not in note


def test_a_second_extraction_keeps_the_bits_and_fails_what_has_more(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", a=4095)
    first = extract(folder, tmp_path / "e")
    write(folder, b=3000, c=5000)
    second = extract(folder, tmp_path / "e")
    assert second.files[0].fingerprint == first.files[0].fingerprint
    assert [(failure.id, failure.code) for failure in second.failures] == [("c.png", "depth")]
    assert "--bits 14" in second.failures[0].reason
    (folder / "a.png").unlink()
    (folder / "b.png").unlink()
    (folder / "c.png").unlink()
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(folder / "d.png")
    third = extract(folder, tmp_path / "e")
    assert third.files[0].fingerprint == first.files[0].fingerprint


def test_other_bits_than_the_files_are_refused_with_the_difference(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", a=4095)
    extract(folder, tmp_path / "e")
    with pytest.raises(SpecMismatchError) as caught:
        extract(folder, tmp_path / "e", bits=16)
    assert caught.value.difference == ["image.bits: 16 here, 12 there"]
    for wrong in (0, 7, 33):
        with pytest.raises(InputError, match="8 to 32"):
            extract(folder, tmp_path / "f", bits=wrong)


def test_deep_pictures_beside_a_file_made_of_others_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(folder / "d.png")
    assert spec_bits(extract(folder, tmp_path / "e")) is None
    write(folder, a=4095)
    with pytest.raises(SpecMismatchError) as caught:
        extract(folder, tmp_path / "e")
    assert caught.value.difference == ["image.bits: 12 here, (absent) there"]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_what_states_its_depth_leaves_the_spec_alone(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    samples = Image.fromarray(ramp(4095))
    samples.save(folder / "state.tif", tiffinfo={281: 4095})
    samples.save(folder / "plain.png")
    png = (folder / "plain.png").read_bytes()
    (folder / "plain.png").unlink()
    # As PNG has it: 12 significant bits, stretched to all 16.
    (folder / "state.png").write_bytes(png[:33] + chunk(b"sBIT", bytes([12])) + png[33:])
    result = extract(folder, tmp_path / "e")
    assert not result.failures
    assert spec_bits(result) is None
    tiff, stretched = (read_image(folder / name) for name in ("state.tif", "state.png"))
    assert (tiff.bits, stretched.bits) == (12, 16)
    assert tiff.warnings == stretched.warnings == ()
    samples.save(folder / "state.tif", tiffinfo={281: 1023})
    result = extract(folder, tmp_path / "f")
    assert [(failure.id, failure.code) for failure in result.failures] == [("state.tif", "damaged")]


def test_of_a_large_set_a_sample_decides_and_what_exceeds_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bit_depth, "MOST_SAMPLED", 4)
    names = {f"i{number}": 4000 for number in range(9)}
    result = extract(write(tmp_path / "images", **names, i4b=9000), tmp_path / "e")
    assert spec_bits(result) == 12
    assert "4 of 10" in next(note for note in result.notes if "bits" in note)
    assert [(failure.id, failure.code) for failure in result.failures] == [("i4b.png", "depth")]


def test_a_deep_file_that_cannot_be_read_decides_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", a=4095)
    data = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(data[: len(data) // 2])
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(folder / "d.png")
    result = extract(folder, tmp_path / "e")
    assert [failure.code for failure in result.failures] == ["truncated"]
    assert spec_bits(result) is None


def test_prediction_reads_with_the_bits_of_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for number in range(24):
        (folder / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        samples = rng.integers(0, 3000, (SIDE, SIDE)).astype(np.uint16)
        samples[:20] += np.uint16(1000 * (number % 2))
        Image.fromarray(samples).save(folder / f"{number % 2}" / f"i{number}.png")
    extracted = extract(folder, tmp_path / "e")
    assert spec_bits(extracted) == 12
    file = extracted.files[0].path
    cxrfeat.fit(file, head=["logreg"], out=tmp_path / "run", cv=2, report=False)
    some = sorted(folder.rglob("*.png"))[0]
    dark = tmp_path / "dark.png"
    Image.fromarray(np.asarray(Image.open(some)) // 8).save(dark)  # its own maximum says 10 bits
    saved = tmp_path / "run" / "model.skops"
    from_file = cxrfeat.predict(saved, file)
    alone = cxrfeat.predict(saved, some)
    row = next(p for p in from_file.predictions if p.id.endswith(some.name))
    assert alone.predictions[0].probabilities == pytest.approx(row.probabilities, abs=1e-4)
    write(tmp_path / "bright", x=60_000)
    assert [f.code for f in cxrfeat.predict(saved, tmp_path / "bright").failures] == ["depth"]
    darker = cxrfeat.predict(saved, dark).predictions[0].probabilities
    assert darker != pytest.approx(row.probabilities, abs=1e-3)


def test_inspect_reads_a_set_as_extract_does(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", a=4095, b=60_000)
    seen = cxrfeat.inspect(folder)
    assert [image.bits for image in seen.images] == [16, 16]
    assert any("2 of" in note or "1 of" in note for note in seen.notes)
    assert [image.bits for image in cxrfeat.inspect(folder, bits=18).images] == [18, 18]
    shown = CliRunner().invoke(app, ["inspect", str(folder), "--bits", "12"])
    assert shown.exit_code == 1
    assert "depth" in shown.stdout


def test_a_picture_read_on_its_own_says_that_its_bits_are_a_guess(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", a=4095)
    radiograph = read_image(folder / "a.png")
    assert radiograph.bits == 12
    assert radiograph.warnings == ("bits guessed from this picture alone",)
    assert read_image(folder / "a.png", options=ReadingOptions(bits=12)).warnings == ()
