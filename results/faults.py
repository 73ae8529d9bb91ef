"""Fault tolerance: `python -m results.faults [SECTION...]`.

Real processes are killed, disks filled, images and checkpoints damaged, and what is left is compared with
what it should be. Each section writes its JSON to results/faults/; the pages there are made from all of them.

    python -m results.faults                   all sections, an hour and a half on two cores
    python -m results.faults images disk       these two
    python -m results.faults table             only the pages, from the JSON files
    python -m results.faults --part 0.02       a fiftieth of each count, to try; writes nothing
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image

import alexnet_inference
import alexnet_visualization
import train_alexnet
from alexnet import checkpoint, demo, figures, weights
from alexnet.files import UserError, read_csv, read_json, write_csv, write_json
from alexnet.model import AlexNet
from alexnet.pack import Pack, open_pack, packed
from alexnet.sources import find_source
from alexnet.subject import MOST
from alexnet.training import BATCH_DONE, EPOCH_BEGINS, Run
from results.ablations import BASE
from results.pages import Text, fill, heading, row, say, table, texts, worded
from results.units import CPU, machine

HERE = Path(__file__).resolve().parent / "faults"
ROOT = HERE.parent.parent
SIZE = 36   # the smallest images: the network is the usual one, only its feature maps are small
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}   # as many threads on both sides: the same bits
GIB = 2 ** 20   # in the units of ru_maxrss


@dataclass
class Trials:
    """What a section tried, how often, and how often everything was as it should be."""

    place: Path                    # a folder for what it makes
    seed: int
    part: float                    # of the counts
    rows: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = np.random.default_rng(self.seed)

    def count(self, times: int) -> int:
        return max(1, round(times * self.part))

    def row(self, what: str, times: int, right: int, seen: str) -> None:
        self.rows.append({"what": what, "times": times, "right": int(right), "seen": seen})
        print(f"{what}: {int(right)} of {times}. {seen}", file=sys.stderr, flush=True)

    def check(self, right: bool, what: str) -> bool:
        """Whether it is right; if not, it is kept in the JSON."""
        if not right:
            self.wrong.append(what)
            print(f"WRONG: {what}", file=sys.stderr, flush=True)
        return right


def pick(choices: Sequence[Any], chance: np.random.Generator) -> Any:
    return choices[int(chance.integers(len(choices)))]


def pictures(folder: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Class folders of drawn pictures: {"train/disc": 5, ...}."""
    for name, count in counts.items():
        part, kind = name.split("/")
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(first, first + count):
            demo.draw((part, index * 10 + demo.CLASSES.index(kind))).save(folder / name / f"{index}.png")
    return folder


def small_pack(trials: Trials, counts: dict[str, int] | None = None) -> Pack:
    counts = counts or {"train/disc": 40, "train/star": 40, "val/disc": 9, "val/star": 8}
    folder = pictures(trials.place / "drawn", counts)
    return packed(find_source(str(folder)), SIZE, trials.place / "packed", quiet=True)


def small_run(folder: Path, pack: Pack, epochs: int = 2, batch_size: int = 16, minutes: float = 5.0) -> Run:
    """A run of the usual network with 64 instead of 4,096 neurons in fc6 and fc7."""
    settings = replace(BASE, data="drawn", image_size=SIZE, epochs=epochs, batch_size=batch_size, lr=0.002,
                       schedule="constant", precision="fp32", changes={"hidden": 64})
    return Run(folder, settings, pack, CPU, minutes=minutes)


def to_the_end(run: Run) -> None:
    for _ in run.train():
        pass


def train_command(processes: int, *arguments: Any) -> list[str]:
    """train_alexnet.py in one process, or in several by torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, *(torchrun if processes > 1 else []), str(ROOT / "train_alexnet.py"),
            "--device", "cpu", *map(str, arguments)]


def train(processes: int, *arguments: Any) -> None:
    subprocess.run(train_command(processes, *arguments), check=True, capture_output=True, env=ENVIRONMENT)


def command(main: Callable[[list[str]], None], *arguments: Any) -> None:
    """A script's main() in this process. UserError, with its line, where it ends with status 2."""
    heard, status = io.StringIO(), 0
    with redirect_stderr(heard), redirect_stdout(io.StringIO()):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code or 0
    if status == 2 and "Traceback" not in heard.getvalue():
        raise UserError(heard.getvalue().splitlines()[-1])
    if status:
        raise RuntimeError(f"status {status}: {heard.getvalue()}")


def leftovers(folder: Path) -> str:
    """Hidden files: those that a write leaves behind that did not end."""
    return ", ".join(path.name for path in folder.glob(".*"))


# ------------------------------------------------------------------- killed in training

def status_of(pid: int) -> list[str]:
    """State and parent of a process, and more (proc(5)); empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    parents = {int(place.name): status_of(int(place.name)) for place in Path("/proc").glob("[0-9]*")}
    found = [pid]
    for one in found:
        found += [child for child, status in parents.items() if status and int(status[1]) == one]
    return found


def kill(pids: list[int]) -> None:
    """As the system kills: nothing can be tidied up."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while any(status_of(pid)[:1] not in ([], ["Z"]) for pid in pids):
        time.sleep(0.01)


