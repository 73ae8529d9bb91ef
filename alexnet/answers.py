"""What becomes of the answers: a table, JSON, bars, features, errors against the truth, figure 4's panel."""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Iterable, TextIO

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from alexnet.cli import say, warn
from alexnet.codes import Coder, arrays_of, trained_coder
from alexnet.files import UserError, cell, printable, whole_file, write_csv, write_json
from alexnet.images import open_image
from alexnet.pack import npy_file
from alexnet.predict import Prediction, class_above, reason

PANEL_PAGE = 8    # as in figure 4
LEARN_FROM = 2 ** 27   # values at most, from which codes are learnt: 32,768 pictures' fc7, half a gigabyte


def drawing() -> ModuleType:
    """alexnet.figures, when one is wanted: matplotlib takes as long to import as 50 pictures to classify."""
    from alexnet import figures
    return figures


# ------------------------------------------------------------------- classes, a function for each form

def write_table(path: str, predictions: Iterable[Prediction], titles: dict[str, str], top: int,
                encoding: str) -> None:
    """CSV: one row per picture, two columns for each of its `top` classes."""
    with whole_file(path) as temporary, text_file(temporary, "w", encoding) as file:
        table = csv.writer(file, lineterminator="\n")
        columns = [f"{what}_{k}" for k in range(1, top + 1) for what in ("class", "probability")]
        table.writerow(["path", *columns, "error"])
        for prediction in predictions:
            answers = [text for _, name, probability in prediction.top
                       for text in (titles[name], f"{probability:.6f}")] or [""] * (2 * top)
            table.writerow(map(cell, [prediction.path, *answers, prediction.error or ""]))


def write_list(path: str, predictions: Iterable[Prediction], names: dict[str, str]) -> None:
    """JSON: one list, one object per picture."""
    with whole_file(path) as temporary, text_file(temporary, "w") as file:
        before = "[\n"
        for prediction in predictions:
            file.write(before + as_json(prediction, names))
            before = ",\n"
        file.write("[]\n" if before == "[\n" else "\n]\n")


def write_lines(file: TextIO, predictions: Iterable[Prediction], names: dict[str, str],
                first: dict[str, Any]) -> None:
    """JSON lines: one object per picture, written as soon as it is known; the first one says `first`, too."""
    for prediction in predictions:
        file.write(as_json(prediction, names, **first) + "\n")
        file.flush()
        first = {}


def print_bars(predictions: Iterable[Prediction], titles: dict[str, str]) -> None:
    """For the terminal: each picture's classes, with bars."""
    for prediction in predictions:
        if prediction.top:
            print(printable(prediction.path))
        for answer in prediction.top:
            bar = "█" * round(20 * answer.probability)
            print(f"    {bar:·<20} {answer.probability:6.1%}  {titles[answer.name]}")


def as_json(prediction: Prediction, names: dict[str, str], **more: Any) -> str:
    answers = [{"index": index, "class": name, "probability": round(probability, 6)}
               | ({"name": names[name]} if name in names else {})
               for index, name, probability in prediction.top]
    return json.dumps({"path": prediction.path, "predictions": answers, "error": prediction.error, **more},
                      ensure_ascii=False)


def text_file(path: Path | str, mode: str, encoding: str = "utf-8") -> TextIO:
    """For file names in other encodings, too: what is not UTF-8 is written as an escape."""
    return open(path, mode, encoding=encoding, errors="backslashreplace", newline="")


def print_summary(chosen: Counter[str], count: int, seconds: float, titles: dict[str, str],
                  output: str | None) -> None:
    """How many of `count` pictures were classified, and how often each class was the most probable one."""
    print(f"{chosen.total()} of {count} pictures classified in {seconds:.1f} s "
          f"({count / max(seconds, 1e-9):.0f} per second)" + (f"; {output}" if output else ""))
    if chosen:
        print("pictures by their most probable class:")
    for name, times in chosen.most_common(10):
        print(f"    {times:7}  {titles[name]}")
    if len(chosen) > 10:
        print(f"    ... and {len(chosen) - 10} other classes")
    if output is None:
        print("--output FILE.csv (or .json, .jsonl) keeps the answers")


