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
import signal
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterator

from alexnet.cli import LAYERS, PRETRAINED, SCHEDULES, VARIANTS, CommandLine, check_data, find, shell, warn
from alexnet.files import UserError, alone, brief, quoted, read_json, write_json

RUNS_FILES = ("config.json", "last.pt", "previous.pt", "best.pt", "metrics.csv")
OF_TRAINING = ("resume variant epochs lr momentum weight_decay warmup schedule color_noise augmentation "
               "balance patience seed weights freeze head_lr deterministic checkpoint_minutes workers "
               "keep_filters tensorboard").split()
OF_MACHINE = ("device", "checkpoint_minutes", "workers", "keep_filters", "tensorboard")   # not in config.json
CHOICES = {"schedule": SCHEDULES, "augmentation": ("shifts", "resized"), "freeze": (None, *LAYERS[:-1]),
           "precision": ("auto", "bf16", "fp16", "fp32")}
DEMO_SIZE, SIZE = 64, 224


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options that go together; those not given are None, so that --resume can tell."""
    parser = CommandLine(__doc__, usage="python train_alexnet.py [--OPTION VALUE ...]")

    add = parser.add_argument_group("what").add_argument
    add("--data", metavar="WHERE", help="a folder, torchvision data set, or demo (default)")
    add("--labels", metavar="FILE.csv", help="the classes of the images in --data FOLDER: an image and its "
        "class in each line, and its part if there is a column split (data/README.md)")
    add("--variant", choices=list(VARIANTS), help="which AlexNet (default as-trained)")
    add("--image-size", type=int, metavar="PX", help=f"side of the input (default {SIZE}; demo {DEMO_SIZE})")
    add("--val-fraction", type=float, metavar="F",
        help="hold out this part of the training images (default 0.2 where there is no val/)")
    add("--out", type=Path, metavar="DIR", help="the run's folder (default a new one in results/runs)")
    add("--resume", type=Path, metavar="RUN", help="go on with a run; --epochs and --patience may grow")
    add("--evaluate", metavar="CHECKPOINT", help="only measure (all images of another --data, or of its "
        "val or test part); --out FILE.json takes the numbers")
    add("--part", choices=("train", "val", "test"), help="with --evaluate: this part of the data")
    add("--views", type=int, choices=(1, 10), help="with --evaluate: one crop, or ten (default both)")

    add = parser.add_argument_group("recipe").add_argument
    add("--epochs", type=int, metavar="N", help="default 30; demo 16; 90 from 200,000 images")
    add("--batch-size", type=int, metavar="N",
        help="in all processes together (default 128; demo 64; fewer than 1,000 images 32; --weights 32)")
    add("--lr", type=float, metavar="RATE", help="default 0.01, --weights 0.003; less for few classes")
    add("--momentum", type=float, metavar="M", help="default 0.9")
    add("--weight-decay", type=float, metavar="D", help="default 0.0005; torchvision 0.0001")
    add("--warmup", type=int, metavar="STEPS", help="in which the learning rate rises from 0 (default 0)")
    add("--schedule", choices=CHOICES["schedule"], help="default steps; release for large sets")
    add("--color-noise", type=float, metavar="C", help="default 0.1; caffe, torchvision 0: none")
    add("--augmentation", choices=CHOICES["augmentation"],
        help="crops: shifts of 2012 (default), or resized, which cost in short runs")
    add("--balance", action="store_true", default=None, help="each class equally often, whatever its size")
    add("--patience", type=int, metavar="N",
        help="end after N epochs without a lower validation error, which then is no honest measure any more")
    add("--seed", type=int, metavar="N", help="default 0")

    add = parser.add_argument_group("fine-tuning").add_argument
    add("--weights", metavar="FILE", help="begin with the network in any file, or with pretrained")
    add("--freeze", choices=LAYERS[:-1], metavar="LAYER",
        help="conv1 up to this one (conv5, fc7) stay as they are")
    add("--head-lr", type=float, metavar="F", help="learning rate of fc8, times the others' (default 1)")

    add = parser.add_argument_group("machine").add_argument
    add("--device", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--precision", choices=CHOICES["precision"], help="default auto; fp16 skips steps that overflow")
    add("--deterministic", action="store_true", default=None,
        help="the same bits on CUDA, too, which costs time")
    add("--checkpoint-minutes", type=float, metavar="M",
        help="write last.pt within an epoch, too (default 5; 0: only at its end)")
    add("--workers", type=int, metavar="N", help="threads that prepare batches (default 1; CUDA 4)")
    add("--cache", type=Path, metavar="DIR", help="where packed images lie (default data/packed)")
    add("--download", action="store_true", help="let torchvision fetch its data set")
    add("--strict", action="store_true", help="stop at an unreadable image")
    add("--keep-filters", action="store_true", default=None,
        help="keep conv1's kernels of each epoch (picture growing)")
    add("--tensorboard", action="store_true", default=None, help="log for TensorBoard, too")
    add("--quiet", action="store_true", help="only warnings and the result")
    options = parser.parse_args(arguments)
    check(options)
    return options


def broken_rule(values: dict[str, Any]) -> tuple[str, str] | None:
    """The first of an option's or a config.json's values that cannot be, and what it has to be."""
    for names, allowed, rule in (   # "not a number" is never allowed
            ("workers patience", lambda value: value >= 1, "must be at least 1"),
            ("checkpoint_minutes", lambda value: value >= 0, "must be at least 0"),
            ("epochs batch_size lr head_lr", lambda value: value > 0, "must be above 0"),
            ("momentum weight_decay warmup color_noise seed", lambda value: value >= 0,
             "must not be negative"),
            ("lr head_lr momentum weight_decay color_noise", math.isfinite, "must be finite"),
            ("image_size", lambda value: value < 10_000, "must be below 10,000"),
            ("seed", lambda value: value < 2 ** 63, "must be below 2^63")):
        for name in names.split():
            if (value := values.get(name)) is not None and not allowed(value):
                return name, rule
    return None


def check(options: argparse.Namespace) -> None:
    """UserError for what can be seen to be wrong before the images are packed."""
    if broken := broken_rule(vars(options)):
        name, rule = broken
        raise UserError(f"--{name.replace('_', '-')} {rule}")
    if options.part and (options.labels or not options.evaluate):
        raise UserError("--part belongs to --evaluate, and goes without --labels")
    if options.evaluate and (idle := [name for name in OF_TRAINING if getattr(options, name) is not None]):
        raise UserError(f"--{idle[0].replace('_', '-')} has no meaning with --evaluate, which only measures")
    if options.views and not options.evaluate:
        raise UserError("--views belongs to --evaluate")
    if options.tensorboard and not find_spec("tensorboard"):
        raise UserError("--tensorboard needs one more package: pip install tensorboard")
    if options.out and not options.evaluate and options.out.is_file():
        raise UserError(f"--out {options.out} is a file; a run is a folder")
    if (options.freeze or options.head_lr) and not (options.weights or options.resume):
        raise UserError("--freeze and --head-lr need --weights FILE: they are for fine-tuning")
    for given in filter(None, (options.evaluate, options.weights)):
        find(given)
    check_data(options.data)
    if options.resume and not (options.resume / "config.json").is_file():
        folder = options.resume.parent   # of last.pt, if that was given
        advice = f"; --resume takes the folder, {quoted(folder)}"
        raise UserError(f"{options.resume} is not a run: it has no config.json"
                        + (advice if (folder / "config.json").is_file() else ""))
    if options.resume and options.out:
        raise UserError("--resume goes on in the run's own folder; leave --out out")


if __name__ == "__main__" and "RANK" not in os.environ:   # torchrun's first have to know of each other
    with shell("train_alexnet.py"):   # a mistake is answered before torch is imported, which takes seconds
        parse()

import torch.distributed as dist

from alexnet import checkpoint, weights
from alexnet.checkpoint import Checkpoint
from alexnet.console import Console, introduce, say_finished
from alexnet.device import (World, choose_device, join_world, keep_memory, make_deterministic, meet,
                            processes, surroundings)
from alexnet.measuring import measure
from alexnet.pack import Pack, Packer, kept_in
from alexnet.recipe import default_rate, highest_rate
from alexnet.settings import Settings, outline
from alexnet.training import Run, Stopped


# ------------------------------------------------------------------- a new run, or one that goes on

def starting_point(where: str | None, given: dict[str, Any], world: World) -> Checkpoint | None:
    """What --weights holds, if it is given; UserError for options that contradict it."""
    if where is None:
        return None
    if where == PRETRAINED and world.rank == 0:
        weights.pretrained()    # the first process fetches it
    meet(world)
    start = weights.read(where)
    variant, size = start["variant"], start["image_size"]
    if given.get("variant", variant) != variant:
        raise UserError(f"--variant {given['variant']} contradicts {where}, which is {variant}; "
                        "leave --variant out")
    wanted = given.get("image_size", size)
    if wanted != size:
        units, here = start["model"]["fc6.weight"].shape
        there = checkpoint.described(start).values_after_pool5(wanted)
        reason = "so is its mean image"
        if here != there:
            reason = f"its fc6 is {units} x {here}, with {wanted} px it would be {units} x {there}"
        raise UserError(f"{where} is made for {size} px ({reason}); leave --image-size out")
    return start


def begin(given: dict[str, Any], out: Path | None,
          packer: Packer) -> tuple[Path, Settings, Pack, Checkpoint | None]:
    """A new run: its folder, its settings, its images, and the checkpoint with whose network it begins."""
    make_deterministic("deterministic" in given)
    world, where = packer.world, given.get("data", "demo")
    start = starting_point(given.get("weights"), given, world)
    if start:
        size = start["image_size"]
    else:
        size = given.get("image_size", DEMO_SIZE if where == "demo" else SIZE)
        outline(2, size, given.get("variant", "as-trained"))  # a size too small is said before packing
    pack = packer.for_training(size, where, given.get("val_fraction"), given.get("labels"))
    settings = Settings.new(given, pack, size, start)
    if world.rank == 0 and not start:
        say_learning_rate(settings, len(pack.classes), "lr" in given, packer.quiet)
    folder = [out or unused(f"results/runs/{pack.name}-{settings.variant}-{datetime.now():%Y%m%d-%H%M%S}")]
    if world.size > 1:  # one folder for all, whatever their clocks say
        dist.broadcast_object_list(folder)
    return Path(folder[0]), settings, pack, start


def unused(name: str) -> str:
    """The name, or with a number behind it: two runs may begin within a second."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in names if not Path(one).exists())


