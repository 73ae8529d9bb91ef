"""The recipe, and that a run is the same however it is stopped, threaded or shared out."""

from __future__ import annotations

import csv
import math
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.distributed.nn   # before a group is made: device.join_world says why
import torch.nn.functional as F
from torch import nn

from alexnet import AlexNet, augment, checkpoint, load, training
from alexnet.batches import Batch, TrainingBatches
from alexnet.threads import in_order
from alexnet.pack import packed
from alexnet.sources import find_source
from alexnet.device import World, choose_device, choose_precision
from alexnet.layers import Dropout
from alexnet.files import UserError, read_json
from alexnet.progress import Sums
from alexnet.recipe import (RECIPES, SCHEDULES, Plan, Recipe, default_rate, highest_rate, make_optimizer,
                            set_rates)
from alexnet.settings import Settings
from alexnet.training import BATCH_DONE, Run, Stopped, evaluate
from conftest import in_two_processes, make_folder

SIZE = 36  # the smallest image
CPU = torch.device("cpu")
SMALL = {"widths": [16, 16, 16, 16, 16], "hidden": 16}   # a network whose steps take no time


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """45 training and 11 validation images of two classes: batches of 16 leave a short one."""
    place = tmp_path_factory.mktemp("pack")
    folder = make_folder(place / "set", {
        "train/star": 22, "train/stripes": 23, "val/star": 6, "val/stripes": 5})
    return packed(find_source(str(folder)), SIZE, place / "cache", quiet=True)


def settings(**changes) -> Settings:
    values = dict(data="test", variant="as-trained", image_size=SIZE, val_fraction=None, epochs=2,
                  batch_size=16, lr=0.002, momentum=0.9, weight_decay=5e-4, warmup=0, schedule="steps",
                  color_noise=0.1, seed=3, precision="fp32")
    return Settings(**{**values, **changes})


def train(run: Run, stop_at: int | None = None) -> list[list[float]]:
    """To the end, or asks to stop at a step; after each, the running sums of all processes."""
    totals = []
    for event in run.train():
        if event == BATCH_DONE:
            totals.append(run.world.sum(run.totals.clone()).tolist())
            run.stop = len(totals) == stop_at
    return totals


def state_of(run: Run) -> dict[str, torch.Tensor]:
    state = {name: value.clone() for name, value in run.model.state_dict().items()}
    for index, entry in run.optimizer.state_dict()["state"].items():
        state[f"momentum {index}"] = entry["momentum_buffer"].clone()
    return state


def timeless(run: Run) -> list[dict]:
    """The rows of metrics.csv, but for the times."""
    return [{key: row[key] for key in row if "second" not in key} for row in run.progress.rows]


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert not [name for name in one if not torch.equal(one[name], two[name])]


# ------------------------------------------------------------------- the rule of section 5

@pytest.mark.parametrize("variant,bias_factor,bias_decay", [("as-trained", 2, 0), ("as-written", 1, 5e-4)])
def test_steps_are_the_papers_rule_in_float64_across_changes_of_the_rate(variant, bias_factor, bias_decay):
    torch.manual_seed(0)
    model = AlexNet(3, SIZE, variant, hidden=32)
    optimizer = make_optimizer(model, RECIPES[variant])
    w = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    v = {name: torch.zeros_like(p) for name, p in w.items()}
    for step in range(12):
        rate = 0.01 if step < 4 else 0.001 if step < 8 else 0.03
        set_rates(optimizer, rate)
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            bias = name.endswith("bias")
            e = rate * (bias_factor if bias else 1)
            decay = bias_decay if bias else 5e-4
            v[name] = 0.9 * v[name] - decay * e * w[name] - e * parameter.grad.double()
            w[name] += v[name]
        optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach().double(), w[name], rtol=1e-5, atol=2e-6, msg=name)


def test_a_step_goes_along_the_average_gradient_of_its_batch_also_of_the_short_last_one(pack):
    run = Run(None, settings(changes={**SMALL, "dropout": "none"}), pack, CPU)
    set_rates(run.optimizer, 0.01)
    batch = run.batches(Plan()).prepare(2)
    assert len(batch.labels) == 13   # of 16
    weight = run.model.fc8.weight
    before = weight.detach().clone()
    gradient, = torch.autograd.grad(F.cross_entropy(run.model(batch.images), batch.labels), weight)
    training.train_step(run.net, run.optimizer, batch, torch.float32)
    torch.testing.assert_close(weight.detach(), before - 0.01 * (gradient + 5e-4 * before), rtol=1e-5, atol=1e-8)


# ------------------------------------------------------------------- the rate

def test_default_rate_is_the_papers_from_ten_classes_up_and_lower_for_few():
    rates = [default_rate(AlexNet(count, SIZE), RECIPES["as-trained"]) for count in (2, 3, 5, 10, 100, 1000)]
    assert rates == sorted(rates) and rates[3:] == [0.01] * 3 and rates[0] == 0.0037
    assert default_rate(AlexNet(10, SIZE, dropout="inverted"), RECIPES["as-trained"]) < 0.005
    assert default_rate(AlexNet(2, 64, "torchvision"), RECIPES["torchvision"]) == 0.01


