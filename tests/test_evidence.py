"""What the experiments compute, and what is concluded from them, with numbers worked out by hand."""

from __future__ import annotations

import math
import re
import shutil
import signal
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from alexnet import augment, load, training
from alexnet.batches import TrainingBatches
from alexnet.demo import CLASSES
from alexnet.files import UserError, read_json, write_json
from alexnet.model import AlexNet, LocalResponseNorm
from alexnet.pack import Pack
from alexnet.training import Stopped
from conftest import make_folder
from results import (ablations, again, balance, base_result, cifar_nets, claims, counting, fine_tuning,
                     first_steps, growth, head, larger, local_nets, longer, looks, modern, peers, plots,
                     power, reproduce, series, stars, starting, units, verdicts, what_breaks_it)
from results.claims import CLAIMS, differences
from results.pages import TEXTS, named, term
from results.series import val_error
from results.units import Place, Unit, pieces
from results.verdicts import NOT_HERE, NOT_RUN, OPPOSITE, REPRODUCED, p_value, verdict, wilson
from test_reproduce import counter, entered


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)   # where the packed images will lie
    return Place(tmp_path / "out", toy=True)


@pytest.mark.parametrize("freedom", range(1, 21))
def test_the_quantiles_are_those_of_students_density(freedom):
    """2.5% lie beyond on either side."""
    spread = np.linspace(-1, 1, freedom + 1)
    spread /= spread.std(ddof=1)
    values = list(spread + verdicts.T975[freedom] / (freedom + 1) ** 0.5)
    assert p_value(values) == pytest.approx(0.05, rel=1e-4)


def test_the_smallest_effect_is_the_one_computed_by_hand():
    # 2 degrees of freedom, standard deviation 1
    assert verdicts.smallest_seen([1.0, 2.0, 3.0]) == pytest.approx(5.653 / 3 ** 0.5)


def test_the_opposite_needs_an_interval_below_zero_too():
    assert verdict([-0.01, -0.03, 0.005]) == NOT_HERE   # mean -0.0117


def test_pairs_are_those_of_one_seed_not_of_one_place(place):
    for seed, error in enumerate((0.1, 0.5, 0.3)):
        entered(place, ablations.case_unit("base", seed), error)
    for seed, error in ((0, 0.2), (2, 0.35)):
        entered(place, ablations.case_unit("no LRN", seed), error)
    assert differences(place, "no LRN", val_error) == pytest.approx([0.1, 0.05])


@pytest.mark.parametrize("content", [{"result": {"precision": "torch.bfloat16"}, "curve": []},
                                     {"result": {}, "curve": [{}, {"precision": "torch.bfloat16"}]},
                                     {"result": {}, "curve": [{}], "precision": "torch.bfloat16"}])
def test_a_files_precision_is_found_wherever_it_stands(content):
    assert units.computed_in(content) == "torch.bfloat16"
    assert units.computed_in({**content, "device": "cuda"}) == "torch.bfloat16 on cuda"


def test_a_run_that_was_begun_in_another_precision_does_not_go_on(tmp_path):
    unit, place = Unit("count", "three", 0, {"precision": "fp32"}, counter, 1), Place(tmp_path)
    write_json(place.work(unit) / "unit.json",
               {"config": unit.config, "device": "cpu", "precision": "torch.bfloat16"})
    with pytest.raises(UserError, match="precision torch.bfloat16, which is torch.float32 now"):
        units.run(unit, place)
    assert not place.file(unit).exists()


def test_the_seconds_of_a_unit_are_those_of_all_its_pieces(tmp_path):
    rows = [{"number": 1, "seconds": 1500.0}, {"number": 2, "seconds": 2000.0}]
    unit = Unit("count", "timed", 0, {}, lambda unit, place: {"result": {}, "curve": rows}, 1)
    units.run(unit, Place(tmp_path))
    content = read_json(Place(tmp_path).file(unit))
    assert content["seconds"] == 3500 and content["curve"] == [{"number": 1}, {"number": 2}]


