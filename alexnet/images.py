"""Opening any image file, to RGB, to the square of section 2; and work in order on threads.

The packed form is section 2 of the paper: the shorter side to 256, the central 256 x 256, kept as it is. For
another input size S the side is S * 256 / 224.
"""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

LARGE = 20_000_000   # pixels from which an image has to wait for its turn

one_at_a_time = threading.Lock()


def open_image(file: Any, side: int | None = None) -> Image.Image:
    """Any image file as RGB, turned as its EXIF data say; the first frame of several.

    Transparent parts become white, 16 bits become 8. With `side`, a JPEG far larger than that is
    decoded at reduced scale, never below twice the side. Whatever pillow raises comes through:
    among it DecompressionBombError from 179 million pixels on. Of images with more than LARGE
    pixels, one at a time is opened, so that many threads do not take many times the memory.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata; what cannot be read raises all the same
        with Image.open(file, formats=formats()) as image:
            if side:
                image.draft(None, (2 * side, 2 * side))
            with one_at_a_time if math.prod(image.size) > LARGE else nullcontext():
                image.load()
                return to_rgb(ImageOps.exif_transpose(image))


def formats() -> list[str]:
    """Those of pillow's formats that are pictures to it, too: for EPS it would start Ghostscript."""
    Image.init()
    return [name for name in Image.OPEN if name not in ("EPS", "WMF", "FPX", "MIC")]


@cache
def suffixes() -> frozenset[str]:
    """How the names of image files end, in lower case: for all `formats()` but films and measurements, which
    pillow does not decode; and for HEIC, whose package may be missing (whoever opens one is told)."""
    decoded = set(formats()) - {"BUFR", "GRIB", "HDF5", "MPEG"}
    endings = {suffix for suffix, name in Image.registered_extensions().items() if name in decoded}
    return frozenset(endings | {".heic", ".heif", ".hif"})


def is_image(path: Path) -> bool:
    """By its suffix; by its content where it has none, or one that is no kind of file (1.jpg?w=200, cat.jpg.1)."""
    if path.suffix.lower() in suffixes() or re.fullmatch(r"\.[a-z]\w{1,4}", path.suffix.lower()) or not path.is_file():
        return path.suffix.lower() in suffixes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(path, formats=formats()).close()
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:   # pillow raises nearly anything
        return False


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB with 8 bits, from any mode of pillow."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        top = np.nanmax(values, initial=0)
        scale = 1 / 257 if image.mode.startswith("I") and top > 255 else 255 if top <= 1 else 1
        values = np.nan_to_num(values * scale).clip(0, 255).round().astype(np.uint8)
        return Image.fromarray(values).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


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
    resized = F.interpolate(torch.from_numpy(pixels)[None].permute(0, 3, 1, 2), (side, side), mode="bicubic", antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def packed_side(image_size: int) -> int:
    """256 for 224, and in proportion."""
    return round(image_size * 256 / 224)


# ------------------------------------------------------------------- work in order on threads

def in_order(function: Callable[[Any], Any], items: Iterable[Any], threads: int,
             ahead: int) -> Iterator[Any]:
    """`function` of each item, in the order of the items, worked out by threads, at most `ahead`
    items before they are asked for."""
    coming = iter(items)
    first = list(islice(coming, ahead))
    threads = max(1, min(threads, len(first)))
    main_threads = torch.get_num_threads()
    ready = threading.Barrier(threads + 1)

    def start() -> None:
        """Such a thread computes alone, like those of torch's loader: with helpers of its own there would be
        more threads than cores, and the network's would wait for each other asleep, at half the speed."""
        torch.get_num_threads()   # torch sets a thread up when it is first asked, with the number last set by any
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads)
    try:
        for _ in range(threads):   # each waits for all, so each has a thread to itself
            pool.submit(start)
        ready.wait()
        torch.set_num_threads(main_threads)   # the last word: a part of the setting is everybody's
        waiting = deque(pool.submit(function, item) for item in first)
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(coming, 1))
            yield result
    finally:
        ready.abort()   # for those that would wait for ever, should we have been interrupted before
        pool.shutdown(cancel_futures=True)
