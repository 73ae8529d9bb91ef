"""alexnet.interpret and alexnet_visualization.py: what is shown is what the network does."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from torch import nn

import alexnet_visualization
from alexnet import AlexNet, checkpoint, figure_words, figures, fonts, interpret, load
from alexnet.augment import as_batch
from alexnet.captions import KINDS
from alexnet.pack import packed
from alexnet.sources import find_source
from alexnet.geometry import sizes, step_of
from alexnet.model import VARIANTS
from alexnet.subject import Inputs, Network
from browser import PROGRAM, Browser
from conftest import make_folder, run_main, save_picture


def small(variant: str = "as-trained", classes: int = 4, size: int = 64, **changes) -> AlexNet:
    """An untrained network whose answers differ from picture to picture."""
    torch.manual_seed(0)
    model = AlexNet(classes, size, variant, **{"hidden": 16, **changes})
    with torch.no_grad():
        model.fc8.weight.normal_(std=0.5)
        model.mean.fill_(120)
    return model.eval()


def pictures(count: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, side, side, 3), np.uint8)


# ------------------------------------------------------------------- what is computed

def test_colourfulness_is_0_for_grey_1_for_pure_colour_and_two_thirds_at_random():
    grey = torch.rand(1, 1, 11, 11).expand(1, 3, 11, 11)
    colour = torch.rand(1, 1, 11, 11) * torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)
    random = torch.randn(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    found = [interpret.colourfulness(kernel)[0] for kernel in (grey, colour, random)]
    assert found == pytest.approx([0, 1, 2 / 3], abs=0.01)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_agree_with_finite_differences(variant):
    model = small(variant).double()
    images = as_batch(pictures(2, 64)).double()
    targets = torch.tensor([1, 3])
    found = interpret.gradient(model.float(), images, targets)
    model.double()
    for image, target, slopes in zip(images, targets, found):
        for place in [(0, 5, 9), (1, 30, 31), (2, 50, 12)]:
            up, down = image.clone(), image.clone()
            up[place] += 1e-3
            down[place] -= 1e-3
            with torch.no_grad():
                difference = (model(up[None]) - model(down[None]))[0, target].item() / 2e-3
            assert slopes[place] == pytest.approx(difference, rel=2e-2, abs=1e-5)


def test_squares_that_do_not_fit_or_leave_pixels_out_are_refused():
    for patch, stride in ((65, 8), (8, 9), (8, 0)):
        with pytest.raises(ValueError, match="1 <= stride <= patch <= 64 must hold"):
            interpret.occlusion(small(), as_batch(pictures(1, 64))[0], 2, patch, stride)


def test_a_run_with_few_classes_has_no_curve_of_top_5_and_whole_epochs(drawn, tmp_path):
    row = {"epoch": 1, "lr": 0.1, "train_loss": 1.0, "val_loss": 1.0, "train_top1_error": 0.5, "val_top1_error": 0.5}
    for top5, curves in ((0.0, 2), (0.1, 3)):
        figures.training_curves([{**row, "epoch": epoch, "val_top5_error": top5} for epoch in (1, 2)],
                                tmp_path / "x.png", "")
        axes = drawn[-1].axes[1]
        assert len(axes.lines) == curves and all(float(tick).is_integer() for tick in axes.get_xticks())


def test_occlusion_is_the_loop_by_hand():
    model, image, patch, stride = small(), as_batch(pictures(1, 64))[0], 20, 16
    found = interpret.occlusion(model, image, 2, patch, stride)
    begins = [0, 16, 32, 44]   # the last one ends at the edge
    falls = {}
    with torch.no_grad():
        before = model(image[None]).softmax(1)[0, 2].item()
        for top in begins:
            for left in begins:
                covered = image.float().clone()
                covered[:, top:top + patch, left:left + patch] = 120
                falls[top, left] = before - model(covered[None]).softmax(1)[0, 2].item()
    for row, column in [(0, 0), (17, 18), (40, 63), (63, 63), (33, 5)]:
        over = [fall for (top, left), fall in falls.items()
                if top <= row < top + patch and left <= column < left + patch]
        assert found[row, column] == pytest.approx(np.mean(over), abs=1e-6)
    assert np.ptp(found) > 1e-4


def test_a_value_sees_its_field_and_no_pixel_more():
    model, image = small(size=96, widths=(4, 4, 4, 4, 4)).double(), as_batch(pictures(1, 96)).double()
    layer = step_of(model, "conv2")
    row, column = 4, 5
    rows, columns = interpret.field_of_view(layer, row, column, 96)
    images = image.clone().requires_grad_()
    value = model.activations(images, ["conv2"])["conv2"][0, :, row, column].sum()
    seen = torch.autograd.grad(value, images)[0][0].abs().sum(0) > 0
    outside = seen.clone()
    outside[rows, columns] = False
    assert not outside.any()
    # One pixel at a time: just inside something can change, just outside nothing does.
    with torch.no_grad():
        def changes(r, c):
            other = image.clone()
            other[0, :, r, c] = 255 - other[0, :, r, c]
            return not torch.equal(model.activations(other, ["conv2"])["conv2"][0, :, row, column],
                                   model.activations(image, ["conv2"])["conv2"][0, :, row, column])
        assert not changes(rows.start - 1, columns.start + 5) and not changes(rows.start + 5, columns.stop)
        assert any(changes(rows.start, c) for c in range(columns.start, columns.stop))


def test_the_strongest_places_are_those_of_brute_force():
    model, images = small(widths=(4, 4, 4, 4, 4)), pictures(70, 64)   # more than one batch
    found = interpret.strongest(model, images, ["conv1", "conv3"], 5)
    with torch.no_grad():
        values = model.activations(as_batch(images), ["conv1", "conv3"])
    for name, best in found.items():
        maps = values[name].numpy()
        for unit in range(maps.shape[1]):
            expected = np.sort(maps[:, unit].reshape(70, -1).max(1))[::-1][:5]
            assert best.value[unit] == pytest.approx(expected, rel=1e-5)
            there = maps[best.image[unit], unit, best.row[unit], best.column[unit]]
            assert there == pytest.approx(expected, rel=1e-5)
            assert len(set(best.image[unit].tolist())) == 5


def test_synthesis_excites_what_it_is_made_for():
    model = small()
    for name, units in (("fc8", [0, 3]), ("conv2", [5, 200])):
        made = as_batch(interpret.synthesis(model, name, units, steps=15))
        others = as_batch(pictures(20, 64))
        with torch.no_grad():
            values = model.activations(torch.cat([made, others]), [name])[name]
        if values.ndim == 4:
            values = values[:, :, values.shape[2] // 2, values.shape[3] // 2]
        for row, unit in enumerate(units):
            assert values[row, unit] > values[2:, unit].max()
            assert values[row, unit] > values[1 - row, unit]


def test_neighbours_are_those_of_brute_force(tmp_path):
    chance = np.random.default_rng(0)
    bank = chance.integers(0, 256, (300, 8, 8, 3), np.uint8)
    bank[7] = bank[250]              # of two equally near the first
    np.save(tmp_path / "bank.npy", bank)
    queries = np.concatenate([bank[[250]], chance.integers(0, 256, (4, 8, 8, 3), np.uint8)])
    flat, asked = bank.reshape(300, -1).astype(np.float64), queries.reshape(5, -1).astype(np.float64)
    distances = np.sqrt(((asked[:, None] - flat[None]) ** 2).sum(2))
    expected = distances.argsort(1, kind="stable")[:, :6]
    found, far = interpret.neighbours(queries, np.load(tmp_path / "bank.npy", mmap_mode="r"), 6, block=64)
    assert np.array_equal(found, expected)
    assert far == pytest.approx(np.take_along_axis(distances, expected, 1))
    # Far from 0 single precision would lose the differences.
    near, _ = interpret.neighbours(torch.tensor(asked) / 1e3 + 1e3, torch.tensor(flat) / 1e3 + 1e3, 6)
    assert np.array_equal(near[:, 0], expected[:, 0])


def test_the_plane_is_that_of_the_singular_values():
    values = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    values = values * torch.linspace(3, 0.1, 100) + 5
    places, shares = interpret.plane(values)
    centred = (values - values.mean(0)).double().numpy()
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    for axis in range(2):
        assert abs(places[:, axis]) == pytest.approx(abs(u[:, axis] * s[axis]), rel=1e-4, abs=1e-6)
        assert shares[axis] == pytest.approx(s[axis] ** 2 / (s ** 2).sum(), rel=1e-4)


# ------------------------------------------------------------------- health

def kinds(model: AlexNet) -> dict[str, str]:
    """What is unusual: in which layer last."""
    crops = as_batch(pictures(24, model.image_size))
    crops = crops // torch.arange(1, 5).repeat(6)[:, None, None, None]   # four classes: ever darker
    report = interpret.health(model, crops, torch.arange(4).repeat(6))
    return {kind: layer for kind, layer, _ in interpret.unusual(model, report)}


def test_health_names_what_is_wrong():
    healthy = small(bias=(0,) * 8, hidden=256, lrn="none")
    with torch.no_grad():
        healthy.fc8.weight.mul_(5)
    assert kinds(healthy) == {}
    with torch.no_grad():
        healthy.conv5.weight.mul_(1e-4)
        healthy.fc6.weight.mul_(1e4)
    assert kinds(healthy)["large gradient"] == "conv5"
    # biases of 1, untrained
    assert kinds(small()).keys() == {"same answer", "same features", "always on", "idle norm"}
    dead = small()
    nn.init.constant_(dead.fc6.bias, -1e6)
    assert {"dead", "same answer", "no gradient"} <= kinds(dead).keys()
    broken = small()
    broken.conv3.weight.data[0, 0, 0, 0] = float("nan")
    assert kinds(broken).keys() == {"not finite"}
    linear = small()
    nn.init.constant_(linear.fc7.bias, 1e4)
    assert {"always on", "same features"} <= kinds(linear).keys()
    flat = small(activation="tanh")
    with torch.no_grad():
        flat.fc6.weight.mul_(1e4)
    assert "saturated" in kinds(flat)
    idle = small()
    with torch.no_grad():
        idle.conv1.weight.mul_(1e-4)
    assert "idle norm" in kinds(idle)


def test_health_counts_dead_units_and_divisors():
    model = small()
    model.conv4.bias.data[:96] = -1e6    # a quarter of 384
    report = interpret.health(model, as_batch(pictures(8, 64)), torch.arange(8) % 4)
    layers = {layer.name: layer for layer in report.layers}
    assert layers["conv4"].dead == pytest.approx(0.25, abs=0.02)
    assert layers["conv3"].weights == pytest.approx(0.03, rel=0.02)
    with torch.no_grad():   # by hand, over all values: k^beta is the least that norm1 divides by
        x = model.activations(as_batch(pictures(8, 64)), ["conv1"])["conv1"].double().numpy()
    squares = np.stack([(x[:, max(i // 48 * 48, i - 2):min(i // 48 * 48 + 48, i + 3)] ** 2).sum(1)
                        for i in range(96)], 1)
    divisors = ((2 + 1e-4 / 5 * squares) / 2) ** 0.75
    assert report.divisors["norm1"] == pytest.approx(np.quantile(divisors, interpret.QUANTILES), rel=1e-3)


# ------------------------------------------------------------------- the script

WIDTHS = (16, 64, 48, 48, 32)   # fewer maps are drawn sooner
NETWORKS = {**{name: (name, {}) for name in VARIANTS}, "sixth": ("as-trained", {"conv6": 8})}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, a run with its checkpoint and metrics, and a picture."""
    root = tmp_path_factory.mktemp("look")
    make_folder(root / "set", {"train/disc": 8, "train/star": 8, "val/disc": 5, "val/star": 5})
    save_picture(root / "star" / "mine <&>.png", 5)
    run = root / "run"
    run.mkdir()
    for name, (variant, changes) in NETWORKS.items():
        model = small(variant, 2, widths=WIDTHS, **changes)
        model.classes = ["disc", "star"]
        checkpoint.save(root / f"{name}.pt", model, {"data": str(root / "set"), "epoch": 2})
    checkpoint.save(run / "best.pt", small(classes=2, widths=WIDTHS), {"data": str(root / "set"), "epoch": 2})
    names = ["epoch", "lr", "train_loss", "train_top1_error", "val_loss", "val_top1_error", "val_top5_error"]
    rows = [[1, 0.01, 0.7, 0.5, 0.6, 0.4, 0.0], [2, 0.001, 0.6, 0.4, 0.5, 0.3, 0.0]]
    (run / "metrics.csv").write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)])
                                     + "\n")
    return root


