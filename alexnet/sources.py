"""Where images and labels come from: the built-in set, a folder, a list of labels, torchvision.

    source = find_source("path/to/images")     # classes, files, labels; what looks odd
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
from PIL import Image

from alexnet import demo
from alexnet.files import UserError, fetching, lines_of, quoted, short
from alexnet.folders import Folder, kind, kinds
from alexnet.images import open_image, to_rgb
from alexnet.labels import LISTS, Listed, lists_in, read_list
from alexnet.layout import (PARTS, VAL_NAMES, ByClass, alike, by_class, by_folder, check_depth, data_sets,
                            doubt_error, folder_names, look_through, part_of, parts_in, parts_in_classes,
                            several_classes, unused)

VAL_FRACTION = 0.2   # held out where a source has no validation part
SPLIT_SEED = 2012    # the same images are held out whatever the run's seed
FEW = 20             # training images of a class below which we warn

Item = tuple[Any, int]   # what `Source.open` takes, and the label


@dataclass
class Source:
    """Images with labels, not yet opened."""

    name: str
    classes: list[str]
    parts: dict[str, list[Item]]
    open: Callable[[Any, int], Image.Image]   # (item, side) to an RGB image
    key: str                                  # where they are, and how split: one pack for each
    identity: str                             # changes when the images do, not when they are moved
    findings: list[str] = field(default_factory=list)
    split: float | None = None                # the fraction that was held out for want of a validation part


def find_source(where: str, val_fraction: float | None = None, download: bool = False,
                downloads: Path = Path("data/downloads"), labels: str | None = None) -> Source:
    """`demo`, a folder (with the list `labels`, if that has its classes), or a torchvision data set's name.

    A `val_fraction` that is given holds that part of the training images out and leaves an existing
    validation part alone. UserError with one line for what cannot be used.
    """
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise UserError(f"--val-fraction must lie between 0 and 1, not {val_fraction:g}")
    folder, with_val = Path(os.path.expanduser(where)), val_fraction is None
    if labels and (where == "demo" or not folder.is_dir()):
        raise UserError("--labels needs --data FOLDER; " + (
            "demo is the built-in data set (a folder of that name: ./demo)" if where == "demo" else
            f"there is no folder {where}"))
    if where == "demo":
        source = Source("demo", list(demo.CLASSES), {part: demo.items(part) for part in PARTS},
                        lambda key, side: demo.draw(key), "demo", f"version {demo.VERSION}")
    elif folder.is_dir():
        source = (listed_source(folder, Path(os.path.expanduser(labels))) if labels else
                  folder_source(folder, with_val))
    elif folder.exists():
        more = f", or for a list of labels --data FOLDER --labels {where}" if folder.suffix in LISTS else ""
        raise UserError(f"--data {where} is a file; give the folder that holds the class folders{more}")
    else:
        source = from_datasets(where.lower(), open_sets(where, download, downloads))
    if val_fraction is not None or not source.parts["val"]:
        split(source, val_fraction or VAL_FRACTION)
    examine(source)
    return source


def split(source: Source, fraction: float) -> None:
    """Moves a seeded, stratified part of the training images to validation."""
    chance = np.random.default_rng(SPLIT_SEED)
    of_class: dict[int, list[Item]] = defaultdict(list)
    for item in source.parts["train"]:
        of_class[item[1]].append(item)
    train, val = [], []
    for label in range(len(source.classes)):
        items = of_class[label]
        order = chance.permutation(len(items))
        count = min(len(items) - 1, max(1, round(len(items) * fraction)))   # one stays
        val += [items[i] for i in sorted(order[:count])]
        train += [items[i] for i in sorted(order[count:])]
    source.parts = {"train": train, "val": val}
    source.key += f" split {fraction:g}"
    source.split = fraction


# ------------------------------------------------------------------- folders

def folder_source(folder: Path, with_val: bool) -> Source:
    """A folder in any of the shapes of data/README.md; `with_val=False` leaves its validation part alone.

    UserError where it is in doubt what the classes are.
    """
    top = look_through(Folder(folder))
    parts = parts_in(top)
    if parts and "train" not in parts and top.ours:
        raise UserError(f"{folder_names(top.ours)} in {folder} hold a run or figures of this project, so "
                        "they are left out: move those files elsewhere")
    if parts and "train" not in parts:
        there = [part.name for part in parts.values()]
        raise doubt_error(f"{folder} holds {folder_names(there)} but no train folder; --evaluate CHECKPOINT "
                          "measures what is there", there)
    train, val = parts.get("train", top), parts.get("val") or parts.get("test")
    found, others = by_class(train)
    held: ByClass = {}
    if not parts and (inner := parts_in_classes(top)):   # cat/train, cat/val
        found, others = by_folder({name: each["train"] for name, each in inner.items()})
        held, _ = by_folder({name: each.get("val") or each["test"] for name, each in inner.items()
                             if len(each) > 1})
    classes = {name: found[name] for name in sorted(found) if found[name]}
    if not classes:
        raise no_classes_error(folder, train, others)
    names = list(classes)
    if len(names) > 1 and not parts and top.path.resolve().name in set(names).difference(top.folders):
        raise UserError(f"{folder} is named like a class of its own images ({', '.join(names[:3])}): is it "
                        "the folder of one class? Give the one above it (if not, another name)")
    if sets := data_sets(top) if len(names) > 1 and not parts else []:
        raise doubt_error(f"{folder_names(sets)} in {folder} have train/ with class folders: if they are "
                          f"data sets, give one, --data {quoted(top.path / sets[0])}", sets)
    closed = {name for name, inner in train.folders.items() if inner.entries is None}
    findings = [f"class {name} {'cannot be opened' if name in closed else 'is empty'}: left out"
                for name in found if not found[name]]
    if train.ours and train.folders:   # of flat images they count as files of other kinds
        findings.append(f"{folder_names(train.ours)} in {train.path} hold a run or figures of this project: "
                        "left out, with all that lies there")
    if beside := parts and unused(top, parts):
        if len(beside) > 1 and not train.folders:   # bus/, car/, and train/ with pictures of trains?
            raise doubt_error(f"{folder} holds {folder_names(beside)} beside {train.name}/, whose pictures "
                              "lie in no class folders", [*beside, train.name])
        findings.append(f"{folder_names(beside)} beside {train.name}/ are left alone")
    if stray := sorted(set(train.images).difference(*classes.values())):
        findings.append(f"{len(stray)} picture(s) in {train.path} belong to no class, such as {stray[0].name}"
                        ": left out (a class is a folder, or what stands before the number in cat.0.jpg)")
    check_depth(train.path, classes, bool(parts or held), findings)
    if with_val and val:
        held, more = by_class(val, names)
        others += more
    items = {"train": numbered(classes, names), "val": []}
    if with_val and (val or held):
        items["val"] = val_items(val or top, top.path, held, names, findings)
    return finished(folder, names, items, findings, others)


def no_classes_error(folder: Path, train: Folder, others: Counter[str]) -> UserError:
    """What a folder holds that has no classes, and which shape it is near."""
    files, lists = train.all_images(), lists_in(train.path, folder)
    if not files:
        return UserError(f"no image in {folder}" + (f", but {kinds(others)}" if others else "")
                         + ": it must hold train/ and val/ with a folder for each class, or class folders, "
                         "or files named like cat.0.jpg (data/README.md)")
    found = (f"{len(files)} image(s) in {train.path} have no classes: they lie in no class folders, and "
             f"their names ({files[0].name}) give none, as cat.0.jpg would")
    if lists:
        return UserError(f"{found}. If a list says what they are, add --labels {quoted(lists[0])}")
    return UserError(found) if train.path == folder else doubt_error(found, Folder(folder).folders)


def val_items(val: Folder, above: Path, classes: ByClass, names: list[str], findings: list[str],
              known: str = "train/") -> list[Item]:
    """The validation part: class folders, or flat files with a list of labels (ImageNet) in it or in the
    folder `above`. `known` is what has the classes `names`."""
    classes = respelt(classes, names)
    if not set(classes) & set(names):
        items = listed_items(val, above, names, findings, known)
        if items is not None:
            return items
        if part_of(val.name)[0] == "test" and not val.folders:   # Kaggle's: numbers for names
            findings.append(f"the pictures in {val.path} have no labels: left alone, and a part of the "
                            "training images is held out instead")
            return []
    if unknown := sorted(name for name in set(classes) - set(names) if classes[name]):
        findings.append(f"{val.name}/ has {len(unknown)} class(es) that {known} lacks "
                        f"({', '.join(unknown[:3])}): left out")
    if missing := sorted(name for name in names if not classes.get(name)):
        findings.append(f"{val.name}/ has no images of {len(missing)} class(es) that {known} has "
                        f"({', '.join(missing[:3])})")
    items = numbered(classes, names)
    if not items:
        raise UserError(f"{val.path} has no image of a class that {known} has ({', '.join(names[:3])}): "
                        "its folders must be named like these, or a list of labels must lie beside it "
                        "(data/README.md)")
    return items


def numbered(classes: ByClass, names: list[str]) -> list[Item]:
    """The files of the classes `names`, each with its class's number."""
    return [(path, label) for label, name in enumerate(names) for path in classes.get(name, [])]


