"""Classify images and folders.

    python alexnet_inference.py holiday.jpg              the newest run's best.pt, answers as bars
    python alexnet_inference.py photos --output out.csv  a folder, searched through
    python alexnet_inference.py val --truth              folders named like the classes: errors, too
    find . -name '*.jpg' | python alexnet_inference.py - --output out.jsonl --resume
    python alexnet_inference.py photos --features fc7 --output features.npz
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
import time
import zipfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Callable, Iterator

from alexnet.cli import CommandLine, find, shell
from alexnet.files import (UserError, alone, cell, csv_encoding, printable, whole_file, write_csv, write_json,
                           writing)

SAMPLES = Path(__file__).resolve().parent / "data" / "samples"
FEW = 20          # pictures whose answers are all shown on a terminal
PANEL_PAGE = 8    # as in figure 4


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = CommandLine(__doc__)
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH",
        help="files, folders (searched through), or - for a list on standard input (default: the samples in data/)")
    add("--model", metavar="CHECKPOINT", help="a checkpoint, a run's folder, any file of "
        "python -m alexnet.weights, or pretrained (default: the newest run's best.pt)")

    add = parser.add_argument_group("answers").add_argument
    add("--output", metavar="FILE", help=".csv, .json or .jsonl (.npz with --features); - writes JSON lines "
        "to standard output; CSV is UTF-8, with a mark for Excel where names are not ASCII (utf-8-sig)")
    add("--top", type=int, default=5, metavar="K", help="classes a picture (default 5)")
    add("--names", choices=("en", "zh"), help="readable names of ImageNet's classes")
    add("--resume", action="store_true", help="go on with an --output FILE.jsonl of the same model and options")
    add("--truth", action="store_true", help="pictures lie in folders named like the classes: report errors, and "
        "write a confusion matrix beside the output (or the model)")
    add("--panel", metavar="FILE.png", help="figure 4, left: pictures with their five most probable classes")
    add("--features", metavar="LAYER", help="a layer's values instead of classes (fc7, pool5, ...)")

    add = parser.add_argument_group("machine").add_argument
    add("--views", type=int, choices=(1, 10), default=1, help="1: the centre; 10: the paper's average (default 1)")
    add("--batch-size", type=int, default=128, metavar="N", help="default 128")
    add("--workers", type=int, metavar="N", help="threads that read pictures (default: one a core)")
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--precision", choices=("auto", "bf16", "fp16", "fp32"), default="auto", help="default auto")
    options = parser.parse_args(arguments)
    check(options)
    return options


def check(options: argparse.Namespace) -> None:
    """UserError for options that do not go together."""
    suffix = Path(options.output or "").suffix.lower()
    for name in ("top", "batch_size", "workers"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1")
    if options.features:
        if suffix != ".npz":
            raise UserError("--features needs --output FILE.npz")
        if options.truth or options.panel or options.resume or options.views == 10:
            raise UserError("--features goes without --truth, --panel, --resume and --views 10")
    elif options.output not in (None, "-") and suffix not in (".csv", ".json", ".jsonl"):
        raise UserError(f"--output {options.output}: the name must end in .csv, .json or .jsonl, or be -")
    if options.resume and suffix != ".jsonl":
        raise UserError("--resume needs --output FILE.jsonl: only that is written as it goes")
    if options.resume and (options.truth or options.panel):
        raise UserError("--resume goes without --truth and --panel, which need all pictures in one run")
    if suffix == ".jsonl" and not options.resume and Path(options.output).exists():
        raise UserError(f"{options.output} is there already: --resume goes on with it, another name starts anew")
    if options.panel and Path(options.panel).suffix.lower() != ".png":
        raise UserError(f"--panel {options.panel}: the name must end in .png")
    for path in options.paths:
        if path != "-" and not os.path.lexists(path):
            raise UserError(f"there is no file or folder {path}")
    find(options.model)


if __name__ == "__main__":   # a mistake in the options is answered before torch is imported, which takes seconds
    with shell("alexnet_inference.py"):
        parse()

import numpy as np
import torch
from tqdm import tqdm

from alexnet.checkpoint import digest
from alexnet.images import open_image
from alexnet.pack import FORMAT, RowFile
from alexnet.device import choose_device, choose_precision, keep_memory
from alexnet.model import AlexNet
from alexnet.predict import Prediction, class_above, classify, features, find_pictures, readable_names, reason
from alexnet.folders import kinds
from alexnet.text import lines_of
from alexnet.weights import load

Writer = Callable[[Prediction], None]


# ------------------------------------------------------------------- what goes in

def list_pictures(paths: list[str]) -> list[Path]:
    """What is to be classified, in order."""
    places: list[str] = []
    for path in paths or [str(SAMPLES)]:
        if path == "-":   # what is missing from a list is said in its turn
            places += standard_input()
        else:
            places.append(path)
    pictures, others = find_pictures(places)
    if not pictures:
        raise UserError(f"no picture in {', '.join(places[:3]) or 'the list'}" + (f", but {kinds(others)}" if others else ""))
    if others:
        say(f"{kinds(others)} were left alone")
    return pictures


def standard_input() -> list[str]:
    """A path per line, or with NUL between them."""
    if sys.stdin is None:
        raise UserError("standard input is closed, and a list of paths is expected there")
    content = getattr(sys.stdin, "buffer", sys.stdin).read()   # a notebook's stdin gives text only
    return lines_of(content if isinstance(content, bytes) else os.fsencode(content), "standard input, of which a list of "
                    "paths is expected,", file_names=True)


def say(text: str) -> None:
    print(printable(text), file=sys.stderr)


def drawing() -> Any:
    """alexnet.figures, when a figure is wanted: matplotlib takes as long to import as fifty pictures to classify."""
    from alexnet import figures
    return figures


# ------------------------------------------------------------------- what comes out

def as_json(prediction: Prediction, names: dict[str, str]) -> dict[str, Any]:
    answers = []
    for answer in prediction.top:
        entry: dict[str, Any] = {"index": answer.index, "class": answer.name, "probability": round(answer.probability, 6)}
        if answer.name in names:
            entry["name"] = names[answer.name]
        answers.append(entry)
    return {"path": prediction.path, "predictions": answers, "error": prediction.error}


def what_decides(options: argparse.Namespace, model: AlexNet, dtype: torch.dtype) -> dict[str, Any]:
    """All that an answer depends on beside the picture; it is in the first line that a process writes."""
    return {"model": digest(model), "views": options.views, "top": min(options.top, model.num_classes),
            "names": options.names, "precision": str(dtype).removeprefix("torch."), "preprocessing": FORMAT}


def done_before(path: Path, made_with: dict[str, Any]) -> dict[str, bool]:
    """The pictures in a .jsonl file, each with whether it could be read; a last line that was cut off is
    taken away. UserError if they were not made with the same."""
    done: dict[str, bool] = {}
    known = False
    if not path.exists():
        return done
    with open(path, "rb+") as file:
        whole = 0
        for line in file:
            try:
                entry = json.loads(line)
                before = entry.get("made_with", made_with)
                other = [f"{name} {before.get(name)} (now {now})" for name, now in made_with.items()
                         if before.get(name) != now]
                known |= "made_with" in entry
                done[entry["path"]] = not entry["error"]
            except (ValueError, KeyError, TypeError, AttributeError):
                if line.endswith(b"\n"):
                    raise UserError(f"{path} holds a line that is not one of ours; another name starts "
                                    "anew") from None
                break
            if not line.endswith(b"\n"):
                del done[entry["path"]]
                break
            if other:
                raise UserError(f"{path} was made with {', '.join(other)}: go on with the same, or start "
                                "anew with another name")
            whole += len(line)
        file.truncate(whole)
    if done and not known:
        say(f"warning: {path} does not say with which model and options it was made: taken to be these")
    return done


@contextmanager
def text_file(path: str, mode: str = "w", encoding: str = "utf-8") -> Iterator[Any]:
    """For names in other encodings, too: what is not UTF-8 is written as an escape."""
    with open(path, mode, encoding=encoding, errors="backslashreplace", newline="") as file:
        yield file


@contextmanager
def output(options: argparse.Namespace, names: dict[str, str], made_with: dict[str, Any],
           encoding: str) -> Iterator[Writer | None]:
    """What writes one answer after the other; .csv, in this encoding, and .json appear when all is done."""
    def dump(prediction: Prediction, more: dict[str, Any] = {}) -> str:
        return json.dumps({**as_json(prediction, names), **more}, ensure_ascii=False)

    suffix = Path(options.output or "").suffix.lower()
    if options.output is None:
        yield None
    elif options.output == "-":
        yield lambda prediction: print(dump(prediction), flush=True)
    elif suffix == ".jsonl":
        with writing(options.output), text_file(options.output, "a") as file:
            first = {"made_with": made_with}

            def append(prediction: Prediction) -> None:
                nonlocal first
                file.write(dump(prediction, first) + "\n")
                file.flush()
                first = {}
            yield append
    elif suffix == ".json":
        with whole_file(options.output) as temporary, text_file(temporary) as file:
            before = "[\n"

            def add(prediction: Prediction) -> None:
                nonlocal before
                file.write(before + dump(prediction))
                before = ",\n"
            yield add
            file.write("[]\n" if before == "[\n" else "\n]\n")
    else:
        with whole_file(options.output) as temporary, text_file(temporary, encoding=encoding) as file:
            table = csv.writer(file, lineterminator="\n")
            count = options.top
            table.writerow(["path", *(f"{what}_{k}" for k in range(1, count + 1) for what in ("class", "probability")),
                            "error"])

            def row(prediction: Prediction) -> None:
                cells = [cell for answer in prediction.top
                         for cell in (names.get(answer.name, answer.name), f"{answer.probability:.6f}")]
                cells += [""] * (2 * count - len(cells))
                table.writerow(map(cell, [prediction.path, *cells, prediction.error or ""]))
            yield row


def bars(prediction: Prediction, names: dict[str, str]) -> str:
    """A picture's answers for the terminal."""
    lines = [printable(prediction.path)]
    for answer in prediction.top:
        filled = round(20 * answer.probability)
        lines.append(f"    {'█' * filled}{'·' * (20 - filled)} {answer.probability:6.1%}  "
                     f"{names.get(answer.name, answer.name)}")
    return "\n".join(lines)


