"""The packed form: a data set written once, then memory-mapped.

    pack = packed(source, image_size=128)      # of sources.find_source
    pack.images["train"][0]                    # (side, side, 3) uint8

It is section 2 of the paper: each image as `images.square` makes it, and the mean image of the training part.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from alexnet.augment import centre
from alexnet.cli import warn
from alexnet.device import World, meet
from alexnet.files import UserError, alone, brief, printable, read_json, sweep, whole_folder, write_json
from alexnet.images import dim_text, packed_side, square, without_frames
from alexnet.layout import PARTS
from alexnet.sources import Item, Source, find_source
from alexnet.threads import cores, in_order

CACHE = Path("data/packed")   # where packs lie, unless --cache says otherwise
PACK_VERSION = 2   # of the packed form; an older one (1: other values for 16 bits, no content) is packed anew


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


def short_digest(image: np.ndarray) -> str:
    """Of an image's pixels, (side, side, 3) uint8."""
    return hashlib.sha256(image).hexdigest()[:12]


def kept_in(stored: str | None) -> Path:
    """Where a run keeps packs, as its config.json says; CACHE for a path of another system."""
    return Path(stored) if stored and Path(stored).is_absolute() else CACHE


def packed(source: Source, image_size: int, cache: Path = CACHE, strict: bool = False,
           threads: int | None = None, quiet: bool = False) -> Pack:
    """The source in packed form: the one on disk if it is of this source as it is now, else new."""
    side = packed_side(image_size)
    digest = hashlib.sha256(source.key.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    folder = cache / f"{source.name}-{side}px-{digest}"
    sweep(cache, "*px-????????")
    for place in (folder, *sorted(cache.glob(f"*-{side}px-????????"))):   # the images may have been moved
        if pack := usable(place, source, strict):
            return pack
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
    except OSError as error:
        raise UserError(f"cannot write to {cache} ({error.strerror}); --cache names another folder") from None
    need = sum(map(len, source.parts.values())) * side * side * 3
    if need > free:
        raise UserError(f"packing {source.name} takes {need / 2**30:.1f} GiB, and {cache} has "
                        f"{free / 2**30:.1f} GiB free; --cache names another folder")
    wait = f"another process is packing {source.name} into {folder}: waiting for it"
    with alone(folder, wait):
        if pack := usable(folder, source, strict, aloud=True):   # the other has just made it
            return pack
        with whole_folder(folder) as temporary:
            write_pack(source, temporary, side, strict, threads or cores(), quiet)
        return for_source(open_pack(folder), source)


def for_source(pack: Pack, source: Source) -> Pack:
    """A pack as that of this source: it may have been made when the images lay elsewhere."""
    return replace(pack, name=source.name, findings=list(dict.fromkeys(source.findings + pack.findings)))


def usable(folder: Path, source: Source, strict: bool, aloud: bool = False) -> Pack | None:
    """The pack in a folder, if it is whole and of this source as it is now."""
    if not os.path.isfile(folder / "pack.json"):   # also where this user may not look
        return None
    try:
        pack = open_pack(folder)
    except UserError as error:
        if aloud:
            warn(f"{error}: packing anew")
        return None
    same = (pack.identity, pack.classes, pack.split) == (source.identity, source.classes, source.split)
    return for_source(pack, source) if same and not (strict and pack.skipped) else None


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
                    about["odd"], about["skipped"], about["identity"], about["split"], about["content"])
        if not os.path.samestat(before, folder.stat()):   # another process has just replaced it
            return open_pack(folder)
        whole = about["format"] == PACK_VERSION and pack.mean.shape == (pack.side, pack.side, 3) and all(
            pack.images[part].shape == (len(pack.labels[part]), pack.side, pack.side, 3) for part in PARTS)
    except (UserError, OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"the packed images in {folder} are damaged ({brief(error)})") from None
    if not whole:
        raise UserError(f"the packed images in {folder} are damaged, or of another version")
    return pack