def where(run: Path) -> tuple[int, int] | None:
    """Epochs and batches that are done, by the newest checkpoint; None if there is none."""
    path = next((path for path in (run / "last.pt", run / "previous.pt") if path.exists()), None)
    progress = torch.load(path, weights_only=True)["progress"] if path else None
    return progress and (progress["epoch"], progress["batch"])


def being_written(folder: Path) -> bool:
    return any(folder.glob(".*.part"))


def all_whole(trials: Trials, folder: Path) -> bool:
    """Whether every file of a run opens, and metrics.csv has each epoch once."""
    try:
        for path in folder.glob("[!.]*"):
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".csv":
                epochs = [int(line["epoch"]) for line in read_csv(path)]
                if epochs != list(range(1, len(epochs) + 1)):
                    return trials.check(False, f"{path.name} has the epochs {epochs}")
            elif path.suffix == ".png":
                Image.open(path).load()
            else:
                checkpoint.read(path)
    except Exception as error:
        return trials.check(False, f"{folder.name}: {type(error).__name__}: {error}")
    return True


def same_end(one: Path, two: Path) -> str:
    """What differs between the ends of two runs besides seconds; empty if they are the same bit by bit."""
    different = []
    for name in ("last.pt", "best.pt"):
        a, b = (torch.load(folder / name, weights_only=True) for folder in (one, two))
        different += [f"{name} {key}" for key, value in a["model"].items()
                      if not torch.equal(value, b["model"][key])]
        for index, entry in a.get("optimizer", {"state": {}})["state"].items():
            if not torch.equal(entry["momentum_buffer"], b["optimizer"]["state"][index]["momentum_buffer"]):
                different.append(f"momentum {index}")
    rows = [[{name: value for name, value in line.items() if "second" not in name}
             for line in read_csv(folder / "metrics.csv")] for folder in (one, two)]
    return ", ".join(different + ["metrics.csv"] * (rows[0] != rows[1]))


def often(trials: Trials) -> list[Any]:
    """Options of runs that are killed: a checkpoint every second or so."""
    return ["--cache", trials.place / "packed", "--checkpoint-minutes", 0.02]


def start(trials: Trials, run: Path, new: list[Any], processes: int,
          seen: Counter) -> subprocess.Popen | None:
    """A new run, or one that goes on from where its last checkpoint is; None if it did not start."""
    expected = where(run)
    arguments = ["--resume", run] if (run / "config.json").exists() else [*new, "--out", run]
    process = subprocess.Popen(train_command(processes, *often(trials), *arguments), text=True,
                               env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    line = next((line for line in process.stdout if line.startswith(("AlexNet", str(run)))), "")
    if not trials.check(bool(line), f"{run.name} did not start"):
        return None
    if expected:
        going_on = next(process.stdout, "") and next(process.stdout, "").strip()
        said = f"going on in epoch {expected[0] + 1}, of which {expected[1]} of "
        trials.check(going_on.startswith(said) or line.startswith(str(run)),
                     f"{run.name}: {going_on!r} instead of {said!r}")
        seen["within"] += expected[1] > 0
    return process


def kill_in_time(trials: Trials, run: Path, process: subprocess.Popen, seen: Counter) -> None:
    """Kills after 0 to 4 seconds, every second time while a file is being written. Of several processes half
    the time only one is killed; torchrun ends the others."""
    until = time.monotonic() + trials.chance.uniform(0, 4)
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.001)
    while seen["kills"] % 2 and process.poll() is None and not being_written(run):
        time.sleep(0.001)
    if process.poll() is not None:
        return
    seen["writing"] += being_written(run)
    relatives = family(process.pid)
    if len(relatives) > 2 and trials.chance.random() < 0.5:
        kill(relatives[1:2])
        seen["one alone"] += 1
        process.wait()
    kill(relatives)
    process.wait()
    seen["kills"] += 1
    seen["whole"] += all_whole(trials, run)


def training(trials: Trials, processes: int, times: int) -> None:
    """Runs that are killed again and again and resumed to the end, each beside one that is never killed."""
    wanted, seen = trials.count(times), Counter()
    while seen["kills"] < wanted:
        seed = trials.seed + seen["runs"]
        straight, run = (trials.place / f"{name}-{processes}-{seed}" for name in ("straight", "killed"))
        new = ["--image-size", SIZE, "--batch-size", 64, "--epochs", 4, "--seed", seed]
        train(processes, *often(trials), *new, "--out", straight)
        ended = False
        while not ended:
            process, before = start(trials, run, new, processes, seen), seen["kills"]
            if process is None:
                return
            if before < wanted:
                kill_in_time(trials, run, process, seen)
            process.wait()
            ended = seen["kills"] == before
        trials.check(process.returncode == 0, f"{run.name} ended with {process.returncode}")
        different, rest = same_end(straight, run), leftovers(run)
        trials.check(not rest, f"{run.name}: {rest} is left over")
        seen["same end"] += trials.check(
            not different, f"{run.name} ends otherwise than the run that was never killed: {different}")
        seen["runs"] += 1
        shutil.rmtree(straight)
        shutil.rmtree(run)
    who = "one process" if processes == 1 else f"torchrun with {processes} processes"
    alone = f", {seen['one alone']} of one process alone" if processes > 1 else ""
    trials.row(f"kill -9 in training, {who}", seen["kills"], seen["whole"],
               "every file whole after each kill, and each time it went on from the last batch that was "
               f"written, {seen['within']} times within an epoch; {seen['writing']} kills while a file was "
               f"being written{alone}")
    trials.row(f"runs that were killed and resumed to the end, {who}", seen["runs"], seen["same end"],
               "weights, momentum, best.pt and metrics.csv equal those of the run never killed, bit by bit")


