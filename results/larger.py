"""Larger images, and ten times the data: claims that ten classes at 64 px were too small to show. Rules fixed
before the first run.

`imagenette-128`: Imagenette at 128 px, where conv3 to conv5 see 7 x 7 feature maps instead of 3 x 3;
otherwise as in ablations.py (12 epochs), in fp32. C6 (each conv layer left out), C9 (one column), C11 (2x2
pooling that leaves all sizes as they are), by the rules of these claims.

`tiny-64`: Tiny-ImageNet, 100,000 images of 200 classes, 64 px, 15 epochs with the schedule `steps`, fp32. The
base with ten-crop: C24 rests on it, since the five most probable of ten classes say little. And C27's
changes, by its rule, with two more: no colour noise (C15), no dropout (C17; biases of 0 in fc6 and fc7 on
both sides).
tanh has the learning rate that ablations.py chose on a part of Imagenette's training images.

`tiny-64-30`: 30 epochs, otherwise the same, for what a long training reaches: as-trained, and as-written with
the standard deviation of as-trained in conv3 to conv5, without which it does not start; and torchvision's
network with the recipe of pytorch/examples, its three stages a third as long. (At 64 px its adaptive pooling
repeats each of pool5's values 36 times: 57.8 million parameters against 21.0.) Errors are given, not judged.

again.py judges `imagenette-128` and `tiny-64`.
"""

from __future__ import annotations

from dataclasses import replace

from alexnet.model import VARIANTS
from results import ablations
from results.ablations import BASE, CONVOLUTIONS, Case
from results.base_result import ERRORS, THEIRS, peer
from results.pages import Text, named, part, percent, row, text
from results.series import Series
from results.units import Place, Unit

CASES = ablations.CASES
PIXELS = Series("imagenette-128", replace(BASE, image_size=128, precision="fp32"),
                {name: CASES[name] for name in ("base", *(f"without {name}" for name in CONVOLUTIONS),
                                                "2x2 pooling, same sizes", "one column, half the maps",
                                                "one column, all maps")},
                range(3), 40, "imagenette", "Images of 128 px", "larger.pixels")
TANH = replace(CASES["tanh"], settings={"lr": 0.04})
DATA = Series("tiny-64", replace(BASE, data="tiny", epochs=15, precision="fp32"),
              {"base": Case(), "tanh": TANH,
               **{name: CASES[name] for name in ("one column, half the maps", "no LRN",
                                                 "2x2 pooling, same sizes", "no colour noise", "fc biases 0",
                                                 "fc biases 0, no dropout")}},
              range(3), 150, "tiny", "Ten times the data", "larger.data", ten_crop=True)
LONG = Series("tiny-64-30", replace(BASE, data="tiny", epochs=30, precision="fp32"),
              {"base": Case(),
               "as-written": Case({"std": VARIANTS["as-trained"].std}, {"variant": "as-written"})},
              range(3), 300, "tiny", "Ten times the data, 30 epochs", "larger.long", ten_crop=True)


def peers() -> list[Unit]:
    config = {"image_size": 64, "epochs": 30, "drop_every": 10, "rate": 0.01, "batch": 128,
              "precision": "fp32", "weight_decay": 1e-4}
    return [Unit(LONG.experiment, THEIRS, seed, config, peer, 400, "tiny") for seed in LONG.seeds]


def units() -> list[Unit]:
    """The base of `tiny-64` first, for C24."""
    first = [DATA.unit("base", seed) for seed in DATA.seeds]
    return [*first, *PIXELS.units(), *(unit for unit in DATA.units() if unit.case != "base"), *LONG.units(),
            *peers()]


def lines(place: Place) -> list[Text | str]:
    return [*PIXELS.lines(place), *DATA.lines(place), *long_lines(place)]


def long_lines(place: Place) -> list[Text | str]:
    """Mean errors after 30 epochs."""
    rows = []
    for case in (*LONG.cases, THEIRS):
        units_of = peers() if case == THEIRS else [LONG.unit(case, seed) for seed in LONG.seeds]
        if found := place.results(units_of):
            keys = (("top1_error_1", "top5_error_1") if case == THEIRS else
                    ("val_top1_error", "val_top5_error", "ten_views_top1_error", "ten_views_top5_error"))
            cells = [percent(sum(one[key] for one in found) / len(found)) for key in keys]
            rows.append(row(named(case), len(found), *cells, *[""] * (4 - len(cells))))
    return part(LONG.title, text(LONG.conditions, LONG.settings.epochs), ("network", "seeds", *ERRORS), rows)
