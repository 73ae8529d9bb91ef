"""The runner of the paper's claims: nothing done twice, nothing lost, verdicts as the rules say."""

from __future__ import annotations

import math
import multiprocessing
import re
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text as MatplotlibText
from PIL import Image
from torch import nn

from alexnet import augment, codes, figure_words, figures, fonts, training
from alexnet.demo import CLASSES
from alexnet.files import UserError, alone, read_json, write_json
from alexnet.model import AlexNet, Dropout, LocalResponseNorm
from alexnet.pack import Pack
from alexnet.training import Stopped
from conftest import make_folder
from results import (ablations, again, balance, base_result, benchmark, benchmark_page, cifar_nets, claims,
                     fine_tuning, first_steps, growth, head, larger, local_nets, longer, looks, modern, plots,
                     power, reproduce, stars, starting, units, verdicts, what_breaks_it)
from results.claims import CLAIMS, differences
from results.series import val_error
from results.units import Place, Unit, pieces
from results.pages import TEXTS, Text, named, term
from results.verdicts import (NOT_HERE, NOT_RUN, NOT_TESTED, OPPOSITE, REPRODUCED, combine, holm, p_value,
                              t_interval, verdict, wilson)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)   # where the packed images will lie
    return Place(tmp_path / "out", toy=True)


# ------------------------------------------------------------------- claims and verdicts

def test_all_27_claims_are_there_once_with_a_rule_and_a_command():
    assert set(CLAIMS) == {f"C{number}" for number in range(1, 28)} and len(CLAIMS) == 27
    for name, one in CLAIMS.items():
        assert one.id == name and one.how()
        assert all((one.says.en, one.says.zh, one.rule.en, one.rule.zh))
    names = [unit.name for unit in reproduce.all_units()]
    assert len(names) == len(set(names))
    assert {unit.name for one in CLAIMS.values() for unit in one.units} <= set(names)


def test_a_verdict_needs_an_interval_on_one_side_of_zero():
    assert verdict([0.01, 0.012, 0.011]) == REPRODUCED
    assert verdict([-0.01, -0.012, -0.011]) == OPPOSITE
    assert verdict([0.01, 0.03, -0.005]) == NOT_HERE      # mean 0.0117, but the interval crosses 0
    assert verdict([0.01, 0.012]) == NOT_RUN              # three pairs at least


def test_of_several_numbers_those_that_say_the_opposite_are_named():
    assert combine({"a": REPRODUCED, "b": REPRODUCED}) == REPRODUCED
    assert combine(dict.fromkeys("ab", OPPOSITE)) == OPPOSITE
    assert combine({"a": REPRODUCED, "b": OPPOSITE, Text("c", "丙"): OPPOSITE}) == Text(
        "not reproduced at this scale (opposite: b, c)", "在这个规模上未能复现（结果相反的部分：b、丙）")
    assert combine({"a": REPRODUCED, "b": NOT_HERE}) == NOT_HERE
    assert combine({"a": REPRODUCED, "b": NOT_RUN}) == NOT_RUN


def test_p_values_are_those_of_students_table_and_holms_those_computed_by_hand():
    assert p_value([1.0, 2.0, 3.0]) == pytest.approx(0.0742, abs=1e-4)   # t = 3.4641, 2 degrees of freedom
    spread = 2.776 / 5 ** 0.5   # the 97.5% quantile, 4 degrees
    sample = np.array([-1.2649, -0.6325, 0.0, 0.6325, 1.2649])                   # of standard deviation 1
    assert p_value(list(sample + spread)) == pytest.approx(0.05, abs=2e-4)
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": 0.03, "c": 0.06, "b": 0.06}
    assert holm({"a": 0.5, "b": 0.9}) == {"a": 1.0, "b": 1.0}


def test_the_t_interval_is_the_one_computed_by_hand():
    interval = t_interval([1.0, 2.0, 3.0])   # standard deviation 1: 4.30265 / sqrt(3) on either side
    assert interval.mean == 2 and interval.count == 3
    assert interval.low == pytest.approx(2 - 2.48414, abs=1e-5)
    assert interval.high == pytest.approx(4.48414, abs=1e-5)
    assert t_interval([0.0, 2.0]).high == pytest.approx(1 + 12.706, abs=1e-3)
    assert t_interval([5.0]).low == -math.inf
    many = t_interval([0.0, 1.0] * 500)      # normal, by now: 1.96 x 0.5 / sqrt(1000)
    assert many.high - many.mean == pytest.approx(1.962 * 0.50025 / 1000 ** 0.5, rel=1e-3)


@pytest.mark.parametrize("values", [[math.inf, 0.1, 0.2], [math.inf, -math.inf, 0.1], [math.nan, 0.1, 0.2]])
def test_where_a_loss_was_no_number_there_is_no_interval_and_pages_are_written_all_the_same(values):
    assert math.isnan(t_interval(values).low) and verdict(values) == NOT_HERE


def test_wilsons_interval_is_the_one_computed_by_hand():
    low, high = wilson(5, 10)   # (0.5 + 0.19208 -+ 1.96 sqrt(0.025 + 0.009604)) / 1.38416
    assert low == pytest.approx(0.23659, abs=1e-5) and high == pytest.approx(0.76341, abs=1e-5)
    assert wilson(0, 10) == (0.0, pytest.approx(0.27754, abs=1e-5)) and wilson(10, 10)[1] == 1.0


def entered(place: Place, unit: Unit, val_error: float, **more: float) -> None:
    """A JSON file as a run would have left it."""
    write_json(place.file(unit), {"case": unit.case, "seed": unit.seed, "curve": [], "seconds": 1.0,
                                  "date": "2026-01-01", "machine": units.machine(),
                                  "result": {"val_top1_error": val_error, "train_top1_error": 0.0,
                                             "precision": "torch.float32", **more}})


@pytest.mark.parametrize("sign, expected", [(1, REPRODUCED), (-1, OPPOSITE)])
def test_an_ablation_is_judged_by_paired_differences(place, sign, expected):
    for seed, error in enumerate((0.20, 0.30, 0.25, 0.22, 0.28)):   # seeds differ more than the sides do
        entered(place, ablations.case_unit("base", seed), error)
        entered(place, ablations.case_unit("no colour noise", seed), error + sign * (0.010 + 0.001 * seed))
    finding = CLAIMS["C15"].finding(place)
    assert finding.verdict == expected and f"{sign * 1.2:+.2f} percentage points" in finding.found.en


def test_runs_in_two_precisions_are_not_compared(place):
    entered(place, ablations.case_unit("base", 0), 0.2)
    entered(place, ablations.case_unit("no colour noise", 0), 0.2, precision="torch.bfloat16")
    with pytest.raises(UserError, match="no-colour-noise-0.json was computed in torch.bfloat16, .*base-0.json"
                                        ", which it is compared with, in torch.float32"):
        differences(place, "no colour noise", val_error)
    entered(place, ablations.case_unit("no colour noise", 0), 0.2, precision=None)   # an old file
    with pytest.raises(UserError, match="a precision that is not stated"):
        differences(place, "no colour noise", val_error)


def test_runs_on_two_devices_are_not_compared(place):
    for unit, device in ((ablations.case_unit("base", 0), "cpu"), (ablations.case_unit("no LRN", 0), "cuda")):
        entered(place, unit, 0.3)
        write_json(place.file(unit), {**place.found(unit), "device": device})
    with pytest.raises(UserError, match="on cuda"):
        differences(place, "no LRN", val_error)