def test_highest_rate_is_where_descent_along_fc7_turns_unstable():
    """Softmax and fc8 alone, on the same h for every image, as at the start; balanced labels."""
    model = AlexNet(10, SIZE)
    limit = highest_rate(model, Recipe(bias_rate=0.0))
    h = torch.full((10, 4096), 0.5, dtype=torch.float64)

    def grows(rate: float) -> bool:
        torch.manual_seed(0)
        weight = (torch.randn(10, 4096, dtype=torch.float64) * 1e-6).requires_grad_()
        v = torch.zeros_like(weight)
        start = (weight @ h[0]).detach()
        for _ in range(60):
            gradient, = torch.autograd.grad(F.cross_entropy(h @ weight.T, torch.arange(10)), weight)
            v = 0.9 * v - rate * gradient
            weight = (weight + v).detach().requires_grad_()
        logits = (weight @ h[0]).detach()
        return bool((logits - logits.mean()).norm() > (start - start.mean()).norm())
    assert not grows(limit * 0.97) and grows(limit * 1.03)


# ------------------------------------------------------------------- schedules

def test_a_short_run_of_release_has_the_full_learning_rate_first():
    rates = [[SCHEDULES["release"](epoch, epochs, []).rate for epoch in range(epochs)] for epochs in (1, 2, 7)]
    assert rates[:2] == [[1], [1, 0.1]] and rates[2] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_release_is_the_note_of_net_145():
    plans = [SCHEDULES["release"](epoch, 91, []) for epoch in range(91)]
    assert [round(math.log10(plan.rate)) for plan in plans] == [0] * 25 + [-1] * 26 + [-2] * 28 + [-3] * 12
    assert [plan.conv1 for plan in plans] == [1.0] * 67 + [0.1] * 5 + [0.0] * 19
    assert [plan.noise for plan in plans] == [True] * 67 + [False] * 24


def test_plateau_divides_when_the_error_stops_improving_three_times_then_ends():
    errors = [0.9, 0.5, 0.5, 0.6, 0.51, 0.5] + [0.4] * 5 + [0.45, 0.3] + [0.3] * 4 + [0.31] * 4
    for epochs in (25, 90):  # a longer run does not change the past
        plans = [SCHEDULES["plateau"](epoch, epochs, errors) for epoch in range(len(errors) + 1)]
        assert [round(math.log10(plan.rate)) for plan in plans] == [0] * 6 + [-1] * 5 + [-2] * 6 + [-3] * 5
        assert [plan.finished for plan in plans] == [False] * 21 + [True]


def test_plateau_ends_after_the_fourth_standstill():
    assert [SCHEDULES["plateau"](epoch, 20, [0.5] * 20).finished for epoch in (16, 17)] == [False, True]


def test_steps_and_constant():
    rates = [round(math.log10(SCHEDULES["steps"](epoch, 30, []).rate)) for epoch in range(30)]
    assert rates == [0] * 18 + [-1] * 7 + [-2] * 5
    assert [SCHEDULES["steps"](epoch, 8, []).rate for epoch in range(8)] == [1.0] * 5 + [0.1] * 3
    assert {SCHEDULES["steps"](epoch, 3, []).rate for epoch in range(3)} == {1.0}
    assert {SCHEDULES["constant"](epoch, 30, []).rate for epoch in range(30)} == {1.0}


# ------------------------------------------------------------------- batches

def batches_of(pack, epoch=1, world=World(), threads=1, **options):
    return TrainingBatches(pack, settings(**options), epoch, pack.mean_crop(SIZE), world, threads)


def test_an_epoch_has_every_image_once_and_another_order_each_time(pack):
    orders = [batches_of(pack, epoch).order for epoch in (0, 1)]
    assert all(sorted(order) == list(range(45)) for order in orders) and (orders[0] != orders[1]).any()
    assert [len(batch.labels) for batch in batches_of(pack)] == [16, 16, 13]


TODAY = [{}, {"augmentation": "resized"}, {"balance": True}]