def respelt(classes: ByClass, names: list[str]) -> ByClass:
    """With the spelling of `names`, where a class is only spelt in another way."""
    known, found = {alike(name): name for name in names}, {}
    for name, files in classes.items():
        name = name if name in names else known.get(alike(name), name)
        found[name] = found.get(name, []) + files
    return found


def listed_items(val: Folder, above: Path, names: list[str], findings: list[str],
                 known: str) -> list[Item] | None:
    """Labels of a flat val/ from a list in it or beside it, as Kaggle's LOC_val_solution.csv, Tiny-ImageNet's
    val_annotations.txt and Caffe's val.txt; None if there is none that names more than half of its images."""
    files, number, refused = val.all_images(), {name: index for index, name in enumerate(names)}, None
    for path in lists_in(val.path, above):
        try:
            lines = lines_of(path.read_bytes(), str(path), file_names=True)
        except UserError as error:   # it was not handed in: it only lies there
            findings.append(f"{error}: not read as a list of labels")
            continue
        if files and len(lines) == len(files) and all(line.strip().isdecimal() for line in lines):
            refused = path
            continue
        found = read_list(path, files, val.path, names)
        if found and found.named * 2 > len(files):
            note_lost(found, files, val.path, path, f"of a class that {known} lacks", findings)
            return [(file, number[found.labels[file]]) for file in files if file in found.labels]
    if refused:
        raise UserError(f"{refused} has only numbers: the contest's own (ILSVRC ids) are not the order of "
                        "the class folders. Use a list with names, such as Kaggle's LOC_val_solution.csv "
                        "(data/README.md)")
    return None


