"""What the names of files and folders mean: parts (train, val, test) and classes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Collection, Iterable
from unicodedata import normalize

from alexnet.files import UserError, quoted
from alexnet.folders import Folder

PARTS = ("train", "val")
VAL_NAMES = ("val", "validation", "valid", "test")
ByClass = dict[str, list[Path]]
# How the parts of a data set are called, and what adds nothing to such a name.
PART_WORDS = {"train": "train|training|trainval|训练", "val": "val|valid|validation|验证",
              "test": "test|testing|eval|evaluation|测试"}
FILLERS = "set|data|dataset|images?|imgs?|pics|pictures?|photos?|files?|split|part|集"
# In a file's name: a date at its end; a number at its end; what follows the first number.
DATE = r"[\s._-]*(?<!\d)(19|20)\d\d[._-]?(0\d|1[0-2])[._-]?[0-3]\d([T\s._-]+\d\d[._:-]?\d\d[._:-]?\d\d)?$"
LAST_NUMBER = r"[\s._-]*\(?\d+\)?$"
FROM_FIRST_NUMBER = r"[\s._-]+\(?\d+\)?(?![^\s._-]).*$"
YEAR = r"(19|20)\d\d"
FEW_IMAGES = 10   # of a class, on average: then perhaps its name was read too finely


def alike(name: str) -> str:
    """The same for Café and café, also as a Mac writes it (é in two pieces), and with a blank behind."""
    return normalize("NFC", name).casefold().strip()


def part_of(name: str) -> tuple[str, str]:
    """Which part a name speaks of (train, val, test, or none), and what else it says: train and seg for
    seg_train, val and nothing for Validation, val2017 and valImages."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    spoken = {part: word for part, pattern in PART_WORDS.items() for word in words
              if re.fullmatch(f"({pattern})({FILLERS})?", word)}
    if len(spoken) != 1:
        return "", ""
    (part, word), = spoken.items()
    return part, " ".join(other for other in words if other != word and not re.fullmatch(FILLERS, other))


def by_name(files: list[Path], known: Collection[str] = ()) -> ByClass:
    """Flat files by class: what stands before the number in their names (cat.0.jpg), and before a date.

    cat-3-017.jpg may be of the class cat-3 or cat: the one that is `known`; else cat-3, unless that makes
    many classes of few images. No classes where nearly each file would be its own (names that are hashes).
    """
    fine = before_number(files, LAST_NUMBER)
    coarse = before_number(files, f"{FROM_FIRST_NUMBER}|{LAST_NUMBER}")
    if known:
        return max(fine, coarse, key=lambda classes: len(classes.keys() & set(known)))
    if len(files) < FEW_IMAGES * len(fine) and 1 < len(coarse) < len(fine):
        return coarse
    return {} if len(fine) > max(10, sum(map(len, fine.values())) / 2) else fine


def before_number(files: list[Path], number: str) -> ByClass:
    """The files by what is left of their names without a date, or else without what the pattern `number`
    finds; those of which no letter is left, or everything, are left out."""
    classes: ByClass = {}
    for path in files:
        name = re.sub(DATE, "", path.stem)
        if name == path.stem:
            name = re.sub(DATE, "", re.sub(number, "", name))
        if name != path.stem and re.search(r"[^\W\d_]", name):
            classes.setdefault(name.rstrip("._- "), []).append(path)
    return classes


def parts_in(folder: Folder) -> dict[str, Folder]:
    """The folders of the parts train, val and test, those of them that are there and hold images.

    A name with another word (seg_train) is a part only beside one with the same (seg_test): steam_train is a
    class. UserError for parts of several classes or sets side by side.
    """
    usual = (*PARTS, *VAL_NAMES)   # of two names for one part, the first of these
    found: dict[str, dict[str, Folder]] = {}
    for name in sorted(folder.folders, key=lambda name: usual.index(name) if name in usual else len(usual)):
        inner = folder.folders[name]
        part, more = part_of(name)
        if part and inner.has_image():
            found.setdefault(more, {}).setdefault(part, look_through(inner))
    families = [parts for more, parts in found.items() if len(parts) > 1 or not more]
    if len(families) > 1 and "" not in found:
        names = ", ".join(inner.name for parts in families[:2] for inner in parts.values())
        raise UserError(f"{folder.path} holds parts of several classes or sets ({names} ...): put the parts "
                        "above the classes (train/cat, val/cat), or give one of the sets")
    return found.get("") or next(iter(families), {})


