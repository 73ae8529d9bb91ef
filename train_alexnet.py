"""Train AlexNet with the recipe of 2012, go on with a run, or evaluate a checkpoint.

    python train_alexnet.py                              the built-in data set, a few minutes
    python train_alexnet.py --data path/to/images        class folders, train/ and val/, ...
    python train_alexnet.py --data path/to/images --weights pretrained   fine-tune ImageNet's network
    python train_alexnet.py --resume results/runs/NAME   goes on exactly where it was
    python train_alexnet.py --evaluate results/runs/NAME/best.pt
    torchrun --nproc-per-node 8 train_alexnet.py --data path/to/imagenet
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import platform
import shlex
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import MISSING, asdict, fields, replace
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable

from alexnet.cli import (LAYERS, PRETRAINED, SCHEDULES, VARIANTS, CommandLine, check_data, find, on_signals,
                         shell)
from alexnet.files import UserError, alone, printable, read_json, write_json

DEMO_SIZE, DEMO_EPOCHS, DEMO_BATCH, EPOCHS = 64, 16, 64, 30
TUNING_RATE = 0.3        # with --weights: times the recipe's rate; results/README.md
SMALL, SMALL_BATCH = 1_000, 32      # training images below which, as with --weights, a larger batch leaves too few steps
GROWING = ("epochs", "patience")    # what may be raised when a run goes on
RUNS_FILES = ("config.json", "last.pt", "previous.pt", "best.pt", "metrics.csv")
CACHE = "data/packed"
MAY_MOVE = ("data", "labels", "weights")   # what a run that goes on may find elsewhere, if it holds the same
LARGE, LARGE_EPOCHS = 200_000, 90   # training images from which the paper's 90 epochs apply


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options; those not given are None, so that --resume can tell."""
    parser = CommandLine(__doc__, usage="python train_alexnet.py [--OPTION VALUE ...]")

    group = parser.add_argument_group("what")
    add = group.add_argument
    add("--data", metavar="WHERE", help="a folder, a torchvision data set's name, or demo (default)")
    add("--labels", metavar="FILE.csv", help="the classes of the images in --data FOLDER: an image and its class in each "
        "line, and its part if there is a column split (data/README.md)")
    add("--variant", choices=list(VARIANTS), help="which AlexNet (default as-trained)")
    add("--image-size", type=int, metavar="PX", help=f"side of the input (default 224; demo {DEMO_SIZE})")
    add("--val-fraction", type=float, metavar="F",
        help="hold out this part of the training images (default 0.2 where there is no val/)")
    add("--out", metavar="DIR", help="the run's folder (default a new one in results/runs)")
    add("--resume", metavar="RUN", help="go on with a run; --epochs and --patience may grow")
    add("--evaluate", metavar="CHECKPOINT", help="only measure (all images of another --data, or of its val or "
        "test part); --out FILE.json takes the numbers")
    add("--part", choices=("train", "val", "test"), help="with --evaluate: this part of the data")
    add("--views", type=int, choices=(1, 10), help="with --evaluate: only these views (default both)")

    add = parser.add_argument_group("recipe").add_argument
    add("--epochs", type=int, metavar="N",
        help=f"default {EPOCHS}; demo {DEMO_EPOCHS}; {LARGE_EPOCHS} from {LARGE:,} images")
    add("--batch-size", type=int, metavar="N", help="in all processes together (default 128; demo 64; fewer than 1,000 images 32)")
    add("--lr", type=float, metavar="RATE", help="default 0.01, less for few classes")
    add("--momentum", type=float, metavar="M", help="default 0.9")
    add("--weight-decay", type=float, metavar="D", help="default 0.0005; torchvision 0.0001")
    add("--warmup", type=int, metavar="STEPS", help="raise the rate from 0 over so many (default 0)")
    add("--schedule", choices=list(SCHEDULES), help="default steps; release for large sets")
    add("--color-noise", type=float, metavar="C", help="default 0.1; caffe, torchvision 0: none")
    add("--augmentation", choices=("shifts", "resized"),
        help="crops: shifts of 2012 (default), or resized, which pay in long runs only")
    add("--balance", action="store_true", default=None, help="each class equally often, whatever its size")
    add("--patience", type=int, metavar="N",
        help="end after N epochs without a lower validation error, which then is no honest measure any more")
    add("--seed", type=int, metavar="N", help="default 0")

    add = parser.add_argument_group("fine-tuning").add_argument
    add("--weights", metavar="FILE", help="begin with the network in any file, or with pretrained")
    add("--freeze", choices=LAYERS[:-1], metavar="LAYER", help="conv1 up to this one (conv5, fc7) stay as they are")
    add("--head-lr", type=float, metavar="F", help="rate of a new fc8, times the others' (default 1)")

    add = parser.add_argument_group("machine").add_argument
    add("--device", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--precision", choices=("auto", "bf16", "fp16", "fp32"),
        help="default auto; fp16 skips steps that overflow")
    add("--deterministic", action="store_true", default=None, help="the same bits on CUDA, too, which costs time")
    add("--checkpoint-minutes", type=float, metavar="M",
        help="write last.pt within an epoch, too (default 5; 0: only at its end)")
    add("--workers", type=int, metavar="N", help="threads that prepare batches (default 1; CUDA 4)")
    add("--cache", metavar="DIR", help="where packed images lie (default data/packed)")
    add("--download", action="store_true", default=None, help="let torchvision fetch its data set")
    add("--strict", action="store_true", default=None, help="stop at an unreadable image")
    add("--tensorboard", action="store_true", default=None, help="log for TensorBoard, too")
    add("--quiet", action="store_true", default=None, help="only warnings and the result")
    return parser.parse_args(arguments)


