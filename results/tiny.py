"""Ten times the data: Tiny-ImageNet, 100,000 images of 200 classes, 64 px. The base network, three seeds;
rules fixed before the first run.

15 epochs with the schedule `steps`, fp32, measured on the 10,000 validation images after the last epoch:
top-1 and top-5 error, one crop and ten. C24 rests on it: the five most probable of ten classes say little.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from alexnet.training import evaluate
from results.ablations import BASE, Case, curve_of, chance_level, trained
from results.units import Place, Unit

SETTINGS = replace(BASE, data="tiny", epochs=15, precision="fp32")


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    run, pack, finite = trained(unit, place, Case(), SETTINGS)
    result: dict[str, Any] = {"finite": finite, "precision": str(run.dtype)}
    for crops in (1, 10):
        found = evaluate(run.model, pack, views=crops) if finite else chance_level(pack)
        result |= {f"val_{name}_{crops}": found[name] for name in ("top1_error", "top5_error")}
    return {"result": result, "curve": curve_of(run)}


def units() -> list[Unit]:
    return [Unit("tiny-64", "base", seed, {**asdict(SETTINGS), "seed": seed}, compute, 90, "tiny")
            for seed in range(3)]
