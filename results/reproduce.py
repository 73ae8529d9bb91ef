"""Tests the paper's 27 claims: `python -m results.reproduce list | run ID... | run all | table`.

    python -m results.reproduce list [ID...]                       units, minutes, claims, what is done
    python -m results.reproduce run C9 C10 --imagenette DIR        what these two need
    python -m results.reproduce run all --imagenette DIR --cifar10 DIR --tiny DIR
    python -m results.reproduce table                              the pages and plots, from the JSON files

With --device cuda, units run on a GPU; their files and pages lie in results/gpu/, for numbers of different
devices are never compared.

A unit is one training run; it leaves a small JSON file in results/experiments/, is skipped where that exists,
and goes on where it was stopped (Ctrl-C, or --minutes). Start `run all` in two terminals, each with
OMP_NUM_THREADS=1, and they share the list. The claims and their rules stand in claims.py.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import Any, Iterable

import torch

from alexnet.cli import on_signals, shell, typed_path
from alexnet.device import choose_device, keep_memory
from alexnet.files import UserError
from alexnet.training import Stopped
from results import (ablations, again, base_result, cifar_nets, counting, larger, local_nets, longer, looks,
                     modern, plots, power, stars, units as running, what_breaks_it)
from results.claims import CLAIMS, Finding, differences, errors_by_number
from results.pages import (TEXTS, Text, anchor, fill, heading, joined, listed, named, part, percent, picture,
                           row, say, table, term, text)
from results.series import val_error
from results.units import Place, Unit
from results.verdicts import (BY_CONSTRUCTION, NOT_HERE, NOT_RUN, NOT_TESTED, OPPOSITE, REPRODUCED, Interval,
                              holm, p_value, t_interval)

WAIT = 10   # seconds until we look again at what another process holds
ORDER = sorted(CLAIMS, key=lambda name: int(name[1:]))
STORIES = {"base": base_result, "what-breaks-it": what_breaks_it, "modern": modern}
CASES = ablations.CASES
# with biases of 1: what it measures is that learning does not start (what-breaks-it)
FAILED_START = "no dropout"


# ------------------------------------------------------------------- which units

def all_units() -> list[Unit]:
    """In the order of `run all`: what a verdict waits for first, in threes of seeds; the longest last."""
    first, more = split(ablations.units(), lambda unit: unit.seed in (0, 1, 2, 100) or unit.case == "base")
    decisive, rest = split(what_breaks_it.units(), what_breaks_it.decisive)
    shown, decisive = split(decisive, lambda unit: unit.name.startswith("first-steps") and unit.seed == 0)
    return [*counting.units(), *shown, *first, *cifar_nets.units(), *decisive, *base_result.units(), *more,
            *looks.units(), *modern.units(), *rest, *larger.units(), *longer.SIXTY.units(),
            *local_nets.units(), *stars.units(), *base_result.large_units()]


def split(found: Iterable[Unit], condition: Any) -> tuple[list[Unit], list[Unit]]:
    found = list(found)
    return [unit for unit in found if condition(unit)], [unit for unit in found if not condition(unit)]


def chosen(names: list[str]) -> list[Unit]:
    """The units of some claims (C9), stories (modern), experiments or cases, with what these need."""
    everything = all_units()
    if names == ["all"]:
        return everything
    wanted: set[str] = set()
    for name in names:
        if name in CLAIMS:
            found = CLAIMS[name].units
        elif name in STORIES:
            found = STORIES[name].units()
        else:
            found = [unit for unit in everything if name in (unit.name, unit.experiment)]
        if not found and name not in CLAIMS:
            experiments = ", ".join(sorted({unit.experiment for unit in everything}))
            raise UserError(f"nothing is called {name}; there is all, C1 ... C27, {', '.join(STORIES)}, "
                            f"{experiments}, and each unit that `list` shows")
        waiting = list(found)
        while waiting:
            unit = waiting.pop()
            if unit.name not in wanted:
                wanted.add(unit.name)
                waiting += unit.needs
    return [unit for unit in everything if unit.name in wanted]


# ------------------------------------------------------------------- the three commands

def show_list(units: list[Unit], place: Place) -> None:
    left = 0.0
    for unit in units:
        done = place.file(unit).exists()
        left += 0 if done else unit.minutes
        serves = [name for name in ORDER if unit in CLAIMS[name].units]
        line = f"{'done' if done else '':4}  {unit.minutes:5.1f} min  {unit.name:58} {' '.join(serves)}"
        print(line.rstrip())
    print(f"about {left / 60:.1f} hours are left on one thread, half of that on two (two terminals)")


def run(units: list[Unit], place: Place, minutes: float) -> bool:
    """All that can be run, one after the other; False if something failed. What waits for other units (a
    rate that is chosen first), or is in the hands of another process, is looked at again."""
    end, failed = time.monotonic() + 60 * minutes, set()
    while True:
        left = [unit for unit in units if not place.file(unit).exists() and unit.name not in failed]
        ready = [unit for unit in left if all(place.file(need).exists() for need in unit.needs)]
        if not ready:
            break
        progress = False
        for unit in ready:
            if place.asked or time.monotonic() > end:
                print("stopping before", unit.name, flush=True)
                return not failed
            start = time.monotonic()
            try:
                if running.run(unit, place):
                    print(f"{unit.name}: {(time.monotonic() - start) / 60:.1f} min", flush=True)
                    progress = True
            except Stopped:
                print(f"{unit.name} was stopped; the same command goes on there", flush=True)
                return not failed
            except UserError as error:
                failed.add(unit.name)
                print(f"{unit.name}: {error}", file=sys.stderr, flush=True)
            except Exception:   # the others need not wait for this one to be mended
                failed.add(unit.name)
                print(f"{unit.name}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        if not progress:
            until = time.monotonic() + WAIT   # another process has all that is left, or we have just failed
            while time.monotonic() < until and not place.asked:
                time.sleep(min(1, WAIT))
    if left:
        names = ", ".join(unit.name for unit in left[:3])
        print(f"{len(left)} units wait for some that failed ({names} ...)", flush=True)
    return not failed


def write_pages(place: Place) -> None:
    """results/README, the plots, the pages of the stories and the guide's boxes, from whatever was run."""
    draw_effects(place)
    draw_race(place)
    longer.draw(place)
    stories = [line for module in STORIES.values() for line in module.report(place)]
    findings = {name: CLAIMS[name].finding(place) for name in ORDER}
    title = term("Results")
    fill(place.out, "short", in_short(place, findings), title)
    fill(place.out, "claims", [*claims_lines(findings), *stories, *ablation_lines(place), *power.lines(place),
                               *again.lines(place, findings), *average_lines(place), *looks.lines(place),
                               *longer.lines(place), *larger.lines(place), *local_nets.lines(place),
                               *stars.lines(place), *rule_lines(), *missing_lines(place), *hours(place)],
         title)
    if place.out == running.RESULTS:
        fill(running.RESULTS.parent, "verdicts", [verdict_line(findings)])
        for name in CLAIMS:
            fill(running.RESULTS.parent / "paper", f"claim {name}", [claim_line(name, findings[name], place)])


