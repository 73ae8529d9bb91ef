"""What 14 years were worth: the same network and data, one change after another towards today's recipe.

Each change is tried on top of those kept before it, with two seeds, and kept if the mean error on held-out
training images (15%) is lower; then all but the learning rate of 0.03 at once. In the end the recipe of 2012
and the one with all kept changes are trained on all training images, three seeds each, and measured on the
validation images, which chose nothing; then both, and all changes at once, for five times as long (added when
that was known).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from alexnet.batches import DROPOUT, TrainingBatches, generator
from alexnet.device import World, choose_precision, compute_ready
from alexnet.model import AlexNet
from alexnet.pack import Pack
from alexnet.recipe import RECIPES, make_optimizer, set_rates, two_drops
from alexnet.training import evaluate
from results import plots
from results.ablations import BASE, EPOCHS, HELD_OUT, SIZE
from results.pages import Text, fill, heading, joined, percent, picture, row, say, table, texts
from results.peers import Tally, step
from results.series import val_error
from results.units import RESULTS, Place, Unit, pieces
from results.verdicts import t_interval

TITLE = Text("What 14 years were worth", "十四年的进步值多少")
BATCH, LONG = 128, 60
STEPS_SHOW = "Errors after one change of the recipe after another"   # what the figure shows
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
    rate: float = 0.01              # learning rate at the start


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
    "rate 0.03": {"rate": 0.03},   # which batch norm is said to allow
    "EMA of the weights": {"ema": 0.99},
    "AdamW, rate 0.0005": {"adamw": True, "rate": 0.0005},
}
# Added when the first five were known: He initialisation and inverted dropout were dropped, since each alone
# makes a recipe worse that was made without it. Here nothing is left out; optimiser and learning rate are
# those kept by then.
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
    layers = {name: layer for name, layer in model.named_children()
              if isinstance(layer, (nn.Conv2d, nn.Linear))}
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

def optimizer_of(recipe: Today, model: AlexNet) -> torch.optim.Optimizer:
    """SGD as in 2012, perhaps with Nesterov's momentum, or AdamW; for `set_rates`."""
    if recipe.adamw:
        group = {"params": model.parameters(), "factor": 1.0, "first": False}
        return torch.optim.AdamW([group], recipe.rate, weight_decay=0.05)
    optimizer = make_optimizer(model, RECIPES["as-trained"])
    for group in optimizer.param_groups:
        group["nesterov"] = recipe.nesterov
    return optimizer


def rate_after(recipe: Today, done: float, epochs: int) -> float:
    """The learning rate after `done` of all epochs."""
    if recipe.cosine:
        return recipe.rate * 0.5 * (1 + math.cos(math.pi * done / epochs))
    return recipe.rate * two_drops(int(done), epochs, []).rate


def learned(unit: Unit, place: Place, recipe: Today, pack: Pack) -> tuple[nn.Module, list[dict[str, Any]]]:
    """The network to be measured, after the last epoch, and the curve."""
    torch.manual_seed(unit.seed)
    model = network(recipe, pack)
    compute_ready(model, place.device, World())
    dtype = choose_precision("auto", place.device)
    optimizer = optimizer_of(recipe, model)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer}
    if recipe.ema:
        parts["average"] = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema),
                                         use_buffers=True)
    measured = parts["average"].module if recipe.ema else model
    epochs = place.few(unit.config["epochs"])

    def an_epoch(rows: list[dict[str, Any]]) -> dict[str, Any]:
        epoch, tally = len(rows), Tally()
        settings = replace(BASE, image_size=SIZE, batch_size=BATCH, seed=unit.seed,
                           color_noise=0.0 if recipe.no_colour_noise else 0.1,
                           augmentation="resized" if recipe.resized_crops else "shifts")
        batches = TrainingBatches(pack, settings, epoch, model.mean[0])
        model.train()
        for batch in batches:
            set_rates(optimizer, rate_after(recipe, epoch + batch.index / len(batches), epochs))
            torch.manual_seed(generator("cpu", unit.seed, epoch, batch.index, DROPOUT).initial_seed())
            loss, logits = step(model, optimizer, batch.images, batch.labels, dtype, recipe.smoothing)
            tally.add(loss, logits, batch.labels)
            if recipe.ema:
                parts["average"].update_parameters(model)
        error = evaluate(measured, pack)["top1_error"] if math.isfinite(tally.loss) else 1.0
        return {"epoch": epoch + 1, "train_loss": tally.mean_loss, "val_top1_error": error,
                "precision": str(dtype)}

    def diverged(rows: list[dict[str, Any]]) -> bool:
        return bool(rows) and not math.isfinite(rows[-1]["train_loss"])

    return measured, pieces(unit, place, epochs, parts, an_epoch, diverged)


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
    found = place.results(wanted)
    return sum(one["error"] for one in found) / len(found) if len(found) == len(wanted) else None


def decisions(place: Place) -> dict[str, bool]:
    """For each change that was tried, in order, whether it is kept."""
    place.found_all(unit for name in NAMES for unit in attempts(name))   # of one precision
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
    config = {"changes": CHANGES[name], "held_out": HELD_OUT, "epochs": EPOCHS, "image_size": SIZE,
              "batch": BATCH}
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

