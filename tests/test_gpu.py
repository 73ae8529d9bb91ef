"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet import AlexNet, load, norms
from alexnet.demo import CLASSES
from alexnet.device import World, compute_ready
from alexnet.pack import packed
from alexnet.sources import find_source
from alexnet.layers import ColumnConv2d, SameMapNorm
from alexnet.model import VARIANTS, LocalResponseNorm
from alexnet.recipe import RECIPES, make_optimizer, set_rates
from alexnet.training import Run, evaluate
from conftest import make_folder
from results import (ablations, balance, base_result, cifar_nets, growth, local_nets, longer, looks, modern,
                     stars, starting, units)
from test_training import settings, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU = torch.device("cuda", 0)


@pytest.fixture
def exact(monkeypatch):
    """float32 on the GPU without its short cuts (TF32)."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def apart(one: torch.Tensor, two: torch.Tensor) -> float:
    """|one - two| / |two|."""
    return ((one.cpu().double() - two.cpu().double()).norm() / two.cpu().double().norm()).item()


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_gradients_are_those_of_float64_on_the_cpu(variant, exact):
    torch.manual_seed(0)
    network = AlexNet(10, 96, variant, widths=(16, 32, 32, 32, 32), hidden=64).eval()
    images, labels = torch.randint(0, 256, (6, 3, 96, 96)).float(), torch.arange(6)
    reference = AlexNet(10, 96, variant, widths=(16, 32, 32, 32, 32), hidden=64).eval()
    reference.load_state_dict(network.state_dict())
    reference.double()
    compute_ready(network, GPU, World())
    logits, expected = network(images.to(GPU)), reference(images.double())
    assert apart(logits, expected) < 1e-4
    F.cross_entropy(logits, labels.to(GPU)).backward()
    F.cross_entropy(expected, labels).backward()
    for (name, own), other in zip(network.named_parameters(), reference.parameters()):
        assert apart(own.grad, other.grad) < 1e-3, name


@pytest.mark.parametrize("dtype, close", [(torch.float32, 1e-5), (torch.bfloat16, 5e-3)])
@pytest.mark.parametrize("norm", [LocalResponseNorm(), SameMapNorm()], ids=("across", "within"))
def test_normalisations_are_those_of_float64_on_the_cpu_for_any_shape(norm, dtype, close):
    assert norms.kernels_on(GPU)   # else it is not they that are tested
    for shape in ((4, 96, 27, 27), (1, 96, 55, 55), (7, 32, 13, 13), (128, 96, 7, 7)):
        values, gradient = 30 * torch.randn(shape), torch.randn(shape)
        results = []
        for device, kind in ((GPU, dtype), ("cpu", torch.float64)):
            x = values.to(dtype).to(device, kind, memory_format=torch.channels_last).requires_grad_()
            y = norm(x)
            y.backward(gradient.to(dtype).to(device, kind))
            results.append((y.detach(), x.grad))
        for own, expected in zip(*results):
            assert apart(own, expected) < close, shape


def test_columns_in_16_bits_are_those_of_the_grouped_convolution():
    torch.manual_seed(0)
    columns = ColumnConv2d(48, 96, 5, 1, 2, groups=2)
    columns.to(GPU, torch.bfloat16, memory_format=torch.channels_last)
    grouped = nn.Conv2d(48, 96, 5, 1, 2, groups=2)
    grouped.load_state_dict(columns.state_dict())
    images, gradient = torch.randn(4, 48, 13, 13).bfloat16(), torch.randn(4, 96, 13, 13).bfloat16()
    results = []
    for layer, device, dtype in ((columns, GPU, torch.bfloat16), (grouped.double(), "cpu", torch.float64)):
        x = images.to(device, dtype).requires_grad_()
        y = layer(x)
        y.backward(gradient.to(device, dtype))
        results.append((y.detach(), x.grad, layer.weight.grad, layer.bias.grad))
    for own, expected in zip(*results):
        assert apart(own, expected) < 1e-2


def test_a_run_on_the_gpu_learns_and_its_checkpoint_answers_on_the_cpu(place):
    counts = {"train/star": 100, "train/stripes": 100, "val/star": 25, "val/stripes": 25}
    folder = make_folder(place / "set", counts)
    pack = packed(find_source(str(folder)), 64, place / "cache", quiet=True)
    chosen = settings(image_size=64, epochs=8, batch_size=20, lr=0.0037, schedule="constant",
                      precision="auto")
    run = Run(place / "run", chosen, pack, GPU, threads=3)
    train(run)
    assert min(run.progress.errors()) <= 0.2
    network = load(place / "run/last.pt")
    assert network.mean.device.type == "cpu"
    on_gpu, on_cpu = evaluate(run.model, pack), evaluate(network, pack)
    assert on_cpu["loss"] == pytest.approx(on_gpu["loss"], rel=0.02)
    assert on_cpu["top1_error"] == pytest.approx(on_gpu["top1_error"], abs=0.04)


def test_the_fused_step_is_the_papers_rule_across_changes_of_the_rate():
    torch.manual_seed(0)
    networks = [AlexNet(3, 36, hidden=32) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    networks[0].to(GPU)
    networks[1].double()
    optimizers = [make_optimizer(network, RECIPES["as-trained"]) for network in networks]
    for rate in (0.01, 0.01, 0.001, 0.001, 0.03):
        for optimizer in optimizers:
            set_rates(optimizer, rate)
        for own, other in zip(networks[0].parameters(), networks[1].parameters()):
            other.grad = torch.randn_like(other)
            own.grad = other.grad.to(GPU, torch.float32)
        for optimizer in optimizers:
            optimizer.step()
    for (name, own), other in zip(networks[0].named_parameters(), networks[1].parameters()):
        assert apart(own.detach(), other.detach()) < 1e-5, name


def test_experiments_run_on_a_gpu_and_say_so(tmp_path):
    """A unit of each kind, as small as can be."""
    folder = make_folder(tmp_path / "set", {f"{part}/{name}": 12 for part in ("train", "val")
                                            for name in CLASSES})
    place = units.Place(tmp_path / "out", {name: folder for name in units.DATA}, toy=True, device=GPU)
    tried = [ablations.case_unit("base", 0), starting.units()[0],
             starting.end_unit("as-trained", "as it is", 0), local_nets.units()[0],
             longer.SIXTY.units()[0], looks.units()[0], modern.finals(modern.OLD)[0],
             base_result.side(base_result.THEIRS)[0], base_result.side(base_result.SWAPPED)[0],
             cifar_nets.norm_units("with LRN")[0], balance.units()[0], growth.units(0)[0]]
    for unit in tried:
        assert units.run(unit, place), unit.name
        content = place.found(unit)
        assert content["device"] == "cuda" and content["machine"]["gpu"], unit.name
    other = make_folder(tmp_path / "other",
                        {f"{part}/{name}": 12 for part in ("train", "val") for name in "ab"})
    apart_from_it = replace(place, folders={**place.folders, "tiny": other})   # its classes occur in no other
    assert units.run(stars.unit_of(stars.TUNED, 0), apart_from_it)
