"""Files that appear whole or not at all, whatever happens meanwhile; JSON, CSV; texts that people hand in."""

from __future__ import annotations

import codecs
import csv
import errno
import glob
import io
import json
import os
import re
import shlex
import shutil
import socket
import sys
import time
import zlib
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Iterator

try:
    import fcntl
except ImportError:   # Windows: two processes that write the same file are not noticed there
    fcntl = None

WINDOWS = os.name == "nt"
PATIENCE = 10.0 if WINDOWS else 0.0   # seconds in which a file may not be moved: scanners hold new ones there
# What a person can mend, or has to. Pillow's and numpy's own errors in writing have no number.
CANNOT_WRITE = {None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
                errno.EIO, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}   # the longer ones first
NO_TEXTS = b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"PK\3\4", b"II*\0", b"MM\0*", b"\xd0\xcf\x11\xe0"


def quoted(path: Path | str) -> str:
    """A path as one word of a command: of a shell, or of Windows' cmd, which knows double quotes only."""
    return f'"{path}"' if WINDOWS else shlex.quote(str(path))


class UserError(Exception):
    """Something a person can mend: shown as one line, without a traceback, exit status 2."""


def printable(text: str) -> str:
    """A text from elsewhere (a file's name, a class) as a terminal can show it, in one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def brief(error: Exception) -> str:
    """An error's kind and the beginning of its text, in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


# ------------------------------------------------------------------- whole or not at all

def short(name: str) -> str:
    """A name with room for what we add to it: file systems take 255 bytes."""
    whole = os.fsencode(name)
    return name if len(whole) <= 220 else f"{whole[:200].decode(errors='ignore')}-{zlib.crc32(whole):08x}"


def beside(path: Path, what: str) -> Path:
    """`.NAME.PID.part` (not finished), `.NAME.PID.old` (moved aside) or `.NAME.lock` beside NAME."""
    return path.with_name(f".{short(path.name)}.{what}")


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """A full disk, or a place that may not be written to, becomes one line: a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}. What was there before is kept") from None


@contextmanager
def fetching(silence: float = 60) -> Iterator[None]:
    """Around downloads by torch and torchvision: they fail after so many seconds in which nothing comes,
    instead of waiting without an end. Not those from Google Drive, which go through requests."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(silence)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def alone(path: Path | str, wait: str = "") -> Iterator[bool]:
    """Whether no other process is at work on `path`; then none will be while the block runs, and what
    processes that died left beside it is cleared. Where there are no locks: true, and nothing is cleared.

    wait: printed before waiting for the other process, instead of giving False. The lock is on a file beside
    `path`; the system gives it back when its process ends, however that ends.
    """
    path = Path(path)
    with writing(path):
        made = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        mine, file = locked(beside(path, "lock"), wait) if fcntl else (True, None)
    try:
        if file:
            with writing(path):
                clear(path)
        yield mine
    finally:
        if file:
            beside(path, "lock").unlink(missing_ok=True)
            file.close()
        if made:
            with suppress(OSError):   # the folder goes again if nothing came into it
                path.parent.rmdir()


