"""The base result: `as-trained` on Imagenette at 128 px, three seeds, beside torchvision's alexnet with the
recipe of pytorch/examples for the same number of epochs; and one run at 224 px.

Ours is what `train_alexnet.py --data imagenette --image-size 128 --epochs 60` does: last network, schedule
fixed before. torchvision's side reads the JPEG files, as its recipe does (RandomResizedCrop, mirror images,
learning rate 0.01, divided by 10 every 30 epochs, weight decay 1e-4). It is given what makes ours fast and is
not part of its recipe: bf16 where the processor has it, channels last, fused SGD. A third side is ours
trained with torchvision's images (added when that side was found to be better).
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from itertools import islice
from statistics import fmean, stdev
from typing import Any, Iterator

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from alexnet.batches import generator
from alexnet.device import choose_precision, precision
from alexnet.files import UserError
from alexnet.model import AlexNet
from alexnet.pack import Pack
from alexnet.recipe import RECIPES, make_optimizer, set_rates, two_drops
from alexnet.training import evaluate
from results import plots
from results.ablations import BASE, Case, curve_of, trained
from results.pages import Text, fill, heading, percent, picture, row, say, table
from results.peers import NORMALIZE, Tally, examples_sgd, imagefolder, step
from results.units import TOY_STEPS, Place, Unit, pieces
from results.verdicts import Interval, t_interval

TITLE, EPOCHS = Text("The base result", "基准结果"), 60
OURS, THEIRS = "ours, as-trained", "torchvision, pytorch examples"
SWAPPED = "ours, torchvision's crops"
CURVES = "Validation error of the three recipes over 60 epochs"   # what the figure shows
MEAN, STD = (torch.tensor(values)[:, None, None] for values in (NORMALIZE.mean, NORMALIZE.std))


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    """Ours; the last network stays in results/runs, for figures."""
    settings = replace(BASE, image_size=unit.config["image_size"], epochs=unit.config["epochs"])
    run = trained(unit, place, Case(), settings)
    result: dict[str, Any] = {"finite": run.finite, "precision": str(run.dtype)}
    for crops in (1, 10):
        found = evaluate(run.model, run.pack, views=crops)
        result |= {f"{name}_{crops}": found[name] for name in ("top1_error", "top5_error")}
    name = f"base-{settings.image_size}px-{unit.seed}.pt"
    shutil.copyfile(run.folder / "last.pt", place.out / "runs" / name)
    return {"result": result, "curve": curve_of(run)}


def peer(unit: Unit, place: Place) -> dict[str, Any]:
    """torchvision's alexnet, or ours, with the images of pytorch/examples; one row per epoch."""
    size, epochs, swapped = unit.config["image_size"], place.few(unit.config["epochs"]), unit.case == SWAPPED
    folder = place.folders[unit.data]
    if not (folder / "val").is_dir():
        raise UserError(f"{folder} has no folder val, from which torchvision's side takes its images")
    training = imagefolder(folder / "train", size, 128, workers=0)
    validation = imagefolder(folder / "val", size, 128, workers=0, train=False)
    if validation.dataset.classes != training.dataset.classes:
        raise UserError(f"{folder / 'val'} has other class folders than {folder / 'train'}: this side needs "
                        "the same, in both")
    torch.manual_seed(unit.seed)
    dtype = choose_precision(unit.config["precision"], place.device)
    network, sgd = (ours(place.pack("imagenette", size), size) if swapped else
                    theirs(len(training.dataset.classes)))
    network.to(place.device, memory_format=torch.channels_last)

    def an_epoch(rows: list[dict[str, Any]]) -> dict[str, Any]:
        epoch, tally = len(rows), Tally()
        if swapped:
            set_rates(sgd, 0.01 * two_drops(epoch, epochs, []).rate)
        else:
            sgd.param_groups[0]["lr"] = 0.01 * 0.1 ** (epoch // unit.config.get("drop_every", 30))
        torch.manual_seed(generator("cpu", unit.seed, epoch).initial_seed())   # crops, order, dropout
        network.train()
        for images, labels in batches(training, place, swapped):
            tally.add(*step(network, sgd, images, labels, dtype), labels)
        return {"epoch": epoch + 1, "train_loss": tally.mean_loss,
                **errors(network, batches(validation, place, swapped), dtype)}

    curve = pieces(unit, place, epochs, {"network": network, "sgd": sgd}, an_epoch)
    return {"result": {"precision": str(dtype), "top1_error_1": curve[-1]["val_top1_error"],
                       "top5_error_1": curve[-1]["val_top5_error"]}, "curve": curve}


def theirs(classes: int) -> tuple[nn.Module, torch.optim.SGD]:
    """torchvision's network, and the optimiser of pytorch/examples."""
    network = torchvision.models.alexnet(num_classes=classes)
    return network, examples_sgd(network, fused=True)


def ours(pack: Pack, size: int) -> tuple[nn.Module, torch.optim.SGD]:
    """Network and optimiser of 2012."""
    network = AlexNet(len(pack.classes), size)
    network.mean.copy_(pack.mean_crop(size))
    return network, make_optimizer(network, RECIPES["as-trained"])


def batches(loader: DataLoader, place: Place, grey_levels: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Images in the memory format that convolutions like, normalised or in grey levels 0..255; and labels."""
    for images, labels in islice(loader, TOY_STEPS if place.toy else None):
        images = 255 * (images * STD + MEAN) if grey_levels else images
        images = images.contiguous(memory_format=torch.channels_last)
        yield images.to(place.device), labels.to(place.device)


@torch.inference_mode()
def errors(network: nn.Module, images_and_labels: Iterator[tuple[Tensor, Tensor]],
           dtype: torch.dtype) -> dict[str, float]:
    """Top-1 and top-5 error, fractions."""
    network.eval()
    wrong, seen = torch.zeros(2), 0
    for images, labels in images_and_labels:
        with precision(images.device, dtype):
            hits = network(images).topk(5).indices == labels[:, None]
        wrong += torch.tensor([(~hits[:, :1].any(1)).sum().item(), (~hits.any(1)).sum().item()])
        seen += len(labels)
    return {"val_top1_error": wrong[0].item() / seen, "val_top5_error": wrong[1].item() / seen}


def side(name: str, size: int = 128, seeds: int = 3) -> list[Unit]:
    """The units of one side, by seed."""
    if name == OURS:
        config = asdict(replace(BASE, image_size=size, epochs=EPOCHS))
    else:
        config = {"image_size": size, "epochs": EPOCHS, "rate": 0.01, "batch": 128, "precision": "auto",
                  "weight_decay": 5e-4 if name == SWAPPED else 1e-4}
    minutes = {OURS: 47, THEIRS: 54, SWAPPED: 54}[name] * (1 if size == 128 else 4)
    return [Unit(f"base-{size}", name, seed, config, compute if name == OURS else peer, minutes, "imagenette")
            for seed in range(seeds)]


def units() -> list[Unit]:
    """The run at 224 px comes last of all (reproduce.py)."""
    return [*(unit for pair in zip(side(OURS), side(THEIRS)) for unit in pair), *side(SWAPPED)]


def large_units() -> list[Unit]:
    return side(OURS, 224, 1)


# ------------------------------------------------------------------- the report

LABELS = {OURS: Text("ours, `as-trained`", "我们的 `as-trained`"),
          THEIRS: Text("torchvision, pytorch/examples", "torchvision，pytorch/examples"),
          SWAPPED: Text("ours, torchvision's crops", "我们的网络，torchvision 的裁剪")}
plots.add_words(LABELS.values())
ERRORS = ("top-1, one crop", "top-5, one crop", "top-1, ten-crop", "top-5, ten-crop")
KEYS = ("top1_error_1", "top5_error_1", "top1_error_10", "top5_error_10")
PIXELS = Text("px", "像素")


def report(place: Place) -> list[Text | str]:
    """Writes results/base/: its pages and the figure. Returns the lines for the page of all results."""
    out = place.out / "base"
    curves = {LABELS[name].en.replace("`", ""): [[100 * epoch["val_top1_error"] for epoch in content["curve"]]
                                                 for content in place.found_all(side(name))]
              for name in (OURS, THEIRS, SWAPPED)}
    if not any(curves.values()):
        return []
    plots.learning_curves({name: seeds for name, seeds in curves.items() if seeds}, out / "curves.png",
                          "Imagenette, 128 px: top-1 error, one crop", last=25)
    fill(out, "summary", [*means(place), *comparison(place)], TITLE)
    fill(out, "runs", [*picture(out, "curves.png", CURVES), *each_run(place), *equal_time(place)])
    return [heading(TITLE), "", *picture(place.out, "base/curves.png", CURVES), *means(place),
            *comparison(place), Text("[Each run](base/README.md).", "[每次训练](base/README.zh-CN.md)。"), ""]


def in_short(place: Place) -> Text | None:
    """The errors of both sides, means of the seeds so far."""
    place.found_all([*side(OURS), *side(THEIRS)])   # of one precision
    ours, theirs = (place.results(side(name)) for name in (OURS, THEIRS))
    if not ours or not theirs:
        return None
    return say("top-1 error after {} epochs of Imagenette, 128 px (mean of the seeds ± standard deviation): "
               "ours {} with one crop, {} with ten-crop; torchvision's AlexNet {} with one crop",
               "Imagenette 128 像素 {} 轮后的 top-1 错误率（各个种子的平均 ± 标准差）：我们的网络中心裁剪 {}、十裁剪 {}；"
               "torchvision 的 AlexNet 中心裁剪 {}",
               EPOCHS, mean_and_spread(ours, "top1_error_1"), mean_and_spread(ours, "top1_error_10"),
               mean_and_spread(theirs, "top1_error_1"))


def means(place: Place) -> list[Text | str]:
    """One row per network: means of the seeds, with their standard deviation."""
    rows = []
    for units_of_row in (side(OURS), large_units(), side(THEIRS), side(SWAPPED)):
        if found := place.results(units_of_row):
            unit = units_of_row[0]
            rows.append(row(LABELS[unit.case], unit.config["image_size"], len(found),
                            *(mean_and_spread(found, key) for key in KEYS)))
    return [say("Errors after {} epochs of Imagenette: mean of the seeds ± standard deviation.",
                "Imagenette 上训练 {} 轮后的错误率：各个种子的平均 ± 标准差。", EPOCHS), "",
            *table(["network", PIXELS, Text("seeds", "种子数"), *ERRORS], rows)]


def mean_and_spread(results: list[dict[str, float]], key: str) -> str:
    values = [result[key] for result in results if key in result]
    if not values:
        return ""
    return percent(fmean(values)) + (f" ± {100 * stdev(values):.2f}" if len(values) > 1 else "")


def each_run(place: Place) -> list[Text | str]:
    rows = [row(LABELS[unit.case], unit.config["image_size"], unit.seed,
                *(percent(content["result"].get(key)) for key in KEYS), f"{content['seconds'] / 3600:.2f}")
            for unit in [*side(OURS), *large_units(), *side(THEIRS), *side(SWAPPED)]
            if (content := place.found(unit))]
    return table(["network", PIXELS, "seed", *ERRORS, Text("hours", "小时")], rows)


def comparison(place: Place) -> list[Text | str]:
    """Paired differences between the sides, at equal epochs."""
    rows = [row(LABELS[worse], LABELS[better], apart.text(unit="") if apart.count > 1 else
                say("{:+.2f} (one pair)", "{:+.2f}（一对）", 100 * apart.mean))
            for worse, better in ((OURS, THEIRS), (OURS, SWAPPED), (THEIRS, SWAPPED))
            if (apart := difference(place, worse, better))]
    if not rows:
        return [Text("The comparison: not run yet.", "比较：尚未进行。"), ""]
    return [Text("Differences of the top-1 error with one crop at 128 px, equal epochs (95% t intervals of "
                 "paired differences):", "128 像素、中心裁剪的 top-1 错误率之差，轮数相同（配对差的 95% t 区间）："), "",
            *table(["network", Text("compared with", "与之比较"),
                    Text("higher by, percentage points", "高多少个百分点")], rows)]


def difference(place: Place, first: str, second: str) -> Interval | None:
    """The first side's top-1 error less the second's, at 128 px, over seeds that both have; None if none."""
    apart = [one["result"]["top1_error_1"] - other["result"]["top1_error_1"]
             for one, other in place.pairs(side(first), side(second))]
    return t_interval(apart) if apart else None


def equal_time(place: Place) -> list[Text | str]:
    """Each side after as many seconds as the faster one took."""
    rows = []
    for pair in place.pairs(side(OURS), side(THEIRS)):
        seconds = min(content["seconds"] for content in pair)
        rows.append(row(pair[0]["seed"], f"{seconds / 60:.0f}",
                        *(percent(at(content, seconds)) for content in pair)))
    return [*([Text("Top-1 error at equal time:", "时间相同时的 top-1 错误率："), ""] if rows else []),
            *table(["seed", Text("minutes", "分钟"), LABELS[OURS], LABELS[THEIRS]], rows)]


def at(content: dict[str, Any], seconds: float) -> float:
    """The validation error after so many seconds of a run, all of whose epochs count alike."""
    curve = content["curve"]
    epochs = int(seconds / (content["seconds"] / len(curve)))
    return curve[max(1, min(len(curve), epochs)) - 1]["val_top1_error"]
