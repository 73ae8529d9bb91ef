"""The base result: `as-trained` on Imagenette at 128 px, three seeds, beside torchvision's alexnet with the
recipe of pytorch/examples for the same epochs; and one run at 224 px.

Ours is what `train_alexnet.py --data imagenette --image-size 128` does: last network, schedule fixed
beforehand. The other side reads the JPEG files, as its recipe has it (RandomResizedCrop, mirror images, rate
0.01, a tenth of it after every 30 epochs, weight decay 1e-4). It has what makes ours fast and is not of its recipe: bf16
where the processor has it, channels last, the steps of SGD fused.
Ours is also trained with the other side's pictures instead of ours (added when that side was found to be better).
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from statistics import stdev
from typing import Any, Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from alexnet.pack import Pack
from alexnet.device import choose_precision, precision
from alexnet.model import AlexNet
from alexnet.training import RECIPES, evaluate, generator, make_optimizer, set_rates, steps
from results import plots
from results.ablations import BASE, Case, curve_of, trained
from results.benchmark import NORMALIZE, imagefolder
from results.pages import Text, fill, percent, picture, say
from results.units import CPU, TOY_STEPS, Place, Unit, pieces
from results.verdicts import t_interval

TITLE, EPOCHS = Text("The base result", "基准结果"), 60
OURS, THEIRS = "ours, as-trained", "torchvision, pytorch examples"
SWAPPED = "ours, torchvision's crops"
MEAN, STD = (torch.tensor(values)[:, None, None] for values in (NORMALIZE.mean, NORMALIZE.std))


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    """Ours; the last network stays in results/runs, for pictures."""
    settings = replace(BASE, image_size=unit.config["image_size"], epochs=unit.config["epochs"])
    run, pack, finite = trained(unit, place, Case(), settings)
    result: dict[str, Any] = {"finite": finite, "precision": str(run.dtype)}
    for views in (1, 10):
        found = evaluate(run.model, pack, views=views)
        result |= {f"{name}_{views}": found[name] for name in ("top1_error", "top5_error")}
    shutil.copyfile(run.folder / "last.pt", place.out / "runs" / f"base-{settings.image_size}px-{unit.seed}.pt")
    return {"result": result, "curve": curve_of(run)}


def peer(unit: Unit, place: Place) -> dict[str, Any]:
    """torchvision's alexnet, or ours, with the pictures of pytorch/examples; a row an epoch."""
    size, batch, epochs = unit.config["image_size"], 128, place.few(unit.config["epochs"])
    loaders = [imagefolder(place.folders["imagenette"] / part, size, batch, workers=0, train=part == "train")
               for part in ("train", "val")]
    torch.manual_seed(unit.seed)
    dtype = choose_precision(unit.config["precision"], CPU)
    network, sgd, set_rate = (ours(place.pack("imagenette", size), size, epochs) if unit.case == SWAPPED else
                              theirs(len(loaders[0].dataset.classes)))
    network.to(memory_format=torch.channels_last)

    def answers(images: Tensor) -> Tensor:
        if unit.case == SWAPPED:
            images = 255 * (images * STD + MEAN)   # grey levels again
        with precision(CPU, dtype):
            return network(images.contiguous(memory_format=torch.channels_last))

    def an_epoch(rows: list[dict[str, Any]]) -> dict[str, Any]:
        epoch = len(rows)
        set_rate(epoch)
        torch.manual_seed(generator("cpu", unit.seed, epoch).initial_seed())   # crops, order, dropout
        network.train()
        loss = seen = 0
        for index, (images, labels) in enumerate(loaders[0]):
            if place.toy and index == TOY_STEPS:
                break
            mean = F.cross_entropy(answers(images).float(), labels)
            sgd.zero_grad()
            mean.backward()
            sgd.step()
            loss, seen = loss + mean.item() * len(labels), seen + len(labels)
        network.eval()
        return {"epoch": epoch + 1, "train_loss": loss / seen, **errors(answers, loaders[1], place)}

    curve = pieces(unit, place, epochs, {"network": network, "sgd": sgd}, an_epoch)
    return {"result": {"precision": str(dtype), "top1_error_1": curve[-1]["val_top1_error"], "top5_error_1": curve[-1]["val_top5_error"]},
            "curve": curve}


