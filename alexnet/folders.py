"""What lies in a folder: one walk over files, for training and for classifying.

    folder = Folder("path/to/images")
    folder.folders, folder.images, folder.others      # what lies directly in it
    folder.all_images(), folder.all_others()          # and in the folders below
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Iterator

from alexnet.images import is_image

# Folders that systems and photo stations make, and files such as Windows' small pictures.
SYSTEM = {"@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found",
          "__macosx", "thumbnails", "thumbs", "_thumbs", "thumbs.db", "desktop.ini"}
# Files of a run, and of a page of figures: their pictures (curves.png) are no class.
OURS = ("config.json", "metrics.csv"), ("captions.json", "index.html")


class Folder:
    """A folder, read once, when it is first asked what it holds.

    Left out are hidden names, SYSTEM, pipes, sockets, folders that hold OURS, and links that lead back to a
    folder that they lie in. Other links are followed.
    """

    def __init__(self, path: Path | str, outside: tuple[str, ...] = ()) -> None:
        """outside: the real paths of the folders through which it was reached."""
        self.path, self.name = Path(path), Path(path).name
        outside = outside or (os.path.realpath(os.path.dirname(os.path.abspath(path))),)
        self.real = (*outside, os.path.realpath(path))

    @cached_property
    def entries(self) -> list[os.DirEntry[str]] | None:
        """Sorted by name; None if the folder may not be opened."""
        try:
            return sorted((entry for entry in os.scandir(self.path) if not entry.name.startswith(".")
                           and entry.name.lower() not in SYSTEM), key=lambda entry: entry.name)
        except OSError:
            return None

    @cached_property
    def folders(self) -> dict[str, Folder]:
        """By name."""
        return {entry.name: Folder(entry.path, self.real) for entry in self.entries or ()
                if is_folder(entry) and entry.name not in self.ours and not self.leads_back(entry)}

    @cached_property
    def ours(self) -> list[str]:
        """The names of folders that hold a run or a page of figures."""
        return [entry.name for entry in self.entries or () if is_folder(entry) and holds_ours(entry.path)]

    def leads_back(self, entry: os.DirEntry[str]) -> bool:
        return entry.is_symlink() and any(
            Path(one).is_relative_to(os.path.realpath(entry)) for one in self.real)

    @cached_property
    def files(self) -> list[Path]:
        return [Path(entry.path) for entry in self.entries or ()
                if not is_folder(entry) and (entry.is_symlink() or entry.is_file())]

    @cached_property
    def images(self) -> list[Path]:
        return [path for path in self.files if is_image(path)]

    @property
    def others(self) -> Counter[str]:
        """How many files are no images, by kind."""
        if self.entries is None:
            return Counter(["folder not opened"])
        more = Counter({"folder with a run or figures": len(self.ours)})
        return Counter(map(kind, self.files)) - Counter(map(kind, self.images)) + more

    def below(self) -> Iterator[Folder]:
        """The folder and all in it."""
        yield self
        for folder in self.folders.values():
            yield from folder.below()

    def has_image(self) -> bool:
        return any(folder.images for folder in self.below())

    def all_images(self) -> list[Path]:
        return sorted(path for folder in self.below() for path in folder.images)

    def all_others(self) -> Counter[str]:
        return sum((folder.others for folder in self.below()), Counter())


def is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()   # a link to itself: is_dir raises


def holds_ours(path: str) -> bool:
    return any(all(os.path.exists(os.path.join(path, name)) for name in names) for names in OURS)


def kind(path: Path) -> str:
    return path.suffix.lower() or "without suffix"


def kinds(others: Counter[str]) -> str:
    """4 file(s) of other kinds (3 .mp4, 1 without suffix)."""
    named = [f"{count} {suffix}" for suffix, count in others.most_common(5)] + ["..."] * (len(others) > 5)
    return f"{others.total()} file(s) of other kinds ({', '.join(named)})"
