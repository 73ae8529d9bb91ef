"""What a trained base network can be asked, too. Rules fixed before the first run.

Three networks as in ablations.py (Imagenette, 64 px, 12 epochs), in fp32.

**Binary codes** (section 6.1 proposes them, C26). An auto-encoder (alexnet/codes.py) compresses fc7 to 32,
64, 128 or 256 bits; a second one, with the same settings, compresses the pixels. Both learn from the training
images, without augmentation. C26 is judged with 128 bits: the share of the six nearest training images
(Hamming distance; of equally near ones the first) that have the query's class, for some 1,000 of the
validation images, with codes of fc7 less with codes of pixels; interval above 0. The time is that of finding
the six nearest for all queries, codes packed into bytes against fc7's values: medians of five interleaved
runs.

**Halving** (section 4.2: halving all outputs in test approximates the geometric mean of the networks that
dropout draws). For some 1,000 of the validation images: the probabilities with halved outputs, and the
geometric mean over 1, 10, 100 and 1,000 masks, normalised; the errors of both, and how far they are apart
(half the sum of the absolute differences of the probabilities). The arithmetic mean is given, too.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, replace
from typing import Any, Callable

import numpy as np
import torch
from torch import Tensor, nn

from alexnet import interpret
from alexnet.augment import middle
from alexnet.codes import EPOCHS, nearest_codes, trained_coder
from alexnet.model import AlexNet
from alexnet.pack import Pack
from results.ablations import BASE, Case, curve_of, errors_of, trained
from results.pages import Text, part, percent, row, term, text
from results.units import Place, Unit

SETTINGS = replace(BASE, precision="fp32")
BITS, JUDGED = (32, 64, 128, 256), 128
QUERIES, NEAREST, ROUNDS = 1000, 6, 5
MASKS, MASKED = (1, 10, 100, 1000), 1000   # for so many images, about
HIDDEN = 4096   # values of fc7, 4 bytes each
SPACES = ("fc7", "pixels")


# ------------------------------------------------------------------- binary codes

def nearest_values(asked: Tensor, bank: Tensor, count: int) -> Tensor:
    """(Q, count) rows of the bank by Euclidean distance, as fast as torch has it."""
    return torch.cat([torch.cdist(some, bank).topk(count, largest=False).indices
                      for some in asked.split(256)])


def seconds_of(searches: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median of each; their runs are interleaved."""
    taken: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(rounds):
        for name, search in searches.items():
            start = time.perf_counter()
            search()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(some) for name, some in taken.items()}