def test_a_claim_with_a_run_missing_is_not_run_yet(place):
    for seed in range(5):
        entered(place, ablations.case_unit("base", seed), 0.2)
        entered(place, ablations.case_unit("2x2 pooling, same sizes", seed), 0.3)
        entered(place, ablations.case_unit("2x2 pooling", seed), 0.1)   # is given, not judged
    assert CLAIMS["C11"].finding(place).verdict == REPRODUCED
    place.file(ablations.case_unit("2x2 pooling, same sizes", 4)).unlink()
    assert CLAIMS["C11"].finding(place).verdict == NOT_RUN


def test_tanh_is_six_times_slower_only_if_the_interval_reaches_six(place):
    for activation, epochs in (("relu", (4, 5, 4.4)), ("tanh", (20, 26, 23)), ("sigmoid", (80, 80, 80))):
        for unit, value in zip(cifar_nets.race_units(activation), epochs):
            entered(place, unit, 0, rate=0.01, reached=value < 80, epochs=value, at_the_edge=False)
    finding = CLAIMS["C8"].finding(place)
    # the paper says six
    assert "tanh is 5.1 times slower (95% interval 4.840 to 5.461;" in finding.found.en
    assert finding.verdict == NOT_HERE
    assert "sigmoid not in 80 epochs, so at least 16.0 times slower" in finding.found.en   # a bound, no interval
    for unit, value in zip(cifar_nets.race_units("tanh"), (20, 36, 23)):
        entered(place, unit, 0, rate=0.01, reached=True, epochs=value, at_the_edge=False)
    assert CLAIMS["C8"].finding(place).verdict == REPRODUCED


# ------------------------------------------------------------------- the claims again

def test_a_claim_is_judged_again_where_all_its_runs_are_and_by_all_its_numbers(place):
    (pooling,) = [one for one in again.AGAIN if one.claim == "C11" and one.where == term("Images of 128 px")]
    for seed in range(3):
        assert pooling.finding(place) is None
        entered(place, larger.PIXELS.unit("base", seed), 0.30 + 0.01 * seed)
        entered(place, larger.PIXELS.unit("2x2 pooling, same sizes", seed), 0.32 + 0.0101 * seed, train_top1_error=0.1)
    found = pooling.finding(place)   # a larger error, but a smaller gap
    assert found.verdict.en == "not reproduced at this scale (opposite: gap)"
    assert "error: +2.01 percentage points" in found.found.en and "gap: -7.99" in found.found.en
    lines = again.lines(place, {"C11": CLAIMS["C11"].finding(place)})
    assert sum(line.en.startswith("| C11 | Images of 128 px |") for line in lines if isinstance(line, Text)) == 1


def test_c17_in_sixty_epochs_needs_the_gap_and_the_epochs_and_says_when_both_are_as_good(place):
    (dropout,) = [one for one in again.AGAIN if one.claim == "C17" and one.where == term("Sixty epochs")]
    for seed in longer.SIXTY.seeds:
        for case, gap, slow in (("biases 0.1", 0.1 + 0.001 * seed, 2), (again.WITHOUT_DROPOUT, 0.3, 1)):
            unit = longer.SIXTY.unit(case, seed)
            entered(place, unit, gap)
            curve = [{"epoch": epoch, "train_top1_error": 1 - 0.2 * epoch / slow,
                      "val_top1_error": 0.5 / epoch if slow == 1 else 0.15} for epoch in range(1, 5)]
            write_json(place.file(unit), {**place.found(unit), "curve": curve})
    found = dropout.finding(place)
    assert found.verdict == REPRODUCED
    # 4 / 2.5: one side ends before it has 50%
    assert "with it 1.6 times as many as without (1.6 to 1.6; 3 pairs)" in found.found.en
    assert "the top-1 error changes by +19.90 percentage points" in found.found.en
    assert "reaches the other's lowest error, by seed: 4, 4, 4" in found.found.en


def test_a_file_of_another_config_is_refused(place):
    unit = larger.PIXELS.unit("base", 0)
    entered(place, unit, 0.3)
    content = place.found(unit)
    write_json(place.file(unit), {**content, "config": {**unit.config, "added": 1}})
    assert place.found(unit)   # a setting that was added later is no change
    write_json(place.file(unit), {**content, "config": {"case": {"crops": False}, "seed": 0}})
    for use in (place.found, lambda unit: units.run(unit, place)):
        with pytest.raises(UserError, match="base-0.json was computed with crops False, which is True now"):
            use(unit)


# ------------------------------------------------------------------- units

def counter(unit: Unit, place: Place) -> dict:
    """Three pieces that only count."""
    rows = pieces(unit, place, 3, {}, lambda rows: {"number": len(rows)})
    return {"result": {"sum": sum(row["number"] for row in rows)}, "curve": rows}


def slow(unit: Unit, place: Place) -> dict:
    with open(place.out / "done.txt", "a") as file:
        file.write(f"{unit.name}\n")
    time.sleep(0.2)
    return {"result": {}}


def run_slow(place: Place) -> None:
    reproduce.WAIT = 0.05
    reproduce.run([Unit("slow", f"unit {index}", 0, {}, slow, 1) for index in range(5)], place, math.inf)