@pytest.fixture(autouse=True)
def coarse(monkeypatch, tmp_path):
    """Pictures of fewer pixels are drawn sooner; what has no place of its own lies in the test's."""
    monkeypatch.setattr(figures, "DPI", 25)
    monkeypatch.chdir(tmp_path)


def call(capsys, *arguments) -> tuple[int, str]:
    """Status, standard error."""
    status, _, err = run_main(alexnet_visualization.main, capsys, *arguments)
    return status, err


QUICK = ["--sample", "6", "--units", "0", "1"]


def test_everything_is_drawn_and_the_page_shows_it(place, capsys):
    picture = place / "star" / "mine <&>.png"
    status, text = call(capsys, "--model", place / "run", "--images", picture, "--out", "look", *QUICK)
    assert status == 0, text
    page = Path("look/index.html").read_text()
    on_page = [name for name in KINDS if name not in ("growing", "steps")]
    assert re.findall(r'<h2 id="(\w+)">', page) == on_page
    shown = re.findall(r'<img src="([^"]+)"', page)
    assert sorted(shown) == sorted(path.name for path in Path("look").glob("*.png")) and len(shown) > 20
    assert all(Path("look", file).read_bytes().startswith(b"\x89PNG") for file in shown)
    assert "mine &lt;&amp;&gt;" in page and "mine <" not in page and "http" not in page
    assert page.count("<figcaption>") == len(shown) and 'name="viewport"' in page