# ------------------------------------------------------------------- against the truth

class Truth:
    """Errors when the pictures lie in folders named like the classes."""

    def __init__(self, model: AlexNet, pictures: list[Path]) -> None:
        self.classes = model.classes
        self.number = {name: index for index, name in enumerate(model.classes)}
        known = sum(self.of(str(picture)) is not None for picture in pictures)
        if not known:
            folders = sorted({picture.parent.name for picture in pictures})
            raise UserError(f"--truth: the pictures lie in folders named {', '.join(folders[:3])} ..., and no class of "
                            f"the model is named like one ({', '.join(self.classes[:3])} ...)")
        if known < len(pictures):
            say(f"{len(pictures) - known} of {len(pictures)} pictures lie in no folder named like a class: "
                "they are classified, but do not count for the errors")
        self.confusion = np.zeros((len(self.classes),) * 2, np.int64)   # true class, answer
        self.missed = np.zeros(len(self.classes), np.int64)             # not among the first five

    def of(self, path: str) -> int | None:
        """The number of the class that a picture's folder is named after."""
        return self.number.get(class_above(path, self.number))

    def add(self, prediction: Prediction) -> None:
        true = self.of(prediction.path)
        if true is not None and prediction.top:
            self.confusion[true, prediction.top[0].index] += 1
            self.missed[true] += true not in [answer.index for answer in prediction.top[:5]]

    def report(self, folder: Path, names: dict[str, str]) -> None:
        """Prints the errors; writes confusion.csv, confusion.png and truth.json."""
        count = self.confusion.sum(1)
        if not count.sum():
            say("--truth: no picture of a known class could be read")
            return
        wrong = count - self.confusion.diagonal()
        titles = [names.get(name, name) for name in self.classes]
        print(f"{count.sum()} pictures: top-1 error {wrong.sum() / count.sum():.2%}"
              + (f", top-5 error {self.missed.sum() / count.sum():.2%}" if len(self.classes) > 5 else "")
              + "; by class, wrong ones:")
        order = [index for index in np.argsort(-wrong / np.maximum(count, 1), kind="stable") if count[index]]
        for index in order[:20]:
            often = np.argsort(-self.confusion[index], kind="stable")
            taken = [titles[other] for other in often[:3] if other != index and self.confusion[index, other]][:2]
            print(f"    {wrong[index] / count[index]:6.1%} of {count[index]:5} {titles[index]}"
                  + (f" (taken for {', '.join(taken)})" if taken else ""))
        if len(order) > 20:
            print(f"    ... and {len(order) - 20} classes with smaller errors")
        write_csv(folder / "confusion.csv", [
            {"true class": name, **dict(zip(self.classes, row.tolist()))}
            for name, row in zip(self.classes, self.confusion)])
        drawing().confusion(self.confusion, titles, folder / "confusion.png")
        write_json(folder / "truth.json", {
            "pictures": int(count.sum()), "top1_error": wrong.sum() / count.sum(),
            "top5_error": self.missed.sum() / count.sum(),
            "classes": {name: {"pictures": int(n), "wrong": int(w), "not_among_five": int(m)}
                        for name, n, w, m in zip(self.classes, count, wrong, self.missed)}})
        print(f"written to {folder}: confusion.png, confusion.csv, truth.json")


