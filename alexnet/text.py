"""Texts that people hand in, in whatever encoding their programs write."""

from __future__ import annotations

import codecs
import re

from alexnet.files import UserError

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
         codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}   # the longer ones first


def text_of(content: bytes, what: str, file_names: bool = False) -> str:
    """A text: UTF-8 with or without a mark, or UTF-16 or UTF-32 with one.

    file_names: it holds names of files, so bytes that are not UTF-8 stay what they are, as in Python's own
    paths, and NUL is allowed (find -print0). UserError with `what` for what is no text.
    """
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    if content[1:4:2] == b"\0\0":   # two letters and no mark: Windows' UTF-16
        encoding = "utf-16-le"
    try:
        text = content.decode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "strict")
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not a whole text in {encoding} ({error.reason})") from None
    if re.search(r"[\x01-\x08\x0e-\x1f]" if file_names else r"[\0-\x08\x0e-\x1f]", text):
        raise UserError(f"{what} is not a text but binary data (an image, or an Excel file?)")
    if not file_names and (strange := not_utf8(text)):
        line = text.count("\n", 0, strange.start()) + 1
        raise UserError(f"{what} is not UTF-8 (line {line}): save it as UTF-8")
    return text


def not_utf8(text: str) -> re.Match[str] | None:
    """The first byte that was not UTF-8."""
    return re.search("[\udc80-\udcff]", text)


def lines_of(content: bytes, what: str, file_names: bool = False) -> list[str]:
    """The lines of such a text that are not blank, or what stands between its NULs."""
    text = text_of(content, what, file_names)
    lines = text.split("\0") if "\0" in text else re.split(r"\r\n|\r|\n", text)
    return [line for line in lines if line.strip()]
