"""The paper's 27 statements, the units that test each, and the rule by which a verdict follows.

When each rule was fixed, and what was changed after which numbers were known, stands in README.md ("What was fixed when").
Where a rule speaks of differences, they are paired by seed, counted so that the paper's statement makes them positive, and judged by
their 95% t interval (verdicts.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from results import ablations, cifar_nets, counting, tiny
from results.units import DATA, Place, Unit
from results.verdicts import (BY_CONSTRUCTION, NOT_HERE, NOT_RUN, NOT_TESTED, OPPOSITE, REPRODUCED, combine, t_interval,
                              verdict)

IMAGENET = "python train_alexnet.py --data path/to/imagenet"


@dataclass(frozen=True)
class Finding:
    found: str      # the numbers, with their uncertainty
    verdict: str


@dataclass(frozen=True)
class Claim:
    """One row of the table."""

    id: str
    says: str
    rule: str                                          # how the verdict follows
    judge: Callable[[Place], Finding]                  # of a place where all units were run
    units: tuple[Unit, ...] = ()
    command: str = ""                                  # instead of `results.reproduce run ID`

    def finding(self, place: Place) -> Finding:
        """What is known so far."""
        done = sum(place.file(unit).exists() for unit in self.units)
        if done < len(self.units):
            return Finding(f"{done} of {len(self.units)} runs done", NOT_RUN)
        return self.judge(place)

    def how(self) -> str:
        folders = [f"--{data} DIR" for data in DATA if any(unit.data == data for unit in self.units)]
        return self.command or " ".join([f"python -m results.reproduce run {self.id}", *folders])

    def experiments(self) -> dict[str, list[str]]:
        """The files of results/ that run it, each with the cases that it compares."""
        found: dict[str, list[str]] = {}
        for unit in self.units:
            cases = found.setdefault(FILES[unit.experiment], [])
            if unit.experiment != "counting" and unit.case not in cases:
                cases.append(unit.case)
        return found


FILES = {"tiny-64": "tiny.py", "counting": "counting.py", "imagenette-64": "ablations.py", "cifar-race": "cifar_nets.py", "cifar-lrn": "cifar_nets.py"}


CLAIMS: dict[str, Claim] = {}


def claim(id: str, says: str, rule: str, units: Sequence[Unit] = (), command: str = "") -> Callable:
    """Enters a judge as a row of the table."""
    def enter(judge: Callable[[Place], Finding]) -> Callable[[Place], Finding]:
        CLAIMS[id] = Claim(id, says, rule, judge, tuple(units), command)
        return judge
    return enter


# ------------------------------------------------------------------- numbers from JSON files

def results(place: Place, units: Sequence[Unit]) -> list[dict[str, Any]]:
    """The results of those units that were run."""
    return [content["result"] for content in place.found_all(units)]


def differences(place: Place, name: str, measure: Callable[[dict[str, Any]], float]) -> list[float]:
    """Case less base (or what else it is compared with) of what `measure` makes of a JSON file, for all seeds
    that both have. UserError where one was computed in bf16 and the other was not."""
    found = []
    for unit in ablations.units_of(name):
        sides = place.found_all([unit, ablations.case_unit(ablations.CASES[name].against, unit.seed)])
        if len(sides) == 2:
            found.append(measure(sides[0]) - measure(sides[1]))
    return found


def val_error(content: dict[str, Any]) -> float:
    return content["result"]["val_top1_error"]


def train_error(content: dict[str, Any]) -> float:
    return content["result"]["train_top1_error"]


def gap(content: dict[str, Any]) -> float:
    return val_error(content) - train_error(content)


def early_loss(content: dict[str, Any]) -> float:
    """The mean training loss of the first three epochs."""
    rows = content["curve"][:3]
    return sum(row["train_loss"] for row in rows) / len(rows) if rows else math.inf


def with_base(*names: str) -> list[Unit]:
    """The units of some cases, and those that they are compared with, of the same seeds."""
    cases = [unit for name in names for unit in ablations.units_of(name)]
    others = {(ablations.CASES[unit.case].against, unit.seed) for unit in cases}
    return [ablations.case_unit(*other) for other in sorted(others)] + cases


def base_units(count: int = 5) -> list[Unit]:
    return [ablations.case_unit("base", seed) for seed in range(count)]


def interval_text(values: Sequence[float]) -> str:
    interval = t_interval(values)
    return f"{100 * interval.mean:.2f}% ± {100 * (interval.high - interval.mean):.2f}"


def ablated(name: str) -> Callable[[Place], Finding]:
    """The usual judgement: the change makes the validation error larger."""
    def judge(place: Place) -> Finding:
        apart = differences(place, name, val_error)
        return Finding(f"{name}: top-1 error {t_interval(apart).text()}", verdict(apart))
    return judge


LARGER = "validation error with the change less without it; its interval above 0"


# ------------------------------------------------------------------- counting and measuring

def counted(place: Place, id: str) -> Any:
    return place.found(counting.units()[0])["result"][id]


@claim("C1", "60 million parameters", "the count rounds down to 60 million", counting.units())
def _(place: Place) -> Finding:
    count = counted(place, "C1")
    return Finding(f"{count:,} parameters", BY_CONSTRUCTION if count // 10 ** 6 == 60 else OPPOSITE)


@claim("C2", "650,000 neurons; 253,440 / 186,624 / 64,896 / 64,896 / 43,264 / 4096 / 4096 / 1000",
       "the total within 2% of 650,000 and all layers but conv1 as stated", counting.units())
def _(place: Place) -> Finding:
    counts = counted(place, "C2")
    agrees = counts[1:] == [186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    return Finding(f"{sum(counts):,}; seven of eight numbers {'agree' if agrees else 'do not agree'}, conv1's {counts[0]:,} "
                   "(55 x 55 x 96) cannot be 253,440",
                   BY_CONSTRUCTION if agrees and abs(sum(counts) / 650_000 - 1) < 0.02 else OPPOSITE)


@claim("C3", "ILSVRC-2010 test error 37.5% / 17.0%, ten views", "the same errors on ImageNet",
       command=f"{IMAGENET} --schedule release")
def _(place: Place) -> Finding:
    return Finding("needs ImageNet (150 GB) and 4.8e17 operations: hours on one current GPU, ten days or more on two "
                   "cores (C22); the release's own notes have 37.47% and 17.00%", f"{NOT_TESTED} (no ImageNet, no GPU)")


@claim("C4", "Averaging five networks: 40.7 / 18.2 to 38.1 / 16.4; more after pretraining",
       "image by image, mean error of the base's single networks less error of their average; interval over "
       "images above 0. Pretraining on 2011's images is not tested", base_units())
def _(place: Place) -> Finding:
    contents = [place.found(unit) for unit in base_units()]
    single, average = averaged([content["result"] for content in contents])
    apart = t_interval(single - average)
    return Finding(f"{len(contents)} networks: {100 * single.mean():.2f}% each, {100 * average.mean():.2f}% averaged: "
                   f"{100 * apart.mean:+.2f} points ({100 * apart.low:+.2f} to {100 * apart.high:+.2f}, over "
                   f"{apart.count:,} images)", verdict(single - average))


def averaged(found: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) mean error of single networks, and error of their averaged probabilities, of each image."""
    labels = ablations.from_text(found[0]["labels"], 1)[:, 0]
    all_ = np.stack([ablations.from_text(result["probabilities"], found[0]["classes"]) for result in found])
    return ((all_.argmax(2) != labels).mean(0), (all_.mean(0).argmax(1) != labels).astype(float))


