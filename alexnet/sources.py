"""Where images and labels come from: folders, lists of labels, torchvision; and what looks wrong.

    source = find_source("path/to/images")     # classes, files, labels; what looks odd
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator
from unicodedata import normalize

import numpy as np
import torch
from PIL import Image

from alexnet import demo, labels
from alexnet.files import UserError, lines_of, short
from alexnet.images import is_image, open_image, to_rgb
from alexnet.labels import LISTS, part_of

PARTS = ("train", "val")
VAL_NAMES = ("val", "validation", "valid", "test")
VAL_FRACTION = 0.2   # held out where a source has no validation part
# Folders that systems and photo stations make, and files such as Windows' small pictures.
SYSTEM = {"@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found",
          "__macosx", "thumbnails", "thumbs", "_thumbs", "thumbs.db", "desktop.ini"}
OURS = ("config.json", "metrics.csv"), ("captions.json", "index.html")   # what lies in folders of ours
DATE = r"[\s._-]*(?<!\d)(19|20)\d\d[._-]?(0\d|1[0-2])[._-]?[0-3]\d([T\s._-]+\d\d[._:-]?\d\d[._:-]?\d\d)?$"
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
    folder, with_val = Path(where).expanduser(), val_fraction is None
    if labels and (where == "demo" or not folder.is_dir()):
        raise UserError("--labels needs --data FOLDER; " + (
            "demo is the built-in data set (a folder of that name: ./demo)" if where == "demo" else
            f"there is no folder {where}"))
    if where == "demo":
        source = demo_source()
    elif folder.is_dir():
        source = listed_source(folder, Path(labels)) if labels else folder_source(folder, with_val)
    elif Path(where).exists():
        more = f", or for a list of labels --data FOLDER --labels {where}" if folder.suffix in LISTS else ""
        raise UserError(f"--data {where} is a file; give the folder that holds the class folders{more}")
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
    source.split = fraction


# ------------------------------------------------------------------- one walk, for training and classifying

def walk(folder: Path, above: tuple[str, ...] | None = None) -> Iterator[Path]:
    """Every file below a folder, but for hidden ones and SYSTEM. Links are followed unless they lead back to
    a folder that they lie in. A folder that may not be opened is given as if it were a file."""
    real = os.path.realpath(folder)
    if above is None:
        above = (os.path.realpath(os.path.dirname(os.path.abspath(folder))),)
    elif leads_back(real, above):
        return
    try:
        entries = visible(folder)
    except OSError:
        yield folder
        return
    for entry in entries:
        if is_folder(entry):
            yield from walk(Path(entry.path), (*above, real))
        else:
            yield Path(entry.path)


def leads_back(real: str, above: Iterable[str]) -> bool:
    return any(one == real or one.startswith(os.path.join(real, "")) for one in above)


def visible(folder: Path) -> list[os.DirEntry]:
    """What lies in a folder, sorted, but for hidden names, SYSTEM, pipes, sockets and folders of ours."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in SYSTEM
            and (entry.is_symlink() or entry.is_file() or entry.is_dir()) and not is_ours(entry)]


def is_ours(entry: os.DirEntry) -> bool:
    """Whether it is the folder of a run or of figures: their pictures (curves.png) are no class."""
    return is_folder(entry) and any(all(os.path.exists(f"{entry.path}/{name}") for name in both) for both in OURS)


def is_folder(entry: os.DirEntry) -> bool:
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()   # a loop raises


def images_of(paths: Iterable[Path], others: Counter[str] | None = None) -> list[Path]:
    """The image files among `paths`, sorted; `others` counts the rest by kind."""
    images = []
    for path in paths:
        if is_image(path):
            images.append(path)
        elif others is not None:
            others["folder not opened" if path.is_dir() else path.suffix.lower() or "without suffix"] += 1
    return sorted(images)


def images_below(folder: Path, others: Counter[str] | None = None) -> list[Path]:
    """Every image file in a folder and its subfolders, sorted; `others` counts the rest by kind."""
    return images_of(walk(folder), others)


def images_in(folder: Path, others: Counter[str] | None = None) -> list[Path]:
    """The same without its subfolders."""
    return images_of((Path(entry.path) for entry in visible(folder) if not is_folder(entry)), others)


def has_image(folder: Path) -> bool:
    return any(map(is_image, walk(folder)))


