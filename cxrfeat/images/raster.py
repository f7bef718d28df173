"""JPEG, PNG, TIFF, BMP and WebP to grey floats: headers through Pillow, and most pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from cxrfeat.errors import ImageError
from cxrfeat.images import containers, jpeg
from cxrfeat.images.decoded import Decoded, ReadingOptions, one_line
from cxrfeat.images.depth import DEEP_MODES, needed_bits, stated_bits
from cxrfeat.images.quiet import hush

_Floats = npt.NDArray[np.float32]

_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG = 262
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SCALED_SIDE = 1024
"""Eight-bit pictures are halved, once or more, while their shorter side keeps this length."""


def read_jpeg(data: bytes, options: ReadingOptions) -> Decoded:
    """Decode a JPEG file, a large one scaled down while it is decoded.

    libjpeg then computes fewer pixels from each block of coefficients. The size does not depend on
    the network, so that a row does not depend on which other networks ran along.
    ``docs/images.md`` states how close this is to the full path.
    """
    _check_jpeg_end(data)
    return _read(JpegImageFile, data, options)


def read_png(data: bytes, options: ReadingOptions) -> Decoded:
    """Decode a PNG file of 1 to 16 bits."""
    containers.check_png(data)
    return _read(PngImageFile, data, options)


def read_tiff(data: bytes, options: ReadingOptions) -> Decoded:
    """Decode the only page of a TIFF file of 1 to 32 bits."""
    return _read(TiffImageFile, data, options)


def read_bmp(data: bytes, options: ReadingOptions) -> Decoded:
    """Decode a BMP file."""
    return _read(BmpImageFile, data, options)


def read_webp(data: bytes, options: ReadingOptions) -> Decoded:
    """Decode a WebP file."""
    return _read(WebPImageFile, data, options)


def _read(plugin: type[ImageFile.ImageFile], data: bytes, options: ReadingOptions) -> Decoded:
    # The plugin of the recognised format is opened directly: `Image.open` would warn about, or
    # refuse, large images by a limit that is global to the process.
    hush("PIL")
    try:
        image = plugin(io.BytesIO(data))
    except Exception as error:
        code = "truncated" if "runcated" in str(error) else "damaged"
        raise ImageError(code, f"the header cannot be read: {one_line(error)}") from None
    with image:
        options.check_pixels(image.height, image.width)
        _check_layout(image, data)
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1:
            raise ImageError("multi_frame", f"the file holds {frames} pictures, not one")
        full = image.size
        picture, decoder, unsure = _decoded(image, data)
        stated = stated_bits(image, io.BytesIO(data)) if picture.mode in DEEP_MODES else None
        pixels, bits, steps, warnings = _to_grey(picture, stated, options)
        if picture.size != full:
            at = f"{picture.width} x {picture.height}"
            steps.insert(0, f"decoded at {at} of {full[0]} x {full[1]}")
        turned = _upright(pixels, image)
        if turned is not pixels:
            steps.append("turned upright by its EXIF orientation")
    return Decoded(
        pixels=turned,
        height=full[1],
        width=full[0],
        bits=bits,
        decoder=decoder,
        steps=tuple(steps),
        warnings=(*warnings, *unsure),
    )


def picture_to_grey(
    picture: Image.Image, options: ReadingOptions
) -> tuple[_Floats, int, list[str], list[str]]:
    """Return pixels in [0, 1], the significant bits, steps and warnings of a picture in memory."""
    # The file of a picture may be closed, and with it what a PNG states.
    stated = None if isinstance(picture, PngImageFile) else stated_bits(picture, io.BytesIO())
    pixels, bits, steps, warnings = _to_grey(picture, stated, options)
    turned = _upright(pixels, picture)
    if turned is not pixels:
        steps.append("turned upright by its EXIF orientation")
    return turned, bits, steps, warnings


def _check_layout(image: ImageFile.ImageFile, data: bytes) -> None:
    if isinstance(image, TiffImageFile):
        containers.check_tiff(image, data)
    elif isinstance(image, BmpImageFile):
        containers.check_bmp(data)


def _decoded(image: ImageFile.ImageFile, data: bytes) -> tuple[Image.Image, str, tuple[str, ...]]:
    """Return the picture with its decoder and what that decoder would not have noticed."""
    unsure: tuple[str, ...] = ()
    if image.format == "JPEG":
        try:
            return _jpeg_picture(image, data), jpeg.DECODER, unsure
        except jpeg.UnusualSubsamplingError:
            unsure = ("unusual JPEG subsampling: damage may not be noticed",)
            _decode_scaled(image)
    _load_whole(image)
    return image, f"Pillow {PIL.__version__}", unsure


def _jpeg_picture(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    scale = _scale(image.size)
    if image.mode in ("L", "RGB"):
        return Image.fromarray(jpeg.decode_jpeg(data, image.size, scale=scale))
    channels = jpeg.decode_jpeg(data, image.size, space="CMYK", scale=scale)
    return Image.fromarray(255 - channels, mode="CMYK")  # stored as Adobe does, full ink is 0


def _decode_scaled(image: ImageFile.ImageFile) -> None:
    """Have the decoder give the luma alone, and fewer pixels of a large picture."""
    scale = _scale(image.size)
    mode = "L" if image.mode in ("L", "RGB") else image.mode
    image.draft(mode, (image.width // scale, image.height // scale))


def _reduced(grey: Image.Image) -> Image.Image:
    """Average squares of pixels of a large picture, which is faster than floats of all of them."""
    scale = _scale(grey.size)
    return grey.reduce(scale) if scale > 1 else grey


def _scale(size: tuple[int, int]) -> int:
    return next((s for s in (8, 4, 2) if min(size) >= s * SCALED_SIDE), 1)


def _check_jpeg_end(data: bytes) -> None:
    """Require an end marker after the beginning of the pixels.

    A broken download is often filled up with zeros; libjpeg reads these as a grey rest. Within
    the pixels the two bytes cannot occur, and the ends of previews lie before them.
    """
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        filler = data[place + 1 : place + 2] == b"\xff"
        place += 1 if filler else 2 + int.from_bytes(data[place + 2 : place + 4])
    if data.find(b"\xff\xd9", place) < 0:
        raise ImageError("truncated", "the JPEG file has no end")


def _load_whole(image: ImageFile.ImageFile) -> None:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        code = "truncated" if "runcated" in str(error) else "damaged"
        reason = f"the picture cannot be decoded whole: {one_line(error)}"
        raise ImageError(code, reason) from None


def _to_grey(
    image: Image.Image, stated: int | None, options: ReadingOptions
) -> tuple[_Floats, int, list[str], list[str]]:
    """Return pixels in [0, 1], the significant bits, the steps taken and warnings."""
    if image.mode in DEEP_MODES:
        return _scale_integers(np.asarray(image), _white_is_zero(image), stated, options)
    if image.mode == "F":
        return _scale_floats(np.asarray(image))
    steps: list[str] = []
    warnings: list[str] = []
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image).convert("RGB")
        steps.append("alpha over black")
    elif image.mode not in ("1", "L", "RGB"):
        steps.append(f"{image.mode} to RGB")
        image = image.convert("RGB")
    if image.mode == "RGB":
        if _is_coloured(image):
            warnings.append("colour picture")
        steps.append("luma of RGB")
    whole = image.convert("L")
    small = _reduced(whole)
    if small is not whole:
        steps.append(f"averaged to {small.width} x {small.height}")
    grey = np.asarray(small, dtype=np.float32)
    grey /= 255.0
    return grey, 8, [*steps, "divided by 255"], warnings


def _is_coloured(image: Image.Image) -> bool:
    """Tell real colour from grey stored in three channels, with room for JPEG's rounding."""
    small = np.asarray(image.resize((64, 64), Image.Resampling.BOX), dtype=np.int16)
    return bool((small.max(axis=2) - small.min(axis=2)).max() > 16)


