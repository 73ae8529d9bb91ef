"""The benchmark compares what it says, and its report says what was measured."""

from __future__ import annotations

import io
import multiprocessing
import re
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import AlexNet, demo
from alexnet.files import read_json
from results import balance, benchmark, benchmark_page, faults, fine_tuning, units
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
