"""What folders mean: parts (train, val, test), and classes."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Collection, Iterable

from alexnet.files import UserError
from alexnet.folders import Folder
from alexnet.names import by_name, part_of

PARTS = ("train", "val")
VAL_NAMES = ("val", "validation", "valid", "test")


def parts_in(folder: Folder) -> dict[str, Folder]:
    """The folders of the parts train, val and test, those of them that are there and hold images.

    A name with another word (seg_train) is a part only beside one with the same (seg_test): steam_train is a
    class. UserError for parts of several classes or sets side by side.
    """
    usual = (*PARTS, *VAL_NAMES)   # of two names for one part, the first of these
    found: dict[str, dict[str, Folder]] = {}
    for name, inner in sorted(folder.folders.items(), key=lambda item: (usual + (item[0],)).index(item[0])):
        part, more = part_of(name)
        if part and inner.has_image():
            found.setdefault(more, {}).setdefault(part, look_through(inner))
    families = [parts for more, parts in found.items() if len(parts) > 1 or not more]
    if len(families) > 1 and "" not in found:
        names = ", ".join(inner.name for parts in families[:2] for inner in parts.values())
        raise UserError(f"{folder.path} holds parts of several classes or sets ({names} ...): put the parts above "
                        "the classes (train/cat, val/cat), or give one of the sets")
    return found.get("") or next(iter(families), {})


def look_through(folder: Folder) -> Folder:
    """The folder, or the only one in it if that has the same meaning (seg_train/seg_train)."""
    if len(folder.folders) != 1 or folder.images:
        return folder
    inner, = folder.folders.values()
    part = part_of(folder.name)
    same = folder.name.lower() == inner.name.lower() or part[0] and part == part_of(inner.name)
    return inner if same else folder


def by_class(folder: Folder, known: Collection[str] = ()) -> tuple[dict[str, list[Path]], Counter[str]]:
    """Images by class, of class folders or of a flat folder with names like cat.0.jpg, dog_12.png; and how many
    other files lie there."""
    classes = {name: inner.all_images() for name, inner in folder.folders.items()}
    others = sum((inner.all_others() for inner in folder.folders.values()), Counter())
    if any(classes.values()):
        return classes, others
    return by_name(folder.images, known) or classes, others + folder.others


def parts_in_classes(folder: Folder) -> dict[str, dict[str, Folder]]:
    """The parts of each class if they lie in the class folders (cat/train, cat/val), else nothing."""
    found = {name: parts_in(inner) for name, inner in folder.folders.items() if inner.has_image()}
    return found if all("train" in parts for parts in found.values()) else {}


def several_classes(folder: Folder) -> bool:
    """Whether it holds class folders, or files named by class; looks no deeper."""
    holding = [inner for inner in folder.folders.values() if inner.images]
    return len(holding) > 1 or not folder.folders and len(by_name(folder.images)) > 1


def measured_part(place: Path, classes: list[str], part: str | None = None) -> Path:
    """Where the images lie that a network is measured on: `part` of a folder; by default its validation part,
    or test part, or the folder itself. UserError if there is no such part."""
    top = look_through(Folder(place))
    parts = {name: inner for name, inner in parts_in(top).items() if inner.name not in classes}
    wanted = [part] if part else ["val", "test", "train"]
    found = next((parts[name] for name in wanted if name in parts), None)
    if part and not found:
        raise UserError(f"--part {part}: there is no {part}/ in {place}; without --part all is measured")
    return (found or top).path


def check_depth(train: Path, classes: dict[str, list[Path]], sure: bool) -> list[str]:
    """Says which class folders hold folders; UserError if all hold the same ones, unless it is `sure` what
    the classes are."""
    inside = {name: {path.relative_to(train).parts[1] for path in files
                     if len(path.relative_to(train).parts) > 2} for name, files in classes.items()}
    first = next(iter(inside))
    same = sorted(inside[first])
    alike = len(inside) > 1 < len(same) and all(sorted(names) == same for names in inside.values())
    years = all(re.fullmatch(r"(19|20)\d\d", name) for name in same)   # are no classes
    if alike and not sure and not years:
        raise in_doubt(f"{listed(inside)} in {train} hold the same folders, {listed(same)}: if those are "
                       f"the classes, give one, --data {shlex.quote(str(train / first))}", inside)
    return [f"class {name} holds images in {len(names)} subfolders ({', '.join(sorted(names)[:3])} ...), which "
            f"count as one class: if they are the classes, give --data {shlex.quote(str(train / name))}"
            for name, names in inside.items() if len(names) > 1]


def in_doubt(found: str, names: Iterable[str]) -> UserError:
    """What was found, and how to say that such names are classes."""
    return UserError(f"{found}. If {listed(names)} are classes: put all class folders into a folder called "
                     "train and give the one above it; in train/, every folder is a class")


def listed(names: Iterable[str]) -> str:
    """seg_test/, seg_val/ ..."""
    some = list(names)
    return ", ".join(f"{name}/" for name in some[:4]) + " ..." * (len(some) > 4)
