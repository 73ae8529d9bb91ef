"""From any image file to RGB to the square of section 2.

The way of an image to conv1: `open_image` (a file, to RGB) and `square` (side x side pixels) here; pack.py
keeps the squares; augment.py cuts crops, or the centre, out of them; `AlexNet.prepare` subtracts the mean.
"""

from __future__ import annotations

import io
import math
import os
import re
import threading
import zlib
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError
from torch import Tensor

LARGE = 20_000_000   # pixels from which an image has to wait for its turn
MOST = 4 * 2 * 89_478_485   # bytes to open a JPEG at reduced scale: what the pixels of Pillow's limit take
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339   # TIFF's tags

one_at_a_time = threading.Lock()


# ------------------------------------------------------------------- section 2

def packed_side(image_size: int) -> int:
    """The side of the squares for an input of `image_size` pixels: 256 for 224, and in proportion."""
    return round(image_size * 256 / 224)


def square(image: Image.Image, side: int) -> np.ndarray:
    """Section 2: the shorter side to `side`, the central square; (side, side, 3) uint8 from RGB.

    A picture far larger than that is first reduced by a whole factor, as `open_image` does with JPEG: never
    below twice the side. torch's bicubic then gives what Pillow's does, to a grey level, in a fraction of
    the time.
    """
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    pixels = np.array(image.reduce(max(1, short // (2 * side)), (left, top, left + short, top + short)))
    if len(pixels) == side:
        return pixels
    channels = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)   # [None] in torch: else not channels_last
    resized = F.interpolate(channels, (side, side), mode="bicubic", antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


# ------------------------------------------------------------------- files

def open_image(file: Any, side: int | None = None) -> Image.Image:
    """Any image (a path, an open file or its bytes) as `to_rgb` makes it; the first frame of several.

    With `side`, a JPEG far larger than that is decoded at reduced scale, never below twice the side.
    Whatever Pillow raises comes through: among it DecompressionBombError for what has more than 0.7 GiB
    of pixels (of a JPEG: at reduced scale, with its coefficients). Of images with more than LARGE pixels,
    one at a time is opened, so that many threads do not take many times the memory.
    """
    if not isinstance(file, (str, bytes, os.PathLike)) and not hasattr(file, "read"):
        raise TypeError(f"{type(file).__name__} is no image: give a path, PIL's image, an array or a tensor")
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        return decode(file, side)
    except Image.DecompressionBombError:
        raise
    except Exception as error:   # Pillow raises nearly anything for a damaged file
        head = content(file, 64)
        if head.startswith(PNG):
            with suppress(Exception):
                return decode(io.BytesIO(without_remarks(content(file))), side)
        if isinstance(error, UnidentifiedImageError):
            raise UnidentifiedImageError(unidentified(head)) from None
        raise


def decode(file: Any, side: int | None) -> Image.Image:
    try:
        image, most = Image.open(file, formats=formats()), math.inf
    except Image.DecompressionBombError:   # Pillow counts a JPEG's pixels, we the bytes at reduced scale
        if content(file, len(JPEG)) != JPEG:
            raise
        image, most = JpegImagePlugin.jpeg_factory(io.BytesIO(content(file))), MOST
    with image:
        (width, height), needed = image.size, 0
        if "progressive" in image.info:   # all its coefficients are in memory at once, two bytes each
            sampling = np.array(image.layer)[:, 1:3]   # of each channel, across and down
            needed = 2 * width * height * sampling.prod(1).sum() / sampling.max(0).prod()
        if side:
            image.draft(None, (2 * side, 2 * side))
        needed += 4 * math.prod(image.size)
        if needed > most:
            raise Image.DecompressionBombError(f"{width} x {height} pixels take {needed / 2**30:.1f} GiB "
                                               "to open: save it smaller")
        with one_at_a_time if needed > 4 * LARGE else nullcontext():
            return to_rgb(image)


@cache
def formats() -> list[str]:
    """Those of Pillow's formats that are pictures to it, too: for EPS it would start Ghostscript. HEIC is
    among them where pillow-heif is installed."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif
        pillow_heif.register_heif_opener()
    return [name for name in Image.OPEN if name not in ("EPS", "WMF", "FPX", "MIC")]


@cache
def suffixes() -> frozenset[str]:
    """How the names of image files end, in lower case: for all `formats()` but films and measurements, which
    Pillow does not decode; and for HEIC and AVIF, whose package may be missing: whoever opens one is told."""
    decoded = {*formats(), "MPO"} - {"BUFR", "GRIB", "HDF5", "MPEG"}
    endings = {suffix for suffix, name in Image.registered_extensions().items() if name in decoded}
    return frozenset(endings | {".heic", ".heif", ".hif", ".avif"})


def is_image(path: Path) -> bool:
    """By its suffix; by its content if it has none, or one that is no kind of file (1.jpg?w=200, 1.jpg.1)."""
    suffix = path.suffix.lower()
    if suffix in suffixes() or re.fullmatch(r"\.[a-z]\w{1,4}", suffix) or not path.is_file():
        return suffix in suffixes()
    try:
        with Image.open(path, formats=formats()):
            return True
    except Exception as error:   # Pillow raises nearly anything
        return isinstance(error, Image.DecompressionBombError)


def content(file: Any, count: int = -1) -> bytes:
    """The first bytes of a file, given by its path or open."""
    with nullcontext(file) if hasattr(file, "read") else open(file, "rb") as stream:
        stream.seek(0)
        return stream.read(count)


def without_frames(error: Exception) -> Exception:
    """To be kept: the frames that it went through would keep what they hold, a picture half read."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def unidentified(head: bytes) -> str:
    """Why Pillow does not know a file, from its first bytes."""
    brands = head[8:] if head[4:8] == b"ftyp" else b""
    if b"avif" in brands and "AVIF" not in Image.OPEN:
        return "AVIF needs Pillow 11.3 or newer: pip install --upgrade pillow"
    if re.match(rb"he[iv]|mif1|msf1", brands) and "HEIF" not in Image.OPEN:
        return "HEIC by its content, and that needs one more package: pip install pillow-heif"
    return "not an image, damaged, or of a kind that is not opened" if head else "the file is empty"


def without_remarks(png: bytes) -> bytes:
    """A PNG file without texts, colour profiles and the like: Pillow refuses large ones, and wrong checksums,
    where viewers show the picture. Transparency and EXIF stay if their checksums are right."""
    kept, place = [PNG], len(PNG)
    while place < len(png):
        end = place + 12 + int.from_bytes(png[place:place + 4], "big")
        kind, checksum = png[place + 4:place + 8], zlib.crc32(png[place + 4:end - 4]).to_bytes(4, "big")
        if kind[:1].isupper() or kind in (b"tRNS", b"eXIf") and checksum == png[end - 4:end]:
            kept.append(png[place:end])
        place = end
    return b"".join(kept)


# ------------------------------------------------------------------- pixels

def to_rgb(image: Image.Image) -> Image.Image:
    """RGB with 8 bits from any mode of Pillow, turned as its EXIF data say; transparent parts become white.

    With more than 8 bits, what is white follows from the kind of file, not from the brightest pixel: so all
    images of a set are scaled alike. In floating point it is 1, but 255 if all values are whole and one is
    above 1 (8 bits, saved so). In whole numbers it is the largest of the bits that a TIFF file declares (12:
    4095), of at most 16. ValueError for pixels beyond it. `.info["dim"]` is there if none reaches a quarter.
    """
    tags, tiles = getattr(image, "tag_v2", {}), str(getattr(image, "tile", ""))
    reduced = ";16" in tiles and "BGR" not in tiles   # three channels of 16 bits, of which Pillow keeps 8
    image.load()
    with suppress(Exception):   # EXIF data that cannot be read turn nothing
        image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        values, signed = np.asarray(image), tags.get(SAMPLE_FORMAT, (1,))[0] == 2
        white = 2 ** min(16, tags.get(BITS, (16,))[0] - signed) - 1
        if image.mode == "F":
            with np.errstate(invalid="ignore"):   # infinity has its message below
                white = 1 if values.max() <= 1 or (values % 1).any() else 255
        if tags.get(PHOTOMETRIC) == 0:   # WhiteIsZero, which Pillow respects with 8 bits only
            values = white - values
        dim = values.max() < white / 4
        if "transparency" in image.info:   # one grey value, in PNG
            values = np.where(values == image.info["transparency"], white, values)
        image = Image.fromarray(to_bytes(values, white)).convert("RGB")
    else:
        dim = reduced and np.max(image.convert("RGB").getextrema()) < 255 / 4
        if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    if dim:
        image.info["dim"] = True
    return image


def to_bytes(values: np.ndarray, white: float) -> np.ndarray:
    """0..white to uint8 0..255; ValueError for what lies beyond, but in floating point a tenth of the range,
    as resampling leaves it, is cut off. NaN becomes black."""
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)   # NaN only if all are
    slack = white / 10 if values.dtype.kind == "f" else 0
    if not -slack <= low <= high <= white + slack:
        raise ValueError(f"its pixels reach from {low:g} to {high:g}, and in such an image 0 is black and "
                         f"{white:g} white: save it scaled to that, or with 8 bits")
    return np.nan_to_num(values * (255 / white)).clip(0, 255).round().astype(np.uint8)


def dim_text(names: list[str]) -> str:
    """What is wrong with images of which `to_rgb` says that they are dim."""
    return (f"{len(names)} image(s) of more than 8 bits, such as {names[0]}, have no pixel that reaches a "
            "quarter of white (12 bits saved as 16?): nearly black to the network; scale them to all bits")


def from_array(pixels: np.ndarray | Tensor) -> Image.Image:
    """RGB from an array (H, W) or (H, W, C), or a tensor (C, H, W), C = 1, 3 or 4; either may have the other
    order. bool, uint8, uint16, or floating point with white at 1 or 255; ValueError or TypeError else."""
    axes = (0, 2) if isinstance(pixels, Tensor) else (2, 0)   # of the channels, the likelier one first
    if isinstance(pixels, Tensor):
        pixels = (pixels.float() if pixels.is_floating_point() else pixels).numpy(force=True)
    shape, dtype, high = pixels.shape, pixels.dtype, pixels.max(initial=0)
    axis = next((axis for axis in axes if len(shape) == 3 and shape[axis] in (1, 3, 4)), None)
    if not pixels.size or len(shape) != 2 and axis is None:
        text = " x ".join(map(str, shape))
        raise ValueError(f"an array of {text} is no image: give H x W x 3 or 3 x H x W")
    if dtype.kind != "f" and dtype not in (bool, np.uint8, np.uint16):
        raise TypeError(f"pixels of {dtype}: give uint8 (0..255) or floating point (0..1 or 0..255)")
    if dtype.kind == "f" and 1.1 < high < 16:
        raise ValueError(f"its largest value is {high:g}: in floating point, white is 1 or 255")
    if dtype != np.uint8:
        pixels = to_bytes(pixels, 65535 if dtype == np.uint16 else 255 if high >= 16 else 1)
    pixels = pixels if axis is None else np.moveaxis(pixels, axis, 2)
    return to_rgb(Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))
