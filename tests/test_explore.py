"""alexnet.explore: the page's arithmetic is PyTorch's, and in a browser it does what its sentences say."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import alexnet_visualization
from alexnet import AlexNet, checkpoint, demo, explore, interpret
from alexnet.augment import as_batch, centre
from alexnet.files import UserError
from alexnet.geometry import step_of
from alexnet.images import packed_side
from alexnet.model import VARIANTS, LocalResponseNorm
from browser import PROGRAM, Browser
from conftest import make_folder

HERE = Path(explore.__file__).parent
PUBLISHED = HERE.parent / "results/figures/explore.html"
WIDTHS = (16, 64, 48, 48, 32)
NETWORKS = [*((variant, {}) for variant in VARIANTS), ("as-trained", {"without": "conv1"}),
            ("as-written", {"activation": "tanh"})]


def small(variant: str = "as-trained", size: int = 64, **changes) -> AlexNet:
    """An untrained network whose answers differ from picture to picture."""
    torch.manual_seed(0)
    model = AlexNet(6, size, variant, **{"hidden": 64, "widths": WIDTHS, **changes})
    with torch.no_grad():
        model.fc8.weight.normal_(std=0.5)
        if not model.design.pixel_mean:
            model.mean.uniform_(90, 150)
    model.classes = ["disc", "</script>", "star", "constructor", "中", "a {b}"]
    return model.eval()


def pictures(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Coarse noise, since what an untrained network makes of fine noise hardly differs."""
    coarse = np.random.default_rng(seed).integers(0, 255, (count, 8, 8, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC))
                     for one in coarse])


def shown(model: AlexNet, count: int = 3) -> tuple[np.ndarray, dict]:
    """Some pictures, and the page's contents for them, as they are read back from JSON."""
    images = pictures(count, model.image_size)
    titles = [f"picture {number}" for number in range(count)]
    content = explore.contents(model, images, titles, pictures(40, model.image_size, 1))
    return images, json.loads(json.dumps(content))


def numbers(packed: dict) -> np.ndarray:
    """(rows, values) of what the page holds in 8 bits."""
    low, step = np.array(packed["low"]), np.array(packed["step"])
    whole = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8).reshape(len(low), -1)
    return low[:, None] + step[:, None] * whole


def script(expression: str, **values) -> list:
    """An expression of explore.js's functions and of these values, computed by node."""
    if not shutil.which("node"):
        pytest.skip("needs node")
    program = f"""
        const {{numbers, prepare, convolve, normalise, pool, mask, fieldOf}} = require(process.argv[1]);
        const {{{", ".join(values)}}} = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const plain = (_, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
        console.log(JSON.stringify({expression}, plain));"""
    done = subprocess.run(["node", "-e", program, str(HERE / "explore.js")], input=json.dumps(values),
                          capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ------------------------------------------------------------------- what goes into the page

@pytest.mark.parametrize("variant, changes", NETWORKS)
def test_numbers_are_the_networks_within_half_a_step(variant, changes):
    model = small(variant, **changes)
    images, content = shown(model)
    first = getattr(model, content["net"]["name"])
    with torch.inference_mode():
        names = [layer["name"] for layer in content["layers"]]
        values = model.activations(as_batch(images), names)
        top = model(as_batch(images)).softmax(1).sort(descending=True)
    expected = {"kernels": first.weight, "mean": model.mean[0]}
    pairs = [(content["net"][name], tensor) for name, tensor in expected.items()]
    pairs += [(layer["values"], values[layer["name"]]) for layer in content["layers"][1:]]
    for packed, tensor in pairs:
        exact = tensor.detach().double().flatten(1).numpy()
        assert (abs(numbers(packed) - exact) <= np.array(packed["step"])[:, None] / 2 + 1e-9).all()
    assert content["net"]["bias"] == first.bias.tolist() and names[-2:] == ["fc6", "fc7"]
    for picture, image, which, shares in zip(content["pictures"], images, *map(Tensor.tolist, top[::-1])):
        assert base64.b64decode(picture["pixels"]) == image.tobytes()
        assert [name for name, _ in picture["top"]] == [model.classes[index] for index in which[:5]]
        assert [share for _, share in picture["top"]] == pytest.approx(shares[:5], abs=1e-5)


def test_patches_are_the_strongest_and_the_sheet_holds_their_pictures():
    model = small()
    training = pictures(40, packed_side(64), 1)
    content = explore.contents(model, pictures(1, 64), ["one"], training)["patches"]
    assert content["looked"] == 40
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(content["sheet"].split(",")[1]))))
    crops = centre(as_batch(training), 64).permute(0, 2, 3, 1).numpy()
    convolutions = [f"conv{number}" for number in range(1, 6)]
    for name, best in interpret.strongest(model, training, convolutions, explore.PATCHES).items():
        for unit, entries in enumerate(content["strongest"][name]):
            for rank, (number, row, column, value) in enumerate(entries):
                assert (row, column) == (best.row[unit, rank], best.column[unit, rank])
                assert value == pytest.approx(best.value[unit, rank], rel=1e-2)
                top, left = number // content["across"] * 64, number % content["across"] * 64
                stored = sheet[top:top + 64, left:left + 64].astype(int)
                assert abs(stored - crops[best.image[unit, rank]]).mean() < 6   # JPEG; others differ by 60


