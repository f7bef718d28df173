"""The same picture comes out the same from every way of storing it in DICOM."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.sequence import Sequence

from cxrfeat.errors import ImageError
from cxrfeat.images import ReadingOptions, read_image

HEIGHT, WIDTH = 40, 56


def picture(bits: int = 16) -> np.ndarray:
    """A smooth shade with a bright bar, in whole steps of `bits` bits, from 0 to 1."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    shade = 0.7 * x / (WIDTH - 1) + 0.3 * y / (HEIGHT - 1)
    shade[10:14] = 1.0
    return np.round(shade * (2**bits - 1)) / (2**bits - 1)


def stored(shown: np.ndarray, bits: int, *, signed: bool, inverted: bool) -> np.ndarray:
    values = np.round((1.0 - shown if inverted else shown) * (2**bits - 1)).astype(np.int64)
    return values - 2 ** (bits - 1) if signed else values


def full_window(bits: int, *, signed: bool) -> dict[str, float]:
    """The window whose lower end is the smallest and whose upper end the largest value."""
    lowest = -(2 ** (bits - 1)) if signed else 0
    return {"WindowCenter": lowest + 2 ** (bits - 1), "WindowWidth": 2**bits}


def identity_lut(bits: int, *, signed: bool) -> Sequence:
    item = Dataset()
    first = -(2 ** (bits - 1)) if signed else 0
    item.add_new("LUTDescriptor", "SS" if signed else "US", [2**bits % 65536, first, 16])
    item.add_new("LUTData", "OW", (np.arange(2**bits) << (16 - bits)).astype("<u2").tobytes())
    return Sequence([item])


