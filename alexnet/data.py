"""Where images come from, how any of them is opened, and the packed form the network trains on.

    source = find_source("path/to/images")     # classes, files, labels; what looks odd
    pack = packed(source, image_size=128)      # written once, then memory-mapped
    pack.images["train"][0]                    # (side, side, 3) uint8

The packed form is section 2 of the paper: the shorter side to 256, the central 256 x 256, kept as
it is, and the mean image over the training set. For another input size S the side is S * 256 / 224.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import math
import os
import re
import shutil
import sys
import threading
import warnings
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from alexnet import demo
from alexnet.augment import centre
from alexnet.files import UserError, alone, brief, read_json, sweep, whole_folder, write_json

SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
PARTS = ("train", "val")
VAL_NAMES = ("val", "validation", "valid", "test")
VAL_FRACTION = 0.2   # held out where a source has no validation part
SPLIT_SEED = 2012    # the same images are held out whatever the run's seed
FEW = 20             # training images a class below which we warn
FORMAT = 1           # of the packed form; an older one is packed anew
LARGE = 20_000_000   # pixels from which an image has to wait for its turn

one_at_a_time = threading.Lock()

Item = tuple[Any, int]   # what `Source.open` takes, and the label


# ------------------------------------------------------------------- opening any image

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


# ------------------------------------------------------------------- sources

@dataclass
class Source:
    """Images with labels, not yet opened."""

    name: str
    classes: list[str]
    parts: dict[str, list[Item]]
    open: Callable[[Any, int], Image.Image]   # (item, side) to an RGB image
    place: str                                # where they are; two packs of one place are one
    identity: str                             # changes when the images do
    findings: list[str] = field(default_factory=list)


def find_source(where: str, val_fraction: float | None = None, download: bool = False,
                downloads: Path = Path("data/downloads")) -> Source:
    """`demo`, a folder, or the name of a torchvision data set.

    A `val_fraction` that is given holds that part of the training images out and leaves an existing
    validation part alone. UserError with one line for what cannot be used.
    """
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise UserError(f"--val-fraction must lie between 0 and 1, not {val_fraction:g}")
    if where == "demo":
        source = demo_source()
    elif Path(where).expanduser().is_dir():
        source = folder_source(Path(where).expanduser(), with_val=val_fraction is None)
    elif Path(where).exists():
        raise UserError(f"--data {where} is a file; give the folder that holds the class folders")
    else:
        source = torchvision_source(where, download, downloads)
    if val_fraction is not None or not source.parts["val"]:
        split(source, val_fraction or VAL_FRACTION)
    examine(source)
    return source


def demo_source() -> Source:
    parts = {part: [(key, label) for key, label in demo.items(part)] for part in PARTS}
    return Source("demo", list(demo.CLASSES), parts, lambda key, side: demo.draw(key),
                  "demo", f"version {demo.VERSION}")


def split(source: Source, fraction: float) -> None:
    """Moves a seeded, stratified part of the training images to validation."""
    chance = np.random.default_rng(SPLIT_SEED)
    train, val = [], []
    for label in range(len(source.classes)):
        items = [item for item in source.parts["train"] if item[1] == label]
        order = chance.permutation(len(items))
        count = min(len(items) - 1, max(1, round(len(items) * fraction))) if len(items) > 1 else 0
        val += [items[i] for i in sorted(order[:count])]
        train += [items[i] for i in sorted(order[count:])]
    source.parts = {"train": train, "val": val}
    source.place += f" split {fraction:g}"


def images_below(folder: Path) -> list[Path]:
    """Every image file in a folder and its subfolders, sorted; hidden ones left out."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in files
                  if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")]
    return sorted(found)


def subfolders(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.iterdir())
            if path.is_dir() and not path.name.startswith(".")}


