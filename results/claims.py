"""The paper's 27 statements, the units that test each, and the rule by which a verdict follows.

When each rule was fixed, and what was changed after which numbers were known, stands in README.md ("What was
fixed when"). Where a rule speaks of differences, they are paired by seed, counted so that the paper's
statement makes them positive, and judged by their 95% t interval (verdicts.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import Any, Callable, Sequence

import numpy as np

from results import ablations, cifar_nets, counting, larger, looks
from results.ablations import CONVOLUTIONS
from results.pages import Text, in_lines, joined, listed, term, named, say, text
from results.series import Measure, gap, train_error, val_error
from results.units import DATA, Place, Unit
from results.verdicts import (BY_CONSTRUCTION, NOT_HERE, NOT_RUN, NOT_TESTED, OPPOSITE, REPRODUCED, combine,
                              t_interval, verdict)

IMAGENET = "python train_alexnet.py --data path/to/imagenet"
SAME_SIZES = "2x2 pooling, same sizes"   # section 3.4: "output of equivalent dimensions"
FILES = {"tiny-64": "larger.py", "looks": "looks.py", "counting": "counting.py",
         "imagenette-64": "ablations.py",
         "cifar-race": "cifar_nets.py", "cifar-lrn": "cifar_nets.py"}
YES, NO = term("yes"), term("no")


@dataclass(frozen=True)
class Finding:
    found: Text     # the numbers, with their uncertainty
    verdict: Text


@dataclass(frozen=True)
class Claim:
    """One row of the table."""

    id: str
    says: Text
    rule: Text                                         # how the verdict follows
    judge: Callable[[Place], Finding]                  # of a place where all units were run
    units: tuple[Unit, ...] = ()
    command: str = ""                                  # instead of `results.reproduce run ID`

    def finding(self, place: Place) -> Finding:
        """What is known so far."""
        done = sum(place.file(unit).exists() for unit in self.units)
        if done < len(self.units):
            return Finding(text("results.done", done, len(self.units)), NOT_RUN)
        return self.judge(place)

    def how(self) -> str:
        folders = [f"--{data} DIR" for data in DATA if any(data in unit.data.split() for unit in self.units)]
        return self.command or " ".join([f"python -m results.reproduce run {self.id}", *folders])

    def experiments(self) -> dict[str, list[str]]:
        """The files of results/ that run it, each with the cases that it compares."""
        found: dict[str, list[str]] = {}
        for unit in self.units:
            cases = found.setdefault(FILES[unit.experiment], [])
            if unit.experiment != "counting" and unit.case not in cases:
                cases.append(unit.case)
        return found


CLAIMS: dict[str, Claim] = {}


def claim(id: str, units: Sequence[Unit] = (), command: str = "") -> Callable:
    """Enters a judge as a row of the table; what the row says stands in texts.toml."""
    def enter(judge: Callable[[Place], Finding]) -> Callable[[Place], Finding]:
        CLAIMS[id] = Claim(id, text(f"{id}.says"), text(f"{id}.rule"), judge, tuple(units), command)
        return judge
    return enter


# ------------------------------------------------------------------- numbers from JSON files

def differences(place: Place, name: str, measure: Measure) -> list[float]:
    """Case less base (or what else it is compared with) of what `measure` makes of a JSON file, for all seeds
    that both have. UserError where one was computed in bf16 and the other was not."""
    cases = ablations.units_of(name)
    others = [ablations.case_unit(ablations.CASES[name].against, unit.seed) for unit in cases]
    return [measure(one) - measure(other) for one, other in place.pairs(cases, others)]


def loss_of(epoch: int) -> Measure:
    """The training loss of an epoch, counted from 0; infinite where the run ended before, at no number."""
    return lambda content: (content["curve"][epoch]["train_loss"] if epoch < len(content["curve"])
                            else math.inf)


def early_loss(content: dict[str, Any]) -> float:
    """The mean training loss of the first three epochs."""
    return fmean(loss_of(epoch)(content) for epoch in range(3))


def with_base(*names: str) -> list[Unit]:
    """The units of some cases, and those that they are compared with, of the same seeds."""
    cases = [unit for name in names for unit in ablations.units_of(name)]
    others = {(ablations.CASES[unit.case].against, unit.seed) for unit in cases}
    return [ablations.case_unit(*other) for other in sorted(others)] + cases


BASE = [ablations.case_unit("base", seed) for seed in range(5)]


def interval_text(values: Sequence[float]) -> str:
    interval = t_interval(values)
    return f"{100 * interval.mean:.2f}% ± {100 * (interval.high - interval.mean):.2f}"


def points(apart: Sequence[float]) -> Text:
    """The mean of paired differences with its interval."""
    return t_interval(apart).text()


def top1(place: Place, name: str) -> Text:
    """A case, and by how much it makes the validation error larger."""
    return text("results.top-1 error", named(name), points(differences(place, name, val_error)))


# ------------------------------------------------------------------- counting and measuring

def counted(place: Place, id: str) -> Any:
    return place.found(counting.units()[0])["result"][id]


def constructed(good: bool) -> Text:
    """The verdict about what our own code makes true."""
    return BY_CONSTRUCTION if good else OPPOSITE


@claim("C1", counting.units())
def _(place: Place) -> Finding:
    count = counted(place, "C1")
    return Finding(text("C1.found", count), constructed(count // 10 ** 6 == 60))


@claim("C2", counting.units())
def _(place: Place) -> Finding:
    counts = counted(place, "C2")
    agrees = counts[1:] == [186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    said = text("C2.agrees" if agrees else "C2.differs")
    return Finding(text("C2.found", sum(counts), said, counts[0]),
                   constructed(agrees and abs(sum(counts) / 650_000 - 1) < 0.02))


@claim("C3", command=f"{IMAGENET} --schedule release")
def _(place: Place) -> Finding:
    return Finding(text("C3.found"), text("C3.note", NOT_TESTED))


@claim("C4", BASE)
def _(place: Place) -> Finding:
    found = place.results(BASE)
    single, average = averaged(found)
    apart = t_interval(single - average)
    in_percent = (100 * value for value in (single.mean(), average.mean(), apart.mean, apart.low, apart.high))
    return Finding(text("C4.found", len(found), *in_percent, apart.count), verdict(single - average))


def answers(found: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """(networks, N, classes) of probabilities, and the N labels."""
    each = [ablations.from_text(result["probabilities"], found[0]["classes"]) for result in found]
    return np.stack(each), ablations.from_text(found[0]["labels"], 1)[:, 0]


def averaged(found: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) mean error of single networks, and error of their averaged probabilities, of each image."""
    each, labels = answers(found)
    return (each.argmax(2) != labels).mean(0), (each.mean(0).argmax(1) != labels).astype(float)