def test_a_network_whose_training_diverged_is_refused():
    model = small()
    model.conv1.weight.data[3, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        shown(model)


def test_the_numbers_of_the_normalisations_are_those_of_the_variants():
    content = shown(small("caffe"), 1)[1]
    for name, variant in (("paper", "as-written"), ("code", "as-trained"), ("own", "caffe")):
        norm = AlexNet(2, 64, variant, hidden=4, widths=WIDTHS).norm1
        assert content["lrn"][name] == {"k": norm.k, "n": norm.n, "alpha": norm.scale, "beta": norm.beta,
                                        "columns": 1}
    assert shown(small(), 1)[1]["lrn"]["own"]["columns"] == 2


def test_the_page_needs_nothing_else_and_says_all_in_both_languages():
    page = explore.page(shown(small())[1])
    assert page.count("</script>") == 2 and "default-src 'none'" in page   # a class is called so, too
    assert not re.search(r"https?:|\b(src|href)=|@import|url\(", page)
    assert "/* explore" not in page and "/* numbers" not in page
    parts = [(HERE / f"explore.{kind}").read_text() for kind in ("html", "js")]
    used = set(re.findall(r'data-(?:say|label)="(\w+)"', parts[0])) | set(re.findall(r'"(\w+)"', parts[1]))
    used |= {"paper", "code", "own", "apart"}   # the names of sets of numbers
    assert set(explore.WORDS) <= used
    for english, chinese in explore.WORDS.values():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese))
        assert not re.search("[一-鿿]", english)


def held(page: str) -> dict:
    """The numbers that a page holds."""
    return json.loads(re.search('id="numbers">(.*)</script>', page)[1])


def test_the_published_page_is_what_the_program_writes():
    """After a change of script, style or words: PUBLISHED.write_text(explore.page(held(page) | {"words":
    explore.WORDS}), "utf-8")."""
    page = PUBLISHED.read_text(encoding="utf-8")
    content = held(page)
    assert page == explore.page({**content, "words": explore.WORDS})
    assert PUBLISHED.stat().st_size < 1_000_000
    assert content["trained_on"] == explore.BUILT_IN_SET and content["patches"]["looked"] == alexnet_visualization.pictures.EXPLORED
    answers = [picture["top"][0][0] == picture["name"] for picture in content["pictures"]]
    assert len(answers) == 8 and sum(answers) >= 7


def test_the_command_writes_the_page_with_and_without_training_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = small(widths=(4, 8, 8, 8, 8))
    folders = ("train/disc", "train/star", "val/disc", "val/star")
    make_folder(tmp_path / "set", dict.fromkeys(folders, 3))
    for data, language, looked in (("set", "zh", 6), ("gone", "en", None)):
        checkpoint.save(tmp_path / "best.pt", model, {"data": str(tmp_path / data), "epoch": 1})
        alexnet_visualization.main(["explore", "--model", "best.pt", "--language", language,
                                    "--images", "set/val/star/1.png", "--out", "."])
        content = held(Path("explore.html").read_text(encoding="utf-8"))
        assert content["language"] == language and content["trained_on"] == data
        assert len(content["pictures"]) == 1 and content["pictures"][0]["name"] == "star"
        assert (content["patches"] or {}).get("looked") == looked
        assert '<a href="explore.html">' in Path("index.html").read_text()


