"""Classify images and folders.

    python alexnet_inference.py holiday.jpg              the newest run's best.pt, answers as bars
    python alexnet_inference.py photos --output out.csv  a folder, searched through
    python alexnet_inference.py val --truth              folders named like the classes: errors, too
    find . -name '*.jpg' | python alexnet_inference.py - --output out.jsonl --resume
    python alexnet_inference.py photos --features fc7 --output features.npz   (or --bits 128: binary codes)
    python alexnet_inference.py val --truth --model A --model B    two networks, their probabilities averaged
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator

from alexnet.cli import CommandLine, find, say, shell, warn
from alexnet.files import UserError, alone, csv_encoding, lines_of, writing

FEW = 20          # pictures whose answers are all shown on a terminal


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = CommandLine(__doc__)
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="files, folders (searched through), or - for a list on "
        "standard input (default: the samples in data/)")
    add("--model", metavar="CHECKPOINT", action="append", help="a checkpoint, a run's folder, any file of "
        "python -m alexnet.weights, or pretrained (default: the newest run's best.pt); given several times, "
        "the networks' probabilities are averaged")

    add = parser.add_argument_group("answers").add_argument
    add("--output", metavar="FILE", help=".csv, .json or .jsonl (.npz with --features); - writes JSON lines "
        "to standard output; CSV is UTF-8, with a mark for Excel where names are not ASCII (utf-8-sig)")
    add("--top", type=int, default=5, metavar="K", help="classes per picture (default 5)")
    add("--names", choices=("en", "zh"), help="readable names of ImageNet's classes")
    add("--resume", action="store_true",
        help="go on with an --output FILE.jsonl of the same model and options")
    add("--truth", action="store_true", help="pictures lie in folders named like the classes: report errors, "
        "and write a confusion matrix beside the output (or the model)")
    add("--panel", metavar="FILE.png", help="figure 4, left: pictures with their five most probable classes")
    add("--features", metavar="LAYER", help="a layer's values instead of classes (fc7, pool5, ...)")
    add("--bits", metavar="N", help="with --features: binary codes of N bits instead of values, learnt from "
        "these pictures; or FILE.npz that was written so: codes that can be compared with those in it")

    add = parser.add_argument_group("machine").add_argument
    add("--views", type=int, choices=(1, 10), default=1,
        help="1: the central crop; 10: the paper's average over ten crops (default 1)")
    add("--batch-size", type=int, default=128, metavar="N", help="default 128")
    add("--workers", type=int, metavar="N", help="threads that read pictures (default: one per core)")
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--precision", choices=("auto", "bf16", "fp16", "fp32"), default="auto", help="default auto")
    options = parser.parse_args(arguments)
    check(options)
    return options


def suffix(output: str | None) -> str:
    """Which form the output has: .csv, .json, .jsonl, .npz, or nothing."""
    return Path(output or "").suffix.lower()


def check(options: argparse.Namespace) -> None:
    """UserError for options that do not go together."""
    output, form = options.output, suffix(options.output)
    for name in ("top", "batch_size", "workers"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1")
    if options.features:
        if form != ".npz":
            raise UserError("--features needs --output FILE.npz")
        if options.truth or options.panel or options.resume or options.views == 10:
            raise UserError("--features goes without --truth, --panel, --resume and --views 10")
        if options.names:
            raise UserError("--features gives values, not classes: --names has no meaning with it")
        if len(options.model or []) > 1:
            raise UserError("--features takes one --model: only probabilities are averaged")
        check_bits(options.bits)
    elif options.bits:
        raise UserError("--bits needs --features")
    elif output not in (None, "-") and form not in (".csv", ".json", ".jsonl"):
        raise UserError(f"--output {output}: the name must end in .csv, .json or .jsonl, or be -")
    if options.resume and form != ".jsonl":
        raise UserError("--resume needs --output FILE.jsonl: only that is written as it goes")
    if options.resume and (options.truth or options.panel):
        raise UserError("--resume goes without --truth and --panel, which need all pictures in one run")
    if form == ".jsonl" and not options.resume and Path(output).exists():
        raise UserError(f"{output} is there already: --resume goes on with it, another name starts anew")
    if options.panel and suffix(options.panel) != ".png":
        raise UserError(f"--panel {options.panel}: the name must end in .png")
    for path in options.paths:
        if path != "-" and not os.path.lexists(path):
            raise UserError(f"there is no file or folder {path}")
    find_all(options.model)


def check_bits(bits: str | None) -> None:
    """UserError unless it is nothing, a number of bits, or a file."""
    if bits and bits.isdecimal():
        if int(bits) % 8 or not 8 <= int(bits) <= 1024:
            raise UserError(f"--bits {bits}: it must be a multiple of 8, 8 to 1024")
    elif bits is not None and not os.path.isfile(bits):
        raise UserError(f"--bits {bits}: neither a number of bits nor a file")


def find_all(given: list[str] | None) -> list[Path]:
    """The named checkpoints or runs' folders, else the newest run's best.pt."""
    return [find(one) for one in given or [None]]


if __name__ == "__main__":   # mistakes in the options are answered at once: importing torch takes seconds
    with shell("alexnet_inference.py"):
        parse()

import torch
from tqdm import tqdm

from alexnet import checkpoint, weights
from alexnet.answers import (Panel, Truth, print_bars, print_summary, text_file, write_features, write_lines,
                             write_list, write_table)
from alexnet.checkpoint import digest
from alexnet.codes import read_coder
from alexnet.pack import PACK_VERSION
from alexnet.device import choose_device, choose_precision, keep_memory
from alexnet.model import AlexNet
from alexnet.predict import (SAMPLES, Average, Prediction, class_above, classify, features, find_pictures,
                             readable_names, shapes)
from alexnet.folders import Folder, kinds
from alexnet.layout import look_through, parts_in, parts_in_classes
from alexnet.settings import facts_now


# ------------------------------------------------------------------- what goes in

def list_pictures(paths: list[str]) -> list[Path]:
    """The pictures to classify, in order."""
    places: list[str] = []
    for path in paths or [str(SAMPLES)]:
        places += standard_input() if path == "-" else [path]
    pictures, others = find_pictures(places)
    if not pictures:
        raise UserError(f"no picture in {', '.join(places[:3]) or 'the list'}"
                        + (f", but {kinds(others)}" if others else ""))
    if others:
        say(f"{kinds(others)} were left alone")
    return pictures


def names_of(classes: list[str], language: str | None) -> dict[str, str]:
    """Readable names of the classes, for those that have one; none if no language is asked for."""
    names = readable_names(classes, language or "en")
    if not language:
        if names:   # other sets have such ids, too
            say("the classes are ImageNet's, by their WordNet ids: --names en (or zh) shows names")
        return {}
    if not names:
        raise UserError(f"--names {language}: the model's classes ({', '.join(classes[:3])} ...) are not "
                        "those of ImageNet; leave --names out to see their own names")
    return names


def standard_input() -> list[str]:
    """One path per line, or with NUL between them."""
    if sys.stdin is None:
        raise UserError("standard input is closed, and a list of paths is expected there")
    content = getattr(sys.stdin, "buffer", sys.stdin).read()   # a notebook's stdin gives text only
    return lines_of(content if isinstance(content, bytes) else os.fsencode(content),
                    "standard input, of which a list of paths is expected,", file_names=True)


# ------------------------------------------------------------------- --resume

def what_decides(models: list[AlexNet], dtype: torch.dtype, views: int, top: int,
                 language: str | None) -> dict[str, Any]:
    """All that an answer depends on beside the picture; the first line that a process writes holds it."""
    return {"model": " ".join(map(digest, models)), "views": views, "top": top, "names": language,
            "precision": str(dtype).removeprefix("torch."), "preprocessing": PACK_VERSION}


def folder_from(output: str) -> str:
    """Where the paths that are written begin, seen from the output's folder: both may be moved."""
    try:
        return os.path.relpath(os.getcwd(), os.path.dirname(os.path.abspath(output)))
    except ValueError:   # on two drives of Windows
        return os.getcwd()