def subfolders(folder: Path) -> dict[str, Path]:
    """By name, without links that lead back."""
    here = (os.path.realpath(folder),)
    return {entry.name: Path(entry.path) for entry in visible(folder) if is_folder(entry)
            and not (entry.is_symlink() and leads_back(os.path.realpath(entry.path), here))}


def kinds(others: Counter[str]) -> str:
    """4 file(s) of other kinds (3 .mp4, 1 without suffix)."""
    named = [f"{count} {kind}" for kind, count in others.most_common(5)] + ["..."] * (len(others) > 5)
    return f"{others.total()} file(s) of other kinds ({', '.join(named)})"


# ------------------------------------------------------------------- what folders mean

def parts_in(folder: Path) -> dict[str, Path]:
    """The folders of the parts train, val and test, those of them that are there and hold images.

    A name with another word (seg_train) is a part only beside one with the same (seg_test): steam_train is a
    class. UserError for parts of several classes or sets side by side.
    """
    usual = (*PARTS, *VAL_NAMES)   # of two names for one part, the first of these
    inside = sorted(subfolders(folder).values(), key=lambda path: (usual + (path.name,)).index(path.name))
    found: dict[str, dict[str, Path]] = {}
    for path in inside:
        part, more = part_of(path.name)
        if part and has_image(path):
            found.setdefault(more, {}).setdefault(part, look_through(path))
    families = [parts for more, parts in found.items() if len(parts) > 1 or not more]
    if len(families) > 1 and "" not in found:
        names = ", ".join(path.name for parts in families[:2] for path in parts.values())
        raise UserError(f"{folder} holds parts of several classes or sets ({names} ...): put the parts above "
                        "the classes (train/cat, val/cat), or give one of the sets")
    return found.get("") or next(iter(families), {})


def look_through(folder: Path) -> Path:
    """The folder, or the only one in it if that has the same meaning (seg_train/seg_train)."""
    inside = list(subfolders(folder).values())
    if len(inside) != 1 or images_in(folder):
        return folder
    name, other = folder.name, inside[0].name
    same = name.lower() == other.lower() or part_of(name)[0] and part_of(name) == part_of(other)
    return inside[0] if same else folder


def folder_source(folder: Path, with_val: bool = True) -> Source:
    """A folder in any of the shapes of data/README.md; `with_val=False` leaves its validation part alone.

    UserError where it is in doubt what the classes are.
    """
    top = look_through(folder)
    parts = parts_in(top)
    train, val = parts.get("train", top), parts.get("val") or parts.get("test")
    if parts and "train" not in parts:
        there = [path.name for path in parts.values()]
        raise in_doubt(f"{folder} holds {listed(there)} but no train folder; --evaluate CHECKPOINT measures "
                       "what is there", there)
    others: Counter[str] = Counter()
    inner = {name: parts_in(path) for name, path in subfolders(top).items() if not parts and has_image(path)}
    if inner and all("train" in each for each in inner.values()):   # cat/train, cat/val
        classes = {name: images_below(each["train"], others) for name, each in inner.items()}
        held = {name: images_below(each.get("val") or each["test"], others) for name, each in inner.items()
                if len(each) > 1}
    else:
        classes, held = by_class(train, others), {}
    if not any(classes.values()):
        raise no_classes(folder, train, others)
    names = sorted(name for name, files in classes.items() if files)
    findings = [f"class {name} is empty: left out" for name, files in classes.items() if not files]
    if "train" in parts:
        used = {place for path in parts.values() for place in (path, path.parent)}
        if beside := [path for path in subfolders(top).values() if path not in used and has_image(path)]:
            findings.append(f"{listed(path.name for path in beside)} beside {train.name}/ are left alone")
    if stray := sorted(set(images_in(train)).difference(*classes.values())):
        findings.append(f"{len(stray)} picture(s) in {train} belong to no class, such as {stray[0].name}: "
                        "left out (a class is a folder, or what stands before the number in cat.0.jpg)")
    look_below(train, classes, names, findings, sure="train" in parts or bool(held))
    items: dict[str, list[Item]] = {"train": [], "val": []}
    items["train"] = [(path, label) for label, name in enumerate(names) for path in classes[name]]
    if with_val and (val or held):
        held = held or by_class(val, others, names)
        items["val"] = val_items(top, val or top, held, names, findings)
    return finished(folder, names, items, findings, others)