@dataclass(slots=True)
class Entry:
    """An image on its way into a pack, with what is worked out while it is at hand."""

    item: Any
    label: int
    error: Exception | None = None
    image: np.ndarray | None = None      # (side, side, 3) uint8
    digest: bytes = b""                  # of its pixels
    product: np.ndarray | None = None    # (3, 3): R, G, B times R, G, B, added up over its pixels
    dim: bool = False                    # see `images.dim_text`


class Statistics:
    """What is worked out over all images while they are packed: of the training images the mean image and the
    covariance of the colours; of each part a digest; and what looks odd."""

    def __init__(self, side: int) -> None:
        self.count, self.total, self.product = 0, np.zeros((side, side, 3)), np.zeros((3, 3))
        self.content = {part: hashlib.sha256() for part in PARTS}   # of classes and pixels
        self.trained_on: dict[bytes, Any] = {}   # training images by their digests
        self.twins, self.dim = [], []

    def add(self, part: str, opened: Entry, name: str) -> None:
        """name: of its class."""
        self.content[part].update(name.encode("utf-8", "surrogateescape") + b"\0" + opened.digest)
        if opened.dim:
            self.dim.append(str(opened.item))
        if part == "train":
            self.count += 1
            self.total += opened.image
            self.product += opened.product
            self.trained_on[opened.digest] = opened.item
        elif opened.digest in self.trained_on:
            self.twins.append(f"{opened.item} = {self.trained_on[opened.digest]}")

    def mean(self) -> np.ndarray:
        """The mean image, (side, side, 3); zero where a set is only measured."""
        return self.total / max(self.count, 1)

    def covariance(self) -> np.ndarray:
        """(3, 3), of the pixels' red, green and blue."""
        pixels, colour = max(self.count, 1) * self.total[..., 0].size, self.mean().mean((0, 1))
        return self.product / pixels - np.outer(colour, colour)

    def odd(self) -> list[str]:
        """Warnings."""
        found = []
        if self.twins:
            found.append(f"{len(self.twins)} validation image(s) are in the training part, too "
                         f"(such as {self.twins[0]}): the errors will look better than they are")
        return found + ([dim_text(self.dim)] if self.dim else [])


def write_pack(source: Source, folder: Path, side: int, strict: bool, threads: int, quiet: bool) -> None:
    """Opens every image on all cores, in order, a bounded number at a time."""
    statistics, skipped = Statistics(side), []
    opening = partial(open_item, source, side)
    progress = tqdm(total=sum(map(len, source.parts.values())), unit="image", desc="packing",
                    disable=quiet or None, leave=False)
    for part in PARTS:
        labels: list[int] = []
        with npy_file(folder / f"{part}.npy", (side, side, 3)) as file:
            for opened in in_order(opening, source.parts[part], threads, 4 * threads):
                progress.update()
                if opened.error:
                    check_error(opened, source, strict)
                    skipped.append(f"{opened.item}: {opened.error}")
                    continue
                file.write(opened.image.tobytes())
                labels.append(opened.label)
                statistics.add(part, opened, source.classes[opened.label])
        if source.parts[part] and not labels:
            raise UserError(f"no image of the {part} part of {source.name} can be read ({skipped[0]})")
        np.save(folder / f"{part}_labels.npy", np.array(labels, np.int64))
    progress.close()
    np.save(folder / "mean.npy", statistics.mean().astype(np.float32))
    write_json(folder / "pack.json", {
        "format": PACK_VERSION, "name": source.name, "identity": source.identity, "side": side,
        "classes": source.classes, "covariance": statistics.covariance().tolist(),
        "odd": statistics.odd(), "skipped": skipped, "split": source.split,
        "content": {part: digest.hexdigest() for part, digest in statistics.content.items()}})


def open_item(source: Source, side: int, item: Item) -> Entry:
    """On threads: Pillow, torch, numpy and hashlib all work without Python's lock."""
    try:
        whole = source.open(item[0], side)
        image = square(whole, side)
    except MemoryError:   # says nothing itself
        return Entry(*item, MemoryError("it takes too much memory"))
    except Exception as error:  # Pillow raises nearly anything for a damaged file
        return Entry(*item, without_frames(error))
    colours = [image[..., colour].astype(np.float32).ravel() for colour in range(3)]
    product = np.array([[a @ b for b in colours] for a in colours], np.float64)
    return Entry(*item, image=image, digest=hashlib.sha256(image).digest(), product=product,
                 dim="dim" in whole.info)