def codes(model: AlexNet, pack: Pack, seed: int, place: Place) -> dict[str, Any]:
    """How often neighbours have the query's class, by code and by value, and how long a search takes."""
    stride = max(1, len(pack.labels["val"]) // QUERIES)
    inside = middle(pack.side, model.image_size)
    asked, bank = pack.images["val"][::stride, inside, inside], pack.images["train"][:, inside, inside]
    wanted = pack.labels["val"][::stride, None]
    spaces = {"fc7": (interpret.layer_values(model, asked), interpret.layer_values(model, bank)),
              "pixels": tuple(torch.from_numpy(np.array(some)).flatten(1).float() for some in (asked, bank))}

    def agreement(rows: np.ndarray) -> float:
        return float((pack.labels["train"][rows] == wanted).mean())

    found: dict[str, Any] = {"queries": len(asked), "images": len(bank)}
    searches: dict[str, Callable[[], Any]] = {}
    for name, (queries, values) in spaces.items():
        found[f"agreement_{name}"] = agreement(nearest_values(queries, values, NEAREST).numpy())
        for bits in BITS:
            coder = trained_coder(values, bits, place.few(EPOCHS), seed)
            sides = coder.codes(queries), coder.codes(values)
            found[f"agreement_{name}_{bits}"] = agreement(nearest_codes(*sides, NEAREST))
            if name == "fc7":
                searches[f"seconds_{bits}"] = lambda sides=sides: nearest_codes(*sides, NEAREST)
    searches["seconds_fc7"] = lambda: nearest_values(*spaces["fc7"], NEAREST)
    return found | seconds_of(searches, place.few(ROUNDS))


# ------------------------------------------------------------------- halving

def after_flatten(model: AlexNet) -> nn.Sequential:
    """fc6 to fc8 with their dropout: where masks are drawn."""
    return nn.Sequential(*(getattr(model, name) for name in model.steps[model.steps.index("flatten") + 1:]))


@torch.inference_mode()
def against_masks(layers: nn.Module, x: Tensor, labels: Tensor, counts: tuple[int, ...],
                  seed: int) -> dict[str, Any]:
    """Probabilities with halved outputs, beside the means over masks (each image has its own)."""
    def error(scores: Tensor) -> float:
        return (scores.argmax(1) != labels).double().mean().item()

    halved = layers.eval()(x).double().log_softmax(1)
    found: dict[str, Any] = {"images": len(labels), "error_halved": error(halved)}
    torch.manual_seed(seed)
    layers.train()
    logs, sums = torch.zeros_like(halved), torch.zeros_like(halved)
    for count in range(1, max(counts) + 1):
        drawn = layers(x).double().log_softmax(1)
        logs += drawn
        sums += drawn.exp()
        if count in counts:
            geometric, arithmetic = (logs / count).softmax(1), sums / count
            for name, mean in (("geometric", geometric), ("arithmetic", arithmetic)):
                found |= {f"error_{name}_{count}": error(mean),
                          f"apart_{name}_{count}": apart(halved.exp(), mean)}
    layers.eval()
    return found


def apart(one: Tensor, other: Tensor) -> float:
    """Half the sum of the absolute differences of two distributions, mean over images: 0 to 1."""
    return ((one - other).abs().sum(1) / 2).mean().item()


def halving(model: AlexNet, pack: Pack, seed: int) -> dict[str, Any]:
    stride = max(1, len(pack.labels["val"]) // MASKED)
    flat = interpret.layer_values(model, pack.images["val"][::stride], "flatten")
    labels = torch.from_numpy(pack.labels["val"][::stride].astype(np.int64))
    flat, labels = flat.to(model.mean.device), labels.to(model.mean.device)
    return against_masks(after_flatten(model), flat, labels, MASKS, seed)


# ------------------------------------------------------------------- the units

def compute(unit: Unit, place: Place) -> dict[str, Any]:
    run = trained(unit, place, Case(), SETTINGS)
    model = run.model.eval()
    result = {"finite": run.finite, "precision": str(run.dtype), **errors_of(run, run.pack),
              "codes": codes(model, run.pack, unit.seed, place),
              "halving": halving(model, run.pack, unit.seed)}
    return {"result": result, "curve": curve_of(run)}


def units() -> list[Unit]:
    config = {**asdict(SETTINGS), "bits": BITS, "code_epochs": EPOCHS, "masks": MASKS}
    return [Unit("looks", "base", seed, {**config, "seed": seed}, compute, 20, "imagenette")
            for seed in range(3)]


# ------------------------------------------------------------------- for the page

def lines(place: Place) -> list[Text | str]:
    """Two tables, for the page of all results."""
    found = place.results(units())
    if not found:
        return []
    return [*code_lines([one["codes"] for one in found]), *halving_lines([one["halving"] for one in found])]


def mean_of(found: list[dict[str, Any]], name: str) -> float:
    return statistics.mean(one[name] for one in found)


def code_lines(found: list[dict[str, Any]]) -> list[Text | str]:
    first = found[0]
    rows = [row(term("values, no code"), *(percent(mean_of(found, f"agreement_{space}")) for space in SPACES),
                f"{4 * HIDDEN:,}", f"{mean_of(found, 'seconds_fc7'):.2f}")]
    for bits in BITS:
        shares = (percent(mean_of(found, f"agreement_{space}_{bits}")) for space in SPACES)
        rows.append(row(text("looks.bits", bits), *shares, bits // 8,
                        f"{mean_of(found, f'seconds_{bits}'):.2f}"))
    columns = ("code", "same class: from fc7", "same class: from pixels", "bytes per image, fc7",
               "seconds, fc7")
    return part("Binary codes", text("looks.codes", len(found), NEAREST, first["images"], first["queries"]),
                columns, rows)


def halving_lines(found: list[dict[str, Any]]) -> list[Text | str]:
    rows = [row(term("halved outputs"), percent(mean_of(found, "error_halved")), "", "", "")]
    for count in MASKS:
        rows.append(row(text("looks.masks", count),
                        *(cell for mean in ("geometric", "arithmetic") for cell in
                          (percent(mean_of(found, f"error_{mean}_{count}")),
                           f"{mean_of(found, f'apart_{mean}_{count}'):.3f}"))))
    columns = ("network", "error, geometric mean", "apart from halving", "error, arithmetic mean",
               "apart from halving")
    return part("Halving in test, and the mean over dropout's masks",
                text("looks.halving", len(found), found[0]["images"]), columns, rows)