@claim("C5", "Fall 2009 release, 10,184 classes: 67.4% / 40.9%", "the same errors there",
       command=f"{IMAGENET}-fall-2009 --epochs 36")
def _(place: Place) -> Finding:
    return Finding("needs 8.9 million images that are no longer given out in this form; half of them for training, "
                   "3.5 times as many as in C3",
                   f"{NOT_TESTED} (no such data)")


@claim("C6", "Each conv layer holds at most 1% of the parameters, and each is needed",
       "leaving each of the five out: interval above 0 for all five. The shares are counted, not judged", [
           *with_base(*(f"without conv{number}" for number in range(1, 6))), *counting.units()])
def _(place: Place) -> Finding:
    all_ = [differences(place, f"without conv{number}", val_error) for number in range(1, 6)]
    effects = "; ".join(f"conv{number} {t_interval(apart).text()}" for number, apart in enumerate(all_, 1))
    shares = ", ".join(f"{100 * share:.2f}%" for share in counted(place, "C6"))
    over = sum(share > 0.01 for share in counted(place, "C6"))
    return Finding(f"top-1 error without {effects}. Shares by counting: {shares}: {over} of them above 1%",
                   combine({f"conv{number}": verdict(apart) for number, apart in enumerate(all_, 1)}))


@claim("C7", "Shorter side to 256, the centre, only the mean subtracted", "all four checks hold", counting.units())
def _(place: Place) -> Finding:
    checks = counted(place, "C7")
    return Finding("; ".join(f"{name}: {'yes' if good else 'no'}" for name, good in checks.items()),
                   BY_CONSTRUCTION if all(checks.values()) else OPPOSITE)