def say_learning_rate(settings: Settings, classes: int, chosen: bool, quiet: bool) -> None:
    """Warns of a --lr that may not be stable with the initial weights, or says why the default is lower."""
    recipe, shape = settings.recipe, outline(classes, settings.image_size, settings.variant)
    highest, usual = highest_rate(shape, recipe), default_rate(shape, recipe)
    if chosen and settings.lr > 1.05 * highest / 2:
        warn(f"--lr {settings.lr:g} may not be stable: with {classes} classes the first steps allow at most "
             f"{highest:.2g}, by our estimate; without --lr it is {usual:g}")
    elif not chosen and not quiet and settings.lr < recipe.rate:
        print(f"learning rate {settings.lr:g} instead of {recipe.rate:g}: with {classes} classes the first "
              f"steps allow at most {highest:.2g}, by our estimate, and this is half of it")


def go_on(folder: Path, config: dict[str, Any], given: dict[str, Any],
          packer: Packer) -> tuple[Settings, Pack, Checkpoint | None]:
    """The run of a config.json: its settings, its images, and, while it has no checkpoint, the one with whose
    network it begins."""
    settings = Settings.of_run(config["settings"], given)
    make_deterministic(settings.deterministic)
    pack = packer.for_training(settings.image_size, settings.data, settings.val_fraction, settings.labels)
    begun = any((folder / name).exists() for name in ("last.pt", "previous.pt"))
    start = None
    if "weights" in given or not begun:
        start = starting_point(settings.weights, given, packer.world)
    check_moved(config, settings, pack, start)
    return settings, pack, None if begun else start