def done_before(path: str, made_with: dict[str, Any]) -> dict[str, bool]:
    """The pictures in a .jsonl file by their whole paths, each with whether it could be read; a last line
    that was cut off is removed. UserError if they were made with anything else."""
    done: dict[str, bool] = {}
    before: dict[str, Any] = {}   # in the first line that each process wrote
    home, whole = os.path.dirname(os.path.abspath(path)), 0
    if not os.path.exists(path):
        return done
    with writing(path), open(path, "rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                before = entry.get("made_with", before)
                picture = os.path.join(home, before["folder"], entry["path"])
                done[os.path.abspath(picture)] = not entry["error"]
                other = [f"{what} {before.get(what)} (now {now})" for what, now in made_with.items()
                         if before.get(what) != now]
            except (ValueError, KeyError, TypeError, AttributeError):
                raise UserError(f"{path} holds a line that is not one of ours; another name starts "
                                "anew") from None
            if other:
                raise UserError(f"{path} was made with {', '.join(other)}: go on with the same, or start "
                                "anew with another name")
            whole += len(line)
        file.truncate(whole)
    return done


def left_to_do(pictures: list[Path], path: str, made_with: dict[str, Any]) -> tuple[list[Path], int]:
    """The pictures that are not in the .jsonl file yet, and how many of those in it could not be read."""
    done = done_before(path, made_with)
    left = [picture for picture in pictures if os.path.abspath(picture) not in done]
    failed = sum(not done.get(os.path.abspath(picture), True) for picture in pictures)
    say(f"{len(pictures) - len(left)} of {len(pictures)} pictures are in {path} already"
        + (f"; {failed} of these could not be read, and are not tried again" if failed else ""))
    return left, failed


# ------------------------------------------------------------------- the job

def warn_if_trained_on(pictures: list[Path], path: Path, facts: dict[str, Any]) -> None:
    """Of pictures among which the checkpoint `path` was trained; --evaluate knows them by their pixels."""
    where = facts.get("data") or "demo"
    if where == "demo" or facts.get("labels") or not os.path.isdir(where):   # a list says more than folders
        return
    top = look_through(Folder(where))
    try:
        parts = parts_in(top)
        if not parts and parts_in_classes(top):   # cat/train, cat/val
            return
    except UserError:   # the folder is not what it was
        return
    train = os.path.realpath(parts.get("train", top).path)
    inside = sum(Path(os.path.realpath(picture.parent)).is_relative_to(train) for picture in pictures)
    if inside:
        share = f"{1 - facts['split']:.0%} of the images" if facts.get("split") else "the images"
        warn(f"--truth: {inside} of these pictures lie in {train}, and {path} was trained on {share} there: "
             "on others it errs more often")


def watched(progress: tqdm, chosen: Counter[str], truth: Truth | None, panel: Panel | None,
            top: int) -> Iterator[Prediction]:
    """The predictions, cut to their `top` classes, once `truth` and `panel` have seen them whole."""
    for prediction in progress:
        if prediction.error:
            progress.clear()
            say(f"{prediction.path}: {prediction.error}")
        else:
            chosen[prediction.top[0].name] += 1
        true_class = class_above(prediction.path, truth.number) if truth else None
        if truth:
            truth.add(prediction, true_class)
        if panel:
            panel.add(prediction, true_class)
        yield replace(prediction, top=prediction.top[:top])


def save_features(model: AlexNet, pictures: list[Path], layer: str, bits: str | None, output: str,
                  batch_size: int, workers: int | None, dtype: torch.dtype) -> int:
    """Writes a layer's values of the pictures, or codes of them; how many could not be read."""
    shape = shapes(model, [layer], "--features")[layer]
    made_with = f"{layer} of the network {digest(model)}"
    coder = bits and (int(bits) if bits.isdecimal() else read_coder(bits, made_with))
    rows = features(model, pictures, layer, batch_size, workers, dtype)
    return write_features(output, rows, shape, len(pictures), coder, made_with)


def main(arguments: list[str] | None = None) -> None:
    with shell("alexnet_inference.py"), ExitStack() as stack:
        options = parse(arguments)
        keep_memory()
        output, form = options.output, suffix(options.output)
        if form == ".jsonl" and not stack.enter_context(alone(output)):   # only this form grows
            raise UserError(f"another process is writing {output}: let it finish, or name another file")
        paths, device = find_all(options.model), choose_device(options.device)
        models, facts = [], []
        for path in paths:
            content = weights.read(path)
            models.append(checkpoint.build(content))
            facts.append(facts_now(content["facts"], path))
            del content
        model = models[0] if len(models) == 1 else Average(models)
        top = min(options.top, model.num_classes)
        names = {} if options.features else names_of(model.classes, options.names)
        titles = {name: names.get(name, name) for name in model.classes}
        pictures = list_pictures(options.paths)
        model.to(device, memory_format=torch.channels_last)
        dtype = choose_precision(options.precision, device)
        if not options.model:
            say(f"model: {paths[0]}")
        if options.features:
            failed = save_features(model, pictures, options.features, options.bits, output,
                                   options.batch_size, options.workers, dtype)
            sys.exit(1 if failed else 0)

        decides, first, failed = {}, {}, 0
        if form == ".jsonl":
            decides = what_decides(models, dtype, options.views, top, options.names)
            first = {"made_with": {**decides, "folder": folder_from(output)}}
        if options.resume:
            pictures, failed = left_to_do(pictures, output, decides)
            if not pictures:
                sys.exit(1 if failed else 0)
        truth = Truth(model.classes, pictures) if options.truth else None
        for path, known in zip(paths, facts) if truth else ():
            warn_if_trained_on(pictures, path, known)
        panel = Panel(options.panel, titles) if options.panel else None
        chosen, start = Counter(), time.perf_counter()
        few = output is None and len(pictures) <= FEW
        wanted = max(top, 5) if truth or panel else top
        predictions = classify(model, pictures, wanted, options.views, options.batch_size, options.workers,
                               dtype)
        with tqdm(predictions, total=len(pictures), leave=False, unit="picture",
                  disable=few or None) as progress:
            answers = watched(progress, chosen, truth, panel, top)
            if form == ".csv":
                encoding = csv_encoding(*map(str, pictures), *model.classes, *titles.values())
                write_table(output, answers, titles, top, encoding)
            elif form == ".json":
                write_list(output, answers, names)
            elif form == ".jsonl":
                with writing(output), text_file(output, "a") as file:
                    try:
                        write_lines(file, answers, names, first)
                    except (KeyboardInterrupt, SystemExit):
                        without = " and without --truth and --panel" if truth or panel else ""
                        say(f"stopped; the same command with --resume{without} goes on")
                        raise
            elif output == "-":
                if hasattr(sys.stdout, "reconfigure"):   # JSON is UTF-8, whatever the terminal's encoding
                    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
                write_lines(sys.stdout, answers, names, first)
            elif few:
                print_bars(answers, titles)
            else:   # the summary is all that is shown
                deque(answers, maxlen=0)
        if not few and output != "-":
            print_summary(chosen, len(pictures), time.perf_counter() - start, titles, output)
        with redirect_stdout(sys.stderr) if output == "-" else nullcontext():   # lines of JSON only
            if panel:
                panel.finish()
            if truth:
                beside = paths[0] if output in (None, "-") else Path(output)
                truth.report(beside if beside.is_dir() else beside.parent, titles)
        sys.exit(1 if failed + len(pictures) - chosen.total() else 0)


if __name__ == "__main__":
    main()