# ------------------------------------------------------------------- killed in packing

def pack_it(folder: Path, cache: Path) -> Pack:
    return packed(find_source(str(folder)), 64, cache, quiet=True, threads=2)


def in_child(folder: Path, cache: Path) -> multiprocessing.Process:
    child = multiprocessing.get_context("fork").Process(target=pack_it, args=(folder, cache))
    child.start()
    return child


def equal(one: Pack, two: Pack) -> bool:
    def arrays(pack: Pack) -> list[np.ndarray]:
        return [*pack.images.values(), *pack.labels.values(), pack.mean, pack.covariance]
    return ((one.identity, one.classes, one.skipped) == (two.identity, two.classes, two.skipped)
            and all(map(np.array_equal, arrays(one), arrays(two))))


def packing(trials: Trials) -> None:
    """Kills while a pack is made or replaced by that of changed images, alone or with two at once."""
    counts = {"train/disc": 150, "train/star": 150, "val/disc": 50, "val/star": 50}
    folder = pictures(trials.place / "source", counts)
    changing = folder / "train/disc/7.png"
    contents = [changing.read_bytes(), (folder / "train/star/9.png").read_bytes()]

    def change(version: int) -> None:
        changing.write_bytes(contents[version])
        os.utime(changing, (1e9 + version, 1e9 + version))

    expected, seconds = [], 0.0
    for version in (0, 1):
        change(version)
        begun = time.monotonic()
        expected.append(pack_it(folder, trials.place / f"expected-{version}"))
        seconds = time.monotonic() - begun
    cache = trials.place / "cache"
    place = cache / expected[0].folder.name
    for packers, times in ((1, trials.count(100)), (2, trials.count(50))):
        seen = Counter()
        for number in range(times):
            change(number % 2)
            if number % 3 == 0:
                shutil.rmtree(cache, ignore_errors=True)
            seen["replacing"] += place.exists()
            children = [in_child(folder, cache) for _ in range(packers)]
            time.sleep(trials.chance.uniform(0, 1.1 * seconds))
            seen["finished"] += not children[0].is_alive()
            children[0].kill()
            for child in children:
                child.join()
            wrong = after_packing(place, children, expected, number % 2)
            again = in_child(folder, cache)
            again.join()
            if again.exitcode != 0 or not equal(open_pack(place), expected[number % 2]):
                wrong.append("not completed afterwards")
            if rest := leftovers(cache):
                wrong.append(f"{rest} is left over")
            seen["right"] += trials.check(not wrong, f"kill {number}: {', '.join(wrong)}")
        what = "kill -9 in packing" + (", two packers at once" if packers == 2 else "")
        trials.row(what, times, seen["right"],
                   "the pack is whole or absent, and whole after the next call, with nothing left over; "
                   f"{seen['replacing']} kills while an older pack was there, {seen['finished']} after the "
                   "end")


def after_packing(place: Path, children: list[multiprocessing.Process], expected: list[Pack],
                  version: int) -> list[str]:
    """What is wrong after the first packer was killed; if there was another, it must have finished."""
    wrong = ["the other packer failed"] if any(child.exitcode for child in children[1:]) else []
    allowed = expected if len(children) == 1 else [expected[version]]
    if place.exists():
        found = open_pack(place)
        wrong += [] if any(equal(found, one) for one in allowed) else ["a wrong pack"]
    elif len(children) == 2:
        wrong.append("the other packer left nothing")
    return wrong


# ------------------------------------------------------------------- a full disk

@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[str]:
    """A file system of its own at `folder`, if that may be mounted; says which kind of limit there is."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder],
                             capture_output=True).returncode == 0
    try:
        yield "a tmpfs that is full" if mounted else "a limit on the size of files"
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)


@contextmanager
def no_space(folder: Path, kind: str, free: int) -> Iterator[None]:
    """`free` bytes are left while the block runs."""
    if "tmpfs" not in kind:
        import resource   # Windows has none, and imports this file for its pages
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (free, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    filler = folder / ".filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2 ** 16))
        except OSError:
            file.truncate(max(0, file.tell() - free))
    try:
        yield
    finally:
        filler.unlink()


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != ".filler"}


@dataclass
class Write:
    """A kind of write on the small disk."""

    call: Callable[[], Any]
    target: Path
    about: int = 0                                # bytes that it needs, where there is nothing yet to go by
    prepare: Callable[[], Any] = lambda: None     # what has to come before

    def needed(self) -> int:
        if self.target.is_dir():
            return sum(map(len, state(self.target).values()))
        return self.target.stat().st_size if self.target.exists() else self.about


def run_writes(folder: Path, run: Run) -> dict[str, Write]:
    """What training writes into a run's folder."""
    rows = run.progress.rows * 300
    calls = {"last.pt": run.save, "best.pt": run.save_best,
             "metrics.csv": partial(write_csv, folder / "run/metrics.csv", rows),
             "config.json": partial(write_json, folder / "run/config.json", rows),
             "curves.png": partial(figures.training_curves, run.progress.rows, folder / "run/curves.png", "x")
             }
    return {name: Write(call, folder / "run" / name, 2 ** 16) for name, call in calls.items()}