def check(options: argparse.Namespace) -> None:
    """UserError for what can be seen to be wrong before the images are packed."""
    for names, allowed, rule in (   # "not a number" is never allowed
            ("workers patience", lambda value: value >= 1, "must be at least 1"),
            ("checkpoint_minutes", lambda value: value >= 0, "must be at least 0"),
            ("epochs batch_size lr head_lr", lambda value: value > 0, "must be above 0"),
            ("momentum weight_decay warmup color_noise seed", lambda value: value >= 0, "must not be negative"),
            ("lr head_lr momentum weight_decay color_noise", math.isfinite, "must be finite"),
            ("seed", lambda value: value < 2 ** 63, "must be below 2^63")):
        for name in names.split():
            if (value := getattr(options, name)) is not None and not allowed(value):
                raise UserError(f"--{name.replace('_', '-')} {rule}")
    if options.part and (options.labels or not options.evaluate):
        raise UserError("--part belongs to --evaluate, and goes without --labels")
    if options.tensorboard and not find_spec("tensorboard"):
        raise UserError("--tensorboard needs one more package: pip install tensorboard")
    if options.out and not options.evaluate and Path(options.out).is_file():
        raise UserError(f"--out {options.out} is a file; a run is a folder")
    if (options.freeze or options.head_lr) and not (options.weights or options.resume or options.evaluate):
        raise UserError("--freeze and --head-lr need --weights FILE: they are for fine-tuning")
    for given in filter(None, (options.evaluate, options.weights)):
        find(given)
    check_data(options.data)
    if options.resume and not (Path(options.resume) / "config.json").is_file():
        folder = Path(options.resume).parent   # of last.pt, if that was given
        advice = f"; --resume takes the folder, {shlex.quote(str(folder))}"
        raise UserError(f"{options.resume} is not a run: it has no config.json"
                        + (advice if (folder / "config.json").is_file() else ""))


if __name__ == "__main__" and "RANK" not in os.environ:   # torchrun's processes first have to know of each other
    with shell("train_alexnet.py"):   # a mistake is answered before torch is imported, which takes seconds
        check(parse())

import numpy as np
import torch
import torch.distributed as dist
from tqdm import tqdm

from alexnet import checkpoint, weights
from alexnet.pack import Pack, packed, short_digest
from alexnet.layout import PARTS, measured_part
from alexnet.sources import Source, find_source, to_measure
from alexnet.device import (World, choose_device, choose_precision, join_world, keep_memory, make_deterministic, meet,
                            processes)
from alexnet.model import AlexNet
from alexnet.recipe import RECIPES, default_rate, highest_head_rate, highest_rate
from alexnet.settings import Settings
from alexnet.training import BATCH_DONE, EPOCH_BEGINS, EPOCH_DONE, Run, Stopped, evaluate


def images_at(options: argparse.Namespace, where: str, val_fraction: float | None, labels: str | None) -> Source:
    """`find_source`; UserError that names --data where a run's images are no longer in their place."""
    if not options.data and Path(where).is_absolute() and not Path(where).exists():
        raise UserError(f"the images are no longer in {where}: --data FOLDER says where they are now")
    downloads = Path(options.cache or CACHE).parent / "downloads"
    return find_source(where, val_fraction, bool(options.download), downloads, labels)