def folder_source(folder: Path, with_val: bool = True) -> Source:
    """A folder in any of the shapes of data/README.md; `with_val=False` leaves its val/ alone."""
    inside = subfolders(folder)
    train = inside.get("train", folder)
    val = next((inside[name] for name in VAL_NAMES if name in inside), None)
    if "train" not in inside and val is not None:
        raise UserError(f"{folder} holds {val.name}/ but no train/")
    classes = by_class(train, apart=() if "train" in inside else VAL_NAMES)
    if not classes:
        raise UserError(f"no image in {folder}: it must hold train/ and val/ with a folder for "
                        "each class, or class folders, or files named like cat.0.jpg "
                        "(data/README.md)")
    findings = [f"class {name} is empty: left out" for name, files in classes.items() if not files]
    classes = {name: files for name, files in classes.items() if files}
    names = sorted(classes)
    loose = [path for path in sorted(train.iterdir()) if path.suffix.lower() in SUFFIXES
             and not path.name.startswith(".") and not path.is_dir()]
    if loose and (stray := sorted({*loose}.difference(*classes.values()))):
        findings.append(f"{len(stray)} picture(s) in {train} belong to no class, such as {stray[0].name}: left out (a class "
                        "is a folder, or what stands before the number in a name like cat.0.jpg)")
    parts = {"train": [(path, label) for label, name in enumerate(names) for path in classes[name]],
             "val": []}
    if val is not None and with_val:
        parts["val"] = val_items(folder, val, names, findings)
    for name in names:
        levels = {path.relative_to(train).parts[1] for path in classes[name]
                  if len(path.relative_to(train).parts) > 2}
        if len(levels) > 1:
            findings.append(f"class {name} holds images in {len(levels)} subfolders "
                            f"({', '.join(sorted(levels)[:3])} ...), which count as one class: "
                            f"if they are the classes, give --data {train / name}")
    files = hashlib.sha256()
    lost: list[Path] = []
    for part in PARTS:
        for path, label in parts[part]:
            try:
                state = path.stat()
            except OSError:
                lost.append(path)
                continue
            files.update(f"{part}/{path.relative_to(folder)}\0{label}\0{state.st_size}\0"
                         f"{state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    if lost:
        findings.append(f"{len(lost)} file(s) cannot be reached, such as {lost[0]} (links that lead nowhere?): left out")
        parts = {part: [item for item in items if item[0] not in set(lost)] for part, items in parts.items()}
    return Source(folder.resolve().name, names, parts, open_image,
                  str(folder.resolve()), files.hexdigest(), findings)


def by_class(folder: Path, apart: Iterable[str] = ()) -> dict[str, list[Path]]:
    """Files by class: class folders, or a flat folder with names like cat.0.jpg, dog_12.png."""
    classes = {name: images_below(path) for name, path in subfolders(folder).items()
               if name not in apart}
    if any(classes.values()):
        return classes
    flat: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"(.*[^\W\d_].*?)[._-]?\d+", path.stem)
        if match and path.suffix.lower() in SUFFIXES:
            flat.setdefault(match[1].rstrip("._- "), []).append(path)
    return flat or classes


def val_items(folder: Path, val: Path, names: list[str], findings: list[str]) -> list[Item]:
    """The validation part: class folders, or flat files with a list of labels (ImageNet)."""
    classes = by_class(val)
    if not set(classes) & set(names):
        listed = listed_labels(folder, val, names, findings)
        if listed is not None:
            return listed
        if val.name == "test" and not any(subfolders(val).values()):  # Kaggle's: numbers for names
            findings.append(f"the pictures in {val} have no labels: left alone, and a part of the "
                            "training images is held out instead")
            return []
    unknown = sorted(name for name in set(classes) - set(names) if classes[name])
    missing = sorted(set(names) - {name for name in classes if classes[name]})
    if unknown:
        findings.append(f"{val.name}/ has {len(unknown)} class(es) that train/ lacks "
                        f"({', '.join(unknown[:3])}): left out")
    if missing:
        findings.append(f"{val.name}/ has no images of {len(missing)} class(es) that train/ has "
                        f"({', '.join(missing[:3])})")
    items = [(path, label) for label, name in enumerate(names) for path in classes.get(name, [])]
    if not items:
        raise UserError(f"{val} has no image of a class that train/ has: its folders must be "
                        "named like those of train/, or a list of labels must lie beside it "
                        "(data/README.md)")
    return items


def listed_labels(folder: Path, val: Path, names: list[str],
                  findings: list[str]) -> list[Item] | None:
    """Labels of a flat val/ from a text or CSV file in it or beside it.

    A line names an image and its class (a folder's name of train/, or its number in sorted order,
    counted from 0), as in Kaggle's LOC_val_solution.csv, Tiny-ImageNet's val_annotations.txt and
    Caffe's val.txt. None if there is no such file.
    """
    files = {path.stem: path for path in images_below(val)}  # a list may leave out the suffix
    labels = {name: label for label, name in enumerate(names)}
    labels |= {str(label): label for label in range(len(names)) if str(label) not in labels}
    lists = sorted(path for place in (val, folder) for path in place.iterdir()
                   if path.suffix.lower() in (".txt", ".csv", ".tsv"))
    for path in lists:
        lines = path.read_text("utf-8", "replace").splitlines()
        pairs = [re.split(r"[\s,]+", line.strip())[:2] for line in lines if line.strip()]
        known = {Path(pair[0]).stem: pair[1] for pair in pairs if len(pair) == 2}
        if len(known.keys() & files.keys()) * 2 > len(files):
            items = [(file, labels[known[stem]]) for stem, file in files.items()
                     if known.get(stem) in labels]
            if items:
                if lost := len(files) - len(items):
                    findings.append(f"{lost} of {len(files)} pictures in {val} are not in {path.name}, "
                                    "or of a class that train/ lacks: left out")
                return items
        if files and len(pairs) == len(files) and all(len(pair) == 1 for pair in pairs):
            raise UserError(f"{path} has only numbers: the contest's own (ILSVRC ids) are not the "
                            "order of the class folders. Use a list with names, such as Kaggle's "
                            "LOC_val_solution.csv (data/README.md)")
    return None