# ------------------------------------------------------------------- the panel

class Panel:
    """Figure 4, left, in pages of eight: FILE.png, FILE-2.png, ..."""

    def __init__(self, path: str, names: dict[str, str], classes: list[str], truth: Truth | None) -> None:
        self.path, self.names, self.classes, self.truth = Path(path), names, classes, truth
        self.page: list[Any] = []   # figures.PanelEntry
        self.written: list[Path] = []

    def add(self, prediction: Prediction) -> None:
        if prediction.error:
            return
        true = self.truth.of(prediction.path) if self.truth else None
        image = open_image(prediction.path, 256)
        image.thumbnail((256, 256))
        self.page.append(drawing().PanelEntry(
            np.asarray(image), "" if true is None else self.title(self.classes[true]),
            [(self.title(answer.name), answer.probability, answer.index == true) for answer in prediction.top[:5]]))
        if len(self.page) == PANEL_PAGE:
            self.write()

    def title(self, name: str) -> str:
        return self.names.get(name, name)

    def write(self) -> None:
        if self.page:
            number = len(self.written) + 1
            path = self.path if number == 1 else self.path.with_stem(f"{self.path.stem}-{number}")
            drawing().prediction_panel(self.page, path)
            self.written.append(path)
            self.page = []


# ------------------------------------------------------------------- the job