def errors_by_number(found: list[dict[str, Any]]) -> list[list[float]]:
    """For 1, 2, ... networks: the error of the averaged probabilities, of each choice of so many."""
    each, labels = answers(found)
    return [[float((each[list(some)].mean(0).argmax(1) != labels).mean())
             for some in combinations(range(len(each)), count)] for count in range(1, len(each) + 1)]


@claim("C5", command=f"{IMAGENET}-fall-2009 --epochs 36")
def _(place: Place) -> Finding:
    return Finding(text("C5.found"), text("C5.note", NOT_TESTED))


@claim("C6", [*with_base(*(f"without {name}" for name in CONVOLUTIONS)), *counting.units()])
def _(place: Place) -> Finding:
    apart = {name: differences(place, f"without {name}", val_error) for name in CONVOLUTIONS}
    effects = in_lines(say("{} {}", "{} {}", name, points(values)) for name, values in apart.items())
    shares = counted(place, "C6")
    return Finding(text("C6.found", effects, joined(f"{100 * share:.2f}%" for share in shares),
                        sum(share > 0.01 for share in shares)),
                   combine({name: verdict(values) for name, values in apart.items()}))


@claim("C7", counting.units())
def _(place: Place) -> Finding:
    checks = counted(place, "C7")
    said = listed(say("{}: {}", "{}：{}", term(name), YES if good else NO) for name, good in checks.items())
    return Finding(said, constructed(all(checks.values())))


RACES = [unit for activation in cifar_nets.RATES for unit in cifar_nets.race_units(activation)]