def test_classes_have_names_in_both_languages():
    found = explore.names(["n01440764", "n01443537", "mine"], {"n01440764", "mine"})
    assert found == {"n01440764": ("tench", "丁鲷")}
    assert set(demo.CLASSES) <= set(explore.names(demo.CLASSES, {"star"}))
    assert explore.names(["target", "other"], {"target"}) == {}   # somebody's own


def test_a_folder_called_demo_is_not_the_built_in_set(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "demo", dict.fromkeys(("train/disc", "train/star", "val/disc", "val/star"), 3))
    checkpoint.save(tmp_path / "best.pt", small(widths=(4, 8, 8, 8, 8)), {"data": str(tmp_path / "demo")})
    alexnet_visualization.main(["explore", "--model", "best.pt", "--out", "."])
    content = held(Path("explore.html").read_text(encoding="utf-8"))
    assert content["trained_on"] == "demo" and "demo" not in content["names"]


def test_a_network_without_normalisation_has_none_of_its_own(opened, browser):
    opened("torchvision")
    pressed = "[...document.querySelectorAll('#lrn_presets button')].map(one => one.textContent).join('|')"
    assert browser.run(pressed) == "paper|2012 code (α ÷ n)"
    assert "÷ s.d." in browser.text("[data-say=window]")
    opened("as-written")
    assert browser.run(pressed).endswith("this network") and browser.text("[data-say=window]") == "window − mean"


@pytest.mark.parametrize("variant, after", [("as-written", True), ("as-trained", False)])
def test_the_page_says_whether_the_nonlinearity_comes_before_normalisation_and_pooling(
        opened, browser, variant, after):
    opened(variant)
    for name in ("lrn_do", "pool_do"):
        assert ("after the nonlinearity" in browser.text(f"[data-say={name}]")) == after


# ------------------------------------------------------------------- the script's arithmetic

@pytest.mark.parametrize("variant, changes", NETWORKS)
def test_the_first_layer_is_that_of_torch(variant, changes):
    model = small(variant, **changes)
    images, content = shown(model)
    net, layer = content["net"], getattr(model, content["net"]["name"])
    found = script("""(Object.assign(net, {kernels: numbers(net.kernels), mean: numbers(net.mean)}),
                       pixels.map(one => convolve(prepare(one, net), net)))""",
                   net=net, pixels=images.reshape(len(images), -1).tolist())
    found = torch.tensor(found).view(len(images), len(layer.weight), net["side"], net["side"])
    with torch.inference_mode():
        exact = model.activations(as_batch(images), [net["name"]])[net["name"]]
        layer.weight.copy_(torch.from_numpy(numbers(net["kernels"])).view_as(layer.weight))
        model.mean.copy_(torch.from_numpy(numbers(net["mean"])).view_as(model.mean))
        rounded = model.activations(as_batch(images), [net["name"]])[net["name"]]
    assert torch.allclose(found, rounded, rtol=1e-4, atol=1e-4 * rounded.abs().max().item())
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("n", [1, 5, 9])
def test_the_normalisation_is_that_of_torch(columns, n):
    values = torch.randn(24, generator=torch.Generator().manual_seed(n)) * 100
    norm = {"k": 1.5, "n": n, "alpha": 3e-4, "beta": 0.6, "columns": columns}
    found = script("values.map((_, unit) => normalise(values, unit, norm).after)", values=values.tolist(),
                   norm=norm)
    module = LocalResponseNorm(k=1.5, n=n, alpha=3e-4, beta=0.6, columns=columns)
    assert found == pytest.approx(module(values.view(1, 24, 1, 1)).flatten().tolist(), rel=1e-4)


def test_a_hundred_among_zeros_becomes_what_the_guide_says():
    norms = [explore.normalisation(VARIANTS[variant], VARIANTS["as-written"])
             for variant in ("as-written", "as-trained")]
    found = script("norms.map(norm => normalise([0, 0, 100, 0, 0], 2, norm).after.toFixed(1))", norms=norms)
    assert found == ["43.9", "55.4"]


@pytest.mark.parametrize("side", [13, 15, 16])
def test_pooling_is_that_of_torch(side):
    values = torch.randn(side, side, generator=torch.Generator().manual_seed(side))
    cases = list(itertools.product((1, 2, 3, 5), (1, 2, 3, 5), (True, False)))
    found = script("cases.map(([size, stride, roundUp]) => pool(values, side, {size, stride, roundUp}))",
                   values=values.flatten().tolist(), side=side, cases=cases)
    for pooled, (size, stride, round_up) in zip(found, cases):
        expected = F.max_pool2d(values[None, None], size, stride, ceil_mode=round_up)
        assert pooled == pytest.approx(expected.flatten().tolist())


