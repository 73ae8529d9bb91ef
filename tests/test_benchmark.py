"""The benchmark compares what it says, and its report says what was measured."""

from __future__ import annotations

import io
import math
import multiprocessing
import re
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import AlexNet, demo
from alexnet.files import UserError, read_json, write_csv, write_json
from alexnet.geometry import sizes
from alexnet.pack import Pack
from conftest import make_folder
from results import balance, benchmark, benchmark_page, faults, fine_tuning, peers, units
from results.benchmark import Section, Side
from results.units import Place

CPU = torch.device("cpu")


def test_the_peers_are_alexnets():
    with torch.device("meta"):
        counts = {name: sum(parameter.numel() for parameter in form.build().parameters())
                  for name, form in benchmark.forms(CPU).items()}
        assert benchmark.textbook()(torch.empty(2, 3, 224, 224)).shape == (2, 1000)
    for name, count in counts.items():
        assert count == (61_100_840 if name.startswith("torchvision") else 60_965_224), name
    assert next(iter(counts)).startswith("ours")


def test_a_training_step_is_three_forwards_less_what_conv1_need_not_do():
    assert benchmark.training_operations(AlexNet()) == 2 * (3 * 724_406_816 - 105_415_200)


def test_ratios_and_rates_are_those_of_the_same_work():
    section = Section("title", "images/s")
    sides = [Side("ours", lambda: time.sleep(0.01), 10), Side("slow", lambda: time.sleep(0.04), 20)]
    section.compare(sides, CPU, 3)
    assert section.rows[0]["ratio"] == 1 and section.ratio("slow") == pytest.approx(2, rel=0.3)
    assert 600 < section.rows[0]["median"] < 1010 and section.rows[1]["low"] <= section.rows[1]["median"]


def test_on_a_gpu_a_turn_is_many_short_calls_and_one_long_one():
    calls = {"short": 0, "long": 0}

    def side(name: str, seconds: float) -> Side:
        def call() -> None:
            calls[name] += 1
            time.sleep(seconds)
        return Side(name, call, wait=lambda: None)   # as if the device were another process's

    section = Section("title", "s")
    section.compare([side("short", 0.01), side("long", 0.3)], torch.device("cuda"), 2)
    assert calls["long"] == 4 and calls["short"] > 6 + 2 * 10
    assert section.ratio("long") == pytest.approx(30, rel=0.3)


def test_both_normalisations_of_the_lrn_section_agree():
    ours, theirs = (benchmark.normalisation(name, CPU, 2)() for name in ("ours", "nn.LocalResponseNorm"))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    ours, theirs = (benchmark.normalisation(name, CPU, 2)() for name in ("ours, cnorm2", "avg_pool2d, pow"))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("folder", ["", "without-bf16"])   # where bf16 is emulated, in a folder of its own
