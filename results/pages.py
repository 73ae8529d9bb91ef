"""What the pages of results/ share: texts in English and Chinese, made side by side from the same numbers
(their words stand in texts.toml); tables; and the filled part of a page between two marks."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Sequence

from alexnet.files import read_json, write_text

PAGES = {"en": "README.md", "zh": "README.zh-CN.md"}   # of each folder
WHY = {"en": "why.md", "zh": "why.zh-CN.md"}   # and of what-breaks-it, too
TEXTS = tomllib.loads((Path(__file__).parent / "texts.toml").read_text("utf-8"))


@dataclass(frozen=True)
class Text:
    """The same in English and in Chinese."""

    en: str
    zh: str


def say(en: str, zh: str, *values: Any) -> Text:
    """A sentence in both languages, with the same values in its braces: numbers, strings or texts."""
    return Text(en.format(*(in_language(value, "en") for value in values)),
                zh.format(*(in_language(value, "zh") for value in values)))


def text(key: str, *values: Any) -> Text:
    """A sentence of texts.toml ("C1.found"), with values in its braces."""
    group, name = key.split(".")
    return say(*TEXTS[group][name], *values)


def term(word: Text | str) -> Text | str:
    """A word of a heading or a table, with its Chinese if it has one."""
    return Text(word, TEXTS["labels"][word]) if word in TEXTS["labels"] else word


def named(case: str) -> Text:
    """What the pages call a case of an experiment; of several differences, each."""
    cases = TEXTS["cases"]
    names = [case] if case in cases else case.split(", ")
    return joined((Text(*cases[name]) for name in names), ", ", "，")


def in_language(value: Any, language: str) -> Any:
    """`value`, or its side if it is a text."""
    return getattr(value, language) if isinstance(value, Text) else value


def joined(parts: Iterable[Text | str], en: str = ", ", zh: str = "、") -> Text:
    parts = list(parts)
    return say(en.join(["{}"] * len(parts)), zh.join(["{}"] * len(parts)), *parts)


def listed(parts: Iterable[Text | str]) -> Text:
    return joined(parts, "; ", "；")


def in_lines(parts: Iterable[Text | str]) -> Text:
    """Parts of a sentence: the guide shows each as an item of a list, a table one after another."""
    return joined(parts, ";\n", "；\n")


def row(*cells: Any) -> Text:
    """A row of a table."""
    line = "| {} " * len(cells) + "|"
    found = say(line, line, *cells)
    return Text(found.en.replace("\n", " "), found.zh.replace("\n", ""))


def table(columns: Sequence[Text | str], rows: Sequence[Text]) -> list[Text | str]:
    """A table, if there are rows, and an empty line behind it."""
    return [row(*map(term, columns)), "|---" * len(columns) + "|", *rows, ""] if rows else []


def part(title: Text | str, says: Text | str, columns: Sequence[Text | str], rows: Sequence[Text],
         marks: str = "##") -> list[Text | str]:
    """A section of a page with a table, if there are rows."""
    above = [heading(title, marks), "", *([says, ""] if says else [])]
    return [*above, *table(columns, rows)] if rows else []


def heading(title: Text | str, marks: str = "##") -> Text:
    return say(f"{marks} {{}}", f"{marks} {{}}", term(title))


def anchor(title: Text) -> Text:
    """GitHub's address of a heading."""
    return Text(*(re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in (title.en, title.zh)))


def fill(folder: Path, mark: str, lines: Sequence[Text | str], title: Text | str = "",
         pages: dict[str, str] = PAGES) -> None:
    """Writes `lines` into both pages of a folder, between `<!-- mark -->` and `<!-- /mark -->` (of `claim
    C8`: `<!-- /claim -->`), and leaves what people wrote around them. A page that does not exist yet begins
    with its title."""
    end = f"<!-- /{mark.split()[0]} -->"
    for language, name in pages.items():
        page, made = folder / name, "".join(f"{in_language(line, language)}\n" for line in lines)
        empty = f"<!-- {mark} -->\n{end}\n"
        text = page.read_text("utf-8") if page.exists() else f"# {in_language(title, language)}\n\n{empty}"
        if f"<!-- {mark} -->" not in text:
            text += f"\n{empty}"
        filled = re.compile(rf"(<!-- {mark} -->\n).*?({end})", re.S)
        write_text(page, filled.sub(lambda match: match[1] + made + match[2], text))


def picture(folder: Path, name: str, shows: str) -> list[Text | str]:
    """The Markdown of a picture in the folder, if it was drawn, with that which has Chinese words beside it
    (plots.save): what it shows, for those who do not see it. `name` may lead into a folder below."""
    files = Text(name, name.replace(".png", ".zh.png"))
    return [say("![{}]({})", "![{}]({})", term(shows), files), ""] if (folder / name).exists() else []


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}%"


def texts(path: Path) -> dict[str, Text]:
    """The sentences of a JSON file, {as stored: [English, Chinese]}."""
    return {stored: Text(*both) for stored, both in read_json(path).items()}


def worded(stored: str, words: dict[str, Text]) -> Text:
    """How pages say what a JSON file says: `words` maps its sentences, with {} for what varies, to both
    languages. A sentence that is not there stays as it is."""
    for form, text in words.items():
        if match := re.fullmatch(re.escape(form).replace(r"\{\}", "(.+?)"), stored):
            return say(text.en, text.zh, *(worded(varying, words) for varying in match.groups()))
    return Text(stored, stored)