def test_two_runners_do_every_unit_once(tmp_path):
    place = Place(tmp_path)
    context = multiprocessing.get_context("fork")
    runners = [context.Process(target=run_slow, args=(Place(tmp_path),)) for _ in range(2)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    done = sorted((tmp_path / "done.txt").read_text().split())
    assert done == [f"slow/unit-{index}-0" for index in range(5)]
    assert all(place.file(Unit("slow", f"unit {index}", 0, {}, slow, 1)).exists() for index in range(5))


def test_a_held_unit_is_left_alone_and_a_finished_one_skipped(tmp_path):
    unit, place = Unit("count", "three", 0, {}, counter, 1), Place(tmp_path)
    with alone(place.work(unit)) as mine:
        assert mine and not units.run(unit, place)
    assert units.run(unit, place) and read_json(place.file(unit))["result"] == {"sum": 3}
    assert not units.run(unit, place) and not place.work(unit).exists()


def test_pieces_go_on_after_a_stop(tmp_path):
    unit, place, seen = Unit("count", "stopped", 0, {}, counter, 1), Place(tmp_path), []
    part = nn.Linear(1, 1)

    def one(rows: list) -> dict:
        seen.append(len(rows))
        nn.init.constant_(part.weight, len(rows))
        return {"number": len(rows)}

    place.asked.append(signal.SIGINT)
    with pytest.raises(Stopped):
        pieces(unit, place, 3, {"part": part}, one)
    nn.init.constant_(part.weight, -1)
    place.asked.clear()
    rows = pieces(unit, place, 1, {"part": part}, one)
    assert seen == [0] and len(rows) == 1 and part.weight.item() == 0   # nothing done again, state taken up
    assert [row["number"] for row in pieces(unit, place, 3, {"part": part}, one)] == [0, 1, 2]
    rows = pieces(unit, place, 9, {}, one, lambda rows: len(rows) >= 2)
    assert [row["number"] for row in rows] == [0, 1, 2]


def timeless(content: dict) -> dict:
    return {name: value for name, value in content.items() if name != "seconds"}


def test_a_stopped_unit_ends_like_an_unstopped_one(place, tmp_path, monkeypatch):
    """One epoch of a few batches, stopped behind the first; a small network on drawn pictures."""
    counts = {f"{part}/{name}": 6 for part in ("train", "val") for name in ("star", "ring")}
    place.folders["imagenette"] = make_folder(tmp_path / "pictures", counts)
    monkeypatch.setattr(ablations, "BASE", replace(ablations.BASE, batch_size=4))
    tiny = ablations.Case({"hidden": 16, "widths": (8,) * 5}, mirror=False)
    monkeypatch.setitem(ablations.CASES, "no mirror images", tiny)
    steps, step = [], training.train_step
    monkeypatch.setattr(training, "train_step", lambda *arguments: (steps.append(1), step(*arguments))[1])
    unit = ablations.case_unit("no mirror images", 0)
    assert units.run(unit, place) and len(steps) == 3
    whole = read_json(place.file(unit))
    again = replace(place, out=tmp_path / "again")
    again.asked.append(signal.SIGINT)
    with pytest.raises(Stopped):
        units.run(unit, again)
    assert not again.file(unit).exists() and (again.work(unit) / "last.pt").exists()
    again.asked.clear()
    other = replace(unit, config={**unit.config, "lr": 0.5})
    with pytest.raises(UserError, match="was begun with lr 0.01, which is 0.5 now: delete it"):
        units.run(other, again)
    assert units.run(unit, again) and len(steps) == 3 + 3   # the first step is not done again
    assert timeless(read_json(again.file(unit))) == timeless(whole)
    assert whole["curve"][0]["train_loss"] > 0 and not again.work(unit).exists()


def test_a_case_switches_off_only_what_it_says(place):
    chance = lambda: torch.Generator().manual_seed(1)  # noqa: E731
    run = object.__new__(ablations.CaseRun)
    run.case = ablations.Case()
    full = run.draw(64, 9, chance())
    run.case = ablations.Case(crops=False)
    centred = run.draw(64, 9, chance())
    assert (centred.top == 4).all() and (centred.left == 4).all() and torch.equal(centred.mirror, full.mirror)
    run.case = ablations.Case(mirror=False)
    plain = run.draw(64, 9, chance())
    assert not plain.mirror.any()
    assert torch.equal(plain.top, full.top) and torch.equal(plain.colour, full.colour)


# ------------------------------------------------------------------- the stories

def test_a_run_is_alive_from_the_step_on_after_which_it_stays_so():
    assert first_steps.start_of_learning([1.0] * 100 + [0.5] * 100, 1.0) == 106   # 6 of 50 at 0.5 make 0.94
    assert first_steps.start_of_learning([0.5] * 60, 1.0) == 50
    assert first_steps.start_of_learning([0.5] * 100 + [1.0] * 100, 1.0) is None
    assert first_steps.start_of_learning([math.nan] * 100, 1.0) is None


def test_a_run_whose_fc7_is_dead_never_comes_off_the_ground_and_ends(place, tmp_path):
    place.folders["imagenette"] = make_folder(tmp_path / "pictures", {"a": 8, "b": 8})
    run = first_steps.steps_of(first_steps.first_unit("as-trained", "as it is", 0), place)
    before = first_steps.firing(run)
    assert before == first_steps.firing(run) and 0.5 < before["fc7"] <= 1   # biases of 1
    with torch.no_grad():
        run.model.fc7.bias.fill_(-100.0)
    rows = [{"firing": first_steps.firing(run), "losses": run.losses(0, 2)} for _ in range(2)]
    assert rows[1]["firing"]["fc7"] == 0 and rows[1]["firing"]["fc6"] > 0
    assert first_steps.dead(rows) == "fc7" and first_steps.dead(rows[:1]) is None
    assert first_steps.dead([{"firing": before}, rows[0]]) is None   # twice in a row
    long = [{**row, "losses": [math.log(2)] * 100} for row in rows]
    assert first_steps.settled(long, math.log(2)) and not first_steps.settled(rows, math.log(2))


def test_how_far_apart_pictures_are_is_measured_without_dropout_and_without_a_trace(place, tmp_path):
    place.folders["imagenette"] = make_folder(tmp_path / "pictures", {"a": 8, "b": 8})
    run = first_steps.steps_of(first_steps.first_unit("as-written", "as it is", 0), place)
    seen = growth.apart(run)
    assert run.model.training
    logits = run.model.eval()(run.sample().images)
    assert seen["apart"]["fc8"] == pytest.approx(logits.detach().numpy().std(0, ddof=1).mean(), rel=1e-3)
    assert seen["mean_of_fc7"] == pytest.approx(1.0, abs=0.01)   # the bias, before any step
    assert 0 < seen["apart"]["fc7"] < seen["apart"]["fc6"] < seen["apart"]["conv5"]


def test_the_largest_curvature_is_found():
    """Of softmax regression at weights 0, where it is known: |x|^2 / classes, for one input x."""
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 10, bias=False)
            nn.init.zeros_(self.fc.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    run = object.__new__(first_steps.Steps)
    run.model, run.seed = Flat(), 0
    run.optimizer = SimpleNamespace(param_groups=[{"params": [run.model.fc.weight], "factor": 1.0}])
    x = torch.tensor([[1.0, 2.0, 0.0, 2.0, 4.0]])
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 3, 4, 5, 6])   # all alike would leave no gradient to start from
    batch = head.Batch(x.repeat(10, 1), labels, 10, 0)
    value, _ = head.largest_curvature(run, batch, None, 20)
    assert value == pytest.approx(25 / 10, rel=1e-2)


@pytest.mark.parametrize("highest, found", [(0.02, 0.016), (2.0, 1.024), (0.0001, None)])
def test_a_bisection_finds_the_largest_rate_that_fc7_survives(place, monkeypatch, highest, found):
    tried = []

    def fake(unit: Unit, place: Place, rate: float) -> SimpleNamespace:
        tried.append(rate)
        return SimpleNamespace(rate=rate, losses=lambda first, count: [2.4] * count)

    monkeypatch.setattr(head, "steps_of", fake)
    monkeypatch.setattr(head, "firing", lambda run: {"fc7": 0.8 if run.rate <= highest else 0.01})
    content = head.limit(head.limit_unit("as it is", 10, 0), place)
    assert content["result"]["largest_survived"] == found and len(tried) <= 5
    assert content["result"]["smallest_not_survived"] == (min((r for r in tried if r > highest),
                                                              default=None))


START = head.Start(square_of_h=64.0, square_of_h6=8.0, keep=1.0)   # 64 units of fc7 at 1


@pytest.mark.parametrize("classes, rate", [(20, 0.04), (20, 0.02), (100, 0.04)])
def test_two_layers_fade_as_predicted_while_classes_are_drawn_at_random(classes, rate):
    """In float64, fc8 at 0, with inputs that tell no picture from another, and labels by chance."""
    def lost(even: bool) -> float:
        chance = torch.Generator().manual_seed(0)
        fc7 = torch.zeros(64, dtype=torch.float64, requires_grad=True)
        fc8 = torch.zeros(classes, 64, dtype=torch.float64, requires_grad=True)
        sgd = torch.optim.SGD([fc7, fc8], rate, momentum=head.MOMENTUM)
        squares = []
        for _ in range(60):
            h = torch.relu(1 + (START.square_of_h6 + head.BIAS_RATE) ** 0.5 * fc7)
            squares.append(h.square().sum().item())
            shares = (torch.full((classes,), 1 / classes, dtype=torch.float64) if even else torch.bincount(
                torch.randint(classes, (32,), generator=chance), minlength=classes).double() / 32)
            sgd.zero_grad()
            (-shares @ (fc8 @ h).log_softmax(0)).backward()
            sgd.step()
        return head.part_lost(squares)

    assert lost(False) == pytest.approx(START.part_lost(rate, 32, classes), rel=0.3)
    assert abs(lost(True)) < 1e-6