def note_lost(found: Listed, files: list[Path], folder: Path, path: Path, why: str,
              findings: list[str]) -> None:
    """Adds to `findings` which images a list leaves out, and which of its lines fit nothing."""
    if lost := len(files) - len(found.labels):
        findings.append(f"{lost} of {len(files)} pictures in {folder} are not in {path.name}, or {why}: "
                        "left out")
    if found.lost:
        some = ", ".join(found.lost[:3])
        findings.append(f"{len(found.lost)} line(s) of {path} fit nothing, such as {some}")


# ------------------------------------------------------------------- lists

def listed_source(folder: Path, path: Path) -> Source:
    """The images of a folder with the classes, and if it has such a column the parts, of a list."""
    findings: list[str] = []
    train, held, others = by_list(Folder(folder), path, findings)
    names = list(train)
    items = {part: sorted(numbered(classes, names)) for part, classes in (("train", train), ("val", held))}
    source = finished(folder, names, items, findings, others)
    source.key += f" labels {path.resolve()}"
    source.identity = hashlib.sha256("\n".join([source.identity, *names]).encode()).hexdigest()
    return source


def by_list(top: Folder, path: Path, findings: list[str]) -> tuple[ByClass, ByClass, Counter[str]]:
    """The images of a folder by their classes in a list: training part, validation part; and how many other
    files lie there."""
    if not path.is_file():
        raise UserError(f"--labels {path}: there is no such file")
    files, others = top.all_images(), top.all_others()
    if path.resolve().is_relative_to(top.path.resolve()):
        others -= Counter([kind(path)])
    found = read_list(path, files, top.path)
    if not found:
        raise UserError(f"--labels {path} gives no image in {top.path} a class: each line must name an image "
                        "(its path below the folder) and its class; a first line such as image,label says "
                        "which column is which (data/README.md)")
    note_lost(found, files, top.path, path, "have several classes there", findings)
    parts: dict[str, ByClass] = {"train": {}, "val": {}, "test": {}, "": {}}
    for file in files:
        if file in found.labels:
            part = part_of(found.parts.get(file, "train"))[0]
            parts[part].setdefault(found.labels[file], []).append(file)
    if strange := sorted(file for files in parts[""].values() for file in files):
        findings.append(f"{len(strange)} picture(s) are in no part called train, val or test in {path.name}, "
                        f"such as {strange[0]} ({found.parts[strange[0]]}): left out")
    if not parts["train"]:
        raise UserError(f"--labels {path} has no image of a training part, only of "
                        f"{', '.join(sorted(set(found.parts.values()))[:3])}")
    train, held = parts["train"], parts["val"] or parts["test"]
    numbers = sorted(filter(str.isdecimal, train), key=lambda name: (int(name), name))
    names = [*numbers, *sorted(train.keys() - {*numbers})]
    return {name: train[name] for name in names}, {name: held.get(name, []) for name in names}, others