def read_config(folder: Path) -> dict[str, Any]:
    """A run's config.json; UserError if it is none."""
    path = folder / "config.json"
    config = read_json(path)
    try:
        settings = Settings(**config["settings"])
        for field in fields(Settings):   # their types are text: "float | None"
            name, value = field.name, getattr(settings, field.name)
            kind = "None" if value is None else type(value).__name__
            kinds = field.type.partition("[")[0].replace("float", "float | int").split(" | ")
            if kind not in kinds or value not in CHOICES.get(name, (value,)):
                raise ValueError(f"{name} {value!r}")
        if broken := broken_rule(asdict(settings)):
            raise ValueError(" ".join(broken))
        outline(2, settings.image_size, settings.variant, **settings.changes)
        for name in ("content_of_data", "digest_of_weights", "cache"):
            config[name]
        for before in (config, *config["resumed"]):
            before["surroundings"].items()
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise UserError(f"{path} is not the config.json of a run ({brief(error)})") from None
    return config


def check_moved(config: dict[str, Any], settings: Settings, pack: Pack, start: Checkpoint | None) -> None:
    """UserError if the --data or the --weights of a run that goes on are not those that it was begun with."""
    before = config["settings"]
    for name in ("data", "labels"):
        if getattr(settings, name) != before.get(name) and config["content_of_data"] != pack.content:
            raise UserError(f"--{name} {getattr(settings, name)} does not give the images and classes that "
                            f"the run was begun with ({before.get(name)}): --resume goes on with the same")
    if start and checkpoint.digest(checkpoint.build(start)) != config["digest_of_weights"]:
        raise UserError(f"{settings.weights} does not hold what the run began with "
                        f"({before.get('weights') or 'new weights'}): --resume goes on with the same only")


