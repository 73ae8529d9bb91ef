"""Fine-tuning beside training from scratch: `python -m results.fine_tuning --data IMAGENETTE`.

A network learns the first seven classes of a folder; then the other three are learnt from 50, 200 and
all training pictures a class: with its weights (`train_alexnet.py --weights`), with its convolutions
frozen, and from nothing in the same batches and epochs, so in about the same time. Each run leaves a JSON
file in results/fine-tuning/ and is skipped when that is there; the table (README.md) and the plot
(errors.png) are made from these files alone.

    python -m results.fine_tuning --data path/to/imagenette --image-size 64
    python -m results.fine_tuning                       the table and the plot anew
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from alexnet.cli import shell, typed_path
from alexnet.files import UserError, read_csv, read_json, write_json
from alexnet.folders import Folder
from results import plots
from results.pages import PAGES, Text, fill, joined, picture, term, row, table, text

HERE = Path(__file__).resolve().parent
LEARNT = 7                    # classes of the first network, in the order of their names
PICTURES = (50, 200, None)    # a class; None: all
KINDS = {"fine-tuned": [], "conv1 to conv5 frozen": ["--freeze", "conv5"],
         "from scratch": ["--batch-size", "32"]}   # as fine-tuning


def part_of(data: Path, folder: Path, classes: list[str], pictures: int | None = None, seed: int = 0) -> Path:
    """A folder of links to some classes of `data`; to so many training pictures, which the seed picks."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("train", "val"):
        for name in classes:
            files = Folder(data / part / name).all_images()
            if part == "train" and pictures:
                chosen = np.random.default_rng(seed).permutation(len(files))[:pictures]
                files = [files[index] for index in sorted(chosen)]
            (folder / part / name).mkdir(parents=True)
            for file in files:
                (folder / part / name / file.name).symlink_to(file.resolve())
    return folder


def train(options: argparse.Namespace, data: Path, run: Path, seed: int, *more: str | Path) -> dict[str, Any]:
    """A run of train_alexnet.py with its defaults: its settings, its errors after each epoch, its seconds."""
    shutil.rmtree(run, ignore_errors=True)
    size = [] if "--weights" in more else ["--image-size", options.image_size]
    epochs = ["--epochs", options.epochs] if options.epochs else []
    command = [sys.executable, "train_alexnet.py", "--data", data, "--out", run, "--cache",
               options.work / "packed", "--seed", seed, "--quiet", *size, *epochs, *more]
    subprocess.run([str(word) for word in command], cwd=HERE.parent, check=True, stdout=subprocess.DEVNULL)
    rows = [{name: float(value) for name, value in row.items()} for row in read_csv(run / "metrics.csv")]
    config = read_json(run / "config.json")
    kept = ("image_size", "epochs", "batch_size", "lr", "head_lr", "freeze", "schedule", "variant")
    return {"settings": {name: config["settings"][name] for name in kept},
            "classes": config["classes"], "images": config["images"], "surroundings": config["surroundings"],
            "errors": [row["val_top1_error"] for row in rows], "seconds": sum(row["seconds"] for row in rows),
            "date": date.today().isoformat()}


def measure(options: argparse.Namespace) -> None:
    """Every run that has left no JSON yet."""
    data = options.data
    classes = sorted(Folder(data / "train").folders)
    if len(classes) < LEARNT + 2 or not (data / "val").is_dir():
        raise UserError(f"{data} must hold train/ and val/ with at least {LEARNT + 2} classes")
    first, first_json = options.work / "first" / "last.pt", options.out / "first.json"
    if not first.exists() or not first_json.exists():
        found = train(options, part_of(data, options.work / "learnt", classes[:LEARNT]),
                      options.work / "first", 0)
        write_json(first_json, found)
        print(f"the first network: {found['errors'][-1]:.1%} error on {LEARNT} classes", flush=True)
    for seed, pictures, kind in itertools.product(range(options.seeds), PICTURES, KINDS):
        name = f"{kind.replace(' ', '-')}-{pictures or 'all'}-{seed}"
        result = options.out / f"{name}.json"
        if result.exists():
            continue
        folder = part_of(data, options.work / "data" / name, classes[LEARNT:], pictures, seed)
        more = [*KINDS[kind], *(["--weights", first] if kind != "from scratch" else [])]
        found = train(options, folder, options.work / "run", seed, *more)
        write_json(result, {"kind": kind, "pictures": pictures, "seed": seed, **found})
        print(f"{name}: {found['errors'][-1]:.1%} error, {found['seconds']:.0f} s", flush=True)
        shutil.rmtree(options.work / "run")    # checkpoints are large