# ------------------------------------------------------------------- measuring

def to_measure(place: Path, classes: list[str], labels: str | None = None,
               held_out: float | None = None) -> Source:
    """All images of a folder (in the list `labels`, if there is one), as the validation part of a source with
    the classes that a network knows; with `held_out` only what training on them would have held out."""
    top, findings = Folder(place), []
    if labels:
        train, held, others = by_list(top, Path(labels), findings)
        found = held if any(held.values()) else train
    else:
        found, others = by_class(top, classes)
    known, by_file = {*found} & {*classes}, not labels and not {*found} & {*top.folders}
    if place.resolve().name in classes and not (known and (known == {*found} or not by_file)):
        found = {place.resolve().name: top.all_images()}
    items = val_items(top, place.parent, found, classes, findings, "the model")
    if not items:
        raise UserError(f"the pictures in {place} have no labels: there is nothing to measure")
    source = finished(place, classes, {"train": items, "val": []}, findings, others)
    source.key += f" measured {labels or ''}"
    if not source.parts["train"]:
        raise UserError(f"none of the pictures in {place} can be reached (links that lead nowhere?)")
    if held_out:
        split(source, held_out)
    source.parts = {"train": [], "val": source.parts["val" if held_out else "train"]}
    return source


def finished(folder: Path, names: list[str], parts: dict[str, list[Item]], findings: list[str],
             others: Counter[str]) -> Source:
    """The source of such files without those that cannot be reached; its identity: names, sizes, dates."""
    if others:
        findings.append(f"{kinds(others)} are left out")
    files = hashlib.sha256()
    lost: list[Path] = []
    reached: dict[str, list[Item]] = {part: [] for part in PARTS}
    for part in PARTS:
        for path, label in parts[part]:
            try:
                state = path.stat()
            except OSError:
                lost.append(path)
                continue
            reached[part].append((path, label))
            files.update(f"{part}/{path.relative_to(folder)}\0{label}\0{state.st_size}\0"
                         f"{state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    if lost:
        findings.append(f"{len(lost)} file(s) cannot be reached, such as {lost[0]} (links that lead nowhere?)"
                        ", and are left out")
    return Source(short(folder.resolve().name), names, reached, open_image,
                  str(folder.resolve()), files.hexdigest(), findings)


# ------------------------------------------------------------------- torchvision

def open_sets(name: str, download: bool, downloads: Path) -> dict[str, Any]:
    """The parts train and val (None if it has no such part) of a data set, named in upper or lower case.

    UserError for names that torchvision does not know, and for sets that are not there, or need more.
    """
    from torchvision import datasets   # takes a second

    known = {other.lower(): other for other in datasets.__all__}
    if name.lower() not in known or name.lower() in ("imagefolder", "datasetfolder", "fakedata",
                                                     "wrap_dataset_for_transforms_v2"):
        raise UserError(f"--data {name}: there is no such folder, and torchvision has no data set "
                        "of that name (cifar10, cifar100, imagenette, flowers102, food101 ...)")
    data_set, root = getattr(datasets, known[name.lower()]), downloads / name.lower()
    if download:
        root.mkdir(parents=True, exist_ok=True)
    fetched = any("download" in inspect.signature(base.__init__).parameters for base in data_set.__mro__)
    shared: dict[str, Any] = {"root": str(root)} | ({"download": download} if fetched else {})
    try:
        with fetching():
            sets = {part: first_of(data_set, choices, shared)
                    for part, choices in choices_for(data_set).items()}
    except (RuntimeError, FileNotFoundError) as error:
        advice = "torchvision does not fetch it"
        if fetched:
            advice = "it could not be downloaded" if download else "--download fetches it"
        raise UserError(f"{name} is not in {root}: {advice} ({str(error).splitlines()[0]})") from None
    except OSError as error:
        raise UserError(f"{name} could not be downloaded to {root} ({error})") from None
    except ImportError as error:
        raise UserError(f"torchvision's {name} needs one more package ({error})") from None
    except TypeError:
        raise UserError(f"torchvision's {name} needs more than a folder, or has no classes") from None
    if sets["train"] is None:
        raise UserError(f"torchvision's {name} has no training part of a known name")
    return sets


def choices_for(data_set: type) -> dict[str, list[dict[str, Any]]]:
    """The arguments that may give each part, the best first."""
    options = inspect.signature(data_set.__init__).parameters
    if "train" in options:
        return {"train": [{"train": True}], "val": [{"train": False}]}
    if "split" in options:
        return {"train": [{"split": name} for name in ("train", "trainval")],
                "val": [{"split": name} for name in VAL_NAMES]}
    return {"train": [{}], "val": []}


def first_of(data_set: type, choices: list[dict[str, Any]], shared: dict[str, Any]) -> Any:
    """The data set with the first choice of arguments that it takes, or None."""
    for choice in choices:
        try:
            return data_set(**choice, **shared)
        except ValueError:   # torchvision's word for a split that does not exist
            continue
    return None


def from_datasets(name: str, sets: dict[str, Any]) -> Source:
    """A source from torchvision's data sets that give (image, class number)."""
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

    def open_one(key: tuple[str, int], side: int) -> Image.Image:
        return to_rgb(sets[key[0]][key[1]][0])

    sizes = " ".join(f"{part} {len(items)}" for part, items in parts.items())
    return Source(name, classes, parts, open_one, f"torchvision {name}", f"torchvision {name}: {sizes}")


# ------------------------------------------------------------------- a look before hours are spent

def examine(source: Source) -> None:
    """Adds warnings to `source.findings`; UserError if training makes no sense."""
    counts = Counter(label for _, label in source.parts["train"])
    if len(source.classes) < 2:
        raise UserError(f"only one class in {source.name} ({source.classes[0]}): there is nothing to tell "
                        f"apart{where_classes_are(next(iter(source.parts['train']), [None])[0])}")
    for part in PARTS:
        if not source.parts[part]:
            raise UserError(f"the {part} part of {source.name} is empty: " + (
                "each class has one image only, so none can be held out; add images"
                if set(counts.values()) == {1} else "add images"))
    if few := [name for label, name in enumerate(source.classes) if counts[label] < FEW]:
        source.findings.append(
            f"{len(few)} class(es) have fewer than {FEW} training images ({', '.join(few[:3])}): "
            "too few to learn from; expect memorising")
    most, least = max(counts.values()), min(counts.values())
    if most >= 10 * least:
        source.findings.append(f"the largest class has {most} training images, the smallest {least}: "
                               "without --balance the network will favour the large one")


def where_classes_are(image: Any) -> str:
    """Advice to a person who gave a folder of one class: perhaps it is a level too high or too low, or a list
    is near."""
    places = [image.parent, image.parent.parent] if isinstance(image, Path) else []
    for place in places:
        if several_classes(Folder(place)):
            above = place.parent if part_of(place.name)[0] else place
            return f"; {above} has several: give --data {quoted(above)}"
    lists = lists_in(*places)
    return f"; if a list has the classes, add --labels {quoted(lists[0])}" if lists else ""
