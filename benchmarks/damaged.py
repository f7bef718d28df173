"""How many damaged files are read as if they were whole, by format and by kind of damage.

Files are damaged in four ways, the same ones for the same seed: cut short, up to 59 bits flipped,
up to 9 of the first 200 bytes overwritten, 400 bytes of zeros. The originals are phantoms in every
raster format and, where `--images` and `--dicom` name them, real files beside them: the figures in
``docs/images.md`` are of nine JPEG and two PNG radiographs and a DICOM file of JPEG 2000.

    python benchmarks/damaged.py [--images FOLDER] [--dicom FILE] [--files 989] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from cxrfeat.errors import ImageError
from cxrfeat.images import read_image
from cxrfeat.images.drawing.phantom import Anatomy, draw_phantom
from cxrfeat.signatures import HEAD_BYTES, recognise

KINDS = ("cut", "flip", "header", "zeros")
SEED = 4


def phantom(seed: int, format: str) -> bytes:
    """Draw a phantom and encode it."""
    rng = np.random.default_rng(seed)
    pixels = draw_phantom(Anatomy.random(rng), "clear", rng, 96)
    buffer = io.BytesIO()
    Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(buffer, format)
    return buffer.getvalue()


def originals(images: Path | None, dicom: Path | None) -> list[bytes]:
    """Return phantoms in every raster format, and real files where they are named."""
    found = [phantom(i, name) for i, name in enumerate(("PNG", "TIFF", "BMP", "WebP", "JPEG"))]
    if images is not None:
        found += [path.read_bytes() for path in sorted(images.rglob("*.jp*g"))[::40]]
        found += [path.read_bytes() for path in sorted(images.rglob("*.png"))[:2]]
    if dicom is not None:
        found.append(dicom.read_bytes())
    return found


def damaged(data: bytes, kind: str, rng: random.Random) -> bytes:
    """Damage a file in one of the `KINDS`."""
    changed = bytearray(data)
    if kind == "cut":
        return bytes(changed[: rng.randrange(1, int(0.95 * len(data)))])
    if kind == "flip":
        for _ in range(rng.randrange(1, 60)):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "header":
        for _ in range(rng.randrange(1, 10)):
            changed[rng.randrange(min(200, len(data)))] = rng.randrange(256)
    else:
        start = rng.randrange(len(data))
        changed[start : start + 400] = bytes(len(changed[start : start + 400]))
    return bytes(changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--dicom", type=Path)
    parser.add_argument("--files", type=int, default=989)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    whole = originals(arguments.images, arguments.dicom)
    rng = random.Random(SEED)
    files: Counter[tuple[str, str]] = Counter()
    read: Counter[tuple[str, str]] = Counter()
    for number in range(arguments.files):
        kind, original = KINDS[number % 4], whole[number // 4 % len(whole)]
        place = (str(recognise(original[:HEAD_BYTES])), kind)
        data = damaged(original, kind, rng)
        files[place] += 1
        try:
            read_image(data)
        except ImageError:
            continue
        read[place] += 1
    print(f"{read.total()} of {files.total()} damaged files are read as pictures")
    for place in sorted(files):
        print(f"{place[0]:6s} {place[1]:7s} {read[place]:4d} of {files[place]}")
    if arguments.json:
        rows = [
            {"format": name, "damage": kind, "files": files[name, kind], "read": read[name, kind]}
            for name, kind in sorted(files)
        ]
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
