"""Lists of labels: text and CSV files that name an image and its class in each line.

    found = read_list(Path("labels.csv"), files, folder)    # found.labels: {file: its class's name}

Of all ways to read a list (at commas, semicolons, tabs, blanks; which column; names or numbers) the one that
fits most lines is taken, for the whole list.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Iterator

from alexnet.files import UserError, not_utf8, text_of
from alexnet.images import suffixes
from alexnet.layout import alike, part_of

LISTS = (".csv", ".tsv", ".txt")
# What columns are called, in lower case and without what is neither letter nor digit; the better one first.
IMAGE = ("filepath", "imagepath", "path", "filename", "file", "imagename", "imagefile", "image", "images",
         "img", "imageid", "id", "name", "文件名", "图片名", "图像名", "路径", "文件", "图片", "图像")
BOXES = "predictionstring"   # Kaggle's: the class, then numbers
LABEL = ("classname", "labelname", "categoryname", "label", "labels", "class", "classes", "category",
         "target", "breed", "species", "diagnosis", "wnid", "tag", "y", BOXES, "classid", "labelid",
         "categoryid", "类别", "标签", "分类", "类名", "标注", "种类")
PART = ("split", "part", "subset", "set", "usage", "划分", "子集")

Row = tuple[int, list[str]]   # a line's number, and its cells


@dataclass
class Listed:
    """What a list says of a folder's images."""

    labels: dict[Path, str] = field(default_factory=dict)   # the name of the class
    parts: dict[Path, str] = field(default_factory=dict)    # the cell of a column called split or part
    named: int = 0                                          # images named, whatever their class
    lost: list[str] = field(default_factory=list)           # lines that fit nothing, with the reason


def lists_in(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.iterdir())
            if path.suffix.lower() in LISTS and not path.name.startswith(".") and path.is_file()]


def read_list(path: Path, files: list[Path], folder: Path, classes: list[str] | None = None) -> Listed | None:
    """What the list at `path` says of `files`, all of them below `folder`; None if it gives none a class.

    classes: those that are known, by name or by number (from 0, in this order); without, the list's names are
    the classes. UserError for what is no text, and for numbers that are not those of the classes.
    """
    finder, content = Finder(files, folder), path.read_bytes()
    text = text_of(content, str(path), file_names=True)
    best = best_reading(text, finder, classes, path)
    if any(map(not_utf8, best.labels.values())):
        raise UserError(f"the names of classes in {path} are not UTF-8: save it as UTF-8")
    if not text.isascii() and (not_utf8(text) or not best.labels or not "".join(best.lost).isascii()):
        with suppress(UnicodeDecodeError):   # 图片 in GBK, which Excel saves in China, is ͼƬ in UTF-8
            other = best_reading(content.decode("gb18030"), finder, classes, path)
            differs = (other.labels, other.parts) != (best.labels, best.parts)   # by titles in Chinese, too
            if len(other.labels) > len(best.labels) or len(other.labels) == len(best.labels) and differs:
                raise UserError(f"{path} is in GBK: save it as UTF-8 (Excel: CSV UTF-8)")
    return best if best.labels else None


def best_reading(text: str, finder: Finder, classes: list[str] | None, path: Path) -> Listed:
    """Of the ways in which the lines can be cut into cells, the one that gives the most images a class."""
    best = Listed()
    for rows in tables(text):
        listed = read_table(rows, finder, classes, path)
        if len(listed.labels) > len(best.labels):
            best = listed
            if not listed.lost:
                break
    return best


class Finder:
    """Finds the file that a list means: by its path in the folder or an end of that, suffix or not, exactly
    spelt or else alike."""

    def __init__(self, files: list[Path], folder: Path) -> None:
        self.exact: dict[str, list[Path]] = defaultdict(list)
        self.alike: dict[str, list[Path]] = defaultdict(list)
        for file in files:
            path = f"/{file.relative_to(folder).as_posix()}"   # beginning with / it is whole
            for name in {path, path.removesuffix(file.suffix)}:
                for end in ends(name):
                    self.exact[end].append(file)
                    self.alike[alike(end)].append(file)

    def find(self, name: str) -> tuple[list[Path], int]:
        """The files that it may mean, those whose paths have the longest end in common with it: none, one, or
        several; and how many folders had to be cut off. A list may lie higher or lower than the images, so
        its paths may be longer or shorter."""
        name = name.replace("\\", "/").removeprefix("./")
        last = name.rpartition("/")[2]
        spellings = [name]
        if (suffix := Path(last).suffix).lower() in suffixes():
            spellings.append(name.removesuffix(suffix))
        for cut, end in [one for spelling in spellings for one in enumerate(ends(spelling))]:
            for table, key in ((self.exact, f"/{end}"), (self.exact, end),
                               (self.alike, alike(f"/{end}")), (self.alike, alike(end))):
                if key in table:   # of a and a.png, the one of that name
                    return [file for file in table[key] if file.name == last] or table[key], cut
        return [], 0