def test_a_section_writes_its_json_table_and_plot(capsys, monkeypatch, tmp_path, folder):
    monkeypatch.setattr(benchmark, "HERE", tmp_path)
    monkeypatch.setattr(benchmark, "computes_in_bf16", lambda device: not folder)

    def small(options, device):
        section = Section("A small one", "s")
        section.compare([Side("ours", lambda: None), Side("theirs", lambda: time.sleep(0.001))], device, 2)
        section.mark("ours to theirs", section.ratio("theirs"), 2)
        section.mark("an impossible one", 1, 2)
        return section

    monkeypatch.setattr(benchmark, "SECTIONS", {"small": small})
    benchmark.main(["small", "--device", "cpu"])
    content = read_json(tmp_path / folder / "small.json")
    assert [mark["reached"] for mark in content["marks"]] == [True, False]
    text = (tmp_path / "README.md").read_text()
    assert "| theirs |" in text and "an impossible one | at least 2 | 1, not reached" in text
    assert content["machine"]["torch"] == torch.__version__
    assert (tmp_path / "ratios.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        benchmark.main(["none"])


def test_the_peak_of_memory_is_the_process_own_not_that_of_who_started_it():
    held = torch.ones(600 * 2 ** 18)   # 600 MiB
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        child = pool.apply(benchmark.peak_memory, (torch.device("cpu"),))
    assert child < benchmark.peak_memory(torch.device("cpu")) - 0.5 * held.nbytes / 2 ** 30


@pytest.mark.parametrize("write, folder", [
    (lambda folder: benchmark_page.write(folder, benchmark.SECTIONS), benchmark.HERE),
    (faults.write_pages, faults.HERE),
    (fine_tuning.report, units.RESULTS / "fine-tuning"),
    (lambda folder: balance.report(Place(folder.parent)), units.RESULTS / "balance")])
def test_the_pages_come_out_of_their_command_and_the_chinese_ones_are_chinese(write, folder, tmp_path):
    (tmp_path / "experiments").symlink_to(units.RESULTS / "experiments")
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    write(copy)
    for name in ("README.md", "README.zh-CN.md"):
        text = (copy / name).read_text("utf-8")
        assert text == (folder / name).read_text("utf-8")
    prose = re.sub(r"`[^`]*`|^    .*|<!--.*?-->", "", text, flags=re.MULTILINE)
    assert not re.search(r"\b(ours|with|the|loop|epochs|classes|refused|killed)\b", prose)


@pytest.mark.parametrize("kind", faults.KINDS)
def test_each_damage_changes_an_image_of_each_format_and_an_announced_size_is_read_as_that(kind):
    data = io.BytesIO()
    demo.draw(("train", 0)).resize((160, 120)).save(data, kind)
    whole = data.getvalue()
    for damage in faults.IMAGE_DAMAGES:
        assert damage(whole, np.random.default_rng(0)) != whole, damage
    huge = io.BytesIO(faults.said_to_be_huge(whole, np.random.default_rng(0)))
    Image.MAX_IMAGE_PIXELS, before = None, Image.MAX_IMAGE_PIXELS
    try:
        assert min(Image.open(huge).size) > 16_000
    finally:
        Image.MAX_IMAGE_PIXELS = before


@pytest.mark.parametrize("value, at_most, reached", [
    (2.0, False, True), (1.9, False, False), (2.0, True, True), (2.1, True, False)])
def test_a_target_is_reached_from_its_own_side(value, at_most, reached):
    section = Section("title", "s")
    section.mark("x", value, 2.0, at_most)
    mark, = section.marks
    assert (mark["value"], mark["wanted"], mark["at_most"], mark["reached"]) == (value, 2, at_most, reached)


class Timed(Side):
    """Takes the seconds that it is told, round by round."""

    def __init__(self, name: str, seconds: list[float], work: float = 1.0) -> None:
        super().__init__(name, lambda: None, work)
        self.told = iter([0.0, *seconds])   # the first warms up

    def seconds(self, times: int, device: torch.device) -> float:
        return next(self.told)


@pytest.mark.parametrize("unit, ours, theirs", [
    ("s", (2, 1, 10), (0.5, 0.5, 2.5)), ("images/s", (0.5, 0.1, 1), (2, 0.4, 2))])
def test_a_ratio_is_the_median_of_those_of_the_same_round(unit, ours, theirs):
    section = Section("title", unit)
    section.compare([Timed("ours", [1, 10, 2]), Timed("theirs", [2, 10, 2], 4)], CPU, 3)
    assert [(row["median"], row["low"], row["high"]) for row in section.rows] == [ours, theirs]
    assert section.ratio("theirs") == 0.25   # of 0.5, 0.25 and 0.25; the medians' would be the same
    section.compare([Timed("ours", [1, 10, 2]), Timed("theirs", [4, 5, 12])], CPU, 3, "other")
    assert section.ratio("theirs", "other") == 4   # of 4, 0.5 and 6; the medians' is 2.5


def test_of_a_profile_the_first_round_only_warms_up_and_shares_make_one():
    rounds = [{"a": (100.0, 100.0, 1.0), "b": (9.0, 0.0, 0.0)}, {"a": (1.0, 2.0, 1.5), "b": (1.0, 0.0, 0.1)},
              {"a": (3.0, 2.0, 1.5), "b": (1.0, 0.0, 0.1)}]
    a, b, both = benchmark.shares(rounds)
    assert a == {"name": "a", "forward": 2, "backward": 2, "share": 0.8, "limit": 1.5, "of_limit": 0.375}
    assert (b["share"], b["of_limit"]) == (0.2, 0.1) and (both["share"], both["limit"]) == (1, 1.6)


def test_rates_count_a_multiply_add_as_two_and_a_copy_as_read_and_written(monkeypatch):
    monkeypatch.setattr(benchmark, "timed", lambda function, device: (1.0, None))   # all take a second
    assert benchmark.matmul_rate(CPU, torch.float32) == 2 * 128 ** 3     # and more than half a second ends it
    monkeypatch.setattr(torch, "zeros", lambda count, device: torch.empty(count, device="meta"))
    assert benchmark.copy_rate(CPU) == 2 * 4 * 2 ** 26


def test_the_limit_of_a_layer_is_that_of_its_operations_and_conv1_sends_no_gradient_back():
    """At a rate of one multiply-add a second and copies that take no time."""
    model = AlexNet(1000, 64, hidden=16, widths=(8,) * 5)
    images = torch.zeros(3, 3, 64, 64)
    sgd = benchmark.ours_sgd(model, 1e-4)
    found = benchmark.timed_layers(model, sgd, images, torch.float32, 2.0, math.inf)
    layers = sizes(model)
    assert found["conv1"][2] == pytest.approx(2 * 3 * layers["conv1"].multiply_adds)
    assert found["conv2"][2] == pytest.approx(3 * 3 * layers["conv2"].multiply_adds)
    assert found["relu1"][2] == found["SGD"][2] == 0


@pytest.mark.parametrize("best", [torch.bfloat16, torch.float32])
def test_every_form_computes_in_what_its_name_says(monkeypatch, best):
    monkeypatch.setattr(benchmark, "choose_precision", lambda asked, device: best)
    found = benchmark.forms(CPU)
    assert list(found)[0] == f"ours, as-trained, {benchmark.short(best)}"
    assert len(found) == (4 if best == torch.float32 else 6)
    for name, form in found.items():
        assert form.dtype == (torch.bfloat16 if "bf16" in name else torch.float32), name
        assert form.ours == name.startswith("ours")
        assert form.channels_last == (form.ours or "channels_last" in name)


def test_the_textbook_network_has_the_papers_constants():
    with torch.device("meta"):
        network = benchmark.textbook()
    norms = [layer for layer in network if isinstance(layer, torch.nn.LocalResponseNorm)]
    assert [(norm.size, norm.k, norm.alpha, norm.beta) for norm in norms] == [(5, 2, 1e-4, 0.75)] * 2


def test_memory_is_kept_by_ours_and_by_the_peer_whose_name_says_so(monkeypatch):
    kept = []
    monkeypatch.setattr(benchmark, "keep_memory", lambda: kept.append(name))
    for name in ("ours", "nn.LocalResponseNorm", "nn.LocalResponseNorm, memory kept", "ours, cnorm2",
                 "avg_pool2d, pow"):
        benchmark.normalisation(name, CPU, 1)
    assert kept == ["ours", "nn.LocalResponseNorm, memory kept", "ours, cnorm2"]


def test_what_input_costs_is_what_is_lost_of_the_ready_batchs_rate(monkeypatch):
    """0.98 of the seconds with a ready batch, so 2% of the throughput; and who waits."""
    monkeypatch.setattr(benchmark, "AlexNet", lambda classes, size: AlexNet(
        classes, size, hidden=16, widths=(8,) * 5))
    section = Section("title", "images/s")

    def compare(sides: list[Side], device: torch.device, rounds: int, about: str) -> None:
        assert [side.work for side in sides] == [6, 6]
        for side in [sides[0]] * 2 + [sides[1]]:   # warms up, and measures
            side.call()
        section.rows += [{"name": side.name, "about": about, "ratio": ratio}
                         for side, ratio in zip(sides, (1, 0.98))]

    monkeypatch.setattr(section, "compare", compare)
    images, labels = {"train": np.zeros((6, 72, 72, 3), np.uint8)}, {"train": np.arange(6) % 2}
    pack = Pack(None, "x", ["a", "b"], 64, images, labels,
                np.zeros((72, 72, 3), np.float32), np.eye(3), [], [], "", None, {})
    benchmark.cost_of_input(section, pack, 4, 64, CPU, 1)
    waiting, lost = section.marks
    assert lost["value"] == pytest.approx(0.02) and lost["at_most"] and lost["reached"]
    assert 0 <= waiting["value"] < 1 and waiting["at_most"]


@pytest.mark.parametrize("errors, expected", [([0.5, 0.4, 0.3], (2, True)), ([0.6] * 50, (40, False))])
def test_the_time_to_accuracy_ends_with_the_first_epoch_that_has_it_or_the_fortieth(monkeypatch, tmp_path,
                                                                                   errors, expected):
    monkeypatch.setattr(benchmark, "in_own_process", lambda *given: (
        (10.0 * number, error) for number, error in enumerate(errors, 1)))
    options = SimpleNamespace(data=tmp_path, keep=lambda section: None)
    section = benchmark.accuracy(options, CPU)
    for row in section.rows:
        assert (len(row["curve"]), row["reached"]) == expected
        assert row["median"] == 10.0 * expected[0] and row["ratio"] == 1


def test_the_peer_of_the_time_to_accuracy_is_measured_on_all_validation_images(monkeypatch, tmp_path):
    folder = make_folder(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 3})
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 2))
    torch.nn.init.zeros_(network[1].weight)
    with torch.no_grad():
        network[1].bias.copy_(torch.tensor([9.0, 0.0]))
    monkeypatch.setattr(benchmark.torchvision.models, "alexnet", lambda num_classes: network)
    monkeypatch.setattr(benchmark, "usual_step", lambda *given: None)
    monkeypatch.setattr(benchmark, "imagefolder", lambda folder, size, batch, workers, train: (
        peers.imagefolder(folder, size, batch, 0, train)))
    epochs = benchmark.examples_by_epoch(folder, 64, CPU)
    assert [next(epochs), next(epochs)] == [1, 0.75]