def write_other_pages() -> None:
    """Those of the programs that stand by themselves. Imported here: their words for figures are not ours."""
    from results import balance, benchmark, benchmark_page, faults, fine_tuning
    balance.report(Place())
    fine_tuning.report(running.RESULTS / "fine-tuning")
    benchmark_page.write(benchmark.HERE, benchmark.SECTIONS)
    faults.write_pages()


def change(name: str) -> Text:
    """A case, with what it is compared with, should that not be the base."""
    against = CASES[name].against
    return named(name) if against == "base" else text("results.against", named(name), named(against))


# ------------------------------------------------------------------- results/README

CLAIMS_TITLE = term("The paper's 27 claims")
EFFECTS_TITLE = term("The ablations by their effect")
# what the figures show
EFFECTS_SHOW = "Change of the top-1 error by each ablation, with its interval, by the paper's section"
RACE_SHOWS = "Training error over epochs with ReLU, tanh and sigmoid on CIFAR-10"


def in_short(place: Place, findings: dict[str, Finding]) -> list[Text]:
    """What was found: the verdicts, the largest effects, and a sentence of each story."""
    said = listed(say("**{}: {}** ({})", "**{}：{}**（{}）", one, len(names), joined(names))
                  for one, names in by_verdict(findings).items())
    partly = joined(name for name in ORDER if "(opposite: " in findings[name].verdict.en)
    opposite = text("results.partly", partly) if partly.en else ""
    lines = [text("results.all claims", CLAIMS_TITLE, anchor(CLAIMS_TITLE), said, opposite)]
    worst = [say("{} {:+.1f}", "{} {:+.1f}", change(name), 100 * interval.mean)
             for name, interval in effects(place) if interval.low > 0 and name != FAILED_START][:5]
    if worst:
        lines.append(text("results.largest effects", EFFECTS_TITLE, anchor(EFFECTS_TITLE),
                         listed(worst)))
    return [*lines, *(say("- [{}](#{}): {}.", "- [{}](#{})：{}。", module.TITLE, anchor(module.TITLE), said)
                      for module in STORIES.values() if (said := module.in_short(place)))]