def test_the_head_alone_falls_below_zero_from_the_limits_on():
    def lowest(rate: float, classes: int, even: bool = False, start: head.Start = START) -> float:
        return np.median(head.head_alone(start, rate, 32, classes, even).min(0))

    fade = START.fade(32, 100)
    assert lowest(0.5 * fade, 100) > 0.3 and lowest(2 * fade, 100) < 0
    assert lowest(2 * fade, 100, even=True) > 0.9    # for it comes from the classes' frequencies
    long = replace(START, square_of_h=600.0)         # the swing is there for even batches, too
    assert lowest(0.8 * long.swing(2), 2, True, long) > 0.99 and lowest(3 * long.swing(2), 2, True, long) < 0
    alone = START.alone(32, 100)
    assert alone in head.RATES
    assert lowest(alone, 100) > 0 >= lowest(head.RATES[head.RATES.index(alone) + 1], 100)


def test_more_pictures_or_a_smaller_share_of_gradients_slow_the_fade():
    masked = replace(START, keep=0.5)
    assert START.part_lost(0.01, 128, 10) == pytest.approx(START.part_lost(0.01, 32, 10) / 4)
    assert masked.fade(32, 10) == pytest.approx(2 * START.fade(32, 10))
    assert START.fade(128, 10) == pytest.approx(2 * START.fade(32, 10))
    # (1 - sqrt 0.9) / (1 + sqrt 0.9)
    assert START.part_lost(START.fade(32, 10), 32, 10) == pytest.approx(0.0263, abs=1e-4)


def test_what_a_vector_loses_is_found_from_its_squares():
    assert head.part_lost([0.95 ** (2 * step) for step in range(60)]) == pytest.approx(-math.log(0.95))
    # nothing counts below a tenth
    assert head.part_lost([1.0] * 10 + [0.5] * 9 + [0.01] * 41) == pytest.approx(0)
    assert head.part_lost([1.0] * 5 + [0.01] * 55) is None   # gone before there is a rate