def look_below(train: Path, classes: dict[str, list[Path]], names: list[str], findings: list[str],
               sure: bool) -> None:
    """Says which class folders hold folders; UserError if all hold the same ones, unless it is `sure` what
    the classes are."""
    levels = {name: {path.relative_to(train).parts[1] for path in classes[name]
                     if len(path.relative_to(train).parts) > 2} for name in names}
    same = levels[names[0]]
    alike = len(names) > 1 < len(same) and all(level == same for level in levels.values())
    years = all(re.fullmatch(r"(19|20)\d\d", name) for name in same)   # are no classes
    if alike and not sure and not years:
        raise in_doubt(f"{listed(names)} in {train} hold the same folders, {listed(sorted(same))}: if those are "
                       f"the classes, give one, --data {shlex.quote(str(train / names[0]))}", names)
    for name in names:
        if len(levels[name]) > 1:
            findings.append(f"class {name} holds images in {len(levels[name])} subfolders "
                            f"({', '.join(sorted(levels[name])[:3])} ...), which count as one class: "
                            f"if they are the classes, give --data {shlex.quote(str(train / name))}")


def in_doubt(found: str, names: Iterable[str]) -> UserError:
    """What was found, and how to say that such names are classes."""
    return UserError(f"{found}. If {listed(names)} are classes: put all class folders into a folder called "
                     "train and give the one above it; in train/, every folder is a class")


def listed(names: Iterable[str]) -> str:
    """seg_test/, seg_val/ ..."""
    some = list(names)
    return ", ".join(f"{name}/" for name in some[:4]) + " ..." * (len(some) > 4)


def no_classes(folder: Path, train: Path, others: Counter[str]) -> UserError:
    """Says what a folder holds that has no classes, and which shape it is near."""
    files, lists = images_below(train), lists_in(train, folder)
    if not files:
        return UserError(f"no image in {folder}" + (f", but {kinds(others)}" if others else "")
                         + ": it must hold train/ and val/ with a folder for each class, or class folders, "
                         "or files named like cat.0.jpg (data/README.md)")
    found = (f"{len(files)} image(s) in {train} have no classes: they lie in no class folders, and their "
             f"names ({files[0].name}) give none, as cat.0.jpg would")
    if lists:
        return UserError(f"{found}. If a list says what they are, add --labels {shlex.quote(str(lists[0]))}")
    return UserError(found) if train == folder else in_doubt(found, subfolders(folder))


def measured_part(folder: Path, classes: list[str], part: str | None = None) -> Path:
    """Where the images lie that a network is measured on: `part` of a folder; by default its validation part,
    or test part, or the folder itself. UserError if there is no such part."""
    top = look_through(folder)
    parts = {name: path for name, path in parts_in(top).items() if path.name not in classes}
    wanted = [part] if part else ["val", "test", "train"]
    found = next((parts[name] for name in wanted if name in parts), None)
    if part and not found:
        raise UserError(f"--part {part}: there is no {part}/ in {folder}; without --part all is measured")
    return found or top


def to_measure(place: Path, classes: list[str], labels: str | None = None,
               held_out: float | None = None) -> Source:
    """All images of a folder (in the list `labels`, if there is one), as the validation part of a source with
    the classes that a network knows; with `held_out` only what training on them would have held out."""
    others: Counter[str] = Counter()
    findings: list[str] = []
    if labels:
        listed = listed_source(place, Path(labels))
        found = {name: [] for name in listed.classes}
        for file, label in listed.parts["val"] or listed.parts["train"]:
            found[listed.classes[label]].append(file)
        findings += listed.findings
    else:
        found = by_class(place, others, classes)
    if place.resolve().name in classes and not {*classes} & {*found}:   # the folder of one class
        found = {place.resolve().name: images_below(place)}
    items = val_items(place.parent, place, found, classes, findings, "the model")
    if not items:
        raise UserError(f"the pictures in {place} have no labels: there is nothing to measure")
    source = finished(place, classes, {"train": items, "val": []}, findings, others)
    source.place += f" measured {labels or ''}"
    if held_out:
        split(source, held_out)
    source.parts = {"train": [], "val": source.parts["val" if held_out else "train"]}
    return source


def by_class(folder: Path, others: Counter[str] | None = None,
             known: Iterable[str] = ()) -> dict[str, list[Path]]:
    """Files by class: class folders, or a flat folder with names like cat.0.jpg, dog_12.png."""
    classes = {name: images_below(path, others) for name, path in subfolders(folder).items()}
    return classes if any(classes.values()) else by_name(images_in(folder, others), set(known)) or classes