def test_the_seconds_of_a_piece_are_those_that_it_took(tmp_path, monkeypatch):
    clock = iter([10, 13, 20, 25])
    monkeypatch.setattr(units, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    rows = pieces(Unit("count", "timed", 0, {}, counter, 1), Place(tmp_path), 2, {}, lambda rows: {})
    assert rows == [{"seconds": 3}, {"seconds": 5}]


def of_numbers(train: int, val: int = 0) -> Pack:
    """A pack whose images are their own numbers, in two classes that take turns."""
    parts = {"train": np.arange(train), "val": np.arange(val)}
    return Pack(None, "x", ["a", "b"], 1, parts, {part: some % 2 for part, some in parts.items()}, None, None,
                [], [], "", None, {})


def test_every_fifth_image_from_one_on_is_none_of_those_from_another_on():
    race, choice = (units.part_of(of_numbers(50), 10, first) for first in (0, 1))
    assert race.images["train"].tolist() == list(range(0, 50, 5))
    assert choice.images["train"].tolist() == list(range(1, 50, 5))
    assert choice.labels["train"].tolist() == [1, 0] * 5


TINY = ablations.Case({"hidden": 16, "widths": (8,) * 5})


@pytest.fixture
def photographs(place, tmp_path):
    """A place with a data set: 14 images for training, 8 for validation."""
    place.folders["imagenette"] = make_folder(tmp_path / "photographs", {
        "train/disc": 10, "train/star": 4, "val/disc": 2, "val/star": 6})
    return place


def measured_by_hand(unit: Unit, place: Place, pack: Pack, part: str) -> dict[str, float]:
    """What the network at the end of a unit's run makes of a part of a pack."""
    return training.evaluate(load(place.work(unit) / "last.pt"), pack, part=part)


def test_both_errors_are_of_their_own_part_and_what_steered_the_schedule_does_not_measure_it(photographs,
                                                                                             monkeypatch):
    asked, evaluate = [], ablations.evaluate
    monkeypatch.setattr(ablations, "evaluate", lambda model, pack, views=1, **more: (
        asked.append((views, len(pack.labels["train"]))), evaluate(model, pack, views=views, **more))[1])
    case = replace(TINY, settings={"val_fraction": 0.25, "lr": 0.1})
    one = series.Series("x", replace(ablations.BASE, batch_size=4), {"base": case}, range(1), 1, "imagenette",
                        "", "", ten_crop=True)
    unit = one.unit("base", 3)
    found = one.compute(unit, photographs)["result"]
    held_out, whole = (photographs.pack("imagenette", 64, fraction) for fraction in (0.25, None))
    train, val, *others = (measured_by_hand(unit, photographs, pack, part)["loss"] for pack, part in (
        (held_out, "train"), (whole, "val"), (held_out, "val"), (whole, "train")))
    assert found["train_loss"] == pytest.approx(train, abs=1e-5)
    assert found["val_loss"] == pytest.approx(val, abs=1e-5)
    assert all(abs(one - other) > 1e-3 for one in (train, val) for other in others)
    assert asked[-1] == (10, len(whole.labels["train"])) and len({views for views, _ in asked[:-1]}) == 1


def test_a_case_is_trained_with_its_own_design_settings_and_seed(photographs):
    case = replace(TINY, settings={"weight_decay": 0.0, "val_fraction": 0.25})
    unit = Unit("x", "a case", 3, {}, ablations.compute, 1, "imagenette")
    run = ablations.trained(unit, photographs, case, ablations.BASE)
    assert (run.settings.seed, run.settings.weight_decay, run.settings.lr) == (3, 0.0, ablations.BASE.lr)
    assert run.model.conv1.weight.shape[0] == 8 and run.model.fc7.weight.shape == (16, 16)
    held_out = photographs.pack("imagenette", 64, 0.25)
    assert len(held_out.labels["train"]) < 14
    assert run.pack.labels["train"].tolist() == held_out.labels["train"].tolist()


def test_the_rate_of_tanh_is_chosen_on_training_images_by_the_lowest_error(photographs, monkeypatch):
    monkeypatch.setitem(ablations.CASES, "tanh", TINY)
    made, trained = [], ablations.trained
    monkeypatch.setattr(ablations, "trained", lambda *given: (made.append(trained(*given)), made[-1])[1])
    one = ablations.TANH_UNITS[2]
    ablations.tanh_rate(one, photographs)
    assert made[0].settings.lr == one.config["lr"] == 0.04 and made[0].settings.val_fraction == 0.15
    held_out = photographs.pack("imagenette", 64, 0.15)
    assert made[0].pack.labels["val"].tolist() == held_out.labels["val"].tolist()
    for unit, error in zip(ablations.TANH_UNITS, (1.0, 0.5, 0.3, 0.2, 0.4, 0.6, 0.7)):
        entered(photographs, unit, 0, error=error)
    assert ablations.best_tanh_rate(photographs) == 0.02
    ablations.compute(ablations.case_unit("tanh", 0), photographs)
    assert made[1].settings.lr == 0.02


def test_a_network_whose_loss_is_no_number_counts_as_chance(photographs):
    run = ablations.trained(Unit("x", "y", 0, {}, ablations.compute, 1, "imagenette"), photographs, TINY,
                            ablations.BASE)
    run.finite = False
    ten = replace(run.pack, classes=list("abcdefghij"))
    assert ablations.measured(run, ten) == {"loss": math.log(10), "top1_error": 0.9, "top5_error": 0.5}
    assert ablations.measured(run, run.pack)["top5_error"] == 0   # of two


def test_more_is_known_of_the_base_ten_crop_probabilities_and_neighbours(photographs, monkeypatch):
    monkeypatch.setattr(ablations, "evaluate", lambda model, pack, views=1: {"top1_error": views})
    torch.manual_seed(0)
    pack = photographs.pack("imagenette", 64)
    pack = replace(pack, images={"train": pack.images["train"][:6], "val": pack.images["train"][8:]},
                   labels={"train": np.array([0, 1, 0, 1, 0, 1]), "val": np.array([1] * 6)})
    model = AlexNet(2, 64, **TINY.design).eval()
    nn.init.normal_(model.fc8.weight)   # so that crops and classes differ
    found = ablations.more_of(model, pack)
    rows = ablations.from_text(found["probabilities"], found["classes"])
    images = augment.centre(augment.as_batch(pack.images["val"]), 64)
    np.testing.assert_allclose(rows, model(images).softmax(1).detach().numpy(), atol=1e-3)
    assert ablations.from_text(found["labels"], 1)[:, 0].tolist() == [1] * 6
    assert found["ten_views_top1_error"] == 10
    # all six training images are neighbours, and three of them have the class
    assert found["agreement_in_pixels"] == found["agreement_in_fc7"] == 0.5


def test_only_what_is_tried_is_done_in_little(tmp_path):
    assert Place(tmp_path).few(12) == 12 and Place(tmp_path).few(5, 3) == 5
    assert Place(tmp_path, toy=True).few(12) == 1 and Place(tmp_path, toy=True).few(2, 3) == 2


# ------------------------------------------------------------------- verdicts of made-up runs, by hand

UP = (0.02, 0.021, 0.022, 0.02, 0.022, 0.021, 0.021)
DOWN = tuple(-one for one in UP)


def compared(place: Place, name: str, apart: tuple[float, ...], **more: list[float]) -> None:
    """A case and what it is compared with: by seed, how much larger its error is. Seeds differ more."""
    for unit in ablations.units_of(name):
        other = ablations.case_unit(ablations.CASES[name].against, unit.seed)
        error = 0.3 + 0.05 * (unit.seed % 3)
        entered(place, other, error, train_top1_error=0.1)
        values = {key: 0.1 + some[unit.seed] for key, some in more.items()}
        entered(place, unit, error + apart[unit.seed], **{"train_top1_error": 0.1, **values})
    for seed in range(5):
        if not place.file(unit := ablations.case_unit("base", seed)).exists():
            entered(place, unit, 0.3)


def with_curve(place: Place, unit: Unit, rows: list[dict]) -> None:
    write_json(place.file(unit), {**place.found(unit), "curve": rows})


def test_c6_needs_all_five_layers(place):
    for unit in counting.units():
        entered(place, unit, 0, C6=[0.0006, 0.005, 0.0145, 0.0109, 0.0073])
    for name in ablations.CONVOLUTIONS:
        compared(place, f"without {name}", UP)
    assert CLAIMS["C6"].finding(place).verdict == REPRODUCED
    compared(place, "without conv3", DOWN)
    finding = CLAIMS["C6"].finding(place)
    assert finding.verdict.en == "not reproduced at this scale (opposite: conv3)"
    assert "conv3 -2.10 percentage points" in finding.found.en and "0.06%, 0.50%, 1.45%" in finding.found.en
    assert finding.found.en.endswith("1.45%, 1.09%, 0.73%: 2 of them above 1%")


def test_c9_is_judged_by_half_the_maps(place):
    compared(place, "one column, all maps", DOWN)
    compared(place, "one column, half the maps", UP)
    verdict = CLAIMS["C9"].finding(place).verdict.en
    assert REPRODUCED.en in verdict and OPPOSITE.en not in verdict


@pytest.mark.parametrize("small, expected", [
    (UP, "reproduced"), (DOWN, "not reproduced at this scale (opposite: CIFAR-10)")])
def test_c10_needs_both_data_sets_the_small_one_with_the_longer_schedule(place, small, expected):
    compared(place, "no LRN", UP)
    for epochs, apart in (cifar_nets.LRN_EPOCHS, (0.0, 0.05, -0.05)), (cifar_nets.LONGER, small):
        for name in ("with LRN", "without"):
            for unit in cifar_nets.norm_units(name, epochs):
                entered(place, unit, 0.2 + 0.03 * unit.seed + (name == "without") * apart[unit.seed])
                with_curve(place, unit, [{"train_top1_error": 0.9}, {"train_top1_error": 0.1}])
    finding = CLAIMS["C10"].finding(place)
    assert finding.verdict.en == expected
    assert finding.found.en.count("(training error 10.0% without, 10.0% with it;") == 2   # of the last epoch
    assert f"{100 * sum(small[:3]) / 3:+.2f} percentage points" in finding.found.en


def test_c11_needs_the_error_and_the_gap(place):
    compared(place, "2x2 pooling", UP)
    compared(place, "2x2 pooling, same sizes", UP)
    assert CLAIMS["C11"].finding(place).verdict == REPRODUCED
    compared(place, "2x2 pooling, same sizes", UP, train_top1_error=[2 * one for one in UP])   # a smaller gap
    finding = CLAIMS["C11"].finding(place)
    assert finding.verdict.en == "not reproduced at this scale (opposite: gap)"
    assert "-2.10 percentage points" in finding.found.en


def test_c13_is_judged_by_the_gap_and_says_what_the_error_does(place):
    one, two, three = claims.AUGMENTATIONS
    for name in (two, three):
        compared(place, name, DOWN)
    spread = (0.001, -0.001, 0.0035)
    for apart, says in ((UP, "larger"), (DOWN, "smaller"), (spread, "not clearly different")):
        compared(place, one, apart, train_top1_error=[value - 0.05 for value in apart])
        finding = CLAIMS["C13"].finding(place).verdict.en
        assert finding.startswith("reproduced") and says in finding and "opposite" not in finding


def test_c14_is_what_ten_crops_lower(place):
    for seed, apart in enumerate(UP):
        entered(place, ablations.case_unit("base", seed), 0.3 + 0.05 * seed,
                ten_views_top1_error=0.3 + 0.05 * seed - apart)
    finding = CLAIMS["C14"].finding(place)
    assert finding.verdict == REPRODUCED
    assert "+2.10 percentage points (+1.98 to +2.22; 5 pairs)" in finding.found.en


def test_c15_excludes_a_point_only_if_its_whole_interval_does(place):
    said = TEXTS["C15"]["excludes"][0]
    compared(place, "no colour noise", (0.001, 0.002, 0.001, 0.002, 0.0015))
    assert CLAIMS["C15"].finding(place).found.en.endswith(said)
    compared(place, "no colour noise", (0.001, 0.03, -0.02, 0.01, -0.005))   # mean 0.0032
    assert not CLAIMS["C15"].finding(place).found.en.endswith(said)


def test_c17_needs_a_larger_gap_without_dropout_and_more_epochs_with_it(place):
    compared(place, "no dropout", DOWN)
    compared(place, "fc biases 0, no dropout", UP)
    for seed in range(3):
        for name, first in (("fc biases 0", 0.8), ("fc biases 0, no dropout", 0.4)):
            with_curve(place, ablations.case_unit(name, seed), [
                {"epoch": 1, "train_top1_error": first}, {"epoch": 2, "train_top1_error": 0.4 + 0.01 * seed}])
    finding = CLAIMS["C17"].finding(place)
    assert finding.verdict.en.startswith("reproduced") and "larger" in finding.verdict.en
    # 1.75, 1.7692 and 1.7895 epochs, each over 1 / 1.2
    assert " 2.1 times as many epochs" in finding.found.en


def test_epochs_to_an_error_are_counted_between_two_epochs_by_a_line():
    rows = [{"epoch": epoch, "train_top1_error": error} for epoch, error in ((1, 0.8), (2, 0.4), (3, 0.1))]
    assert claims.epochs_to({"curve": rows}, 0.5) == pytest.approx(1.75)
    assert claims.epochs_to({"curve": rows}, 0.4) == pytest.approx(2)
    assert claims.epochs_to({"curve": rows}, 0.9) == pytest.approx(0.5)    # from 1 before the first
    assert claims.epochs_to({"curve": rows}, 0.05) == 3                    # at least


def test_c19_is_judged_by_the_training_error(place):
    compared(place, "no weight decay", UP, train_top1_error=DOWN)
    assert CLAIMS["C19"].finding(place).verdict == OPPOSITE
    compared(place, "no weight decay", DOWN, train_top1_error=UP)
    assert CLAIMS["C19"].finding(place).verdict == REPRODUCED


def test_c20_is_judged_by_the_loss_of_the_first_three_epochs(place):
    compared(place, "biases 0", DOWN)
    for seed in range(3):
        for name, losses in (("base", (2.0, 1.0, 1.0, 0.5)), ("biases 0", (2.0, 1.0, 1.9 + 0.1 * seed, 0.5))):
            with_curve(place, ablations.case_unit(name, seed), [{"train_loss": loss} for loss in losses])
    finding = CLAIMS["C20"].finding(place)
    assert finding.verdict == REPRODUCED and "+0.33 (+0.25 to +0.42; 3 pairs)" in finding.found.en
    assert "+0.00, +0.00, +1.00" in finding.found.en


def test_c21_is_whether_a_constant_rate_makes_the_error_larger(place):
    compared(place, "constant rate", DOWN)
    assert OPPOSITE.en in CLAIMS["C21"].finding(place).verdict.en


def test_columns_differ_in_colour_beyond_what_any_halves_do():
    """Four kernels, 0, 0, 1, 1: of six ways to halve them two put equals together, so 1 / 3 by chance."""
    assert claims.beyond_chance(np.array([[0.0, 0.0], [1.0, 1.0]])) == pytest.approx(2 / 3, abs=0.05)
    assert claims.beyond_chance(np.array([[1.0, 1.0], [0.0, 0.0]])) == pytest.approx(2 / 3, abs=0.05)
    assert claims.beyond_chance(np.array([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx(-1 / 3, abs=0.05)


def test_c24_needs_every_seed_below_one_half_with_one_crop(place):
    for seed, (one, ten) in enumerate(((0.45, 0.4), (0.49, 0.4), (0.48, 0.6))):
        entered(place, larger.DATA.unit("base", seed), 0.7, val_top5_error=one, ten_views_top5_error=ten)
    assert CLAIMS["C24"].finding(place).verdict == REPRODUCED
    entered(place, larger.DATA.unit("base", 2), 0.7, val_top5_error=0.51, ten_views_top5_error=0.4)
    assert CLAIMS["C24"].finding(place).verdict == NOT_HERE


def test_c25_and_c26_are_how_much_more_often_fc7_agrees_than_pixels(place):
    for seed, apart in enumerate(UP[:5]):
        entered(place, ablations.case_unit("base", seed), 0.3, agreement_in_fc7=0.3 + 0.1 * seed,
                agreement_in_pixels=0.3 + 0.1 * seed - apart)
    for unit, apart in zip(looks.units(), UP):
        found = {f"agreement_{space}_{bits}": 0.5 for space in looks.SPACES for bits in looks.BITS}
        found |= {"agreement_fc7": 0.9, "agreement_fc7_128": 0.5 - apart}
        entered(place, unit, 0.3, codes=found)
    assert CLAIMS["C25"].finding(place).verdict == REPRODUCED
    assert "+2.10 percentage points" in CLAIMS["C25"].finding(place).found.en
    assert CLAIMS["C26"].finding(place).verdict == OPPOSITE   # by 128 bits


def test_c27_needs_each_effect_to_be_larger_than_the_next(place):
    for name, effect in zip(claims.ORDER, (0.08, 0.06, 0.04, 0.02)):
        compared(place, name, tuple(effect + 0.001 * seed * effect for seed in range(7)))
    finding = CLAIMS["C27"].finding(place)
    assert finding.verdict == REPRODUCED and "+2.00 percentage points" in finding.found.en
    compared(place, "no LRN", (0.07, 0.0701, 0.0702, 0.0701, 0.07))   # larger than with one column
    assert "opposite" in CLAIMS["C27"].finding(place).verdict.en


def test_c4_is_what_averaging_lowers_of_the_mean_error(place):
    """Three networks are right about three of four images each, two about all; so is their mean."""
    def odds(right: list[int]) -> str:
        return ablations.as_text(np.array([[0.9, 0.1] if one else [0.45, 0.55] for one in 25 * right]))

    rights = [[1, 1, 1, 0], [1, 1, 0, 1], [1, 0, 1, 1], [1] * 4, [1] * 4]
    for seed, right in enumerate(rights):
        entered(place, ablations.case_unit("base", seed), 0.2, classes=2, probabilities=odds(right),
                labels=ablations.as_text(np.zeros(100)))
    single, average = claims.averaged(place.results(claims.BASE))
    assert single[:4].tolist() == pytest.approx([0, 0.2, 0.2, 0.2]) and not average.any()
    finding = CLAIMS["C4"].finding(place)
    assert finding.verdict == REPRODUCED
    # standard deviation 0.0870, quantile 1.985
    assert "averaged: +15.00 percentage points (+13.27 to +16.73, over 100" in finding.found.en


def test_probabilities_are_averaged_not_votes(place):
    each = [[[0.55, 0.45]], [[0.55, 0.45]], [[0.05, 0.95]]]   # two votes for 0, a mean for 1
    found = [{"probabilities": ablations.as_text(np.array(one)), "classes": 2,
              "labels": ablations.as_text(np.array([1]))} for one in each]
    single, average = claims.averaged(found)
    assert single.tolist() == pytest.approx([2 / 3]) and average.tolist() == [0]


@pytest.mark.parametrize("epochs, expected", [((20, 34, 23), REPRODUCED), ((4, 5, 4.4), NOT_HERE),
                                              ((2, 2.5, 2.2), OPPOSITE), ((2, 100, 20), NOT_HERE)])
def test_c8_needs_an_interval_above_one_that_reaches_six(place, epochs, expected):
    for activation, some in (("relu", (4, 5, 4.4)), ("tanh", epochs), ("sigmoid", (80, 70, 80))):
        for unit, value in zip(cifar_nets.race_units(activation), some):
            entered(place, unit, 0, rate=0.01, reached=value < 80, epochs=value, at_the_edge=False)
    finding = CLAIMS["C8"].finding(place)
    assert finding.verdict == expected
    assert "sigmoid not in 80 epochs, so at least 14.0 times slower" in finding.found.en   # one of three did


def test_a_claim_with_one_run_of_many_is_not_judged(place):
    entered(place, ablations.case_unit("base", 0), 0.3, val_top5_error=0.1)
    assert CLAIMS["C14"].finding(place).verdict == NOT_RUN
    entered(place, larger.DATA.unit("base", 0), 0.3, val_top5_error=0.1)
    assert CLAIMS["C24"].finding(place).verdict == NOT_RUN


def test_the_half_width_of_an_interval_stands_behind_its_mean():
    assert claims.interval_text([0.1, 0.2, 0.3]) == "20.00% ± 24.84"   # 4.303 x 0.1 / sqrt(3)


# ------------------------------------------------------------------- the other experiments, by hand

def test_the_epoch_without_dropout_that_is_as_good_is_found_by_the_lowest_error_with_it(place):
    for seed in range(3):
        for case, errors in (("biases 0.1", (0.5, 0.2, 0.3)), (again.WITHOUT_DROPOUT, (0.4, 0.25, 0.2))):
            unit = longer.SIXTY.unit(case, seed)
            entered(place, unit, 0.3)
            with_curve(place, unit, [{"epoch": epoch, "val_top1_error": error}
                                     for epoch, error in enumerate(errors, 1)])
    assert "lowest error, by seed: 3, 3, 3" in again.as_good_as_with_dropout(place).en


@pytest.mark.parametrize("claim, case, measure", [
    ("C19", "no weight decay", "train"), ("C21", "constant", "val"), ("C15", "no colour noise", "val"),
    ("C13", "no crops, no mirror images", "gap")])
def test_sixty_epochs_are_judged_by_what_the_claim_is_about(place, claim, case, measure):
    one, = [one for one in again.AGAIN if (one.claim, one.where) == (claim, term("Sixty epochs"))]
    train, val = {"train": (0.1, -0.1), "val": (-0.1, 0.1), "gap": (-0.3, -0.1)}[measure]
    for seed in range(3):
        entered(place, longer.SIXTY.unit(longer.CASES[case].against, seed), 0.3, train_top1_error=0.3)
        entered(place, longer.SIXTY.unit(case, seed), 0.3 + val + 0.001 * seed,
                train_top1_error=0.3 + train + 0.001 * seed)
    apart, = one.judged(place).values()
    assert apart == pytest.approx([0.2] * 3 if measure == "gap" else [0.1, 0.101, 0.102])
    assert measure == "gap" or one.finding(place).verdict == REPRODUCED


def test_only_a_case_that_was_trained_on_as_many_images_stands_in_the_table_of_changes(place):
    for case in ("base", "plateau", "constant", "no weight decay"):
        for seed in range(3):
            error = 0.3 if case == "base" else 0.32
            entered(place, longer.SIXTY.unit(case, seed), error, train_top1_error=0.1)
    rows = [line.en for line in longer.SIXTY.lines(place) if getattr(line, "en", "").startswith("| ")][1:]
    assert len(rows) == 2 and all(row.count("+2.00 (") == 2 or "+0.00 (" in row for row in rows)
    assert any(row.startswith(f"| {named('no weight decay').en}") for row in rows)
    assert any(named("plateau").en in row and named("constant").en in row for row in rows)   # against that


@pytest.mark.parametrize("case, epoch, noise, released", [
    ("colour noise for two thirds", 1, 0.1, True), ("colour noise for two thirds", 2, 0.0, True),
    ("colour noise not / 1.1", 2, 0.1, False), ("base", 2, 0.1, True)])
def test_the_colour_noise_of_sixty_epochs_is_changed_where_it_says(photographs, tmp_path, case, epoch, noise,
                                                                  released):
    """Off from the third of three epochs on; not divided where there is no mean image to come back to."""
    settings = replace(longer.SIXTY.settings, epochs=3, precision="fp32")
    run = longer.LongRun(case, TINY, tmp_path / "run", settings, photographs.pack("imagenette", 64),
                         photographs.device)
    run.progress.epoch = epoch
    batches = run.batches(run.plan())
    assert batches.noise == noise and (batches.mean is not None) == released


def test_the_errors_after_thirty_epochs_stand_under_their_names(place):
    for seed in range(3):
        entered(place, larger.LONG.unit("base", seed), 0.6, val_top5_error=0.3, ten_views_top1_error=0.5,
                ten_views_top5_error=0.2)
    for unit in larger.peers():
        entered(place, unit, 0, top1_error_1=0.55, top5_error_1=0.25)
    rows = [line.en for line in larger.long_lines(place) if getattr(line, "en", "").startswith("| ")]
    assert rows[0].split("|")[3:7] == [f" {one} " for one in larger.ERRORS]
    assert rows[1].endswith("| 3 | 60.00% | 30.00% | 50.00% | 20.00% |")
    assert rows[2].endswith("| 3 | 55.00% | 25.00% |  |  |")


def test_the_papers_sizes_stand_beside_the_changes_that_they_belong_to():
    papers = {(one.claim, getattr(one.what, "en", one.what)): one.papers for one in power.COMPARISONS}
    steps = [size for (claim, _), size in papers.items() if claim == "C27"]
    assert steps == [None, 0.003, 0.010]   # 1.7 less 1.4, and 1.4 less 0.4 percentage points
    assert [size for (claim, _), size in papers.items() if claim == "C6"] == [None, 0.02, 0.02, 0.02, None]


def test_smaller_effects_are_taken_from_larger_ones(place):
    for name, apart in (("no LRN", UP), ("2x2 pooling, same sizes", tuple(one / 2 for one in UP))):
        compared(place, name, apart)
    found = power.step("no LRN", "2x2 pooling, same sizes")(place)
    assert found == pytest.approx([one / 2 for one in UP[:5]])
    for name, epochs in (("relu", 4.0), ("tanh", 20.0)):
        for unit in cifar_nets.race_units(name):
            entered(place, unit, 0, epochs=epochs)
    assert power.log_times_slower(place) == pytest.approx([math.log(5)] * 3)


def test_an_effect_is_not_absent_where_only_its_mean_is_smaller_than_the_papers():
    assert power.answer([0.02, 0.0, -0.02], 0.03).en == "too small to see"   # up to 4.97


def test_what_is_counted_is_what_was_published():
    unit, place = counting.units()[0], Place()
    now = counting.compute(unit, place)["result"]
    before = place.found(unit)["result"]
    assert max(now.pop("C18"), before.pop("C18")) < 1e-6   # rounding: another on each processor
    for name, value in before.items():
        assert now[name] == (pytest.approx(value, rel=1e-6) if name in ("C6", "C16", "C22") else value), name
    assert now["C6"] == pytest.approx([34_944 / 60_965_224, 307_456 / 60_965_224, 885_120 / 60_965_224,
                                       663_936 / 60_965_224, 442_624 / 60_965_224])


def test_ninety_epochs_took_two_gtx_580_five_and_a_half_days_of_a_part_of_their_rate():
    with torch.device("meta"):
        found = counting.days(AlexNet())
    operations = 2 * (3 * 724_406_816 - 105_415_200) * 1_281_167 * 90
    assert found["operations"] == pytest.approx(operations)
    assert found["share_of_peak"] == pytest.approx(operations / (5.5 * 24 * 3600 * 2 * 1.581e12))
    if "days_here" in found:
        seconds = found["days_here"] * 24 * 3600
        assert seconds * found["images_per_second_here"] == pytest.approx(1_281_167 * 90)


@pytest.mark.parametrize("high, expected", [(101.0, True), (99.0, False)])
def test_what_input_costs_is_read_off_the_benchmark(tmp_path, monkeypatch, high, expected):
    monkeypatch.setattr(counting, "RESULTS", tmp_path)
    rows = [{"about": "", "ratio": 9.0},
            {"about": "training, 224 px", "median": 98.0, "low": 97.0, "high": high, "ratio": 1.0},
            {"about": "training, 224 px", "median": 102.0, "low": 100.0, "high": 103.0, "ratio": 0.96}]
    write_json(tmp_path / "benchmark" / "input.json", {"rows": rows})
    lost, overlap = counting.input_wait()
    assert lost == pytest.approx(0.04) and overlap == expected


# ------------------------------------------------------------------- the base result

def test_at_equal_time_each_side_has_the_last_epoch_that_it_has_finished(place):
    content = {"seconds": 100.0, "curve": [{"val_top1_error": error} for error in (0.9, 0.8, 0.7, 0.6)]}
    assert [base_result.at(content, seconds) for seconds in (10, 25, 49, 50, 99, 100, 200)] == [
        0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6]
    for name, seconds in ((base_result.OURS, 120.0), (base_result.THEIRS, 240.0)):
        unit = base_result.side(name)[0]
        entered(place, unit, 0)
        write_json(place.file(unit), {**place.found(unit), **content, "seconds": seconds})
    table = [getattr(line, "en", line) for line in base_result.equal_time(place)]
    assert "| 0 | 2 | 60.00% | 80.00% |" in table   # after two minutes


class Watched(nn.Module):
    """Knows class 1 best, then 2, 3, ...; and which images it saw in training."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(-torch.arange(classes).roll(1).float())
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.append(x.clone())
        return self.scores.repeat(len(x), 1) + 0 * x.mean()


def test_the_other_side_is_measured_on_the_validation_images_and_its_rate_falls(place, tmp_path, monkeypatch):
    """Seven classes, of which one image each is seen in training and (but one) 0 to 6 in validation."""
    counts = {f"train/c{label}": 1 for label in range(7)} | {f"val/c{label}": label + 1 for label in range(7)}
    place.folders["imagenette"] = make_folder(tmp_path / "pictures", counts)
    made = []
    monkeypatch.setattr(base_result, "theirs", lambda classes: (
        made.append(Watched(classes)), (made[-1], peers.examples_sgd(made[-1])))[1])
    unit = base_result.side(base_result.THEIRS, 64)[0]
    unit = replace(unit, config={**unit.config, "epochs": 3, "drop_every": 2})
    place = replace(place, toy=False)
    found = base_result.peer(unit, place)
    last = found["curve"][-1]
    assert last["val_top1_error"] == pytest.approx(1 - 2 / 28)      # the best is class 1, with two images
    assert last["val_top5_error"] == pytest.approx((7 + 1) / 28)    # the last two are 6 and 0
    assert (found["result"]["top1_error_1"], found["result"]["top5_error_1"]) == (
        last["val_top1_error"], last["val_top5_error"])
    assert [len(images) for images in made[0].seen] == [7] * 3
    assert not torch.equal(made[0].seen[0], made[0].seen[1])        # other crops
    kept = torch.load(place.work(unit) / "pieces.pt", weights_only=True)["parts"]["sgd"]["param_groups"][0]
    assert kept["lr"] == pytest.approx(0.001)
    short = replace(unit, seed=1, config={**unit.config, "epochs": 2})
    base_result.peer(short, place)
    kept = torch.load(place.work(short) / "pieces.pt", weights_only=True)["parts"]["sgd"]["param_groups"][0]
    assert kept["lr"] == pytest.approx(0.01)   # the second epoch is no third


def test_the_base_is_measured_with_one_crop_and_with_ten(photographs, monkeypatch):
    monkeypatch.setattr(base_result, "Case", lambda: replace(TINY, settings={"lr": 0.3}))
    asked, evaluate = [], base_result.evaluate
    monkeypatch.setattr(base_result, "evaluate", lambda model, pack, views: (
        asked.append(views), {**evaluate(model, pack, views=views), "top1_error": views})[1])
    unit = base_result.side(base_result.OURS, 64)[0]
    (photographs.out / "runs").mkdir(parents=True, exist_ok=True)
    found = base_result.compute(unit, photographs)["result"]
    assert asked == [1, 10] and (found["top1_error_1"], found["top1_error_10"]) == (1, 10)
    assert (photographs.out / "runs" / "base-64px-0.pt").exists()


def test_the_spread_of_seeds_is_their_standard_deviation():
    results = [{"error": value} for value in (0.1, 0.2, 0.3)]
    assert base_result.mean_and_spread(results, "error") == "20.00% ± 10.00"
    assert base_result.mean_and_spread(results[:1], "error") == "10.00%"
    assert base_result.mean_and_spread(results, "other") == ""


# ------------------------------------------------------------------- what 14 years were worth

def tried(place: Place, **errors: float) -> None:
    for index, error in enumerate(errors.values()):
        for unit in modern.attempts(modern.NAMES[index]):
            entered(place, unit, 0, error=error)


def test_a_change_is_compared_with_the_best_before_it_not_with_the_last(place):
    tried(place, first=0.40, dropped=0.45, between=0.42, equal=0.40)
    assert list(modern.decisions(place).values()) == [True, False, False, False]
    place.file(modern.attempts(modern.NAMES[3])[1]).unlink()   # one of its two seeds
    assert modern.error(place, modern.NAMES[3]) is None and len(modern.decisions(place)) == 3


def test_errors_of_a_recipe_are_given_when_all_seeds_are_there(place):
    for unit in modern.finals(modern.OLD)[:2]:
        entered(place, unit, 0.3)
    assert modern.errors_of(place, modern.OLD) == []
    entered(place, modern.finals(modern.OLD)[2], 0.3)
    assert modern.errors_of(place, modern.OLD) == [0.3] * 3


def test_a_cosine_falls_from_the_rate_to_nothing_and_steps_are_those_of_the_recipe():
    cosine, steps = modern.Today(cosine=True, rate=0.02), modern.Today(rate=0.02)
    assert [modern.rate_after(cosine, done, 10) for done in (0, 5, 10)] == pytest.approx([0.02, 0.01, 0])
    assert modern.rate_after(cosine, 2.5, 10) == pytest.approx(0.01 * (1 + 0.5 ** 0.5))
    assert [modern.rate_after(steps, epoch, 10) for epoch in (0, 9)] == pytest.approx([0.02, 0.0002])


@pytest.fixture
def small_modern(photographs, monkeypatch):
    """The networks are small, and what they are measured on is listed."""
    measured, evaluate = [], modern.evaluate
    monkeypatch.setattr(modern, "AlexNet", lambda classes, size, **more: AlexNet(
        classes, size, **{**TINY.design, **more}))
    monkeypatch.setattr(modern, "evaluate", lambda model, pack, **more: (
        measured.append(pack), evaluate(model, pack, **more))[1])
    for name in modern.NAMES:
        for unit in modern.attempts(name):
            entered(photographs, unit, 0, error=0.5 if name in ("2012", "all together") else 0.6)
    return photographs, measured


def test_a_change_is_tried_on_held_out_training_images_and_the_end_on_validation_images(small_modern):
    place, measured = small_modern
    modern.attempt(modern.attempts("Nesterov momentum")[0], place)
    held_out, whole = (place.pack("imagenette", modern.SIZE, part) for part in (0.15, None))
    assert measured[0].labels["val"].tolist() == held_out.labels["val"].tolist()
    assert measured[0].labels["train"].tolist() == held_out.labels["train"].tolist()
    modern.final(modern.finals(modern.OLD)[0], place)
    assert measured[-1].labels["val"].tolist() == whole.labels["val"].tolist()
    assert len(measured[-1].labels["train"]) == 14


def test_the_recipes_at_the_end_are_2012s_the_kept_changes_and_all_at_once(small_modern):
    place, _ = small_modern
    for unit in modern.attempts("Nesterov momentum"):
        entered(place, unit, 0, error=0.4)
    old, long, new, both = (modern.final(unit, place)["result"]["recipe"] for unit in (
        modern.finals(modern.OLD)[0], modern.finals(modern.OLD, modern.LONG)[0], modern.finals(modern.NEW)[0],
        modern.finals(modern.ALL)[0]))
    assert modern.Today(**old) == modern.Today(**long) == modern.Today()
    assert modern.Today(**new) == modern.Today(nesterov=True)
    assert modern.Today(**both) == modern.Today(
        he_init=True, batch_norm=True, inverted_dropout=True, smoothing=0.1, cosine=True, resized_crops=True,
        no_colour_noise=True, nesterov=True, ema=0.99)


def test_with_averaged_weights_these_are_measured(small_modern, monkeypatch):
    place, _ = small_modern
    monkeypatch.setattr(modern, "BATCH", 4)   # the first of several steps only begins the average
    unit = modern.finals(modern.NEW)[1]
    network, _ = modern.learned(unit, place, modern.Today(ema=0.5, rate=0.1), place.pack("imagenette", 64))
    parts = torch.load(place.work(unit) / "pieces.pt", weights_only=True)["parts"]
    assert torch.equal(network.fc8.bias, parts["average"]["module.fc8.bias"])
    assert not torch.equal(network.fc8.bias, parts["model"]["fc8.bias"])


# ------------------------------------------------------------------- fine-tuning

def test_some_pictures_are_taken_by_the_seed_for_training_and_all_for_validation(tmp_path):
    data = make_folder(tmp_path / "data", {f"{part}/{name}": 9 for part in ("train", "val") for name in "ab"})
    taken = []
    for seed in (0, 0, 1):
        folder = fine_tuning.part_of(data, tmp_path / "some", ["b"], 4, seed)
        taken.append(sorted(path.name for path in (folder / "train" / "b").iterdir()))
        assert len(list((folder / "val" / "b").iterdir())) == 9 and not (folder / "train" / "a").exists()
    assert len(taken[0]) == 4 and taken[0] == taken[1] != taken[2]
    folder = fine_tuning.part_of(data, tmp_path / "some", ["a", "b"])
    assert len(list(folder.glob("train/*/*"))) == len(list(folder.glob("val/*/*"))) == 18


def test_fine_tunings_error_is_that_of_the_last_epoch():
    group = [{"errors": [0.5, 0.1, last], "pictures": 50, "kind": "fine-tuned", "seconds": 10.0, "seed": seed,
              "settings": {"epochs": 3, "batch_size": 32, "lr": 0.001, "head_lr": 10.0}}
             for seed, last in enumerate((0.2, 0.4))]
    cells = [cell.strip() for cell in fine_tuning.row_of(group).en.split("|")]
    assert cells[3] == "30.0%" and "20.0%" in cells[4] and "40.0%" in cells[4]


def test_the_other_classes_are_learnt_with_the_first_networks_weights_but_from_scratch(tmp_path, monkeypatch):
    names = [f"c{label}" for label in range(9)]
    data = make_folder(tmp_path / "data", {f"{part}/{name}": 2 for part in ("train", "val")
                                           for name in names})
    begun = []

    def train(options: SimpleNamespace, folder: Path, run: Path, seed: int, *more: str | Path) -> dict:
        begun.append((sorted(path.name for path in (folder / "train").iterdir()), more))
        run.mkdir(parents=True)
        (run / "last.pt").touch()
        return {"errors": [0.5], "seconds": 1.0}

    monkeypatch.setattr(fine_tuning, "train", train)
    monkeypatch.setattr(fine_tuning, "PICTURES", (1,))
    options = SimpleNamespace(data=data, work=tmp_path / "work", out=tmp_path / "out", seeds=1)
    options.out.mkdir()
    fine_tuning.measure(options)
    first = options.work / "first" / "last.pt"
    assert begun == [(names[:7], ()), (names[7:], ("--weights", first)),
                     (names[7:], ("--freeze", "conv5", "--weights", first)),
                     (names[7:], ("--batch-size", "32"))]
    fine_tuning.measure(options)
    assert len(begun) == 4   # all are there


# ------------------------------------------------------------------- classes of unequal size

def test_weights_count_a_small_class_as_much_as_a_large_one_and_sampling_draws_it_as_often(place, tmp_path,
                                                                                            monkeypatch):
    """20 and 2 images; before it learns, a network's loss is ln 2 for each."""
    place.folders["imagenette"] = make_folder(tmp_path / "pictures", {
        "train/disc": 20, "train/star": 20, "val/disc": 5, "val/star": 5})
    monkeypatch.setattr(balance, "AlexNet", lambda classes, size: AlexNet(classes, size, **TINY.design))
    asked, batches = {}, balance.TrainingBatches
    monkeypatch.setattr(balance, "TrainingBatches", lambda pack, settings, *more: (
        asked.update({way: settings.balance}), batches(pack, settings, *more))[1])
    found = {}
    for way in balance.WAYS:
        unit, = [unit for unit in balance.units() if (unit.case, unit.seed) == (way, 0)]
        found[way] = balance.compute(unit, place)
    assert asked == {"plain": False, "weights": False, "sampling": True}
    assert [one["result"]["images"] for one in found.values()] == [[20, 2]] * 3
    # N / (C n): 22 / 40 and 22 / 4, whose mean over all images is 1
    losses = [one["curve"][0]["train_loss"] for one in found.values()]
    assert losses == pytest.approx([math.log(2)] * 3, rel=0.02)
    assert found["plain"]["result"]["errors"] == [0, 1] and found["plain"]["result"]["error"] == 0.5


# ------------------------------------------------------------------- whether learning starts

def started(place: Place, steps: list[int | None], last: float = 0.5) -> None:
    for seed, at in enumerate(steps):
        unit = starting.start_unit("Tiny-ImageNet", "as-written", "as it is", seed)
        entered(place, unit, 0, starts_at=at, losses=[5.0] * 2000)
        with_curve(place, unit, [{"firing": {"fc7": 1.0}}, {"firing": {"fc7": last}}])
        write_json(place.file(unit), {**place.found(unit), "config": unit.config})


def test_only_starts_within_two_thousand_steps_count_and_of_the_runs_there_are(place):
    started(place, [100, 400, 1200, 2100, None])
    found, = starting.start_rows(place)
    low, high = wilson(3, 5)
    assert "| 3 / 5 |" in found.en and f"{100 * low:.0f}" in found.en and f"{100 * high:.0f}" in found.en
    assert TEXTS["steps"]["median"][0].format(400, 100, 1200) in found.en   # the mean would be 567
    assert found.en.endswith("| 50% |")


def test_at_the_end_the_units_of_fc7_that_fire_for_any_image_are_counted(photographs, monkeypatch):
    small = first_steps.Difference({**TINY.design, "activation": "relu"})
    monkeypatch.setitem(first_steps.DIFFERENCES["as-trained"], "as it is", small)
    fired = torch.zeros(8, 16)
    fired[0, :6], fired[1, 4:8] = 1, 1    # eight units fire, none for all images
    monkeypatch.setattr(starting, "layer_values", lambda model, images, name: fired)
    found = starting.ending(starting.end_unit("as-trained", "as it is", 0), photographs)
    assert found["result"]["fc7_firing"] == 0.5 and found["result"]["precision"] == "torch.float32"


def test_a_run_whose_learning_is_watched_has_only_batches_of_full_size():
    pack = replace(of_numbers(50), covariance=np.eye(3))
    settings = replace(ablations.BASE, batch_size=16)
    mean = torch.zeros(3, 64, 64)
    whole, usual = (kind(pack, settings, 0, mean) for kind in (starting.WholeBatches, TrainingBatches))
    assert len(whole) == 3 and len(usual) == 4 and list(whole.order) == list(usual.order)[:48]
    few = starting.WholeBatches(pack, replace(settings, batch_size=64), 0, mean)
    assert len(few.order) == 50   # less than a batch


@pytest.fixture
def walk(photographs):
    """Makes networks on their way: 14 images in batches of four."""
    def make(seed: int = 0, **more) -> first_steps.Steps:
        difference = first_steps.Difference(TINY.design, **more)
        return first_steps.Steps(photographs.pack("imagenette", 64), 64, "as-trained", difference, seed, 0.01,
                                 torch.float32, photographs.device, 4)
    return make


def test_a_warm_up_rises_from_its_first_part_to_the_whole_rate(walk):
    run, rates = walk(warmup=4), []
    for step, batch in islice(run.batches(0), 6):
        run.take(step, batch)
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])


def test_steps_from_the_middle_of_an_epoch_have_its_batches(walk):
    run = walk()
    whole = list(islice(run.batches(0), 9))
    for (step, batch), (other_step, other) in zip(whole[5:], islice(run.batches(5), 4)):
        assert step == other_step and torch.equal(batch.images, other.images)
    assert [len(batch.labels) for _, batch in whole] == [4, 4, 4, 2, 4, 4, 4, 2, 4]
    run.rate = 1e-6
    assert run.losses(0, 4) == pytest.approx([math.log(2)] * 4, rel=0.1)   # the mean, in the short batch, too


def test_each_step_has_other_masks_and_each_run_those_of_its_seed(walk):
    run, drawn = walk(), []
    batch = run.sample()
    run.model.drop6.register_forward_hook(lambda module, inputs, output: drawn.append(output == 0))
    for step in (0, 0, 1):
        run.take(step, batch)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])
    assert not torch.equal(walk(1).model.conv1.weight, walk(0).model.conv1.weight)