def test_the_peak_of_memory_is_in_gib():
    assert 0.05 < benchmark.peak_memory(CPU) < 64


def test_a_page_says_of_a_target_which_side_it_is_to_be_on(tmp_path):
    row = {"name": "ours", "about": "", "median": 200.0, "low": 1.5, "high": 250.0, "rounds": 3, "ratio": 1.0}
    content = {"title": "A small one", "unit": "s", "command": "small", "date": "2026-01-01", "remarks": [],
               "rows": [row],
               "machine": {"cores": 2, "instructions": "x", "device": "cpu", "torch": "2"},
               "marks": [{"what": "a", "value": 1.0, "wanted": 2, "at_most": True, "reached": True},
                         {"what": "b", "value": 1.0, "wanted": 2, "at_most": False, "reached": False}]}
    lines = [getattr(line, "en", line) for line in benchmark_page.section_lines(content)]
    assert "| a | at most 2 | 1 |" in lines and "| b | at least 2 | 1, not reached |" in lines
    assert "| ours | 200 | 1.5 to 250 | 1.00 |" in lines


def test_the_figure_shows_those_that_are_faster_than_ours_too(tmp_path, monkeypatch):
    rows = [{"name": name, "about": "", "median": 1.0, "low": 1.0, "high": 1.0, "rounds": 3, "ratio": ratio}
            for name, ratio in (("ours", 1), ("faster", 0.5), ("slower", 2.0))]
    write_json(tmp_path / "step.json", {
        "title": "A step", "unit": "s", "command": "step", "date": "2026-01-01", "remarks": [], "marks": [],
        "rows": rows, "machine": {"cores": 2, "instructions": "x", "device": "cpu", "torch": "2"}})
    drawn = []
    monkeypatch.setattr(benchmark_page.plots, "ratios", lambda bars, path, title: drawn.extend(bars))
    benchmark_page.write(tmp_path, ["step"])
    assert [bar[1:] for bar in drawn] == [("faster", 0.5), ("slower", 2.0)]