def load_data(source: Callable[[], Source], image_size: int, options: argparse.Namespace, world: World) -> Pack:
    """The packed images; the first process packs, the others wait and open."""
    def get(quiet: bool) -> Pack:
        found = source()
        if not quiet and not options.evaluate:   # before hours are spent on what are no classes
            names = ", ".join(found.classes[:8]) + " ..." * (len(found.classes) > 8)
            print(printable(f"{found.name}: {len(found.classes)} classes ({names})"), flush=True)
        return packed(found, image_size, Path(options.cache or CACHE), bool(options.strict), quiet=quiet)

    pack = get(bool(options.quiet)) if world.rank == 0 else None
    meet(world)
    return pack or get(quiet=True)


def say_findings(pack: Pack, where: str, world: World) -> None:
    if world.rank:
        return
    if where == "demo" and Path(where).is_dir():
        print("warning: demo is the built-in data set; the folder of that name is --data ./demo", file=sys.stderr)
    for finding in pack.findings:
        print(f"warning: {printable(finding)}", file=sys.stderr)
    if pack.skipped:
        print(f"warning: {len(pack.skipped)} image(s) cannot be read and are left out, such as "
              f"{printable(pack.skipped[0])} (all of them in {pack.folder / 'pack.json'})", file=sys.stderr)


def starting_point(options: argparse.Namespace, where: str, world: World) -> dict[str, Any] | None:
    """What --weights holds, if it is given; UserError for options that contradict it."""
    if where is None:
        return None
    if where == PRETRAINED and world.rank == 0:
        weights.pretrained()    # the first process fetches it
    meet(world)
    start = weights.read(where)
    variant, size = start["variant"], start["image_size"]
    if options.variant not in (None, variant):
        raise UserError(f"--variant {options.variant} contradicts {where}, which is {variant}; leave --variant out")
    if options.image_size not in (None, size):
        units, here = start["model"]["fc6.weight"].shape
        there = inputs_of_fc6(start, options.image_size)
        reason = ("so is its mean image" if here == there else
                  f"its fc6 is {units} x {here}, with {options.image_size} px it would be {units} x {there}")
        raise UserError(f"{where} is made for {size} px ({reason}); leave --image-size out")
    return start


def inputs_of_fc6(start: dict[str, Any], image_size: int) -> int:
    """How many values fc6 would see with such images; 0 if nothing is left after pool5."""
    model = outline(len(start["classes"]), start["image_size"], start["variant"], start["changes"])
    return model.values_after_pool5(image_size)


def outline(num_classes: int, image_size: int, variant: str, changes: dict[str, Any] = {}) -> AlexNet:
    """The network without memory for its weights."""
    try:
        with torch.device("meta"):
            return AlexNet(num_classes, image_size, variant, **changes)
    except (ValueError, RuntimeError, OverflowError) as error:   # torch's word for far too large
        raise UserError(str(error).splitlines()[0]) from None


