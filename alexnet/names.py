"""What the names of files and folders say: a part of a data set, a class."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Collection
from unicodedata import normalize

# How the parts of a data set are called, and what adds nothing to such a name.
PART_WORDS = {"train": "train|training|trainval|训练", "val": "val|valid|validation|验证",
              "test": "test|testing|eval|evaluation|测试"}
FILLERS = "set|data|dataset|images?|imgs?|pics|pictures?|photos?|files?|split|part|集"
# In a file's name: a date at its end; a number at its end; what follows the first number.
DATE = r"[\s._-]*(?<!\d)(19|20)\d\d[._-]?(0\d|1[0-2])[._-]?[0-3]\d([T\s._-]+\d\d[._:-]?\d\d[._:-]?\d\d)?$"
LAST_NUMBER = r"[\s._-]*\(?\d+\)?$"
FROM_FIRST_NUMBER = r"[\s._-]+\(?\d+\)?(?![^\s._-]).*$"
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


def by_name(files: list[Path], known: Collection[str] = ()) -> dict[str, list[Path]]:
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


def before_number(files: list[Path], number: str) -> dict[str, list[Path]]:
    """The files by what is left of their names without a date, or else without what the pattern `number` finds;
    those of which no letter is left, or everything, are left out."""
    classes: dict[str, list[Path]] = {}
    for path in files:
        name = re.sub(DATE, "", path.stem)
        if name == path.stem:
            name = re.sub(DATE, "", re.sub(number, "", name))
        if name != path.stem and re.search(r"[^\W\d_]", name):
            classes.setdefault(name.rstrip("._- "), []).append(path)
    return classes