def torchvision_source(name: str, download: bool, downloads: Path) -> Source:
    """A data set of torchvision by its name, upper or lower case."""
    from torchvision import datasets
    known = {other.lower(): other for other in datasets.__all__}
    if name.lower() not in known or name.lower() in ("imagefolder", "datasetfolder", "fakedata"):
        raise UserError(f"--data {name}: there is no such folder, and torchvision has no data set "
                        "of that name (cifar10, cifar100, imagenette, flowers102, food101 ...)")
    kind = getattr(datasets, known[name.lower()])
    options = inspect.signature(kind.__init__).parameters
    root = downloads / name.lower()
    shared: dict[str, Any] = {"download": download} if "download" in options else {}

    def open_part(**choice: Any) -> Any:
        try:
            return kind(str(root), **choice, **shared)
        except (RuntimeError, FileNotFoundError) as error:
            advice = "check the network" if download else "--download fetches it"
            raise UserError(f"{name} is not in {root}: {advice} "
                            f"({str(error).splitlines()[0]})") from None
        except OSError as error:
            raise UserError(f"{name} could not be fetched to {root} ({error})") from None
        except ImportError as error:
            raise UserError(f"torchvision's {name} needs one more package ({error})") from None
        except TypeError:
            raise UserError(f"torchvision's {name} needs more than a folder, or has no classes") from None

    def first_part(candidates: Iterable[str]) -> Any:
        for candidate in candidates:
            try:
                return open_part(split=candidate)
            except ValueError:   # torchvision's word for a split that does not exist
                continue
        return None

    if download:
        root.mkdir(parents=True, exist_ok=True)
    if "train" in options:
        sets = {"train": open_part(train=True), "val": open_part(train=False)}
    elif "split" in options:
        sets = {"train": first_part(("train", "trainval")), "val": first_part(VAL_NAMES)}
    else:
        sets = {"train": open_part(), "val": None}
    if sets["train"] is None:
        raise UserError(f"torchvision's {name} has no training part of a known name")
    return from_datasets(name.lower(), sets, f"torchvision {name.lower()}")


def from_datasets(name: str, sets: dict[str, Any], place: str) -> Source:
    """A source from map-style data sets that give (image, class number)."""
    parts: dict[str, list[Item]] = {"train": [], "val": []}
    for part, data in sets.items():
        if data is None:
            continue
        labels = next((list(getattr(data, attribute)) for attribute in ("targets", "labels", "_labels", "y")
                       if hasattr(data, attribute)), None)
        if labels is None or len(labels) != len(data):
            labels = [data[index][1] for index in range(len(data))]
        if not all(isinstance(label, (int, np.integer)) or torch.is_tensor(label) and label.ndim == 0
                   for label in labels[:100]):
            raise UserError(f"{name} does not give an image and one class for each index")
        parts[part] = [((part, index), int(label)) for index, label in enumerate(labels)]
    count = max(label for items in parts.values() for _, label in items) + 1
    classes = getattr(sets["train"], "classes", None) or [str(index) for index in range(count)]
    classes = [entry if isinstance(entry, str) else ", ".join(entry) for entry in classes]

    def open_item(key: tuple[str, int], side: int) -> Image.Image:
        return to_rgb(sets[key[0]][key[1]][0])

    sizes = " ".join(f"{part} {len(items)}" for part, items in parts.items())
    return Source(name, classes, parts, open_item, place, sizes)


# ------------------------------------------------------------------- a look before hours are spent

def examine(source: Source) -> None:
    """Adds what looks wrong to `source.findings`; UserError where training makes no sense."""
    counts = {part: Counter(label for _, label in items) for part, items in source.parts.items()}
    if len(source.classes) < 2:
        only, path = source.classes[0], source.parts["train"][0][0]
        advice = ""
        for place in (path.parent, path.parent.parent) if isinstance(path, Path) else ():
            above = place.parent if place.name in ("train", *VAL_NAMES) else place
            if several_classes(place):   # a level too high or too low was given
                advice = f"; {above} has several: give --data {above}"
                break
        raise UserError(f"only one class in {source.name} ({only}): there is nothing to tell "
                        f"apart{advice}")
    for part in PARTS:
        if not source.parts[part]:
            raise UserError(f"the {part} part of {source.name} is empty: " + (
                "each class has one image only, so none can be held out; add images" if max(counts["train"].values()) < 2 else
                "add images, or let a part of the training images be held out (--val-fraction)"))
    few = [source.classes[label] for label in range(len(source.classes))
           if counts["train"][label] < FEW]
    if few:
        source.findings.append(
            f"{len(few)} class(es) have fewer than {FEW} training images ({', '.join(few[:3])}): "
            "too few to learn from; expect memorising")
    most, least = max(counts["train"].values()), min(counts["train"].values())
    if most >= 10 * least:
        source.findings.append(f"the largest class has {most} training images, the smallest {least}: "
                               "the network will favour the large one")