def run(options: argparse.Namespace) -> int:
    """Classifies everything; returns how many pictures could not be."""
    if Path(options.output or "").suffix.lower() != ".jsonl":
        return classify_all(options)
    with alone(options.output) as mine:   # the other kinds are whole files, this one grows
        if not mine:
            raise UserError(f"another process is writing {options.output}: let it finish, or name another file")
        return classify_all(options)


def classify_all(options: argparse.Namespace) -> int:
    path = find(options.model)
    model = load(path)
    names = readable_names(model.classes, options.names) if options.names else {}
    pictures = list_pictures(options.paths)
    device = choose_device(options.device)
    model.to(device, memory_format=torch.channels_last)
    dtype = choose_precision(options.precision, device)
    if not options.model:
        say(f"model: {path}")
    if not options.names and all(re.fullmatch(r"n\d{8}", name) for name in model.classes):
        say("the classes are ImageNet's, by their WordNet ids: --names en (or zh) shows names")
    if options.features:
        return write_features(options, model, pictures, dtype)
    failed_before = 0
    made_with = what_decides(options, model, dtype) if Path(options.output or "").suffix.lower() == ".jsonl" else {}
    if options.resume:
        with writing(options.output):
            done = done_before(Path(options.output), made_with)
        there = [done[str(picture)] for picture in pictures if str(picture) in done]
        failed_before = there.count(False)
        say(f"{len(there)} of {len(pictures)} pictures are in {options.output} already"
            + (f"; {failed_before} of these could not be read, and are not tried again" if failed_before else ""))
        pictures = [picture for picture in pictures if str(picture) not in done]
        if not pictures:
            return failed_before
    truth = Truth(model, pictures) if options.truth else None
    panel = Panel(options.panel, names, model.classes, truth) if options.panel else None
    show = options.output is None and len(pictures) <= FEW
    wanted = max(options.top, 5) if truth or panel else options.top
    failed, chosen, start = 0, Counter(), time.perf_counter()
    encoding = csv_encoding(chain(map(str, pictures), model.classes, names.values()))
    with ExitStack() as stack:
        write = stack.enter_context(output(options, names, made_with, encoding))
        progress = stack.enter_context(tqdm(total=len(pictures), unit="picture", leave=False, disable=True if show else None))
        for prediction in classify(model, pictures, wanted, options.views, options.batch_size, options.workers, dtype):
            progress.update()
            if prediction.error:
                failed += 1
                progress.clear()
                say(f"{prediction.path}: {prediction.error}")
            else:
                chosen[prediction.top[0].name] += 1
            for add in (truth and truth.add, panel and panel.add):
                if add:
                    add(prediction)
            cut = Prediction(prediction.path, prediction.top[:options.top], prediction.error)
            if write:
                write(cut)
            elif show and not prediction.error:
                print(bars(cut, names))
    seconds = time.perf_counter() - start
    if not show and options.output != "-":
        summary(chosen, names, len(pictures), failed, seconds, options.output)
    if panel:
        panel.write()
        print(f"panel: {', '.join(map(str, panel.written)) or 'nothing could be read'}")
    if truth:
        beside = Path(options.output) if options.output not in (None, "-") else path
        truth.report(beside if beside.is_dir() else beside.parent, names)
    return failed + failed_before