@claim("C8", RACES)
def _(place: Place) -> Finding:
    place.found_all(RACES)   # of one precision, all of them
    runs = {activation: place.results(cifar_nets.race_units(activation)) for activation in cifar_nets.RATES}
    epochs = {name: [one["epochs"] for one in some] for name, some in runs.items()}
    said = []
    for name, some in runs.items():
        if name == "relu" or all(one["reached"] for one in some):
            edge = text("C8.edge") if some[0]["at_the_edge"] else ""
            each = joined(f"{one:g}" for one in epochs[name])
            said.append(text("C8.reached", name, each, some[0]["rate"], edge))
        else:   # a lower bound has no interval
            least = min(slow / fast for slow, fast in zip(epochs[name], epochs["relu"]))
            said.append(text("C8.bound", name, max(epochs[name]), least))
    interval = t_interval([math.log(slow / fast) for slow, fast in zip(epochs["tanh"], epochs["relu"])])
    low, high = math.exp(interval.low), math.exp(min(interval.high, 50))
    found = text("C8.found", in_lines(said), math.exp(interval.mean), low, high)
    if low > 1 and high >= 6:
        return Finding(found, REPRODUCED)
    return Finding(found, OPPOSITE if high < 1 else NOT_HERE)


@claim("C9", with_base("one column, half the maps", "one column, all maps"))
def _(place: Place) -> Finding:
    return Finding(listed(top1(place, f"one column, {maps} maps") for maps in ("half the", "all")),
                   text("C9.note", verdict(differences(place, "one column, half the maps", val_error))))


def lrn_on_cifar(place: Place, epochs: int) -> tuple[Text, list[float]]:
    """What was found, and the differences of the errors."""
    runs = list(zip(*place.pairs(*(cifar_nets.norm_units(case, epochs) for case in ("without", "with LRN")))))
    without, with_it = ([val_error(one) for one in some] for some in runs)
    training = (100 * fmean(one["curve"][-1]["train_top1_error"] for one in some) for some in runs)
    apart = [a - b for a, b in zip(without, with_it)]
    return text("C10.cifar", epochs, interval_text(without), interval_text(with_it), points(apart),
                *training), apart


CIFAR_UNITS = [unit for epochs in (cifar_nets.LONGER, cifar_nets.LRN_EPOCHS)
               for case in ("with LRN", "without") for unit in cifar_nets.norm_units(case, epochs)]


@claim("C10", [*with_base("no LRN"), *CIFAR_UNITS])
def _(place: Place) -> Finding:
    large, (said, small) = differences(place, "no LRN", val_error), lrn_on_cifar(place, cifar_nets.LONGER)
    return Finding(text("C10.found", points(large), said, lrn_on_cifar(place, cifar_nets.LRN_EPOCHS)[0]),
                   combine({"Imagenette": verdict(large), "CIFAR-10": verdict(small)}))


@claim("C11", with_base(SAME_SIZES, "2x2 pooling"))
def _(place: Place) -> Finding:
    gaps, others = (differences(place, name, gap) for name in (SAME_SIZES, "2x2 pooling"))
    return Finding(text("C11.found", top1(place, SAME_SIZES), points(gaps), top1(place, "2x2 pooling"),
                        points(others)),
                   combine({term("error"): verdict(differences(place, SAME_SIZES, val_error)),
                            term("gap"): verdict(gaps)}))


PAPERS_ORDER = ("conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
                "flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8").split()
PAPERS_SHAPES = [[96, 3, 11, 4], [256, 48, 5, 1], [384, 256, 3, 1], [384, 192, 3, 1], [256, 192, 3, 1],
                 [4096, 9216, 1, 1], [4096, 4096, 1, 1], [1000, 4096, 1, 1]]


@claim("C12", counting.units())
def _(place: Place) -> Finding:
    equal = sum(a == b for a, b in zip(counted(place, "C12"), PAPERS_SHAPES))
    order = counted(place, "C12 order") == PAPERS_ORDER
    return Finding(text("C12.found", equal, YES if order else NO), constructed(equal == 8 and order))


AUGMENTATIONS = ("no crops, no mirror images", "no crops", "no mirror images")