def test_a_stopped_walk_goes_on_at_its_step(photographs, walk, monkeypatch):
    monkeypatch.setattr(first_steps, "PIECE", 3)

    def followed(place: Place, stop: bool) -> list[list[float]]:
        run, unit = walk(), Unit("walk", "one", int(stop), {}, counter, 1)
        if stop:
            place.asked.append(signal.SIGINT)
            with pytest.raises(Stopped):
                run.follow(unit, place, 100, lambda rows: len(rows) >= 2)
            place.asked.clear()
            run = walk()
        return [row["losses"] for row in run.follow(unit, place, 100, lambda rows: len(rows) >= 2)]

    place = replace(photographs, toy=False)
    whole = followed(place, False)
    assert [len(losses) for losses in whole] == [3, 3] and sum(whole, []) == walk().losses(0, 6)
    assert followed(place, True) == whole


# ------------------------------------------------------------------- why

def test_the_limit_of_the_swing_is_twice_one_and_the_momentum_over_the_curvature():
    # |h|^2 / C with the bias, which learns twice as fast
    assert head.Start(square_of_h=98.0, square_of_h6=8.0, keep=1.0).swing(10) == pytest.approx(3.8 * 10 / 100)


@pytest.mark.parametrize("share, survived", [(0.1, True), (0.09, False)])
def test_a_rate_is_survived_if_a_tenth_of_fc7_fires(place, monkeypatch, share, survived):
    monkeypatch.setattr(head, "steps_of", lambda *given: SimpleNamespace(
        losses=lambda first, count: [2.0] * count))
    monkeypatch.setattr(head, "firing", lambda run: {"fc7": share})
    content = head.limit(head.limit_unit("as it is", 10, 0), place)
    assert {row["survived"] for row in content["curve"]} == {survived}
    assert content["curve"][0]["rate"] == head.RATES[11]   # the middle of 23