def test_fields_are_those_of_the_network():
    for variant in VARIANTS:
        model = small(variant, size=96)
        layers = [{**entry, "values": None} for entry in shown(model, 1)[1]["layers"][:5]]
        cells = [(number, row, column) for number, layer in enumerate(layers)
                 for row in range(layer["side"]) for column in range(layer["side"])]
        found = script("cells.map(([number, row, column]) => fieldOf(layers[number], row, column, 96))",
                       layers=layers, cells=cells)
        steps = [step_of(model, layer["name"]) for layer in layers]
        for (number, row, column), (top, left, bottom, right) in zip(cells, found):
            rows, columns = interpret.field_of_view(steps[number], row, column, 96)
            assert (slice(top, bottom), slice(left, right)) == (rows, columns)


def test_masks_keep_the_share_that_they_should_and_repeat():
    for keep in (0.1, 0.5, 0.9):
        masks = np.array(script("[1, 2, 3, 1].map(seed => mask(seed, 4000, keep))", keep=keep))
        assert set(np.unique(masks)) == {0, 1} and masks.mean() == pytest.approx(keep, abs=0.02)
        assert (masks[0] == masks[3]).all() and (masks[0] != masks[1]).mean() > keep * (1 - keep)


# ------------------------------------------------------------------- in a browser

@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not PROGRAM:
        pytest.skip("needs Chromium")
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a network's page; gives the network and its pictures. No error and no address is allowed."""
    def open_page(variant: str = "as-trained", width: int = 1280, **changes) -> tuple[AlexNet, Tensor]:
        model = small(variant, **changes)
        images, content = shown(model)
        (tmp_path / "explore.html").write_text(explore.page(content), encoding="utf-8")
        browser.open(tmp_path / "explore.html", width, "document.querySelector('#total').textContent !== ''")
        return model, as_batch(images)
    browser.complaints.clear()
    browser.addresses.clear()
    yield open_page
    assert not browser.complaints
    assert all(address.startswith(("file:", "data:")) for address in browser.addresses) and browser.addresses


def value_of(text: str) -> float:
    """The last number of a sentence."""
    return float(re.findall(r"−?[\d.]*\d", text)[-1].replace("−", "-"))


