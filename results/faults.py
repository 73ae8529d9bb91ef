"""What is lost when things go wrong: `python -m results.faults [SECTION...]`.

Real processes are killed, disks filled, images and checkpoints damaged, and what is left is compared
with what it should be. Each section writes its JSON to results/faults/; the table (README.md) there is
made from all of them.

    python -m results.faults                   all sections, an hour and a half on two cores
    python -m results.faults images disk       these two
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
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import torch
from PIL import Image

import alexnet_inference
import alexnet_visualization
import train_alexnet
from alexnet import checkpoint, demo, figures, weights
from alexnet.pack import Pack, open_pack, packed
from alexnet.sources import find_source
from alexnet.files import UserError, read_csv, read_json, write_csv, write_json, write_text
from alexnet.model import AlexNet
from alexnet.settings import Settings
from alexnet.training import BATCH_DONE, EPOCH_BEGINS, Run
from results.units import machine

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent / "faults"
CPU = torch.device("cpu")
SIZE = 36   # the smallest images: the network is the usual one, only its maps are small


@dataclass
class Section:
    """What a section tried, how often, and how often all was as it should be."""

    place: Path                    # a folder for what it makes
    seed: int
    part: float                    # of the counts
    rows: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = np.random.default_rng(self.seed)

    def count(self, times: int) -> int:
        return max(1, round(times * self.part))

    def row(self, what: str, times: int, right: int, seen: str) -> None:
        self.rows.append({"what": what, "times": times, "right": right, "seen": seen})
        print(f"{what}: {right} of {times}. {seen}", file=sys.stderr, flush=True)

    def check(self, right: bool, what: str) -> bool:
        """Whether it is right; if not, it is kept in the JSON."""
        if not right:
            self.wrong.append(what)
            print(f"WRONG: {what}", file=sys.stderr, flush=True)
        return right


def pictures(folder: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Class folders of drawn pictures: {"train/disc": 5, ...}."""
    for name, count in counts.items():
        part, kind = name.split("/")
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(first, first + count):
            demo.draw((part, index * 10 + demo.CLASSES.index(kind))).save(folder / name / f"{index}.png")
    return folder


def small_run(folder: Path, pack: Pack, epochs: int = 2, batch_size: int = 16, seed: int = 0, minutes: float = 5.0) -> Run:
    """A run of the usual network with 64 instead of 4,096 units in fc6 and fc7."""
    return Run(folder, Settings(
        data="drawn", variant="as-trained", image_size=SIZE, val_fraction=None, epochs=epochs, batch_size=batch_size,
        lr=0.002, momentum=0.9, weight_decay=5e-4, warmup=0, schedule="constant", color_noise=0.1, seed=seed,
        precision="fp32", changes={"hidden": 64}), pack, CPU, minutes=minutes)


def small_pack(section: Section, counts: dict[str, int] | None = None) -> Pack:
    counts = counts or {"train/disc": 40, "train/star": 40, "val/disc": 9, "val/star": 8}
    folder = pictures(section.place / "drawn", counts)
    return packed(find_source(str(folder)), SIZE, section.place / "packed", quiet=True)


def command(main: Callable[[list[str]], None], *arguments: Any) -> tuple[int, str]:
    """A script's main() in this process: its status and what it wrote to standard error."""
    heard, status = io.StringIO(), 0
    with redirect_stderr(heard), redirect_stdout(io.StringIO()):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code or 0
    return status, heard.getvalue()


# ------------------------------------------------------------------- killed in training