def locked(path: Path, wait: str) -> tuple[bool, io.IOBase | None]:
    """Whether no other process has the lock; and the file, made and locked, if the file system has locks."""
    while True:
        file = open(path, "ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                file.close()
                return False, None
            print(printable(wait), file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:   # a file system that has no locks
            file.close()
            return True, None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return True, file
        file.close()   # whoever had it before removed it: once more


def move(source: Path, target: Path) -> None:
    """Renames, with patience (PATIENCE)."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.2)


@contextmanager
def whole_file(path: Path | str, keep: Path | None = None) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` when all went well.

    Whoever reads `path` sees the old content or the new, never a part. UserError if another process is
    writing the same. keep: where the old content goes.
    """
    path = Path(os.path.realpath(path) if os.path.islink(path) else path)   # the link itself stays
    temporary = beside(path, f"{os.getpid()}.part")
    with writing(path), alone(path) as mine:
        if not mine:
            raise UserError(f"another process is writing {path} at this moment: let it finish, or name "
                            "another file")
        if WINDOWS and path.is_file():
            open(path, "rb+").close()   # Excel keeps an open table to itself: said before the work, not after
        try:
            yield temporary
            sync(temporary)
            if keep and path.exists():
                move(path, keep)
            move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder that we have `alone`: a temporary one to fill, which then takes its place."""
    temporary, old = (beside(path, f"{os.getpid()}.{what}") for what in ("part", "old"))
    with writing(path):
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.iterdir():
                sync(file)
            if path.exists():
                move(path, old)
            move(temporary, path)
        finally:
            if old.exists() and not path.exists():
                move(old, path)
            for rest in (temporary, old):
                shutil.rmtree(rest, ignore_errors=True)


def clear(path: Path) -> None:
    """Removes what processes that died left beside a path that we have `alone`. A folder that was moved aside
    comes back if there is none in its place."""
    for rest in left_beside(path.parent, glob.escape(short(path.name))):
        if rest.suffix == ".old" and not path.exists():
            os.rename(rest, path)
        elif rest.is_dir():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            rest.unlink(missing_ok=True)


def left_beside(folder: Path, name: str) -> list[Path]:
    """.NAME.PID.part, .NAME.PID.rows.part and .NAME.PID.old for names that fit the pattern. Compared
    without the PID: for answers, the * alone would fit .answers.csv.7.part, too, which is answers.csv's."""
    return [path for what in ("part", "old") for path in folder.glob(f".{name}.*.{what}")
            if fnmatchcase(re.sub(r"\.\d+(\.rows)?$", "", path.stem), f".{name}")]


def sweep(folder: Path, names: str) -> None:
    """Clears, beside all folders of such names (a pattern), what processes that died left in `folder`,
    as far as this one may."""
    left = {rest.stem.rpartition(".")[0][1:] for rest in left_beside(folder, names)}
    left |= {rest.stem[1:] for rest in folder.glob(f".{names}.lock")}
    for name in sorted(left):
        with suppress(UserError, OSError), alone(folder / name):   # they may be another person's
            pass


def sync(path: Path) -> None:
    """Waits until a file's content is on the disk: before its name changes."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


# ------------------------------------------------------------------- JSON and CSV

def write_text(path: Path | str, text: str, encoding: str = "utf-8") -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding=encoding, errors="backslashreplace")   # names in other encodings


def write_json(path: Path | str, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """UserError if the file is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not a JSON file ({error})") from None


def read_csv(path: Path | str) -> list[dict[str, str]]:
    """One dict per row, by the names in the first line."""
    with open(path, encoding="utf-8-sig", newline="") as file:   # with or without a mark
        return list(csv.DictReader(file))


def write_csv(path: Path | str, rows: list[dict[str, Any]]) -> None:
    """One line per row, columns as in the first row."""
    text, names = io.StringIO(), list(rows[0]) if rows else []
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    csv.writer(text, lineterminator="\n").writerows(map(cell, line) for line in lines)
    write_text(path, text.getvalue(), csv_encoding(text.getvalue()))


def csv_encoding(*texts: str) -> str:
    """UTF-8, with a mark at the beginning if a text is not ASCII: else Excel takes another encoding."""
    return "utf-8" if all(text.isascii() for text in texts) else "utf-8-sig"


def cell(value: Any) -> Any:
    """For a CSV file: a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


# ------------------------------------------------------------------- texts that people hand in

def text_of(content: bytes, what: str, file_names: bool) -> str:
    """A text: UTF-8 with or without a mark, or UTF-16 or UTF-32 with one.

    file_names: it holds names of files, so bytes that are not UTF-8 stay what they are, as in Python's own
    paths, and NUL is allowed (find -print0). UserError with `what` for what is no text.
    """
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    if content[1:4:2] == b"\0\0":   # two letters and no mark: Windows' UTF-16
        encoding = "utf-16-le"
    try:
        text = content.decode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "strict")
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not a whole text in {encoding} ({error.reason})") from None
    control = r"[\x01-\x08\x0e-\x1f]" if file_names else r"[\0-\x08\x0e-\x1f]"
    names = len(re.findall(r"[^\0\r\n]+", text)) if file_names else 0   # of which some may be odd
    if content.startswith(NO_TEXTS) or len(re.findall(control, text)) > names:
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