LABELS = texts(RESULTS / "modern" / "labels.json")   # of CHANGES, on the pages
RECIPES_COMPARED = {OLD: LABELS["2012"], NEW: Text("kept changes", "保留的改动"), ALL: LABELS["all together"]}
KEPT, DROPPED = Text("kept", "保留"), Text("dropped", "舍弃")
plots.add_words([*LABELS.values(), *RECIPES_COMPARED.values()])


def report(place: Place) -> list[Text | str]:
    """Writes results/modern/: its pages and the figure. Returns the lines for the page of all results."""
    out, kept = place.out / "modern", decisions(place)
    if not kept:
        return []
    finals = {label.en: {epochs: [100 * error for error in errors] for epochs in (EPOCHS, LONG)
                         if (errors := errors_of(place, case, epochs))}
              for case, label in RECIPES_COMPARED.items()}
    plots.changes([(LABELS[name].en, 100 * error(place, name), kept[name]) for name in kept],
                  {name: lengths for name, lengths in finals.items() if lengths}, out / "steps.png",
                  f"{EPOCHS} epochs: one change after another (blue: kept)",
                  "top-1 error on held-out images, %")
    fill(out, "summary", final_lines(place), TITLE)
    fill(out, "runs", [*picture(out, "steps.png", STEPS_SHOW), *attempt_lines(place, kept)])
    return [heading(TITLE), "", *picture(place.out, "modern/steps.png", STEPS_SHOW),
            *final_lines(place),
            Text("[Each change](modern/README.md).", "[每一项改动](modern/README.zh-CN.md)。"), ""]


def attempt_lines(place: Place, kept: dict[str, bool]) -> list[Text | str]:
    """One row per change: its error on held-out images, on top of the changes kept before it."""
    rows, best = [], math.nan
    for name in kept:
        contents, mean = place.found_all(attempts(name)), error(place, name)
        seeds = " / ".join(percent(content["result"]["error"]) for content in contents)
        losses = [content["curve"][-1]["train_loss"] for content in contents if content["curve"]]
        lower = "" if math.isnan(best) else f"{100 * (best - mean):+.2f}"
        loss = f"{fmean(losses):.2f}" if losses else ""
        rows.append(row(LABELS[name], percent(mean), seeds, lower, loss, KEPT if kept[name] else DROPPED))
        best = mean if kept[name] else best
    return [*table([Text("change", "改动"), Text("held-out error", "留出部分的错误率"), Text("each seed", "各个种子"),
                    Text("lower by, percentage points", "降低的百分点"), Text("training loss", "训练损失"), ""], rows),
            say("The kept changes lower the held-out error by {:.2f} percentage points in all.",
                "保留的改动总共使留出部分的错误率降低 {:.2f} 个百分点。", 100 * (error(place, NAMES[0]) - best))]


def errors_of(place: Place, case: str, epochs: int = EPOCHS) -> list[float]:
    """On the validation images, by seed; empty until all are there."""
    wanted = finals(case, epochs)
    errors = [one["val_top1_error"] for one in place.results(wanted)]
    return errors if len(errors) == len(wanted) else []


def in_short(place: Place) -> Text | None:
    """The errors at both ends, once all seeds are there."""
    said = [say("{} with the recipe of 2012, {} with the changes that were kept after {} epochs",
                "{2} 轮后用 2012 年的方法为 {0}，用保留下来的改动为 {1}",
                percent(fmean(old)), percent(fmean(new)), epochs) for epochs in (EPOCHS, LONG)
            if (old := errors_of(place, OLD, epochs)) and (new := errors_of(place, NEW, epochs))]
    return say("top-1 error, {} px: {}", "{} 像素的 top-1 错误率：{}", SIZE,
               joined(said, "; ", "；")) if said else None


def final_lines(place: Place) -> list[Text | str]:
    """The recipes trained on all training images, measured on the validation images."""
    rows = []
    for epochs in (EPOCHS, LONG):
        old = errors_of(place, OLD, epochs)
        for case, label in RECIPES_COMPARED.items():
            if errors := errors_of(place, case, epochs):
                lower = ""
                if old and case != OLD:
                    pairs = place.pairs(finals(OLD, epochs), finals(case, epochs))   # of one precision, too
                    lower = t_interval([val_error(a) - val_error(b) for a, b in pairs]).text(unit="")
                rows.append(row(label, epochs, percent(fmean(errors)), lower))
    if not rows:
        return [Text("The comparison on the validation images: not run yet.", "验证图像上的比较：尚未进行。"), ""]
    return [Text("Trained on all training images; top-1 error on the validation images, one crop, mean of "
                 "three seeds (95% t intervals of paired differences):",
                 "用全部训练图像训练；验证图像上的 top-1 错误率，中心裁剪，三个种子的平均（配对差的 95% t 区间）："), "",
            *table([Text("recipe", "方法"), Text("epochs", "轮数"), Text("top-1 error", "top-1 错误率"),
                    Text("lower than 2012's by, percentage points", "比 2012 年的方法低多少个百分点")], rows)]