def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text().rpartition(")")[2].split()[1])
        except OSError:   # it has just ended
            continue
        children.setdefault(parent, []).append(int(place.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def kill(pids: list[int]) -> None:
    """As the system kills: nothing can be tidied up."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while any(alive(pid) for pid in pids):
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def where(run: Path) -> tuple[int, int] | None:
    """Epochs and batches that are done, by the newest checkpoint; None if there is none."""
    path = next((path for path in (run / "last.pt", run / "previous.pt") if path.exists()), None)
    progress = torch.load(path, weights_only=True)["progress"] if path else None
    return progress and (progress["epoch"], progress["batch"])


def being_written(folder: Path) -> bool:
    return any(folder.glob(".*.part"))


def all_whole(section: Section, folder: Path) -> bool:
    """Whether every file of a run opens, and metrics.csv has each epoch once."""
    try:
        for path in folder.glob("[!.]*"):
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".csv":
                epochs = [int(row["epoch"]) for row in read_csv(path)]
                if epochs != list(range(1, len(epochs) + 1)):
                    return section.check(False, f"{path.name} has the epochs {epochs}")
            elif path.suffix == ".png":
                Image.open(path).load()
            else:
                checkpoint.read(path)
    except Exception as error:
        return section.check(False, f"{folder.name}: {type(error).__name__}: {error}")
    return True


def same_end(one: Path, two: Path) -> str:
    """What differs between the ends of two runs besides seconds; empty if they are the same bit by bit."""
    a, b = (torch.load(folder / "last.pt", weights_only=True) for folder in (one, two))
    different = [name for name in a["model"] if not torch.equal(a["model"][name], b["model"][name])]
    different += [f"momentum {index}" for index, entry in a["optimizer"]["state"].items()
                  if not torch.equal(entry["momentum_buffer"], b["optimizer"]["state"][index]["momentum_buffer"])]
    rows = [[{name: value for name, value in row.items() if "second" not in name} for row in read_csv(folder / "metrics.csv")]
            for folder in (one, two)]
    different += ["metrics.csv"] if rows[0] != rows[1] else []
    best = [torch.load(folder / "best.pt", weights_only=True)["model"] for folder in (one, two)]
    return ", ".join(different + [f"best {name}" for name in best[0] if not torch.equal(best[0][name], best[1][name])])


def training(section: Section, processes: int, times: int) -> None:
    """Kills at random moments, half of them while a file is being written; each time --resume."""
    wanted, kills, ends, right, seed = section.count(times), 0, 0, 0, section.seed
    in_writing = one_of_two = within = 0
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    start = [sys.executable, *launch, str(ROOT / "train_alexnet.py"), "--cache", str(section.place / "packed"),
             "--device", "cpu", "--checkpoint-minutes", "0.02"]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}   # as many threads on both sides: the same bits
    while kills < wanted:
        straight, run = (section.place / f"{name}-{processes}-{seed}" for name in ("straight", "killed"))
        new = [*start, "--image-size", str(SIZE), "--batch-size", "64", "--epochs", "4", "--seed", str(seed)]
        subprocess.run([*new, "--out", straight], check=True, capture_output=True, env=surroundings)
        while True:
            resume = (run / "config.json").exists()
            expected = where(run)
            process = subprocess.Popen(
                [*start, "--resume", run] if resume else [*new, "--out", run], text=True, env=surroundings,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            line = next((line for line in process.stdout if line.startswith(("AlexNet", str(run)))), "")
            if not section.check(bool(line), f"{run.name} did not start"):
                return
            if expected:
                going_on = next(process.stdout, "") and next(process.stdout, "").strip()
                said = f"going on in epoch {expected[0] + 1}, batch {expected[1] + 1}"
                section.check(going_on == said or line.startswith(str(run)), f"{run.name}: {going_on!r} instead of {said!r}")
                within += expected[1] > 0
            until = time.monotonic() + section.chance.uniform(0, 4)
            while (time.monotonic() < until or kills >= wanted) and process.poll() is None:   # enough: to the end
                time.sleep(0.001)
            while kills % 2 and process.poll() is None and not being_written(run):
                time.sleep(0.001)
            if process.poll() is not None:
                break
            in_writing += being_written(run)
            relatives = family(process.pid)
            if len(relatives) > 2 and section.chance.random() < 0.5:   # torchrun ends the other
                kill(relatives[1:2])
                one_of_two += 1
                process.wait()
            kill(relatives)
            process.wait()
            kills += 1
            right += all_whole(section, run)
            if kills % 10 == 0:
                print(f"{kills} kills", file=sys.stderr, flush=True)
        section.check(process.returncode == 0, f"{run.name} ended with {process.returncode}")
        different = same_end(straight, run)
        rest = [path.name for path in run.glob(".*")]
        section.check(not rest, f"{run.name}: {', '.join(rest)} is left over")
        ends += section.check(not different, f"{run.name} ends otherwise than the run that was never killed: {different}")
        shutil.rmtree(straight)
        shutil.rmtree(run)
        seed += 1
    runs = seed - section.seed
    who = "training, one process" if processes == 1 else f"training, torchrun with {processes} processes"
    section.row(f"kill -9 in {who}", kills, right, "every file whole after each kill, and each time it went on from the last batch "
                f"that was written, {within} times within an epoch; {in_writing} kills while a file was being written" + (f", {one_of_two} of one process alone" if processes > 1 else ""))
    section.row(f"runs that were killed and resumed to the end, {who.split(', ')[1]}", runs, ends,
                "weights, momentum, best.pt and metrics.csv equal those of the run never killed, bit by bit")


def kills(section: Section) -> None:
    training(section, 1, 150)


def kills_torchrun(section: Section) -> None:
    training(section, 2, 50)


# ------------------------------------------------------------------- killed in packing

def pack_it(folder: Path, cache: Path) -> None:
    packed(find_source(str(folder)), 64, cache, quiet=True, threads=2)


def in_child(folder: Path, cache: Path) -> multiprocessing.Process:
    child = multiprocessing.get_context("fork").Process(target=pack_it, args=(folder, cache))
    child.start()
    return child


def equal(one: Pack, two: Pack) -> bool:
    return all(np.array_equal(one.images[part], two.images[part]) and np.array_equal(one.labels[part], two.labels[part])
               for part in one.images) and np.array_equal(one.mean, two.mean) and (
        (one.identity, one.classes, one.skipped) == (two.identity, two.classes, two.skipped)
        and np.array_equal(one.covariance, two.covariance))


def packing(section: Section) -> None:
    """Kills while a pack is made or replaced by that of changed images, alone or with two at once."""
    folder = pictures(section.place / "source", {"train/disc": 150, "train/star": 150, "val/disc": 50, "val/star": 50})
    changing = folder / "train/disc/7.png"
    contents = [changing.read_bytes(), (folder / "train/star/9.png").read_bytes()]

    def change(version: int) -> None:
        changing.write_bytes(contents[version])
        os.utime(changing, (1e9 + version, 1e9 + version))

    expected, seconds = [], 0.0
    for version in (0, 1):
        change(version)
        start = time.monotonic()
        expected.append(packed(find_source(str(folder)), 64, section.place / f"expected-{version}", quiet=True, threads=2))
        seconds = time.monotonic() - start
    cache = section.place / "cache"
    place = cache / expected[0].folder.name
    for packers, times in ((1, section.count(100)), (2, section.count(50))):
        right = replacing = finished = 0
        print(f"packing takes {seconds:.1f} s", file=sys.stderr)
        for number in range(times):
            version = number % 2
            change(version)
            if number % 3 == 0:
                shutil.rmtree(cache, ignore_errors=True)
            before = place.exists()
            replacing += before
            children = [in_child(folder, cache) for _ in range(packers)]
            time.sleep(section.chance.uniform(0, 1.1 * seconds))
            finished += not children[0].is_alive()
            children[0].kill()
            for child in children:
                child.join()
            good = section.check(not any(child.exitcode for child in children[1:]), "the other packer failed")
            if place.exists():
                found = open_pack(place)
                allowed = expected if packers == 1 else [expected[version]]   # the other has finished
                good &= section.check(any(equal(found, one) for one in allowed), f"kill {number}: a wrong pack")
            elif packers == 2:
                good = section.check(False, f"kill {number}: the other packer left nothing")
            again = in_child(folder, cache)
            again.join()
            good &= section.check(again.exitcode == 0 and equal(open_pack(place), expected[version]),
                                  f"kill {number}: not completed afterwards")
            rest = [path.name for path in cache.glob(".*")]
            right += good and section.check(not rest, f"kill {number}: {', '.join(rest)} is left over")
        section.row("kill -9 in packing" + (", two packers at once" if packers == 2 else ""), times, right,
                    f"the pack is whole or absent, and whole after the next call, with nothing left over; {replacing} kills "
                    f"while an older pack was there, {finished} after the end")


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


def scripted(main: Callable[[list[str]], None], *arguments: Any) -> None:
    """A script's main(); what it says before it ends with status 2 is a UserError's line."""
    status, heard = command(main, *arguments)
    if status == 2 and "Traceback" not in heard:
        raise UserError(heard.splitlines()[-1])
    if status:
        raise RuntimeError(f"status {status}: {heard}")


@dataclass
class Write:
    """A kind of write on the small disk."""

    call: Callable[[], None]
    target: Path
    about: int = 0                                # bytes that it needs, where there is nothing yet to go by
    prepare: Callable[[], Any] = lambda: None     # what has to come before


def run_writes(folder: Path, run: Run) -> dict[str, Write]:
    """What training writes into a run's folder."""
    rows = run.progress.rows * 300
    return {
        "last.pt": Write(run.save, folder / "run/last.pt"),
        "best.pt": Write(lambda: run.save("best.pt"), folder / "run/best.pt"),
        "metrics.csv": Write(lambda: write_csv(folder / "run/metrics.csv", rows), folder / "run/metrics.csv"),
        "config.json": Write(lambda: write_json(folder / "run/config.json", rows), folder / "run/config.json", 2 ** 16),
        "curves.png": Write(lambda: figures.training_curves(run.progress.rows, folder / "run/curves.png", "x"),
                            folder / "run/curves.png")}


def script_writes(folder: Path, source: Path, cache: Path, torchvision: Path) -> dict[str, Write]:
    """What the scripts write: packs, runs, answers, pictures, weights."""
    model, fresh = folder / "run/best.pt", itertools.count()

    def classify(*more: Any) -> Callable[[], None]:
        return lambda: scripted(alexnet_inference.main, source / "val", "--model", model, *more)

    def five_lines() -> None:
        if (folder / "out.jsonl").exists():
            (folder / "out.jsonl").write_text("".join((folder / "out.jsonl").read_text().splitlines(True)[:5]))

    def new_run() -> None:
        scripted(train_alexnet.main, "--data", source, "--image-size", SIZE, "--epochs", 1, "--quiet", "--device", "cpu",
                 "--cache", cache, "--out", folder / f"new-{next(fresh)}")

    def exported(source: Path, suffix: str) -> Callable[[], None]:
        return lambda: scripted(weights.main, source, folder / f"export-{next(fresh)}{suffix}")

    return {
        "a pack": Write(lambda: packed(find_source(str(source)), 224, folder / "cache", quiet=True), folder / "cache", 2 ** 22,
                        (source / "train/disc/0.png").touch),
        "a new run": Write(new_run, folder / "new", 240 * 2 ** 20),
        "answers.csv": Write(classify("--output", folder / "out.csv"), folder / "out.csv", 2 ** 10),
        "answers.json": Write(classify("--output", folder / "out.json"), folder / "out.json", 2 ** 11),
        "answers.jsonl, resumed": Write(classify("--output", folder / "out.jsonl", "--resume"), folder / "out.jsonl", 2 ** 11,
                                        five_lines),
        "features.npz": Write(classify("--features", "fc7", "--output", folder / "out.npz"), folder / "out.npz", 2 ** 12),
        "a panel": Write(classify("--panel", folder / "panel.png"), folder / "panel.png", 2 ** 16),
        "errors against the truth": Write(classify("--truth", "--output", folder / "truth/out.csv"), folder / "truth", 2 ** 14),
        "pictures of filters": Write(lambda: scripted(alexnet_visualization.main, "filters", "--model", model, "--out",
                                                      folder / "inside"), folder / "inside", 2 ** 17),
        "weights as .safetensors": Write(exported(model, ".safetensors"), folder / "export", 2 ** 23),
        "weights as .onnx": Write(exported(model, ".onnx"), folder / "export", 2 ** 23),
        "weights as .pth": Write(exported(torchvision, ".pth"), folder / "export", 2 ** 27)}


def refused(section: Section, name: str, write: Write, folder: Path, kind: str, half: bool) -> bool:
    """Whether a write that finds no space, or half of what it needs, says so and leaves all as it was."""
    write.prepare()
    needed = sum(map(len, state(write.target).values())) if write.target.is_dir() else \
        write.target.stat().st_size if write.target.exists() else write.about
    before, message = state(folder), ""
    try:
        with no_space(folder, kind, needed // 2 if half else 0):
            write.call()
    except UserError as error:
        message = str(error)
    except Exception as error:
        message = f"{type(error).__name__}: {error}\n"
    after = state(folder)
    kept = {path: content for path, content in after.items() if path in before}
    if "jsonl" in name and "out.jsonl" in kept:   # it grows
        kept["out.jsonl"] = kept["out.jsonl"][:len(before["out.jsonl"])]
    fine = section.check(kept == before, f"{name}: what was there is not there any more")
    rest = [path for path in after if Path(path).name.startswith(".")]
    fine &= section.check(not rest, f"{name}: {', '.join(rest)} is left over")
    if message or not (half or "jsonl" in name):   # half of the guess, or the last page, may have been enough
        told = "cannot write" in message or "GiB free" in message   # a pack is refused beforehand
        fine &= section.check(told and "\n" not in message, f"{name}: {message!r}")
    return fine


def disk(section: Section) -> None:
    """Each kind of write, with no space at all and with half of what it needs; then with space."""
    pack, folder = small_pack(section), section.place / "disk"
    torchvision = section.place / "torchvision.pt"
    checkpoint.save(torchvision, weights_of("torchvision"), {})
    with small_disk(folder, 700) as kind:
        run = small_run(folder / "run", pack)
        run.train()
        writes = run_writes(folder, run) | script_writes(folder, section.place / "drawn", section.place / "packed", torchvision)
        for name, write in writes.items():
            right = 0
            for _ in range(2):   # the first time there is nothing, or what the run left; then what was written
                right += sum(refused(section, name, write, folder, kind, half) for half in (False, True))
                write.prepare()
                write.call()   # with space it goes on
                if "jsonl" in name:
                    lines = (folder / "out.jsonl").read_text().splitlines()
                    right -= not section.check(len({json.loads(line)["path"] for line in lines}) == len(lines) == 17,
                                               f"{name}: {len(lines)} lines")
            for path in [*folder.glob("new-*"), *folder.glob("export-*")]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            section.row(f"disk full: {name}", 4, right, f"{kind}: one line, what was there is as it was, nothing left over")


def weights_of(variant: str) -> AlexNet:
    model = AlexNet(2, 224, variant).eval()
    model.classes = ["a", "b"]
    return model


# ------------------------------------------------------------------- damaged images

KINDS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")


def damaged(data: bytes, chance: np.random.Generator) -> bytes:
    """Bits flipped, a part cut off, a block of garbage, zeros at the end, another header, a huge picture."""
    raw, way = bytearray(data), chance.integers(6)
    if way == 5:   # it says that it is huge, if its format is one of those
        for magic, place, length, order in ((b"BM", 18, 4, "little"), (b"GIF8", 6, 2, "little"), (b"\x89PNG", 16, 4, "big")):
            if raw.startswith(magic):
                raw[place:place + 2 * length] = min(2 ** 16 - 1, 2 ** (8 * length) - 1).to_bytes(length, order) * 2
        if raw.startswith(b"\x89PNG"):
            raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
        return bytes(raw)
    if way == 0:
        for place in chance.integers(0, len(raw), 1 + int(chance.integers(64))):
            raw[place] ^= 1 << int(chance.integers(8))
    elif way == 1:
        raw = raw[:int(chance.integers(len(raw)))]
    elif way == 2:
        first, length = int(chance.integers(len(raw))), int(chance.integers(1, 2000))
        raw[first:first + length] = chance.bytes(length)
    elif way == 3:
        first = int(chance.integers(len(raw)))
        raw[first:] = bytes(len(raw) - first)
    else:   # the first bytes say how large it is
        for place in chance.integers(0, 64, 4):
            raw[place] = int(chance.integers(256))
    return bytes(raw)


def peak_of(arguments: list[Any]) -> tuple[int, str, float]:
    """Status, standard error and peak memory (GiB) of a command."""
    with tempfile.TemporaryFile("w+") as heard:
        process = subprocess.Popen([sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=heard, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        heard.seek(0)
        return process.returncode, heard.read(), used.ru_maxrss / 2 ** 20


def images(section: Section) -> None:
    """Damaged images in six formats through packing (and training), inference and visualisation."""
    count, folder = section.count(1000), section.place / "damaged"
    made = 0
    for part, share in (("train", 0.75), ("val", 0.25)):
        for number in range(round(count * share)):
            kind = KINDS[number % len(KINDS)]
            data = io.BytesIO()
            demo.draw((part, number)).resize((160, 120)).save(data, kind)
            path = folder / part / demo.CLASSES[number % 2] / f"{number}.{kind.lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(damaged(data.getvalue(), section.chance))
            made += 1
    status, heard, peak = peak_of(["train_alexnet.py", "--data", folder, "--image-size", SIZE, "--epochs", 1, "--cache",
                                   section.place / "packed", "--out", section.place / "run", "--device", "cpu"])
    section.check(status == 0 and "Traceback" not in heard, f"training ended with {status}: {heard[-500:]}")
    about = read_json(next((section.place / "packed").glob("damaged-*/pack.json")))
    packed_images = sum(read_json(section.place / "run/config.json")["images"].values())
    reasons = [entry for entry in about["skipped"] if len(entry.split(": ", 1)) == 2 and entry.split(": ", 1)[1].strip()]
    right = packed_images + len(reasons)
    section.check(peak < 2, f"training took {peak:.2f} GiB")
    section.check(right == made, f"{packed_images} packed, {len(reasons)} left out with a reason, of {made}")
    section.row("damaged images, packed and trained on", made, right, f"{packed_images} could be read all the same, "
                f"{len(reasons)} left out, each with a reason; {peak:.2f} GiB at most")

    model, out = section.place / "run/best.pt", section.place / "out.jsonl"
    status, heard, peak = peak_of(["alexnet_inference.py", folder, "--model", model, "--output", out])
    section.check(status == 1 and "Traceback" not in heard, f"inference ended with {status}: {heard[-500:]}")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    right = sum(bool(line["predictions"]) != bool(line["error"]) for line in lines)
    section.check(peak < 2, f"inference took {peak:.2f} GiB")
    section.check(right == len(lines) == made, f"{len(lines)} answers for {made} images")
    failed = sum(bool(line["error"]) for line in lines)
    section.row("damaged images, classified", made, right, f"{failed} with a reason instead of an answer; {peak:.2f} GiB at most")

    files, right, shown, refused = sorted(path for path in folder.rglob("*") if path.is_file()), 0, 0, 0
    peak = 0.0
    for first in range(0, len(files), 100):
        some = files[first:first + 100]
        status, heard, used = peak_of(["alexnet_visualization.py", "gradient", "--images", *some, "--model", model,
                                       "--out", section.place / "inside"])
        unread = sum(any(line.startswith(f"{path}: ") and len(line) > len(f"{path}: ") for line in heard.splitlines())
                     for path in some)
        fine = section.check(status == 0 and "Traceback" not in heard, f"visualisation ended with {status}: {heard[-500:]}")
        right += len(some) * fine
        refused, shown, peak = refused + unread, shown + len(some) - unread, max(peak, used)
    section.check(peak < 2, f"visualisation took {peak:.2f} GiB")
    section.check(refused == failed, f"visualisation left out {refused}, inference {failed}")
    section.row("damaged images, looked into (gradient)", made, right, f"{shown} shown, {refused} left out with a reason; "
                f"{peak:.2f} GiB at most")


# ------------------------------------------------------------------- damaged and hostile checkpoints

class Evil:
    """What runs `call` when it is unpickled by somebody who trusts it."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def hostile_values(chance: np.random.Generator) -> list[Any]:
    return [None, -1, 0, 2 ** 62, 1e308, float("nan"), float("inf"), "", "x" * 100_000, "../../etc", [], {}, [None] * 3,
            {"a": {"b": []}}, True, torch.zeros(()), torch.zeros(3, 3), torch.zeros(1).expand(2 ** 40),
            torch.zeros(2, 2).to_sparse(), torch.ones(5, dtype=torch.int64), [-5, 10 ** 9], ("a",),
            torch.full((4,), float("nan")), int(chance.integers(2 ** 40)), [[]], {"format": "alexnet"}]


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


def hostile(good: bytes, content: dict[str, Any], canary: Path, chance: np.random.Generator, number: int) -> tuple[str, bytes]:
    """A kind of damage and the file that has it."""
    out = io.BytesIO()
    kind = ("bits flipped", "cut off", "garbage", "code in it", "a value replaced")[number % 5]
    raw = bytearray(good)
    if kind == "bits flipped":
        for place in chance.integers(0, len(raw), 1 + int(chance.integers(8))):
            raw[place] ^= 1 << int(chance.integers(8))
    elif kind == "cut off":
        raw = raw[:int(chance.integers(len(raw)))] if chance.random() < 0.7 else raw[int(chance.integers(1, len(raw))):]
    elif kind == "garbage":
        first, length = int(chance.integers(len(raw))), int(chance.integers(1, 100_000))
        raw[first:first + length] = chance.bytes(length) if chance.random() < 0.7 else bytes(length)
    elif kind == "code in it":
        evil = [Evil(os.mkdir, str(canary)), Evil(os.system, f"mkdir '{canary}'"), Evil(eval, f"__import__('os').mkdir({str(canary)!r})"),
                Evil(exec, f"import os; os.mkdir({str(canary)!r})"), Evil(Path.mkdir, canary), Evil(torch.load, str(canary)),
                Evil(subprocess.check_call, ["mkdir", str(canary)])][int(chance.integers(7))]
        ways = [way for way in places_in(content)]
        bad = evil if chance.random() < 0.2 else replaced(content, ways[int(chance.integers(len(ways)))], evil)
        container = int(chance.integers(4))
        if container == 0:
            torch.save(bad, out)
        elif container == 1:
            torch.save(bad, out, _use_new_zipfile_serialization=False)
        elif container == 2:
            pickle.dump(evil, out, protocol=int(chance.integers(0, 5)))
        else:   # a good archive with another pickle in it
            pickled = pickle.dumps(evil, protocol=2)
            with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w") as new:
                for entry in old.infolist():
                    new.writestr(entry.filename, pickled if entry.filename.endswith("data.pkl") else old.read(entry))
        return kind, out.getvalue()
    else:
        ways = [way for way in places_in(content)]
        short = [way for way in ways if len(way) <= 2 or way[0] == "progress"]
        ways = short if chance.random() < 0.7 else ways
        values = [*hostile_values(chance), ...]
        torch.save(replaced(content, ways[int(chance.integers(len(ways)))], values[int(chance.integers(len(values)))]), out)
        return kind, out.getvalue()
    return kind, bytes(raw)


def checkpoints(section: Section) -> None:
    """Each in the place of last.pt: it is refused and previous.pt is taken up, or it does no harm."""
    pack, times = small_pack(section), section.count(500)
    folder, canary = section.place / "run", section.place / "evil-was-here"
    small_run(folder, pack).train()
    good, content = (folder / "last.pt").read_bytes(), torch.load(folder / "last.pt", weights_only=True)
    previous, before = (folder / "previous.pt").read_bytes(), torch.load(folder / "previous.pt", weights_only=True)
    tally: dict[str, list[int]] = {}
    for number in range(times):
        kind, raw = hostile(good, content, canary, section.chance, number)
        counts = tally.setdefault(kind, [0, 0, 0])
        counts[0] += 1
        (folder / "last.pt").write_bytes(raw)
        (folder / "previous.pt").write_bytes(previous)
        run = small_run(folder, pack, epochs=3)
        heard, fine = io.StringIO(), True
        try:
            with redirect_stderr(heard):
                run.restore()
        except Exception as error:
            fine = section.check(False, f"{number}, {kind}: {type(error).__name__}: {error}")
        fell_back = "going on from previous.pt" in heard.getvalue()
        if fell_back:
            fine &= section.check(run.progress.epoch == before["progress"]["epoch"] and all(
                torch.equal(value, before["model"][name]) for name, value in run.model.state_dict().items()) and all(
                torch.equal(entry["momentum_buffer"], before["optimizer"]["state"][index]["momentum_buffer"])
                for index, entry in run.optimizer.state_dict()["state"].items()), f"{number}, {kind}: not what previous.pt has")
        if fine and not fell_back:   # it opened: then it must be whole, or what was changed must not matter
            counts[2] += 1
            if kind == "code in it":
                fine = section.check(False, f"{number}: a checkpoint with code in it was taken")
            elif kind != "a value replaced":
                fine = section.check(all(torch.equal(value, content["model"][name])
                                         for name, value in run.model.state_dict().items()), f"{number}, {kind}: other weights")
            try:
                run.train()
            except UserError:
                pass
            except Exception as error:
                fine = section.check(False, f"{number}, {kind}: taken, then {type(error).__name__}: {error}")
        fine &= section.check(not canary.exists(), f"{number}, {kind}: code was run")
        try:
            (folder / "last.pt").write_bytes(raw)
            weights.read(folder / "last.pt")
        except UserError as error:
            fine &= section.check("\n" not in str(error), f"{number}: {error!r}")
        except Exception as error:
            fine = section.check(False, f"{number}, {kind}: weights.read: {type(error).__name__}: {error}")
        counts[1] += fine and not canary.exists()
    for kind, (count, right, taken) in tally.items():
        section.row(f"checkpoints: {kind}", count, right, f"{count - taken} refused with a line, and previous.pt taken up; "
                    f"{taken} taken, since the change fits or is not used, and trained on; nothing was run")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
    section.row("memory while they were opened", 1, int(section.check(peak < 2, f"{peak:.2f} GiB")), f"{peak:.2f} GiB at most")


# ------------------------------------------------------------------- several processes

def processes(section: Section) -> None:
    """One process and torchrun with two: losses, errors, and each validation image once."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    script = str(ROOT / "train_alexnet.py")

    def start(number: int, *arguments: Any) -> None:
        launch = [sys.executable, *([*torchrun, str(number)] if number > 1 else []), script]
        subprocess.run([*launch, "--device", "cpu", "--cache", section.place / "packed", *map(str, arguments)], check=True,
                       capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True)

    folder = pictures(section.place / "set", {"train/disc": 32, "train/star": 32, "val/disc": 6, "val/star": 5})
    for number in (1, 2):   # an epoch is a step
        start(number, "--data", folder, "--image-size", SIZE, "--batch-size", 64, "--epochs", 20, "--schedule", "constant",
              "--precision", "fp32", "--out", section.place / f"steps-{number}")
    losses = [[float(row["train_loss"]) for row in read_csv(section.place / f"steps-{number}/metrics.csv")] for number in (1, 2)]
    apart = [abs(one - two) / one for one, two in zip(*losses, strict=True)]
    section.check(max(apart) <= 1e-5, f"losses differ by {max(apart):.1e}")
    section.row("losses of the first 20 steps, two processes and one", 20, sum(one <= 1e-5 for one in apart),
                f"largest difference {max(apart):.1e} of the loss")

    errors: dict[int, list[float]] = {1: [], 2: []}
    for seed in range(3):
        for number in errors:
            out = section.place / f"demo-{number}-{seed}"
            start(number, "--image-size", SIZE, "--epochs", 6, "--seed", seed, "--out", out)
            errors[number].append(float(read_csv(out / "metrics.csv")[-1]["val_top1_error"]))
    spread = max(errors[1]) - min(errors[1])
    near = [abs(statistics.mean(errors[1]) - error) <= max(spread, 0.01) for error in errors[2]]
    section.check(all(near), f"errors {errors}")
    section.row("errors after 6 epochs, two processes", 3, sum(near), "within the spread of one process's seeds: " + " and ".join(
        ", ".join(f"{error:.1%}" for error in errors[number]) for number in (1, 2)))

    right = times = 0
    for extra in range(4):   # 11 to 14 images on 2 and 3 processes
        pictures(folder, {"val/disc": 1} if extra else {}, first=5 + extra)
        results = []
        for number in (1, 2, 3):
            out = section.place / f"evaluation-{number}.json"
            start(number, "--evaluate", section.place / "steps-1/last.pt", "--data", folder, "--out", out)
            results.append(read_json(out)["results"])
        for number, found in zip((2, 3), results[1:]):
            times += 1
            same = [(one["images"], one["top1_error"]) for one in found] == [(one["images"], one["top1_error"]) for one in results[0]]
            right += section.check(same and found[0]["images"] == 11 + max(0, extra),
                                   f"{number} processes: {found}, alone {results[0]}")
    section.row("evaluations of 11 to 14 images by two and three processes", times, right, "each image counted once, the errors of one process")


# ------------------------------------------------------------------- for a long time

class Meter:
    """Memory, open files and seconds every thousand steps."""

    def __init__(self, every: int) -> None:
        self.every, self.steps, self.rows, self.start = every, 0, [], time.perf_counter()
        self.spent: list[float] = []

    def step(self) -> None:
        now = time.perf_counter()
        self.spent.append(now - self.start)
        self.start, self.steps = now, self.steps + 1
        if self.steps % self.every == 0:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2 ** 20
            self.rows.append({"steps": self.steps, "mebibytes": round(resident, 1), "files": len(os.listdir("/proc/self/fd")),
                              "threads": len(os.listdir("/proc/self/task")),
                              "milliseconds": round(1000 * statistics.median(self.spent), 3)})
            print(self.rows[-1], file=sys.stderr, flush=True)
            self.spent = []


def long(section: Section) -> None:
    """20,000 steps in 500 epochs, each with its evaluation and its files; a checkpoint every second, too."""
    pack = small_pack(section, {"train/disc": 160, "train/star": 160, "val/disc": 16, "val/star": 16})
    epochs = max(2, section.count(500))
    meter = Meter(every=max(1, epochs * 40 // 20))
    for event in small_run(section.place / "run", pack, epochs=epochs, batch_size=8, minutes=1 / 60).train():
        if event == EPOCH_BEGINS:
            meter.start = time.perf_counter()
        elif event == BATCH_DONE:
            meter.step()
    rows = meter.rows
    settled = rows[len(rows) // 10:]   # what is allocated once, is by then
    memory = settled[-1]["mebibytes"] - settled[0]["mebibytes"]
    slower = statistics.median(row["milliseconds"] for row in rows[-5:]) / statistics.median(row["milliseconds"] for row in rows[:5])
    files = max(settled[-1][what] - settled[0][what] for what in ("files", "threads"))
    section.row(f"memory after {rows[-1]['steps']:,} steps", 1, int(section.check(memory < 20, f"memory grew by {memory:.1f} MiB")),
                f"{settled[0]['mebibytes']:.0f} MiB after {settled[0]['steps']:,} steps, {settled[-1]['mebibytes']:.0f} at the end")
    section.row("open files and threads", 1, int(section.check(files <= 0, f"{files} more files or threads")),
                f"{settled[0]['files']} and {settled[-1]['files']} files; {settled[0]['threads']} and {settled[-1]['threads']} threads")
    section.row("time of a step", 1, int(section.check(slower < 1.1, f"steps take {slower:.2f} times as long")),
                f"the last quarter takes {slower:.2f} times what the first takes (medians)")
    section.curve = rows


SECTIONS: dict[str, tuple[str, Callable[[Section], None]]] = {
    "kills": ("Killed in training", kills),
    "kills_torchrun": ("Killed in training with torchrun", kills_torchrun),
    "packing": ("Killed in packing", packing),
    "disk": ("A full disk", disk),
    "images": ("Damaged images", images),
    "checkpoints": ("Damaged and hostile checkpoints", checkpoints),
    "processes": ("One process and several", processes),
    "long": ("A long run", long)}


# ------------------------------------------------------------------- the job

def table() -> None:
    """README.md, from the JSON files that are there."""
    lines = ["# What is lost when things go wrong", "",
             "Made by `python -m results.faults` (which says what each section does). \"Right\" counts the trials after "
             "which everything was as it should be.", ""]
    for name, (title, _) in SECTIONS.items():
        path = HERE / f"{name}.json"
        if not path.exists():
            continue
        found = read_json(path)
        lines += [f"## {title}", "", f"`{found['command']}`, seed {found['seed']}, {found['date']}, commit {found['commit']}, {found['machine']['cores']} cores, "
                  f"{found['seconds'] / 60:.0f} minutes", "", "| what | times | right | seen |", "|---|---|---|---|"]
        lines += [f"| {row['what']} | {row['times']:,} | {row['right']:,} | {row['seen']} |" for row in found["rows"]]
        lines += [""] + [f"- wrong: {line}" for line in found["wrong"]] + [""] * bool(found["wrong"])
        lines += [found["remark"], ""] if "remark" in found else []   # entered by hand
    write_text(HERE / "README.md", "\n".join(lines).rstrip() + "\n")


def commit() -> str:
    """Which version of the code was tried."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain", "-uno", "alexnet", "*.py") else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}, or table (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument("--part", type=float, default=1.0, metavar="F", help="of each count; below 1 nothing is kept")
    options = parser.parse_args()
    if unknown := [name for name in options.sections if name not in SECTIONS and name != "table"]:
        parser.error(f"there is no section {', '.join(unknown)}")
    failed = False
    for name in options.sections or SECTIONS:
        if name == "table":
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="faults-") as place:
            section = Section(Path(place), options.seed, options.part)
            SECTIONS[name][1](section)
        failed |= bool(section.wrong) or any(row["right"] < row["times"] for row in section.rows)
        if options.part == 1:
            write_json(HERE / f"{name}.json", {
                "command": f"python -m results.faults {name}", "commit": commit(), "seed": options.seed, "date": date.today().isoformat(),
                "machine": machine(), "seconds": round(time.monotonic() - start, 1), "rows": section.rows,
                "wrong": section.wrong, **({"curve": section.curve} if hasattr(section, "curve") else {})})
    if options.part == 1:
        table()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