def test_balance_draws_each_class_equally_often_and_all_of_its_images(pack):
    labels = np.array([0] * 400 + [1] * 40 + [3] * 4 + [0] * 156)   # none of class 2
    unequal = replace(pack, labels={**pack.labels, "train": labels})
    orders = [batches_of(unequal, epoch, balance=True).order for epoch in range(20)]
    assert all(len(order) == 600 for order in orders) and (orders[0] != orders[1]).any()
    drawn = np.bincount(np.concatenate(orders), minlength=600)
    shares = [drawn[labels == label].sum() / 12_000 for label in (0, 1, 3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)
    assert drawn[labels != 0].min() > 50 and drawn[labels == 0].max() < 25


@pytest.mark.parametrize("options", TODAY)
def test_batches_do_not_depend_on_the_number_of_threads(pack, options):
    one, many = (batches_of(pack, threads=threads, **options) for threads in (1, 5))
    for one, many in zip(one, many, strict=True):
        assert torch.equal(one.images, many.images) and torch.equal(one.labels, many.labels)


def test_threads_that_prepare_compute_alone_and_leave_the_networks_threads_to_it():
    def used(item: int) -> int:
        time.sleep(0.02)              # what the main thread has to set is set by now
        torch.ones(10 ** 6).add_(1)   # large enough to be shared among threads
        return torch.get_num_threads()

    before = torch.get_num_threads()
    try:
        for count in (2, 3):
            torch.set_num_threads(count)
            assert list(in_order(used, range(8), threads=3, ahead=4)) == [1] * 8
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("options", TODAY)
def test_two_processes_have_the_rows_of_one(pack, options):
    worlds = World(), World(0, 2), World(1, 2)
    whole, left, right = (batches_of(pack, world=world, **options) for world in worlds)
    for whole, left, right in zip(whole, left, right, strict=True):
        assert torch.equal(torch.cat([left.images, right.images]), whole.images)
        assert torch.equal(torch.cat([left.labels, right.labels]), whole.labels)
        assert left.total == right.total == len(whole.labels)


# ------------------------------------------------------------------- evaluation

@pytest.fixture(scope="module")
def network(pack):
    torch.manual_seed(1)
    model = AlexNet(7, SIZE, hidden=64)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.mean.fill_(110)
    return model.eval()


@pytest.mark.parametrize("views", [1, 10])
def test_errors_are_exact_for_any_batch_size_and_sharing(pack, network, views):
    labels = np.arange(11) % 7
    whole = augment.as_batch(pack.images["val"])
    crops = augment.ten_crops(whole, SIZE) if views == 10 else [augment.centre(whole, SIZE)]
    with torch.no_grad():
        mean = torch.stack([network(crop).softmax(1) for crop in crops]).mean(0)
    order = mean.argsort(1, descending=True)
    top1 = (order[:, 0] != torch.from_numpy(labels)).sum().item()
    top5 = (order[:, :5] != torch.from_numpy(labels)[:, None]).all(1).sum().item()
    loss = -mean[torch.arange(11), torch.from_numpy(labels)].log().mean().item()
    for batch_size in (1, 4, 11, 50):
        result = evaluate(network, pack, views=views, batch_size=batch_size, labels=labels)
        wrong = [round(result[f"{name}_error"] * 11) for name in ("top1", "top5")]
        assert wrong == [top1, top5] and result["images"] == 11
        assert result["loss"] == pytest.approx(loss, rel=1e-5)
    shares = [SimpleNamespace(rows=World(rank, 3).rows, sum=lambda values: values) for rank in range(3)]
    parts = [evaluate(network, pack, views=views, world=share, labels=labels) for share in shares]
    assert sum(part["images"] for part in parts) == 11
    assert sum(round(part["top1_error"] * part["images"]) for part in parts) == top1


def test_ties_share_their_places_and_nan_is_never_right(pack):
    model = AlexNet(7, SIZE, hidden=8).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    labels = np.zeros(11, np.int64)
    result = evaluate(model, pack, labels=labels)
    assert (result["top1_error"], result["top5_error"]) == pytest.approx((6 / 7, 2 / 7))  # shared places
    model.fc8.bias.data.fill_(math.nan)
    result = evaluate(model, pack, labels=labels)
    assert result["top1_error"] == result["top5_error"] == 1.0


# ------------------------------------------------------------------- a run

def test_a_run_leaves_its_folder_and_the_best_network_predicts(pack, place):
    run = Run(place / "run", settings(), pack, CPU)
    train(run)
    assert sorted(path.name for path in (place / "run").iterdir()) == [
        "best.pt", "curves.png", "last.pt", "metrics.csv", "previous.pt"]
    rows = list(csv.DictReader(open(place / "run/metrics.csv")))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"epoch", "lr", "train_loss", "train_top1_error", "val_loss", "val_top1_error", "val_top5_error",
            "images_per_second", "seconds", "seconds_waiting"} <= set(rows[0])
    model = load(place / "run/best.pt")
    assert model.classes == ["star", "stripes"] and not model.training
    best = min(float(row["val_top1_error"]) for row in rows)
    assert evaluate(model, pack)["top1_error"] == best
    torch.testing.assert_close(model.mean[0], pack.mean_crop(SIZE))


def test_stopped_after_any_step_and_resumed_is_never_stopped(pack, place):
    chosen = settings(schedule="release", epochs=3, changes=SMALL)   # with a drop, conv1 slower, no noise
    straight = Run(place / "straight", chosen, pack, CPU)
    train(straight)
    for step in range(1, 10):   # three batches an epoch
        folder = place / f"stopped{step}"
        with pytest.raises(Stopped):
            train(Run(folder, chosen, pack, CPU), stop_at=step)
        torch.rand(step)  # torch's own generator is somewhere else
        again = Run(folder, chosen, pack, CPU, threads=3)
        assert again.restore()
        train(again)
        assert_same(state_of(again), state_of(straight))
        assert timeless(again) == timeless(straight)
        shutil.rmtree(folder)