def script_writes(folder: Path, source: Path, cache: Path, torchvision: Path) -> dict[str, Write]:
    """What the scripts write: packs, runs, answers, pictures, weights."""
    model, fresh = folder / "run/best.pt", itertools.count()

    def classify(needed: int, name: str, *more: Any) -> Write:
        return Write(partial(command, alexnet_inference.main, source / "val", "--model", model, "--output",
                             folder / name, *more), folder / name, needed)

    def five_lines() -> None:
        path = folder / "out.jsonl"
        if path.exists():
            path.write_text("".join(path.read_text().splitlines(True)[:5]))

    def new_run() -> None:
        command(train_alexnet.main, "--data", source, "--image-size", SIZE, "--epochs", 1, "--quiet",
                "--device", "cpu", "--cache", cache, "--out", folder / f"new-{next(fresh)}")

    def exported(source: Path, suffix: str, needed: int) -> Write:
        return Write(lambda: command(weights.main, source, folder / f"export-{next(fresh)}{suffix}"),
                     folder / "export", needed)

    return {
        "a pack": Write(lambda: packed(find_source(str(source)), 224, folder / "cache", quiet=True),
                        folder / "cache", 2 ** 22, (source / "train/disc/0.png").touch),
        "a new run": Write(new_run, folder / "new", 240 * 2 ** 20),
        "answers.csv": classify(2 ** 10, "out.csv"), "answers.json": classify(2 ** 11, "out.json"),
        "answers.jsonl, resumed": replace(classify(2 ** 11, "out.jsonl", "--resume"), prepare=five_lines),
        "features.npz": classify(2 ** 12, "out.npz", "--features", "fc7"),
        "a panel": Write(partial(command, alexnet_inference.main, source / "val", "--model", model, "--panel",
                                 folder / "panel.png"), folder / "panel.png", 2 ** 16),
        "errors against the truth": replace(classify(2 ** 14, "truth/out.csv", "--truth"),
                                            target=folder / "truth"),
        "pictures of filters": Write(partial(command, alexnet_visualization.main, "filters", "--model", model,
                                             "--out", folder / "inside"), folder / "inside", 2 ** 17),
        "weights as .safetensors": exported(model, ".safetensors", 2 ** 23),
        "weights as .onnx": exported(model, ".onnx", 2 ** 23),
        "weights as .pth": exported(torchvision, ".pth", 2 ** 27)}