def look_through(folder: Folder) -> Folder:
    """The folder, or the only one in it if that has the same meaning (seg_train/seg_train)."""
    if len(folder.folders) != 1 or folder.images:
        return folder
    inner, = folder.folders.values()
    part = part_of(folder.name)
    same = folder.name.lower() == inner.name.lower() or part[0] and part == part_of(inner.name)
    return inner if same else folder


def by_class(folder: Folder, known: Collection[str] = ()) -> tuple[ByClass, Counter[str]]:
    """Images by class, of class folders or of a flat folder with names like cat.0.jpg, dog_12.png; and how
    many other files lie there."""
    classes, others = by_folder(folder.folders)
    if any(classes.values()):
        return classes, others
    return by_name(folder.images, known) or classes, others + folder.others


def by_folder(folders: dict[str, Folder]) -> tuple[ByClass, Counter[str]]:
    """The images in the folder of each class, and how many other files lie there."""
    others = sum((folder.all_others() for folder in folders.values()), Counter())
    return {name: folder.all_images() for name, folder in folders.items()}, others


def parts_in_classes(folder: Folder) -> dict[str, dict[str, Folder]]:
    """The parts of each class if they lie in the class folders (cat/train, cat/val), else nothing."""
    found = {name: parts_in(inner) for name, inner in folder.folders.items() if inner.has_image()}
    return found if all("train" in parts for parts in found.values()) else {}


def data_sets(folder: Folder) -> list[str]:
    """The folders in it whose parts hold the same folders (years aside): data sets, so it hardly is one."""
    def classes(parts: dict[str, Folder]) -> set[str]:
        inner = [set(part.folders) for part in parts.values()]
        common = set.intersection(*inner) if inner[1:] else set()
        return {name for name in common if not re.fullmatch(YEAR, name)}
    return [name for name, inner in folder.folders.items() if len(classes(parts_in(inner))) > 1]


def unused(folder: Folder, parts: dict[str, Folder]) -> list[str]:
    """The folders beside the parts that hold images."""
    used = {path for part in parts.values() for path in (part.path, part.path.parent)}
    return [name for name, inner in folder.folders.items() if inner.path not in used and inner.has_image()]


def several_classes(folder: Folder) -> bool:
    """Whether it holds class folders, or files named by class; looks no deeper."""
    holding = [inner for inner in folder.folders.values() if inner.images]
    named = {} if folder.folders else by_name(folder.images)
    return len(holding) > 1 or len(named) > 1 and folder.path.resolve().name not in named


def measured_part(place: Path, classes: list[str], part: str | None) -> Path:
    """Where the images lie that a network is measured on: `part` of a folder; by default val, test, or train,
    whichever is there first, or the folder itself. UserError if there is no such part."""
    top = look_through(Folder(place))
    parts = {name: inner for name, inner in parts_in(top).items() if inner.name not in classes}
    wanted = [part] if part else ["val", "test", "train"]
    found = next((parts[name] for name in wanted if name in parts), None)
    if part and not found:
        raise UserError(f"--part {part}: there is no {part}/ in {place}")
    return (found or top).path


def check_depth(train: Path, classes: ByClass, sure: bool, findings: list[str]) -> None:
    """Adds to `findings` which class folders hold folders; UserError if all hold the same ones, unless it is
    `sure` what the classes are."""
    below = len(train.parts) + 1   # in a path: the place of what lies in a class's folder
    inside = {name: {path.parts[below] for path in files if len(path.parts) > below + 1}
              for name, files in classes.items()}
    first = next(iter(inside))
    same = sorted(inside[first])
    same_inside = len(inside) > 1 < len(same) and all(sorted(names) == same for names in inside.values())
    years = all(re.fullmatch(YEAR, name) for name in same)   # are no classes
    if same_inside and not sure and not years:
        raise doubt_error(f"{folder_names(inside)} in {train} hold the same folders, {folder_names(same)}: "
                          f"if those are the classes, give one, --data {quoted(train / first)}", inside)
    for name, names in inside.items():
        if len(names) > 1:
            findings.append(f"class {name} holds images in {len(names)} subfolders "
                            f"({', '.join(sorted(names)[:3])} ...), which count as one class: if they are "
                            f"the classes, give --data {quoted(train / name)}")


def doubt_error(found: str, names: Iterable[str]) -> UserError:
    """What was found, and how to say that such names are classes."""
    return UserError(f"{found}. If {folder_names(names)} are classes: put all class folders into a folder "
                     "called train and give the one above it; in train/, every folder is a class")


def folder_names(names: Iterable[str]) -> str:
    """seg_test/, seg_val/ ..."""
    some = list(names)
    return ", ".join(f"{name}/" for name in some[:4]) + " ..." * (len(some) > 4)