def first_values(model: AlexNet, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return model.activations(images, model.steps[:1])[model.steps[0]]


def cell_of_picture(model: AlexNet, row: int, column: int) -> tuple[float, float]:
    """Where on the picture's board the window of a cell has its middle, as shares of its width and height."""
    layer = step_of(model, model.steps[0])
    whole = max(model.image_size + layer.padding, (layer.shape[1] - 1) * layer.stride + layer.kernel)
    return tuple((place * layer.stride + layer.kernel / 2) / whole for place in (column, row))


@pytest.mark.parametrize("variant, changes", NETWORKS)
def test_a_window_is_dragged_and_its_sum_is_the_feature_maps_cell(opened, browser, variant, changes):
    model, images = opened(variant, **changes)
    values = first_values(model, images)
    close = 0.02 * values.abs().max().item() + 0.01
    unit = int(re.findall(r"\d+", browser.text("#map_label"))[0])
    path = [cell_of_picture(model, *cell) for cell in ((2, 2), (3, 9), (8, 4))]
    for move, cell in ((browser.press, (8, 4)), (browser.touch, (8, 4))):
        move("#picture", *path)
        assert value_of(browser.text("#total")) == pytest.approx(values[0, unit, 8, 4].item(), abs=close)
        move("#map", (0.01, 0.01))
        assert value_of(browser.text("#total")) == pytest.approx(values[0, unit, 0, 0].item(), abs=close)
    browser.key("#picture", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown", "ArrowLeft",
                "ArrowRight")
    assert value_of(browser.text("#total")) == pytest.approx(values[0, unit, 1, 2].item(), abs=close)
    sums = [value_of(browser.text(f"#sum_{colour}")) for colour in ("red", "green", "blue")]
    bias = getattr(model, model.steps[0]).bias[unit].item()
    assert sum(sums) + bias == pytest.approx(value_of(browser.text("#total")), abs=0.03)


def test_another_kernel_another_picture_and_one_product(opened, browser):
    model, images = opened()
    values = first_values(model, images)
    browser.press("#kernels", (0.01, 0.01))
    browser.key("#kernels", "ArrowRight", "ArrowDown")
    assert browser.text("#kernels_label") == "the 16 kernels of conv1; chosen: 5"   # in rows of four
    browser.press("#pictures button:nth-child(2)")
    browser.press("#picture", cell_of_picture(model, 14, 14))
    assert value_of(browser.text("#total")) == pytest.approx(values[1, 5, 14, 14].item(), abs=0.5)
    assert "hangs over the edge" in browser.text("#hangs")
    browser.press("#picture", cell_of_picture(model, 2, 3))
    assert "inside" in browser.text("#hangs")
    browser.press("#product_green", (0.5 / 11, 1.5 / 11))
    pixel = (images[1, 1, 2 * 4 + 1, 3 * 4] - model.mean[0, 1, 2 * 4 + 1, 3 * 4]).item()
    value, weight, product = (float(number.replace("−", "-")) for number in
                              re.findall(r"−?\d+\.\d+", browser.text("#tap")))
    assert browser.text("#tap").startswith("green, row 1, column 0: ")
    assert value == pytest.approx(pixel, abs=0.2)
    assert weight == pytest.approx(model.conv1.weight[5, 1, 1, 0].item(), abs=2e-3)
    assert product == pytest.approx(value * weight, abs=0.01 + abs(value) * 1e-4)


def test_a_cell_of_every_layer_shows_its_value_its_field_and_patches(opened, browser):
    model, images = opened()
    names = [f"conv{number}" for number in range(1, 6)]
    with torch.inference_mode():
        values = model.activations(images, [*names, "fc6", "fc7"])
    for number, name in enumerate(names, 1):
        browser.press(f"#layers button:nth-child({number})")
        maps, layer = values[name][0], step_of(model, name)
        assert value_of(browser.text("#one_label")) == pytest.approx(maps.max().item(), rel=0.02)
        browser.press("#overview", (0.01, 0.01))
        browser.press("#one", (0.99, 0.01))
        last = layer.shape[2] - 1
        label, close = browser.text("#one_label"), 0.02 * maps.abs().max().item() + 0.01
        assert label.startswith(f"map 0, row 0, column {last}: ")
        assert value_of(label) == pytest.approx(maps[0, 0, last].item(), abs=close)
        rows, columns = interpret.field_of_view(layer, 0, last, 64)
        size = columns.stop - columns.start, rows.stop - rows.start
        assert browser.text("#field_label") == ("it sees the whole picture" if size == (64, 64) else
                                                f"it sees {size[0]} × {size[1]} px of the picture")
        assert browser.run("document.querySelectorAll('#patches canvas').length") == explore.PATCHES
        brightest = browser.run("""[...document.querySelectorAll("#patches canvas")].map(one => Math.max(
            ...one.getContext("2d").getImageData(0, 0, one.width, one.height).data.filter(
                (_, index) => index % 4 < 3)))""")
        assert min(brightest) > 50
    browser.press("#layers button:nth-child(7)")
    assert value_of(browser.text("#one_label")) == pytest.approx(values["fc7"][0].max().item(), rel=0.02)
    assert "convolutional" in browser.text("#patches_label")


def test_sliders_of_the_normalisation(opened, browser):
    opened()
    browser.press("#lrn_values button:nth-child(2)")    # 0 0 100 0 0
    results = {}
    for number, name in enumerate(("paper", "code", "own"), 1):
        browser.press(f"#lrn_presets button:nth-child({number})")
        results[name] = value_of(browser.text("#lrn_label"))
    assert [f"{value:.1f}" for value in results.values()] == ["43.9", "55.4", "55.4"]
    browser.press("#lrn", (0.3, 0.5))    # the second: its own value is 0
    assert value_of(browser.text("#lrn_label")) == 0
    browser.key("#lrn", "ArrowRight")
    browser.key("#lrn_sliders label:nth-child(1) input", "ArrowRight", "ArrowRight")   # k from 2 to 3
    browser.key("#lrn_sliders label:nth-child(4) input", "ArrowRight")                 # beta from 0.75 to 0.8
    assert value_of(browser.text("#lrn_label")) == pytest.approx(100 / (3 + 2e-5 * 1e4) ** 0.8, abs=0.01)


def test_sliders_of_pooling_and_masks_of_dropout(opened, browser):
    model, images = opened()
    maps = first_values(model, images)[0]
    unit = int(re.findall(r"\d+", browser.text("#map_label"))[0])
    for button, (size, stride) in ((2, (3, 2)), (3, (2, 2))):
        browser.press(f"#pool_presets button:nth-child({button})")
        browser.press("#after", (0.99, 0.99))
        pooled = F.max_pool2d(maps[unit][None], size, stride, ceil_mode=True)[0]
        assert browser.text("#after_label") == f"after: {len(pooled)} × {len(pooled)}"
        assert value_of(browser.text("#pool_formula")) == pytest.approx(pooled[-1, -1].item(), abs=0.5)
    browser.key("#pool_sliders label:nth-child(2) input", "ArrowRight")
    assert browser.text("#after_label") == "after: 5 × 5"
    browser.press("#draws button:nth-child(1)")
    kept = float(re.findall(r"(\d+) of", browser.text("#masked_label"))[0])
    assert 4 <= kept <= 20
    for _ in range(20):
        browser.press("#draws button:nth-child(2)")
    for name in ("masked", "inverted"):    # the mean over many masks is what testing has
        label = browser.text(f"#{name}_label")
        (mean, test), = re.findall(r"masks ([\d.]+), in testing ([\d.]+)", label)
        assert float(mean) == pytest.approx(float(test), rel=0.05)


def test_ones_own_picture_is_cut_as_others_are_and_goes_through_the_first_layer(opened, browser, tmp_path):
    model, _ = opened()
    square = pictures(1, packed_side(64), seed=5)
    Image.fromarray(square[0]).save(tmp_path / "mine <b>.png")
    values = first_values(model, centre(as_batch(square), 64))
    browser.choose_file("#file", tmp_path / "mine <b>.png")
    browser.until("document.querySelectorAll('#pictures button').length === 4")
    browser.settle()
    browser.press("#map", (0.5, 0.5))
    unit = int(re.findall(r"\d+", browser.text("#map_label"))[0])
    assert value_of(browser.text("#total")) == pytest.approx(values[0, unit, 7, 7].item(), abs=0.5)
    assert "first layer only" in browser.text("#top")
    able = browser.run("[...document.querySelectorAll('#layers button')].map(one => !one.disabled)")
    assert able == [True] + [False] * 6
    (tmp_path / "letter.txt").write_text("not a picture")
    browser.choose_file("#file", tmp_path / "letter.txt")
    browser.until("document.querySelector('#file_note').textContent !== ''")
    assert browser.text("#file_note") == "This file could not be opened as a picture: letter.txt"
    browser.press("#pictures button:nth-child(1)")
    assert browser.run("document.querySelectorAll('#top li').length") == 5


@pytest.mark.parametrize("width", [1280, 400])
def test_the_published_page_opens(browser, width):
    browser.complaints.clear()
    browser.open(PUBLISHED, width, "document.querySelector('#total').textContent !== ''")
    assert not browser.complaints
    assert browser.run("document.querySelectorAll('#pictures button, #top li').length") == 8 + 5


@pytest.mark.parametrize("width", [1280, 400])
def test_both_languages_fit_and_names_are_shown_as_they_are(opened, browser, width):
    opened(width=width)
    for language, title in zip(("en", "zh-CN"), explore.WORDS["title"]):
        browser.press(f"nav button[lang={language}]")
        assert browser.run("[document.documentElement.lang, document.title]") == [language, title]
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        text = browser.text("main")
        assert not re.search(r"undefined|NaN|{\w+}", text.replace("{b}", ""))
        assert bool(re.search("[一-鿿]", text.replace("中", ""))) == (language == "zh-CN")
        places = "[data-say], label span, section button, figcaption"
        assert browser.run(f"[...document.querySelectorAll('{places}')].every(one => one.textContent)")
        smallest = browser.run("""Math.min(...[...document.querySelectorAll("p, figcaption, li, label")].map(
            one => parseFloat(getComputedStyle(one).fontSize)))""")
        assert smallest >= 14
    assert {"</script>", "constructor"} & set(browser.run("[...document.querySelectorAll('#top li')].map("
                                                          "one => one.firstChild.textContent)"))