def by_verdict(findings: dict[str, Finding]) -> dict[Text, list[str]]:
    """The claims of each verdict that there is, without what stands in brackets behind it."""
    groups = {one: [name for name in ORDER if findings[name].verdict.en.split(" (")[0] == one.en]
              for one in (REPRODUCED, NOT_HERE, OPPOSITE, NOT_TESTED, BY_CONSTRUCTION)}
    return {one: names for one, names in groups.items() if names}


def verdict_line(findings: dict[str, Finding]) -> Text:
    """For the first page: how many claims have which verdict."""
    counts = (say("{} **{}**", "{} **{}** 条", one, len(names)) for one, names in by_verdict(findings).items())
    return say("{}.", "{}。", joined(counts, ", ", "；"))


def apart_by_case(place: Place) -> dict[str, list[float]]:
    """Paired differences of the validation error, of each ablation with two pairs or more."""
    return {name: apart for name in CASES
            if name != "base" and len(apart := differences(place, name, val_error)) >= 2}


def effects(place: Place) -> list[tuple[str, Interval]]:
    """The worst first."""
    found = {name: t_interval(apart) for name, apart in apart_by_case(place).items()}
    return sorted(found.items(), key=lambda item: -item[1].mean)


def claims_lines(findings: dict[str, Finding]) -> list[Text | str]:
    """The table of all claims."""
    rule, fixed = (term("How each verdict follows"), term("What was fixed when"))
    says = text("results.how to read", ablations.SIZE, ablations.EPOCHS, REPRODUCED, OPPOSITE, NOT_HERE,
                BY_CONSTRUCTION, anchor(rule), anchor(fixed))
    rows = [row(name, CLAIMS[name].says, one.found, one.verdict, f"`{CLAIMS[name].how()}`")
            for name, one in findings.items()]
    return part(CLAIMS_TITLE, says, ("claim", "the paper", "found here", "verdict", "command"), rows)


def ablation_lines(place: Place) -> list[Text | str]:
    """The ablations sorted by effect, and figure 1."""
    found, lines = dict(effects(place)), []
    failed = found.pop(FAILED_START, None)
    if found:
        lines += [heading(EFFECTS_TITLE), "", *picture(place.out, "ablations.png", EFFECTS_SHOW),
                  *comparisons(place), "",
                  *table(("change", "change of the top-1 error"),
                         [row(change(name), interval.text()) for name, interval in found.items()])]
    if failed:
        lines += [text("results.failed start", change(FAILED_START), failed.text()), ""]
    if race := picture(place.out, "relu.png", RACE_SHOWS):
        lines += [heading("Figure 1: ReLU, tanh and sigmoid"), "", *race]
    return lines