def grey_scale(how: str, bits: int, signed: bool) -> dict[str, Any]:
    if how == "window":
        return full_window(bits, signed=signed)
    if how == "several windows":
        first = full_window(bits, signed=signed)
        return {name: [value, 7] for name, value in first.items()}
    if how == "VOI LUT":
        return {"VOILUTSequence": identity_lut(bits, signed=signed)}
    if how == "rescale":
        window = full_window(bits, signed=signed)
        return {
            "RescaleSlope": 2,
            "RescaleIntercept": -100,
            "VOILUTFunction": "LINEAR_EXACT",
            "WindowCenter": 2 * (window["WindowCenter"] - 0.5) - 100,
            "WindowWidth": 2 * (window["WindowWidth"] - 1),
        }
    return {}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("how", "signed", "bits"),
    [
        (how, signed, bits)
        for how in ("window", "several windows", "VOI LUT", "rescale")
        for signed in (False, True)
        for bits in (8, 10, 12, 14, 16)
        # A LUT cannot start below 0 and have 65,536 entries in one value representation.
        if (how, signed, bits) != ("VOI LUT", True, 16)
    ],
)
def test_the_picture_does_not_depend_on_how_it_is_stored(
    make_dicom, file_bytes, bits: int, signed: bool, how: str, photometric: str
) -> None:
    inverted = photometric == "MONOCHROME1"
    shown = picture(bits)
    dataset = make_dicom(
        stored(shown, bits, signed=signed, inverted=inverted),
        bits,
        PhotometricInterpretation=photometric,
        **grey_scale(how, bits, signed),
    )
    radiograph = read_image(file_bytes(dataset))
    np.testing.assert_allclose(radiograph.pixels, shown, atol=1e-6)
    assert radiograph.bits == bits
    assert any("inverted" in step for step in radiograph.steps) == inverted
    if "indow" in how:
        assert f"window 1 of {1 if how == 'window' else 2}" in radiograph.steps[0]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_without_a_window_percentiles_become_black_and_white(
    make_dicom, file_bytes, bits: int, signed: bool, photometric: str
) -> None:
    inverted = photometric == "MONOCHROME1"
    values = stored(picture(bits), bits, signed=signed, inverted=inverted)
    dataset = make_dicom(values, bits, PhotometricInterpretation=photometric)
    low, high = np.percentile(values, (0.5, 99.5), method="inverted_cdf")
    reference = np.clip((values - low) / (high - low), 0, 1)
    if inverted:
        reference = 1.0 - reference
    np.testing.assert_allclose(read_image(file_bytes(dataset)).pixels, reference, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("windowed", [False, True])
def test_padding_is_black_and_left_out_of_the_scaling(
    make_dicom, file_bytes, windowed: bool, signed: bool, photometric: str
) -> None:
    inverted, bits = photometric == "MONOCHROME1", 12
    inner = stored(picture(bits), bits, signed=signed, inverted=inverted) // 2
    framed = np.full((HEIGHT + 20, WIDTH + 20), 2 ** (bits - 1) - 1 if signed else 2**bits - 1)
    framed[10:-10, 10:-10] = inner
    options = full_window(bits, signed=signed) if windowed else {}
    common = {"PhotometricInterpretation": photometric, **options}
    padded = make_dicom(framed, bits, **common)
    padded.add_new("PixelPaddingValue", "SS" if signed else "US", int(framed[0, 0]))
    alone = make_dicom(inner, bits, **common)
    pixels = read_image(file_bytes(padded)).pixels
    np.testing.assert_array_equal(pixels[10:-10, 10:-10], read_image(file_bytes(alone)).pixels)
    assert pixels[:10].max() == pixels[:, -10:].max() == 0.0


def test_a_sigmoid_window_follows_the_standard(make_dicom, file_bytes) -> None:
    values = stored(picture(12), 12, signed=False, inverted=False)
    dataset = make_dicom(values, 12, WindowCenter=2000, WindowWidth=800, VOILUTFunction="SIGMOID")
    reference = 1 / (1 + np.exp(-4 * (values - 2000) / 800))
    np.testing.assert_allclose(read_image(file_bytes(dataset)).pixels, reference, atol=1e-6)


def test_a_narrow_window_clips_on_both_sides(make_dicom, file_bytes) -> None:
    values = np.array([[0, 99, 100, 101, 4095]])
    dataset = make_dicom(values, 12, WindowCenter=100.5, WindowWidth=3)
    reference = [[0.0, 0.0, 0.5, 1.0, 1.0]]
    np.testing.assert_allclose(read_image(file_bytes(dataset)).pixels, reference, atol=1e-6)


def test_a_window_that_cannot_be_used_is_a_warning(make_dicom, file_bytes) -> None:
    values = stored(picture(12), 12, signed=False, inverted=False)
    radiograph = read_image(file_bytes(make_dicom(values, 12, WindowCenter=7, WindowWidth=0)))
    assert "a window that cannot be used" in radiograph.warnings
    plain = read_image(file_bytes(make_dicom(values, 12)))
    np.testing.assert_array_equal(radiograph.pixels, plain.pixels)


def test_a_modality_lut_comes_before_the_window(make_dicom, file_bytes) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 16])
    item.ModalityLUTType = "US"
    table = 1000 - 2 * np.arange(256)
    item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    values = stored(picture(8), 8, signed=False, inverted=True)
    dataset = make_dicom(
        values,
        8,
        ModalityLUTSequence=Sequence([item]),
        VOILUTFunction="LINEAR_EXACT",
        WindowCenter=745,
        WindowWidth=510,
    )
    np.testing.assert_allclose(read_image(file_bytes(dataset)).pixels, picture(8), atol=1e-6)


def in_words(values: np.ndarray, bits: int, high: int, noise: np.ndarray) -> np.ndarray:
    """Put `bits` bits of each value so that the highest is bit `high` of 16, noise around them."""
    mask, low = 2**bits - 1, high + 1 - bits
    return ((values & mask) << low) | (noise & ~(mask << low) & 0xFFFF)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "high"), [(12, 11), (12, 15), (10, 12), (15, 15)])
def test_the_high_bit_says_where_the_samples_lie_and_the_other_bits_are_no_picture(
    make_dicom, file_bytes, bits: int, high: int, signed: bool, windowed: bool, big_endian: bool
) -> None:
    values = stored(picture(bits), bits, signed=signed, inverted=False)
    overlays = np.random.default_rng(0).integers(0, 2**16, values.shape)
    options = full_window(bits, signed=signed) if windowed else {}
    plain = make_dicom(values, bits, **options)
    packed = make_dicom(values, bits, HighBit=high, **options)
    words = in_words(values, bits, high, overlays)
    packed.PixelData = words.astype(">u2" if big_endian else "<u2").tobytes()
    if big_endian:
        packed.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    radiograph = read_image(file_bytes(packed))
    np.testing.assert_array_equal(radiograph.pixels, read_image(file_bytes(plain)).pixels)
    shifted = f"{bits} bits below bit {high}"
    assert any(shifted in step for step in radiograph.steps) == (high != bits - 1)