def settle(options: argparse.Namespace, pack: Pack, image_size: int, world: World,
           start: dict[str, Any] | None) -> Settings:
    """Every setting of a new run: what was given, else the recipe's."""
    variant = start["variant"] if start else options.variant or "as-trained"
    changes = start["changes"] if start else {}
    recipe = RECIPES[variant]
    count = len(pack.labels["train"])
    demo = (options.data or "demo") == "demo"   # a folder may have that name, too

    def given(name: str, default: Any) -> Any:
        value = getattr(options, name)
        return default if value is None else value

    shape = outline(len(pack.classes), image_size, variant, changes)
    momentum = given("momentum", recipe.momentum)
    usual = recipe.rate * TUNING_RATE if start else default_rate(shape, replace(recipe, momentum=momentum))
    lr = given("lr", usual)
    head = given("head_lr", default_head(start, pack, momentum, recipe.bias_rate, lr) if start else 1.0)
    settings = Settings(
        data=place(options.data or "demo"), variant=variant, image_size=image_size,
        val_fraction=options.val_fraction, labels=place(options.labels) if options.labels else None,
        epochs=given("epochs", DEMO_EPOCHS if demo else LARGE_EPOCHS if count >= LARGE else EPOCHS),
        batch_size=given("batch_size", SMALL_BATCH if start or count < SMALL else DEMO_BATCH if demo else recipe.batch_size),
        lr=lr, momentum=momentum,
        weight_decay=given("weight_decay", recipe.weight_decay), warmup=given("warmup", 0),
        schedule=given("schedule", "release" if count >= LARGE else "steps"),
        color_noise=given("color_noise", recipe.noise),
        seed=given("seed", 0), precision=given("precision", "auto"),
        weights=place(options.weights) if start else None, changes=changes, freeze=options.freeze,
        head_lr=head, deterministic=bool(options.deterministic), patience=options.patience,
        augmentation=given("augmentation", "shifts"), balance=bool(options.balance))
    highest = highest_rate(shape, momentum, recipe.bias_rate)
    if world.rank or start or options.quiet and options.lr is None:
        return settings     # the limit is that of the initial weights
    if options.lr is not None and lr > 1.05 * highest / 2:
        print(f"warning: --lr {lr:g} may not be stable: with {len(pack.classes)} classes the first "
              f"steps allow at most {highest:.2g}, by our estimate; without --lr it is {usual:g}", file=sys.stderr)
    elif options.lr is None and lr < recipe.rate:
        print(f"rate {lr:g} instead of {recipe.rate:g}: with {len(pack.classes)} classes the first "
              f"steps allow at most {highest:.2g}, by our estimate, and this is half of it")
    return settings


def default_head(start: dict[str, Any], pack: Pack, momentum: float, bias_rate: float, lr: float) -> float:
    """The factor for the rate of fc8: 1, or what brings a new one to half of its highest stable rate
    if that is less."""
    if start["classes"] == pack.classes:
        return 1.0
    half = highest_head_rate(checkpoint.build(start), pack, momentum, bias_rate) / 2
    return 1.0 if lr <= half else float(f"{half / lr:.1e}")


def place(where: str) -> str:
    """The whole path of a folder or file, so that a run goes on from anywhere; names as they are."""
    return str(Path(where).resolve()) if where != "demo" and Path(where).exists() else where


def resumed(options: argparse.Namespace) -> tuple[Settings, dict[str, Any]]:
    """The settings of the run to go on with, and its config.json. Options that contradict it are refused."""
    path = Path(options.resume) / "config.json"
    if options.out:
        raise UserError("--resume goes on in the run's own folder; leave --out out")
    config = read_json(path)
    known = {field.name for field in fields(Settings)}
    newer = {field.name: field.default for field in fields(Settings) if field.default is not MISSING}
    try:
        stored = {**newer, **config["settings"]}   # an older run lacks what is newer
        options.cache = options.cache or str(config["cache"])
        config["resumed"], config["surroundings"], config["identity_of_data"], config["classes"]
    except (KeyError, TypeError):
        stored = {}
    if stored.keys() != known:
        raise UserError(f"{path} is not the config.json of a run")
    stored |= {name: place(getattr(options, name)) for name in MAY_MOVE if getattr(options, name)}
    wrong = [f"--{name.replace('_', '-')} {value} (was {stored[name]})"
             for name, value in vars(options).items()
             if name in known - {*GROWING, *MAY_MOVE} and value is not None and value != stored[name]]
    grown = {name: value for name in GROWING if (value := getattr(options, name)) is not None}
    wrong += [f"--{name} {value} (was {stored[name]}; it may only grow)"
              for name, value in grown.items() if value < (stored[name] or math.inf)]
    if wrong:
        raise UserError(f"--resume goes on as before, so these cannot change: {', '.join(wrong)}")
    return Settings(**{**stored, **grown}), config


def same_images(config: dict[str, Any], pack: Pack) -> bool:
    """Whether a run was begun with these, wherever they lie; an older one knows names, sizes and times."""
    if "content_of_data" in config:
        return config["content_of_data"] == pack.content
    return config["classes"] == pack.classes and config["identity_of_data"] in pack.identity


def check_moved(config: dict[str, Any], settings: Settings, pack: Pack, start: dict[str, Any] | None) -> None:
    """UserError if the --data or the --weights of a run that goes on are not those that it was begun with."""
    before, digest = config["settings"], config.get("digest_of_weights")
    for name in ("data", "labels"):
        if getattr(settings, name) != before.get(name) and not same_images(config, pack):
            raise UserError(f"--{name} {getattr(settings, name)} does not give the images and classes that "
                            f"the run was begun with ({before.get(name)}): --resume goes on with the same")
    weights_before = before.get("weights")
    if start and not (checkpoint.digest(checkpoint.build(start)) == digest if digest
                      else settings.weights == weights_before):
        raise UserError(f"{settings.weights} does not hold what the run began with "
                        f"({weights_before or 'new weights'}): --resume goes on with the same only")