def summary(chosen: Counter, names: dict[str, str], count: int, failed: int, seconds: float,
            written: str | None) -> None:
    print(f"{count - failed} of {count} pictures classified in {seconds:.1f} s ({count / max(seconds, 1e-9):.0f} a second)"
          + (f"; {written}" if written else ""))
    if chosen:
        print("most probable class of so many:")
    for name, times in chosen.most_common(10):
        print(f"    {times:7}  {names.get(name, name)}")
    if len(chosen) > 10:
        print(f"    ... and {len(chosen) - 10} other classes")
    if written is None:
        print("--output FILE.csv (or .json, .jsonl) keeps the answers")


def write_features(options: argparse.Namespace, model: AlexNet, pictures: list[Path], dtype: torch.dtype) -> int:
    """FILE.npz with `features` (a row a picture), `paths`, and `errors` (what could not be read)."""
    layer, paths, errors = options.features, [], []
    blank = torch.zeros(1, 3, model.image_size, model.image_size, device=model.mean.device)
    try:
        with torch.inference_mode():
            shape = tuple(model.activations(blank, [layer])[layer].shape[1:])
    except ValueError as error:
        raise UserError(f"--features: {error}") from None
    with whole_file(options.output) as temporary:
        rows = Path(f"{temporary}.rows")
        try:
            with RowFile(rows, shape, "<f4") as file, tqdm(total=len(pictures), unit="picture", leave=False,
                                                           disable=None) as progress:
                for picture, values in features(model, pictures, layer, options.batch_size, options.workers, dtype):
                    progress.update()
                    if isinstance(values, Exception):
                        errors.append(f"{picture}: {reason(values)}")
                        say(errors[-1])
                        continue
                    file.append(values.numpy())
                    paths.append(str(picture))
            with zipfile.ZipFile(temporary, "w") as archive:
                archive.write(rows, "features.npy")
                for name, texts in (("paths", paths), ("errors", errors)):
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.array(texts, dtype=np.str_))
        finally:
            rows.unlink(missing_ok=True)
    print(f"{options.output}: features ({len(paths)}, {', '.join(map(str, shape))}), paths, errors ({len(errors)})")
    return len(errors)


def main(arguments: list[str] | None = None) -> None:
    with shell("alexnet_inference.py"):
        options = parse(arguments)
        keep_memory()
        sys.exit(1 if run(options) else 0)


if __name__ == "__main__":
    main()
