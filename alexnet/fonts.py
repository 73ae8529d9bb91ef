"""The texts of a figure: in its language, in fonts that have their letters, in lines that fit."""

from __future__ import annotations

import logging
import re
import textwrap
import unicodedata
from pathlib import Path
from typing import Callable

from matplotlib import font_manager, ft2font
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from alexnet.cli import warn
from alexnet.figure_words import worded

USUAL = font_manager.findfont("DejaVu Sans")   # comes with matplotlib
ASIAN = ("cjk", "hei", "song", "sung", "ming", "wqy", "pingfang", "simsun")   # in names of font files
INSTALL = "for Chinese, install one such as Noto Sans CJK; Debian, Ubuntu: apt install fonts-noto-cjk"
said: set[str] = set()   # letters that were missing, and named in a warning


def prepare_texts(figure: Figure) -> None:
    """Puts them into the language of figures, and into fonts that have their letters; a letter that no
    installed font has is a `?`."""
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    powers = [label for axis in axes if axis.get_scale() != "linear"
              for label in axis.get_ticklabels(which="both")]
    texts = figure.findobj(Text)
    for text in texts:
        text.set_text(worded(text.get_text()))
    for axis in axes:   # an axis writes its labels anew when the figure is drawn
        name_ticks(axis, worded)
    families, bad = choose_fonts({letter for text in texts for letter in text.get_text()})
    for axis in axes if bad else []:
        name_ticks(axis, lambda text: drawable(text, bad))
    for text in texts:   # a folder or a class may have dollars in its name
        text.set_parse_math(text in powers)
        text.set_text(drawable(text.get_text(), bad))
        if families:
            text.set_fontfamily(families)


def name_ticks(axis: Axis, renamed: Callable[[str], str]) -> None:
    """Gives the marks of an axis other names, if they have names that change."""
    before = [label.get_text() for label in axis.get_ticklabels()]
    if (names := list(map(renamed, before))) != before:
        axis.set_ticks(axis.get_ticklocs(), names)


def drawable(text: str, bad: set[str]) -> str:
    return "".join("?" if letter in bad else letter for letter in text)


def wrapped(title: str, width: float) -> str:
    """In the language of figures, in lines of at most `width` inches, at 11 points."""
    title, room = worded(title), int(width * 12.5)
    if latin_width(title) == len(title):
        return "\n".join(textwrap.wrap(title, room, break_on_hyphens=False))
    lines = [""]
    for piece in re.findall(r"[!-~]+|.", title):   # Chinese breaks anywhere, but not in a Latin word
        if latin_width(lines[-1] + piece) > room:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


def fitted(text: str, inches: float) -> str:
    """Titles over pictures: each line cut to so many inches, before a share at its end ("cat: 78%")."""
    lines = []
    for line in text.split("\n"):
        share = re.search(r"(: \d+%)?$", line)[0]
        name, room = line.removesuffix(share), int(inches * 13) - len(share)
        while latin_width(name) > room:
            name = name.rstrip("…")[:-1] + "…"
        lines.append(name + share)
    return "\n".join(lines)


def latin_width(text: str) -> int:
    """How many Latin letters take as much room; a Chinese one counts two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def letters_of(font: str) -> set[str]:
    try:
        return {chr(code) for code in ft2font.FT2Font(font).get_charmap()} | {"\n"}
    except (RuntimeError, OSError):   # a font file that cannot be read
        return set()


def liking(font: str) -> tuple[bool, bool, str]:
    """Sorts font files: those that sound Asian first, and of these what is neither bold nor thin."""
    name = Path(font).name.lower()
    odd = any(word in name for word in ("bold", "black", "thin"))
    return not any(word in name for word in ASIAN), odd, font


def language_drawn(asked: str) -> str:
    """The language (en or zh) of the words in figures: English, with a warning, if no installed font has
    Chinese letters."""
    if asked == "en" or any("字" in letters_of(font)
                            for font in sorted(font_manager.findSystemFonts(), key=liking)):
        return asked
    warn(f"no installed font has Chinese letters, so the words in the pictures are English ({INSTALL})")
    return "en"


def choose_fonts(letters: set[str]) -> tuple[list[str], set[str]]:
    """The font families that together have these letters (none, where the usual one has all), and the letters
    that no installed font has: they would show as boxes. A warning names the first of them, once."""
    if "".join(letters).isascii() or not (missing := letters - letters_of(USUAL)):
        return [], set()
    families = ["DejaVu Sans"]
    for font in sorted(font_manager.findSystemFonts(), key=liking):   # matplotlib's own list may be older
        if has := missing & letters_of(font):
            missing -= has
            font_manager.fontManager.addfont(font)
            families.append(ft2font.FT2Font(font).family_name)
        if not missing:
            break
    new = {letter for letter in missing - said if unicodedata.category(letter) != "Cs"}   # Cs: not UTF-8
    said.update(new)
    if new:
        warn(f"no installed font has {' '.join(sorted(new)[:8])}, drawn as ? ({INSTALL})")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)   # of a weight that a font lacks
    return families, missing
