"""Lists of labels: text and CSV files that name an image and its class in each line.

    listed = read(Path("labels.csv"), files, folder)    # listed.labels: {file: its class's name}

Of all ways to read a list (at commas, semicolons, tabs, blanks; which column; names or numbers) the one that
fits most lines is taken, for the whole list.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator
from unicodedata import normalize

from alexnet.files import UserError, text_of
from alexnet.images import suffixes

LISTS = (".csv", ".tsv", ".txt")
# What columns are called, in lower case and without what is neither letter nor digit; the better one first.
IMAGE = ("filepath", "imagepath", "path", "filename", "file", "imagename", "imagefile", "image", "images",
         "img", "imageid", "id", "name")
BOXES = "predictionstring"   # Kaggle's: the class, then numbers
LABEL = ("classname", "labelname", "categoryname", "label", "labels", "class", "classes", "category",
         "target", "breed", "species", "diagnosis", "wnid", "tag", "y", BOXES, "classid", "labelid",
         "categoryid")
PART = ("split", "part", "subset", "set", "usage")

# How the parts of a data set are called, and what adds nothing to such a name.
PARTS = {"train": "train|training|trainval|训练", "val": "val|valid|validation|验证",
         "test": "test|testing|eval|evaluation|测试"}
FILLERS = "set|data|dataset|images?|imgs?|pics|pictures?|photos?|files?|split|part|集"

Row = tuple[int, list[str]]   # a line's number, and its cells


@dataclass
class Listed:
    """What a list says of a folder's images."""

    labels: dict[Path, str] = field(default_factory=dict)   # the name of the class
    parts: dict[Path, str] = field(default_factory=dict)    # the cell of a column called split or part
    named: int = 0                                          # images named, whatever their class
    lost: list[str] = field(default_factory=list)           # lines that fit nothing, with the reason


def part_of(name: str) -> tuple[str, str]:
    """Which part a name speaks of (train, val, test, or none), and what else it says: train and seg for
    seg_train, val and nothing for Validation, val2017 and valImages."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    spoken = {part: word for part, pattern in PARTS.items() for word in words
              if re.fullmatch(f"({pattern})({FILLERS})?", word)}
    if len(spoken) != 1:
        return "", ""
    (part, word), = spoken.items()
    return part, " ".join(other for other in words if other != word and not re.fullmatch(FILLERS, other))


class Names:
    """Finds the file that a list means: by its path in the folder or the end of that, suffix or not."""

    def __init__(self, files: list[Path], folder: Path) -> None:
        self.whole: dict[str, list[Path]] = defaultdict(list)
        self.ends: dict[str, list[Path]] = defaultdict(list)
        self.folded: dict[str, list[Path]] = defaultdict(list)   # Windows minds no capital letters
        for file in files:
            path = normalize("NFC", file.relative_to(folder).as_posix())   # a Mac writes é in two pieces
            for name in {path, path.removesuffix(file.suffix)}:
                self.whole[name].append(file)
                for end in ends(name):
                    self.ends[end].append(file)
                for end in (name, *ends(name)):
                    self.folded[end.casefold()].append(file)

    def find(self, name: str) -> list[Path]:
        """The files that it may mean: none, one, or several."""
        name = normalize("NFC", name).replace("\\", "/").removeprefix("./")
        stem, suffix = os.path.splitext(name)
        for one in (name, stem) if suffix.lower() in suffixes() else (name,):
            # A list may lie higher or lower than the images: its paths may be longer or shorter than ours.
            for table, keys in ((self.whole, [one]), (self.ends, [one]), (self.whole, ends(one)),
                                (self.folded, [one.casefold(), *ends(one.casefold())])):
                if found := next((table[key] for key in keys if key in table), None):
                    if len(found) > 1:   # a and a.png
                        found = [file for file in found if file.name == os.path.basename(name)] or found
                    return found
        return []


def ends(path: str) -> list[str]:
    """b/c and c for a/b/c."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(1, len(parts))]


def tables(text: str) -> Iterator[list[Row]]:
    """The lines cut into cells in each way that they may be meant."""
    lines = re.split(r"\r\n|\r|\n", text)
    suffix = "|".join(map(re.escape, sorted(suffixes())))
    after_image = re.compile(rf"(.+?(?:{suffix})|\S+)\s+(.*\S)", re.IGNORECASE)
    for mark in ",;\t| ":
        if mark == " ":   # sea side is one class, my photo 1.jpg one image
            yield [(number, list(found.groups())) for number, line in enumerate(lines, 1)
                   if (found := after_image.fullmatch(line.strip()))]
        reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
        try:
            yield [(reader.line_num, [cell.strip() for cell in row]) for row in reader
                   if len(row) > 1 and any(map(str.strip, row))]   # a table program saves empty rows
        except csv.Error:   # a quotation mark that is none, in the longest of cells
            continue
    yield [(number, line.rsplit(None, 1)) for number, line in enumerate(lines, 1) if len(line.split()) > 1]