# ------------------------------------------------------------------- faults.py notices what it looks for

def a_run(folder: Path, **changes: float) -> Path:
    """The files of a run that has ended, as faults.py compares them."""
    folder.mkdir()
    for name in ("last.pt", "best.pt"):
        momentum = {"momentum_buffer": torch.tensor(changes.get("momentum", 1.0))}
        torch.save({"model": {"weight": torch.tensor(changes.get(name, 1.0))},
                    "optimizer": {"state": {0: momentum}}}, folder / name)
    more = {"train_loss": changes.get("loss", 1.0), "seconds": changes.get("seconds", 1.0)}
    write_csv(folder / "metrics.csv", [{"epoch": epoch, **more} for epoch in (1, 2)])
    return folder


def test_two_runs_end_alike_only_if_both_checkpoints_momentum_and_rows_do(tmp_path):
    one = a_run(tmp_path / "one")
    assert faults.same_end(one, a_run(tmp_path / "two", seconds=2.0)) == ""
    for change, said in (("last.pt", "last.pt weight"), ("best.pt", "best.pt weight"),
                         ("loss", "metrics.csv"), ("momentum", "momentum 0, momentum 0")):
        assert faults.same_end(one, a_run(tmp_path / change, **{change: 2.0})) == said


@pytest.mark.parametrize("epochs, whole", [
    ((1, 2, 3), True), ((1, 3), False), ((1, 2, 2), False), ((2, 3), False)])