def check_error(opened: Entry, source: Source, strict: bool) -> None:
    """UserError for an image that cannot be read, if it is `strict`, or if the rest may fail, too: Pillow's
    own errors have no number, the system's have, also that of an offset in a damaged file (EINVAL)."""
    number = getattr(opened.error, "errno", None)
    if number not in (None, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EINVAL):
        raise UserError(f"{opened.item} was there a moment ago and cannot be read now "
                        f"({opened.error.strerror}): start again when its disk is connected and nothing "
                        f"changes the files of {source.key}")
    if strict:
        raise UserError(f"{opened.item} cannot be read ({opened.error}); without --strict it is left out")


@contextmanager
def npy_file(path: Path, shape: tuple[int, ...], dtype: str = "|u1") -> Iterator[BinaryIO]:
    """A .npy file to write the bytes of rows to, of this shape, whose number is not known beforehand."""
    def write_header(rows: int) -> None:
        np.lib.format.write_array_header_1_0(file, {
            "descr": dtype, "fortran_order": False, "shape": (rows, *shape)})

    with open(path, "wb") as file:
        write_header(0)
        start = file.tell()
        yield file
        rows = (file.tell() - start) // (math.prod(shape) * np.dtype(dtype).itemsize)
        file.seek(0)
        write_header(rows)   # numpy leaves room for the first axis to grow


# ------------------------------------------------------------------- for one process or several

@dataclass(frozen=True)
class Packer:
    """Finds images and packs them: the first process does, the others wait and open what it has packed."""

    world: World
    cache: Path | None
    download: bool = False
    strict: bool = False
    quiet: bool = False

    def find(self, where: str, val_fraction: float | None = None, labels: str | None = None) -> Source:
        """`find_source`; UserError that names --data where a run's images are no longer in their place."""
        absolute = PurePosixPath(where).is_absolute() or PureWindowsPath(where).is_absolute()
        if absolute and not Path(where).exists():
            raise UserError(f"the images are no longer in {where}: --data FOLDER says where they are now")
        return find_source(where, val_fraction, self.download, self.cache.parent / "downloads", labels)

    def packed(self, image_size: int, find: Callable[..., Source], *where: Any,
               announce: bool = False) -> Pack:
        """What `find(*where)` finds, packed for this image size. announce: says what was found before hours
        are spent on what are no classes."""
        if self.world.rank == 0:
            source = find(*where)
            said = source.findings if announce else []
            if announce:
                names = ", ".join(source.classes[:8]) + " ..." * (len(source.classes) > 8)
                print(printable(f"{source.name}: {len(source.classes)} classes ({names})"), flush=True)
            for finding in said:
                warn(finding)
            pack = packed(source, image_size, self.cache, self.strict, quiet=self.quiet)
            pack.findings = [finding for finding in pack.findings if finding not in said]
        meet(self.world)
        if self.world.rank:
            pack = packed(find(*where), image_size, self.cache, self.strict, quiet=True)
        return pack

    def for_training(self, image_size: int, where: str, val_fraction: float | None,
                     labels: str | None) -> Pack:
        """The same for what `find` finds, with warnings."""
        pack = self.packed(image_size, self.find, where, val_fraction, labels, announce=not self.quiet)
        say_findings(pack, where, self.world)
        return pack


def say_findings(pack: Pack, where: str, world: World) -> None:
    """Prints the warnings about a data set."""
    if world.rank:
        return
    if where == "demo" and Path(where).is_dir():
        warn("demo is the built-in data set; the folder of that name is --data ./demo")
    for finding in pack.findings:
        warn(finding)
    if pack.skipped:
        warn(f"{len(pack.skipped)} image(s) cannot be read and are left out, such as {pack.skipped[0]} "
             f"(all of them in {pack.folder / 'pack.json'})")