# ------------------------------------------------------------------- features

def write_features(path: str, rows: Iterable[tuple[Path, Tensor | Exception]], shape: tuple[int, ...],
                   count: int, bits: int | Coder | None, made_with: str) -> int:
    """NPZ with `features` (one row per picture), `paths`, and `errors`; returns how many could not be read.

    rows: `count` pictures, each with its values of this shape, or with what was raised.
    bits: instead of features, `codes` of so many bits, with what makes the codes of further pictures; or by
        this coder.    made_with: layer and network, stored beside codes.
    """
    paths, errors = [], []
    with whole_file(path) as temporary:
        values_file = temporary.with_suffix(".rows.part")   # which `files.clear` knows, too
        try:
            with npy_file(values_file, shape, "<f4") as file:
                for picture, values in tqdm(rows, total=count, leave=False, unit="picture", disable=None):
                    if isinstance(values, Exception):
                        errors.append(f"{picture}: {reason(values)}")
                        say(errors[-1])
                    else:
                        file.write(values.numpy().tobytes())
                        paths.append(str(picture))
            arrays = {"paths": np.array(paths, np.str_), "errors": np.array(errors, np.str_)}
            if bits:
                arrays |= {**coded(values_file, bits), "made_with": np.array(made_with)}
                shape = arrays["codes"].shape[1:]
            with zipfile.ZipFile(temporary, "w") as archive:
                if not bits:
                    archive.write(values_file, "features.npy")
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array)
        finally:
            with suppress(PermissionError):   # Windows: an error above still holds its values
                values_file.unlink(missing_ok=True)
    print(f"{path}: {'codes' if bits else 'features'} ({len(paths)}, {', '.join(map(str, shape))}), paths, "
          f"errors ({len(errors)})")
    return len(errors)


def coded(values_file: Path, bits: int | Coder) -> dict[str, np.ndarray]:
    """The codes of stored values, with the arrays of their coder."""
    values = torch.from_numpy(np.load(values_file, mmap_mode="c")).flatten(1)
    coder = bits if isinstance(bits, Coder) else learnt(values, bits)
    return {"codes": coder.codes(values), **arrays_of(coder)}


def learnt(values: Tensor, bits: int) -> Coder:
    """A coder of (N, values), learnt from at most LEARN_FROM of them; UserError where they say nothing."""
    some = values[::max(1, math.ceil(values.numel() / LEARN_FROM))]
    if len(some) < 2 or (some == some[0]).all():
        raise UserError("--bits learns its codes from the pictures: two at least have to differ")
    if len(some) < bits:
        warn(f"{len(some)} pictures are few to learn {bits} bits from; FILE.npz of more pictures can "
             "be named instead of the number of bits")
    return trained_coder(some, bits)


# ------------------------------------------------------------------- against the truth, and in pictures