def test_even_batches_hold_each_class_equally_often(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path / "out", {"imagenette": make_folder(tmp_path / "pictures",
                                                               {"a": 10, "b": 23, "c": 12})})
    pack = place.pack("imagenette", 64)
    settings, mean = replace(ablations.BASE, batch_size=6), pack.mean_crop(64)
    batches = first_steps.EvenBatches(pack, settings, 0, mean)
    labels = [batch.labels.bincount(minlength=3).tolist() for batch in batches]
    rarest = np.bincount(pack.labels["train"]).min()
    assert labels[:rarest // 2] == [[2, 2, 2]] * (rarest // 2)
    assert len(batches) == len(labels) == -(-rarest // 2)
    assert len(set(batches.order)) == 3 * rarest   # no image twice
    assert list(batches.order) != list(first_steps.EvenBatches(pack, settings, 1, mean).order)


def test_a_fading_run_says_what_fc7_and_fc8_saw(place, tmp_path):
    place.folders["tiny"] = make_folder(tmp_path / "pictures", {"a": 8, "b": 8})
    unit = head.Fade("as it is", 200, 0.01, 4, even=True).units()[0]
    assert unit.name == "fading-200/as-trained-as-it-is-rate-0.01-batch-4-even-0"
    content = head.fading(unit, place)
    assert content["result"]["square_of_h"] == content["curve"][0]["square_of_h"]
    # 4,096 halves of about 1
    assert 500 < content["result"]["square_of_h6"] < 2000 and 500 < content["result"]["square_of_h"] < 2000
    assert 0 < content["curve"][0]["below"] < 0.2 and len(content["curve"]) == units.TOY_STEPS


def test_the_page_says_which_rates_are_predicted_and_which_were_survived(place):
    for classes in head.CLASSES:
        for seed in range(2):
            for batch in head.drawn(classes):
                entered(place, head.limit_unit("no dropout", classes, seed, *batch), 0,
                        largest_survived=None if seed else 0.004)
    start = head.Start(5998.0, 4258.0, 1.0)
    for unit in head.Fade("no dropout", 200, 0.008).units():
        entered(place, unit, 0, square_of_h=start.square_of_h, square_of_h6=start.square_of_h6, lost=0.1,
                below=0.75)
    lines = what_breaks_it.report(place)
    page = (place.out / "what-breaks-it" / "why.md").read_text()
    random, even = (f"{start.alone(*batch):.2g} | 0.004, none |" for batch in ((128, 2), (200, 200, True)))
    assert f"| no dropout | 2 | 128 | at random | 0.0013 | 0.0056 | {random}" in page
    assert f"| no dropout | 200 | 200 | evenly | 0.13 |  | {even}" in page
    assert "| no dropout | 200 | 0.008 | 128 | at random | 10.6 | 10.0, 10.0, 10.0 | 75, 75, 75 |" in page
    assert what_breaks_it.in_short(place) == Text(
        "the largest learning rate that fc7 survives (`as-trained`, batches of 128, median of the seeds) with "
        "2, 10, 200 classes: no dropout 0.002, 0.002, 0.002",
        "fc7 能承受的最大学习率（`as-trained`，批大小 128，各个种子的中位数），2、10、200 类：没有丢弃法 0.002、0.002、0.002")
    shown = [getattr(line, "en", line) for line in lines]
    assert f"![{what_breaks_it.LIMITS}](what-breaks-it/limits.png)" in shown
    assert (place.out / "what-breaks-it" / "limits.png").exists()


def test_the_table_at_the_top_says_when_networks_come_and_how_many_seeds_do(place):
    for name, steps in {"as it is": (90, 89, 91), "no dropout": (98, None, 86),
                        "pixels / 70": (None, None, None)}.items():
        for seed, step in enumerate(steps):
            entered(place, first_steps.first_unit("as-trained", name, seed, 128, 10), 0, alive_at=step)
    lines = what_breaks_it.starts_table(place, first_steps.DECISIVE, what_breaks_it.AT_A_GLANCE)
    assert [line.en for line in lines[2:]] == [
        "| as it is |  |  | 89 to 91 |  |  |  |", "| no dropout |  |  | 86 to 98 (2 of 3) |  |  |  |",
        "| pixels / 70 |  |  | no |  |  |  |"]
    assert lines[3].zh == "| 没有丢弃法 |  |  | 86 至 98（3 个中的 2 个） |  |  |  |"


def test_a_change_is_kept_only_if_it_is_better(place):
    errors = {"2012": 0.40, "He init, divided pixels": 0.45, "batch norm, no LRN": 0.30}
    for name, error in errors.items():
        for unit in modern.attempts(name):
            entered(place, unit, 0, error=error)
    assert list(modern.decisions(place).values()) == [True, False, True]
    assert modern.kept_before(place, 3) == modern.Today(batch_norm=True)
    report = [getattr(line, "en", line) for line in modern.report(place)]
    assert f"![{modern.STEPS_SHOW}](modern/steps.png)" in report
    assert (place.out / "modern" / "steps.png").exists()


def test_our_network_gets_the_other_sides_pictures_as_grey_levels(place, tmp_path, monkeypatch):
    place.folders["imagenette"] = make_folder(tmp_path / "pictures", {
        f"{part}/{name}": 3 for part in ("train", "val") for name in CLASSES[:5]})
    seen, made = [], base_result.ours

    def watched(*values):
        network, *rest = made(*values)
        network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        return network, *rest

    monkeypatch.setattr(base_result, "ours", watched)
    unit = base_result.side(base_result.SWAPPED, 64)[0]
    assert unit.config["weight_decay"] == 5e-4
    found = base_result.peer(unit, place)
    crops = augment.centre(augment.as_batch(place.pack("imagenette", 64).images["val"]), 64)
    assert len(found["curve"]) == 1 and seen[-1].shape == crops.shape
    assert (seen[-1] - crops).abs().mean() < 4   # another resize


def test_the_base_result_compares_seeds_that_both_sides_have(place):
    for name, errors in {base_result.OURS: (0.20, 0.22, 0.21), base_result.THEIRS: (0.19, 0.20, 0.20),
                         base_result.SWAPPED: (0.18,)}.items():
        for unit, error in zip(base_result.side(name), errors):
            entered(place, unit, error, top1_error_1=error)
    apart = base_result.difference(place, base_result.THEIRS, base_result.OURS)
    assert apart.text(unit="").en == "-1.33 (-2.77 to +0.10; 3 pairs)"
    text = "\n".join(line.en if isinstance(line, Text) else line for line in base_result.comparison(place))
    assert "| ours, `as-trained` | ours, torchvision's crops | +2.00 (one pair) |" in text
    place.file(base_result.side(base_result.SWAPPED)[0]).unlink()
    assert base_result.difference(place, base_result.OURS, base_result.SWAPPED) is None


# ------------------------------------------------------------------- the figures

@pytest.fixture
def drawn(monkeypatch):
    """What plots.py saves: {file: figure}."""
    figures = {}
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.update({path.name: figure}))
    return figures


def test_an_effect_that_hurts_is_orange_one_that_helps_blue_what_could_be_either_grey(drawn, tmp_path):
    plots.effects({"a": [("hurts", 2.0, 1.0, 3.0), ("helps", -2.0, -3.0, -1.0), ("either", 0.5, -1.0, 2.0)]},
                  tmp_path / "x.png", "title", "axis", {})
    axes, = drawn["x.png"].axes
    spans = {tuple(line.get_xdata()): line.get_color() for line in axes.lines if len(line.get_xdata()) == 2}
    assert (spans[1.0, 3.0], spans[-3.0, -1.0], spans[-1.0, 2.0]) == (plots.THEIRS, plots.OURS, "darkgrey")


def test_learning_curves_are_the_mean_of_the_seeds_within_the_lowest_and_the_highest(drawn, tmp_path):
    plots.learning_curves({"ours": [[40, 20, 10], [60, 40, 20]]}, tmp_path / "x.png", "title", last=2)
    whole, end = drawn["x.png"].axes
    assert list(whole.lines[0].get_ydata()) == [50, 30, 15] and list(end.lines[0].get_xdata()) == [2, 3]
    band = whole.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (10, 60)


def test_a_line_goes_through_the_means_of_the_last_errors_of_fine_tuning(drawn, tmp_path):
    runs = [{"kind": "a", "pictures": pictures, "errors": [0.9, last]}
            for pictures, last in ((50, 0.2), (50, 0.4), (200, 0.1))]
    plots.few_pictures(runs, ["a"], tmp_path / "x.png")
    left, right = drawn["x.png"].axes
    line, = [line for line in left.lines if line.get_label() == "a"]
    assert list(line.get_xdata()) == [50, 200] and line.get_ydata() == pytest.approx([30, 10])
    assert right.lines[0].get_ydata() == pytest.approx([90, 30])


def test_an_ablation_stands_under_its_section_and_a_failed_start_has_no_part_in_the_scale(place, drawn):
    cases = [name for names in ablations.SECTIONS.values() for name in names]
    assert sorted([*cases, "base"]) == sorted(ablations.CASES)
    for seed in range(3):
        entered(place, ablations.case_unit("base", seed), 0.2)
        entered(place, ablations.case_unit("rate 0.005", seed), 0.22)
        entered(place, ablations.case_unit("tanh", seed), 0.25 + 0.01 * seed)
        entered(place, ablations.case_unit("no dropout", seed), 0.6 + 0.01 * seed)
    reproduce.draw_effects(place)
    axes, = drawn["ablations.png"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "Section 3.1 ReLU", "tanh", "Section 5 Details of learning", "learning rate 0.005",
        "Learning started late: not comparable", "no dropout (against learning rate 0.005)"]
    assert [text.get_text() for text in axes.texts] == ["+39.0 (+36.5 to +41.5): beyond this scale"]
    assert axes.get_xlim()[1] < 20


def test_the_first_steps_have_one_legend_and_200_classes_a_linear_axis(place, drawn):
    for size, classes in first_steps.STEPS:
        for variant in ("as-trained", "as-written"):
            unit = first_steps.first_unit(variant, "as it is", 0, size, classes)
            entered(place, unit, 0, alive_at=None, guessing=2.0, first_losses=[2.0] * 50)
            content = read_json(place.file(unit))
            write_json(place.file(unit), {**content, "curve": [{"step": 99, "loss": 1.9}]})
    what_breaks_it.draw(place, place.out)
    figure = drawn["first-steps.png"]
    assert len(figure.legends) == 1 and not any(axes.get_legend() for axes in figure.axes)
    assert len(figure.axes) == 10 and all(axes.axison and axes.lines for axes in figure.axes)
    for axes in figure.axes:
        many = axes.get_title().endswith(" 200 classes")
        assert axes.get_yscale() == ("linear" if many else "log")
        assert (axes.get_ylim() == (0.8, 1.3)) == many


def test_overfitting_is_drawn_with_the_mean_of_the_seeds_and_where_the_rate_falls(place, drawn):
    longer.draw(place)
    assert not drawn
    for seed in range(3):
        for case, error in (("base", 0.2), (longer.PANELS["crops and mirror images"], 0.3)):
            unit = longer.SIXTY.unit(case, seed)
            entered(place, unit, error)
            curve = [{"epoch": epoch, "lr": 0.01 if epoch < 3 else 0.001, "val_top1_error": error + 0.01 * seed,
                      "val_loss": 1.0 + seed} for epoch in range(1, 5)]
            write_json(place.file(unit), {**place.found(unit), "curve": curve})
    longer.draw(place)
    above, below = drawn["overfitting.png"].axes   # only what was run has a panel
    with_it, without, rate_falls = above.lines
    assert without.get_ydata() == pytest.approx([31] * 4) and with_it.get_ydata() == pytest.approx([21] * 4)
    assert list(rate_falls.get_xdata()) == [2.5, 2.5] and below.lines[0].get_ydata() == pytest.approx([2] * 4)


def test_all_words_in_the_figures_are_there_in_chinese_and_none_in_vain(tmp_path, monkeypatch):
    """But names. From the published JSON files."""
    english, chinese = [], []
    monkeypatch.setattr(fonts, "language_drawn", lambda asked: asked)   # whatever fonts there are
    exchange, write = figure_words.in_chinese, Figure.savefig
    monkeypatch.setattr(figures, "DPI", 25)
    monkeypatch.setattr(figure_words, "in_chinese", lambda text: (english.append(text), exchange(text))[1])
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **more: (
        chinese.extend(text.get_text() for text in figure.findobj(MatplotlibText) if ".zh.png" in str(file)),
        write(figure, file, **more)))
    (tmp_path / "experiments").symlink_to(units.RESULTS / "experiments")
    reproduce.write_pages(Place(tmp_path))
    for name in ("benchmark", "fine-tuning"):
        shutil.copytree(units.RESULTS / name, tmp_path / name)
    benchmark_page.write(tmp_path / "benchmark", benchmark.SECTIONS)
    fine_tuning.report(tmp_path / "fine-tuning")
    words = {word for text in chinese for word in re.findall(r"[A-Za-z]{3,}", text)}
    assert words <= {"AlexNet", "AdamW", "CIFAR", "DataLoader", "Dropout", "GPU", "ImageFolder", "ImageNet",
                     "Imagenette", "JPEG", "LRN", "LocalResponseNorm", "Nesterov", "PIL", "RandomResizedCrop",
                     "ReLU", "SGD", "Tiny", "as", "avg", "channels", "cnorm", "conv", "dropout", "examples",
                     "foreach", "inverted",
                     "imagenette", "last", "logistic", "mathdefault", "optim", "pool", "pow", "pytorch", "tanh",
                     "top", "torch", "torchvision", "trained", "transforms", "worker", "written"}
    for form in TEXTS["figures"]:
        pattern = re.escape(form).replace(r"\{\}", "(.*)")
        assert any(re.fullmatch(pattern, text) for text in english), form
    pictures = [*tmp_path.rglob("*.zh.png")]
    assert len(pictures) == 12 and all(Path(str(path).replace(".zh.", ".")).exists() for path in pictures)