def ends(path: str) -> list[str]:
    """a/b/c, b/c and c for a/b/c."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


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


def read_table(rows: list[Row], finder: Finder, classes: list[str] | None, path: Path) -> Listed:
    """What the list says if these are its cells."""
    listed, twice = Listed(), set()
    columns = list(zip_longest(*(cells for _, cells in rows), fillvalue=""))
    titles = [re.sub(r"[\W_]", "", column[0].lower()) for column in columns]
    some = slice(None, None, len(rows) // 1000 + 1)
    found = [sum(bool(finder.find(cell)[0]) for cell in column[some]) for column in columns]
    if not any(found):
        return listed
    image = max(range(len(columns)), key=lambda column: (found[column], titles[column] in IMAGE))
    label, names = label_column(columns, titles, image, classes, path)
    part = next(iter(part_columns(titles, columns)), None)
    places = list(map(finder.find, columns[image]))
    folders = [cell.replace("\\", "/").removeprefix("./").rpartition("/")[0] for cell in columns[image]]
    # If the list lies higher than the images, `find` has cut folders off the beginning of its paths. Rows of
    # one folder lie together, so the same is cut off for all: the least. A row that needs more names an image
    # that is missing; what was found is another one of the same name.
    least: dict[str, int] = {}   # by folder
    for folder, (files, cut) in zip(folders, places):
        if files:
            least[folder] = min(cut, least.get(folder, cut))
    for row, (number, _) in enumerate(rows if names else ()):
        cell, name = columns[image][row], names[row]
        (files, cut), why = places[row], ""
        if cut:   # read from the list's own folder, the cell may name another image, which is there
            named = path.parent / cell.replace("\\", "/")
            if named.is_file() and not named.samefile(files[0]):
                continue
        files = files if cut == least.get(folders[row]) else []
        listed.named += len(files) == 1
        if len(files) != 1:
            why = f"{len(files) or 'no'} such image{'s' * (len(files) > 1)}"
        elif not name:
            why = "no such class"
        elif listed.labels.setdefault(files[0], name) != name:
            why = "another class than before"
            twice.add(files[0])
        elif part is not None:
            listed.parts[files[0]] = columns[part][row]
        is_title = row == 0 and not files and Path(cell).suffix.lower() not in suffixes()
        if why and not (is_title and columns[label][0] not in columns[label][1:]):
            listed.lost.append(f"line {number} ({cell}, {columns[label][row]}: {why})")
    listed.labels = {file: name for file, name in listed.labels.items() if file not in twice}
    return listed


def part_columns(titles: list[str], columns: list[tuple[str, ...]]) -> list[int]:
    """Which columns hold parts: by their titles, or of three and more by their cells."""
    return [one for one, column in enumerate(columns) if titles[one] in PART
            or len(columns) > 2 and len(column) > 1 and all(part_of(cell)[0] for cell in column[1:])]


def label_column(columns: list[tuple[str, ...]], titles: list[str], image: int, classes: list[str] | None,
                 path: Path) -> tuple[int | None, list[str]]:
    """Which column holds the classes, and what class it names in each row, or nothing."""
    others = sorted({*range(len(columns))} - {image, *part_columns(titles, columns)})
    titled = sorted((one for one in others if titles[one] in LABEL), key=lambda one: LABEL.index(titles[one]))
    if classes is None:
        # Without titles, classes are what occurs more than once: a running number does not. With other titles
        # no column is, unless there is but one: they may be ages, boxes, or a number for each class.
        again = [one for one in others if len(others) == 1 or len(set(columns[one])) < len(columns[one])]
        likely = titled or (again if titles[image] not in IMAGE or len(others) == 1 else [])
        if not likely:
            return None, []
        cells = columns[likely[0]]
        return likely[0], first_words(cells) if titles[likely[0]] == BOXES else list(cells)
    by_name = {name: name for name in classes}
    by_number = {str(index): name for index, name in enumerate(classes)}
    beside = [one for one in (image + 1, image - 1) if one in others][:1]   # others may be any numbers
    readings = [(one, list(columns[one]), by_name) for one in titled + others]
    readings += [(one, first_words(columns[one]), by_name) for one in titled + others]
    readings += [(one, whole_numbers(columns[one]), by_number) for one in titled or beside]
    label, keys, meaning = max(readings, key=lambda reading: sum(key in reading[2] for key in reading[1]),
                               default=(None, [], by_name))
    far = [key for key in keys if key and key not in by_number]
    if meaning is by_number and far:
        raise UserError(f"{path} has the number {far[0]} for a class: numbers must be those of the "
                        f"{len(by_name)} class folders in sorted order, from 0; names are safer "
                        "(data/README.md)")
    return label, [meaning.get(key, "") for key in keys]


def first_words(cells: tuple[str, ...]) -> list[str]:
    return [cell.split()[0] if cell else "" for cell in cells]


def whole_numbers(cells: tuple[str, ...]) -> list[str]:
    """7 for 7 and 7.0, nothing for what is no whole number."""
    return [str(int(cell.split(".")[0])) if re.fullmatch(r"\d+(\.0*)?", cell) else "" for cell in cells]
