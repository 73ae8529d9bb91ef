"""The step pictures (alexnet/steps.py, step_figures.py) show what the program does."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet_visualization
from alexnet import augment, exercises, figure_words, fonts, recipe, step_figures, steps
from alexnet.model import AlexNet

IMAGE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)


def test_a_crop_is_the_part_of_the_image_that_its_frame_shows():
    drawn = steps.crops(IMAGE, 20, seed=3)
    choice = augment.choose(20, 32, torch.Generator().manual_seed(3))   # as in training
    assert [crop.top for crop in drawn] == choice.top.tolist()
    assert {crop.mirrored for crop in drawn} == {False, True}
    for top, left, mirrored, pixels in drawn:
        part = IMAGE[top:top + 224, left:left + 224]
        assert np.array_equal(pixels, part[:, ::-1] if mirrored else part)


@pytest.mark.parametrize("eigenvalues", [False, True])
def test_noisy_less_clean_is_strength_times_draw_times_component(eigenvalues):
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    variances = np.array([9.0, 400.0, 2500.0])
    covariance = axes * variances @ axes.T
    noisy = steps.colour_noise(IMAGE[:8, :8], covariance, [-2.0, 0.0, 1.0], eigenvalues=eigenvalues)
    for row, which in enumerate((2, 1, 0)):   # the largest first
        length = variances[which] if eigenvalues else math.sqrt(variances[which])
        for draw, picture in zip((-2.0, 0.0, 1.0), noisy[row]):
            found = picture.numpy() - IMAGE[:8, :8].astype(float)
            expected = 0.1 * draw * length * axes[:, which]
            sign = np.sign(found[0, 0] @ expected) or 1.0   # a component may point either way
            assert np.allclose(found, sign * expected, atol=1e-3)


def test_the_last_window_of_conv1_is_the_one_that_hangs_over_the_edge():
    places = steps.windows()
    assert len(places) == 55 and places[0] == (0, 11) and places[-1] == (216, 227)
    assert [end > 224 for _, end in places] == 54 * [False] + [True]


@pytest.mark.parametrize("window", [2, 3])
def test_pooled_numbers_are_the_largest_of_their_windows(window):
    results = steps.pooled(step_figures.GRID, window)
    for (row, column), value in np.ndenumerate(results):
        assert value == step_figures.GRID[2 * row:2 * row + window, 2 * column:2 * column + window].max()


def test_slopes_are_the_derivatives():
    x = np.array([-3.0, -0.5, 0.7, 2.0])
    sigmoid = 1 / (1 + np.exp(-x))
    expected = {"relu": x > 0, "tanh": 1 - np.tanh(x) ** 2, "sigmoid": sigmoid * (1 - sigmoid)}
    for name, (_, slope) in steps.slopes(x).items():
        assert np.allclose(slope, expected[name])


def test_normalised_values_follow_the_formula_of_section_3_3():
    values = [3.0, 50.0, 120.0, 7.0, 90.0, 200.0, 1.0]
    divisors, results = steps.normalised(values)
    for i, value in enumerate(values):
        near = values[max(0, i - 2):i + 3]
        assert divisors[i] == pytest.approx((2 + 1e-4 * sum(a * a for a in near)) ** 0.75)
        assert results[i] == pytest.approx(value / divisors[i])


def test_a_drawn_field_is_the_support_of_the_gradient():
    torch.manual_seed(0)
    model = AlexNet(10, 224, "as-written", activation="sigmoid", lrn="none").eval()   # all pixels count
    for name in ("pool1", "pool2", "pool5"):   # which max-pooling does not have
        setattr(model, name, torch.nn.AvgPool2d(3, 2))
    for field in steps.fields(["conv1", "conv2", "conv5", "pool5"]):
        image = torch.rand(1, 3, 224, 224).requires_grad_()
        maps = model.activations(image, [field.name])[field.name][0].abs().sum(0)
        supports = []
        for place in range(len(maps)):
            effect, = torch.autograd.grad(maps[place, place], image, retain_graph=True)
            rows = effect.abs().sum((0, 1, 3)).nonzero().flatten()
            supports.append((rows[0].item(), rows[-1].item() + 1))
        assert (max(field.begin, 0), min(field.end, 224)) in supports


def test_the_lines_between_columns_are_the_network_s():
    torch.manual_seed(0)
    model = AlexNet(10, 64, "as-written").eval()
    layers = steps.connections()
    both = [layer.name for layer in layers if layer.sees_both]
    assert both == ["conv1", "conv3", "fc6", "fc7", "fc8"]
    for before, layer in zip(layers[:4], layers[1:5]):
        weights = getattr(model, layer.name).weight
        assert weights.shape[1] * (1 if layer.sees_both else 2) == before.maps and len(weights) == layer.maps


@pytest.mark.parametrize("inverted, kept, tested", [(False, 1.0, 0.5), (True, 2.0, 1.0)])
def test_masks_are_those_of_dropout(inverted, kept, tested):
    trained, in_test = steps.masks(1000, inverted)
    assert set(np.unique(trained)) == {0.0, kept} and in_test == tested
    assert trained.mean() == pytest.approx(tested, rel=0.1) and not np.array_equal(*trained)


def test_the_way_down_the_valley_follows_the_rule_of_section_5():
    way, place, v = steps.descent(0.05, 0.9, 10), np.array([9.0, 1.0]), np.zeros(2)
    for found in way[1:]:
        v = 0.9 * v - 0.05 * np.array([1.0, 25.0]) * place
        place = place + v
        assert np.allclose(found, place)


@pytest.mark.parametrize("momentum, limit", [(0.0, 2 / 25), (0.9, 2 * 1.9 / 25)])
def test_descent_is_stable_up_to_its_limit(momentum, limit):
    below, above = (np.abs(steps.descent(factor * limit, momentum, 400)[-1]).max() for factor in (0.95, 1.05))
    assert below < 1 < 100 < above


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_step_picture_is_drawn_in_both_languages(tmp_path, language, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)   # where there is no run: none is needed
    monkeypatch.setattr(figure_words, "language", "en")   # and back to it after this test
    monkeypatch.setattr(fonts, "language_drawn", lambda asked: asked)   # whatever fonts there are
    alexnet_visualization.main(["steps", "--out", "steps", "--language", language])
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert len(said) == len(step_figures.STEPS) >= 11
    for file, sentence in said.items():
        with Image.open(tmp_path / "steps" / file) as picture:
            assert picture.width >= 600 and len(np.unique(np.asarray(picture))) > 5
        assert sentence.isascii() == (language == "en")


def test_numbers_worked_by_hand_in_the_guide_are_what_the_program_computes():
    lone = [0.0, 0.0, 100.0, 0.0, 0.0]
    w1, w2 = exercises.updated(1), exercises.updated(2)
    v1 = w1 - 1
    expected = {
        "2": ["341 × 256", "85"],
        "3.1": [f"{1 - math.tanh(3) ** 2:.4f}", f"{(1 - math.tanh(3) ** 2) ** 2:.4f}"],
        "3.2": [f"{exercises.layer('conv2').weights:,}", f"{2 * exercises.layer('conv2').weights:,}"],
        "3.3": [f"{exercises.normalised(lone, 2, variant):.1f}" for variant in ("as-written", "as-trained")],
        "3.5": [f"{exercises.layer(name).parameters:,}" for name in ("conv1", "fc6")],
        "4.1": [str(exercises.crops().value)], "4.2": [f"{exercises.dropout_scale().value:g}"],
        "5": [f"{v1:.6f}", f"{w1:.6f}", f"{w2 - w1:.6f}", f"{w2:.6f}"]}
    for page, begin in (("README.md", "The idea in brief"), ("README.zh-CN.md", "想法")):
        text = (step_figures.ROOT / "paper" / page).read_text("utf-8")
        for section, numbers in expected.items():
            pattern = rf"^###? {re.escape(section)} [^\n]*\n\n<blockquote>\n\n\*\*{begin}\*\*(.+?)\n\n"
            box = re.search(pattern, text, re.MULTILINE | re.DOTALL)[1].replace("\n", " ")
            assert all(number in box for number in numbers), (page, section)
    assert round(500 * 256 / 375) == 341 and 341 - 256 == 85


def test_published_step_pictures_are_those_of_today(tmp_path):
    """In English: the fonts of Chinese ones differ from one machine to another. A tenth as large: letters look
    otherwise with each matplotlib."""
    for name in ("windows", "pooling", "columns"):
        step_figures.draw(name, tmp_path, "en")
        drawn, published = (Image.open(folder / f"{name}.png").convert("RGB")
                            for folder in (tmp_path, step_figures.ROOT / "results/figures/steps"))
        assert drawn.size == published.size
        drawn, published = (np.asarray(picture.resize((picture.width // 10, picture.height // 10), Image.BOX),
                                       np.int16) for picture in (drawn, published))
        assert np.abs(drawn - published).mean() < 1


def test_what_weight_decay_leaves_of_the_initial_noise_is_what_the_guide_says():
    """Section 6.1, by hand: Imagenette for 60 epochs with `steps`, ImageNet with the release's schedule."""
    decay = recipe.RECIPES["as-trained"].weight_decay / (1 - recipe.RECIPES["as-trained"].momentum)
    images = {60: 9_469, 91: 1_200_000}
    plans = {60: [recipe.two_drops(epoch, 60, []) for epoch in range(60)],
             91: [recipe.release(epoch, 91, []) for epoch in range(91)]}
    left = {epochs: math.exp(-decay * math.ceil(images[epochs] / 128)
                             * sum(0.01 * plan.rate * plan.conv1 for plan in plans[epochs])) for epochs in images}
    assert f"{left[60]:.2f}" == "0.87" and f"{left[91]:.6f}" == "0.000002"
    assert [sum(plan.rate == pytest.approx(rate) for plan in plans[60]) for rate in (1, 0.1, 0.01)] == [36, 14, 10]
    for page in ("README.md", "README.zh-CN.md"):
        text = (step_figures.ROOT / "paper" / page).read_text("utf-8")
        assert all(number in text for number in ("0.87", "0.000002", "9,375", "74")), page
