"""The packed form: a data set written once, then memory-mapped.

    pack = packed(source, image_size=128)      # of sources.find_source
    pack.images["train"][0]                    # (side, side, 3) uint8

It is section 2 of the paper: every image as `images.square` makes it, and the mean image over the training set.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from alexnet.augment import centre
from alexnet.files import UserError, alone, brief, read_json, sweep, whole_folder, write_json
from alexnet.images import dim_text, in_order, packed_side, square
from alexnet.layout import PARTS
from alexnet.sources import Item, Source

FORMAT = 2           # of the packed form; an older one (1: other values for 16 bits, no content) is packed anew


@dataclass
class Pack:
    """Images ready for training, memory-mapped."""

    folder: Path
    name: str
    classes: list[str]
    side: int
    images: dict[str, np.ndarray]    # part: (N, side, side, 3) uint8
    labels: dict[str, np.ndarray]    # part: (N,) int64
    mean: np.ndarray                 # (side, side, 3) float32, over the training images
    covariance: np.ndarray           # (3, 3) float64, of their RGB values
    findings: list[str]
    skipped: list[str]               # unreadable files, each with a reason
    identity: str                    # of the source
    split: float | None              # the fraction of its training images that was held out
    content: dict[str, str]          # part: digest of its classes and pixels, wherever they lie

    def mean_crop(self, image_size: int) -> Tensor:
        """(3, S, S): the centre crop, which the release subtracts from every crop."""
        return centre(torch.from_numpy(self.mean).permute(2, 0, 1), image_size)

    def sample(self) -> list[str]:
        """Digests of up to 64 training images: by these a network knows again what it was trained on."""
        chosen = np.unique(np.linspace(0, len(self.images["train"]) - 1, 64).astype(int))
        return [short_digest(self.images["train"][index]) for index in chosen]

    def check(self) -> None:
        """UserError if somebody has cut an array's file short: to read on would kill the process."""
        for part, images in self.images.items():
            mapped = getattr(images, "_mmap", None)   # numpy's map of the file
            if mapped is not None and mapped.size() < len(mapped):
                raise UserError(f"{self.folder / part}.npy was cut short while it was used: delete {self.folder}, "
                                "and the images are packed anew")


def short_digest(image: np.ndarray) -> str:
    """Of an image's pixels, (side, side, 3) uint8."""
    return hashlib.sha256(image).hexdigest()[:12]