RACES = [unit for activation in cifar_nets.RATES for unit in cifar_nets.race_units(activation)]


@claim("C8", "CIFAR-10, four layers: 25% training error six times faster with ReLU than with tanh",
       "epochs with tanh over epochs with ReLU, geometric mean of three seeds: its interval above 1 and reaching 6. Each rate was chosen "
       "by the training error at epoch 8, with one seed", RACES)
def _(place: Place) -> Finding:
    found = {activation: results(place, cifar_nets.race_units(activation)) for activation in cifar_nets.RATES}
    epochs = {name: [one["epochs"] for one in some] for name, some in found.items()}
    said = []
    for name, some in found.items():
        if name == "relu" or all(one["reached"] for one in some):
            said.append(f"{name} {', '.join(f'{value:g}' for value in epochs[name])} epochs at rate {some[0]['rate']:g}"
                        f"{' (edge of the grid)' if some[0]['at_the_edge'] else ''}")
        else:   # a lower bound has no interval
            least = min(slow / fast for slow, fast in zip(epochs[name], epochs["relu"]))
            said.append(f"{name} not in {max(epochs[name]):g} epochs: at least {least:.1f} times slower than relu in each seed")
    interval = t_interval([math.log(slow / fast) for slow, fast in zip(epochs["tanh"], epochs["relu"])])
    low, high = math.exp(interval.low), math.exp(min(interval.high, 50))
    return Finding(f"{'; '.join(said)}. tanh {math.exp(interval.mean):.1f} times slower ({low:.1f} to {high:.1f})",
                   REPRODUCED if low > 1 and high >= 6 else OPPOSITE if high < 1 else NOT_HERE)


@claim("C9", "Two columns against one with half the kernels: 1.7 / 1.2 points better, and slightly faster to train",
       f"{LARGER}. The time is that of two GPUs against one: not tested. One column with all maps, which the paper does not have, is "
       "given, not judged", with_base("one column, half the maps", "one column, all maps"))
def _(place: Place) -> Finding:
    half, whole = (differences(place, f"one column, {maps} maps", val_error) for maps in ("half the", "all"))
    return Finding(f"one column, half the maps: top-1 error {t_interval(half).text()}; one column, all maps: top-1 error "
                   f"{t_interval(whole).text()}", verdict(half))


@claim("C10", "Local response normalisation: 1.4 / 1.2 points; CIFAR-10 13% to 11%",
       f"{LARGER}, on both data sets. CIFAR-10's schedule is shortened to {cifar_nets.LONGER} epochs. {cifar_nets.LRN_EPOCHS} were planned "
       "first, which leave both nets far from trained; what they gave is said, too",
       [*with_base("no LRN"), *(unit for epochs in (cifar_nets.LONGER, cifar_nets.LRN_EPOCHS)
                                for case in ("with LRN", "without") for unit in cifar_nets.norm_units(case, epochs))])
def _(place: Place) -> Finding:
    def on_cifar(epochs: int) -> tuple[str, list[float]]:
        without, with_it = ([one["val_top1_error"] for one in results(place, cifar_nets.norm_units(case, epochs))]
                            for case in ("without", "with LRN"))
        apart = [a - b for a, b in zip(without, with_it)]
        return (f"CIFAR-10, {epochs} epochs, {interval_text(without)} without, {interval_text(with_it)} with: "
                f"{t_interval(apart).text()}"), apart

    large = differences(place, "no LRN", val_error)
    said, small = on_cifar(cifar_nets.LONGER)
    return Finding(f"Imagenette, without: {t_interval(large).text()}; {said}; {on_cifar(cifar_nets.LRN_EPOCHS)[0]}",
                   combine({"Imagenette": verdict(large), "CIFAR-10": verdict(small)}))


