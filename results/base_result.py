"""The base result: `as-trained` on Imagenette at 128 px, three seeds, beside torchvision's alexnet with the
recipe of pytorch/examples for the same epochs; and one run at 224 px.

Ours is what `train_alexnet.py --data imagenette --image-size 128` does: last network, schedule fixed
beforehand. The other side reads the JPEG files, as its recipe has it (RandomResizedCrop, mirror images, rate
0.01, weight decay 1e-4); pytorch/examples divides its rate by 10 after 30 epochs, which here is the end.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
import torchvision

from alexnet.training import evaluate, generator
from results.ablations import BASE, Case, curve_of, trained
from results.benchmark import imagefolder
from results.units import TOY_STEPS, Place, Unit, pieces

EPOCHS = 30
OURS, THEIRS = "ours, as-trained", "torchvision, pytorch examples"


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    """Ours; the last network stays in results/runs, for pictures."""
    settings = replace(BASE, image_size=unit.config["image_size"], epochs=unit.config["epochs"])
    run, pack, finite = trained(unit, place, Case(), settings)
    result: dict[str, Any] = {"finite": finite}
    for views in (1, 10):
        found = evaluate(run.model, pack, views=views)
        result |= {f"{name}_{views}": found[name] for name in ("top1_error", "top5_error")}
    shutil.copyfile(run.folder / "last.pt", place.out / "runs" / f"base-{settings.image_size}px-{unit.seed}.pt")
    return {"result": result, "curve": curve_of(run)}


def peer(unit: Unit, place: Place) -> dict[str, Any]:
    """torchvision's alexnet, a row an epoch."""
    size, batch = unit.config["image_size"], 128
    loaders = [imagefolder(place.folders["imagenette"] / part, size, batch, workers=0, train=part == "train")
               for part in ("train", "val")]
    torch.manual_seed(unit.seed)
    network = torchvision.models.alexnet(num_classes=len(loaders[0].dataset.classes))
    sgd = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)

    def an_epoch(rows: list[dict[str, Any]]) -> dict[str, Any]:
        epoch = len(rows)
        torch.manual_seed(generator("cpu", unit.seed, epoch).initial_seed())   # crops, order, dropout
        network.train()
        loss = seen = 0
        for index, (images, labels) in enumerate(loaders[0]):
            if place.toy and index == TOY_STEPS:
                break
            mean = F.cross_entropy(network(images), labels)
            sgd.zero_grad()
            mean.backward()
            sgd.step()
            loss, seen = loss + mean.item() * len(labels), seen + len(labels)
        return {"epoch": epoch + 1, "train_loss": loss / seen, **errors(network, loaders[1], place)}

    curve = pieces(unit, place, place.few(unit.config["epochs"]), {"network": network, "sgd": sgd}, an_epoch)
    return {"result": {"top1_error_1": curve[-1]["val_top1_error"], "top5_error_1": curve[-1]["val_top5_error"]},
            "curve": curve}


@torch.inference_mode()
def errors(network: torch.nn.Module, loader: Any, place: Place) -> dict[str, float]:
    network.eval()
    wrong = torch.zeros(2)
    seen = 0
    for index, (images, labels) in enumerate(loader):
        if place.toy and index == TOY_STEPS:
            break
        best = network(images).topk(5).indices == labels[:, None]
        wrong += torch.tensor([(~best[:, :1].any(1)).sum().item(), (~best.any(1)).sum().item()])
        seen += len(labels)
    return {"val_top1_error": wrong[0].item() / seen, "val_top5_error": wrong[1].item() / seen}


def side(name: str, size: int = 128, seeds: int = 3) -> list[Unit]:
    config = {**asdict(replace(BASE, image_size=size, epochs=EPOCHS))} if name == OURS else {
        "image_size": size, "epochs": EPOCHS, "rate": 0.01, "weight_decay": 1e-4, "batch": 128}
    minutes = (60 if name == OURS else 50) * (1 if size == 128 else 4)
    return [Unit(f"base-{size}", name, seed, config, compute if name == OURS else peer, minutes, "imagenette")
            for seed in range(seeds)]


def units() -> list[Unit]:
    """The run at 224 px comes last of all (reproduce.py)."""
    return [unit for pair in zip(side(OURS), side(THEIRS)) for unit in pair]


def large_units() -> list[Unit]:
    return side(OURS, 224, 1)


# ------------------------------------------------------------------- the report

def report(place: Place) -> None:
    pass