def test_a_run_with_the_options_of_today_goes_on_exactly(pack, place):
    today = settings(augmentation="resized", balance=True, patience=3, changes=SMALL)
    straight = Run(place / "straight", today, pack, CPU)
    train(straight)
    for step in (2, 5):
        with pytest.raises(Stopped):
            train(Run(place / f"stopped{step}", today, pack, CPU), stop_at=step)
        again = Run(place / f"stopped{step}", today, pack, CPU, threads=3)
        assert again.restore()
        train(again)
        assert_same(state_of(again), state_of(straight))


def test_patience_ends_a_run_when_so_many_epochs_brought_nothing_better(pack):
    errors = [0.5, 0.4, 0.4, 0.45, 0.3, 0.31, 0.3, 0.3]
    for patience, end in ((1, 3), (2, 4), (3, 8), (4, None), (None, None)):
        run = Run(None, settings(epochs=20, patience=patience, changes=SMALL), pack, CPU)
        ends = []
        for epoch in range(len(errors) + 1):
            run.progress.rows = [{"val_top1_error": error} for error in errors[:epoch]]
            run.progress.epoch = epoch
            ends.append(run.finished)
        assert (ends.index(True) if True in ends else None) == end, patience


def test_a_run_killed_while_last_pt_was_replaced_goes_on_from_the_one_before(pack, place):
    train(Run(place / "run", settings(), pack, CPU))
    (place / "run/last.pt").unlink()
    again = Run(place / "run", settings(), pack, CPU)
    assert again.restore() and again.progress.epoch == 1


def test_an_empty_share_of_a_batch_does_no_harm():
    model = AlexNet(2, SIZE, hidden=16)
    logits, labels = model(torch.zeros(0, 3, SIZE, SIZE)), torch.zeros(0, dtype=torch.long)
    F.cross_entropy(logits, labels, reduction="sum").backward()
    assert all((parameter.grad == 0).all() for parameter in model.parameters())


def test_another_seed_gives_other_weights_and_another_order(pack):
    one, two = (Run(None, settings(seed=seed, changes=SMALL), pack, CPU) for seed in (3, 4))
    assert not torch.equal(one.model.conv1.weight, two.model.conv1.weight)
    assert (one.batches(Plan()).order != two.batches(Plan()).order).any()