def packed(source: Source, image_size: int, cache: Path = Path("data/packed"), strict: bool = False,
           threads: int | None = None, quiet: bool = False) -> Pack:
    """The source in packed form: the one on disk if it is of this source as it is now, else new."""
    side = packed_side(image_size)
    short = hashlib.sha256(source.place.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    folder = cache / f"{source.name}-{side}px-{short}"
    if os.access(cache, os.W_OK):
        sweep(cache, "*px-????????")
    for place in (folder, *sorted(cache.glob(f"*-{side}px-????????"))):   # the images may have been moved
        if pack := usable(place, source, strict):
            return pack
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
    except OSError as error:
        raise UserError(f"cannot write to {cache} ({error.strerror}); --cache names another "
                        "folder") from None
    need = sum(map(len, source.parts.values())) * side * side * 3
    if need > free:
        raise UserError(f"packing {source.name} takes {need / 2**30:.1f} GiB, and {cache} has "
                        f"{free / 2**30:.1f} GiB free; --cache names another folder")
    with alone(folder, wait=f"another process is packing {source.name} into {folder}: waiting for it") as held:
        if pack := usable(folder, source, strict, say=True):   # the other has just made it
            return pack
        with whole_folder(folder, held) as temporary:
            write_pack(source, temporary, side, strict, threads or os.cpu_count() or 1, quiet)
        return open_pack(folder)


def usable(folder: Path, source: Source, strict: bool, say: bool = False) -> Pack | None:
    """The pack in a folder, if it is whole and of this source as it is now."""
    if not (folder / "pack.json").is_file():
        return None
    try:
        pack = open_pack(folder)
    except UserError as error:
        if say:
            print(f"warning: {error}: packing anew", file=sys.stderr)
        return None
    same = (pack.identity, pack.classes, pack.split) == (source.identity, source.classes, source.split)
    return replace(pack, name=source.name) if same and not (strict and pack.skipped) else None


def open_pack(folder: Path) -> Pack:
    """A packed data set from its folder; UserError if something in it is missing, damaged or of
    another version."""
    try:
        before = folder.stat()
        about = read_json(folder / "pack.json")
        pack = Pack(folder, about["name"], about["classes"], about["side"],
                    {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in PARTS},
                    {part: np.load(folder / f"{part}_labels.npy") for part in PARTS},
                    np.load(folder / "mean.npy"), np.array(about["covariance"]),
                    about["findings"], about["skipped"], about["identity"],
                    about.get("split"), about.get("content"))
        if not os.path.samestat(before, folder.stat()):   # another process has just replaced it
            return open_pack(folder)
        whole = about["format"] == FORMAT and pack.mean.shape == (pack.side, pack.side, 3) and all(
            pack.images[part].shape == (len(pack.labels[part]), pack.side, pack.side, 3) for part in PARTS)
    except (UserError, OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"the packed images in {folder} are damaged ({brief(error)})") from None
    if not whole:
        raise UserError(f"the packed images in {folder} are damaged, or of another version")
    return pack


def write_pack(source: Source, folder: Path, side: int, strict: bool, threads: int, quiet: bool) -> None:
    """Every image as a row of PART.npy; the mean image and what else is known of the set beside it."""
    with tqdm(total=sum(map(len, source.parts.values())), unit="image", desc="packing",
              disable=True if quiet else None, leave=False) as progress:
        train, val = (write_part(source, part, folder, side, strict, threads, progress) for part in PARTS)
    count = max(len(train.labels), 1)   # of what is only measured
    mean = train.total / count
    colour = mean.mean((0, 1))
    covariance = train.product / (count * side * side) - np.outer(colour, colour)
    np.save(folder / "mean.npy", mean.astype(np.float32))
    findings = list(source.findings)
    same = dict(train.items)
    if twins := [f"{item} = {same[digest]}" for digest, item in val.items if digest in same]:
        findings.append(f"{len(twins)} validation image(s) are in the training part, too "
                        f"(such as {twins[0]}): the errors will look better than they are")
    if dim := train.dim + val.dim:
        findings.append(dim_text(dim))
    write_json(folder / "pack.json", {
        "format": FORMAT, "name": source.name, "identity": source.identity, "side": side,
        "classes": source.classes, "covariance": covariance.tolist(), "findings": findings,
        "skipped": train.skipped + val.skipped, "split": source.split,
        "content": {"train": train.content.hexdigest(), "val": val.content.hexdigest()}})


class Written:
    """What is known of a part when it is written."""

    def __init__(self, side: int) -> None:
        self.labels: list[int] = []
        self.items: list[tuple[bytes, Any]] = []     # digest of the pixels, item
        self.skipped: list[str] = []                 # unreadable files, each with the reason
        self.dim: list[str] = []
        self.content = hashlib.sha256()              # of classes and pixels
        self.total = np.zeros((side, side, 3))       # of the images
        self.product = np.zeros((3, 3))              # R, G, B times R, G, B, added up over all pixels


def write_part(source: Source, part: str, folder: Path, side: int, strict: bool, threads: int,
               progress: tqdm) -> Written:
    """Opens the images of a part on all cores, and writes them and their labels in order."""
    written = Written(side)
    with RowFile(folder / f"{part}.npy", (side, side, 3)) as file:
        for opened in in_order(partial(open_item, source, side), source.parts[part], threads, 4 * threads):
            progress.update()
            if opened.error:
                check_error(opened, source, strict)
                written.skipped.append(f"{opened.item}: {opened.error}")
                continue
            file.append(opened.image)
            written.labels.append(opened.label)
            written.items.append((opened.digest, opened.item))
            written.dim += [str(opened.item)] * opened.dim
            written.content.update(source.classes[opened.label].encode("utf-8", "surrogateescape") + b"\0")
            written.content.update(opened.digest)
            written.total += opened.image
            written.product += opened.product
    if written.skipped and not written.labels:
        raise UserError(f"no image of the {part} part of {source.name} can be read ({written.skipped[0]})")
    np.save(folder / f"{part}_labels.npy", np.array(written.labels, np.int64))
    return written


@dataclass
class Opened:
    """An image on its way into a pack, with what is worked out while it is at hand."""

    item: Any
    label: int
    error: Exception | None = None
    image: np.ndarray | None = None      # (side, side, 3) uint8
    digest: bytes = b""                  # of its pixels
    product: np.ndarray | None = None    # (3, 3): R, G, B times R, G, B, added up over its pixels
    dim: bool = False                    # all pixels in the lowest quarter of more than 8 bits


def open_item(source: Source, side: int, item: Item) -> Opened:
    """On threads: Pillow, torch, numpy and hashlib all work without Python's lock."""
    try:
        whole = source.open(item[0], side)
        image = square(whole, side)
    except Exception as error:  # Pillow raises nearly anything for a damaged file
        return Opened(*item, error)
    colours = [image[..., colour].astype(np.float32).ravel() for colour in range(3)]
    product = np.array([[a @ b for b in colours] for a in colours], np.float64)
    return Opened(*item, None, image, hashlib.sha256(image).digest(), product, "dim" in whole.info)


def check_error(opened: Opened, source: Source, strict: bool) -> None:
    """UserError for an image that cannot be read, if it is `strict`, or if the rest may fail, too: Pillow's own
    errors have no number, the system's have."""
    number = getattr(opened.error, "errno", None)
    if number not in (None, errno.EACCES, errno.EPERM, errno.EISDIR):
        raise UserError(f"{opened.item} was there a moment ago, and cannot be read now ({opened.error.strerror}). "
                        f"Start again when nothing changes the files of {source.place} and its disk is connected")
    if strict:
        raise UserError(f"{opened.item} cannot be read ({opened.error}); without --strict it is left out")


class RowFile:
    """A .npy file of rows whose number is not known beforehand: rows, then the header."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str = "|u1") -> None:
        self.shape, self.dtype, self.count = shape, dtype, 0
        self.file = open(path, "wb")

    def __enter__(self) -> RowFile:
        self.write_header()
        return self

    def append(self, row: np.ndarray) -> None:
        self.file.write(row.tobytes())
        self.count += 1

    def __exit__(self, *exception: object) -> None:
        self.file.seek(0)
        self.write_header()  # numpy leaves room for the first axis to grow
        self.file.close()

    def write_header(self) -> None:
        np.lib.format.write_array_header_1_0(self.file, {
            "descr": self.dtype, "fortran_order": False, "shape": (self.count, *self.shape)})