def test_what_fc8_sees_gives_the_curvature_of_the_head(walk):
    """Of 14 images, all logits alike at the start: (|h|^2 + 2) / C, h the mean of fc7 behind its mask."""
    run = walk()
    with torch.no_grad():
        for parameter in run.model.fc8.parameters():
            parameter.zero_()
    batch, seen = run.sample(), []
    run.model.fc8.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    found = head.head(run, batch)
    square = seen[0].mean(0).square().sum().item()
    assert found["square_of_mean"] == pytest.approx(square, rel=1e-5)
    assert found["head_curvature"] == pytest.approx((square + 2) / 2, rel=1e-5)
    assert found["head_curvature_of_p"] == pytest.approx((square + 2) / 2, rel=1e-4)   # 1 / C, 0 beside it
    assert found["mean_square"] == pytest.approx(seen[0].square().sum(1).mean().item(), rel=1e-5)
    assert found["mean_square"] > 1.2 * found["square_of_mean"]   # a mask halves it at random
    assert found["loss"] == pytest.approx(math.log(2))


def test_a_parameter_that_learns_twice_as_fast_counts_twice_in_the_curvature():
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 10, bias=False)
            nn.init.zeros_(self.fc.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    run = object.__new__(first_steps.Steps)
    run.model, run.seed = Flat(), 0
    run.optimizer = SimpleNamespace(param_groups=[{"params": [run.model.fc.weight], "factor": 2.0}])
    batch = head.Batch(torch.tensor([[1.0, 2.0, 0.0, 2.0, 4.0]]).repeat(10, 1),
                       torch.tensor([0, 0, 0, 1, 1, 2, 3, 4, 5, 6]), 10, 0)
    assert head.largest_curvature(run, batch, None, 20)[0] == pytest.approx(2 * 25 / 10, rel=1e-2)


def test_what_a_fading_run_sees_is_the_square_of_the_mean_and_what_lies_below_zero(photographs, monkeypatch):
    small = first_steps.Difference({**TINY.design, "dropout": "none", "bias": (0, 1, 0, 1, 1, 1, -0.5, 0)})
    monkeypatch.setitem(first_steps.DIFFERENCES["as-trained"], "no dropout", small)
    photographs.folders["tiny"] = photographs.folders["imagenette"]
    one = head.Fade("no dropout", 200, 0.25, 14).units()[0]
    made, steps_of = [], head.steps_of
    monkeypatch.setattr(head, "steps_of", lambda *given: (made.append(steps_of(*given)), made[-1])[1])
    content = head.fading(one, photographs)
    assert made[0].rate == 0.25   # the unit's, not that of the difference
    first = content["curve"][0]
    # biases of 1 in fc6, of -0.5 in fc7
    assert first["square_of_h6"] == pytest.approx(16, rel=0.1) and first["below"] == 1
    assert first["square_of_h"] == pytest.approx(0, abs=0.01)


def test_the_share_of_fc7_that_fires_is_that_for_any_image(walk):
    run = walk()
    values = torch.full((14, 16), -1.0)
    values[0, :4], values[1, 2:8] = 1.0, 1.0   # eight units for some image, two for both
    run.model.fc7.register_forward_hook(lambda module, inputs, output: values)
    assert first_steps.firing(run)["fc7"] == 0.5


def test_a_run_that_starts_early_is_watched_to_step_200():
    guess = math.log(10)
    low = {"losses": [1.0] * 50, "firing": dict.fromkeys(first_steps.LAYERS[:-1], 1.0)}
    assert not first_steps.settled([low] * 3, guess) and first_steps.settled([low] * 4, guess)
    assert first_steps.settled([{**low, "losses": [1.0, math.nan]}], guess)


def test_deviations_are_of_the_result_and_of_the_losss_gradient(walk):
    run = walk()
    found, batch = first_steps.deviations(run), run.sample()
    with training.masks(run.model, run.seed, 0):
        logits = run.model(batch.images)
    gradient = logits.softmax(1) - nn.functional.one_hot(batch.labels, 2)
    assert found["fc8"] == pytest.approx([logits.std().item(), gradient.std().item()], rel=1e-4)


def test_in_short_says_in_how_many_runs_learning_starts_and_the_median_of_the_rates(place):
    for seed, step in enumerate((90, None, 80)):
        entered(place, first_steps.first_unit("as-trained", "as it is", seed), 0, alive_at=step)
    for classes in head.CLASSES:
        for seed, rate in enumerate((0.001, 0.002, 0.016)):
            entered(place, head.limit_unit("as it is", classes, seed), 0, largest_survived=rate)
    said = what_breaks_it.in_short(place).en
    assert "0.002, 0.002, 0.002" in said and TEXTS["what breaks it"]["starts"][0].format(
        named("as it is").en, 2, 3) in said


def test_the_step_by_which_images_are_apart_is_that_of_fc8():
    curve = [{"step": step, "apart": {"fc7": 1.0, "fc8": apart}}
             for step, apart in ((50, 0.05), (100, 0.1), (150, 0.5))]
    assert growth.seen_by(curve) == "100"
    assert growth.seen_by(curve[:1]).en == TEXTS["growth"]["not by"][0].format(50)


def test_predictions_halve_what_dropout_leaves_only_where_there_is_dropout(place):
    for name in ("as it is", "no dropout"):
        for fade in head.FADES:
            if (fade.difference, fade.batch) == (name, head.BATCH):
                for unit in fade.units():
                    entered(place, unit, 0, square_of_h=1000.0, square_of_h6=500.0, lost=0.1, below=0.5)
    assert head.start_of(place, "as it is").keep == 0.5 and head.start_of(place, "no dropout").keep == 1
    assert head.start_of(place, "inverted dropout") is None


# ------------------------------------------------------------------- CIFAR-10, and the stars

def test_what_lrn_or_pre_training_adds_is_counted_with_its_sign(place):
    for seed in range(3):
        entered(place, larger.PIXELS.unit("base", seed), 0.3)
        entered(place, stars.unit_of(stars.SCRATCH, seed), 0.28)
        entered(place, stars.unit_of(stars.TUNED, seed), 0.25 + 0.001 * seed)
        for case, error in ((local_nets.WITHOUT, 0.13), (local_nets.WITH, 0.11), (local_nets.CONTROL, 0.14)):
            entered(place, local_nets.units_of(case)[seed], error + 0.001 * seed)
    rows = [line.en for line in stars.lines(place) if getattr(line, "en", "").startswith("| ")][1:]
    assert [re.search(r"[+-]\d\.\d\d", row)[0] for row in rows] == ["-2.00", "-2.90", "-4.90"]
    assert local_nets.lower_by(place, local_nets.WITH) == pytest.approx([0.02] * 3)
    one, = [one for one in again.AGAIN if one.where == term(local_nets.TITLE)]
    assert one.finding(place).verdict == REPRODUCED and "+2.00" in one.finding(place).found.en


def test_the_releases_rate_falls_after_100_and_110_epochs(place, tmp_path, monkeypatch):
    rates = []
    monkeypatch.setattr(local_nets, "on_crops", lambda *given: (
        rates.extend(map(given[-1], (0, 99, 100, 109, 110, 119))), [{"val_top1_error": 0.1}])[1])
    local_nets.compute(local_nets.units_of(local_nets.WITH)[0], place)
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


@pytest.fixture
def cifar(place, tmp_path):
    place.folders["cifar10"] = make_folder(tmp_path / "cifar", {
        f"{part}/{name}": count for part, count in (("train", 2), ("val", 1)) for name in CLASSES})
    return place


def test_a_race_ends_where_its_training_error_is_a_quarter_and_learns_other_images_than_the_choice(
        cifar, monkeypatch):
    drawn, part_of = [], cifar_nets.part_of
    monkeypatch.setattr(cifar_nets, "part_of", lambda pack, images, first: (
        drawn.append((images, first)), part_of(pack, images, first))[1])
    rates = cifar_nets.rate_units("relu")
    ends = (True, 8, 0.4), (True, 5.0, 0.24), (True, 4.8, 0.25), (False, 1.0, 0.0)
    for unit, (finite, epochs, error) in zip(rates, ends):
        entered(cifar, unit, 0, finite=finite, epochs=epochs, error=error)
    assert cifar_nets.best_rate("relu", cifar) == 0.03   # the first to come there, whatever is left of it
    found = cifar_nets.race(cifar_nets.race_units("relu")[0], cifar)
    assert found["result"]["rate"] == 0.03 and not found["result"]["at_the_edge"]
    cifar_nets.try_rate(rates[0], cifar)
    assert drawn == [(10_000, 0), (10_000, 1)]
    curve = [{"epoch": epoch, "train_top1_error": error}
             for epoch, error in ((0.2, 0.5), (0.4, 0.25), (0.6, 0.2))]
    monkeypatch.setattr(cifar_nets, "raced", lambda *given: curve)
    assert cifar_nets.race(cifar_nets.race_units("relu")[0], cifar)["result"]["epochs"] == 0.4
    monkeypatch.setattr(cifar_nets, "raced", lambda *given: curve[:1])
    short = cifar_nets.race(cifar_nets.race_units("relu")[0], cifar)["result"]
    assert (short["reached"], short["epochs"]) == (False, 0.2)


def test_each_fifth_of_an_epoch_has_its_own_images_and_each_epoch_and_seed_another_order(cifar, monkeypatch):
    monkeypatch.setattr(cifar_nets, "BATCH", 4)
    seen, step = [], cifar_nets.step
    monkeypatch.setattr(cifar_nets, "step", lambda net, sgd, images, labels: (
        seen.append(images), step(net, sgd, images, labels))[1])
    place, unit = replace(cifar, toy=False), cifar_nets.race_units("relu")[0]
    rows = cifar_nets.raced(unit, place, "relu", 1e-6, 0, 2)
    assert [row["epoch"] for row in rows] == pytest.approx([0.2 * part for part in range(1, 11)])
    assert len(seen) == 2 * 5   # 20 images in batches of four
    first, second = (torch.cat(seen[part:part + 5]).flatten(1) for part in (0, 5))
    assert not torch.equal(first, second)
    assert torch.equal(first.sum(1).sort()[0], second.sum(1).sort()[0])
    seen.clear()
    cifar_nets.raced(replace(unit, seed=1), place, "relu", 1e-6, 0, 1)
    assert not torch.equal(torch.cat(seen).flatten(1), first)


@pytest.mark.parametrize("epochs", [cifar_nets.LRN_EPOCHS, cifar_nets.LONGER])
def test_only_the_side_with_lrn_has_it_and_biases_learn_faster_without_decay(cifar, monkeypatch, epochs):
    made = {}
    monkeypatch.setattr(cifar_nets, "on_crops", lambda unit, place, net, optimizer, size, total, rate: (
        made.update({unit.case: (net, optimizer)}), [{"val_top1_error": 0.1}])[1])
    for case in ("with LRN", "without"):
        cifar_nets.normalised(cifar_nets.norm_units(case, epochs)[0], cifar)
    counts = [sum(isinstance(layer, LocalResponseNorm) for layer in net) for net, _ in made.values()]
    assert counts == [2, 0]
    for _, optimizer in made.values():
        weights, biases = optimizer.param_groups
        assert (weights["factor"], biases["factor"]) == (1, 2)
        assert (weights["weight_decay"], biases["weight_decay"]) == (0.004, 0)


def test_the_factors_reach_the_rates_and_the_error_is_that_of_the_central_crop(cifar):
    class Middle(nn.Module):
        """Says 1 where the middle of an image is brighter than its mean; 0 elsewhere."""
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = x[:, :, 14, 14].mean(1) * self.scale
            return torch.stack([torch.zeros_like(bright), bright], 1)

    pack = cifar.pack("cifar10", 28)
    images = np.zeros((4, 32, 32, 3), np.uint8)
    images[:2, 16, 16] = 255   # two with a dot in the middle of the central crop
    marked = replace(pack, images={**pack.images, "val": images},
                     labels={**pack.labels, "val": np.array([1, 1, 0, 1])})
    net = Middle()
    assert cifar_nets.test_error(net, marked, torch.zeros(3, 28, 28)) == 0.25
    sgd = torch.optim.SGD([{"params": net.parameters(), "factor": 2.0}], 0.5)
    both = nn.Sequential(net, nn.Linear(2, 10))
    cifar_nets.on_crops(Unit("x", "crops", 0, {}, counter, 1), cifar, both, sgd,
                        28, 1, lambda epoch: 0.001)
    assert sgd.param_groups[0]["lr"] == pytest.approx(0.002)


def test_whether_learning_starts_is_tried_in_fp32_with_the_seed_of_the_run(cifar, monkeypatch):
    cifar.folders["imagenette"] = cifar.folders["cifar10"]
    monkeypatch.setitem(starting.ALL["as-trained"], "as it is", first_steps.Difference(TINY.design))
    found = [starting.starting(starting.start_unit("Imagenette", "as-trained", "as it is", seed), cifar)
             for seed in (0, 1)]
    losses = [one["result"]["losses"] for one in found]
    assert losses[0] != losses[1] and [len(one) for one in losses] == [units.TOY_STEPS] * 2
    assert found[0]["result"]["precision"] == "torch.float32"
    assert found[0]["result"]["guessing"] == pytest.approx(math.log(10))
    assert losses[0][0] == pytest.approx(math.log(10), rel=0.2)


# ------------------------------------------------------------------- looks

def test_codes_are_learnt_from_training_images_and_asked_with_validation_images(photographs, monkeypatch):
    learnt, trained_coder = [], looks.trained_coder
    monkeypatch.setattr(looks, "trained_coder", lambda values, *more: (
        learnt.append(len(values)), trained_coder(values, *more))[1])
    monkeypatch.setattr(looks, "BITS", (32,))
    model, pack = AlexNet(2, 64, **TINY.design).eval(), photographs.pack("imagenette", 64)
    found = looks.codes(model, pack, 0, photographs)
    assert learnt == [14, 14] and (found["queries"], found["images"]) == (8, 14)
    every = replace(pack, labels={"train": np.zeros(14, int), "val": np.array([0, 1] * 4)})
    found = looks.codes(model, every, 0, photographs)
    agreements = {value for name, value in found.items() if name.startswith("agreement")}
    assert agreements == {0.5}   # all neighbours have class 0, and half of the images asked for


def test_the_time_of_a_search_is_the_median_of_its_runs(monkeypatch):
    clock = iter([0, 1, 10, 12, 20, 29])   # one, two and nine seconds
    monkeypatch.setattr(looks, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert looks.seconds_of({"a": lambda: None}, 3) == {"a": 2}


def test_the_nearest_values_are_the_nearest():
    bank = torch.tensor([[0.0], [5.0], [1.0], [9.0]])
    assert looks.nearest_values(torch.tensor([[0.4], [8.0]]), bank, 2).tolist() == [[0, 2], [3, 1]]


# ------------------------------------------------------------------- the runner and its pages

def test_a_unit_waits_for_all_that_it_needs_and_a_failure_is_the_commands(tmp_path, capsys):
    done: list[str] = []

    def one(unit: Unit, place: Place) -> dict:
        done.append(unit.case)
        if unit.case == "bad":
            raise UserError("no such thing")
        return {"result": {}}

    good, bad = (Unit("x", case, 0, {}, one, 1) for case in ("good", "bad"))
    both = Unit("x", "both", 0, {}, one, 1, needs=(good, bad))
    after = Unit("x", "after", 0, {}, one, 1, needs=(good,))
    assert not reproduce.run([good, both, bad, after], Place(tmp_path), math.inf)
    assert done == ["good", "bad", "after"]
    assert "1 units wait for some that failed (x/both-0 ...)" in capsys.readouterr().out
    assert reproduce.run([good, after], Place(tmp_path), math.inf) and len(done) == 3


def test_nothing_is_begun_after_the_minutes_or_a_signal(tmp_path):
    begun: list[Unit] = []
    unit = Unit("x", "one", 0, {}, lambda unit, place: (begun.append(unit), {"result": {}})[1], 1)
    assert reproduce.run([unit], Place(tmp_path), -1)
    assert reproduce.run([unit], Place(tmp_path, asked=[signal.SIGTERM]), math.inf)
    assert not begun and reproduce.run([unit], Place(tmp_path), math.inf) and begun == [unit]


def test_toy_numbers_never_come_among_the_real_ones(capsys):
    for more in ([], ["--out", str(units.RESULTS)], ["--device", "cuda"]):
        with pytest.raises(SystemExit) as stopped:
            reproduce.main(["list", "C1", "--toy", *more])
        assert stopped.value.code == 2 and "--toy needs --out DIR" in capsys.readouterr().err


def test_numbers_of_a_gpu_lie_in_a_folder_of_their_own(monkeypatch, tmp_path):
    places = []
    monkeypatch.setattr(reproduce, "show_list", lambda found, place: places.append(place.out))
    reproduce.main(["list", "C1"])
    reproduce.main(["list", "C1", "--device", "cuda"])
    reproduce.main(["list", "C1", "--device", "cuda", "--out", str(tmp_path)])
    assert places == [units.RESULTS, units.RESULTS / "gpu", tmp_path.resolve()]


def test_on_a_gpu_fp32_is_computed_in_fp32(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(reproduce, "choose_device", torch.device)
    seen = []
    monkeypatch.setattr(reproduce, "run", lambda found, place, minutes: not seen.append(
        (place.device.type, torch.backends.cudnn.allow_tf32)))
    monkeypatch.setattr(reproduce, "stop_gently", lambda place: None)
    monkeypatch.setattr(reproduce, "keep_memory", lambda: None)
    reproduce.main(["run", "C1", "--device", "cuda", "--out", str(tmp_path)])
    assert seen == [("cuda", False)]


def test_the_second_ctrl_c_ends_at_once(monkeypatch, tmp_path, capsys):
    heard = {}
    monkeypatch.setattr(reproduce, "on_signals", heard.update)
    place = Place(tmp_path)
    reproduce.stop_gently(place)
    heard[signal.SIGINT](signal.SIGINT, None)
    assert place.asked == [signal.SIGINT] and "once more" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        heard[signal.SIGTERM](signal.SIGTERM, None)


def test_only_the_published_results_are_written_into_the_guide(place, monkeypatch):
    folders = []
    monkeypatch.setattr(reproduce, "fill", lambda folder, *more: folders.append(folder))
    reproduce.write_pages(place)
    assert set(folders) == {place.out}


def test_the_largest_effects_come_first_and_only_those_that_are_sure(place):
    compared(place, "no LRN", UP)
    compared(place, "one column, half the maps", tuple(2 * one for one in UP))
    compared(place, "no colour noise", (0.3, -0.2, 0.3, -0.1, 0.2))   # a mean of ten, but anything
    compared(place, "biases 0", UP)
    place.file(ablations.case_unit("biases 0", 1)).unlink()
    place.file(ablations.case_unit("biases 0", 2)).unlink()           # one pair has no interval
    names = [name for name, _ in reproduce.effects(place)]
    assert names == ["no colour noise", "one column, half the maps", "no LRN"]
    said = reproduce.in_short(place, dict.fromkeys(CLAIMS, claims.Finding(term("no"), NOT_RUN)))[1].en
    assert f"{named('one column, half the maps').en} +4.2; {named('no LRN').en} +2.1" in said
    assert named("no colour noise").en not in said


def test_comparisons_are_adjusted_by_holm_without_the_failed_start(place):
    """Three are below 0.05: p of 0.0003, 0.009 and 0.027, times 6, 5 and 4."""
    shape = np.array([-1.0, 1.0, 0.0])   # of standard deviation 1
    for name, t in (("no dropout", 100), ("fc biases 0, no dropout", 0), ("rate 0.005", 10.47),
                    ("no crops", 0), ("biases 0", 60), ("constant rate", 6)):
        compared(place, name, tuple(0.001 * (shape + t / 3 ** 0.5)))
    kept = reproduce.listed(map(named, ("rate 0.005", "biases 0")))
    assert reproduce.comparisons(place) == [
        reproduce.text("results.comparisons", 6, 5, 3, 2, kept, 1, named("constant rate"))]


def test_averages_show_the_lowest_and_the_highest_error_of_all_choices(place):
    for seed, right in enumerate(([0.9, 0.9], [0.9, 0.1], [0.2, 0.1])):
        entered(place, ablations.case_unit("base", seed), 0.2, classes=2,
                labels=ablations.as_text(np.zeros(2)),
                probabilities=ablations.as_text(np.array([[one, 1 - one] for one in right])))
    rows = [line.en for line in reproduce.average_lines(place) if getattr(line, "en", "").startswith("| 1")]
    assert rows == ["| 1 | 3 | 50.00% | 0.00% | 100.00% |"]


def test_hours_are_those_of_all_runs(place):
    for seed in range(2):
        unit = ablations.case_unit("base", seed)
        entered(place, unit, 0.2)
        write_json(place.file(unit), {**place.found(unit), "seconds": 9000.0})
    assert TEXTS["results"]["hours"][0].partition("{}")[0] in reproduce.hours(place)[0].en
    assert re.search(r"\b5(\.0)? hours", reproduce.hours(place)[0].en)


def test_the_published_pages_are_those_that_the_json_files_make(tmp_path, monkeypatch):
    """But those that stand by themselves, which test_benchmark.py makes anew."""
    for name in ("changes", "curves", "effects", "learning_curves", "overfitting"):
        monkeypatch.setattr(plots, name, lambda *given, **more: None)
    monkeypatch.setattr(what_breaks_it, "draw", lambda place, out: True)
    pages = [path for path in (*units.RESULTS.glob("*.*"), *units.RESULTS.glob("*/*.*"))
             if path.suffix in (".md", ".png")]
    (tmp_path / "experiments").symlink_to(units.RESULTS / "experiments")
    for path in pages:
        (copy := tmp_path / path.relative_to(units.RESULTS)).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    reproduce.write_pages(Place(tmp_path))
    names = [path.relative_to(units.RESULTS) for path in pages if path.suffix == ".md"]
    different = [str(name) for name in names if
                 (units.RESULTS / name).read_text("utf-8") != (tmp_path / name).read_text("utf-8")]
    assert not different, "python -m results.reproduce table"


# ------------------------------------------------------------------- what others do

def test_a_tally_counts_images_not_batches():
    tally = peers.Tally()
    tally.add(torch.tensor(1.0), torch.tensor([[0.0, 1.0]] * 3), torch.tensor([1, 1, 0]))
    tally.add(torch.tensor(5.0), torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    assert tally.mean_loss == pytest.approx(2.0) and tally.error == 0.5   # (3 x 1 + 5) / 4


def test_a_step_begins_without_the_gradients_of_the_last_and_smooths_labels():
    network = nn.Linear(3, 4)
    sgd = torch.optim.SGD(network.parameters(), 1.0)
    before, images, labels = network.weight.detach().clone(), torch.eye(3), torch.tensor([0, 1, 2])
    network.weight.grad = torch.full((4, 3), 100.0)
    loss, logits = peers.step(network, sgd, images, labels, smoothing=0.1)
    expected = (0.9 + 0.1 / 4) * nn.functional.nll_loss(logits.log_softmax(1), labels) - (0.1 / 4) * (
        logits.log_softmax(1).sum(1) - logits.log_softmax(1)[range(3), labels]).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (network.weight - before).abs().max() < 1


def test_the_other_side_has_the_recipe_of_pytorch_examples(tmp_path):
    group = peers.examples_sgd(nn.Linear(1, 1)).param_groups[0]
    recipe = [group[name] for name in ("lr", "momentum", "weight_decay", "nesterov")]
    assert recipe == [0.01, 0.9, 1e-4, False]
    folder = make_folder(tmp_path, {"a": 4, "b": 4})
    training, validation = (peers.imagefolder(folder, 224, 8, 0, train) for train in (True, False))
    assert [type(view).__name__ for view in training.dataset.transform.transforms] == [
        "RandomResizedCrop", "RandomHorizontalFlip", "ToTensor", "Normalize"]
    resize, crop, *_ = validation.dataset.transform.transforms
    assert (resize.size, crop.size) == (256, (224, 224))
    assert next(iter(validation))[1].tolist() == [0] * 4 + [1] * 4
    torch.manual_seed(0)
    assert next(iter(training))[1].tolist() != [0] * 4 + [1] * 4


def test_a_run_whose_loss_was_no_number_after_an_epoch_or_in_the_first_leaves_the_other_verdicts(place):
    """C17 and C20, whose numbers come from the curve, and C17 in sixty epochs with its figure."""
    for name in ("no dropout", "fc biases 0, no dropout", "biases 0"):
        compared(place, name, UP)
        for unit in ablations.units_of(name):
            rows = [{"epoch": epoch, "train_top1_error": 0.4, "train_loss": 2.0} for epoch in (1, 2, 3)]
            other = ablations.case_unit(ablations.CASES[name].against, unit.seed)
            with_curve(place, other, rows)
            ended = (1 if name == "biases 0" else 0) if unit.seed == 0 else 3
            with_curve(place, unit, rows[:ended])
    assert CLAIMS["C17"].finding(place).verdict.en.startswith(NOT_HERE.en)
    assert CLAIMS["C20"].finding(place).verdict == NOT_HERE
    for seed in range(3):
        for case in ("biases 0.1", again.WITHOUT_DROPOUT):
            unit = longer.SIXTY.unit(case, seed)
            entered(place, unit, 0.3)
            with_curve(place, unit, [
                {"epoch": epoch, "train_top1_error": 0.4, "val_top1_error": 0.3, "val_loss": 1.0, "lr": 0.01}
                for epoch in (1, 2) if seed or case != "biases 0.1"])
    again.lines(place, {name: claims.Finding(term("x"), NOT_RUN) for name in CLAIMS})
    longer.draw(place)
    assert (place.out / "overfitting.png").exists()


def test_no_page_compares_bf16_with_fp32(place):
    for case, precision in (modern.OLD, "torch.bfloat16"), (modern.NEW, "torch.float32"):
        for unit in modern.finals(case):
            entered(place, unit, 0.3, precision=precision)
    for unit in balance.units():
        entered(place, unit, 0, errors=[0.3] * 10,
                precision="torch.bfloat16" if unit.case == "plain" else "torch.float32")
    for name in cifar_nets.RATES:
        for unit in cifar_nets.race_units(name):
            entered(place, unit, 0, rate=0.01, reached=True, epochs=4.0, at_the_edge=False,
                    precision="torch.bfloat16" if name == "tanh" else "torch.float32")
    for name, precision in ("without", "torch.bfloat16"), ("with LRN", "torch.float32"):
        for unit in cifar_nets.norm_units(name, cifar_nets.LONGER):
            entered(place, unit, 0.3, precision=precision)
            with_curve(place, unit, [{"train_top1_error": 0.1}])
    for name, precision in ("2012", "torch.bfloat16"), ("Nesterov momentum", "torch.float32"):
        for unit in modern.attempts(name):
            entered(place, unit, 0, error=0.3, precision=precision)
    for name, precision in (base_result.OURS, "torch.bfloat16"), (base_result.THEIRS, "torch.float32"):
        for unit in base_result.side(name):
            entered(place, unit, 0.3, precision=precision)
    for page in (lambda: modern.final_lines(place), lambda: balance.report(place),
                 lambda: modern.decisions(place), lambda: base_result.in_short(place),
                 lambda: CLAIMS["C8"].finding(place), lambda: claims.lrn_on_cifar(place, cifar_nets.LONGER)):
        with pytest.raises(UserError, match="which it is compared with, in"):
            page()
