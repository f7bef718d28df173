"""How fast large radiographs are read: cxrfeat against plain Pillow and pydicom, in one run.

Every way ends with a float picture of 224 x 224 in [0, 1]. Files are synthetic (a phantom of
2,500 x 3,000 pixels) and come from the page cache; the median of `--repeats` is reported, in one
thread.
The last lines say how far scaled JPEG decoding is from decoding every pixel.

    python benchmarks/decode.py [--repeats 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from cxrfeat.images import read_image, resize
from cxrfeat.images.drawing.phantom import Anatomy, draw_phantom

HEIGHT, WIDTH, SIDE = 2_500, 3_000, 224


def picture() -> np.ndarray:
    """Draw a phantom with 12-bit noise on top, so that it compresses like a radiograph."""
    rng = np.random.default_rng(0)
    small = draw_phantom(Anatomy.random(rng), "focal_opacity", rng, 1_000)
    large = np.array(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    return np.clip(large + rng.normal(0, 0.004, large.shape), 0, 1)


def write_files(folder: Path) -> dict[str, Path]:
    """Write the same picture as JPEG, PNG of 8 and 16 bits, and uncompressed DICOM."""
    pixels = picture()
    grey = Image.fromarray(np.round(pixels * 255).astype(np.uint8))
    deep = np.round(pixels * 4095).astype("<u2")
    paths = {name: folder / name for name in ("grey.jpg", "rgb.jpg", "8.png", "16.png", "12.dcm")}
    grey.save(paths["grey.jpg"], quality=92)
    grey.convert("RGB").save(paths["rgb.jpg"], quality=92)
    grey.save(paths["8.png"])
    Image.fromarray(deep * 16).save(paths["16.png"])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("12.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    elements: dict[str, Any] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "DX",
        "PhotometricInterpretation": "MONOCHROME1",
        "SamplesPerPixel": 1,
        "Rows": HEIGHT,
        "Columns": WIDTH,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "WindowCenter": 2048,
        "WindowWidth": 4096,
        "PixelData": (4095 - deep).tobytes(),
    }
    for name, value in elements.items():
        setattr(dataset, name, value)
    pydicom.dcmwrite(paths["12.dcm"], dataset, enforce_file_format=True)
    return paths


def ours(path: Path) -> np.ndarray:
    """Read as `cxrfeat extract` does; the file's sha256 is part of it."""
    return resize(read_image(path).pixels, SIDE)


def plain_pillow(path: Path) -> np.ndarray:
    """Read as a notebook does; 16 bits by hand, since convert("L") would clip them."""
    with Image.open(path) as image:
        if image.mode.startswith("I"):
            grey = Image.fromarray(np.asarray(image, dtype=np.float32) / 65535)
            return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return np.asarray(small, dtype=np.float32) / 255


def plain_pydicom(path: Path) -> np.ndarray:
    """Read as pydicom's guide does: window onto the range of the bits, then invert by hand."""
    dataset = pydicom.dcmread(path)
    values = np.asarray(apply_voi_lut(dataset.pixel_array, dataset), dtype=np.float32)
    image = Image.fromarray(1 - values / (2**dataset.BitsStored - 1))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def median_ms(read: Callable[[Path], np.ndarray], path: Path, repeats: int) -> float:
    """Return the median time of `read` in milliseconds, after one call to warm up."""
    read(path)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        read(path)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def scaled_against_full(path: Path) -> dict[str, dict[str, float]]:
    """Return the difference of scaled JPEG decoding to decoding every pixel, per network size."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        full = np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
    scaled = read_image(path).pixels
    differences = {}
    for side in (224, 300, 512):
        apart = np.abs(resize(scaled, side) - resize(full, side))
        differences[str(side)] = {"mean": float(apart.mean()), "max": float(apart.max())}
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "pillow": PIL.__version__,
        "pydicom": pydicom.__version__,
        "size": [WIDTH, HEIGHT],
        "ms": {},
    }
    with TemporaryDirectory() as folder:
        for name, path in write_files(Path(folder)).items():
            plain = plain_pydicom if name.endswith(".dcm") else plain_pillow
            entry = {
                "megabytes": path.stat().st_size / 1e6,
                "cxrfeat": median_ms(ours, path, arguments.repeats),
                "plain": median_ms(plain, path, arguments.repeats),
                "largest_difference": float(np.abs(ours(path) - plain(path)).max()),
            }
            report["ms"][name] = entry
            print(
                f"{name:9s} {entry['megabytes']:5.1f} MB   cxrfeat {entry['cxrfeat']:6.1f} ms   "
                f"plain {entry['plain']:6.1f} ms   x {entry['plain'] / entry['cxrfeat']:.2f}   "
                f"largest difference {entry['largest_difference']:.4f}"
            )
            if name == "grey.jpg":
                report["scaled_jpeg"] = scaled_against_full(path)
    for side, apart in report["scaled_jpeg"].items():
        print(f"scaled JPEG at {side}: mean {apart['mean']:.5f}, largest {apart['max']:.4f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
