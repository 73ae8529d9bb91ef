"""Where images and labels come from: folders, lists of labels, torchvision; and what looks wrong.

    source = find_source("path/to/images")     # classes, files, labels; what looks odd
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable

import numpy as np
import torch
from PIL import Image

from alexnet import demo
from alexnet.files import UserError
from alexnet.images import open_image, suffixes, to_rgb

PARTS = ("train", "val")
VAL_NAMES = ("val", "validation", "valid", "test")
VAL_FRACTION = 0.2   # held out where a source has no validation part
SPLIT_SEED = 2012    # the same images are held out whatever the run's seed
FEW = 20             # training images a class below which we warn

Item = tuple[Any, int]   # what `Source.open` takes, and the label


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
                  if Path(name).suffix.lower() in suffixes() and not name.startswith(".")]
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
    loose = [path for path in sorted(train.iterdir()) if path.suffix.lower() in suffixes()
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
        if match and path.suffix.lower() in suffixes():
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
        holding = [one for one in inside if any(path.suffix.lower() in suffixes() for path in one.iterdir())]
    except OSError:
        return False
    return len(holding) > 1 or not inside and len(by_class(folder)) > 1