@claim("C11", "Overlapping pooling: 0.4 / 0.3 points, and harder to overfit",
       f"{LARGER}; so for the gap between validation and training error", with_base("2x2 pooling"))
def _(place: Place) -> Finding:
    apart, gaps = (differences(place, "2x2 pooling", measure) for measure in (val_error, gap))
    return Finding(f"2x2 windows: top-1 error {t_interval(apart).text()}; gap between validation and training "
                   f"{t_interval(gaps).text()}", combine({"error": verdict(apart), "gap": verdict(gaps)}))


PAPERS_ORDER = ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2", "conv3", "relu3", "conv4", "relu4", "conv5",
                "relu5", "pool5", "flatten", "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"]
PAPERS_SHAPES = [[96, 3, 11, 4], [256, 48, 5, 1], [384, 256, 3, 1], [384, 192, 3, 1], [256, 192, 3, 1],
                 [4096, 9216, 1, 1], [4096, 4096, 1, 1], [1000, 4096, 1, 1]]


@claim("C12", "The architecture of section 3.5", "as-written: kernels, inputs, strides of all eight layers as stated, and the order "
       "of ReLU, normalisation and pooling", counting.units())
def _(place: Place) -> Finding:
    equal = sum(a == b for a, b in zip(counted(place, "C12"), PAPERS_SHAPES))
    order = counted(place, "C12 order") == PAPERS_ORDER
    return Finding(f"{equal} of 8 layers as in section 3.5 (results, inputs, side, stride of the kernels); the order of ReLU, "
                   f"normalisation and pooling: {'yes' if order else 'no'}", BY_CONSTRUCTION if equal == 8 and order else OPPOSITE)


@claim("C13", "Random crops and mirror images; without them, substantial overfitting",
       "gap between validation and training error without them less with them; interval above 0",
       with_base("no crops, no mirror images", "no crops", "no mirror images"))
def _(place: Place) -> Finding:
    gaps = differences(place, "no crops, no mirror images", gap)
    errors = "; ".join(f"{name}: top-1 error {t_interval(differences(place, name, val_error)).text()}"
                       for name in ("no crops, no mirror images", "no crops", "no mirror images"))
    return Finding(f"without both: gap {t_interval(gaps).text()}; {errors}", with_error(
        verdict(gaps), differences(place, "no crops, no mirror images", val_error)))


@claim("C14", "Ten views instead of one: 39.0 / 18.3 to 37.5 / 17.0",
       "error of one view less error of ten, of the base; interval above 0", base_units())
def _(place: Place) -> Finding:
    found = results(place, base_units())
    apart = [one["val_top1_error"] - one["ten_views_top1_error"] for one in found]
    return Finding(f"one view {interval_text([one['val_top1_error'] for one in found])}, ten "
                   f"{interval_text([one['ten_views_top1_error'] for one in found])}: {t_interval(apart).text()}", verdict(apart))


@claim("C15", "Colour noise: more than 1 point of top-1", LARGER, with_base("no colour noise"))
def _(place: Place) -> Finding:
    apart = differences(place, "no colour noise", val_error)
    without = "; the interval excludes the paper's +1" if t_interval(apart).high < 0.01 else ""
    return Finding(f"no colour noise: top-1 error {t_interval(apart).text()}{without}", verdict(apart))


@claim("C16", "Augmentation costs nothing: it runs while the step before is computed",
       "training with batches prepared in the background as fast as with one batch that is ready: the ranges of five rounds overlap "
       "(results/benchmark/input.json)", counting.units(),
       "python -m results.benchmark input && python -m results.reproduce run C16")
def _(place: Place) -> Finding:
    lost = counted(place, "C16")
    if lost is None:
        return Finding("results/benchmark/input.json is missing", NOT_RUN)
    part, overlap = lost
    return Finding(f"{100 * part:.1f}% of the throughput lost, at 224 px, where the same cores do both (medians of five rounds, whose "
                   f"ranges {'overlap' if overlap else 'do not overlap'})", REPRODUCED if overlap else NOT_HERE)