def comparisons(place: Place) -> list[Text]:
    """How many there are, and what an adjustment for their number would change."""
    values = {name: p_value(apart) for name, apart in apart_by_case(place).items() if name != FAILED_START}
    if not values:
        return []
    shared, adjusted = [name for name in values if CASES[name].against == "base"], holm(values)
    alone = [name for name in values if values[name] < 0.05]
    kept = [name for name in alone if adjusted[name] < 0.05]
    lost = [name for name in alone if name not in kept]
    return [text("results.comparisons",
                len(values), len(shared), len(alone), len(kept), listed(map(named, kept)), len(lost),
                listed(map(named, lost)))]


def average_lines(place: Place) -> list[Text | str]:
    """Averages of 1 to 7 networks (table 2 of the paper has one, five and seven)."""
    found = place.results(ablations.units_of("base"))
    if len(found) < 2:
        return []
    rows = [row(count, len(errors), percent(sum(errors) / len(errors)), percent(min(errors)),
                percent(max(errors)))
            for count, errors in enumerate(errors_by_number(found), start=1)]
    return part("Averages of several networks", text("results.averages", len(found)),
                ("networks", "choices", "top-1 error", "lowest", "highest"), rows)


def rule_lines() -> list[Text | str]:
    return part("How each verdict follows", "", ("claim", "rule"),
                [row(name, CLAIMS[name].rule) for name in ORDER])


def missing_lines(place: Place) -> list[Text | str]:
    """What has rules and settings and was not run, by experiment."""
    experiments: dict[str, list[Unit]] = {}
    for unit in all_units():
        experiments.setdefault(unit.experiment, []).append(unit)
    rows = []
    for name, planned in experiments.items():
        left = [unit for unit in planned if not place.file(unit).exists()]
        if left:
            asks = Text(*TEXTS["asks"].get(name, ("", "")))
            rows.append(row(f"`{name}`", asks, len(planned), len(planned) - len(left),
                            f"{sum(unit.minutes for unit in left) / 60:.0f}"))
    return part("What was not run", text("results.missing"),
                ("experiment", "what it asks", "runs planned", "runs there", "hours left"), rows)


def hours(place: Place) -> list[Text]:
    contents = [content for unit in all_units() if (content := place.found(unit))]
    if not contents:
        return []
    dates = sorted(content["date"] for content in contents)
    shapes = sorted({(about["threads"], about["cores"], about["instructions"], about["torch"])
                     for about in (content["machine"] for content in contents)})
    machines = listed(text("results.machine", *shape) for shape in shapes)
    return [text("results.hours",
                len(contents), sum(content["seconds"] for content in contents) / 3600, machines,
                joined(dict.fromkeys([dates[0], dates[-1]]), " to ", " 至 "))]


# ------------------------------------------------------------------- the guide

def claim_line(name: str, finding: Finding, place: Place) -> Text:
    """A claim, its verdict and its experiments, for the guide."""
    one = CLAIMS[name]
    found = Text(finding.found.en[0].upper() + finding.found.en[1:], finding.found.zh)
    said = say("**{}**. {}", "**{}**。{}", finding.verdict, found)
    items = "\n" in said.en
    said = Text(*(side.replace("\n", "\n- ") for side in (said.en, said.zh)))
    if finding.verdict == NOT_RUN:
        said = say("**{}**; `{}`", "**{}**；`{}`", finding.verdict, one.how())
    files = [say("[results/{0}](../results/{0}){1}", "[results/{0}](../results/{0}){1}", file,
                 say(": {}", "：{}", joined(f"`{case}`" for case in cases)) if cases else "")
             for file, cases in one.experiments().items()]
    elsewhere = again.of(name, place)
    elsewhere = Text(elsewhere.en.replace("\n", " "), elsewhere.zh.replace("\n", ""))
    where = say("{}{}", "{}{}", text("results.experiment", listed(files)) if files else "", elsewhere)
    if items:   # a paragraph of its own behind them
        where = Text(*(f"\n\n{side.lstrip()}" for side in (where.en, where.zh)))
    return say("{} ({}): {}.{}", "{}（{}）：{}。{}", name, one.says, said, where)


SHOWN = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "logistic sigmoid"}