def by_name(files: list[Path], known: set[str]) -> dict[str, list[Path]]:
    """Flat files by what stands before the number in their names, and before a date.

    cat-3-017.jpg may be of the class cat-3 or cat: the one that is `known`; else cat-3, unless that makes
    many classes of few images. No classes where nearly each file would be its own (names that are hashes).
    """
    def grouped(pattern: str) -> dict[str, list[Path]]:
        groups: dict[str, list[Path]] = {}
        for path in files:
            before = re.sub(DATE, "", path.stem)
            name = re.sub(DATE, "", re.sub(pattern, "", path.stem)) if before == path.stem else before
            if name != path.stem and re.search(r"[^\W\d_]", name):
                groups.setdefault(name.rstrip("._- "), []).append(path)
        return groups

    last, first = r"[\s._-]*\(?\d+\)?$", r"[\s._-]+\(?\d+\)?(?![^\s._-]).*$"   # numbers
    fine, coarse = grouped(last), grouped(f"{first}|{last}")
    if known:
        return max(fine, coarse, key=lambda groups: len(known & set(groups)))
    if len(files) < FEW / 2 * len(fine) and 1 < len(coarse) < len(fine):
        return coarse
    return {} if len(fine) > max(10, sum(map(len, fine.values())) / 2) else fine


def val_items(folder: Path, val: Path, classes: dict[str, list[Path]], names: list[str],
              findings: list[str], known: str = "train/") -> list[Item]:
    """The validation part: class folders, or flat files with a list of labels (ImageNet). `known` is what
    has the classes `names`."""
    classes = respelt(classes, names)
    if not set(classes) & set(names):
        items = listed_items(folder, val, names, findings)
        if items is not None:
            return items
        if part_of(val.name)[0] == "test" and not any(subfolders(val).values()):  # Kaggle's: numbers for names
            findings.append(f"the pictures in {val} have no labels: left alone, and a part of the "
                            "training images is held out instead")
            return []
    unknown = sorted(name for name in set(classes) - set(names) if classes[name])
    missing = sorted(set(names) - {name for name in classes if classes[name]})
    if unknown:
        findings.append(f"{val.name}/ has {len(unknown)} class(es) that {known} lacks "
                        f"({', '.join(unknown[:3])}): left out")
    if missing:
        findings.append(f"{val.name}/ has no images of {len(missing)} class(es) that {known} has "
                        f"({', '.join(missing[:3])})")
    items = [(path, label) for label, name in enumerate(names) for path in classes.get(name, [])]
    if not items:
        raise UserError(f"{val} has no image of a class that {known} has ({', '.join(names[:3])}): its folders "
                        "must be named like these, or a list of labels must lie beside it (data/README.md)")
    return items


def alike(name: str) -> str:
    """The same for Café and café, also as a Mac writes it, and with a blank behind."""
    return normalize("NFC", name).casefold().strip()


def respelt(classes: dict[str, list[Path]], names: list[str]) -> dict[str, list[Path]]:
    """With the spelling of `names`, where a class is only spelt in another way."""
    known, found = {alike(name): name for name in names}, {}
    for name, files in classes.items():
        name = name if name in names else known.get(alike(name), name)
        found[name] = found.get(name, []) + files
    return found


def listed_items(folder: Path, val: Path, names: list[str], findings: list[str]) -> list[Item] | None:
    """Labels of a flat val/ from a list in it or beside it, as Kaggle's LOC_val_solution.csv, Tiny-ImageNet's
    val_annotations.txt and Caffe's val.txt; None if there is none that names more than half of its images."""
    files = images_below(val)
    for path in lists_in(val, folder):
        try:
            lines = lines_of(path.read_bytes(), str(path), file_names=True)
        except UserError as error:   # it was not handed in: it only lies there
            findings.append(f"{error}: not read as a list of labels")
            continue
        if files and len(lines) == len(files) and all(line.strip().isdecimal() for line in lines):
            raise UserError(f"{path} has only numbers: the contest's own (ILSVRC ids) are not the "
                            "order of the class folders. Use a list with names, such as Kaggle's "
                            "LOC_val_solution.csv (data/README.md)")
        found = labels.read(path, files, val, names)
        if found and found.named * 2 > len(files):
            say_lost(found, files, val, path, findings, "of a class that train/ lacks")
            return [(file, names.index(found.labels[file])) for file in files if file in found.labels]
    return None