@pytest.mark.parametrize("signed", [False, True])
def test_samples_of_eight_bits_are_shifted_too(make_dicom, file_bytes, signed: bool) -> None:
    values = stored(picture(6), 6, signed=signed, inverted=False)
    plain, packed = make_dicom(values, 6), make_dicom(values, 6, HighBit=7)
    noise = np.random.default_rng(0).integers(0, 4, values.shape)
    packed.PixelData = (((values & 63) << 2) | noise).astype("<u1").tobytes()
    expected = read_image(file_bytes(plain)).pixels
    np.testing.assert_array_equal(read_image(file_bytes(packed)).pixels, expected)


def test_samples_packed_in_rle_are_shifted_too(make_dicom, file_bytes) -> None:
    values = stored(picture(12), 12, signed=False, inverted=False)
    plain, packed = make_dicom(values, 12), make_dicom(values << 4, 16)
    packed.compress(uid.RLELossless, generate_instance_uid=False)
    packed.BitsStored = 12
    expected = read_image(file_bytes(plain)).pixels
    np.testing.assert_array_equal(read_image(file_bytes(packed)).pixels, expected)


def test_a_high_bit_that_cannot_be_is_damage(make_dicom, file_bytes) -> None:
    values = stored(picture(12), 12, signed=False, inverted=False)
    for high in (16, 10):
        assert code(file_bytes(make_dicom(values, 12, HighBit=high))) == "damaged"


def test_a_coded_picture_with_another_high_bit_is_refused(make_dicom, file_bytes) -> None:
    dataset = make_dicom(stored(picture(16), 16, signed=False, inverted=False), 16)
    coded_by_pillow(dataset, uid.JPEG2000Lossless, "JPEG2000", irreversible=False, no_jp2=True)
    dataset.BitsStored = 12
    assert code(file_bytes(dataset)) == "unsupported"


def jpeg_lossless(dataset: Dataset, tmp_path) -> bytes:
    gdcm = pytest.importorskip("gdcm")
    dataset.save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "coded.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (tmp_path / "coded.dcm").read_bytes()


def coded_by_pillow(dataset: Dataset, syntax: str, format: str, **options: Any) -> None:
    buffer = io.BytesIO()
    Image.fromarray(dataset.pixel_array).save(buffer, format, **options)
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax


SYNTAXES = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000": uid.JPEG2000Lossless,
    "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG baseline": uid.JPEGBaseline8Bit,
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("syntax", "bits"),
    [
        (syntax, bits)
        for syntax in SYNTAXES
        for bits in (8, 12, 16)
        if syntax != "JPEG baseline" or bits == 8  # which is all it has
    ],
)
def test_every_transfer_syntax_gives_the_same_picture(
    make_dicom, file_bytes, tmp_path, bits: int, syntax: str, photometric: str
) -> None:
    inverted = photometric == "MONOCHROME1"
    values = stored(picture(bits), bits, signed=False, inverted=inverted)
    dataset = make_dicom(
        values, bits, PhotometricInterpretation=photometric, **full_window(bits, signed=False)
    )
    name = SYNTAXES[syntax]
    if syntax == "JPEG lossless":
        data = jpeg_lossless(dataset, tmp_path)
    else:
        if syntax in ("RLE", "JPEG-LS"):
            if syntax == "JPEG-LS":
                pytest.importorskip("jpeg_ls")
            dataset.compress(name, generate_instance_uid=False)
        elif syntax == "JPEG 2000":
            coded_by_pillow(dataset, name, "JPEG2000", irreversible=False, no_jp2=True)
        elif syntax == "JPEG baseline":
            coded_by_pillow(dataset, name, "JPEG", quality=100)
        elif syntax == "big endian" and bits > 8:
            dataset.PixelData = values.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = name
        data = file_bytes(dataset)
    radiograph = read_image(data)
    tolerance = 3 / 255 if syntax == "JPEG baseline" else 1e-6
    np.testing.assert_allclose(radiograph.pixels, picture(bits), atol=tolerance)
    assert radiograph.meta["transfer_syntax"] == name