@claim("C17", "Dropout: without it, substantial overfitting; about twice the iterations",
       "gap between validation and training error without it less with it; log of epochs to 50% training error with it "
       "over without; both intervals above 0. With biases of 0 in fc6 and fc7 on both sides: with the recipe's 1 and no "
       "dropout the first steps go wrong (what-breaks-it), even at half the rate. That pair, planned first, is given, too",
       with_base("fc biases 0, no dropout", "no dropout"))
def _(place: Place) -> Finding:
    without, with_it = "fc biases 0, no dropout", "fc biases 0"
    gaps, errors = (differences(place, without, measure) for measure in (gap, val_error))
    times = [epochs_to(place.found(ablations.case_unit(with_it, seed)), 0.5)
             / epochs_to(place.found(ablations.case_unit(without, seed)), 0.5) for seed in range(3)]
    return Finding(f"fc biases 0, without: gap {t_interval(gaps).text()}; top-1 error {t_interval(errors).text()}; with it "
                   f"{t_interval(times).mean:.1f} times as many epochs to 50% training error. Biases 1, rate 0.005, without: "
                   f"top-1 error {t_interval(differences(place, 'no dropout', val_error)).text()}",
                   with_error(combine({"gap": verdict(gaps), "epochs": verdict([math.log(ratio) for ratio in times])}), errors))


def with_error(one: str, errors: Sequence[float]) -> str:
    """A verdict about the gap between validation and training error, with what the error itself does."""
    interval = t_interval(errors)
    says = "larger" if interval.low > 0 else "smaller" if interval.high < 0 else "no larger"
    return f"{one} (the gap; the error is {says} without)"


def epochs_to(content: dict[str, Any], error: float) -> float:
    """The first epoch whose training error (with dropout) is at most `error`, between two epochs by a line; the
    last epoch if there is none."""
    before = (0.0, 1.0)
    for row in content["curve"]:
        now = (float(row["epoch"]), row["train_top1_error"])
        if now[1] <= error:
            return before[0] + (now[0] - before[0]) * (before[1] - error) / (before[1] - now[1])
        before = now
    return before[0]


@claim("C18", "v := 0.9 v - 0.0005 e w - e g; w := w + v",
       "twenty steps, with a change of rate, equal those two lines in float64 to 1e-6", counting.units())
def _(place: Place) -> Finding:
    apart = counted(place, "C18")
    return Finding(f"largest relative difference {apart:.1e}", BY_CONSTRUCTION if apart < 1e-6 else OPPOSITE)


@claim("C19", "Weight decay lowers the training error, too",
       "training error without it less with it; interval above 0", with_base("no weight decay"))
def _(place: Place) -> Finding:
    train, val = (differences(place, "no weight decay", measure) for measure in (train_error, val_error))
    return Finding(f"without: training error {t_interval(train).text()}; validation {t_interval(val).text()}",
                   verdict(train))


@claim("C20", "Biases of 1 speed up the first stages",
       "mean training loss of the first three epochs with biases 0 less with 1; interval above 0", with_base("biases 0"))
def _(place: Place) -> Finding:
    early, late = (differences(place, "biases 0", measure) for measure in (early_loss, val_error))
    return Finding(f"biases 0: loss of the first epochs {t_interval(early).text(1, '')}; validation error at the end "
                   f"{t_interval(late).text()}", verdict(early))


@claim("C21", "The rate is divided by 10 when the validation error stops improving",
       "validation error with a constant rate less with drops (at 60 and 84%, fixed beforehand); interval above 0",
       with_base("constant rate"))
def _(place: Place) -> Finding:
    apart = differences(place, "constant rate", val_error)
    return Finding(f"constant rate: top-1 error {t_interval(apart).text()}; the paper's own rule (`plateau`) was not run, and the "
                   "first drop lowers the error at 128 px in 30 and 60 epochs (single runs, base result)", verdict(apart))


@claim("C22", "Five to six days on two GTX 580 3GB", "by counting only", counting.units(),
       "python -m results.benchmark step && python -m results.reproduce run C22")
