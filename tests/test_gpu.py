"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from alexnet import AlexNet, load, training
from alexnet.data import find_source, packed
from alexnet.model import VARIANTS, LocalResponseNorm, SameMapNorm
from alexnet.training import Run, Settings, World, evaluate, make_optimizer, set_rates
from conftest import make_folder

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
    model = AlexNet(10, 96, variant, widths=(16, 32, 32, 32, 32), hidden=64).eval()
    images, labels = torch.randint(0, 256, (6, 3, 96, 96)).float(), torch.arange(6)
    reference = AlexNet(10, 96, variant, widths=(16, 32, 32, 32, 32), hidden=64).eval()
    reference.load_state_dict(model.state_dict())
    reference.double()
    training.compute_ready(model, GPU, World())
    logits, expected = model(images.to(GPU)), reference(images.double())
    assert apart(logits, expected) < 1e-4
    F.cross_entropy(logits, labels.to(GPU)).backward()
    F.cross_entropy(expected, labels).backward()
    for (name, own), other in zip(model.named_parameters(), reference.parameters()):
        assert apart(own.grad, other.grad) < 1e-3, name


@pytest.mark.parametrize("dtype, close", [(torch.float32, 1e-5), (torch.bfloat16, 5e-3)])
@pytest.mark.parametrize("norm", [LocalResponseNorm(k=2, n=5, alpha=1e-4, beta=0.75), SameMapNorm()], ids=("across", "within"))
def test_normalisations_are_those_of_float64_on_the_cpu_for_any_shape(norm, dtype, close):
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


def test_a_run_on_the_gpu_learns_and_its_checkpoint_answers_on_the_cpu(place):
    folder = make_folder(place / "set", {"train/star": 100, "train/stripes": 100, "val/star": 25, "val/stripes": 25})
    pack = packed(find_source(str(folder)), 64, place / "cache", quiet=True)
    settings = Settings("test", "as-trained", 64, None, epochs=8, batch_size=20, lr=0.0037, momentum=0.9, weight_decay=5e-4,
                        warmup=0, schedule="constant", color_noise=0.1, seed=3, precision="auto")
    run = Run(place / "run", settings, pack, GPU, threads=3)
    run.train()
    assert min(run.progress.errors()) <= 0.2
    model = load(place / "run/last.pt")
    assert model.mean.device.type == "cpu"
    on_gpu, on_cpu = evaluate(run.model, pack), evaluate(model, pack)
    assert on_cpu["loss"] == pytest.approx(on_gpu["loss"], rel=0.02) and abs(on_cpu["top1_error"] - on_gpu["top1_error"]) <= 0.04


def test_the_fused_step_is_the_papers_rule_across_changes_of_the_rate():
    torch.manual_seed(0)
    models = [AlexNet(3, 36, hidden=32) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[0].to(GPU)
    models[1].double()
    optimizers = [make_optimizer(model, training.RECIPES["as-trained"]) for model in models]
    for rate in (0.01, 0.01, 0.001, 0.001, 0.03):
        for optimizer in optimizers:
            set_rates(optimizer, rate)
        for own, other in zip(models[0].parameters(), models[1].parameters()):
            other.grad = torch.randn_like(other)
            own.grad = other.grad.to(GPU, torch.float32)
        for optimizer in optimizers:
            optimizer.step()
    for (name, own), other in zip(models[0].named_parameters(), models[1].parameters()):
        assert apart(own.detach(), other.detach()) < 1e-5, name