@contextmanager
def alone_in(folder: Path, new: bool, world: World) -> Iterator[None]:
    """In this block no other process writes to a run's folder; UserError if one does, or if a `new` run's
    folder holds one already."""
    lock = alone(folder / "run") if world.rank == 0 else nullcontext(True)   # it lies in the folder
    with lock as mine:
        if not mine:
            raise UserError(f"another process is training in {folder}: two would overwrite each other's "
                            "files")
        if new and world.rank == 0 and any((folder / name).exists() for name in RUNS_FILES):
            raise UserError(f"{folder} holds a run already: --resume {quoted(folder)} goes on with "
                            "it, another --out starts a new one")
        meet(world)   # not before the first has said what is wrong
        yield


def follow(run: Run, console: Console, keep_filters: bool, again: str) -> None:
    """Trains to the end, or until somebody asks to stop. again: options that --resume needs once more."""
    try:
        for event in run.train():
            console.show(event)
            if keep_filters and run.progress.batch == 0:   # between epochs
                run.keep_filters()
    except Stopped:
        if run.world.rank == 0:
            here = os.environ.get("LOCAL_WORLD_SIZE", run.world.size)   # of several nodes', this one's
            start = "python" if run.world.size == 1 else f"torchrun --nproc-per-node {here}"
            print(f"stopped in epoch {run.progress.epoch + 1}; {start} train_alexnet.py --resume "
                  f"{quoted(run.folder)}{again} goes on exactly there")
        sys.exit(128 + (console.asked or signal.SIGTERM))   # another process was asked


# ------------------------------------------------------------------- config.json

def write_config(run: Run, old: dict[str, Any] | None, cache: Path, start: Checkpoint | None) -> None:
    """config.json: what a new run is, or that an `old` one goes on."""
    pack = run.pack
    now = {"command": sys.argv[1:], "started": datetime.now().isoformat(timespec="seconds"),
           "surroundings": surroundings(run.device, run.world, run.dtype)}
    if old:
        before = (old["resumed"] or [old])[-1]["surroundings"]
        changed = [f"{name} {before.get(name)} is now {value}" for name, value in now["surroundings"].items()
                   if name not in ("processes", "cores", "system") and before.get(name) != value]
        if changed:
            warn(f"{', '.join(changed)}: not the same bits as without a stop")
        goes_on = {"epoch": run.progress.epoch, "batch": run.progress.batch, **now}
        config = {**old, "settings": asdict(run.settings), "resumed": [*old["resumed"], goes_on]}
        if old["content_of_data"] != pack.content:
            warn(f"the images of {pack.name} have changed since the run was started")
    else:
        config = {"settings": asdict(run.settings), "classes": pack.classes,
                  "images": {part: len(labels) for part, labels in pack.labels.items()},
                  "content_of_data": pack.content,
                  "digest_of_weights": checkpoint.digest(checkpoint.build(start)) if start else None,
                  **now, "resumed": []}
    write_json(run.folder / "config.json", {**config, "cache": str(cache.resolve())})


# ------------------------------------------------------------------- main

def main(arguments: list[str] | None = None) -> None:
    with shell("train_alexnet.py"), processes():
        options = parse(arguments)
        keep_memory()
        device = choose_device(options.device or "auto")
        world = join_world(device)
        given = {field.name: value for field in fields(Settings)
                 if (value := getattr(options, field.name, None)) is not None}
        config = read_config(options.resume) if options.resume else None
        cache = options.cache
        if not cache and not options.evaluate:   # there the checkpoint will tell
            cache = kept_in(config and config["cache"])
        packer = Packer(world, cache, options.download, options.strict, options.quiet)
        if options.evaluate:
            measure(Path(options.evaluate), given, options.part, options.views, options.out, packer, device)
            return
        if options.resume:
            folder = options.resume
            settings, pack, start = go_on(folder, config, given, packer)
        else:
            folder, settings, pack, start = begin(given, options.out, packer)
        with alone_in(folder, not options.resume, world):
            workers = options.workers or (4 if device.type == "cuda" else 1)
            minutes = 5.0 if options.checkpoint_minutes is None else options.checkpoint_minutes or math.inf
            run = Run(folder, settings, pack, device, world, workers, start, minutes)
            restored = bool(options.resume) and run.restore()
            if run.finished:
                if world.rank == 0:
                    run.report()   # the last epoch's may be missing
                    if config and settings != Settings(**config["settings"]):   # its images have moved
                        write_config(run, config, packer.cache, start)
                    say_finished(run)
                return
            console = Console(run, options.quiet, bool(options.tensorboard))
            if world.rank == 0:
                write_config(run, config, packer.cache, start)
            if not console.quiet:
                introduce(run, restored, start)
            start = None   # its weights are in the network now: room for the training
            again = "".join(f" --{name.replace('_', '-')}" + ("" if value is True else f" {value}")
                            for name in OF_MACHINE if (value := getattr(options, name)) is not None)
            follow(run, console, bool(options.keep_filters), again)
            if world.rank == 0:
                console.conclude()


if __name__ == "__main__":
    main()