# ------------------------------------------------------------------- the command

def test_the_table_is_made_from_whatever_was_run(place, capsys):
    reproduce.write_pages(place)   # from nothing
    rows = [line for line in (place.out / "README.md").read_text().splitlines() if line.startswith("| C")]
    assert len(rows) == 27 + 27   # the claims, and their rules
    for row in rows[:27]:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 5 and cells[4].startswith("`python")
        assert cells[3].startswith((NOT_RUN.en, NOT_TESTED.en))
    for seed in range(3):
        entered(place, ablations.case_unit("base", seed), 0.2 + 0.01 * seed, classes=2,
                probabilities=ablations.as_text(np.array([[0.9, 0.1], [0.6, 0.4]])),
                labels=ablations.as_text(np.array([0, 1])))
        entered(place, ablations.case_unit("no LRN", seed), 0.21 + 0.012 * seed)
    reproduce.write_pages(place)
    text = (place.out / "README.md").read_text()
    assert "| 2 | 3 | 50.00% | 50.00% | 50.00% |" in text   # averages of networks
    assert "| no LRN | +1.20 percentage points" in text and (place.out / "ablations.png").exists()
    assert f"6 of 22 runs done | {NOT_RUN.en}" in text
    short = text.split("<!-- short -->")[1].split("<!-- /short -->")[0]
    assert "**not tested: 27** (C1, C2" in short and "in percentage points: no LRN +1.2." in short
    assert "What 14 years" not in short
    chinese = (place.out / "README.zh-CN.md").read_text()
    assert "| 没有 LRN | +1.20 个百分点" in chinese and "**未检验：27**（C1、C2" in chinese
    for case, error in ((modern.OLD, 0.3), (modern.NEW, 0.2), (modern.ALL, 0.1)):
        for unit in [*(modern.finals(case) if case != modern.ALL else []), *modern.finals(case, modern.LONG)]:
            entered(place, unit, error + 0.01 * unit.seed)
    for unit in modern.attempts("2012"):
        entered(place, unit, 0, error=0.4)
    reproduce.write_pages(place)
    text = (place.out / "README.md").read_text()
    assert "31.00% with the recipe of 2012, 21.00% with the changes that were kept after 12 epochs; 31.00%" in text
    assert "| all changes at once | 60 | 11.00% | +20.00 (+20.00 to +20.00; 3 pairs) |" in text
    assert "| all changes at once | 12" not in text


def test_the_page_names_every_run_that_is_missing():
    for page in ("README.md", "README.zh-CN.md"):
        rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+?) \| (\d+) \| (\d+) \| \d+ \|$",
                          (units.RESULTS / page).read_text("utf-8"), re.M)
        missing = {name: int(planned) - int(there) for name, asks, planned, there in rows}
        assert missing == Counter(unit.experiment for unit in reproduce.all_units()
                                  if not Place().file(unit).exists())


def test_classes_are_made_unequal_and_the_page_shows_whole_seeds_only(place):
    labels = np.repeat(np.arange(4), 50)
    pack = Pack(None, "x", list("abcd"), 1, {"train": np.arange(200)}, {"train": labels}, None, None, [], [],
                "", None, {})
    some, other = (balance.unequal(pack, seed) for seed in (0, 1))
    assert np.bincount(some.labels["train"]).tolist() == [50, 5, 50, 5]
    assert (labels[some.images["train"]] == some.labels["train"]).all()
    assert (some.images["train"] != other.images["train"]).any()
    for unit in balance.units()[:-1]:
        small = {"plain": 0.9, "weights": 0.5, "sampling": 0.3}[unit.case]
        write_json(place.file(unit), {"result": {"errors": [0.1, small] * 5}})
    balance.report(place)
    text = (place.out / "balance" / "README.md").read_text()
    assert "| sampling | 20.00% | 10.00% | 30.00% | 20.00%, 20.00% |" in text   # the last seed lacks a way
    assert "error of weights less that of sampling: +10.00" in text


def test_every_finding_is_said_in_chinese_too(place):
    """Of all claims, with made-up numbers and those that were counted."""
    real = Place()
    for unit in {unit.name: unit for claim in CLAIMS.values() for unit in claim.units}.values():
        if unit.experiment == "counting":
            write_json(place.file(unit), real.found(unit))
            continue
        entered(place, unit, 0.3 + 0.01 * unit.seed, train_top1_error=0.2 + 0.02 * unit.seed,
                val_top5_error=0.02, ten_views_top1_error=0.28, classes=2,
                labels=ablations.as_text(np.array([0, 1, 0, 1])), epochs=3.5 + unit.seed,
                probabilities=ablations.as_text(np.array([[0.9, 0.1], [0.6, 0.4]] * 2)), rate=0.01,
                reached=unit.seed == 0, at_the_edge=True, colourfulness=[0.1, 0.2, 0.3, 0.4],
                agreement_in_fc7=0.7, agreement_in_pixels=0.2,
                codes={"agreement_fc7": 0.7, "agreement_fc7_128": 0.6, "agreement_pixels_128": 0.2})
        content = read_json(place.file(unit))
        write_json(place.file(unit), {**content, "curve": [
            {"epoch": epoch, "train_loss": 2.0 / epoch, "train_top1_error": 0.8 / epoch + 0.01 * unit.seed}
            for epoch in (1, 2, 3)]})
    known = {"ReLU", "LRN", "conv1", "conv2", "conv3", "conv4", "conv5", "pool5", "fc7", "top", "relu", "tanh",
             "sigmoid", "Imagenette", "ImageNet", "CIFAR", "GTX", "GPU", "GB", "px", "nan", "inf", "plateau",
             "alexnet", "inference", "panel", "CPU", "as", "written", "results", "base"}
    for name, claim in CLAIMS.items():
        finding = claim.finding(place)
        assert finding.verdict != NOT_RUN, name
        words = set(re.findall(r"(?<![\de.])[A-Za-z]{2,}\d?", finding.found.zh + finding.verdict.zh))
        assert words <= known, (name, finding.found.zh)


def test_every_text_is_used_and_takes_the_same_values_in_both_languages():
    code = "".join(path.read_text("utf-8") for path in units.RESULTS.glob("*.py"))
    for group, texts in TEXTS.items():
        for name, text in texts.items():
            if group not in ("labels", "cases", "figures"):
                braces = [sorted(re.sub(r"\{\d+", "{", found) for found in re.findall(r"\{[^}]*\}", one))
                          for one in text]
                assert len(text) == 2 and braces[0] == braces[1], (group, name)
                if group == "asks":
                    assert name in {unit.experiment for unit in reproduce.all_units()}
                elif group not in CLAIMS or name not in ("says", "rule"):
                    assert f'"{group}.{name}"' in code, (group, name)
            elif group == "labels":
                assert f'"{name}"' in code, name
    for name in {*ablations.CASES, *longer.CASES, *stars.CASES, *larger.DATA.cases, *larger.LONG.cases,
                 *starting.SETS, *starting.ALL["caffe"],
                 *starting.ALL["as-trained"], *starting.ALL["as-written"]}:
        assert named(name).en and named(name).zh