@pytest.mark.skipif(torch.__version__ < (2, 11), reason="an older PyTorch asks for a driver even here")
def test_a_step_on_a_gpu_mixes_no_devices(pack, monkeypatch):
    """Shapes and devices only: torch's fake tensors say what a real GPU would refuse."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    monkeypatch.setattr(training, "generator", lambda *key: None)
    gpu, collected = torch.device("cuda:0"), []
    run = Run(Path("run"), settings(changes=SMALL), pack, CPU)
    run.device = gpu
    with FakeTensorMode(allow_non_fake_inputs=False):
        monkeypatch.setattr(World, "sum", lambda world, sums: (
            collected.append(sums.device.type) or np.zeros((1, 2))))
        for module in run.model.modules():
            for values in (module._parameters, module._buffers):
                for name, value in values.items():
                    empty = torch.empty(value.shape, device=gpu)
                    values[name] = nn.Parameter(empty) if isinstance(value, nn.Parameter) else empty
        run.optimizer = make_optimizer(run.model, Recipe())
        images = torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8, device=gpu)
        noisy = augment.colour_noise(images, augment.Choice(*[torch.zeros(4)] * 3, torch.zeros(4, 3)),
                                     torch.eye(3, dtype=torch.float64), 0.1,
                                     torch.zeros(3, SIZE, SIZE, device=gpu))
        assert noisy.device == gpu
        batch = Batch(noisy, torch.zeros(4, dtype=torch.long, device=gpu), 4, 0)
        batches = type("Batches", (list,), {"waited": 0.0})([batch])
        monkeypatch.setattr(Run, "batches", lambda run, plan: batches)
        monkeypatch.setattr(torch.Tensor, "backward", lambda loss: None)  # asks for a real GPU
        run.minutes = -1   # a checkpoint is due after each batch
        monkeypatch.setattr(run, "save", lambda: None)
        monkeypatch.setattr(training, "evaluate", lambda *_, **more: {"loss": math.nan})   # the end
        for run.dtype in (torch.float32, torch.bfloat16):
            with pytest.raises(UserError, match="validation loss"):
                train(run)
    assert collected == ["cuda"] * 6 and run.progress.sums.seen == 8


def test_a_loss_that_is_no_number_ends_the_run_with_advice(pack, place):
    run = Run(place / "run", settings(lr=1e6), pack, CPU)
    with pytest.raises(UserError, match="no longer a number.*--lr 0.00[0-9]+ .*Nothing was finished"):   # not 3e5
        train(run)
    run.save()
    with pytest.raises(UserError, match="What was finished before is in"):
        run.check_finite(math.nan)


def test_a_validation_loss_that_is_no_number_ends_the_run_before_its_weights_are_kept(pack, place):
    one_step = settings(lr=1e9, batch_size=45, epochs=1)   # from good weights
    run = Run(place / "run", one_step, pack, CPU)
    with pytest.raises(UserError, match="the validation loss is no longer a number in epoch 1.*--lr"):
        train(run)
    assert not (place / "run").exists()


def test_the_network_learns_two_classes_that_only_patterns_tell_apart(tmp_path):
    folder = make_folder(tmp_path / "set", {
        "train/star": 100, "train/stripes": 100, "val/star": 25, "val/stripes": 25})
    small = packed(find_source(str(folder)), 64, tmp_path / "cache", quiet=True)
    larger = settings(image_size=64, epochs=8, batch_size=20, lr=0.0037, schedule="constant")
    run = Run(tmp_path / "run", larger, small, CPU)
    train(run)
    shutil.rmtree(tmp_path / "run")
    assert min(run.progress.errors()) <= 0.2


def share(rank: int, folder: str, pack_folder: str) -> None:
    from alexnet.pack import open_pack
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    run = Run(Path(folder) / "run", settings(epochs=7, changes=SMALL), open_pack(Path(pack_folder)), CPU, World(rank, 2))
    totals = train(run)
    if rank == 0:
        torch.save({"totals": totals, "rows": run.progress.rows}, f"{folder}/result.pt")
    dist.destroy_process_group()


def test_two_processes_train_as_one(pack, place):
    alone = Run(place / "alone", settings(epochs=7, changes=SMALL), pack, CPU)
    totals = train(alone)
    in_two_processes(share, str(place), str(pack.folder))
    both = torch.load(place / "result.pt", weights_only=True)
    assert len(totals) >= 20
    for one, two in zip(totals[:20], both["totals"][:20], strict=True):
        assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert [row["val_top1_error"] for row in both["rows"]] == alone.progress.errors()


# ------------------------------------------------------------------- fp16

def halved(**changes) -> Settings:
    return settings(precision="fp16", changes=SMALL, **changes)


def test_fp16_skips_and_counts_steps_that_overflow_and_goes_on_exactly(pack, place):
    """With a first scale so high that the first steps overflow, and one that grows again soon."""
    def begun(folder, scale: float = 2.0 ** 24) -> Run:
        run = Run(place / folder, halved(), pack, CPU)
        run.scaler.load_state_dict({**run.scaler.state_dict(), "scale": scale, "growth_interval": 2})
        return run

    straight = begun("straight")
    before = straight.model.fc8.weight.clone()
    with pytest.raises(Stopped):
        train(straight, stop_at=1)
    assert straight.progress.skipped == 1 and torch.equal(straight.model.fc8.weight, before)
    train(straight)
    assert 1 < straight.progress.skipped < 6 and not torch.equal(straight.model.fc8.weight, before)
    for step in (1, 4):
        with pytest.raises(Stopped):
            train(begun(f"stopped{step}"), stop_at=step)
        again = Run(place / f"stopped{step}", halved(), pack, CPU)
        assert again.restore()
        train(again)
        assert_same(state_of(again), state_of(straight))
        assert again.scaler.state_dict() == straight.scaler.state_dict()
        assert again.progress.skipped == straight.progress.skipped


def test_a_first_step_that_overflows_leaves_the_momentum_at_0(pack):
    run = Run(None, halved(), pack, CPU)
    run.scaler.load_state_dict({**run.scaler.state_dict(), "scale": 2.0 ** 100})
    set_rates(run.optimizer, 0.01)
    batch = run.batches(Plan()).prepare(0)
    training.train_step(run.net, run.optimizer, batch, run.dtype, scaler=run.scaler)
    buffers = [state["momentum_buffer"] for state in run.optimizer.state.values()]
    assert run.scaler.get_scale() == 2.0 ** 99 and len(buffers) == 16
    assert not any(buffer.any() for buffer in buffers)


def test_a_run_in_fp16_takes_up_one_in_another_precision(pack, place):
    with pytest.raises(Stopped):
        train(Run(place / "run", settings(changes=SMALL), pack, CPU), stop_at=2)
    run = Run(place / "run", halved(), pack, CPU)   # `auto`, on another machine
    assert run.restore() and run.scaler.get_scale() == 2 ** 16


def test_fp16_is_chosen_on_gpus_with_tensor_cores_but_without_bf16(monkeypatch):
    gpu, capability = torch.device("cuda:0"), [(7, 5)]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: capability[0] >= (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability[0])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name[0])
    name = ["Tesla T4"]
    for capability[0], dtype in (((6, 1), torch.float32), ((7, 0), torch.float16), ((7, 5), torch.float16),
                                 ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)):
        assert choose_precision("auto", gpu) is dtype
    assert choose_precision("fp16", gpu) is choose_precision("fp16", CPU) is torch.float16
    capability[0] = (7, 5)   # of these, too, whose convolutions in fp16 give NaN
    for name[0] in ("NVIDIA GeForce GTX 1650", "NVIDIA GeForce GTX 1660 Ti", "NVIDIA GeForce MX450", "NVIDIA T600",
                    "Quadro T1000"):
        assert choose_precision("auto", gpu) is torch.float32, name
    for name[0] in ("NVIDIA GeForce RTX 2080 Ti", "NVIDIA TITAN RTX", "Tesla T4", "Quadro RTX 4000"):
        assert choose_precision("auto", gpu) is torch.float16, name


def test_bf16_of_a_processor_is_seen_by_an_older_pytorch_too(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
        assert choose_precision("auto", CPU) is dtype


def test_a_pytorch_that_cannot_use_the_gpu_of_the_machine_is_said(monkeypatch, capsys):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for found, said in ((None, ""), ("/usr/bin/nvidia-smi", "warning: this PyTorch cannot use the NVIDIA GPU")):
        monkeypatch.setattr(shutil, "which", lambda name: found)
        assert choose_device("auto") == CPU and capsys.readouterr().err.startswith(said)
        assert choose_device("cpu") == CPU and not capsys.readouterr().err


# ------------------------------------------------------------------- checkpoints

def test_a_checkpoint_gives_the_same_network_back(place):
    torch.manual_seed(0)
    model = AlexNet(4, 64, "as-written", columns="half", hidden=16).eval()
    model.classes = ["a", "b", "c", "d"]
    model.mean.uniform_(0, 255)
    checkpoint.save(place / "x.pt", model, {})
    again = load(place / "x.pt")
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(again(images), model(images)) and again.classes == model.classes
    assert again.design == model.design


def test_nothing_foreign_in_a_checkpoint_of_ours_is_run(place):
    """It becomes a stand-in, as in other people's files; we never write any."""
    class Foreign:
        def __reduce__(self):
            return exec, ("raise SystemExit('was run')",)
    checkpoint.save(place / "x.pt", AlexNet(2, SIZE, hidden=8), {}, optimizer={"param_groups": [{"params": [0]}]})
    content = torch.load(place / "x.pt", weights_only=True)
    content["optimizer"]["param_groups"][0]["params"][0] = Foreign()
    torch.save(content, place / "x.pt")
    assert load(place / "x.pt").num_classes == 2
    torch.save({**content, "facts": {"seed": Foreign()}}, place / "x.pt")
    with pytest.raises(UserError, match="does not describe a network of this project"):
        load(place / "x.pt")