@pytest.mark.parametrize("name", NETWORKS)
def test_every_variant_shows_everything_but_a_run(place, capsys, name):
    what = [name for name in KINDS if name not in ("training", "synthesis", "growing", "steps")]
    images = ["--images", place / "star", "--layers", "conv1", "conv5", "fc7"]
    status, text = call(capsys, *what, "--model", place / f"{name}.pt", *images, "--out", "look", *QUICK)
    assert status == 0, text
    assert set(json.loads(Path("look/captions.json").read_text())["looks"]) == set(what)


def test_feature_maps_are_shown_behind_the_nonlinearity_of_each_convolution(place, capsys):
    status, text = call(capsys, "maps", "--model", place / "sixth.pt", "--images", place / "star", "--out", "look")
    assert status == 0, text
    assert {path.stem.partition("maps-1-")[2] for path in Path("look").glob("*.png")} == {
        "relu1", "relu2", "relu3", "relu4", "relu5", "relu_conv6"}


def test_the_same_inputs_give_the_same_bytes(place, capsys):
    what = ["filters", "maps", "gradient", "synthesis", "embedding", "health"]
    for out in ("one", "two"):
        call(capsys, *what, "--model", place / "run", "--images", place / "star", "--layers", "conv1",
             "--pages", "1", "--out", out, *QUICK)
    files = sorted(path.name for path in Path("one").glob("*.png"))
    assert len(files) >= 9
    assert all(Path("one", name).read_bytes() == Path("two", name).read_bytes() for name in files)


def test_all_words_in_the_pictures_are_chinese_where_that_is_asked_for(place, capsys, monkeypatch, tmp_path):
    """But names: of classes and files, layers, variants, ReLU, LRN and what has no other name in Chinese."""
    monkeypatch.setattr(figure_words, "language", "en")   # and back to it after this test
    monkeypatch.setattr(fonts, "language_drawn", lambda asked: asked)   # as if there were a font
    monkeypatch.setattr(fonts, "choose_fonts", lambda letters: ([], set()))
    drawn: list[str] = []
    write = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *arguments, **more: (
        drawn.extend(text.get_text() for text in figure.findobj(Text)), write(figure, *arguments, **more)))
    what = [name for name in KINDS if name not in ("explore", "growing", "steps")]
    for folder in (place / "run", place / "as-written.pt"):
        status, _ = call(capsys, *what, "--model", folder, "--images", place / "star", "--pages", "1",
                         "--runs", place / "run", "--out", tmp_path / "zh", "--language", "zh", *QUICK)
        assert status == 0
    mine = shutil.copytree(place / "run", tmp_path / "mine")
    call(capsys, "training", "--model", place / "run", "--runs", place / "run", mine,
         "--out", tmp_path / "zh", "--language", "zh")
    words = {word for text in drawn for word in re.findall(r"[A-Za-z]{3,}", text)}
    names = {"AlexNet", "ReLU", "LRN", "Grad", "CAM", "top", "logit", "trained", "written", "set", "run",
             "disc", "star", "mine", "conv", "relu", "norm", "mapnorm", "mathdefault"}   # the last of powers
    assert words <= names, words - names
    assert sum("\u4e00" <= letter <= "\u9fff" for text in drawn for letter in text) > 300


def test_without_a_chinese_font_the_words_in_the_pictures_are_english_and_a_line_says_so(
        place, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(figure_words, "language", "zh")
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [fonts.USUAL])
    drawn: list[str] = []
    write = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *arguments, **more: (
        drawn.extend(text.get_text() for text in figure.findobj(Text)), write(figure, *arguments, **more)))
    status, err = call(capsys, "architecture", "--model", place / "run", "--out", tmp_path / "zh",
                       "--language", "zh")
    assert status == 0 and re.fullmatch("warning: .*Chinese letters.*English.*fonts-noto-cjk.*\narch.*\n", err)
    assert any("parameters" in text for text in drawn) and "?" not in "".join(drawn)
    assert "网络结构" in (tmp_path / "zh/index.html").read_text("utf-8")   # browsers have fonts of their own