class Console:
    """What the person at the terminal sees of a run, and whether they asked to stop it."""

    def __init__(self, run: Run, quiet: bool, board: Any = None) -> None:
        self.run, self.quiet, self.board = run, quiet or run.world.rank > 0, board
        self.asked, self.asked_at = 0, 0.0   # by which signal, when
        self.bar: tqdm | None = None
        self.shown_at, self.start, self.first_epoch = 0.0, time.perf_counter(), run.progress.epoch
        self.warned = False
        on_signals(dict.fromkeys((signal.SIGINT, signal.SIGTERM), self.ask_to_stop))

    def ask_to_stop(self, number: int, _: Any) -> None:
        if self.asked:   # a cluster may send SIGTERM to all processes, and torchrun pass it on: that is once
            if number == signal.SIGINT and time.monotonic() - self.asked_at > 0.5:
                sys.exit(128 + number)
            return
        self.run.stop, self.asked, self.asked_at = True, number, time.monotonic()
        print("\nstopping after this batch (once more: at once)", file=sys.stderr)

    def show(self, event: str) -> None:
        """What Run.train says."""
        {EPOCH_BEGINS: self.epoch_begins, BATCH_DONE: self.batch_done, EPOCH_DONE: self.epoch_done}[event]()

    def epoch_begins(self) -> None:
        run = self.run
        hidden = True if self.quiet else None  # None: only on a terminal
        self.bar = tqdm(total=run.batches_per_epoch, initial=run.progress.batch, unit="batch", leave=False,
                        disable=hidden, desc=f"epoch {run.progress.epoch + 1}/{run.settings.epochs}")

    def batch_done(self) -> None:
        self.bar.update()
        if time.monotonic() - self.shown_at > 2:  # the only place where the device is waited for
            run, loss = self.run, self.run.totals[0].item()
            run.check(loss)
            mean = loss * run.world.size / run.progress.sums.seen
            if run.progress.batch >= max(500, 5 * len(run.pack.classes)):   # the more classes, the later learning starts
                self.warn_if_flat(mean)
            self.bar.set_postfix(loss=f"{mean:.3f}")
            self.shown_at = time.monotonic()

    def epoch_done(self) -> None:
        self.bar.close()
        run, row = self.run, self.run.progress.rows[-1]
        if self.board:
            with run.going_on(run.folder):
                for name, value in row.items():
                    self.board.add_scalar(name, value, row["epoch"])
        if run.progress.epoch * run.batches_per_epoch >= 200:
            self.warn_if_flat(row["train_loss"])
        elif row["epoch"] == run.settings.epochs:   # of a short run it is said only if it went wrong
            self.warn_if_flat(row["train_loss"], 1.5)
        if self.quiet:
            return
        each = (time.perf_counter() - self.start) / (run.progress.epoch - self.first_epoch)
        left = each * (run.settings.epochs - row["epoch"])
        five = f" (top-5 {row['val_top5_error']:.1%})" if len(run.pack.classes) > 5 else ""
        print(f"epoch {row['epoch']:2}/{run.settings.epochs}  loss {row['train_loss']:.3f} train, "
              f"{row['val_loss']:.3f} val  error {row['train_top1_error']:.1%} train, "
              f"{row['val_top1_error']:.1%} val{five}  learning rate {row['lr']:g}  "
              f"{row['images_per_second']:.0f} images/s, {row['seconds_waiting'] / row['seconds']:.1%} "
              f"waiting  {duration(left)} left", flush=True)

    def warn_if_flat(self, loss: float, times: float = 0.99) -> None:
        """Says, once, that the mean loss over many steps is at chance level, or worse."""
        run, count = self.run, len(self.run.pack.classes)
        if not self.warned and not run.world.rank and loss > times * math.log(count):
            self.warned = True
            # as-written's small weights are what keeps it there, and a lower learning rate makes that worse: results/what-breaks-it
            other = "--variant as-trained" if run.settings.variant == "as-written" else f"--lr {run.settings.lr / 3:.1g}"
            print(f"warning: the training loss is no better than at chance level (ln {count} = "
                  f"{math.log(count):.3f}). Try {other}, and see whether the labels fit the images", file=sys.stderr)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else (
        f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h")


def surroundings(device: torch.device, world: World, dtype: torch.dtype) -> dict[str, Any]:
    """What one needs to know to repeat a run; no names of machines."""
    return {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(), "processes": world.size,
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "computed_in": str(dtype).removeprefix("torch.")}


def train(options: argparse.Namespace) -> None:
    device = choose_device(options.device or "auto")
    world = join_world(device)
    if options.resume:
        settings, config = resumed(options)
        make_deterministic(settings.deterministic)
        pack = load_data(partial(images_at, options, settings.data, settings.val_fraction, settings.labels),
                         settings.image_size, options, world)
        say_findings(pack, settings.data, world)
        folder = Path(options.resume)
        begun = any((folder / name).exists() for name in ("last.pt", "previous.pt"))
        start = starting_point(options, settings.weights, world) if options.weights or not begun else None
        check_moved(config, settings, pack, start)
        start = None if begun else start
    else:
        make_deterministic(bool(options.deterministic))
        where = options.data or "demo"
        start = starting_point(options, options.weights, world)
        size = start["image_size"] if start else options.image_size or (DEMO_SIZE if where == "demo" else 224)
        if not start:
            outline(2, size, options.variant or "as-trained")  # a size too small is said before packing
        source = partial(images_at, options, where, options.val_fraction, options.labels)
        pack = load_data(source, size, options, world)
        say_findings(pack, where, world)
        settings = settle(options, pack, size, world, start)
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = Path(options.out or unused(f"results/runs/{pack.name}-{settings.variant}-{stamp}"))
    if world.size > 1:  # one folder for all, whatever their clocks say
        shared = [str(folder)]
        dist.broadcast_object_list(shared)
        folder = Path(shared[0])
    with alone(folder / "run") if world.rank == 0 else nullcontext(True) as mine:   # the lock lies in the folder
        if not mine:
            raise UserError(f"another process is training in {folder}: two would overwrite each other's files")
        if not options.resume and world.rank == 0 and any((folder / name).exists() for name in RUNS_FILES):
            raise UserError(f"{folder} holds a run already: --resume {shlex.quote(str(folder))} goes on with it, "
                            "another --out starts a new one")
        meet(world)   # not before the first has said what is wrong
        follow(options, folder, settings, pack, device, world, start)


def unused(name: str) -> str:
    """The name, or with a number behind it: two runs may begin within a second."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in names if not Path(one).exists())


def follow(options: argparse.Namespace, folder: Path, settings: Settings, pack: Pack, device: torch.device,
           world: World, start: dict[str, Any] | None) -> None:
    """A run from where it is to its end, in a folder that no other process writes to."""
    workers = options.workers or (4 if device.type == "cuda" else 1)
    minutes = 5.0 if options.checkpoint_minutes is None else options.checkpoint_minutes or math.inf
    run = Run(folder, settings, pack, device, world, workers, start, minutes)
    restored = bool(options.resume) and run.restore()
    if run.finished:
        if world.rank == 0:
            run.report()   # the last epoch's may be missing
            more = (f"the last {settings.patience} brought no lower error; a larger --patience goes on"
                    if run.out_of_patience else "its schedule has come to its end" if run.plan().finished
                    else "--epochs N goes on with it, the schedule stretched to N")
            print(f"{folder} is finished: {run.progress.epoch} epochs; {more}")
        return
    console = Console(run, bool(options.quiet), open_board(options, folder, world))
    if world.rank == 0:
        write_config(run, options, start)
    if not console.quiet:
        introduce(run, restored, start)
    try:
        for event in run.train():
            console.show(event)
    except Stopped:
        if world.rank == 0:
            print(f"stopped in epoch {run.progress.epoch + 1}; "
                  f"python train_alexnet.py --resume {shlex.quote(str(folder))} goes on exactly there")
        sys.exit(128 + (console.asked or signal.SIGTERM))   # another process was asked
    except torch.OutOfMemoryError:
        raise UserError(f"out of memory: a smaller --batch-size than {settings.batch_size} or a "
                        f"smaller --image-size than {settings.image_size} takes less") from None
    if world.rank == 0:
        conclude(run)


def write_config(run: Run, options: argparse.Namespace, start: dict[str, Any] | None) -> None:
    """config.json: what a new run is, or that an old one goes on."""
    path, pack = run.folder / "config.json", run.pack
    now = {"command": sys.argv[1:], "started": datetime.now().isoformat(timespec="seconds"),
           "surroundings": surroundings(run.device, run.world, run.dtype)}
    if options.resume:
        config = read_json(path)
        config["settings"] = asdict(run.settings)
        before = (config["resumed"] or [config])[-1]["surroundings"]
        changed = [f"{name} {before.get(name)} is now {value}" for name, value in now["surroundings"].items()
                   if name not in ("processes", "cores", "system") and before.get(name) != value]
        if changed:
            print(f"warning: {', '.join(changed)}: not the same bits as without a stop", file=sys.stderr)
        config["resumed"].append({"epoch": run.progress.epoch, "batch": run.progress.batch, **now})
        if not same_images(config, pack):
            print(f"warning: the images of {pack.name} have changed since the run was started",
                  file=sys.stderr)
        else:
            config.setdefault("content_of_data", pack.content)
    else:
        config = {"settings": asdict(run.settings), "classes": pack.classes,
                  "images": {part: len(labels) for part, labels in pack.labels.items()},
                  "identity_of_data": pack.identity, "content_of_data": pack.content,
                  "digest_of_weights": checkpoint.digest(checkpoint.build(start)) if start else None,
                  **now, "resumed": []}
    config["cache"] = str(Path(options.cache or CACHE).resolve())
    write_json(path, config)


def introduce(run: Run, restored: bool, start: dict[str, Any] | None) -> None:
    settings, pack = run.settings, run.pack
    count = sum(parameter.numel() for parameter in run.model.parameters())
    print(f"AlexNet {settings.variant}, {settings.image_size} px, {count:,} parameters, on "
          f"{printable(pack.name)}: {len(pack.classes)} classes, {len(pack.labels['train']):,} training and "
          f"{len(pack.labels['val']):,} validation images")
    print(f"{settings.epochs} epochs, batch {settings.batch_size}, rate {settings.lr:g}, schedule "
          f"{settings.schedule}, seed {settings.seed}; {run.device.type}, "
          f"{str(run.dtype).removeprefix('torch.')}, {run.world.size} process(es); {run.folder}")
    if start:
        head = "kept: the classes are the same" if start["classes"] == pack.classes else "new"
        print(f"from {settings.weights}: its weights, mean, variant and image size; fc8 is {head}")
    if settings.weights:
        print(f"rate of fc8 x {settings.head_lr:g}; " + (f"frozen: all up to {settings.freeze}" if settings.freeze
                                                        else "no layer is frozen"))
    if restored:
        print(f"going on in epoch {run.progress.epoch + 1}, batch {run.progress.batch + 1}")
    sys.stdout.flush()


def conclude(run: Run) -> None:
    rows = run.progress.rows
    best = min(rows, key=lambda row: row["val_top1_error"])
    count = run.progress.skipped
    skipped = f"; {count:,} steps skipped, whose gradients overflowed in fp16" if count else ""
    if run.out_of_patience:
        print(f"\nended early: the last {run.settings.patience} epoch(s) brought no lower validation error")
    print(f"\nvalidation error {rows[-1]['val_top1_error']:.2%} after epoch {rows[-1]['epoch']}, lowest "
          f"{best['val_top1_error']:.2%} after epoch {best['epoch']}; "
          f"{duration(sum(row['seconds'] for row in rows))} of training{skipped}\n"
          f"the run: {run.folder} (curves.png, metrics.csv, best.pt, last.pt)\n"
          f"next:    python train_alexnet.py --evaluate {shlex.quote(str(run.folder / 'best.pt'))}")


def open_board(options: argparse.Namespace, folder: Path, world: World) -> Any:
    if not options.tensorboard or world.rank:
        return None
    from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder))


def measure(options: argparse.Namespace) -> None:
    """--evaluate: a line for each number of views, and JSON."""
    content = weights.read(options.evaluate)
    model = checkpoint.build(content)
    facts = content["facts"]
    if options.image_size not in (None, model.image_size):
        raise UserError(f"{options.evaluate} takes images of {model.image_size} px; leave --image-size out")
    device = choose_device(options.device or "auto")
    world = join_world(device)
    where = options.data or facts.get("data") or "demo"
    pack, part, said = images_to_measure(options, where, content, world)
    say_findings(pack, where, world)
    labels = in_the_order_of(model.classes, pack, part)
    if world.rank == 0:
        print(f"{len(labels):,} images of {len(np.unique(labels))} class(es): {printable(said)}")
    model.to(device, memory_format=torch.channels_last)
    dtype = choose_precision(options.precision or "auto", device)
    results = []
    for views in (options.views,) if options.views else (1, 10):
        with tqdm(total=len(labels[world.rows(len(labels))]), unit="image", leave=False,
                  disable=True if options.quiet or world.rank else None) as bar:
            results.append(evaluate(model, pack, dtype, views, options.batch_size or 128, world,
                                    part, labels, bar.update))
        if not math.isfinite(results[-1]["loss"]):
            raise UserError(f"{options.evaluate} gives values that are no numbers: it cannot be measured")
        if world.rank == 0:
            print(f"{'one view' if views == 1 else 'ten views'}: top-1 error {results[-1]['top1_error']:.2%}"
                  + (f", top-5 error {results[-1]['top5_error']:.2%}" if len(model.classes) > 5 else ""))
    if world.rank == 0:
        beside = Path(options.evaluate)
        other = [] if place(where) == facts.get("data") else [Path(where).resolve().name]
        parts = [options.part] if options.part in ("train", "test") else []
        name = "-".join(["evaluation", *other, *parts]) + ".json"
        out = Path(options.out or (beside if beside.is_dir() else beside.parent) / name)
        facts.pop("sample", None)
        write_json(out, {"checkpoint": Path(options.evaluate).name, "data": where, "measured": said,
                         "results": results, "trained": facts,
                         "surroundings": surroundings(device, world, dtype)})
        print(f"written to {printable(str(out))}")


def images_to_measure(options: argparse.Namespace, where: str, content: dict[str, Any],
                      world: World) -> tuple[Pack, str, str]:
    """Packed images, which part of them a checkpoint is measured on, and what that is in words: of its own data,
    also where they have moved, what training held out; of another folder its validation part, or all."""
    facts, classes, size = content["facts"], content["classes"], content["image_size"]
    own, folder = place(where) == facts.get("data"), Path(where)
    if options.val_fraction is not None or not folder.is_dir() or own and options.part != "test":
        before = facts if own else {}
        fraction = before.get("val_fraction") if options.val_fraction is None else options.val_fraction
        source = partial(images_at, options, where, fraction, options.labels or before.get("labels"))
        pack, part = load_data(source, size, options, world), options.part or "val"
        if part not in PARTS:
            raise UserError(f"--part {part}: {where} has the parts {' and '.join(PARTS)}")
        held_out = f", of which {pack.split:g} is held out" if pack.split else ""
        return pack, part, f"the {part} part of {where}{held_out}"
    source = folder if options.labels else measured_part(folder, classes, options.part)
    known, split = facts.get("images") or {}, facts.get("split", facts.get("val_fraction"))
    perhaps = split and not options.part and (source == folder or source.name == "train")   # its own, moved
    if perhaps and known:
        pack = load_data(partial(to_measure, source, classes, options.labels, split), size, options, world)
        if pack.content["val"] == known.get("val"):
            return pack, "val", f"the {split:g} of {source} that the run held out"
    pack = load_data(partial(to_measure, source, classes, options.labels), size, options, world)
    sample = set(facts.get("sample") or ())
    seen = sum(short_digest(image) in sample for image in pack.images["val"]) if sample else 0
    if seen or perhaps and not sample:   # an older run has no sample
        trained = f"was trained on at least {seen}" if seen else "may have been trained on some"
        advice = f"; --val-fraction {split:g} measures what it held out of its own" if split else ""
        pack.findings.append(f"{options.evaluate} {trained} of these images, so that the errors look better "
                             f"than they are{advice}")
    return pack, "val", f"all of {source}"


def in_the_order_of(classes: list[str], pack: Pack, part: str) -> np.ndarray:
    """The labels of a part as numbers of the checkpoint's classes, matched by name."""
    if missing := sorted(set(pack.classes) - set(classes)):
        raise UserError(f"the checkpoint knows no class {', '.join(missing[:3])}; it has "
                        f"{', '.join(classes[:3])} ... ({len(classes)} in all)")
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[name] for name in pack.classes])[pack.labels[part]]


def main(arguments: list[str] | None = None) -> None:
    with shell("train_alexnet.py"), processes():
        options = parse(arguments)
        check(options)
        keep_memory()
        measure(options) if options.evaluate else train(options)


if __name__ == "__main__":
    main()
