"""What 14 years were worth: the same network and data, one change after another towards today's recipe.

Each change is tried on top of those kept before it, with two seeds, and kept if the mean error on a held-out
part of the training images (15%) is lower; then all of them at once. In the end the recipe of 2012 and the one with
all that was kept are trained on all training images, three seeds each, and measured on the validation part, which
chose nothing; then they and all changes at once for five times as long (added when the rest was known).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from alexnet.pack import Pack
from alexnet.device import choose_precision, precision
from alexnet.model import AlexNet
from alexnet.training import (DROPOUT, RECIPES, TrainingBatches, World, compute_ready, evaluate, generator,
                              make_optimizer, set_rates, steps)
from results import plots
from results.ablations import EPOCHS, HELD_OUT, SIZE
from results.pages import Text, fill, percent, picture, say
from results.units import CPU, Place, Unit, pieces
from results.verdicts import t_interval

TITLE, BATCH, LONG = Text("What 14 years were worth", "十四年的进步值多少"), 128, 60
OLD, NEW, ALL = "final, 2012", "final, today", "final, all together"


@dataclass(frozen=True)
class Today:
    """A recipe between 2012's, which the defaults are, and today's."""

    he_init: bool = False           # weights of variance 2 / inputs, biases 0, pixels divided
    batch_norm: bool = False        # after each convolution, instead of LRN
    inverted_dropout: bool = False
    smoothing: float = 0.0          # of the labels
    cosine: bool = False            # schedule
    resized_crops: bool = False     # RandomResizedCrop instead of shifts
    no_colour_noise: bool = False
    nesterov: bool = False
    ema: float = 0.0                # of the weights, for evaluation
    adamw: bool = False
    rate: float = 0.01


# In the order in which they became usual.
CHANGES: dict[str, dict[str, Any]] = {
    "2012": {},
    "He init, divided pixels": {"he_init": True},
    "batch norm, no LRN": {"batch_norm": True},
    "inverted dropout": {"inverted_dropout": True},
    "label smoothing 0.1": {"smoothing": 0.1},
    "RandomResizedCrop": {"resized_crops": True},
    "no colour noise": {"no_colour_noise": True},
    "Nesterov momentum": {"nesterov": True},
    "cosine schedule": {"cosine": True},
    "rate 0.03": {"rate": 0.03},   # batch norm is said to allow it
    "EMA of the weights": {"ema": 0.99},
    "AdamW, rate 0.0005": {"adamw": True, "rate": 0.0005},
}
# Added when the first five were known: He's weights and inverted dropout are dropped, for each alone does harm to a
# recipe that was made without it. Here nothing is missing; optimiser and rate are those kept by then.
CHANGES["all together"] = {field: value for change in CHANGES.values() if "rate" not in change
                           for field, value in change.items()}
NAMES = list(CHANGES)


# ------------------------------------------------------------------- network and batches

def network(recipe: Today, pack: Pack) -> AlexNet:
    """AlexNet with what the recipe changes."""
    changes: dict[str, Any] = {"dropout": "inverted"} if recipe.inverted_dropout else {}
    if recipe.he_init:
        changes |= {"bias": (0,) * 8, "pixel_std": (58.0,) * 3}
    model = AlexNet(len(pack.classes), SIZE, **changes)
    model.mean.copy_(pack.mean_crop(SIZE))
    layers = {name: layer for name, layer in model.named_children() if isinstance(layer, (nn.Conv2d, nn.Linear))}
    if recipe.he_init:
        for layer in layers.values():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(model.fc8.weight, std=0.01)   # logits start near 0
    if recipe.batch_norm:
        for name, layer in layers.items():
            if isinstance(layer, nn.Conv2d):
                setattr(model, name, nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels)))
        model.norm1 = model.norm2 = model.mapnorm2 = nn.Identity()
    return model


# ------------------------------------------------------------------- training

def learned(unit: Unit, place: Place, recipe: Today, pack: Pack) -> tuple[nn.Module, list[dict[str, Any]]]:
    """The network to be measured, after the last epoch, and the curve."""
    torch.manual_seed(unit.seed)
    model = network(recipe, pack)
    compute_ready(model, CPU, World())
    dtype = choose_precision("auto", CPU)
    paper = RECIPES["as-trained"]
    optimizer = (torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=0.05) if recipe.adamw
                 else make_optimizer(model, paper))
    if recipe.nesterov and not recipe.adamw:
        for group in optimizer.param_groups:
            group["nesterov"] = True
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema or 0.5), use_buffers=True)
    epochs = place.few(unit.config["epochs"])

    def set_rate(done: float) -> None:
        factor = (0.5 * (1 + math.cos(math.pi * done / epochs)) if recipe.cosine
                  else steps(int(done), epochs, []).rate)
        if recipe.adamw:
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * factor
        else:
            set_rates(optimizer, recipe.rate * factor)

    def an_epoch(rows: list[dict[str, Any]]) -> dict[str, Any]:
        epoch = len(rows)
        noise = 0.0 if recipe.no_colour_noise else paper.noise
        batches = TrainingBatches(pack, SIZE, BATCH, unit.seed, epoch, CPU, noise=noise,
                                  augmentation="resized" if recipe.resized_crops else "shifts")
        model.train()
        loss = seen = 0
        for batch in batches:
            set_rate(epoch + batch.index / len(batches))
            torch.manual_seed(generator("cpu", unit.seed, epoch, batch.index, DROPOUT).initial_seed())
            with precision(CPU, dtype):
                logits = model(batch.images)
            mean = F.cross_entropy(logits.float(), batch.labels, label_smoothing=recipe.smoothing)
            mean.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if recipe.ema:
                average.update_parameters(model)
            loss, seen = loss + mean.item() * batch.total, seen + batch.total
        measured = average.module if recipe.ema else model
        return {"epoch": epoch + 1, "train_loss": loss / seen,
                "val_top1_error": evaluate(measured, pack)["top1_error"] if math.isfinite(loss) else 1.0,
                "precision": str(dtype)}

    parts = {"model": model, "optimizer": optimizer} | ({"average": average} if recipe.ema else {})
    curve = pieces(unit, place, epochs, parts, an_epoch,
                   lambda rows: bool(rows) and not math.isfinite(rows[-1]["train_loss"]))
    return (average.module if recipe.ema else model), curve


def attempt(unit: Unit, place: Place) -> dict[str, Any]:
    """The error on held-out images of one change on top of those kept before it."""
    recipe = replace(kept_before(place, NAMES.index(unit.case)), **CHANGES[unit.case])
    _, curve = learned(unit, place, recipe, place.pack("imagenette", SIZE, HELD_OUT))
    return {"result": {"recipe": asdict(recipe), "error": curve[-1]["val_top1_error"]}, "curve": curve}


def final(unit: Unit, place: Place) -> dict[str, Any]:
    """The error on the validation part, after training on all training images."""
    recipe = Today() if unit.case.startswith(OLD) else kept_before(place, len(NAMES))
    if unit.case.startswith(ALL):
        recipe = replace(kept_before(place, len(NAMES) - 1), **CHANGES["all together"])
    pack = place.pack("imagenette", SIZE)
    model, curve = learned(unit, place, recipe, pack)
    ten = evaluate(model, pack, views=10)["top1_error"] if math.isfinite(curve[-1]["train_loss"]) else 1.0
    return {"result": {"recipe": asdict(recipe), "val_top1_error": curve[-1]["val_top1_error"],
                       "ten_views_top1_error": ten}, "curve": curve}


# ------------------------------------------------------------------- what is kept

def error(place: Place, name: str) -> float | None:
    """The mean error of a change on held-out images, once all its seeds are there."""
    wanted = attempts(name)
    contents = place.found_all(wanted)
    return None if len(contents) < len(wanted) else sum(one["result"]["error"] for one in contents) / len(contents)


def decisions(place: Place) -> dict[str, bool]:
    """For each change that was tried, in order, whether it is kept."""
    best, kept = math.inf, {}
    for name in NAMES:
        now = error(place, name)
        if now is None:
            break
        kept[name] = now < best
        best = min(best, now)
    return kept


def kept_before(place: Place, index: int) -> Today:
    """The recipe that change number `index` builds on."""
    kept = decisions(place)
    recipe = Today()
    for name in NAMES[:index]:
        if kept[name]:
            recipe = replace(recipe, **CHANGES[name])
    return recipe


# ------------------------------------------------------------------- the units

def attempts(name: str) -> list[Unit]:
    index = NAMES.index(name)
    needs = tuple(attempts(NAMES[index - 1])) if index else ()
    config = {"changes": CHANGES[name], "held_out": HELD_OUT, "epochs": EPOCHS, "image_size": SIZE, "batch": BATCH}
    return [Unit("modern", name, seed, config, attempt, 3, "imagenette", needs) for seed in range(2)]


def finals(case: str, epochs: int = EPOCHS) -> list[Unit]:
    config = {"epochs": epochs, "image_size": SIZE, "batch": BATCH}
    name = case if epochs == EPOCHS else f"{case}, {epochs} epochs"
    return [Unit("modern", name, seed, config, final, 0.25 * epochs, "imagenette", tuple(attempts(NAMES[-1])))
            for seed in range(3)]


def units() -> list[Unit]:
    long = (unit for seed in zip(*(finals(case, LONG) for case in (OLD, NEW, ALL))) for unit in seed)
    return [*(unit for name in NAMES for unit in attempts(name)), *finals(OLD), *finals(NEW), *long]


# ------------------------------------------------------------------- the report

def report(place: Place) -> list[str]:
    """Writes results/modern/: the page and its figure. The lines for the page of all results."""
    out, kept = place.out / "modern", decisions(place)
    if not kept:
        return []
    errors = {name: 100 * error(place, name) for name in kept}
    plots.stairs([(name, errors[name], kept[name]) for name in kept], out / "steps.png",
                   f"{TITLE.en}: AlexNet, Imagenette, {SIZE} px, {EPOCHS} epochs",
                   "top-1 error on held-out training images, %")
    lines = ["Made by `python -m results.reproduce table`; the runs by `python -m "
             "results.reproduce run modern --imagenette DIR`. Each change on top of those kept above it; two seeds; kept "
             "if the mean error on 15% of the training images, held out, is lower.", "", *picture(out, "steps.png"),
             "| change | error, held-out part | bought, points | |", "|---|---|---|---|"]
    best = math.nan
    for name in kept:
        lines.append(f"| {name} | {errors[name]:.2f}% | {'' if math.isnan(best) else f'{best - errors[name]:+.2f}'} | "
                     f"{'kept' if kept[name] else 'dropped'} |")
        best = errors[name] if kept[name] else best
    fill(out, "runs", [*lines, "", *final_lines(place)], TITLE)
    return [say("## {}", "## {}", TITLE), "", *picture(place.out, "modern/steps.png"), *final_lines(place), "",
            "[Each change](modern/README.md).", ""]


def errors_of(place: Place, case: str, epochs: int = EPOCHS) -> list[float]:
    """On the validation part, by seed; empty until all are there."""
    wanted = finals(case, epochs)
    contents = place.found_all(wanted)
    return [] if len(contents) < len(wanted) else [content["result"]["val_top1_error"] for content in contents]


def in_short(place: Place) -> str:
    """The errors at both ends, once all seeds are there."""
    said = [f"{percent(fmean(old))} with the recipe of 2012, {percent(fmean(new))} with today's after {epochs} epochs"
            for epochs in (EPOCHS, LONG) if (old := errors_of(place, OLD, epochs)) and (new := errors_of(place, NEW, epochs))]
    return f"top-1 error, {SIZE} px: {'; '.join(said)}" if said else ""


def final_lines(place: Place) -> list[str]:
    rows = []
    for epochs in (EPOCHS, LONG):
        old = errors_of(place, OLD, epochs)
        for case, says in ((OLD, "2012"), (NEW, "all that was kept"), (ALL, "all together")):
            if errors := errors_of(place, case, epochs):
                bought = t_interval([a - b for a, b in zip(old, errors)]).text().en if old and case != OLD else ""
                rows.append(f"| {says} | {epochs} | {percent(fmean(errors))} | {bought} |")
    if not rows:
        return ["The comparison on the validation part: not run yet."]
    return ["Trained on all training images, measured on the validation part (one view, three seeds):", "",
            "| recipe | epochs | top-1 error | bought |", "|---|---|---|---|", *rows]