@claim("C13", with_base(*AUGMENTATIONS))
def _(place: Place) -> Finding:
    gaps = differences(place, AUGMENTATIONS[0], gap)
    errors = in_lines(top1(place, name) for name in AUGMENTATIONS)
    return Finding(text("C13.found", points(gaps), errors),
                   with_error(verdict(gaps), text("C13.gap"), differences(place, AUGMENTATIONS[0], val_error),
                              "with neither crops nor mirror images"))


@claim("C14", BASE)
def _(place: Place) -> Finding:
    one, ten = ([one[f"{crops}top1_error"] for one in place.results(BASE)]
                for crops in ("val_", "ten_views_"))
    apart = [a - b for a, b in zip(one, ten)]
    return Finding(text("C14.found", interval_text(one), interval_text(ten), points(apart)), verdict(apart))


@claim("C15", with_base("no colour noise"))
def _(place: Place) -> Finding:
    apart = differences(place, "no colour noise", val_error)
    excludes = text("C15.excludes") if t_interval(apart).high < 0.01 else ""
    return Finding(say("{}{}", "{}{}", top1(place, "no colour noise"), excludes), verdict(apart))


@claim("C16", counting.units(), "python -m results.benchmark input && python -m results.reproduce run C16")
def _(place: Place) -> Finding:
    lost = counted(place, "C16")
    if lost is None:
        return Finding(text("C16.missing"), NOT_RUN)
    lost_part, overlap = lost
    return Finding(text("C16.found", 100 * lost_part, text("C16.overlap") if overlap else text("C16.apart")),
                   REPRODUCED if overlap else NOT_HERE)


@claim("C17", with_base("fc biases 0, no dropout", "no dropout"))
def _(place: Place) -> Finding:
    without, with_it = "fc biases 0, no dropout", "fc biases 0"
    gaps, errors = (differences(place, without, measure) for measure in (gap, val_error))
    times = [epochs_to(place.found(ablations.case_unit(with_it, seed)), 0.5)
             / epochs_to(place.found(ablations.case_unit(without, seed)), 0.5) for seed in range(3)]
    longer = t_interval(times)
    return Finding(text("C17.found", points(gaps), points(errors), longer.mean, longer.low, longer.high,
                        points(differences(place, "no dropout", val_error))),
                   with_error(combine({term("gap"): verdict(gaps),
                                       text("C17.epochs"): verdict([math.log(ratio) for ratio in times])}),
                              text("C17.gap and epochs"), errors,
                              "without dropout, in the first of two comparisons"))


def with_error(one: Text, about: Text, errors: Sequence[float], where: str) -> Text:
    """A verdict `about` the gap between validation and training error, with what the error itself does."""
    interval = t_interval(errors)
    says = term("not clearly different")
    if interval.low > 0:
        says = term("larger")
    elif interval.high < 0:
        says = term("smaller")
    return text("results.gap", one, about, term(where), says)


def epochs_to(content: dict[str, Any], error: float) -> float:
    """The first epoch whose training error (with dropout) is at most `error`, between two epochs by a line.
    The last epoch if there is none: a lower bound, which makes ratios nearer to 1 than they are. No number
    where the loss ceased to be one in the first epoch."""
    before = (0.0, 1.0)
    for row in content["curve"]:
        now = (float(row["epoch"]), row["train_top1_error"])
        if now[1] <= error:
            return before[0] + (now[0] - before[0]) * (before[1] - error) / (before[1] - now[1])
        before = now
    return before[0] or math.nan


@claim("C18", counting.units())
def _(place: Place) -> Finding:
    apart = counted(place, "C18")
    return Finding(text("C18.found", apart), constructed(apart < 1e-6))


@claim("C19", with_base("no weight decay"))
def _(place: Place) -> Finding:
    train, val = (differences(place, "no weight decay", measure) for measure in (train_error, val_error))
    return Finding(text("C19.found", points(train), points(val)), verdict(train))


@claim("C20", with_base("biases 0"))
def _(place: Place) -> Finding:
    early, late = (differences(place, "biases 0", measure) for measure in (early_loss, val_error))
    by_epoch = (t_interval(differences(place, "biases 0", loss_of(epoch))) for epoch in range(3))
    each = joined(f"{interval.mean:+.2f}" for interval in by_epoch)
    return Finding(text("C20.found", t_interval(early).text(1, ""), each, points(late)), verdict(early))


