"""The real DICOM files: what each of them gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import ImageError
from cxrfeat.images import ReadingOptions, declared_columns, read_image

ANY = ReadingOptions(modalities=None)

# File: what reading it gives, and what it gives when any modality and the first frame are asked
# for. A tuple of height, width, bits and the steps, or the code of the refusal.
WINDOW_CR = ("window 1 of 1: LINEAR 550 / 1024", "inverted (MONOCHROME1)")
FILES = {
    "JLSL_08_07_0_1F.dcm": ("modality", (128, 128, 7, ("percentiles 0.5 to 99.5: 2 to 103",))),
    "JLSL_16_15_1_1F.dcm": (
        "modality",
        (128, 128, 15, ("percentiles 0.5 to 99.5: -15828 to 10315",)),
    ),
    "JPEG-LL.dcm": ("modality", (1024, 256, 16, ("percentiles 0.5 to 99.5: 0 to 112",))),
    "JPGLosslessP14SV1_1s_1f_8b.dcm": (
        "modality",
        (768, 1024, 8, ("window 1 of 1: LINEAR 127 / 254",)),
    ),
    "MR2_J2KI.dcm": (
        "modality",
        (1024, 1024, 12, ("rescaled: 3.77411 x + 6.1e-05", "window 1 of 1: LINEAR 1000 / 2000")),
    ),
    "OBXXXX1A.dcm": ("modality", "colour"),
    "OBXXXX1A_2frame.dcm": ("modality", "multi_frame"),
    "OBXXXX1A_rle.dcm": ("modality", "colour"),
    "RG3_J2KI.dcm": ((1760, 1760, 10, WINDOW_CR), (1760, 1760, 10, WINDOW_CR)),
    "RG3_J2KR.dcm": ((1760, 1760, 10, WINDOW_CR), (1760, 1760, 10, WINDOW_CR)),
    "SC_rgb.dcm": ("modality", "colour"),
    "bad_sequence.dcm": (
        "modality",
        (512, 512, 12, ("rescaled: 1 x + -1024", "window 1 of 2: LINEAR 40 / 350")),
    ),
    "color-pl.dcm": ("modality", "colour"),
    "emri_small_jpeg_2k_lossless_too_short.dcm": ("truncated", "truncated"),
    "explicit_VR-UN.dcm": (
        "modality",
        (512, 512, 16, ("percentiles 0.5 to 99.5: -1024 to 327",)),
    ),
    "liver_nonbyte_aligned.dcm": ("modality", "multi_frame"),
    "mlut_18.dcm": (
        "modality",
        (512, 512, 12, ("modality LUT", "percentiles 0.5 to 99.5: 0 to 65535")),
    ),
    "vlut_04.dcm": ("modality", (512, 512, 8, ("VOI LUT 1 of 1",))),
}


def outcome(path: Path, options: ReadingOptions | None = None) -> object:
    try:
        radiograph = read_image(path, options=options)
    except ImageError as error:
        return error.code
    pixels = radiograph.pixels
    assert pixels.dtype == np.float32
    assert 0.0 <= pixels.min() < pixels.max() <= 1.0
    return (*pixels.shape, radiograph.bits, radiograph.steps)


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_decoded_or_refused_as_documented(real_dicom: Path, name: str) -> None:
    by_default, any_modality = FILES[name]
    if name.startswith("JLSL"):
        pytest.importorskip("jpeg_ls")
    if name.startswith(("JPEG-LL", "JPGLoss", "bad_seq")):
        pytest.importorskip("gdcm")
    assert outcome(real_dicom / name) == by_default
    assert outcome(real_dicom / name, ANY) == any_modality


def test_the_table_names_every_file(real_dicom: Path) -> None:
    assert sorted(FILES) == sorted(path.name for path in real_dicom.iterdir())


@pytest.mark.parametrize("name", ["RG3_J2KI.dcm", "RG3_J2KR.dcm"])
def test_the_two_radiographs_come_out_with_bone_bright(real_dicom: Path, name: str) -> None:
    pixels = read_image(real_dicom / name).pixels
    bone, soft_tissue, air = pixels[500, 830], pixels[500, 700], pixels[500, 500]
    assert bone > soft_tissue > air
    assert air < 0.1


def test_lossy_and_lossless_copies_of_one_radiograph_agree(real_dicom: Path) -> None:
    lossy, lossless = (read_image(real_dicom / f"RG3_J2K{kind}.dcm").pixels for kind in "IR")
    assert np.abs(lossy - lossless).mean() < 0.01


def test_columns_are_the_same_with_and_without_decoding(real_dicom: Path) -> None:
    columns = read_image(real_dicom / "RG3_J2KR.dcm").meta
    assert declared_columns(real_dicom / "RG3_J2KR.dcm") == columns
    assert columns["view"] == "AP"
    assert columns["photometric"] == "MONOCHROME1"
    assert len(columns["group"]) == 16
