"""What to do about classes of unequal size: `python -m results.balance --imagenette DIR`.

Every second class of Imagenette keeps a tenth of its training images (the seed picks them); the validation
part stays as it is. A network learns them in three ways, from the same initial weights, in the same number of
steps:

    plain      every image once in an epoch
    weights    the same; an image's loss counts N / (C n) times, n being the size of its class
    sampling   each image of an epoch is drawn: first a class, all alike, then one of its images

The measure is the mean of the per-class errors of the last network, one crop; a run whose loss is no number
counts as chance. RULE, fixed before the runs: `--balance` means whichever of weights and sampling has the
lower mean over the seeds; where the 95% t interval of their paired differences holds 0, it means sampling,
which changes neither the loss nor its reading. It is worth an option at all if it is better than plain.

Each run leaves a JSON file in results/experiments/balance/, and is skipped where that is there.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from alexnet.batches import TrainingBatches
from alexnet.cli import shell, typed_path
from alexnet.device import World, choose_precision, compute_ready, keep_memory, precision
from alexnet.files import UserError
from alexnet.images import packed_side
from alexnet.model import AlexNet
from alexnet.pack import Pack
from alexnet.recipe import RECIPES, make_optimizer, set_rates, two_drops
from alexnet.training import masks
from results import units as running
from results.ablations import BASE, all_probabilities
from results.pages import fill, joined, term, percent, row, table, text
from results.units import TOY_STEPS, Place, Unit, pieces
from results.verdicts import t_interval

TITLE, WAYS = term("Classes of unequal size"), ("plain", "weights", "sampling")
LARGE, SMALL = slice(0, None, 2), slice(1, None, 2)   # classes: every second one is cut
SIZE, EPOCHS, BATCH, RATE, PART, SEEDS = 64, 10, 128, 0.01, 10, 3


def unequal(pack: Pack, seed: int) -> Pack:
    """The same with a tenth of the training images of every second class."""
    labels, chance = pack.labels["train"], np.random.default_rng(seed)
    kept = []
    for label in range(len(pack.classes)):
        images = chance.permutation(np.flatnonzero(labels == label))
        kept.append(images[:len(images) // PART] if label % 2 else images)
    chosen = np.sort(np.concatenate(kept))
    return replace(pack, images={**pack.images, "train": pack.images["train"][chosen]},
                   labels={**pack.labels, "train": labels[chosen]})


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    """Trains in one way; per-class errors at the end."""
    pack = unequal(place.pack("imagenette", SIZE), unit.seed)
    labels = torch.from_numpy(pack.labels["train"])
    sizes = torch.bincount(labels, minlength=len(pack.classes))
    factors = len(labels) / (len(sizes) * sizes) if unit.case == "weights" else torch.ones(len(sizes))
    factors = factors.to(place.device)
    torch.manual_seed(unit.seed)
    model, recipe = AlexNet(len(pack.classes), SIZE), RECIPES["as-trained"]
    dtype = choose_precision("auto", place.device)
    model.mean.copy_(pack.mean_crop(SIZE))
    compute_ready(model, place.device, World())
    optimizer = make_optimizer(model, recipe)
    settings = replace(BASE, image_size=SIZE, batch_size=BATCH, seed=unit.seed,
                       balance=unit.case == "sampling")

    def an_epoch(rows: list[dict[str, Any]]) -> dict[str, Any]:
        epoch, sums, count = len(rows), 0.0, 0
        batches = TrainingBatches(pack, settings, epoch, model.mean[0])
        model.train()
        set_rates(optimizer, RATE * two_drops(epoch, EPOCHS, []).rate)
        for batch in batches:
            if place.toy and batch.index == TOY_STEPS:
                break
            with masks(model, unit.seed, epoch, batch.index), precision(place.device, dtype):
                logits = model(batch.images)
            losses = F.cross_entropy(logits.float(), batch.labels, reduction="none") * factors[batch.labels]
            losses.mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            sums, count = sums + losses.sum().item(), count + len(losses)
        return {"epoch": epoch + 1, "train_loss": sums / count}

    curve = pieces(unit, place, place.few(EPOCHS), {"model": model, "optimizer": optimizer}, an_epoch,
                   lambda rows: bool(rows) and not math.isfinite(rows[-1]["train_loss"]))
    chance_level = 1 - 1 / len(sizes)
    errors = (errors_by_class(model.eval(), pack) if math.isfinite(curve[-1]["train_loss"])
              else [chance_level] * len(sizes))
    return {"result": {"images": sizes.tolist(), "errors": errors, "error": mean(errors),
                       "precision": str(dtype)}, "curve": curve}


def errors_by_class(model: AlexNet, pack: Pack) -> list[float]:
    """Top-1 error on the validation images of each class, one crop, in float32."""
    labels = pack.labels["val"]
    wrong = all_probabilities(model, pack).argmax(1) != labels
    return [wrong[labels == label].mean().item() for label in range(len(pack.classes))]


def units() -> list[Unit]:
    config = {"image_size": SIZE, "side": packed_side(SIZE), "epochs": EPOCHS, "batch": BATCH, "rate": RATE,
              "part": PART}
    return [Unit("balance", way, seed, config, compute, 3, "imagenette") for seed in range(SEEDS)
            for way in WAYS]


def report(place: Place) -> None:
    """results/balance/README.md from the JSON files."""
    place.found_all(units())   # of one precision
    found = {(unit.case, unit.seed): content["result"] for unit in units() if (content := place.found(unit))}
    seeds = [seed for seed in range(SEEDS) if all((way, seed) in found for way in WAYS)]
    if not seeds:
        raise UserError(f"no seed is complete in {place.out / 'experiments' / 'balance'}: give --imagenette")

    def by_seed(way: str, part: slice = slice(None)) -> list[float]:
        return [mean(found[way, seed]["errors"][part]) for seed in seeds]

    rows = [row(term(way), *(percent(mean(by_seed(way, part))) for part in (slice(None), LARGE, SMALL)),
                joined(map(percent, by_seed(way)))) for way in WAYS]
    pairs = [("plain", "weights"), ("plain", "sampling"), ("weights", "sampling")]
    apart = [text("balance.difference", term(one), term(other),
                  t_interval([a - b for a, b in zip(by_seed(one), by_seed(other))]).text())
             for one, other in pairs if len(seeds) > 1]
    columns = ("way", "all classes", "large classes", "small classes", "all classes, by seed")
    fill(place.out / "balance", "runs", [*table(columns, rows), *apart, "", text(
        "balance.conditions", SIZE, EPOCHS, BATCH, RATE, SEEDS, joined(map(str, seeds)))], TITLE)
    print(f"written to {place.out / 'balance'}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m results.balance", description=__doc__.split("\n\n")[0])
    parser.add_argument("--imagenette", metavar="DIR", type=typed_path,
                        help="a folder with train/ and val/; without it only the page")
    parser.add_argument("--out", metavar="DIR", type=typed_path, default=running.RESULTS,
                        help="default results/")
    parser.add_argument("--toy", action="store_true",
                        help="as small as can be, to see that it works; needs --out")
    options = parser.parse_args()
    place = Place(options.out.resolve(), {"imagenette": options.imagenette}, options.toy)
    if place.toy and place.out == running.RESULTS:
        parser.error("--toy needs --out DIR: its numbers mean nothing")
    keep_memory()
    with shell("results.balance"):
        for unit in units() if options.imagenette else ():
            if running.run(unit, place):
                print(unit.name, percent(place.found(unit)["result"]["error"]), flush=True)
        report(place)


if __name__ == "__main__":
    main()