def report(out: Path) -> None:
    """The pages and errors.png from the JSON files."""
    runs = [read_json(path) for path in sorted(out.glob("*.json")) if path.name != "first.json"]
    if not runs or not (out / "first.json").is_file():
        raise UserError(f"there is no result, or no first.json, in {out}: give --data")
    first = read_json(out / "first.json")
    counted = [{**run, "pictures": run["pictures"] or run["images"]["train"] // len(run["classes"])}
               for run in runs]
    plots.few_pictures(counted, list(KINDS), out / "errors.png")
    columns = ("training images per class", "way", "top-1 error", "lowest to highest", "seconds", "epochs",
               "batch", "learning rate", "fc8's, times that", "seeds")
    rows = [row_of(group) for pictures in PICTURES for kind in KINDS
            if (group := [run for run in runs if (run["kind"], run["pictures"]) == (kind, pictures)])]
    fill(out, "runs", [*picture(out, "errors.png", "Errors of fine-tuning and of training from scratch"),
                       *table(columns, rows), conditions(first, runs)], term("Fine-tuning"))
    print(f"written to {out}: {', '.join(PAGES.values())}, errors.png")


def row_of(group: list[dict[str, Any]]) -> Text:
    """The runs of one way with so many images, all seeds."""
    errors, settings = [run["errors"][-1] for run in group], group[0]["settings"]
    spread = text("fine-tuning.range", min(errors), max(errors)) if len(errors) > 1 else ""
    return row(group[0]["pictures"] or term("all"), term(group[0]["kind"]), f"{mean(errors):.1%}", spread,
               f"{mean(run['seconds'] for run in group):.0f}", settings["epochs"], settings["batch_size"],
               f"{settings['lr']:g}", f"{settings['head_lr']:g}", joined(str(run["seed"]) for run in group))


def conditions(first: dict[str, Any], runs: list[dict[str, Any]]) -> Text:
    settings, about, days = first["settings"], first["surroundings"], sorted(run["date"] for run in runs)
    return text("fine-tuning.conditions", settings["variant"], settings["image_size"],
                joined(first["classes"]), settings["epochs"], first["errors"][-1], joined(runs[0]["classes"]),
                runs[0]["images"]["val"], joined(dict.fromkeys([days[0], days[-1]]), " to ", " 至 "),
                about["cores"], about["device"], about["computed_in"], about["torch"], settings["image_size"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--data", type=typed_path,
        help="a folder with train/ and val/, ten classes (Imagenette); without it only table and plot")
    add("--out", type=typed_path, default=HERE / "fine-tuning", help="default results/fine-tuning")
    add("--work", type=typed_path, default=HERE / "runs" / "fine-tuning",
        help="runs and links (default results/runs/fine-tuning)")
    add("--image-size", type=int, default=128, metavar="PX", help="default 128")
    add("--epochs", type=int, metavar="N", help="of every run (default train_alexnet.py's)")
    add("--seeds", type=int, default=3, metavar="N", help="default 3")
    options = parser.parse_args()
    options.out, options.work = options.out.resolve(), options.work.resolve()
    with shell("results.fine_tuning"):
        try:
            if options.data:
                measure(options)
        except subprocess.CalledProcessError as error:
            sys.exit(error.returncode)   # it has said why
        report(options.out)


if __name__ == "__main__":
    main()