def several_classes(folder: Path) -> bool:
    """Whether it holds class folders, or files named by class; looks no deeper."""
    try:
        inside = subfolders(folder).values()
        holding = [one for one in inside if any(path.suffix.lower() in SUFFIXES for path in one.iterdir())]
    except OSError:
        return False
    return len(holding) > 1 or not inside and len(by_class(folder)) > 1


# ------------------------------------------------------------------- the packed form

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
    identity: str

    def mean_crop(self, image_size: int) -> Tensor:
        """(3, S, S): the centre crop, which the release subtracts from every crop."""
        return centre(torch.from_numpy(self.mean).permute(2, 0, 1), image_size)

    def check(self) -> None:
        """UserError if somebody has cut an array's file short: to read on would kill the process."""
        for part, images in self.images.items():
            mapped = getattr(images, "_mmap", None)   # numpy's map of the file
            if mapped is not None and mapped.size() < len(mapped):
                raise UserError(f"{self.folder / part}.npy was cut short while it was used: delete {self.folder}, "
                                "and the images are packed anew")


def packed(source: Source, image_size: int, cache: Path = Path("data/packed"), strict: bool = False,
           threads: int | None = None, quiet: bool = False) -> Pack:
    """The source in packed form: the one on disk if it is of this source as it is now, else new."""
    side = packed_side(image_size)
    place = hashlib.sha256(source.place.encode("utf-8", "surrogateescape"))
    folder = cache / f"{source.name}-{side}px-{place.hexdigest()[:8]}"
    if os.access(cache, os.W_OK):
        sweep(cache, "*px-????????")
    if pack := usable(folder, source, strict):
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
            print(f"look: {error}: packing anew", file=sys.stderr)
        return None
    return pack if pack.identity == source.identity and not (strict and pack.skipped) else None


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
                    about["findings"], about["skipped"], about["identity"])
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
    skipped: list[str] = []
    twins: list[str] = []
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
                file.append(opened.image)
                labels.append(opened.label)
                if part == "train":
                    total += opened.image
                    product += opened.product
                    count += 1
                    seen[opened.digest] = opened.item
                elif opened.digest in seen:
                    twins.append(f"{opened.item} = {seen[opened.digest]}")
        if not labels:
            raise UserError(f"no image of the {part} part of {source.name} can be read "
                            f"({skipped[0] if skipped else 'it is empty'})")
        np.save(folder / f"{part}_labels.npy", np.array(labels, np.int64))
    progress.close()
    mean = total / count
    centre = mean.mean((0, 1))
    covariance = product / (count * side * side) - np.outer(centre, centre)
    np.save(folder / "mean.npy", mean.astype(np.float32))
    findings = list(source.findings)
    if twins:
        findings.append(f"{len(twins)} validation image(s) are in the training part, too "
                        f"(such as {twins[0]}): the errors will look better than they are")
    write_json(folder / "pack.json", {
        "format": FORMAT, "name": source.name, "identity": source.identity, "side": side,
        "classes": source.classes, "covariance": covariance.tolist(), "findings": findings,
        "skipped": skipped})


@dataclass
class Opened:
    """An image on its way into a pack, with what is worked out while it is at hand."""

    item: Any
    label: int
    error: Exception | None = None
    image: np.ndarray | None = None      # (side, side, 3) uint8
    digest: bytes = b""                  # of its pixels
    product: np.ndarray | None = None    # (3, 3): R, G, B times R, G, B, added up over its pixels


def read_all(source: Source, items: list[Item], side: int, threads: int) -> Iterator[Opened]:
    """The items, opened; pillow, torch, numpy and hashlib all work without Python's lock."""
    def read(item: Item) -> Opened:
        try:
            image = square(source.open(item[0], side), side)
        except Exception as error:  # pillow raises nearly anything for a damaged file
            return Opened(*item, error)
        colours = [image[..., colour].astype(np.float32).ravel() for colour in range(3)]
        product = np.array([[a @ b for b in colours] for a in colours], np.float64)
        return Opened(*item, None, image, hashlib.sha256(image).digest(), product)

    return in_order(read, items, threads, 4 * threads)


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
