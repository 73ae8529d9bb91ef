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
from pathlib import Path
from typing import Any, Iterator

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


def write_pack(source: Source, folder: Path, side: int, strict: bool, threads: int,
               quiet: bool) -> None:
    """Opens every image on all cores, in order, a bounded number at a time."""
    total, product, count = np.zeros((side, side, 3)), np.zeros((3, 3)), 0
    seen: dict[bytes, Any] = {}   # digest of the pixels: item
    content = {part: hashlib.sha256() for part in PARTS}
    skipped: list[str] = []
    twins: list[str] = []
    dim: list[str] = []
    progress = tqdm(total=sum(map(len, source.parts.values())), unit="image", desc="packing",
                    disable=True if quiet else None, leave=False)
    for part in PARTS:
        labels = []
        with RowFile(folder / f"{part}.npy", (side, side, 3)) as file:
            for opened in read_all(source, source.parts[part], side, threads):
                progress.update()
                if opened.error:
                    # Pillow's own errors have no number: this one is the system's, and the rest may fail, too.
                    if getattr(opened.error, "errno", None) not in (None, errno.EACCES, errno.EPERM, errno.EISDIR):
                        raise UserError(f"{opened.item} was there a moment ago ({opened.error.strerror}): is {source.place} "
                                        "being changed, or its drive gone? Start again when it is at rest")
                    if strict:
                        raise UserError(f"{opened.item} cannot be read ({opened.error}); without "
                                        "--strict it is left out")
                    skipped.append(f"{opened.item}: {opened.error}")
                    continue
                if opened.dim:
                    dim.append(str(opened.item))
                file.append(opened.image)
                labels.append(opened.label)
                name = source.classes[opened.label].encode("utf-8", "surrogateescape")
                content[part].update(name + b"\0" + opened.digest)
                if part == "train":
                    total += opened.image
                    product += opened.product
                    count += 1
                    seen[opened.digest] = opened.item
                elif opened.digest in seen:
                    twins.append(f"{opened.item} = {seen[opened.digest]}")
        if not labels and source.parts[part]:
            raise UserError(f"no image of the {part} part of {source.name} can be read ({skipped[0]})")
        np.save(folder / f"{part}_labels.npy", np.array(labels, np.int64))
    progress.close()
    count = max(count, 1)   # of what is only measured
    mean = total / count
    centre = mean.mean((0, 1))
    covariance = product / (count * side * side) - np.outer(centre, centre)
    np.save(folder / "mean.npy", mean.astype(np.float32))
    findings = list(source.findings)
    if twins:
        findings.append(f"{len(twins)} validation image(s) are in the training part, too "
                        f"(such as {twins[0]}): the errors will look better than they are")
    if dim:
        findings.append(dim_text(dim))
    write_json(folder / "pack.json", {
        "format": FORMAT, "name": source.name, "identity": source.identity, "side": side,
        "classes": source.classes, "covariance": covariance.tolist(), "findings": findings,
        "skipped": skipped, "split": source.split,
        "content": {part: found.hexdigest() for part, found in content.items()}})


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


def read_all(source: Source, items: list[Item], side: int, threads: int) -> Iterator[Opened]:
    """The items, opened; pillow, torch, numpy and hashlib all work without Python's lock."""
    def read(item: Item) -> Opened:
        try:
            whole = source.open(item[0], side)
            image = square(whole, side)
        except Exception as error:  # pillow raises nearly anything for a damaged file
            return Opened(*item, error)
        colours = [image[..., colour].astype(np.float32).ravel() for colour in range(3)]
        product = np.array([[a @ b for b in colours] for a in colours], np.float64)
        return Opened(*item, None, image, hashlib.sha256(image).digest(), product, "dim" in whole.info)

    return in_order(read, items, threads, 4 * threads)


class RowFile:
    """A .npy file of rows whose number is not known beforehand: rows, then the header."""

    def __init__(self, path: Path, shape: tuple[int, ...], kind: str = "|u1") -> None:
        self.shape, self.kind, self.count = shape, kind, 0
        self.file = open(path, "wb")

    def __enter__(self) -> RowFile:
        self._header()
        return self

    def append(self, row: np.ndarray) -> None:
        self.file.write(row.tobytes())
        self.count += 1

    def __exit__(self, *exception: object) -> None:
        self.file.seek(0)
        self._header()  # numpy leaves room for the first axis to grow
        self.file.close()

    def _header(self) -> None:
        np.lib.format.write_array_header_1_0(self.file, {
            "descr": self.kind, "fortran_order": False, "shape": (self.count, *self.shape)})