def test_bf16_is_chosen_only_where_the_processor_computes_in_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False},
                        raising=False)   # newer than 2.6
    assert choose_precision("auto", CPU) is torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert choose_precision("auto", CPU) is torch.bfloat16
    assert choose_precision("fp32", CPU) is torch.float32


def test_config_is_readable_json(place):
    from alexnet.files import write_json
    write_json(place / "a.json", {"名": 1})
    assert read_json(place / "a.json") == {"名": 1}
    (place / "a.json").write_text("{")
    with pytest.raises(UserError, match="not a JSON"):
        read_json(place / "a.json")


def test_a_warm_up_longer_than_an_epoch_goes_on_in_the_next(pack, place):
    warm = settings(epochs=3, warmup=40, schedule="constant", changes=SMALL)
    run = Run(place / "run", warm, pack, CPU)
    steps, rates = len(run.batches(run.plan())), []

    for event in run.train():
        if event == BATCH_DONE:
            rates.append(run.optimizer.param_groups[0]["lr"] / run.optimizer.param_groups[0]["factor"])
    expected = [run.settings.lr * (step + 1) / 40 for step in range(3 * steps)]
    assert steps > 1 and rates == pytest.approx(expected)
    assert [row["lr"] for row in run.progress.rows] == pytest.approx(expected[steps - 1::steps])


def test_a_run_without_momentum_goes_on_after_a_drop(pack, place):
    none = settings(momentum=0.0, epochs=5, changes=SMALL)   # `steps` drops behind the third epoch
    train(Run(place / "run", none, pack, CPU))
    again = Run(place / "run", replace(none, epochs=6), pack, CPU)
    assert again.restore() and again.progress.epoch == 5
    train(again)
    assert again.progress.epoch == 6


def test_a_checkpoint_says_the_learning_rate_that_its_run_began_with(pack, place):
    train(Run(place / "run", settings(epochs=5, changes=SMALL), pack, CPU))
    facts = checkpoint.read(place / "run/last.pt")["facts"]
    assert (facts["lr"], facts["epoch"], facts["epochs"]) == (0.002, 5, 5) and "val_loss" in facts


def test_only_pinned_memory_is_copied_without_waiting(pack, monkeypatch):
    """On MPS such a copy reads memory that is already used for something else (pytorch issue 189690)."""
    asked, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *some, **more: (
        asked.append(more.get("non_blocking", False)), to(self, *some, **more))[1])
    batches_of(pack).prepare(0)
    assert asked and not any(asked)


def test_the_sums_of_an_epoch_are_shared_by_more_or_fewer_processes():
    sums = Sums(parts=[[6.0, 3.0], [2.0, 1.0]])
    assert [sums.of_process(World(rank, 2)) for rank in (0, 1)] == [[6.0, 3.0], [2.0, 1.0]]
    for size in (1, 4):
        shares = [sums.of_process(World(rank, size)) for rank in range(size)]
        assert shares == [[8.0 / size, 4.0 / size]] * size   # so the bar's mean, of one process, stays right


