"""The network against the paper's counts, hand computation in float64, and torchvision."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from alexnet import norms
from alexnet.geometry import Step, sizes
from alexnet.layers import Dropout, Masks, SameMapNorm
from alexnet.model import LAYERS, VARIANTS, AlexNet, LocalResponseNorm, describe
from alexnet.recipe import freeze
from conftest import ROOT


def strong() -> SameMapNorm:
    norm = SameMapNorm()
    norm.alpha = 2.0
    return norm


# ------------------------------------------------------------------- counts

def measured(variant: str = "as-trained", size: int = 224) -> list[Step]:
    with torch.device("meta"):
        return list(sizes(AlexNet(1000, size, variant)).values())


def test_parameters_are_the_papers_sixty_million():
    assert sum(p.numel() for p in AlexNet().parameters()) == 60_965_224
    assert sum(step.parameters for step in measured()) == 60_965_224
    theirs = torchvision.models.alexnet()
    ours = measured("torchvision")
    assert sum(step.parameters for step in ours) == sum(p.numel() for p in theirs.parameters()) == 61_100_840


def test_neurons_are_those_of_figure_2_but_for_conv1():
    neurons = {row.name: row.neurons for row in measured() if row.weights}
    assert list(neurons.values()) == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert neurons["conv1"] == 55 * 55 * 96     # the caption's 253,440 does not follow from 55 x 55 x 96


def test_no_conv_layer_has_more_than_two_percent_of_the_parameters():
    rows = measured()
    total = sum(row.parameters for row in rows)
    shares = {row.name: row.parameters / total for row in rows if row.name.startswith("conv")}
    assert shares["conv1"] < 0.01 and shares["conv5"] < 0.01
    assert max(shares.values()) == shares["conv3"] == pytest.approx(0.0145, abs=1e-4)  # section 7 says 1%


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [63, 64, 97, 224, 227])
def test_computed_sizes_are_those_of_the_tensors(variant, size):
    with torch.device("meta"):
        model = AlexNet(10, size, variant)
        x = model.prepare(torch.empty(2, 3, size, size))
        steps = sizes(model)
        assert list(steps) == model.steps == [name for name, _ in model.named_children()]
        for name, step in steps.items():
            x = getattr(model, name)(x)
            assert tuple(x.shape[1:]) == (step.shape if x.ndim == 4 else step.shape[:1]), name
    by_layer = {name: step.parameters for name, step in steps.items() if step.weights}
    counted = {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in LAYERS}
    assert by_layer == counted


@pytest.mark.parametrize("variant", VARIANTS)
def test_receptive_fields_are_those_of_the_gradient(variant):
    rows = {row.name: row for row in measured(variant, 416)}
    assert rows["conv1"].field == 11 and rows["conv2"].field == 51
    assert rows["pool5"].field == (227 if variant == "as-trained" else 195)   # SameMapNorm, too
    model = AlexNet(2, 416, variant, widths=(4, 4, 4, 4, 4), hidden=2).double().eval()
    for name, row in rows.items():
        if name.startswith("conv"):  # averages keep every pixel alive, where a maximum would not
            nn.init.constant_(getattr(model, name).weight, 0.01)
        elif name.startswith("pool"):
            setattr(model, name, nn.AvgPool2d(3, 2, ceil_mode=model.design.round_up))
        elif name.startswith("relu"):
            setattr(model, name, nn.Identity())
    for name in ("conv1", "conv2", "pool2", "conv3", "conv5", "pool5"):
        images = (255 * torch.rand(1, 3, 416, 416, dtype=torch.float64)).requires_grad_()
        x = model.activations(images, [name])[name]
        middle, row = x.shape[-1] // 2, rows[name]
        gradient, = torch.autograd.grad(x[0, 0, middle, middle], images)
        touched = gradient[0].abs().sum(0).nonzero()
        begin = row.first + middle * row.jump
        assert touched.min(0).values.tolist() == [max(0, begin)] * 2, name
        assert touched.max(0).values.tolist() == [min(416, begin + row.field) - 1] * 2, name


# ------------------------------------------------------------------- values

def by_hand(model: AlexNet, images: torch.Tensor) -> np.ndarray:
    """as-trained at test time, straight from the release's files, in float64 numpy loops."""
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def conv(x, name, stride, pad, groups):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        n, maps, side, _ = x.shape
        kernel = weight.shape[-1]
        out = 1 + -(-(side + 2 * pad - kernel) // stride)            # rounded up
        need = (out - 1) * stride + kernel
        padded = np.zeros((n, maps, need, need))
        padded[:, :, pad:pad + side, pad:pad + side] = x
        y = np.zeros((n, weight.shape[0], out, out))
        own, made = maps // groups, weight.shape[0] // groups
        for g in range(groups):
            block = weight[g * made:(g + 1) * made]
            for i in range(out):
                for j in range(out):
                    window = padded[:, g * own:(g + 1) * own, i * stride:i * stride + kernel,
                                    j * stride:j * stride + kernel]
                    y[:, g * made:(g + 1) * made, i, j] = np.einsum("ncij,ocij->no", window, block)
        return y + bias[None, :, None, None]

    def across(x):                                                   # rnorm: per column, k 2, 1e-4 / 5
        y, half = np.empty_like(x), x.shape[1] // 2
        for i in range(x.shape[1]):
            first, last = (0, half - 1) if i < half else (half, x.shape[1] - 1)
            near = x[:, max(first, i - 2):min(last, i + 2) + 1]
            y[:, i] = x[:, i] / (2 + 1e-4 / 5 * (near ** 2).sum(1)) ** 0.75
        return y

    def within(x):                                                   # cnorm2: 5 x 5, k 1, 1e-3 / 25
        y, side = np.empty_like(x), x.shape[2]
        for i in range(side):
            for j in range(side):
                near = x[:, :, max(0, i - 2):i + 3, max(0, j - 2):j + 3]
                y[:, :, i, j] = x[:, :, i, j] / (1 + 1e-3 / 25 * (near ** 2).sum((2, 3))) ** 0.75
        return y

    def pool(x):
        out = 1 + -(-(x.shape[2] - 3) // 2)
        return np.stack([np.stack([x[:, :, 2 * i:2 * i + 3, 2 * j:2 * j + 3].max((2, 3))
                                   for j in range(out)], -1) for i in range(out)], -2)

    def relu(x):
        return np.maximum(x, 0)

    x = images.double().numpy() - state["mean"]
    x = relu(pool(across(conv(x, "conv1", 4, 0, 1))))
    x = pool(within(across(relu(conv(x, "conv2", 1, 2, 2)))))
    x = relu(conv(x, "conv3", 1, 1, 1))
    x = relu(conv(x, "conv4", 1, 1, 2))
    x = relu(pool(conv(x, "conv5", 1, 1, 2)))
    if "conv6.weight" in state:                                      # net 146
        x = relu(conv(x, "conv6", 1, 1, 1))
    x = x.reshape(len(x), -1)
    for name in ("fc6", "fc7"):
        x = 0.5 * relu(x @ state[f"{name}.weight"].T + state[f"{name}.bias"])
    return x @ state["fc8.weight"].T + state["fc8.bias"]


@pytest.mark.parametrize("size,changes", [(64, {}), (99, {}), (99, {"conv6": 32})], ids=str)
def test_as_trained_is_the_release_by_hand_in_float64(size, changes):
    torch.manual_seed(0)
    model = AlexNet(10, size, hidden=512, **changes).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # far from the start: every layer matters
            parameter.add_(torch.randn_like(parameter) * 0.03)
        model.mean.uniform_(90, 130)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    expected = by_hand(model, images)
    with torch.no_grad():
        got = model(images).numpy()
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


def test_torchvision_variant_gives_torchvisions_logits():
    torch.manual_seed(0)
    theirs = torchvision.models.alexnet(num_classes=20).eval()
    ours = AlexNet(20, 224, "torchvision").eval()
    places = dict(zip(LAYERS, ["features.0", "features.3", "features.6", "features.8", "features.10",
                               "classifier.1", "classifier.4", "classifier.6"]))
    state = {f"{name}.{what}": theirs.state_dict()[f"{place}.{what}"]
             for name, place in places.items() for what in ("weight", "bias")}
    ours.load_state_dict({**ours.state_dict(), **state})
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(normalise(images / 255)), rtol=1e-4, atol=1e-5)


def test_caffe_norm_is_torchs_and_as_written_five_times_stronger():
    x = torch.randn(2, 12, 5, 5, dtype=torch.float64) * 50
    over_n = LocalResponseNorm(k=1.0, over_n=True).double()
    torch.testing.assert_close(over_n(x), nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)(x))
    plain = LocalResponseNorm(k=2.0).double()
    torch.testing.assert_close(plain(x), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)(x))
    norm = AlexNet(2, 64, "as-written").norm2
    assert (norm.k, norm.n, norm.alpha, norm.beta, norm.over_n, norm.columns) == (2, 5, 1e-4, 0.75, False, 1)