class Truth:
    """Errors, where the pictures lie in folders named like the classes."""

    def __init__(self, classes: list[str], pictures: list[Path]) -> None:
        self.classes = classes
        self.number = {name: index for index, name in enumerate(classes)}
        found = Counter(class_above(picture, self.number) for picture in pictures)
        known = len(pictures) - found[None]
        folders = sorted({picture.parent.name for picture in pictures})
        some = ", ".join(folders[:3])
        if not known:
            raise UserError(f"--truth: no class of the model ({', '.join(classes[:3])} ...) is named like a "
                            f"folder of the pictures ({some} ...)")
        true_class, count = found.most_common(1)[0]
        if count == len(pictures) and len(folders) > 1 and true_class not in folders:   # runs/1/val, perhaps
            warn(f"--truth: all pictures count as {true_class}, the name of a folder above those that hold "
                 f"them ({some} ...)")
        if known < len(pictures):
            say(f"{len(pictures) - known} of {len(pictures)} pictures lie in no folder named like a class: "
                "they are classified, but do not count for the errors")
        self.confusion = np.zeros((len(classes),) * 2, np.int64)   # true class, answer
        self.missed = np.zeros(len(classes), np.int64)             # not among the five most probable

    def add(self, prediction: Prediction, true_class: str | None) -> None:
        if true_class is not None and prediction.top:
            true = self.number[true_class]
            self.confusion[true, prediction.top[0].index] += 1
            self.missed[true] += true not in [answer.index for answer in prediction.top[:5]]

    def report(self, folder: Path, titles: dict[str, str]) -> None:
        """Prints the errors; writes confusion.csv, confusion.png and truth.json."""
        count = self.confusion.sum(1)
        if not count.sum():
            say("--truth: no picture of a known class could be read")
            return
        wrong = count - self.confusion.diagonal()
        names = [titles[name] for name in self.classes]
        self.print_errors(count, wrong, names)
        write_csv(folder / "confusion.csv", [
            {"true class": name, **dict(zip(self.classes, row.tolist()))}
            for name, row in zip(self.classes, self.confusion)])
        drawing().confusion(self.confusion, names, folder / "confusion.png")
        write_json(folder / "truth.json", {
            "pictures": int(count.sum()), "top1_error": wrong.sum() / count.sum(),
            "top5_error": self.missed.sum() / count.sum(),
            "classes": {name: {"pictures": int(n), "wrong": int(w), "not_among_five": int(m)}
                        for name, n, w, m in zip(self.classes, count, wrong, self.missed)}})
        print(f"written to {folder}: confusion.png, confusion.csv, truth.json")

    def print_errors(self, count: np.ndarray, wrong: np.ndarray, names: list[str]) -> None:
        top5 = f", top-5 error {self.missed.sum() / count.sum():.2%}" if len(names) > 5 else ""
        print(f"{count.sum()} pictures: top-1 error {wrong.sum() / count.sum():.2%}{top5}; errors by class:")
        order = [index for index in np.argsort(-wrong / np.maximum(count, 1), kind="stable") if count[index]]
        for index in order[:20]:
            often = np.argsort(-self.confusion[index], kind="stable")[:3]
            taken = [names[other] for other in often if other != index and self.confusion[index, other]][:2]
            print(f"    {wrong[index] / count[index]:6.1%} of {count[index]:5} {names[index]}"
                  + (f" (taken for {', '.join(taken)})" if taken else ""))
        if len(order) > 20:
            print(f"    ... and {len(order) - 20} classes with errors no larger")


class Panel:
    """Figure 4, left, in pages of eight: FILE.png, FILE-2.png, ..."""

    def __init__(self, path: str, titles: dict[str, str]) -> None:
        self.path, self.titles = Path(path), titles
        self.page: list[Any] = []   # figures.PanelEntry
        self.written: list[Path] = []

    def add(self, prediction: Prediction, true_class: str | None) -> None:
        if prediction.error:
            return
        image = open_image(prediction.path, 256)
        image.thumbnail((256, 256))
        answers = [(self.titles[answer.name], answer.probability, answer.name == true_class)
                   for answer in prediction.top[:5]]
        self.page.append(drawing().PanelEntry(np.asarray(image), self.titles.get(true_class, ""), answers))
        if len(self.page) == PANEL_PAGE:
            self.write()

    def write(self) -> None:
        number = len(self.written) + 1
        path = self.path if number == 1 else self.path.with_stem(f"{self.path.stem}-{number}")
        drawing().prediction_panel(self.page, path)
        self.written.append(path)
        self.page = []

    def finish(self) -> None:
        if self.page:
            self.write()
        print(f"panel: {', '.join(map(str, self.written)) or 'nothing could be read'}")