def refused(trials: Trials, name: str, write: Write, folder: Path, kind: str, half: bool) -> bool:
    """Whether a write that finds no space, or half of what it needs, says so and leaves all as it was."""
    write.prepare()
    before, message = state(folder), ""
    try:
        with no_space(folder, kind, write.needed() // 2 if half else 0):
            write.call()
    except UserError as error:
        message = str(error)
    except Exception as error:
        message = f"{type(error).__name__}: {error}\n"
    after = state(folder)
    kept = {path: content for path, content in after.items() if path in before}
    if "jsonl" in name and "out.jsonl" in kept:   # it grows
        kept["out.jsonl"] = kept["out.jsonl"][:len(before["out.jsonl"])]
    fine = trials.check(kept == before, f"{name}: what was there is not there any more")
    rest = [path for path in after if Path(path).name.startswith(".")]
    fine &= trials.check(not rest, f"{name}: {', '.join(rest)} is left over")
    if message or not (half or "jsonl" in name):   # half of the guess, or the last page, may have been enough
        told = "cannot write" in message or "GiB free" in message   # a pack is refused beforehand
        fine &= trials.check(told and "\n" not in message, f"{name}: {message!r}")
    return fine


def disk(trials: Trials) -> None:
    """Each kind of write, with no space at all and with half of what it needs; then with space."""
    pack, folder = small_pack(trials), trials.place / "disk"
    torchvision = trials.place / "torchvision.pt"
    model = AlexNet(2, 224, "torchvision").eval()
    model.classes = ["a", "b"]
    checkpoint.save(torchvision, model, {})
    with small_disk(folder, 700) as kind:
        run = small_run(folder / "run", pack)
        to_the_end(run)
        writes = run_writes(folder, run) | script_writes(folder, trials.place / "drawn",
                                                         trials.place / "packed", torchvision)
        for name, write in writes.items():
            right = 0
            for _ in range(2):   # first there is nothing, or what the run left; then what was written
                right += sum(refused(trials, name, write, folder, kind, half) for half in (False, True))
                write.prepare()
                write.call()   # with space it goes on
                if "jsonl" in name:
                    lines = (folder / "out.jsonl").read_text().splitlines()
                    paths = {json.loads(line)["path"] for line in lines}
                    right -= not trials.check(len(paths) == len(lines) == 17, f"{name}: {len(lines)} lines")
            for path in [*folder.glob("new-*"), *folder.glob("export-*")]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            trials.row(f"disk full: {name}", 4, right,
                       f"{kind}: one line, what was there is as it was, nothing left over")


# ------------------------------------------------------------------- damaged images

KINDS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
SIZES = {   # by a format's first bytes: where it says how large the image is, and the largest values
    b"BM": (rb"\A(.{18}).{8}", b"\xff\xff\0\0" * 2), b"GIF8": (rb"\A(.{6}).{4}", b"\xff" * 4),
    b"\x89PNG": (rb"\A(.{16}).{8}", b"\0\0\xff\xff" * 2),
    b"\xff\xd8": (rb"(\xff\xc0\0\x11\x08).{4}", b"\xff" * 4),
    b"RIFF": (rb"(\x9d\x01\x2a).{4}", b"\xff\x3f" * 2),
    b"II": (rb"([\0\x01]\x01[\x03\x04]\0\x01\0\0\0).{4}", b"\xff\xff\0\0")}


def bits_flipped(data: bytes, chance: np.random.Generator) -> bytes:
    """1 to 64 of them."""
    raw = bytearray(data)
    for place in chance.integers(0, len(raw), 2 ** int(chance.integers(7))):
        raw[place] ^= 1 << int(chance.integers(8))
    return bytes(raw)


def cut_off(data: bytes, chance: np.random.Generator) -> bytes:
    """The end, or less often the beginning."""
    place = int(chance.integers(1, len(data)))
    return data[:place] if chance.random() < 0.7 else data[place:]


def garbage(data: bytes, chance: np.random.Generator) -> bytes:
    """A block of random bytes, or less often of zeros."""
    first, length = int(chance.integers(len(data))), int(chance.integers(1, min(len(data), 100_000)))
    block = chance.bytes(length) if chance.random() < 0.7 else bytes(length)
    return data[:first] + block + data[first + length:]


def zeros_to_the_end(data: bytes, chance: np.random.Generator) -> bytes:
    first = int(chance.integers(len(data)))
    return data[:first] + bytes(len(data) - first)


def other_header(data: bytes, chance: np.random.Generator) -> bytes:
    """Random bytes among the first, which say how large the image is."""
    raw = bytearray(data)
    for place in chance.integers(0, 64, 4):
        raw[place] = int(chance.integers(256))
    return bytes(raw)


def said_to_be_huge(data: bytes, chance: np.random.Generator) -> bytes:
    pattern, largest = next(found for magic, found in SIZES.items() if data.startswith(magic))
    raw = bytearray(re.sub(pattern, lambda found: found[1] + largest, data, flags=re.DOTALL))
    if raw.startswith(b"\x89PNG"):
        raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    return bytes(raw)


IMAGE_DAMAGES = (bits_flipped, cut_off, garbage, zeros_to_the_end, other_header, said_to_be_huge)


def damaged_images(trials: Trials, folder: Path) -> int:
    """How many were made: three quarters for training, in six formats and two classes."""
    count, made = trials.count(1000), 0
    for part, share in (("train", 0.75), ("val", 0.25)):
        for number in range(round(count * share)):
            kind, data = KINDS[number % len(KINDS)], io.BytesIO()
            demo.draw((part, number)).resize((160, 120)).save(data, kind)
            path = folder / part / demo.CLASSES[number % 2] / f"{number}.{kind.lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pick(IMAGE_DAMAGES, trials.chance)(data.getvalue(), trials.chance))
            made += 1
    return made


def watched(trials: Trials, name: str, wanted: int, *arguments: Any) -> tuple[str, float]:
    """Runs a command that is to end with the wanted status: its standard error and peak memory (GiB)."""
    with tempfile.TemporaryFile("w+") as heard:
        process = subprocess.Popen([sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL,
                                   stderr=heard, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        heard.seek(0)
        said, peak = heard.read(), used.ru_maxrss / GIB
    trials.check(process.returncode == wanted and "Traceback" not in said,
                 f"{name} ended with {process.returncode}: {said[-500:]}")
    trials.check(peak < 2, f"{name} took {peak:.2f} GiB")
    return said, peak


def images(trials: Trials) -> None:
    """Damaged images in six formats through packing (and training), inference and visualisation."""
    folder, model, out = (trials.place / name for name in ("damaged", "run/best.pt", "out.jsonl"))
    made = damaged_images(trials, folder)
    _, peak = watched(trials, "training", 0, "train_alexnet.py", "--data", folder, "--image-size", SIZE,
                      "--epochs", 1, "--cache", trials.place / "packed", "--out", model.parent,
                      "--device", "cpu")
    skipped = read_json(next((trials.place / "packed").glob("damaged-*/pack.json")))["skipped"]
    reasons = sum(bool(entry.partition(": ")[2].strip()) for entry in skipped)
    used = sum(read_json(model.parent / "config.json")["images"].values())
    trials.check(used + reasons == made, f"{used} packed, {reasons} left out with a reason, of {made}")
    trials.row("damaged images, packed and trained on", made, used + reasons, f"{used} could be read all the "
               f"same, {reasons} left out, each with a reason; {peak:.2f} GiB at most")

    _, peak = watched(trials, "inference", 1, "alexnet_inference.py", folder, "--model", model,
                      "--output", out)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    right = sum(bool(line["predictions"]) != bool(line["error"]) for line in lines)
    trials.check(right == len(lines) == made, f"{len(lines)} answers for {made} images")
    failed = sum(bool(line["error"]) for line in lines)
    trials.row("damaged images, classified", made, right, f"{failed} with a reason instead of an answer; "
               f"{peak:.2f} GiB at most")
    looked_into(trials, sorted(path for path in folder.rglob("*") if path.is_file()), model, failed)


def looked_into(trials: Trials, files: list[Path], model: Path, failed: int) -> None:
    """As many at once as a figure shows; what inference could not read must be left out with a reason."""
    right, unread, peak = 0, 0, 0.0
    for first in range(0, len(files), MOST):
        some, wrong = files[first:first + MOST], len(trials.wrong)
        said, used = watched(trials, "visualisation", 0, "alexnet_visualization.py", "gradient",
                             "--images", *some, "--model", model, "--out", trials.place / "inside")
        unread += sum(any(line.startswith(f"{path}: ") and line != f"{path}: " for line in said.splitlines())
                      for path in some)
        right += len(some) * (len(trials.wrong) == wrong)
        peak = max(peak, used)
    trials.check(unread == failed, f"visualisation left out {unread}, inference {failed}")
    trials.row("damaged images, looked into (gradient)", len(files), right, f"{len(files) - unread} shown, "
               f"{unread} left out with a reason; {peak:.2f} GiB at most")


# ------------------------------------------------------------------- damaged and hostile checkpoints

class Evil:
    """What runs `call` when somebody who trusts it unpickles it."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def evil_values(canary: Path) -> list[Evil]:
    """Each makes the folder `canary`, or reads it."""
    path = str(canary)
    return [Evil(os.mkdir, path), Evil(os.system, f"mkdir '{path}'"), Evil(Path.mkdir, canary),
            Evil(eval, f"__import__('os').mkdir({path!r})"), Evil(exec, f"import os; os.mkdir({path!r})"),
            Evil(torch.load, path), Evil(subprocess.check_call, ["mkdir", path])]


def hostile_values(chance: np.random.Generator) -> list[Any]:
    """`...` stands for an entry that is missing."""
    return [None, -1, 0, 2 ** 62, 1e308, float("nan"), float("inf"), "", "x" * 100_000, "../../etc", [], {},
            [None] * 3, {"a": {"b": []}}, True, torch.zeros(()), torch.zeros(3, 3),
            torch.zeros(1).expand(2 ** 40), torch.zeros(2, 2).to_sparse(), torch.ones(5, dtype=torch.int64),
            [-5, 10 ** 9], ("a",), torch.full((4,), float("nan")), int(chance.integers(2 ** 40)), [[]],
            {"format": "alexnet"}, ...]


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every entry of nested dicts and lists."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from places_in(value[key], (*path, key))


def replaced(content: Any, way: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at the end of the way; `...` takes the entry out."""
    copy = dict(content) if isinstance(content, dict) else list(content)
    if len(way) > 1:
        copy[way[0]] = replaced(content[way[0]], way[1:], new)
    elif new is ...:
        del copy[way[0]]
    else:
        copy[way[0]] = new
    return copy


def code_in_it(good: bytes, chance: np.random.Generator, content: dict[str, Any], canary: Path) -> bytes:
    """Code somewhere in a checkpoint, in four kinds of files."""
    evil, out, container = pick(evil_values(canary), chance), io.BytesIO(), int(chance.integers(4))
    if container < 2:   # the formats of torch.save, new and old
        way = pick(list(places_in(content)), chance)
        bad = evil if chance.random() < 0.2 else replaced(content, way, evil)
        torch.save(bad, out, _use_new_zipfile_serialization=container == 0)
    elif container == 2:
        pickle.dump(evil, out, protocol=int(chance.integers(0, 5)))
    else:   # a good archive with another pickle in it
        with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w") as new:
            for entry in old.infolist():
                swapped = entry.filename.endswith("data.pkl")
                new.writestr(entry.filename, pickle.dumps(evil, protocol=2) if swapped else old.read(entry))
    return out.getvalue()


def value_replaced(good: bytes, chance: np.random.Generator, content: dict[str, Any]) -> bytes:
    """Some value by another, mostly near the top or of the progress."""
    ways, out = list(places_in(content)), io.BytesIO()
    if chance.random() < 0.7:
        ways = [way for way in ways if len(way) <= 2 or way[0] == "progress"]
    torch.save(replaced(content, pick(ways, chance), pick(hostile_values(chance), chance)), out)
    return out.getvalue()


def checkpoints(trials: Trials) -> None:
    """Each in the place of last.pt: it is refused and previous.pt is taken up, or it does no harm."""
    pack, seen = small_pack(trials), Counter()
    folder, canary = trials.place / "run", trials.place / "evil-was-here"
    last, previous = folder / "last.pt", folder / "previous.pt"
    to_the_end(small_run(folder, pack))
    good, good_before = last.read_bytes(), previous.read_bytes()
    content, before = (torch.load(path, weights_only=True) for path in (last, previous))
    damages = {"bits flipped": bits_flipped, "cut off": cut_off, "garbage": garbage,
               "code in it": partial(code_in_it, content=content, canary=canary),
               "a value replaced": partial(value_replaced, content=content)}
    for number in range(trials.count(500)):
        kind = list(damages)[number % len(damages)]
        raw = damages[kind](good, trials.chance)
        last.write_bytes(raw)
        previous.write_bytes(good_before)
        run = small_run(folder, pack, epochs=3)
        wrong, refused = resumed_from(run, kind, content, before)
        last.write_bytes(raw)
        try:
            weights.read(last)
        except UserError as error:
            wrong += [repr(error)] if "\n" in str(error) else []
        except Exception as error:
            wrong.append(f"weights.read: {type(error).__name__}: {error}")
        wrong += ["code was run"] if canary.exists() else []
        trials.check(not wrong, f"{number}, {kind}: {', '.join(wrong)}")
        seen.update({(kind, "times"): 1, (kind, "right"): not wrong, (kind, "refused"): refused})
    for kind in damages:
        times, right, refused = (seen[kind, what] for what in ("times", "right", "refused"))
        trials.row(f"checkpoints: {kind}", times, right,
                   f"{refused} refused with a line, and previous.pt taken up; {times - refused} taken, since "
                   "the change fits or is not used, and trained on; nothing was run")
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB
    trials.row("memory while they were opened", 1, trials.check(peak < 2, f"{peak:.2f} GiB"),
               f"{peak:.2f} GiB at most")


def resumed_from(run: Run, kind: str, content: dict[str, Any],
                 before: dict[str, Any]) -> tuple[list[str], bool]:
    """Resumes a run whose last.pt is damaged: what is wrong then, and whether last.pt was refused."""
    heard = io.StringIO()
    try:
        with redirect_stderr(heard):
            run.restore()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"], False
    if "going on from previous.pt" in heard.getvalue():
        momentum = before["optimizer"]["state"]
        same = (run.progress.epoch == before["progress"]["epoch"] and same_weights(run, before) and all(
            torch.equal(entry["momentum_buffer"], momentum[index]["momentum_buffer"])
            for index, entry in run.optimizer.state_dict()["state"].items()))
        return [] if same else ["not what previous.pt has"], True
    # It opened: then it must be whole, or what was changed must not matter.
    if kind == "code in it":
        wrong = ["a checkpoint with code in it was taken"]
    else:
        wrong = [] if kind == "a value replaced" or same_weights(run, content) else ["other weights"]
    try:
        to_the_end(run)
    except UserError:
        pass
    except Exception as error:
        wrong.append(f"taken, then {type(error).__name__}: {error}")
    return wrong, False


def same_weights(run: Run, content: dict[str, Any]) -> bool:
    return all(torch.equal(value, content["model"][name]) for name, value in run.model.state_dict().items())


# ------------------------------------------------------------------- several processes

def processes(trials: Trials) -> None:
    """One process and torchrun with two: losses, errors, and each validation image once."""
    counts = {"train/disc": 32, "train/star": 32, "val/disc": 6, "val/star": 5}
    folder, cache = pictures(trials.place / "set", counts), ("--cache", trials.place / "packed")
    for number in (1, 2):   # an epoch is a step
        train(number, *cache, "--data", folder, "--image-size", SIZE, "--batch-size", 64, "--epochs", 20,
              "--schedule", "constant", "--precision", "fp32", "--out", trials.place / f"steps-{number}")
    losses = [[float(line["train_loss"]) for line in read_csv(trials.place / f"steps-{number}/metrics.csv")]
              for number in (1, 2)]
    apart = [abs(one - two) / one for one, two in zip(*losses, strict=True)]
    trials.check(max(apart) <= 1e-5, f"losses differ by {max(apart):.1e}")
    trials.row("losses of the first 20 steps, two processes and one", 20, sum(one <= 1e-5 for one in apart),
               f"largest difference {max(apart):.1e} of the loss")

    errors: dict[int, list[float]] = {1: [], 2: []}
    for seed in range(3):
        for number in errors:
            out = trials.place / f"demo-{number}-{seed}"
            train(number, *cache, "--image-size", SIZE, "--epochs", 6, "--seed", seed, "--out", out)
            errors[number].append(float(read_csv(out / "metrics.csv")[-1]["val_top1_error"]))
    spread = max(errors[1]) - min(errors[1])
    near = [abs(statistics.mean(errors[1]) - error) <= max(spread, 0.01) for error in errors[2]]
    trials.check(all(near), f"errors {errors}")
    alone, together = (", ".join(f"{error:.1%}" for error in errors[number]) for number in errors)
    trials.row("errors after 6 epochs, two processes", 3, sum(near),
               f"within the spread of one process's seeds: {alone} and {together}")
    evaluations(trials, folder, cache)


def evaluations(trials: Trials, folder: Path, cache: tuple[Any, ...]) -> None:
    """11 to 14 images on one process, two and three."""
    right = 0
    for extra in range(4):
        pictures(folder, {"val/disc": 1} if extra else {}, first=5 + extra)
        results = []
        for number in (1, 2, 3):
            out = trials.place / f"evaluation-{number}.json"
            train(number, *cache, "--evaluate", trials.place / "steps-1/last.pt", "--data", folder,
                  "--out", out)
            results.append([(one["images"], one["top1_error"]) for one in read_json(out)["results"]])
        for number in (2, 3):
            found = results[number - 1]
            right += trials.check(found == results[0] and found[0][0] == 11 + extra,
                                  f"{number} processes: {found}, alone {results[0]}")
    trials.row("evaluations of 11 to 14 images by two and three processes", 8, right,
               "each image counted once, the errors of one process")


# ------------------------------------------------------------------- for a long time

def long(trials: Trials) -> None:
    """20,000 steps in 500 epochs, each with its evaluation and its files; a checkpoint every second, too."""
    pack = small_pack(trials, {"train/disc": 160, "train/star": 160, "val/disc": 16, "val/star": 16})
    epochs = max(2, trials.count(500))
    every, spent, rows = max(1, epochs * 40 // 20), [], []
    begun = time.perf_counter()
    for event in small_run(trials.place / "run", pack, epochs, batch_size=8, minutes=1 / 60).train():
        if event == BATCH_DONE:
            spent.append(time.perf_counter() - begun)
            if len(spent) % every == 0:
                rows.append(measured(len(spent), spent[-every:]))
        if event in (BATCH_DONE, EPOCH_BEGINS):
            begun = time.perf_counter()
    first, last = rows[len(rows) // 10], rows[-1]   # what is allocated once, is by then
    memory = last["mebibytes"] - first["mebibytes"]
    files = max(last[what] - first[what] for what in ("files", "threads"))
    slower = (statistics.median(line["milliseconds"] for line in rows[-5:])
              / statistics.median(line["milliseconds"] for line in rows[:5]))
    trials.row(f"memory after {last['steps']:,} steps", 1,
               trials.check(memory < 20, f"memory grew by {memory:.1f} MiB"),
               f"{first['mebibytes']:.0f} MiB after {first['steps']:,} steps, "
               f"{last['mebibytes']:.0f} at the end")
    trials.row("open files and threads", 1, trials.check(files <= 0, f"{files} more files or threads"),
               f"{first['files']} and {last['files']} files; "
               f"{first['threads']} and {last['threads']} threads")
    trials.row("time of a step", 1, trials.check(slower < 1.1, f"steps take {slower:.2f} times as long"),
               f"the last quarter takes {slower:.2f} times what the first takes (medians)")
    trials.curve = rows


def measured(steps: int, seconds: list[float]) -> dict[str, Any]:
    """Memory, open files and threads of this process, and the median time of a step."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2 ** 20
    found = {"steps": steps, "mebibytes": round(resident, 1), "files": len(os.listdir("/proc/self/fd")),
             "threads": len(os.listdir("/proc/self/task")),
             "milliseconds": round(1000 * statistics.median(seconds), 3)}
    print(found, file=sys.stderr, flush=True)
    return found


# ------------------------------------------------------------------- the pages

SECTIONS: dict[str, Callable[[Trials], None]] = {
    "kills": partial(training, processes=1, times=150),
    "kills_torchrun": partial(training, processes=2, times=50),
    "packing": packing, "disk": disk, "images": images, "checkpoints": checkpoints, "processes": processes,
    "long": long}


def write_pages(folder: Path = HERE) -> None:
    """README.md and README.zh-CN.md, from the JSON files that are there."""
    titles, says, words = (texts(HERE / f"{name}.json") for name in ("titles", "what-was-done", "words"))
    found = {name: read_json(path) for name in SECTIONS if (path := folder / f"{name}.json").exists()}
    times, right = Text("trials", "次数"), Text("as expected", "符合预期")
    fill(folder, "summary", table([Text("what was done", "做了什么"), times, right], [
        row(titles[name], *(f"{sum(line[key] for line in content['rows']):,}" for key in ("times", "right")))
        for name, content in found.items()]))
    lines: list[Text | str] = []
    for name, content in found.items():
        lines += [heading(titles[name]), "", says[name], "", *table(
            [Text("case", "情形"), times, right, Text("observed", "观察到")],
            [row(worded(line["what"], words), f"{line['times']:,}", f"{line['right']:,}",
                 worded(line["seen"], words)) for line in content["rows"]])]
        lines += [*(say("- not as expected: {}", "- 不符合预期：{}", wrong) for wrong in content["wrong"]),
                  *([""] if content["wrong"] else [])]
        lines += [worded(content["remark"], words), ""] if "remark" in content else []   # entered by hand
        facts = [worded(str(content[key]), words) for key in ("command", "seed", "date", "commit")]
        lines += [say("`{}`; seed {}, {}, commit {}, {} cores, {:.0f} minutes.",
                      "`{}`；种子 {}，{}，提交 {}，{} 个核，{:.0f} 分钟。",
                      *facts, content["machine"]["cores"], content["seconds"] / 60), ""]
    fill(folder, "sections", lines)


def commit() -> str:
    """Which version of the code was tried."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + (
        " and changes" if git("status", "--porcelain", "-uno", "alexnet", "*.py") else "")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m results.faults", description=__doc__.split("\n\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION",
                        help=f"{', '.join(SECTIONS)}, or table, which only writes the pages (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument("--part", type=float, default=1.0, metavar="F",
                        help="of each count; below 1 nothing is kept")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.sections if name not in (*SECTIONS, "table")]:
        parser.error(f"there is no section {', '.join(unknown)}")
    failed = False
    for name in [name for name in options.sections or SECTIONS if name != "table"]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="faults-") as place:
            trials = Trials(Path(place), options.seed, options.part)
            SECTIONS[name](trials)
        failed |= bool(trials.wrong) or any(line["right"] < line["times"] for line in trials.rows)
        if options.part == 1:
            write_json(HERE / f"{name}.json", {
                "command": f"python -m results.faults {name}", "commit": commit(), "seed": options.seed,
                "date": date.today().isoformat(), "machine": machine(),
                "seconds": round(time.monotonic() - begun, 1), "rows": trials.rows, "wrong": trials.wrong,
                **({"curve": trials.curve} if trials.curve else {})})
    if options.part == 1:
        write_pages()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