def test_a_run_is_whole_only_if_each_epoch_is_there_once(tmp_path, epochs, whole):
    trials = faults.Trials(tmp_path, 0, 1.0)
    (tmp_path / "run").mkdir()
    write_csv(tmp_path / "run" / "metrics.csv", [{"epoch": epoch} for epoch in epochs])
    assert faults.all_whole(trials, tmp_path / "run") == whole and bool(trials.wrong) != whole
    (tmp_path / "run" / "config.json").write_text("{")
    assert not faults.all_whole(trials, tmp_path / "run")


def test_packs_are_equal_only_with_equal_images_and_labels():
    def made(image: int = 0, label: int = 0) -> Pack:
        images, labels = {"train": np.array([image])}, {"train": np.array([label])}
        return Pack(None, "x", ["a"], 1, images, labels, np.zeros(1), np.eye(3), [], [], "", None, {})

    assert faults.equal(made(), made())
    assert not faults.equal(made(), made(image=1)) and not faults.equal(made(), made(label=1))


def test_a_write_that_harms_what_was_there_or_leaves_something_behind_is_noticed(tmp_path):
    def trial(call, half: bool = False) -> bool:
        folder = tmp_path / "disk"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "there").write_text("as it was")
        write = faults.Write(lambda: call(folder), folder / "there")
        return faults.refused(faults.Trials(tmp_path, 0, 1.0), "x", write, folder,
                              "a limit on the size of files", half)

    def full(folder: Path) -> None:
        raise UserError("cannot write x: no space")

    def harms(folder: Path) -> None:
        (folder / "there").unlink()
        full(folder)

    def leaves(folder: Path) -> None:
        (folder / ".there.part").touch()
        full(folder)

    def other(folder: Path) -> None:
        raise OSError("no space")

    assert trial(full) and not trial(harms) and not trial(leaves) and not trial(other)
    # half of the space may be enough, none is not
    assert trial(lambda folder: None, half=True) and not trial(lambda folder: None)


@pytest.mark.parametrize("part, rows, wrong, status", [
    (1, 1, [], 0), (1, 0, [], 1), (1, 1, ["something"], 1), (0.02, 1, [], 0)])
def test_only_whole_trials_are_kept_and_a_wrong_one_is_the_commands_failure(tmp_path, monkeypatch, part,
                                                                           rows, wrong, status):
    def section(trials: faults.Trials) -> None:
        trials.row("what", 1, rows, "seen")
        trials.wrong += wrong

    written = []
    monkeypatch.setattr(faults, "SECTIONS", {"small": section})
    monkeypatch.setattr(faults, "HERE", tmp_path)
    monkeypatch.setattr(faults, "write_pages", lambda: written.append(1))
    with pytest.raises(SystemExit) as ended:
        faults.main(["small", "--part", str(part)])
    assert ended.value.code == status
    assert (tmp_path / "small.json").exists() == bool(written) == (part == 1)
    if part == 1:
        content = read_json(tmp_path / "small.json")
        assert content["wrong"] == wrong and content["rows"][0]["right"] == rows