def test_norm_per_column_does_not_look_across():
    x = torch.randn(1, 12, 3, 3, dtype=torch.float64) * 50
    halves = LocalResponseNorm().double()
    expected = torch.cat([halves(x[:, :6]), halves(x[:, 6:])], 1)
    torch.testing.assert_close(LocalResponseNorm(columns=2).double()(x), expected)
    assert not torch.allclose(LocalResponseNorm().double()(x), expected)


@pytest.mark.parametrize("norm", [
    LocalResponseNorm(alpha=0.3, columns=2), LocalResponseNorm(beta=0.6, alpha=0.2), strong()],
    ids=["lrn", "lrn, other beta", "same map"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_norms_have_the_right_gradient(norm, layout):
    torch.manual_seed(0)
    x = torch.randn(3, 8, 6, 5, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(norm.double(), x)


def test_norm_in_pieces_is_the_norm_of_the_whole(monkeypatch):
    x = torch.randn(7, 8, 5, 5).requires_grad_()
    norm = LocalResponseNorm(alpha=0.1)
    whole = norm(x)
    gradient, = torch.autograd.grad(whole.square().sum(), x)
    monkeypatch.setattr("alexnet.norms.pieces", lambda x: (slice(i, i + 2) for i in range(0, len(x), 2)))
    pieces = norm(x)
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(torch.autograd.grad(pieces.square().sum(), x)[0], gradient)


def test_norm_under_autocast_computes_in_32_bits():
    x = torch.randn(2, 8, 5, 5) * 100
    norm = LocalResponseNorm()
    outside = norm(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(norm(x), outside)
        short = norm(x.bfloat16())
    assert short.dtype == torch.bfloat16
    torch.testing.assert_close(short.float(), norm(x), rtol=0.02, atol=0.05)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_norms_keep_their_bits(layout):
    """Checkpoints written before have bit-equal logits: the same operations on each value, in this order."""
    torch.manual_seed(0)
    x = (torch.randn(3, 16, 6, 5) * 30).contiguous(memory_format=layout).requires_grad_()
    gradient = torch.randn(3, 16, 6, 5)

    def across(values):
        total, columns = values.clone(), values.unflatten(1, (2, 8))
        for offset in (1, 2):
            total.unflatten(1, (2, 8))[:, :, :-offset] += columns[:, :, offset:]
            total.unflatten(1, (2, 8))[:, :, offset:] += columns[:, :, :-offset]
        return total

    def within(values):
        rows = nn.functional.avg_pool2d(values, (5, 1), 1, (2, 0), divisor_override=1)
        return nn.functional.avg_pool2d(rows, (1, 5), 1, (0, 2), divisor_override=1)

    for norm, window, alpha, k in ((LocalResponseNorm(columns=2), across, 1e-4, 2.0),
                                   (SameMapNorm(), within, 1e-3 / 25, 1.0)):
        y = norm(x)
        back, = torch.autograd.grad(y, x, gradient)
        with torch.no_grad():
            s = window(x * x) * alpha + k
            r = s.rsqrt()
            power = r.rsqrt() * r * r
            assert torch.equal(y, power * x)
            g = power * gradient
            assert torch.equal(back, g.addcmul(window(g * x / s), x, value=-2 * alpha * 0.75))


KERNELS = """
import sys, warnings
import torch
from alexnet import kernels, norms
from alexnet.layers import SameMapNorm
from alexnet.model import LocalResponseNorm
norms.kernels_for = lambda x: kernels   # as on a GPU
torch.manual_seed(0)
tolerances = {torch.float32: 1e-6, torch.bfloat16: 6e-3, torch.float16: 8e-4}
for module in LocalResponseNorm(columns=2), LocalResponseNorm(n=3, beta=0.6, over_n=True), SameMapNorm():
    for shape, dtypes in (((2, 16, 5, 7), tolerances), ((3, 6, 1, 1), [torch.bfloat16]),
                          ((1, 2, 3, 1), [torch.float32])):
        for dtype in dtypes:
            values, gradient = (scale * torch.randn(shape).to(dtype) for scale in (100, 1))
            results = []
            for kind in (dtype, torch.float64):
                x = values.to(kind).requires_grad_()
                norms.kernels_for = (lambda x: kernels) if kind == dtype else (lambda x: None)
                y = module(x)
                results.append((y, *torch.autograd.grad(y, x, gradient.to(kind))))
            for own, exact in zip(*results):
                apart = (own.double() - exact).norm() / exact.norm()
                assert own.dtype == dtype and apart < tolerances[dtype], (module, shape, dtype)

cpu = torch.device("cpu")
assert norms.kernels_on(cpu) is kernels
norms.kernels_on.cache_clear()
def broken(*_):
    raise RuntimeError("no\\ncompiler")
kernels.normalise_backward = broken
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    assert norms.kernels_on(cpu) is None and norms.kernels_on(cpu) is None
one, = said
assert str(one.message) == ("Triton does not work here (RuntimeError: no compiler): "
                            "the normalisations take longer, with the same results")
"""


def test_the_kernels_for_a_gpu_compute_the_same_and_are_tried_both_ways():
    """On this processor, as Triton interprets them; on a GPU: test_gpu.py."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", KERNELS], check=True, cwd=ROOT, env=environment)


def test_without_triton_there_are_no_kernels_and_no_warning(monkeypatch, recwarn):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "alexnet.kernels", raising=False)
    assert norms.kernels_on.__wrapped__(torch.device("cpu")) is None and not recwarn


# ------------------------------------------------------------------- traced, exported, transformed

def lively(variant: str, **changes) -> AlexNet:
    """A small network in eval mode in which every layer and both normalisations matter."""
    torch.manual_seed(0)
    model = AlexNet(5, 64, variant, **{"widths": (16, 32, 32, 32, 32), "hidden": 32, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            std = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_(torch.randn_like(parameter) * std)
    return model


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255


def assert_same(ours: torch.Tensor, theirs) -> None:
    assert ours.shape == theirs.shape and ours.std() > 0
    assert (ours - torch.as_tensor(theirs)).abs().max() <= 1e-5 * ours.abs().max()


NETWORKS = [*((name, {}) for name in VARIANTS),
            ("as-trained", {"columns": 1, "lrn": "all", "pooling": "2x2"})]


def onnx_logits(path, images: torch.Tensor) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]


@pytest.mark.filterwarnings("ignore")   # of the exporters', about themselves
@pytest.mark.parametrize("variant,changes", NETWORKS, ids=str)
def test_traced_and_exported_networks_give_the_same_logits_for_any_number_of_images(
        tmp_path, variant, changes):
    model, few, many = lively(variant, **changes), pictures(2), pictures(5)
    with torch.no_grad():
        ours = model(many)
    traced = torch.jit.trace(model, few)
    traced.save(tmp_path / "x.pt")
    assert_same(ours, torch.jit.load(tmp_path / "x.pt")(many))
    exported = torch.export.export(model, (few,), dynamic_shapes=({0: torch.export.Dim("N")},))
    assert_same(ours, exported.module()(many))
    torch.onnx.export(model, (few,), tmp_path / "x.onnx", dynamo=False, dynamic_axes={"images": {0: "N"}},
                      input_names=["images"], output_names=["logits"])
    assert_same(ours, onnx_logits(tmp_path / "x.onnx", many))


@pytest.mark.filterwarnings("ignore")
def test_the_default_exporter_to_onnx_gives_the_same_logits(tmp_path):
    pytest.importorskip("onnxscript")
    model, few, many = lively("as-trained"), pictures(2), pictures(5)
    torch.onnx.export(model, (few,), tmp_path / "x.onnx", dynamo=True,
                      dynamic_shapes=({0: torch.export.Dim("N")},))
    with torch.no_grad():
        assert_same(model(many), onnx_logits(tmp_path / "x.onnx", many))


@pytest.mark.parametrize("variant,changes", NETWORKS, ids=str)
def test_transforms_of_functions_give_the_same_logits_and_gradients(variant, changes):
    model, images = lively(variant, **changes), pictures(3)
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(parameters, image):
        return torch.func.functional_call(model, parameters, (image[None],)).square().sum()
    ours = model(images)
    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, images)
    ours.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (each[name].sum(0) - parameter.grad).norm() <= 1e-5 * parameter.grad.norm(), name
    assert_same(ours.detach(), torch.func.vmap(lambda image: model(image[None])[0])(images).detach())
    along = torch.func.jvp(model, (images,), (torch.ones_like(images),))[1]
    with torch.autograd.forward_ad.dual_level():
        dual = model(torch.autograd.forward_ad.make_dual(images, torch.ones_like(images)))
        assert_same(along.detach(), torch.autograd.forward_ad.unpack_dual(dual).tangent.detach())


@pytest.mark.parametrize("norm", [LocalResponseNorm(alpha=0.3, columns=2), strong()],
                         ids=["lrn", "same map"])
def test_norms_have_the_right_second_derivatives_and_gradients_in_batches(norm):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(norm, x)
    y = norm(x)
    gradients = torch.randn(3, *y.shape, dtype=torch.float64)
    each = torch.stack([torch.autograd.grad(y, x, gradient, retain_graph=True)[0] for gradient in gradients])
    called = []
    x.register_hook(called.append)
    torch.testing.assert_close(torch.autograd.grad(y, x, gradients, is_grads_batched=True)[0], each)
    torch.autograd.grad(norm(x).square().sum(), x, create_graph=True)
    assert len(called) == 2   # once a call: what happens inside is nobody's business


# ------------------------------------------------------------------- dropout, conv1, start

def test_dropout_keeps_values_in_training_and_halves_in_test():
    x = torch.rand(50, 400) + 1
    mask = Dropout().train()(x)
    assert torch.equal(mask[mask != 0], x[mask != 0]) and 0.47 < (mask != 0).float().mean() < 0.53
    assert torch.equal(Dropout().eval()(x), x / 2)
    inverted = Dropout(inverted=True).train()(x)
    assert torch.equal(inverted[inverted != 0], 2 * x[inverted != 0])
    assert torch.equal(Dropout(inverted=True).eval()(x), x)


def test_dropout_masks_of_a_part_are_rows_of_the_whole():
    x = torch.ones(8, 30)
    whole, part = Dropout(), Dropout()
    whole.masks = Masks(torch.Generator().manual_seed(5))
    part.masks = Masks(torch.Generator().manual_seed(5), slice(3, 6), total=8)
    assert torch.equal(part(x[3:6]), whole(x)[3:6])


def test_conv1_adds_zeros_right_and_below_only():
    model = AlexNet(2, 224, hidden=8)
    nn.init.constant_(model.conv1.weight, 1.0)
    nn.init.zeros_(model.conv1.bias)
    y = model.conv1(torch.ones(1, 3, 224, 224))
    assert y.shape[-1] == 55
    assert y[0, 0, 0, 0] == 3 * 121 and y[0, 0, 54, 0] == 3 * 11 * 8 and y[0, 0, 54, 54] == 3 * 64


@pytest.mark.parametrize("variant,std,bias", [
    ("as-trained", (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01), (0, 1, 0, 1, 1, 1, 1, 0)),
    ("as-written", (0.01,) * 8, (0, 1, 0, 1, 1, 1, 1, 0)),
    ("caffe", (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01), (0, .1, 0, .1, .1, .1, .1, 0))])
def test_initial_weights_are_the_sources(variant, std, bias):
    torch.manual_seed(0)
    model = AlexNet(100, 64, variant)
    for name, deviation, constant in zip(LAYERS, std, bias):
        layer = getattr(model, name)
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.03)
        assert torch.all(layer.bias == constant)


@pytest.mark.parametrize("variant,deviation", [("as-trained", 0.03), ("as-written", 0.01)])
def test_the_sixth_layer_is_that_of_layers_146_2011_cfg(variant, deviation):
    """2 x 128 filters of 3 x 3 on both columns behind the last pooling, initW 0.03, initB 1; and ReLU."""
    torch.manual_seed(0)
    model = AlexNet(10, 224, variant, conv6=256)
    sixth = sizes(model)["conv6"]
    assert (sixth.inputs, sixth.shape, sixth.groups, sixth.parameters) == (256, (256, 6, 6), 1, 590_080)
    assert model.conv6.weight.std().item() == pytest.approx(deviation, rel=0.03)
    assert torch.all(model.conv6.bias == 1) and model.steps[-9:-7] == ["relu_conv6", "flatten"]
    assert model.layers == [*LAYERS[:5], "conv6", *LAYERS[5:]]
    for last, frozen in (("conv5", LAYERS[:5]), ("fc6", [*LAYERS[:5], "conv6", "fc6"])):
        freeze(model.requires_grad_(True), last)
        assert [name for name in model.layers
                if not getattr(model, name).weight.requires_grad] == list(frozen)


def test_steps_stand_in_the_order_of_the_sources():
    assert describe().steps()[:9] == "conv1 norm1 pool1 relu1 conv2 relu2 norm2 mapnorm2 pool2".split()
    assert describe("as-written").steps()[:8] == "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2".split()
    assert describe("torchvision").steps()[-8:] == "flatten drop6 fc6 relu6 drop7 fc7 relu7 fc8".split()
    assert describe().steps()[-8:] == "flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8".split()


# ------------------------------------------------------------------- its manners

def test_parameters_have_the_fields_names_in_order():
    names = [name for name, _ in AlexNet(2, 64).named_parameters()]
    assert names == [f"{layer}.{what}" for layer in LAYERS for what in ("weight", "bias")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_activations_are_what_forward_computes(variant):
    torch.manual_seed(0)
    model = AlexNet(5, 64, variant, hidden=64).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    found = model.activations(images, ["fc8", "fc7", "conv1", "pool5"])
    assert list(found) == ["fc8", "fc7", "conv1", "pool5"]
    assert torch.equal(found["fc8"], model(images))
    assert found["fc7"].min() >= 0 and found["conv1"].min() < 0
    drop = 0.5 if variant.startswith("as-") else 1.0
    torch.testing.assert_close(model.fc8(found["fc7"] * drop), found["fc8"])
    with pytest.raises(ValueError, match="conv9.*conv1, "):
        model.activations(images, ["conv9"])


def test_nothing_works_in_place():
    model = AlexNet(5, 64, hidden=64)
    outputs, copies = [], []

    def keep(layer, inputs, y):
        y.retain_grad()
        outputs.append(y)
        copies.append(y.detach().clone())
    for layer in model.children():
        layer.register_forward_hook(keep)
    model(torch.rand(2, 3, 64, 64) * 255).sum().backward()
    assert len(outputs) == len(model.steps)
    assert all(torch.equal(output, copy) for output, copy in zip(outputs, copies))
    assert all(output.grad is not None for output in outputs)


def test_wrong_shapes_are_said():
    model = AlexNet(2, 64, hidden=8)
    for shape in [(1, 3, 65, 64), (3, 64, 64), (1, 1, 64, 64)]:
        with pytest.raises(ValueError, match=r"\(N, 3, 64, 64\).*" + str(shape[-1])):
            model(torch.zeros(shape))


@pytest.mark.parametrize("variant", VARIANTS)
def test_smallest_size_works_and_a_smaller_one_is_refused_with_it(variant):
    with pytest.raises(ValueError, match="smallest possible size is") as caught:
        AlexNet(2, 20, variant, hidden=8)
    smallest = int(str(caught.value).split()[-2])
    model = AlexNet(2, smallest, variant, hidden=8).eval()
    assert model(torch.zeros(1, 3, smallest, smallest)).shape == (1, 2)
    with pytest.raises(ValueError):
        AlexNet(2, smallest - 1, variant, hidden=8)


@pytest.mark.parametrize("change,shape", [
    ({"columns": 1}, (256, 96, 5, 5)), ({"columns": "half"}, (128, 48, 5, 5)),
    ({"without": "conv1"}, (256, 3, 5, 5)),
    *[(change, (256, 48, 5, 5)) for change in (
        {"lrn": "none"}, {"pooling": "2x2"}, {"pooling": "2x2 alone"}, {"dropout": "none"}, {"activation": "tanh"},
        {"activation": "sigmoid"}, {"without": "conv3"}, {"without": "conv4"}, {"without": "conv5"})]])
def test_ablations_of_the_paper_run(change, shape):
    model = AlexNet(3, 224, hidden=16, **change)
    assert tuple(model.conv2.weight.shape) == shape
    loss = model(torch.rand(2, 3, 224, 224) * 255).sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    if change.get("without") != "conv5":
        assert sizes(model)["pool5"].shape == (256, 6, 6)
    assert change.get("without") not in dict(model.named_children())
    if change.get("lrn") == "none":
        assert not {"norm1", "norm2", "mapnorm2"} & set(dict(model.named_children()))


@pytest.mark.parametrize("arguments,message", [
    ({"variant": "vgg"}, "as-written, as-trained, caffe, torchvision"), ({"colums": 1}, "colums.*columns"),
    ({"lrn": "both"}, "'column', 'all', 'none'"), ({"columns": 3}, "1, 2"), ({"without": "fc6"}, "'conv5'"),
    ({"activation": "gelu"}, "tanh"), ({"columns": "half", "widths": (1, 1, 1, 1, 1)}, "one of the two"),
    ({"widths": (97, 256, 384, 384, 256)}, "2 columns"), ({"std": (0.1,)}, "8 values")])
def test_what_does_not_exist_is_refused_with_what_does(arguments, message):
    with pytest.raises(ValueError, match=message):
        AlexNet(2, 64, **arguments)


def test_table_counts_what_the_model_has():
    text = AlexNet(10, 64).table()
    assert "20,209,034" in text and "multiply-adds" in text and "conv1" in text


@pytest.mark.parametrize("variant", VARIANTS)
def test_fc6_and_fc7_are_the_values_behind_their_relu(variant):
    torch.manual_seed(0)
    model = AlexNet(5, 64, variant, hidden=64, bias=(0,) * 8).eval()
    found = model.activations(torch.randint(0, 256, (2, 3, 64, 64)), ["fc6", "relu6", "fc7", "relu7"])
    for name, relu in (("fc6", "relu6"), ("fc7", "relu7")):
        assert torch.equal(found[name], found[relu]) and (found[name] == 0).any() and (found[name] > 0).any()


def test_a_network_without_dropout_has_none():
    assert not [name for name, module in AlexNet(3, 64, hidden=16, dropout="none").named_modules()
                if isinstance(module, Dropout) or name.startswith("drop")]


def test_torchvisions_initial_weights_are_pytorchs():
    """Uniform up to 1 / sqrt(inputs of a unit), biases too."""
    torch.manual_seed(0)
    model = AlexNet(100, 64, "torchvision")
    for name in LAYERS:
        layer = getattr(model, name)
        limit = layer.weight[0].numel() ** -0.5
        assert layer.weight.std().item() == pytest.approx(limit / 3 ** 0.5, rel=0.03), name
        assert 0.95 * limit < layer.weight.abs().max() <= limit
        assert 0.5 * limit < layer.bias.abs().max() <= limit


def test_the_norm_of_16_bits_is_that_of_32_rounded_once():
    x = (torch.randn(2, 8, 5, 5) * 100)
    for dtype in (torch.bfloat16, torch.float16):
        norm = LocalResponseNorm(alpha=1e-2)
        assert torch.equal(norm(x.to(dtype)), norm(x.to(dtype).float()).to(dtype))