def read(path: Path, files: list[Path], folder: Path, classes: list[str] | None = None) -> Listed | None:
    """What the list at `path` says of `files`, all of them below `folder`; None if it gives none a class.

    classes: those that are known, by name or by number (from 0, in this order); without, the list's names are
    the classes. UserError for what is no text, and for numbers that are not those of the classes.
    """
    names = Names(files, folder)
    best, most = None, 0
    for rows in tables(text_of(path.read_bytes(), str(path), file_names=True)):
        listed = read_table(rows, names, classes, path)
        if listed and len(listed.labels) > most:
            best, most = listed, len(listed.labels)
            if not listed.lost:
                break
    if best and any(re.search("[\udc80-\udcff]", name) for name in best.labels.values()):
        raise UserError(f"the names of classes in {path} are not UTF-8: save it as UTF-8")
    return best


def read_table(rows: list[Row], names: Names, classes: list[str] | None, path: Path) -> Listed | None:
    """What the list says if these are its cells."""
    width = max((len(cells) for _, cells in rows), default=0)
    columns = list(zip(*(cells + [""] * (width - len(cells)) for _, cells in rows)))
    titles = [re.sub(r"[\W_]", "", column[0].lower()) for column in columns]
    found = [sum(map(bool, map(names.find, column[::len(rows) // 1000 + 1]))) for column in columns]
    if not any(found):
        return None
    image = max(range(width), key=lambda column: (found[column], titles[column] in IMAGE))
    label, class_of = label_column(columns, titles, image, classes, path)
    if label is None:
        return None
    part = next((columns[one] for one in say_parts(titles, columns)), None)
    listed, twice = Listed(), set()
    for row, (number, _) in enumerate(rows):
        cell, name = columns[image][row], class_of(columns[label][row])
        files = names.find(cell)
        why = "no such image" if not files else f"{len(files)} such images" if len(files) > 1 else ""
        listed.named += not why
        if not why and not name:
            why = "no such class"
        elif not why and listed.labels.setdefault(files[0], name) != name:
            why = "another class than before"
            twice.add(files[0])
        elif not why and part:
            listed.parts[files[0]] = part[row]
        titled = row == 0 and not files and os.path.splitext(cell)[1].lower() not in suffixes()
        if why and not (titled and columns[label][0] not in columns[label][1:]):
            listed.lost.append(f"line {number} ({cell}, {columns[label][row]}: {why})")
    listed.labels = {file: name for file, name in listed.labels.items() if file not in twice}
    return listed


def say_parts(titles: list[str], columns: list[tuple[str, ...]]) -> list[int]:
    """Which columns hold parts: by their titles, or of three and more by their cells."""
    return [one for one, column in enumerate(columns) if titles[one] in PART
            or len(columns) > 2 and len(column) > 1 and all(part_of(cell)[0] for cell in column[1:])]


def label_column(columns: list[tuple[str, ...]], titles: list[str], image: int, classes: list[str] | None,
                 path: Path) -> tuple[int | None, Callable[[str], str]]:
    """Which column holds the classes, and what turns one of its cells into a class's name (or nothing)."""
    def whole(cell: str) -> str:
        return cell if classes is None or cell in known else ""

    def first_word(cell: str) -> str:
        return whole(cell.split()[0]) if cell else ""

    def number(cell: str) -> str:
        index = int(cell.split(".")[0]) if re.fullmatch(r"\d+(\.0*)?", cell) else len(known)
        return classes[index] if index < len(known) else ""

    known = set(classes or ())
    others = sorted({*range(len(columns))} - {image, *say_parts(titles, columns)})
    titled = sorted((one for one in others if titles[one] in LABEL), key=lambda one: LABEL.index(titles[one]))
    if classes is None:
        # Without titles, classes are what occurs more than once: a running number does not. With other titles
        # no column is, unless there is but one: they may be ages, boxes, or a number for each class.
        again = [one for one in others if len(others) == 1 or len(set(columns[one])) < len(columns[one])]
        label = next(iter(titled or (again if titles[image] not in IMAGE or len(others) == 1 else ())), None)
        return label, first_word if label is not None and titles[label] == BOXES else whole
    beside = [one for one in (image + 1, image - 1) if one in others][:1]   # others may be any numbers
    readings = [(column, reading) for reading in (whole, first_word, number)
                for column in (titled or beside if reading is number else titled + others)]
    fitting = [sum(map(bool, map(reading, columns[column]))) for column, reading in readings]
    if not any(fitting):
        return next(iter(titled or beside), None), whole
    label, reading = readings[fitting.index(max(fitting))]
    far = [cell for cell in columns[label] if cell.isdecimal() and not number(cell)]
    if reading is number and far:
        raise UserError(f"{path} has the number {far[0]} for a class: numbers must be those of the "
                        f"{len(known)} class folders in sorted order, from 0; names are safer (data/README.md)")
    return label, reading