def _white_is_zero(image: Image.Image) -> bool:
    """Tell a TIFF that counts down from white, which Pillow undoes for 8 bits but not for 16."""
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC_TAG) == 0)


def _scale_integers(
    samples: npt.NDArray[Any], inverted: bool, stated: int | None, options: ReadingOptions
) -> tuple[_Floats, int, list[str], list[str]]:
    """Divide by the full scale of the bits that the file states, else of those it is read with.

    A 12-bit detector writes 12 bits into 16-bit files; dividing those by 65,535 would give a
    nearly black picture.
    """
    if samples.min() < 0:
        return _scale_floats(samples)
    bits, warnings = _bits(int(samples.max()), stated, options)
    pixels = samples.astype(np.float32)
    pixels /= np.float32(2**bits - 1)
    steps = [f"divided by {2**bits - 1}"]
    if inverted:
        np.subtract(1.0, pixels, out=pixels)
        steps.append("inverted (white is zero)")
    return pixels, bits, steps, warnings


def _bits(largest: int, stated: int | None, options: ReadingOptions) -> tuple[int, list[str]]:
    if stated is not None:
        if largest >= 2**stated:
            raise ImageError("damaged", f"a sample of {largest}, where {stated} bits are stated")
        return stated, []
    if options.bits is not None:
        if largest >= 2**options.bits:
            raise ImageError(
                "depth",
                f"a sample of {largest} does not fit the {options.bits} bits that the set is read"
                f" with: extract all anew with --bits {needed_bits(largest)}, or convert it",
            )
        return options.bits, []
    if not options.guess_bits:
        raise ImageError(
            "depth",
            "16 bits, and neither the file nor the spec states how many are used: convert it to 8"
            " bits, or extract anew with it among the images",
        )
    return needed_bits(largest), ["bits guessed from this picture alone"]


def _scale_floats(
    samples: npt.NDArray[Any],
) -> tuple[_Floats, int, list[str], list[str]]:
    """Take floats within [0, 1] as they are; others have no stated range, so stretch theirs."""
    pixels = samples.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise ImageError("damaged", "the picture holds values that are not finite")
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0.0 and high <= 1.0:
        return pixels, 32, ["floats taken as they are"], []
    pixels -= low
    pixels /= (high - low) or 1.0
    return pixels, 32, [f"stretched from {low:g} .. {high:g}"], ["no stated range of values"]


def _upright(pixels: _Floats, image: Image.Image) -> _Floats:
    """Turn as the EXIF orientation says; a broken EXIF block says nothing."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return pixels
    if turn is None:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(turn))