def lists_in(*places: Path) -> list[Path]:
    return [path for place in places for path in sorted(place.iterdir())
            if path.suffix.lower() in LISTS and path.is_file()]


def say_lost(found: labels.Listed, files: list[Path], folder: Path, path: Path, findings: list[str],
             why: str) -> None:
    """Which images a list leaves out, and which of its lines fit nothing."""
    if lost := len(files) - len(found.labels):
        findings.append(f"{lost} of {len(files)} pictures in {folder} are not in {path.name}, or {why}: left "
                        "out")
    if found.lost:
        some = ", ".join(found.lost[:3])
        findings.append(f"{len(found.lost)} line(s) of {path} fit nothing, such as {some}")


def listed_source(folder: Path, path: Path) -> Source:
    """The images of a folder with the classes, and if it has such a column the parts, of a list."""
    others: Counter[str] = Counter()
    files = images_of((file for file in walk(folder) if file.name != path.name), others)
    if not path.is_file():
        raise UserError(f"--labels {path}: there is no such file")
    found = labels.read(path, files, folder)
    if not found:
        raise UserError(f"--labels {path} gives no image in {folder} a class: each line must name an image "
                        "(its path below the folder) and its class; a first line such as image,label says "
                        "which column is which (data/README.md)")
    findings: list[str] = []
    say_lost(found, files, folder, path, findings, "have several classes there")
    parts = {file: part_of(found.parts.get(file, "train"))[0] for file in found.labels}
    held = "val" if "val" in parts.values() else "test"
    if strange := [file for file, part in parts.items() if not part]:
        findings.append(f"{len(strange)} picture(s) are in no part called train, val or test in {path.name}, "
                        f"such as {strange[0]} ({found.parts[strange[0]]}): left out")
    names = sorted({name for file, name in found.labels.items() if parts[file] == "train"},
                   key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))
    if not names:
        raise UserError(f"--labels {path} has no image of a training part, only of "
                        f"{', '.join(sorted(set(found.parts.values()))[:3])}")
    number = {name: label for label, name in enumerate(names)}
    items = {part: [(file, number[found.labels[file]]) for file in files
                    if parts.get(file) == taken and found.labels[file] in number]
             for part, taken in (("train", "train"), ("val", held))}
    source = finished(folder, names, items, findings, others)
    source.place += f" labels {path.resolve()}"
    source.identity = hashlib.sha256("\n".join([source.identity, *names]).encode()).hexdigest()
    return source


def finished(folder: Path, names: list[str], parts: dict[str, list[Item]], findings: list[str],
             others: Counter[str]) -> Source:
    """The source of such files without those that cannot be reached; its identity: names, sizes, dates."""
    if others:
        findings.append(f"{kinds(others)} are left out")
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
        findings.append(f"{len(lost)} file(s) cannot be reached, such as {lost[0]} (links that lead nowhere?), "
                        "and are left out")
        parts = {part: [item for item in items if item[0] not in set(lost)] for part, items in parts.items()}
    return Source(short(folder.resolve().name), names, parts, open_image,
                  str(folder.resolve()), files.hexdigest(), findings)


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
    return Source(name, classes, parts, open_item, place, f"{place}: {sizes}")


# ------------------------------------------------------------------- a look before hours are spent

def examine(source: Source) -> None:
    """Adds what looks wrong to `source.findings`; UserError where training makes no sense."""
    counts = {part: Counter(label for _, label in items) for part, items in source.parts.items()}
    if len(source.classes) < 2:
        only, path = source.classes[0], source.parts["train"][0][0]
        advice = ""
        for place in (path.parent, path.parent.parent) if isinstance(path, Path) else ():
            above = place.parent if part_of(place.name)[0] else place
            if several_classes(place):   # a level too high or too low was given
                advice = f"; {above} has several: give --data {shlex.quote(str(above))}"
                break
            if lists := lists_in(place):
                advice = f"; if a list has the classes, add --labels {shlex.quote(str(lists[0]))}"
        raise UserError(f"only one class in {source.name} ({only}): there is nothing to tell "
                        f"apart{advice}")
    for part in PARTS:
        if not source.parts[part]:
            single = set(counts["train"].values()) == {1}
            raise UserError(f"the {part} part of {source.name} is empty: " + (
                "each class has one image only, so none can be held out; add images" if single else
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
        holding = [one for one in inside if any(map(is_image, one.iterdir()))]
    except OSError:
        return False
    return len(holding) > 1 or not inside and len(by_class(folder)) > 1