def test_a_run_follows_its_schedule(pack, place):
    """`release` over ten epochs of one step: its drops at 3, 6 and 9, conv1 slower from 7, frozen from 8 on."""
    run = Run(place / "run", settings(schedule="release", epochs=10, batch_size=45, changes=SMALL), pack, CPU)
    rates, filters = [], []
    for event in run.train():
        if event == BATCH_DONE:
            rates.append({group["first"]: group["lr"] / group["factor"] / run.settings.lr
                          for group in run.optimizer.param_groups})
            filters.append(torch.cat([part.detach().flatten() for part in run.model.conv1.parameters()]))
    assert [row["lr"] / run.settings.lr for row in run.progress.rows] == pytest.approx(
        [1] * 3 + [0.1] * 3 + [0.01] * 3 + [0.001])
    assert [rate[True] for rate in rates] == pytest.approx([1] * 3 + [0.1] * 3 + [0.01, 0.001, 0, 0])
    assert [rate[False] for rate in rates] == pytest.approx([1] * 3 + [0.1] * 3 + [0.01] * 3 + [0.001])
    assert [torch.equal(one, two) for one, two in zip(filters, filters[1:])] == [False] * 7 + [True] * 2


def alike(pack):
    """The set, of one picture 45 times: its batches differ by chance only."""
    images = np.stack([pack.images["train"][0]] * 45)
    return replace(pack, images={**pack.images, "train": images})


def test_crops_are_drawn_anew_in_each_batch_epoch_and_run_over_all_places(pack):
    def crops(seed, epoch, index):
        run = Run(None, settings(seed=seed, changes=SMALL), alike(pack), CPU)
        run.progress.epoch = epoch
        return run.batches(Plan(noise=False)).prepare(index).images
    one = crops(3, 0, 0)
    assert torch.equal(one, crops(3, 0, 0))
    for other in (crops(3, 0, 1), crops(3, 1, 0), crops(4, 0, 0)):
        assert not torch.equal(one, other)
    assert len(one.unique(dim=0)) > 8   # of 6 x 6 places and two mirror images


def test_each_dropout_layer_has_masks_of_its_own_in_each_step(pack, place):
    seeds = []
    for seed in (3, 4):
        run = Run(place / str(seed), settings(seed=seed, changes=SMALL), pack, CPU)
        for module in run.model.modules():
            if isinstance(module, Dropout):
                module.register_forward_pre_hook(lambda drop, _: seeds.append(
                    drop.masks.generator.initial_seed()) if drop.training else None)
        train(run)
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 6   # runs, layers, steps


def test_colours_vary_as_the_variant_says_and_not_where_the_schedule_says_so(pack):
    def images(variant, plan):
        return Run(None, settings(variant=variant, changes={"hidden": 16}), pack, CPU).batches(plan).prepare(0).images
    plain, paper, release = (images(*which).double() for which in (
        ("as-written", Plan(noise=False)), ("as-written", Plan()), ("as-trained", Plan())))
    noise = (paper - plain)[:, :, :1, :1]   # one colour an image
    assert noise.std() > 1
    torch.testing.assert_close(paper, plain + noise, rtol=0, atol=1e-3)
    mean = pack.mean_crop(SIZE).double()
    torch.testing.assert_close(release, mean + (plain - mean + noise) / 1.1, rtol=0, atol=1e-3)
    assert images("as-trained", Plan(noise=False)).dtype == torch.uint8


def test_the_rows_of_metrics_are_averages_over_the_images(pack, place):
    run = Run(place / "run", settings(changes=SMALL), pack, CPU)
    totals = train(run)
    for row, (loss, wrong) in zip(run.progress.rows, (totals[2], totals[5]), strict=True):
        assert (row["train_loss"], row["train_top1_error"]) == pytest.approx((loss / 45, wrong / 45))
        assert row["images_per_second"] * row["seconds"] == pytest.approx(45)


def test_best_pt_is_the_first_network_with_the_lowest_error(pack, place, monkeypatch):
    errors = iter((0.5, 0.25, 0.75, 0.25))
    monkeypatch.setattr(training, "evaluate", lambda *_, **__: {
        "loss": 1.0, "top1_error": next(errors), "top5_error": 0.0})
    train(Run(place / "run", settings(epochs=4, changes=SMALL), pack, CPU))
    assert checkpoint.read(place / "run/best.pt")["facts"]["epoch"] == 2
    assert checkpoint.read(place / "run/last.pt")["facts"]["epoch"] == 4


@pytest.mark.parametrize("variant, bias_rate, bias_decay, decay, noise, colour", [
    ("as-trained", 2, False, 5e-4, 0.1, "release"),   # layer-params-145.cfg, convdata.py
    ("as-written", 1, True, 5e-4, 0.1, "paper"),      # sections 5 and 4.1
    ("caffe", 2, False, 5e-4, 0, "paper"),            # train_val.prototxt
    ("torchvision", 1, True, 1e-4, 0, "paper")])      # pytorch/examples