def test_the_command_runs_what_it_is_told_and_no_more(tmp_path, capsys):
    reproduce.main(["run", "C1", "--out", str(tmp_path)])
    assert (tmp_path / "experiments" / "counting" / "all-0.json").exists()
    assert len(list(tmp_path.rglob("*.json"))) == 1
    reproduce.main(["list", "--out", str(tmp_path)])
    assert "done    0.1 min  counting/all-0" in capsys.readouterr().out
    reproduce.main(["list", "C17", "--out", str(tmp_path)])
    listed = capsys.readouterr().out
    assert "no-dropout-2" in listed and "C17" in listed and "cifar" not in listed
    assert len(listed.splitlines()) == 4 * 3 + 1
    with pytest.raises(SystemExit) as stopped:
        reproduce.main(["run", "C99", "--out", str(tmp_path)])
    assert stopped.value.code == 2 and "nothing is called C99" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        reproduce.main(["run", "imagenette-64/base-0", "--out", str(tmp_path)])
    assert stopped.value.code == 1 and "--imagenette DIR" in capsys.readouterr().err
    chosen = [unit.name for unit in reproduce.chosen(["C8"])]
    assert chosen[0].startswith("cifar-race/relu-rate") and len(chosen) == 13 + 9


def test_chosen_rates_come_before_what_needs_them():
    order = [unit.name for unit in reproduce.all_units()]
    for unit in reproduce.all_units():
        assert all(order.index(need.name) < order.index(unit.name) for need in unit.needs)


# ------------------------------------------------------------------- whether learning starts

STARTING = sorted((units.RESULTS / "experiments" / "starting").glob("*.json"))


@pytest.mark.parametrize("path", STARTING, ids=lambda path: path.stem)
def test_the_step_at_which_learning_starts_follows_from_the_stored_losses(path):
    content = read_json(path)
    result, steps = content["result"], content["config"]["steps"]
    losses, guess = result["losses"], math.log(len(result["classes"]))
    below = [sum(losses[end - 50:end]) / 50 < 0.95 * guess for end in range(50, len(losses) + 1)]
    starts_at = next((50 + index for index in range(len(below)) if all(below[index:])), None)
    assert result["starts_at"] == starts_at
    if starts_at:   # watched for 200 steps more
        assert len(losses) >= starts_at + 200
    else:
        assert steps <= len(losses) <= steps + 200 or result["dead"]
    assert content["config"]["data_set"] in starting.SETS and result["precision"] == "torch.float32"


def test_a_run_ends_200_steps_after_learning_starts_and_not_before():
    guess = math.log(10)
    flat, low = ({"losses": [loss] * 50, "firing": dict.fromkeys(first_steps.LAYERS[:-1], 1.0)}
                 for loss in (guess, 1.0))
    assert not starting.over([flat] * 4 + [low] * 4, guess)   # learning starts a few steps behind step 200
    assert starting.over([flat] * 4 + [low] * 5, guess)
    assert not starting.over([flat] * 4 + [low] * 4, guess, steps=400)   # a late start is watched, too
    assert starting.over([flat] * 8, guess, steps=400)
    # at chance level again: it had not started
    assert not starting.over([flat] * 4 + [low] * 4 + [flat], guess)
    dead = {**flat, "firing": {**flat["firing"], "fc7": 0.0}}
    assert not starting.over([flat, dead], guess) and starting.over([flat, dead, dead], guess)


def test_the_survival_curve_falls_where_a_run_starts():
    line = starting.survival([100, None, 300, 5000])
    assert line == [(1, 1), (100, 1), (100, 0.75), (300, 0.75), (300, 0.5), (2000, 0.5)]


def test_a_draw_of_classes_keeps_their_images_and_numbers_them_anew(place):
    folder = make_folder(place.out / "data", {f"{part}/c{label}": 3 for part in ("train", "val")
                                              for label in range(6)})
    whole = Place(place.out, {"imagenette": folder}).pack("imagenette", 36)
    some = first_steps.some_classes(whole, [1, 4])
    assert some.classes == ["c1", "c4"] and some.labels["train"].tolist() == [0] * 3 + [1] * 3
    np.testing.assert_array_equal(some.images["val"], whole.images["val"][[3, 4, 5, 12, 13, 14]])
    draws = [starting.drawn_classes(starting.SETS["Tiny-ImageNet, 10 classes"], draw) for draw in range(3)]
    assert all(len(set(draw)) == 10 and draw == sorted(draw) for draw in draws)
    assert draws[0] != draws[1] != draws[2]


def test_images_through_fewer_pixels_lose_what_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(2):
                noise = np.random.default_rng(index).integers(0, 256, (128, 128, 3), np.uint8)
                Image.fromarray(noise).save(tmp_path / part / name / f"{index}.png")
    there = Place(tmp_path / "out", {"imagenette": tmp_path})
    fine = there.pack("imagenette", 64).images["train"]
    coarse = there.pack("imagenette", 64, through=16).images["train"]
    roughness = [np.abs(np.diff(images.astype(float), axis=2)).mean() for images in (fine, coarse)]
    assert fine.shape == coarse.shape and roughness[1] < 0.3 * roughness[0]


@pytest.mark.parametrize("pairs", [3, 5, 10])
def test_the_smallest_effect_that_would_be_seen_is_seen_four_times_in_five(pairs):
    """Against a simulation with normally distributed differences of spread 1."""
    rng, spread = np.random.default_rng(0), np.random.default_rng(1).normal(size=pairs)
    smallest = verdicts.smallest_seen(list((spread - spread.mean()) / spread.std(ddof=1)))
    drawn = rng.normal(smallest, 1, (4000, pairs))
    assert 0.78 < np.mean([t_interval(list(one)).low > 0 for one in drawn]) < 0.82


@pytest.mark.parametrize("values, papers, expected", [
    ([0.01, 0.011, 0.012], 0.005, "seen"), ([0.01, 0.011, 0.012], 0.05, "seen, but smaller than the paper's"),
    ([-0.01, -0.011, -0.012], 0.02, "opposite"),
    ([0.001, 0.0, -0.001], 0.02, "absent, or smaller than the paper's"),
    ([0.01, 0.0, -0.01], 0.02, "too small to see"), ([0.01, 0.0, -0.01], None, "the paper gives no size")])
def test_an_effect_is_absent_only_if_the_interval_excludes_the_papers(values, papers, expected):
    assert power.answer(values, papers).en == expected


def test_each_claim_that_was_not_reproduced_says_what_would_have_been_seen():
    """All but C16, which says that there is no effect."""
    missing = {name for name, claim in CLAIMS.items() if claim.finding(Place()).verdict.en.startswith(
        verdicts.NOT_HERE.en)} - {one.claim for one in power.COMPARISONS}
    assert missing == {"C16"}


def test_averages_are_taken_over_every_choice_of_networks():
    """Three networks, two images: by hand."""
    each = [[[0.9, 0.1], [0.8, 0.2]], [[0.4, 0.6], [0.6, 0.4]], [[0.3, 0.7], [0.1, 0.9]]]
    found = [{"probabilities": ablations.as_text(np.array(one)), "classes": 2,
              "labels": ablations.as_text(np.array([0, 1]))} for one in each]
    one, two, three = claims.errors_by_number(found)
    # (0, 1): 0.65 right, 0.70 wrong; (0, 2): 0.60 right, 0.45 right; (1, 2): 0.35 wrong, 0.35 right
    assert one == [0.5, 1.0, 0.5] and two == [0.5, 0.0, 0.5] and three == [0.5]


# ------------------------------------------------------------------- what a trained network can be asked