def draw_effects(place: Place) -> None:
    """The ablations by the paper's section; one in which learning started late stands aside."""
    found = {name: (change(name).en, 100 * one.mean, 100 * one.low, 100 * one.high)
             for name, one in effects(place)}
    failed = found.pop(FAILED_START, None)
    groups = {f"Section {section}": bars for section, names in ablations.SECTIONS.items()
              if (bars := [found[name] for name in names if name in found])}
    if groups:
        plots.effects(groups, place.out / "ablations.png",
                      f"What each change does to the top-1 error (Imagenette, {ablations.SIZE} px, "
                      f"{ablations.EPOCHS} epochs)",
                      "percentage points, 95% intervals\n"
                      "(right, orange: the change hurts; grey: could be either)",
                      {"Learning started late: not comparable": [failed]} if failed else {})


def draw_race(place: Place) -> None:
    """Figure 1: training error by epoch, for each nonlinearity and seed."""
    lines = {activation: [[(row["epoch"], 100 * row["train_top1_error"]) for row in content["curve"]]
                          for unit in cifar_nets.race_units(activation) if (content := place.found(unit))]
             for activation in cifar_nets.RATES}
    if any(lines.values()):
        plots.curves({"": {SHOWN[name]: some for name, some in lines.items() if some}},
                     place.out / "relu.png", "Our replication of figure 1: a four-layer network on CIFAR-10",
                     "epoch", "training error, %", (100 * cifar_nets.TARGET, "25% training error"),
                     (True, False))


# ------------------------------------------------------------------- the command line

def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m results.reproduce", description=__doc__.split("\n\n")[0])
    parser.add_argument("command", choices=("list", "run", "table"))
    parser.add_argument("names", nargs="*", metavar="ID", help="for run and list: all, C1 ... C27, "
                        f"{', '.join(STORIES)}, an experiment or a unit")
    for name, what in running.DATA.items():
        parser.add_argument(f"--{name}", metavar="DIR", type=typed_path,
                            help=f"{what}: a folder with train/ and val/ or test/")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no new unit after so many")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:1")
    parser.add_argument("--out", metavar="DIR", type=typed_path,
                        help="default results/, on a GPU results/gpu/")
    parser.add_argument("--toy", action="store_true",
                        help="everything as small as can be, to see that it works; "
                        "with an --out of its own")
    options = parser.parse_args(arguments)
    on_gpu = options.device != "cpu"
    out = (options.out or (running.RESULTS / "gpu" if on_gpu else running.RESULTS)).resolve()
    if options.toy and (not options.out or out == running.RESULTS):
        parser.error("--toy needs --out DIR: its numbers mean nothing")
    if options.command == "run" and not options.names:
        parser.error("run what? all, or some of: " + ", ".join([*CLAIMS, *STORIES]))
    folders = {name: where for name in running.DATA if (where := getattr(options, name))}
    place = Place(out, folders, options.toy)
    with shell("results.reproduce"):
        if on_gpu and options.command == "run":
            place = replace(place, device=choose_device(options.device))
            torch.backends.cudnn.allow_tf32 = False   # fp32 is fp32
        if options.command == "list":
            show_list(chosen(options.names or ["all"]), place)
        elif options.command == "table":
            write_pages(place)
            if place.out == running.RESULTS:
                write_other_pages()
        else:
            keep_memory()
            stop_gently(place)
            if not run(chosen(options.names), place, options.minutes):
                sys.exit(1)


def stop_gently(place: Place) -> None:
    """The first Ctrl-C lets the step or the epoch at hand end, the second does not."""
    def ask(number: int, _: Any) -> None:
        place.asked.append(number)
        if len(place.asked) > 1:
            raise KeyboardInterrupt
        with suppress(RuntimeError, OSError):   # in the middle of another print; Ctrl-C ended `2>&1 | tee`
            print("\nstopping soon (once more: at once)", file=sys.stderr)
    on_signals(dict.fromkeys((signal.SIGINT, signal.SIGTERM), ask))


if __name__ == "__main__":
    main()