def theirs(classes: int) -> tuple[nn.Module, torch.optim.SGD, Callable[[int], None]]:
    """Network, optimiser, and what sets its rate for an epoch, as pytorch/examples has them."""
    network = torchvision.models.alexnet(num_classes=classes)
    sgd = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, fused=True)

    def set_rate(epoch: int) -> None:
        sgd.param_groups[0]["lr"] = 0.01 * 0.1 ** (epoch // 30)
    return network, sgd, set_rate


def ours(pack: Pack, size: int, epochs: int) -> tuple[nn.Module, torch.optim.SGD, Callable[[int], None]]:
    """The same of 2012."""
    network = AlexNet(len(pack.classes), size)
    network.mean.copy_(pack.mean_crop(size))
    sgd = make_optimizer(network, RECIPES["as-trained"])
    return network, sgd, lambda epoch: set_rates(sgd, 0.01 * steps(epoch, epochs, []).rate)


@torch.inference_mode()
def errors(answers: Callable[[Tensor], Tensor], loader: Any, place: Place) -> dict[str, float]:
    wrong = torch.zeros(2)
    seen = 0
    for index, (images, labels) in enumerate(loader):
        if place.toy and index == TOY_STEPS:
            break
        best = answers(images).topk(5).indices == labels[:, None]
        wrong += torch.tensor([(~best[:, :1].any(1)).sum().item(), (~best.any(1)).sum().item()])
        seen += len(labels)
    return {"val_top1_error": wrong[0].item() / seen, "val_top5_error": wrong[1].item() / seen}


def side(name: str, size: int = 128, seeds: int = 3) -> list[Unit]:
    config = {**asdict(replace(BASE, image_size=size, epochs=EPOCHS))} if name == OURS else {
        "image_size": size, "epochs": EPOCHS, "rate": 0.01, "weight_decay": 1e-4, "batch": 128, "precision": "auto"}
    config |= {"weight_decay": 5e-4} if name == SWAPPED else {}
    minutes = {OURS: 47, THEIRS: 54, SWAPPED: 54}[name] * (1 if size == 128 else 4)
    return [Unit(f"base-{size}", name, seed, config, compute if name == OURS else peer, minutes, "imagenette")
            for seed in range(seeds)]


def units() -> list[Unit]:
    """The run at 224 px comes last of all (reproduce.py)."""
    return [*(unit for pair in zip(side(OURS), side(THEIRS)) for unit in pair), *side(SWAPPED)]


def large_units() -> list[Unit]:
    return side(OURS, 224, 1)


# ------------------------------------------------------------------- the report

def report(place: Place) -> list[str]:
    """Writes results/base/: the page and its figure. The lines for the page of all results."""
    out = place.out / "base"
    curves = {name: [[(row["epoch"], 100 * row["val_top1_error"]) for row in content["curve"]]
                     for unit in side(name) if (content := place.found(unit))] for name in (OURS, THEIRS, SWAPPED)}
    if not any(curves.values()):
        return []
    plots.curves({"Imagenette, 128 px": {name: some for name, some in curves.items() if some}},
                   out / "curves.png", "Top-1 error by epoch, one view", "epoch", "top-1 error, %")
    lines = ["Made by `python -m results.reproduce table`; the runs by `python -m results.reproduce run base --imagenette "
             "DIR`. Last network of a schedule fixed beforehand, batch 128.", "", *picture(out, "curves.png"),
             "| network | px | seed | top-1, one view | top-5 | top-1, ten views | top-5 | hours |",
             "|---|---|---|---|---|---|---|---|"]
    for unit in [*side(OURS), *large_units(), *side(THEIRS), *side(SWAPPED)]:
        if content := place.found(unit):
            cells = [percent(content["result"].get(f"{name}_error_{views}")) for views in (1, 10)
                     for name in ("top1", "top5")]
            lines.append(f"| {unit.case} | {unit.config['image_size']} | {unit.seed} | {' | '.join(cells)} | "
                         f"{content['seconds'] / 3600:.2f} |")
    fill(out, "runs", [*lines, "", *comparison(place)], TITLE)
    return [say("## {}", "## {}", TITLE), "", *picture(place.out, "base/curves.png"), *means(place), *comparison(place), "",
            "[Each run](base/README.md).", ""]


def in_short(place: Place) -> str:
    """The errors of both sides, means of the seeds so far."""
    ours, theirs = ([content["result"] for content in place.found_all(side(name))] for name in (OURS, THEIRS))
    said = [f"{name} {mean_and_spread([one[key] for one in found])}" for name, found, key in (
        ("ours, one view", ours, "top1_error_1"), ("ten views", ours, "top1_error_10"),
        ("torchvision's alexnet, one view", theirs, "top1_error_1")) if found]
    return f"top-1 error after {EPOCHS} epochs of Imagenette, 128 px: {'; '.join(said)}" if said else ""


def means(place: Place) -> list[str]:
    """Of the seeds, with their standard deviation."""
    rows = []
    for name, large in ((OURS, False), (OURS, True), (THEIRS, False), (SWAPPED, False)):
        found = [content["result"] for content in place.found_all(large_units() if large else side(name))]
        cells = [mean_and_spread([one[key] for one in found if key in one]) for key in
                 ("top1_error_1", "top5_error_1", "top1_error_10", "top5_error_10")]
        if found:
            rows.append(f"| {name} | {224 if large else 128} | {len(found)} | {' | '.join(cells)} |")
    return [f"Errors after {EPOCHS} epochs of Imagenette: mean of the seeds ± standard deviation.", "",
            "| network | px | seeds | top-1, one view | top-5 | top-1, ten views | top-5 |", "|---|---|---|---|---|---|---|",
            *rows, ""]


def mean_and_spread(values: list[float]) -> str:
    if not values:
        return ""
    return percent(sum(values) / len(values)) + (f" ± {100 * stdev(values):.2f}" if len(values) > 1 else "")


def comparison(place: Place) -> list[str]:
    """At equal epochs, and at equal time: each side after as many seconds as the faster one took."""
    pairs = [contents for units in zip(side(OURS), side(THEIRS)) if len(contents := place.found_all(units)) == 2]
    if not pairs:
        return ["The comparison: not run yet."]
    lines = [f"At equal epochs torchvision's top-1 error less ours: {apart(place, THEIRS, OURS)}.", ""]
    if swapped := apart(place, OURS, SWAPPED):
        lines += [f"Our error less that of ours with torchvision's crops: {swapped}; torchvision's less the same: "
                  f"{apart(place, THEIRS, SWAPPED)}.", ""]
    lines += ["At equal time (seconds as they were, on a machine that others use, too), torchvision with bf16, channels last and "
              "fused steps, as ours has them. In plain fp32, as pytorch/examples has it, it was not run.", "",
              "| seed | minutes | ours | torchvision, made fast |", "|---|---|---|---|"]
    for pair in pairs:
        time = min(content["seconds"] for content in pair)
        cells = [percent(at(content, time / (content["seconds"] / len(content["curve"])))) for content in pair]
        lines.append(f"| {pair[0]['seed']} | {time / 60:.0f} | {' | '.join(cells)} |")
    return lines


def apart(place: Place, first: str, second: str) -> str:
    """The first side's top-1 error less the second's, at 128 px, over the seeds that both have; empty if none."""
    pairs = [contents for units in zip(side(first), side(second)) if len(contents := place.found_all(units)) == 2]
    differences = [one["result"]["top1_error_1"] - other["result"]["top1_error_1"] for one, other in pairs]
    if len(differences) == 1:
        return f"{100 * differences[0]:+.2f} points (one pair)"
    return t_interval(differences).text().en if differences else ""


def at(content: dict[str, Any], epochs: float) -> float:
    """The validation error after so many epochs."""
    curve = content["curve"]
    return curve[max(1, min(len(curve), int(epochs))) - 1]["val_top1_error"]