def test_the_nearest_codes_are_those_of_the_fewest_differing_bits():
    rng = np.random.default_rng(0)
    bank, asked = rng.integers(0, 2, (50, 32), np.uint8), rng.integers(0, 2, (7, 32), np.uint8)
    found = codes.nearest_codes(np.packbits(asked, 1), np.packbits(bank, 1), 6)
    for query, rows in zip(asked, found):
        assert rows.tolist() == (query != bank).sum(1).argsort(kind="stable")[:6].tolist()
    few = codes.nearest_codes(np.packbits(asked, 1), np.packbits(bank[:3], 1), 6)
    assert np.sort(few, 1).tolist() == [[0, 1, 2]] * 7


def test_a_coder_keeps_the_groups_that_its_values_form():
    """Four groups of values: images of one group get nearer codes than those of another; about half of the
    images have each bit."""
    torch.manual_seed(0)
    group = torch.arange(400) % 4
    values = 3 * torch.randn(4, 20)[group] + torch.randn(400, 20) + 5
    coder = codes.trained_coder(values, 32, epochs=10)
    scaled = coder.scaled(values)
    assert scaled.mean(0).abs().max() < 1e-5
    assert scaled.square().mean().sqrt().item() == pytest.approx(1, 1e-4)
    nearest = codes.nearest_codes(*[coder.codes(values)] * 2, 6)
    assert (group[nearest] == group[:, None]).float().mean() > 0.95
    assert 0.2 < np.unpackbits(coder.codes(values), 1).mean() < 0.8


def test_halving_is_the_geometric_mean_over_masks_where_the_layers_are_linear(monkeypatch):
    """There it is exact; against all 16 masks of four values, and against many drawn ones."""
    torch.manual_seed(0)
    layer, x = nn.Linear(4, 3), torch.randn(5, 4)
    masks = torch.tensor([[mask >> bit & 1 for bit in range(4)] for mask in range(16)])
    every = torch.stack([layer(x * mask).log_softmax(1) for mask in masks]).mean(0).softmax(1)
    halves = nn.Sequential(Dropout(), layer)
    torch.testing.assert_close(halves.eval()(x).softmax(1), every)
    kinds, apart = set(), looks.apart
    monkeypatch.setattr(looks, "apart", lambda *two: (kinds.update(one.dtype for one in two), apart(*two))[1])
    found = looks.against_masks(halves, x, every.argmax(1), (1, 4000), seed=0)
    assert kinds == {torch.float64}   # thousands of masks are added up
    assert found["error_halved"] == found["error_geometric_4000"] == 0
    assert found["apart_geometric_4000"] < 0.02 < found["apart_geometric_1"]
    assert found["apart_arithmetic_4000"] > found["apart_geometric_4000"]


def test_the_layers_behind_flatten_are_the_networks_own():
    model = AlexNet(4, 64).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    flat = model.activations(images, ["flatten"])["flatten"]
    torch.testing.assert_close(looks.after_flatten(model)(flat), model(images))


def test_the_looks_are_taken_and_shown(place, tmp_path, monkeypatch):
    monkeypatch.setattr(looks, "MASKS", (1, 2))
    make_folder(tmp_path / "set", {f"{part}/{name}": 12 for part in ("train", "val")
                                   for name in ("disc", "star", "moon")})
    place.folders["imagenette"] = tmp_path / "set"
    for unit in looks.units():
        assert units.run(unit, place)
    found = CLAIMS["C26"].finding(place)
    assert "128 bits" in found.found.en and found.verdict in (REPRODUCED, NOT_HERE, OPPOSITE)
    lines = [getattr(line, "en", line) for line in looks.lines(place)]
    assert sum(line.startswith("| ") and "bits |" in line for line in lines) == 4


# ------------------------------------------------------------------- the release's network on CIFAR-10

def test_a_locally_connected_layer_is_a_convolution_of_its_own_at_each_place():
    torch.manual_seed(0)
    layer = local_nets.LocallyConnected(3, 4, 5)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 5, 5)
    found, padded = layer(x), nn.functional.pad(x, (1, 1, 1, 1))
    for row in range(5):
        for column in range(5):
            window = padded[:, :, row:row + 3, column:column + 3].reshape(2, -1)
            expected = window @ layer.weight[5 * row + column].T + layer.bias[:, row, column]
            torch.testing.assert_close(found[:, :, row, column], expected, rtol=1e-4, atol=1e-5)


def test_the_control_takes_the_mean_scale_of_lrn_and_no_more():
    torch.manual_seed(0)
    lrn = LocalResponseNorm(k=1, n=5, alpha=1e-3, beta=0.75, over_n=True)
    a = 100 * torch.rand(4, 8, 3, 3)
    control = local_nets.OnlyScale(lrn).train()
    divisors = a / lrn(a)
    torch.testing.assert_close(control(a), a / divisors.mean(), rtol=1e-4, atol=1e-4)
    for _ in range(2000):
        control(a)
    torch.testing.assert_close(control.eval()(a), a / divisors.mean(), rtol=1e-3, atol=1e-3)


def test_the_releases_network_has_its_layers_and_rates():
    net = local_nets.local_net(local_nets.WITHOUT)
    shapes = [tuple(layer.weight.shape) for layer in net if hasattr(layer, "weight")]
    assert shapes == [(64, 3, 5, 5), (64, 64, 5, 5), (36, 32, 9 * 64), (36, 32, 9 * 32), (10, 32 * 36)]
    groups = local_nets.optimizer_of(net).param_groups
    assert [group["weight_decay"] for group in groups[::2]] == [0, 0, 0.004, 0.004, 0.004]
    assert {group["factor"] for group in groups[1::2]} == {2.0}
    assert net(torch.zeros(2, 3, 24, 24)).shape == (2, 10)


def test_the_sixth_layer_is_trained_and_begins_with_what_other_classes_taught(place, tmp_path):
    folders = {name: make_folder(tmp_path / name, {f"{part}/{one}": 6 for part in ("train", "val")
                                                   for one in classes})
               for name, classes in {"imagenette": "ab", "tiny": "bcd"}.items()}
    place.folders.update(folders)
    for unit in stars.units():
        if unit.seed < 2:
            assert units.run(unit, place)
    scratch, tuned = (place.found(stars.unit_of(case, 0)) for case in stars.CASES)
    assert tuned["result"]["first_classes"] == 2 and tuned["result"]["first"]["epoch"] == 1   # b is in both
    assert scratch["curve"][0]["train_loss"] != tuned["curve"][0]["train_loss"]
    lines = [getattr(line, "en", line) for line in stars.lines(place)]
    assert any("pre-trained (against sixth convolutional layer)" in line for line in lines)
    with pytest.raises(UserError, match="stars/sixth-layer-pre-trained-2 needs --tiny DIR"):
        units.run(stars.unit_of(stars.TUNED, 2), replace(place, folders={"imagenette": tmp_path}))


def test_the_releases_network_is_trained_and_shown(place, tmp_path):
    place.folders["cifar10"] = make_folder(
        tmp_path / "set", {f"{part}/{name}": 6 for part in ("train", "val") for name in CLASSES})
    for case in (local_nets.WITHOUT, local_nets.WITH, local_nets.CONTROL):
        for unit in local_nets.units_of(case)[:2]:
            assert units.run(unit, place)
    lines = [getattr(line, "en", line) for line in local_nets.lines(place)]
    assert sum(line.startswith("| ") and "%" in line for line in lines) == 3


# ------------------------------------------------------------------- promises that no other test holds

def test_codes_are_learnt_from_any_number_of_values():
    """129 leave a batch of one."""
    values = torch.randn(codes.BATCH + 1, 5, generator=torch.Generator().manual_seed(0))
    assert codes.trained_coder(values, 8, epochs=1).codes(values).shape == (codes.BATCH + 1, 1)