def test_recipes_are_the_sources(variant, bias_rate, bias_decay, decay, noise, colour):
    assert RECIPES[variant] == Recipe(0.01, bias_rate, bias_decay, decay, 0.9, noise, colour, 128)


def test_a_checkpoint_is_due_after_so_many_minutes(pack):
    run = Run(None, settings(changes=SMALL), pack, CPU, minutes=5)
    for seconds, due in ((290, False), (310, True)):
        run.saved = time.monotonic() - seconds
        assert run.agree(False, last=False) == (False, due)


def test_work_is_done_at_most_so_far_ahead():
    taken = []
    results = in_order(str, (taken.append(number) or number for number in range(100)), threads=2, ahead=5)
    for count in range(1, 20):
        assert next(results) == str(count - 1) and len(taken) <= count + 5
    results.close()


# ------------------------------------------------------------------- promises that no other test holds

def test_a_drop_with_two_epochs_left_is_made():
    assert [SCHEDULES["steps"](epoch, 5, []).rate for epoch in range(5)] == [1.0] * 3 + [0.1] * 2


def test_the_training_error_is_the_share_of_wrong_answers(pack, place):
    run = Run(place / "run", settings(epochs=1, lr=1e-12, changes=SMALL), pack, CPU)
    with torch.no_grad():   # it answers star, whatever it sees
        run.model.fc8.weight.zero_()
        run.model.fc8.bias.copy_(torch.tensor([1.0, 0.0]))
    train(run)
    assert run.progress.rows[0]["train_top1_error"] == pytest.approx(23 / 45)


def test_the_curves_show_the_last_epoch_of_a_short_run(pack, place, monkeypatch):
    drawn = []
    monkeypatch.setattr(training.figures, "training_curves", lambda rows, *_: drawn.append(len(rows)))
    train(Run(place / "run", settings(epochs=3, changes=SMALL), pack, CPU))
    assert drawn[-1] == 3 and len(drawn) < 3   # twice a minute at most before


def test_an_epoch_begun_with_more_images_is_not_gone_on_with(pack, place):
    with pytest.raises(Stopped):
        train(Run(place / "run", settings(changes=SMALL), pack, CPU), stop_at=3)
    fewer = replace(pack, **{what: {**getattr(pack, what), "train": getattr(pack, what)["train"][:40]}
                             for what in ("images", "labels")})
    with pytest.raises(UserError, match="45 images in 3 batches, now 40; were some added or removed"):
        Run(place / "run", settings(changes=SMALL), fewer, CPU).restore()


def test_the_seconds_before_a_stop_count_too(pack, place):
    with pytest.raises(Stopped):
        train(Run(place / "run", settings(changes=SMALL), pack, CPU), stop_at=2)
    again = Run(place / "run", settings(changes=SMALL), pack, CPU)
    assert again.restore() and again.progress.sums.seconds > 0
    again.progress.sums.seconds, again.progress.sums.waited = 1000.0, 500.0
    train(again)
    row = again.progress.rows[0]
    assert row["seconds"] > 1000 and row["seconds_waiting"] >= 500 and row["images_per_second"] < 0.045


def test_best_pt_that_is_gone_is_written_again(pack, place, monkeypatch):
    errors = iter((0.25, 0.5))
    monkeypatch.setattr(training, "evaluate", lambda *_, **__: {
        "loss": 1.0, "top1_error": next(errors), "top5_error": 0.0})
    train(Run(place / "run", settings(epochs=1, changes=SMALL), pack, CPU))
    (place / "run/best.pt").unlink()
    again = Run(place / "run", settings(changes=SMALL), pack, CPU)
    assert again.restore()
    train(again)
    assert checkpoint.read(place / "run/best.pt")["facts"]["epoch"] == 2


def test_a_file_that_is_no_text_is_no_json(place):
    (place / "a.json").write_bytes('{"a": "caf\xe9"}'.encode("latin-1"))
    with pytest.raises(UserError, match="a.json is not a JSON file"):
        read_json(place / "a.json")


def test_patience_may_grow_but_not_begin_and_moved_data_are_known_by_their_whole_path(place, monkeypatch):
    stored = asdict(settings())
    with pytest.raises(UserError, match=r"--patience 3 \(was None; it may only grow\)"):
        Settings.of_run(stored, {"patience": 3})
    (place / "photos").mkdir()
    monkeypatch.chdir(place)
    assert Settings.of_run(stored, {"data": "photos"}).data == str(place / "photos")


def test_only_what_a_step_waits_for_counts_as_waiting(pack, monkeypatch):
    clock = [0]

    def slowly(work, numbers, threads, ahead):
        for number in numbers:
            clock[0] += 1
            yield work(number)

    monkeypatch.setattr("alexnet.batches.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr("alexnet.batches.in_order", slowly)
    batches = batches_of(pack)
    for _ in batches:
        clock[0] += 100   # the step
    assert batches.waited == 3