def code(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(data, options=ReadingOptions(**options))
    return caught.value.code


def test_what_is_no_plain_radiograph_is_refused_unless_asked_for(make_dicom, file_bytes) -> None:
    values = stored(picture(8), 8, signed=False, inverted=False)
    other = file_bytes(make_dicom(values, 8, Modality="CT"))
    assert code(other) == "modality"
    assert read_image(other, options=ReadingOptions(modalities=None)).meta["modality"] == "CT"
    several = make_dicom(np.vstack([values, values[::-1]]), 8)
    several.Rows, several.NumberOfFrames = HEIGHT, 2
    assert code(file_bytes(several)) == "multi_frame"
    assert code(file_bytes(several), frame=2) == "multi_frame"
    first, second = (
        read_image(file_bytes(several), options=ReadingOptions(frame=i)).pixels for i in (0, 1)
    )
    np.testing.assert_array_equal(first[::-1], second)


def test_files_that_lie_about_their_size_are_refused(make_dicom, file_bytes) -> None:
    values = stored(picture(8), 8, signed=False, inverted=False)
    assert code(file_bytes(make_dicom(values, 8, Rows=HEIGHT + 1))) == "truncated"
    assert code(file_bytes(make_dicom(values, 8, Rows=60_000, Columns=60_000))) == "too_large"
    for stated in ({"Rows": HEIGHT + 1}, {"Columns": WIDTH - 1}):
        dataset = make_dicom(values, 8)
        coded_by_pillow(dataset, uid.JPEGBaseline8Bit, "JPEG")
        for name, value in stated.items():
            setattr(dataset, name, value)
        assert code(file_bytes(dataset)) == "damaged"


def test_a_coded_picture_larger_than_allowed_is_refused_before_decoding(
    make_dicom, file_bytes
) -> None:
    values = np.zeros((300, 300), dtype=np.int64)
    dataset = make_dicom(values, 8)
    coded_by_pillow(dataset, uid.JPEGBaseline8Bit, "JPEG")
    dataset.Rows = dataset.Columns = 10
    assert code(file_bytes(dataset), max_pixels=1_000) == "too_large"


def test_a_deflated_bomb_is_refused_before_it_is_inflated(make_dicom, file_bytes) -> None:
    dataset = make_dicom(np.zeros((2_000, 2_000), dtype=np.int64), 16)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    assert code(file_bytes(dataset), max_bytes=1_000_000) == "too_large"


def test_a_syntax_without_its_decoder_names_the_package(
    make_dicom, file_bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jpeg_ls")
    dataset = make_dicom(stored(picture(8), 8, signed=False, inverted=False), 8)
    dataset.compress(uid.JPEGLSLossless, generate_instance_uid=False)
    data = file_bytes(dataset)
    monkeypatch.setattr(get_decoder(uid.JPEGLSLossless), "_available", {})
    with pytest.raises(ImageError, match=r"pyjpegls: pip install 'cxrfeat\[dicom\]'") as caught:
        read_image(data)
    assert caught.value.code == "decoder_missing"


def coded(frame: bytes, dataset: Dataset, syntax: str) -> Dataset:
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def noise(bits: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**bits, (64, 64))


def test_a_damaged_jpeg_in_a_dicom_file_is_damage(make_dicom, file_bytes) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise().astype(np.uint8)).save(buffer, "JPEG", quality=95)
    frame = buffer.getvalue()
    middle = len(frame) // 2
    dataset = make_dicom(noise(), 8, WindowCenter=128, WindowWidth=256)
    whole = file_bytes(coded(frame, dataset, uid.JPEGBaseline8Bit))
    assert "simplejpeg" in read_image(whole).decoder
    changed = frame[:middle] + bytes(60) + frame[middle + 60 :]
    assert code(file_bytes(coded(changed, dataset, uid.JPEGBaseline8Bit))) == "damaged"


def test_jpeg_2000_codes_that_cannot_be_are_damage(make_dicom, file_bytes) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise().astype(np.uint8)).save(buffer, "JPEG2000", no_jp2=True)
    frame = buffer.getvalue()
    tile, middle = frame.index(b"\xff\x90"), len(frame) // 2
    length = int.from_bytes(frame[tile + 6 : tile + 10])
    dataset = make_dicom(noise(), 8, WindowCenter=128, WindowWidth=256)
    read_image(file_bytes(coded(frame, dataset, uid.JPEG2000Lossless)))
    for changed in (
        frame[:middle] + b"\xff\xfe" + frame[middle + 2 :],
        frame[: tile + 6] + (length - 9).to_bytes(4) + frame[tile + 10 :],
        frame[:-2] + b"left over" + frame[-2:],
    ):
        assert code(file_bytes(coded(changed, dataset, uid.JPEG2000Lossless))) == "damaged"