def test_a_long_title_is_wrapped_between_words_or_chinese_letters(monkeypatch):
    monkeypatch.setattr(figure_words, "language", "zh")
    title = "conv1：全部 96 个卷积核，各按自己的最大权重，11 × 11 像素（as-trained，64 像素）" * 2
    lines = fonts.wrapped(title, 4).split("\n")
    assert len(lines) > 2 and all(fonts.latin_width(line) <= 50 for line in lines)
    assert "".join(lines).replace(" ", "") == title.replace(" ", "")
    assert sum("as-trained" in line for line in lines) == 2


def test_of_the_forms_of_a_title_the_one_that_fits_all_of_it_is_taken(monkeypatch):
    monkeypatch.setattr(figure_words, "language", "zh")
    assert figure_words.worded("epoch 36: 26.8%") == "第 36 轮：26.8%"
    assert figure_words.worded("epoch 0") == "第 0 轮"
    assert (figure_words.worded("gradcam: 3 things\nunit 7") == "gradcam: 3 things\n神经元 7")
    monkeypatch.setattr(figure_words, "language", "en")
    assert figure_words.worded("epoch 36: 26.8%") == "epoch 36: 26.8%"


def test_a_second_call_adds_to_the_page_and_another_model_starts_anew(place, capsys):
    def looks() -> list[str]:
        return re.findall(r'<h2 id="(\w+)">', Path("look/index.html").read_text())
    call(capsys, "architecture", "--model", place / "run", "--out", "look")
    call(capsys, "training", "--model", place / "run", "--out", "look", "--language", "zh")
    assert looks() == ["architecture", "training"]
    assert "网络结构" in Path("look/index.html").read_text()
    call(capsys, "architecture", "--model", place / "caffe.pt", "--out", "look")
    assert looks() == ["architecture"]


def test_all_kernels_appear_on_all_pages(place, capsys, monkeypatch):
    numbers: list[int] = []
    monkeypatch.setattr(figures, "kernel_page",
                        lambda kernels, which, path, title: numbers.extend(which))
    call(capsys, "filters", "--model", place / "run", "--out", "look", "--pages", "all")
    counts = {number: numbers.count(number) for number in numbers}
    assert sorted(counts) == list(range(64))
    assert [counts[number] for number in (0, 31, 32, 47, 48)] == [4, 4, 3, 3, 1]   # of 64, 48, 48 and 32


@pytest.mark.parametrize("arguments, said", [
    (["nonsense"], "there is nothing called nonsense to look at; there is predictions, maps"),
    (["."], "nothing called . to look at (is --model or --images . meant?)"),
    (["maps", "--images", "photo-cat.png", "filters"], "filters stands behind --images, so it counts as a picture"),
    (["maps", "--layers", "conv9"], "no step is called conv9; there is conv1, norm1"),
    (["gradient", "--class", "cow"], "the network has no class cow; there is disc, star"),
    (["patches", "--units", "16", "--layers", "conv1"], "there is no unit 16 in a layer of 16 (0 to 15)"),
    (["maps", "--images", "nowhere.png"], "no picture could be read in nowhere.png"),
    (["neighbours", "--data", "nowhere"], "--data nowhere: there is no such folder"),
    (["training", "--runs", "nowhere"], "there is no nowhere/metrics.csv"),
    (["filters", "--pages", "0"], "--pages takes a number from 1 on, or all, not 0"),
    (["architecture", "--model", "nowhere.pt"], "there is no checkpoint nowhere.pt"),
])
def test_mistakes_get_one_line(place, capsys, arguments, said):
    model = [] if "--model" in arguments else ["--model", place / "as-trained.pt"]
    status, text = call(capsys, *arguments, *model, "--out", "look")
    assert status == 2 and said in text.splitlines()[-1]
    assert "Traceback" not in text


def test_without_data_the_rest_is_drawn(place, capsys, tmp_path):
    model = small(classes=2, widths=WIDTHS)
    checkpoint.save(tmp_path / "alone.pt", model, {"data": "/gone", "epoch": 1})
    status, text = call(capsys, "--model", "alone.pt", "--images", place / "star", "--out", "look", *QUICK)
    assert status == 0 and "without training pictures" in text
    drawn = set(json.loads(Path("look/captions.json").read_text())["looks"])
    assert drawn == set(KINDS) - {"neighbours", "patches", "embedding", "health", "training", "growing",
                                  "steps"}