def _(place: Place) -> Finding:
    found = counted(place, "C22")
    here = (f"; here {found['images_per_second_here']:.0f} images/s, {found['days_here']:.0f} days"
            if "days_here" in found else "")
    return Finding(f"{found['operations']:.1e} operations in 90 epochs: {100 * found['share_of_peak']:.0f}% of the peak "
                   f"rate of two GTX 580 for 5.5 days, which is possible{here}", f"{NOT_TESTED} (no such GPUs)")


@claim("C23", "conv1 learns oriented and coloured kernels; one column is colour-agnostic, the other colour-specific, "
       "in every run", "mean colourfulness (share of energy off the grey axis) of the more colourful column less the "
       "other, beyond that of 1,000 random halvings of the same kernels; interval above 0", base_units())
def _(place: Place) -> Finding:
    columns = [np.array(one["colourfulness"]).reshape(2, -1) for one in results(place, base_units())]
    apart = [beyond_chance(one) for one in columns]
    means = ", ".join(f"{one[0].mean():.3f} / {one[1].mean():.3f}" for one in columns)
    return Finding(f"columns' means {means}; beyond chance {t_interval(apart).text(1, '')}; a weak test: "
                   "after 12 epochs much of each kernel is still its initial noise", verdict(apart))


def beyond_chance(columns: np.ndarray, halvings: int = 1000) -> float:
    """The difference of two columns' means, less its mean when the same kernels are shared out at random."""
    values, chance = columns.ravel().copy(), np.random.default_rng(0)
    halves = np.stack([chance.permutation(values) for _ in range(halvings)]).reshape(halvings, 2, -1).mean(2)
    return float(abs(columns[0].mean() - columns[1].mean()) - np.abs(halves[:, 0] - halves[:, 1]).mean())


@claim("C24", "Figure 4, left: the five most probable labels are mostly sensible",
       "the right class among the five most probable of 200 (Tiny-ImageNet, 64 px, 15 epochs) for more than half of the validation images, in "
       "each seed", tiny.units())
def _(place: Place) -> Finding:
    errors = [one["val_top5_error_1"] for one in results(place, tiny.units())]
    return Finding(f"200 classes: top-5 error {interval_text(errors)}; the panel itself by `alexnet_inference.py --panel`",
                   REPRODUCED if max(errors) < 0.5 else NOT_HERE)


@claim("C25", "Figure 4, right: nearest training images in fc7 are of the same kind, in pixels they are not",
       "share of the six nearest training images with the query's class, in fc7 less in pixels; interval above 0", base_units())
def _(place: Place) -> Finding:
    found = results(place, base_units())
    fc7, pixels = ([one[f"agreement_in_{where}"] for one in found] for where in ("fc7", "pixels"))
    apart = [a - b for a, b in zip(fc7, pixels)]
    return Finding(f"same class: {interval_text(fc7)} in fc7, {interval_text(pixels)} in pixels: {t_interval(apart).text()}",
                   verdict(apart))


@claim("C26", "Features could be compressed to short binary codes for fast retrieval (not done in the paper)",
       "an auto-encoder on fc7; agreement of neighbours by code against by fc7",
       command="python alexnet_inference.py FOLDER --features fc7 --output features.npz")
def _(place: Place) -> Finding:
    return Finding("a suggestion, not a result: features by the command, then an auto-encoder; some hours", NOT_TESTED)


ORDER = ("tanh", "one column, half the maps", "no LRN", "2x2 pooling")


@claim("C27", "By importance: ReLU, two GPUs, LRN, overlapping pooling",
       "each effect on the validation error less the next one's, paired by seed; all three intervals above 0",
       with_base(*ORDER))
def _(place: Place) -> Finding:
    effects = {name: differences(place, name, val_error) for name in ORDER}
    steps = [[a - b for a, b in zip(effects[first], effects[second])] for first, second in zip(ORDER, ORDER[1:])]
    text = "; ".join(f"{name} {t_interval(apart).text()}" for name, apart in effects.items())
    return Finding(f"{text}. {len(effects)} effects in the paper's order: "
                   f"{'yes' if all(t_interval(step).mean > 0 for step in steps) else 'no'}",
                   combine({f"{first} over {second}": verdict(step) for (first, second), step in zip(zip(ORDER, ORDER[1:]), steps)}))