@claim("C21", with_base("constant rate"))
def _(place: Place) -> Finding:
    return Finding(text("C21.found", top1(place, "constant rate")),
                   text("C21.note", verdict(differences(place, "constant rate", val_error))))


@claim("C22", counting.units(), "python -m results.benchmark step && python -m results.reproduce run C22")
def _(place: Place) -> Finding:
    found = counted(place, "C22")
    here = ""
    if "days_here" in found:
        here = text("C22.here", found["images_per_second_here"], found["days_here"], counting.IMAGES)
    return Finding(text("C22.found", found["operations"], 100 * found["share_of_peak"], here),
                   text("C22.note", NOT_TESTED))


@claim("C23", BASE)
def _(place: Place) -> Finding:
    columns = [np.array(one["colourfulness"]).reshape(2, -1) for one in place.results(BASE)]
    apart = [beyond_chance(one) for one in columns]
    means = joined(f"{one[0].mean():.3f} / {one[1].mean():.3f}" for one in columns)
    return Finding(text("C23.found", means, t_interval(apart).text(1, "")), verdict(apart))


def beyond_chance(columns: np.ndarray, halvings: int = 1000) -> float:
    """The difference of two columns' means, less its mean when the same kernels are shared out at random."""
    values, chance = columns.ravel().copy(), np.random.default_rng(0)
    halves = np.stack([chance.permutation(values) for _ in range(halvings)]).reshape(halvings, 2, -1).mean(2)
    return float(abs(columns[0].mean() - columns[1].mean()) - np.abs(halves[:, 0] - halves[:, 1]).mean())


TINY = [larger.DATA.unit("base", seed) for seed in larger.DATA.seeds]


@claim("C24", TINY)
def _(place: Place) -> Finding:
    errors = [one["val_top5_error"] for one in place.results(TINY)]
    return Finding(text("C24.found", interval_text(errors)), REPRODUCED if max(errors) < 0.5 else NOT_HERE)


@claim("C25", BASE)
def _(place: Place) -> Finding:
    fc7, pixels = ([one[f"agreement_in_{where}"] for one in place.results(BASE)]
                   for where in ("fc7", "pixels"))
    apart = [a - b for a, b in zip(fc7, pixels)]
    return Finding(text("C25.found", interval_text(fc7), interval_text(pixels), points(apart)),
                   verdict(apart))


@claim("C26", looks.units())
def _(place: Place) -> Finding:
    found = [one["codes"] for one in place.results(looks.units())]
    fc7, pixels = ([one[f"agreement_{space}_{looks.JUDGED}"] for one in found] for space in looks.SPACES)
    apart = [a - b for a, b in zip(fc7, pixels)]
    whole = [one["agreement_fc7"] for one in found]
    return Finding(text("C26.found", looks.JUDGED, *map(interval_text, (fc7, pixels)), points(apart),
                        interval_text(whole)), verdict(apart))


ORDER = ("tanh", "one column, half the maps", "no LRN", SAME_SIZES)


def each_less_the_next(effects: dict[str, list[float]]) -> dict[Text, list[float]]:
    """By seed; of effects in the paper's order, so that its statement makes all of them positive."""
    return {text("C27.over", named(first), named(second)):
            [a - b for a, b in zip(effects[first], effects[second])]
            for first, second in pairwise(effects)}


@claim("C27", with_base(*ORDER))
def _(place: Place) -> Finding:
    effects = {name: differences(place, name, val_error) for name in ORDER}
    steps = each_less_the_next(effects)
    each = in_lines(say("{} {}", "{} {}", named(name), points(apart)) for name, apart in effects.items())
    kept = all(t_interval(step).mean > 0 for step in steps.values())
    between = listed(text("C27.less", named(first), named(second), points(step))
                     for (first, second), step in zip(pairwise(ORDER), steps.values()))
    return Finding(text("C27.found", each, between, len(effects), YES if kept else NO),
                   combine({name: verdict(step) for name, step in steps.items()}))