def test_a_sample_has_its_share_of_every_class_whatever_their_order(place):
    inputs = Inputs(Network(str(place / "as-trained.pt"), "cpu"), None, None, None)
    for labels in (np.arange(1000) % 10, np.arange(1000) // 100):
        inputs.pack = replace(inputs.pack, images={"train": pictures(1000, 73)}, labels={"train": labels})
        for most in (500, 250, 33, 0):
            images, chosen = inputs.part("train", most)
            counts = np.bincount(chosen, minlength=10)
            assert len(images) == len(chosen) == (most or 1000) and np.ptp(counts) <= 1
            assert np.array_equal(images[5], inputs.pack.images["train"][images.chosen[5], 4:68, 4:68])


def test_neighbours_leave_the_query_itself_out(place, capsys, monkeypatch):
    rows: list = []
    monkeypatch.setattr(figures, "neighbour_rows",
                        lambda entries, path, title: rows.append(entries))
    source = packed(find_source(str(place / "set")), 64)
    assert len(source.images["train"]) == 16
    call(capsys, "neighbours", "--model", place / "as-trained.pt",
         "--images", place / "set" / "train" / "star" / "3.png", "--out", "look")
    for (entry,) in rows:   # fc7, pixels
        assert len(entry.near) == 6
        assert all(not np.array_equal(image, entry.query) for image, _, _ in entry.near)
        assert all((name.split("\n")[0] == "star") == same for _, name, same in entry.near)


def test_kernels_that_were_kept_become_an_animation_of_less_than_twelve_pictures(place, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    status, said = call(capsys, "growing", "--model", run)
    assert status == 2 and "--keep-filters" in said
    chance = np.random.default_rng(0)
    for epoch in range(30):
        (run / "filters").mkdir(exist_ok=True)
        kernels = chance.normal(size=(96, 3, 11, 11)).astype(np.float16)
        np.save(run / "filters" / f"epoch-{epoch:03}.npy", kernels)
    assert call(capsys, "growing", "--model", run)[0] == 0
    with Image.open(run / "inside" / "growing.webp") as film:
        assert film.n_frames == 9   # epochs 0, 1, 2, 3, 5, 8, 13, 21 and the last
        first = np.asarray(film.convert("RGB"), int)
        film.seek(8)
        assert np.abs(np.asarray(film.convert("RGB"), int) - first).mean() > 1


# ------------------------------------------------------------------- what the pictures promise

@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, in turn."""
    saved: list = []
    monkeypatch.setattr(figures, "save", lambda figure, path, title="": saved.append(figure))
    return saved


def test_kernels_stand_on_their_own_scale_and_on_a_common_one(drawn, tmp_path):
    kernels = np.zeros((96, 3, 11, 11))
    kernels[:, 0, 0, 0] = np.arange(1, 97)
    figures.first_kernels(kernels, 2, tmp_path / "x.png", "")
    first = [axes.images[0].get_array()[0, 0, 0] for axes in drawn[0].axes]   # own, common; below, column 2
    assert first == pytest.approx([1, 0.5 + 0.5 / 96, 1, 0.5 + 24.5 / 96])


def health_figure(drawn, gradients: list[float]):
    layers = [interpret.LayerHealth(name, 0.25, 0.0, np.arange(5), 0.0, 0.1, gradient)
              for name, gradient in zip(("conv1", "fc7", "fc8"), gradients)]
    figures.health(layers, {}, [], None, "")
    return drawn[-1].axes


def test_health_draws_no_point_for_a_gradient_of_zero(drawn):
    _, _, sizes, ratio, *_ = health_figure(drawn, [0.0, 1e-3, 1e-2])
    for axes, lines, expected in ((sizes, sizes.lines[1:], [1e-3, 1e-2]), (ratio, ratio.lines, [1e-2, 1e-1])):
        values = lines[0].get_ydata()
        assert np.isnan(values[0]) and values[1:] == pytest.approx(expected)
        assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("0", 0)]


def test_health_calls_no_unit_of_fc8_dead(drawn):
    units = health_figure(drawn, [1.0, 1.0, 1.0])[0]
    assert [label.get_text() for label in units.get_xticklabels()] == ["conv1", "fc7"]
    assert [bar.get_height() for bar in units.patches] == [25, 25, 0, 0]


@pytest.mark.parametrize("value, said", [(4352.7, "4,350"), (4.3527, "4.35"), (0.04, "0.04"), (12, "12")])
def test_distances_have_three_digits_and_no_power_of_ten(value, said):
    assert figures.three_digits(value) == said


@pytest.mark.parametrize("count, wide", [(1, 1), (3, 3), (4, 4), (6, 4)])
def test_predictions_have_no_empty_column(drawn, tmp_path, count, wide):
    entry = figures.PanelEntry(pictures(1, 8)[0], "star", [("star", 0.9, True)])
    figures.prediction_panel([entry] * count, tmp_path / "x.png")
    assert drawn[0].axes[0].get_gridspec().ncols == wide


def test_a_picture_in_which_nothing_speaks_for_the_class_says_so(drawn, tmp_path):
    image = np.full((8, 8, 3), 200, np.uint8)
    entries = [figures.Attribution(image, "star", [("conv5", heat)])
               for heat in (np.zeros((8, 8)), np.eye(8))]
    figures.attributions(entries, tmp_path / "x.png", "", "")
    sheet = drawn[0].axes[0]
    texts = [text.get_text() for text in sheet.texts]
    assert texts[2] == "conv5: nothing speaks for this class" and texts[4] == "conv5"
    assert np.allclose(sheet.images[1].get_array(), 200 / 255)


def test_kernels_of_three_pixels_are_drawn_only_if_pages_are_asked_for(place, capsys):
    for more, layers in (([], "12"), (["--pages", "1"], "12345")):
        call(capsys, "filters", "--model", place / "run", "--out", "look", *more)
        names = {path.name for path in Path("look").glob("filters-*.png")}
        assert names == {f"filters-conv{layer}.png" for layer in layers}


def test_the_page_begins_with_what_tells_most_and_switches_the_language(place, capsys, tmp_path):
    what = ["architecture", "gradcam", "patches", "maps", "predictions"]
    out, images = tmp_path / "look", ["--images", place / "star", "--layers", "conv5"]
    call(capsys, *what, "--model", place / "run", *images, "--out", out, "--language", "zh", *QUICK)
    page = (out / "index.html").read_text()
    order = ["predictions", "maps", "patches", "gradcam", "architecture"]
    assert re.findall(r'<h2 id="(\w+)">', page) == order
    for file in re.findall(r'<img src="([^"]+)"', page):
        assert f'<a href="{file}"><img src="{file}"' in page
    if not PROGRAM:
        pytest.skip("needs Chromium")
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(out / "index.html", 400)
        wide = browser.run("document.querySelector('#architecture + figure img').offsetWidth")
        assert wide > 600 and browser.run("document.documentElement.scrollWidth") <= 400
        shown = "[...document.querySelectorAll('#gradcam span')].map(one => one.offsetWidth > 0).join()"
        assert browser.run(shown) == "false,true"
        browser.run("document.querySelector('button').click()")
        assert browser.run(shown) == "true,false"
    finally:
        browser.close()


# ------------------------------------------------------------------- other people's folders

def test_moved_pictures_are_divided_as_in_training(tmp_path, capsys):
    make_folder(tmp_path / "set", {"disc": 12, "star": 12})
    model = small(classes=2, widths=WIDTHS)
    pack = packed(find_source(str(tmp_path / "set"), 0.5), model.image_size, tmp_path / "cache")
    model.classes = ["disc", "star"]
    facts = {"data": str(tmp_path / "set"), "val_fraction": 0.5, "split": pack.split, "images": pack.content}
    checkpoint.save(tmp_path / "net.pt", model, facts)
    moved = (tmp_path / "set").rename(tmp_path / "moved")
    network = Network(str(tmp_path / "net.pt"), "cpu")
    found = Inputs(network, None, str(moved), None, str(tmp_path / "cache")).pack
    assert found.content == pack.content and len(found.labels["val"]) == 12
    assert not (tmp_path / "data").exists()   # nothing was packed elsewhere
    other = make_folder(tmp_path / "other", {"disc": 20, "star": 20})   # of another folder a fifth
    assert len(Inputs(network, None, str(other), None).pack.labels["val"]) == 8


def test_runs_of_one_name_are_all_shown_and_a_strange_table_is_one_line(place, capsys, tmp_path):
    for folder in ("a/run", "b/run"):
        shutil.copytree(place / "run", tmp_path / folder)
    status, text = call(capsys, "training", "--model", place / "run", "--runs", tmp_path / "a/run",
                        tmp_path / "b/run", "--out", tmp_path / "out")
    assert status == 0, text
    page = (tmp_path / "out/index.html").read_text()
    assert f"{tmp_path}/a/run: 30.0%" in page and f"{tmp_path}/b/run: 30.0%" in page
    for table in ("a,b\n1,2\n", "epoch,train_loss\n1,\n"):
        (tmp_path / "b/run/metrics.csv").write_text(table)
        status, text = call(capsys, "training", "--model", place / "run", "--runs", tmp_path / "b/run",
                            "--out", tmp_path / "out")
        assert status == 2 and "is not the table of a run" in text and "Traceback" not in text


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON", '{"model": 1}', '{"model": MODEL, "looks": []}',
                                     '{"model": MODEL, "looks": {"maps": [["a.png"]]}}',
                                     '{"model": MODEL, "looks": {"maps": [[1, 2, 3]]}}'])
def test_a_damaged_memory_of_the_page_is_begun_anew(place, capsys, tmp_path, content):
    network = place / "run/best.pt"
    (tmp_path / "a.png").touch()
    (tmp_path / "captions.json").write_text(content.replace(
        "MODEL", json.dumps(f"{network.resolve()} {network.stat().st_mtime_ns}")))
    status, text = call(capsys, "architecture", "--model", place / "run", "--out", tmp_path)
    assert status == 0, text
    assert "architecture" in json.loads((tmp_path / "captions.json").read_text())["looks"]


def test_what_is_damaged_of_the_pages_memory_does_not_take_the_rest_with_it(place, capsys, tmp_path):
    assert call(capsys, "filters", "--model", place / "run", "--out", tmp_path)[0] == 0
    content = json.loads((tmp_path / "captions.json").read_text())
    (tmp_path / "captions.json").write_text(json.dumps({**content, "looks": {"maps": 5, **content["looks"]}}))
    assert call(capsys, "architecture", "--model", place / "run", "--out", tmp_path)[0] == 0
    assert set(json.loads((tmp_path / "captions.json").read_text())["looks"]) == {"architecture", "filters"}


def test_one_validation_picture_is_no_plane(place, capsys, tmp_path):
    make_folder(tmp_path / "one", {"train/disc": 4, "train/star": 4, "val/disc": 1})
    status, text = call(capsys, "embedding", "--model", place / "run", "--data", "one", "--out", "look")
    assert status == 2 and "embedding: needs two validation pictures at least" in text
    network = Network(str(place / "run"), "cpu")
    what = alexnet_visualization.possible(network, Inputs(network, None, "one", None), False)
    assert "embedding" not in what and "neighbours" in what


def test_layers_without_a_convolution_are_said_where_convolutions_are_shown(place, capsys):
    status, text = call(capsys, "gradcam", "--model", place / "run", "--images", place / "star",
                        "--layers", "fc7", "--out", "look")
    assert status == 0 and "--layers fc7: no convolution is among them; shown is conv5" in text


def caption(out: Path, kind: str, number: int = 0) -> str:
    return json.loads((out / "captions.json").read_text())["looks"][kind][number][1]


@pytest.mark.parametrize("name", ["as-trained", "torchvision"])
def test_the_architectures_caption_has_the_networks_own_shares(place, capsys, tmp_path, name):
    assert call(capsys, "architecture", "--model", place / f"{name}.pt", "--out", tmp_path)[0] == 0
    model = load(place / f"{name}.pt")
    parts = [getattr(model, layer) for layer in model.layers]
    counts = [sum(values.numel() for values in part.parameters()) for part in parts]
    dense = sum(count for count, part in zip(counts, parts) if isinstance(part, torch.nn.Linear))
    said = caption(tmp_path, "architecture")
    assert f"{dense / sum(counts):.0%} of the parameters are in the fully-connected" in said
    work = [layer.multiply_adds for layer in sizes(model).values() if layer.kind in ("conv", "fc")]
    assert f"{sum(work[:5]) / sum(work):.0%} of the multiply-adds in the convolutions" in said


def test_captions_of_feature_maps_say_what_their_colours_mean(place, capsys, tmp_path):
    layers = ["--layers", "conv1", "relu1", "fc7"]
    call(capsys, "maps", *layers, "--model", place / "as-written.pt", "--images", place / "star", "--out", tmp_path)
    said = [caption(tmp_path, "maps", number) for number in range(3)]
    assert "red is above 0, blue below" in said[0] and "a dark map found nothing" in said[1]
    assert "dark is 0" in said[2] and "dark map" not in said[0] + said[2]


def test_health_of_other_classes_has_no_loss_and_of_some_of_them_the_right_one(place, capsys, tmp_path):
    model = small(classes=3, widths=WIDTHS)
    for classes, known in ((["a", "b", "c"], False), (["star", "other", "disc"], True)):
        model.classes = classes
        checkpoint.save(tmp_path / "x.pt", model, {"epoch": 1})
        status, text = call(capsys, "health", "--model", tmp_path / "x.pt", "--data", place / "set", "--out", tmp_path)
        assert status == 0, text
        assert ("loss 1." in caption(tmp_path, "health")) == known
        assert ("gradients of its own answers" in caption(tmp_path, "health")) != known


def test_neighbours_of_all_named_pictures_are_shown(place, capsys, tmp_path):
    names = [shutil.copy(place / "star" / "mine <&>.png", tmp_path / f"{number}.png") for number in range(7)]
    rows: list = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "neighbour_rows", lambda given, *_: rows.append(len(given)))
        call(capsys, "neighbours", "--model", place / "run", "--images", *names, "--out", tmp_path, *QUICK)
    assert rows == [7, 7] and "blue" not in caption(tmp_path, "neighbours")   # no class is known


def test_gradcam_names_the_grid_of_each_layer(place, capsys, tmp_path):
    call(capsys, "gradcam", "--layers", "conv1", "conv5", "--model", place / "run", "--images", place / "star",
         "--out", tmp_path)
    model = load(place / "run/best.pt")
    grids = ["{1} × {2}".format(*step_of(model, name).shape) for name in ("conv1", "conv5")]
    assert grids[0] != grids[1] and ", ".join(grids) in caption(tmp_path, "gradcam")


def test_synthesis_reaches_a_unit_that_is_off_at_first():
    model = small(widths=WIDTHS)
    with torch.no_grad():
        model.fc6.bias[0] = -1.0
    made = interpret.synthesis(model, "fc6", [0], steps=20)
    value = {}
    model.fc6.register_forward_hook(lambda module, _, result: value.update(now=result[0, 0].item()))
    with torch.no_grad():
        model(model.mean)
        before = value["now"]
        model(as_batch(made))
    assert before < 0 and value["now"] > before + 1e-4


def test_long_names_over_pictures_are_cut_and_shares_stay(tmp_path, drawn):
    image, long = np.zeros((64, 64, 3), np.uint8), "american_pit_bull_terrier_of_the_north"
    figures.picture_rows([("", [(image, long), (image, "cat"), (image, "丁鲷丁鲷丁鲷丁鲷丁鲷丁鲷")])], tmp_path / "x.png", "")
    figures.attributions([figures.Attribution(image, f"{long}: 78%", [("conv5", np.ones((64, 64)))])],
                         tmp_path / "y.png", "", "")
    for figure in drawn:
        figure.canvas.draw()
        boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts[1:] if text.get_text()),
                       key=lambda box: box.x0)
        assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    assert any(text.get_text().endswith("…: 78%") for text in drawn[1].axes[0].texts)


def test_the_sheet_of_neighbours_is_as_wide_as_its_longest_row(tmp_path):
    """A query whose double is among the training pictures has one neighbour less."""
    image = np.zeros((8, 8, 3), np.uint8)
    rows = [figures.NeighbourRow(image, "a", [(image, "1", None)]),
            figures.NeighbourRow(image, "b", [(image, "1", True), (image, "2", False)])]
    figures.neighbour_rows(rows, tmp_path / "long.png", "title")
    figures.neighbour_rows(rows[:1], tmp_path / "short.png", "title")
    long, short = (Image.open(tmp_path / f"{name}.png").width for name in ("long", "short"))
    assert long > short


def test_a_class_keeps_its_name_in_chinese_pictures_even_if_it_is_a_word_of_theirs(monkeypatch):
    monkeypatch.setattr(figure_words, "language", "zh")
    for word in ("value", "kernel 7"):
        assert figure_words.worded(word) != word
    monkeypatch.setattr(figure_words, "names", frozenset({"value", "kernel 7"}))
    for word in ("value", "kernel 7"):
        assert figure_words.worded(word) == word


def test_of_very_many_named_pictures_some_are_shown(place, capsys, tmp_path):
    files = [shutil.copy(place / "star" / "mine <&>.png", tmp_path / f"{number:03}.png") for number in range(70)]
    pictures = Inputs(Network(str(place / "run"), "cpu"), list(map(str, files)), None, None).pictures
    assert len(pictures) == 64 and (pictures[0].name, pictures[-1].name) == ("000", "069")
    assert "64 of 70 pictures, evenly chosen" in capsys.readouterr().err


def test_the_noisy_gradient_is_the_mean_over_copies_with_noise_of_their_own():
    model, images, targets = small(), as_batch(pictures(2, 64)), torch.tensor([0, 2])
    chance = torch.Generator().manual_seed(5)
    each = [interpret.gradient(model, images + 20 * torch.randn(images.shape, generator=chance), targets)
            for _ in range(4)]
    found = interpret.gradient(model, images, targets, noise=20, samples=4, seed=5)
    np.testing.assert_allclose(found, np.mean(each, 0), rtol=1e-4, atol=1e-7)


def test_health_is_what_its_fields_say():
    model, crops, labels = small(), as_batch(pictures(40, 64)), torch.arange(40) % 4   # more than one batch
    report = interpret.health(model, crops, labels)
    logits, h = model(crops), model.activations(crops, ["fc7"])["fc7"]
    loss = F.cross_entropy(logits, labels)
    gradients = torch.autograd.grad(loss, [getattr(model, layer.name).weight for layer in report.layers])
    for layer, gradient in zip(report.layers, gradients, strict=True):
        assert layer.gradients == pytest.approx(gradient.square().mean().sqrt().item(), rel=1e-3), layer.name
    p = logits.softmax(1)
    assert report.loss == pytest.approx(loss.item(), rel=1e-4) and report.chance == pytest.approx(np.log(4))
    assert report.spread == pytest.approx(((p - p.mean(0)).abs().sum(1) / 2).mean().item(), rel=1e-3)
    assert report.same == pytest.approx((h.mean(0).norm() ** 2 / h.norm(dim=1).square().mean()).item(), rel=1e-4)


@pytest.mark.parametrize("activation, values, share", [
    ("tanh", [0, 2.9, 3.1, -4], 1 / 2),           # 1 - tanh(x)^2 < 0.01 from |x| = 2.993 on
    ("sigmoid", [0, 5.5, 5.9, 6.1, -7], 2 / 5),   # of 1/4 the hundredth from |x| = 5.98 on
    ("relu", [-9, 9], 0)])
def test_values_are_saturated_where_the_slope_is_below_a_hundredth(activation, values, share):
    model = small(activation=activation)
    assert interpret.saturated(model, "fc6", [torch.tensor(values, dtype=torch.float32)]) == pytest.approx(share)
    assert interpret.saturated(model, "fc8", [torch.tensor([99.0])]) == 0


def test_gradcam_leaves_out_what_speaks_against_the_class_and_what_the_relu_cuts_off():
    model = small("torchvision", size=224, widths=(4, 4, 4, 4, 4))

    class Three(nn.Module):   # in conv5's place
        def forward(self, x):
            maps = torch.zeros(1, 4, 13, 13)
            maps[:, 1, 3, 9] = 5                              # for the class
            maps[:, 2, 10, 3], maps[:, 2, 6, 4] = 5, -5       # against it; cut off by relu5
            return maps + 0 * x.sum()

    model.conv5, model.pool5 = Three(), nn.AdaptiveAvgPool2d(6)
    with torch.no_grad():
        for name in ("fc6", "fc7", "fc8"):
            getattr(model, name).weight.abs_()
        model.fc6.weight.unflatten(1, (4, 6, 6))[:, 2] *= -0.1
    heat = interpret.gradcam(model, as_batch(pictures(1, 224)), torch.tensor([0]))[0]
    layer = step_of(model, "conv5")
    row, column = (layer.first + place * layer.jump + (layer.field - 1) // 2 for place in (3, 9))
    assert heat.max() == heat[row, column] > 0
    heat[row - layer.jump:row + layer.jump + 1, column - layer.jump:column + layer.jump + 1] = 0
    assert not heat.any()


# ------------------------------------------------------------------- promises that no other test holds

def test_a_value_is_shown_whole_at_the_centre_of_its_field():
    layer = step_of(small("torchvision", size=224), "conv5")
    spread = interpret.between_centres(layer, 224)
    assert layer.field % 2 and spread[layer.first + 3 * layer.jump + layer.field // 2].tolist() == [0.0] * 3 + [1.0] + [0.0] * 9


def test_a_norm_is_idle_only_if_it_divides_hardly_any_value(noise_image):
    report = interpret.health(small(), as_batch(pictures(8, 64)), torch.arange(8) % 4)
    report.divisors = {"norm1": np.array([1, 1, 1, 1.2, 3]), "norm2": np.array([1, 1, 1, 1, 1.001])}
    idle = [layer for kind, layer, _ in interpret.unusual(small(), report) if kind == "idle norm"]
    assert idle == ["norm2"]


def test_what_32_bits_cannot_tell_apart_is_told_apart():
    bank = 1e5 + np.arange(8, -1, -1)[:, None] * 1e-3   # the last one is nearest to 0
    assert interpret.neighbours(np.zeros((1, 1)), bank, 1)[0].tolist() == [[8]]


def test_a_network_that_was_trained_on_begins_its_page_anew(place, capsys, tmp_path):
    model = shutil.copy(place / "run/best.pt", tmp_path / "best.pt")
    for what in ("filters", "architecture"):
        assert call(capsys, what, "--model", model, "--out", tmp_path / "look")[0] == 0
        checkpoint.save(tmp_path / "best.pt", small(classes=2, widths=WIDTHS), {"epoch": 3})
    assert set(json.loads((tmp_path / "look/captions.json").read_text())["looks"]) == {"architecture"}


def test_a_picture_that_somebody_removed_is_not_on_the_page(place, capsys, tmp_path):
    assert call(capsys, "filters", "--model", place / "run", "--out", tmp_path)[0] == 0
    (tmp_path / "filters-conv2.png").unlink()
    assert call(capsys, "architecture", "--model", place / "run", "--out", tmp_path)[0] == 0
    shown = re.findall(r'<img src="([^"]+)"', (tmp_path / "index.html").read_text())
    assert "filters-conv1.png" in shown and "filters-conv2.png" not in shown


def test_a_sample_below_nothing_is_refused(place, capsys):
    status, text = call(capsys, "neighbours", "--sample", -1, "--model", place / "run")
    assert status == 2 and text.endswith("--sample must be 0 (all) or more\n")


def test_the_class_that_is_asked_about_is_the_one_that_is_named(place, capsys, tmp_path):
    for name in ("disc", "star"):
        model = small(classes=2, widths=WIDTHS)
        model.classes = ["disc", "star"]
        checkpoint.save(tmp_path / "m.pt", model, {"epoch": 1})
        call(capsys, "gradcam", "--class", name, "--model", tmp_path / "m.pt", "--images", place / "star", "--out", tmp_path / name)
    one, two = ((tmp_path / name / file).read_bytes() for name in ("disc", "star")
                for file in [next((tmp_path / name).glob("gradcam*.png")).name])
    assert one != two


def test_runs_that_are_named_are_shown_beside_a_checkpoint_without_one(place):
    network = Network(str(place / "as-trained.pt"), "cpu")
    inputs = Inputs(network, [str(place / "star")], None, None)
    what = [alexnet_visualization.possible(network, inputs, runs) for runs in (True, False)]
    assert "training" in what[0] and "training" not in what[1]
