"""How fast this AlexNet is, beside others: `python -m results.benchmark [SECTION...]`.

Every number stands beside that of a peer: the sides of a section run interleaved in one process, several
rounds, and a ratio compares times of the same round. Each section writes its JSON to results/benchmark/; the
pages and the figure there are made from all of them (benchmark_page.py).

    python -m results.benchmark lrn step            these two
    python -m results.benchmark                     all that need no data set
    python -m results.benchmark accuracy --data path/to/imagenette
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from alexnet import checkpoint, demo
from alexnet.batches import Batch, TrainingBatches
from alexnet.cli import shell, typed_path
from alexnet.device import World, choose_device, choose_precision, compute_ready, keep_memory, precision
from alexnet.files import UserError, write_json
from alexnet.geometry import sizes
from alexnet.layers import SameMapNorm
from alexnet.model import AlexNet, LocalResponseNorm
from alexnet.pack import Pack, open_pack, packed
from alexnet.recipe import RECIPES, make_optimizer, set_rates
from alexnet.sources import find_source
from alexnet.training import EPOCH_DONE, Run, train_step
from results import benchmark_page, units
from results.ablations import BASE
from results.counting import training_operations
from results.pages import in_language
from results.peers import NORMALIZE, examples_sgd, imagefolder, step as usual_step

HERE = Path(__file__).resolve().parent / "benchmark"
BF16, FP32 = torch.bfloat16, torch.float32


# ------------------------------------------------------------------- measuring

@dataclass
class Side:
    """One of those that are compared."""

    name: str
    call: Callable[[], Any]   # does `work` units of what the section counts
    work: float = 1.0
    wait: Callable[[], Any] | None = None   # until the device is done; for a side in another process

    def seconds(self, times: int, device: torch.device) -> float:
        """Of a call, the mean of so many."""
        wait = self.wait or partial(synchronise, device)
        wait()
        start = time.perf_counter()
        for _ in range(times):
            self.call()
        wait()
        return (time.perf_counter() - start) / times


@dataclass
class Section:
    """What a section found: sides that were timed interleaved, the targets they should reach, remarks."""

    title: str
    unit: str                                               # of a rate; or "s" for seconds
    rows: list[dict[str, Any]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def compare(self, sides: list[Side], device: torch.device, rounds: int, about: str = "") -> None:
        """Warms up each side, then times them interleaved. The first side is ours: the ratio of another is
        how many times longer it takes for the same work, round by round."""
        times = {side.name: warm_up(side, device) for side in sides}
        seconds: dict[str, list[float]] = {side.name: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                seconds[side.name].append(side.seconds(times[side.name], device) / side.work)
        ours = seconds[sides[0].name]
        for name, found in seconds.items():
            values = sorted(found if self.unit == "s" else [1 / value for value in found])
            ratio = statistics.median(theirs / own for theirs, own in zip(found, ours))
            self.rows.append({"about": about, "name": name, "median": statistics.median(values),
                              "low": values[0], "high": values[-1], "rounds": rounds, "ratio": ratio})

    def ratio(self, name: str, about: str = "") -> float:
        """How many times faster ours is than the side `name`."""
        return next(row["ratio"] for row in self.rows if row["name"] == name and row["about"] == about)

    def mark(self, what: str, value: float, wanted: float, at_most: bool = False) -> None:
        reached = value <= wanted if at_most else value >= wanted
        self.marks.append({"what": what, "value": value, "wanted": wanted, "at_most": at_most,
                           "reached": bool(reached)})


def warm_up(side: Side, device: torch.device) -> int:
    """How many calls a turn has: one on a CPU. On a GPU, where a step takes milliseconds and the first may
    have compiled something, as many as take about a quarter of a second."""
    times = 1
    seconds = side.seconds(times, device)
    for _ in range(5 if device.type != "cpu" else 0):
        seconds = side.seconds(times, device)
        if seconds > 0.25:
            break
        times = round(0.25 / seconds)
    return times


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(function: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Seconds, and the result."""
    synchronise(device)
    start = time.perf_counter()
    result = function()
    synchronise(device)
    return time.perf_counter() - start, result


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product, two for a multiply-add; the best of several."""
    best = 0.0
    for side in (128, 512, 2048, 4096, 4096, 4096, *([] if device.type == "cpu" else [8192] * 3)):
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        a @ b
        seconds, _ = timed(lambda: a @ b, device)
        best = max(best, 2 * side ** 3 / seconds)
        if seconds > 0.5:   # a processor that only emulates the format
            break
    return best


def copy_rate(device: torch.device) -> float:
    """Bytes per second, read and written, of a copy that no cache holds."""
    a = torch.zeros(2 ** 26, device=device)
    b = torch.zeros_like(a)
    return 2 * bytes_of(a) / min(timed(lambda: b.copy_(a), device)[0] for _ in range(5))


def bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def computes_in_bf16(device: torch.device) -> bool:
    return choose_precision("auto", device) == BF16


# ------------------------------------------------------------------- the peers

def textbook() -> nn.Module:
    """AlexNet as it is usually written down: two columns, nn.LocalResponseNorm, nn.Dropout."""
    norm = partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=2)
    relu = partial(nn.ReLU, inplace=True)
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, 4, padding=2), relu(), norm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), relu(), norm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), relu(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), relu(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), relu(), nn.MaxPool2d(3, 2),
        nn.Flatten(), nn.Linear(9216, 4096), relu(), nn.Dropout(),
        nn.Linear(4096, 4096), relu(), nn.Dropout(), nn.Linear(4096, 1000))


@dataclass(frozen=True)
class Form:
    """A network in one way of running it."""

    build: Callable[[], nn.Module]
    channels_last: bool = False
    dtype: torch.dtype = FP32
    ours: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


# On a CPU all sides are timed twice: as our scripts run (device.keep_memory), and as PyTorch does by default.
KEPT, GIVEN_BACK = "freed memory kept", "freed memory given back"


def forms(device: torch.device) -> dict[str, Form]:
    """Ours first, in what the device computes best, then the peers; all for 224 px and 1,000 classes."""
    vision = torchvision.models.alexnet
    best = choose_precision("auto", device)
    found = {f"ours, as-trained, {short(best)}": Form(AlexNet, True, best, ours=True)}
    if best != FP32:
        found["ours, as-trained, fp32"] = Form(AlexNet, True, FP32, ours=True)
    found["textbook, fp32"] = Form(textbook)
    found["torchvision, fp32"] = Form(vision)
    found["torchvision, fp32, channels_last"] = Form(vision, True)
    if best == BF16:   # where it is emulated, a batch takes minutes
        found["torchvision, bf16, channels_last"] = Form(vision, True, BF16)
    return found


def compare_forms(section: Section, make: Callable[..., Callable[[], Any]], options: argparse.Namespace,
                  size: int, device: torch.device) -> str:
    """Times all forms against ours, and takes their memory; on a CPU once for each way to treat freed memory.
    Gives the group in which it is treated as in our scripts."""
    groups = (KEPT, GIVEN_BACK) if device.type == "cpu" else ("",)
    for about in groups:
        with Processes(forms(device), of_form, make, about == KEPT, options.batch_size, size,
                       device) as processes:
            section.compare(processes.sides(options.batch_size), device, options.rounds, about)
            for row in section.rows[-len(processes.pipes):]:
                row["peak_gib"] = processes.ask(row["name"], "peak")
    return groups[0]


def of_form(name: str, make: Callable[..., Callable[[], Any]], keep: bool, batch: int, size: int,
            device: torch.device) -> Callable[[], Any]:
    if keep:
        keep_memory()
    return make(forms(device)[name], batch, size, device)


def short(dtype: torch.dtype) -> str:
    return {BF16: "bf16", torch.float16: "fp16", FP32: "fp32"}[dtype]


def which_arithmetic(device: torch.device, section: Section) -> None:
    if device.type == "cuda":
        section.remarks.append(
            "fp32 is what torch makes of it by default: convolutions in TF32, for all sides.")
    if not computes_in_bf16(device):
        section.remarks.append("This processor has no bf16 arithmetic (it emulates it, hundreds of times "
                               "slower), so all sides run in fp32 and torchvision's bf16 form is left out.")


def pixels(form: Form, batch: int, size: int, device: torch.device) -> Tensor:
    """A batch as each side's loader gives it: 0..255 for ours, normalised for the others."""
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, size, size), generator=chance).float()
    images = images if form.ours else (images - 120) / 58
    return images.to(device, memory_format=form.memory_format)


def training_step(form: Form, batch: int, size: int, device: torch.device) -> Callable[[], Any]:
    """Forward, backward, update: ours as in a run, the others as usual."""
    torch.manual_seed(0)
    network = form.build()
    images = pixels(form, batch, size, device)
    labels = torch.arange(batch, device=device) % min(10, network.num_classes if form.ours else 10)
    network.train()
    network.to(device, memory_format=form.memory_format)
    if form.ours:
        sgd = ours_sgd(network, 1e-4)
        return partial(train_step, network, sgd, Batch(images, labels, batch, 0), form.dtype)
    sgd = torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9, weight_decay=5e-4)
    return partial(usual_step, network, sgd, images, labels, form.dtype)


def ours_sgd(network: AlexNet, rate: float) -> torch.optim.SGD:
    optimizer = make_optimizer(network, RECIPES["as-trained"])
    set_rates(optimizer, rate)
    return optimizer


# ------------------------------------------------------------------- lrn

def textbook_map_norm(x: Tensor) -> Tensor:
    """cnorm2 of the release, as one would write it down with what torch offers."""
    squares = F.avg_pool2d(x.pow(2), 5, stride=1, padding=2, count_include_pad=True)
    return x / (1 + 1e-3 * squares).pow(0.75)


def lrn(options: argparse.Namespace, device: torch.device) -> Section:
    """Local response normalisation, forward and backward."""
    section = Section("Local response normalisation, forward and backward, fp32, (64, 96, 55, 55)", "s")
    across, within = "across maps", "within a map (cnorm2)"
    for about, names in (
            (across, ("ours", "nn.LocalResponseNorm", "nn.LocalResponseNorm, memory kept")),
            (within, ("ours, cnorm2", "avg_pool2d, pow", "avg_pool2d, pow, channels_last"))):
        with Processes(names, normalisation, device) as processes:
            section.compare(processes.sides(), device, options.rounds, about)
    results = [normalisation(name, device)() for name in ("ours", "nn.LocalResponseNorm")]
    apart = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(*results))
    section.mark("values and gradients, ours to nn.LocalResponseNorm, relative", apart, 1e-5, at_most=True)
    section.mark("ours to nn.LocalResponseNorm", section.ratio("nn.LocalResponseNorm", across), 6)
    section.remarks.append("Ours keeps freed memory in the process (device.keep_memory), as train_alexnet.py "
                           "does; so does the peer in the line that says so.")
    return section


def normalisation(name: str, device: torch.device, images: int = 64) -> Callable[[], tuple[Tensor, Tensor]]:
    """Forward and backward of one normalisation; gives values and gradients."""
    function: Callable[[Tensor], Tensor] = {
        "ours": LocalResponseNorm(k=2, n=5, alpha=1e-4, beta=0.75, over_n=True),
        "ours, cnorm2": SameMapNorm(), "nn.LocalResponseNorm": nn.LocalResponseNorm(5, 1e-4, 0.75, 2),
    }.get(name.removesuffix(", memory kept"), textbook_map_norm)
    if name.startswith("ours") or name.endswith("memory kept"):
        keep_memory()
    memory = (torch.channels_last if name.startswith("ours") or name.endswith("channels_last")
              else torch.contiguous_format)
    chance = torch.Generator().manual_seed(0)
    values, gradient = (torch.randn(images, 96, 55, 55, generator=chance).to(device, memory_format=memory)
                        for _ in range(2))
    values.mul_(20).requires_grad_()

    def call() -> tuple[Tensor, Tensor]:
        values.grad = None
        result = function(values)
        result.backward(gradient)
        return result.detach(), values.grad
    return call


# ------------------------------------------------------------------- step

def step(options: argparse.Namespace, device: torch.device) -> Section:
    """A training step, its share of the machine's rate, and its memory."""
    batch, size = options.batch_size, 224
    section = Section(f"Training step, {size} px, batch {batch}, 1,000 classes", "images/s")
    best = choose_precision("auto", device)
    about = compare_forms(section, training_step, options, size, device)
    product = matmul_rate(device, best)
    operations = training_operations(AlexNet())
    reached = section.rows[0]["median"] * operations / product
    section.remarks.append(f"A training step is {operations / 1e9:.2f} GFLOP an image; a large {short(best)} "
                           f"matrix product runs at {product / 1e9:.0f} GFLOP/s here.")
    section.mark("ours to the textbook network", section.ratio("textbook, fp32", about), 4.5)
    section.mark("ours to torchvision, fp32", section.ratio("torchvision, fp32", about), 1.3)
    section.mark(f"share of the {short(best)} matrix-product rate", reached, 0.5)
    memory = {row["name"]: row["peak_gib"] for row in section.rows if row["about"] == about}
    section.mark("peak memory, ours to torchvision, fp32",
                 section.rows[0]["peak_gib"] / memory["torchvision, fp32"], 1, at_most=True)
    which_arithmetic(device, section)
    return section


class Processes:
    """Sides in processes of their own, so that none has another's memory or settings; they are still timed
    interleaved. `make(name, *arguments)` gives, in its process, what a side does."""

    def __init__(self, names: Iterable[str], make: Callable[..., Callable[[], Any]], *arguments: Any) -> None:
        self.pipes: dict[str, Any] = {}
        self.running = []
        context = multiprocessing.get_context("spawn")
        for name in names:
            self.pipes[name], theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, make, name, arguments), daemon=True)
            process.start()
            theirs.close()
            self.running.append(process)

    def ask(self, name: str, what: str) -> Any:
        """call: does the work once; wait: until the device is done; peak: GiB at most so far."""
        self.pipes[name].send(what)
        return self.pipes[name].recv()

    def sides(self, work: float = 1.0) -> list[Side]:
        return [Side(name, partial(self.ask, name, "call"), work, partial(self.ask, name, "wait"))
                for name in self.pipes]

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.running:
            process.terminate()
            process.join()


def serve(pipe: Any, make: Callable[..., Callable[[], Any]], name: str, arguments: tuple) -> None:
    """Answers in the process of one side; its last argument is the device."""
    call, device = make(name, *arguments), arguments[-1]
    while True:
        what = pipe.recv()
        if what == "call":
            call()   # what it gives goes at once: it must not lie in memory beside the next
        elif what == "wait":
            synchronise(device)
        pipe.send(peak_memory(device) if what == "peak" else None)


def peak_memory(device: torch.device) -> float:
    """GiB, the most this process has held; on CUDA of its tensors."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2 ** 30
    status = Path("/proc/self/status")
    if status.exists():   # Linux: ru_maxrss would begin at what the process that started us had
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2 ** 20
    import resource   # Windows has none
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2 ** 30 if sys.platform == "darwin" else 2 ** 20)


# ------------------------------------------------------------------- profile

def profile(options: argparse.Namespace, device: torch.device) -> Section:
    """What each layer takes of a step, and what the machine could do at best."""
    keep_memory()
    batch, dtype = options.batch_size, choose_precision("auto", device)
    section = Section(f"Where a training step goes, 224 px, batch {batch}, {short(dtype)}", "s")
    torch.manual_seed(0)
    model = AlexNet()
    compute_ready(model, device, World())
    sgd = ours_sgd(model, 1e-4)
    images = pixels(Form(AlexNet, True, dtype, ours=True), batch, 224, device)
    product, copying = matmul_rate(device, dtype), copy_rate(device)
    section.remarks.append("The limit is the longer of two: operations at the rate of a large matrix product "
                           f"({product / 1e9:.0f} GFLOP/s), and what must be read and written at that of a "
                           f"copy ({copying / 1e9:.1f} GB/s).")
    rounds = [timed_layers(model, sgd, images, dtype, product, copying) for _ in range(options.rounds + 1)]
    section.rows = shares(rounds)
    return section


def timed_layers(model: AlexNet, sgd: torch.optim.SGD, images: Tensor, dtype: torch.dtype, product: float,
                 copying: float) -> dict[str, tuple[float, float, float]]:
    """One training step: of each part seconds forward, backward, and the least that is possible here."""
    device, batch = images.device, len(images)
    labels = torch.arange(batch, device=device) % 1000
    with precision(device, dtype):
        seconds, x = timed(lambda: model.prepare(images), device)
    found = {"mean": (seconds, 0.0, 2 * bytes_of(images) / copying)}
    for layer in sizes(model).values():
        module, first = getattr(model, layer.name), layer.name == "conv1"
        x = x.detach().requires_grad_(not first)
        with precision(device, dtype):
            forward, y = timed(partial(module, x), device)
        gradient = torch.randn_like(y)
        backward, _ = timed(partial(y.backward, gradient), device)
        moved = (2 * bytes_of(x) + 3 * bytes_of(y) + (0 if first else bytes_of(x))
                 + sum(4 * bytes_of(p) for p in module.parameters()))
        operations = 2 * layer.multiply_adds * batch * (2 if first else 3)
        found[layer.name] = forward, backward, max(operations / product, moved / copying)
        x = y
    logits = x.detach().float().requires_grad_()
    forward, loss = timed(lambda: F.cross_entropy(logits, labels), device)
    backward, _ = timed(loss.backward, device)
    found["loss"] = forward, backward, 3 * bytes_of(logits) / copying
    seconds, _ = timed(sgd.step, device)
    found["SGD"] = 0.0, seconds, 5 * sum(bytes_of(p) for p in model.parameters()) / copying
    sgd.zero_grad()
    return found


def shares(rounds: list[dict[str, tuple[float, float, float]]]) -> list[dict[str, Any]]:
    """One row per part and one for all: medians of the rounds; the first round warms up."""
    found = {name: [statistics.median(one[name][column] for one in rounds[1:]) for column in range(3)]
             for name in rounds[0]}
    found["all"] = [sum(column) for column in zip(*found.values())]
    total = sum(found["all"][:2])
    return [{"name": name, "forward": forward, "backward": backward, "share": (forward + backward) / total,
             "limit": limit, "of_limit": limit / (forward + backward)}
            for name, (forward, backward, limit) in found.items()]


# ------------------------------------------------------------------- inference, optimizer

def inference_network(options: argparse.Namespace, device: torch.device) -> Section:
    """The network alone, in eval mode, without reading images."""
    batch, size = options.batch_size, 224
    section = Section(f"Inference, network alone, {size} px, batch {batch}", "images/s")
    about = compare_forms(section, inference, options, size, device)
    section.mark("ours to the textbook network", section.ratio("textbook, fp32", about), 3.5)
    section.mark("ours to torchvision, fp32, channels_last",
                 section.ratio("torchvision, fp32, channels_last", about), 1)
    which_arithmetic(device, section)
    return section


def inference(form: Form, batch: int, size: int, device: torch.device) -> Callable[[], Any]:
    network = form.build().eval()
    network.to(device, memory_format=form.memory_format)
    images = pixels(form, batch, size, device)

    def call() -> None:
        with torch.inference_mode(), precision(device, form.dtype):
            network(images)
    return call


def inference_command(options: argparse.Namespace, device: torch.device) -> Section:
    """Whole commands, from the shell to the written answers."""
    count = 1000
    section = Section(f"Classifying {count:,} JPEG files of 500 x 375, whole command", "images/s")
    loop, loader = "a loop: PIL, transforms, textbook network", "DataLoader, 2 workers, batch 64, torchvision"
    with tempfile.TemporaryDirectory() as place:
        pictures, out, model = (Path(place, name) for name in ("pictures", "answers.csv", "ours.pt"))
        make_pictures(pictures, count, 500, 375, options.data)
        checkpoint.save(model, AlexNet(), {})
        torch.save(textbook().state_dict(), Path(place, "textbook.pt"))
        torch.save(torchvision.models.alexnet().state_dict(), Path(place, "torchvision.pt"))

        def peer(function: Callable[..., None], weights: str) -> Callable[[], Any]:
            name, paths = function.__name__, (pictures, Path(place, weights), out)
            arguments = (*map(str, paths), str(device))
            return partial(command, "-c", f"from results.benchmark import {name}; {name}{arguments}")

        section.compare([
            Side("alexnet_inference.py", partial(command, "alexnet_inference.py", pictures, "--model", model,
                                                 "--output", out, "--device", device), count),
            Side(loop, peer(usual_loop, "textbook.pt"), count),
            Side(loader, peer(usual_loader, "torchvision.pt"), count)], device, options.rounds)
    section.mark("ours to the loop", section.ratio(loop), 4)
    section.mark("ours to the DataLoader", section.ratio(loader), 1.7)
    which_arithmetic(device, section)
    return section


def command(*words: Any, **environment: str) -> None:
    """A Python command at the top of the repository, in silence."""
    subprocess.run([sys.executable, *map(str, words)], check=True, cwd=HERE.parent.parent,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment})


def usual_loop(pictures: str, weights: str, out: str, device_name: str) -> None:
    """One image at a time, as tutorials have it."""
    device = torch.device(device_name)
    network = textbook().eval().to(device)
    network.load_state_dict(torch.load(weights, weights_only=True))
    steps = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
                                NORMALIZE])
    with torch.no_grad(), open(out, "w", encoding="utf-8") as file:
        for path in sorted(Path(pictures).rglob("*.jpg")):
            image = steps(Image.open(path).convert("RGB"))
            found = network(image[None].to(device)).softmax(1)[0].topk(5)
            file.write(f"{path},{found.indices.tolist()},{found.values.tolist()}\n")


def usual_loader(pictures: str, weights: str, out: str, device_name: str) -> None:
    """Batches of 64 from a DataLoader with two workers."""
    device = torch.device(device_name)
    network = torchvision.models.alexnet().eval().to(device)
    network.load_state_dict(torch.load(weights, weights_only=True))
    with torch.no_grad(), open(out, "w", encoding="utf-8") as file:
        for images, _ in imagefolder(Path(pictures), 224, 64, workers=2, train=False):
            found = network(images.to(device)).softmax(1).topk(5)
            for indices, values in zip(found.indices.tolist(), found.values.tolist()):
                file.write(f"{indices},{values}\n")


def optimizer(options: argparse.Namespace, device: torch.device) -> Section:
    """The update of 61 million parameters."""
    section = Section("SGD step, 61 million parameters", "s")
    model = AlexNet().to(device)
    for parameter in model.parameters():
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    ours = ours_sgd(model, 1e-4)

    def step_of_ours() -> None:
        set_rates(ours, 1e-4)
        ours.step()

    sides = [Side("ours (fused)", step_of_ours)]
    for name, choice in (("torch.optim.SGD as it comes", {}),
                         ("torch.optim.SGD, foreach", {"foreach": True})):
        theirs = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, **choice)
        sides.append(Side(name, theirs.step))
    section.compare(sides, device, options.rounds)
    return section


# ------------------------------------------------------------------- input, packing

def make_pictures(folder: Path, count: int, width: int, height: int, data: Path | None) -> list[Path]:
    """JPEG files in two class folders: photographs of `data` resized, or our own drawings with noise that is
    like the grain of a photograph."""
    chance = np.random.default_rng(0)
    files = sorted(data.rglob("*.JPEG"))[::7] if data else []
    if data and not files:
        raise UserError(f"--data {data}: there is no file called *.JPEG in it")
    paths = []
    for index in range(count):
        if files:
            image = Image.open(files[index % len(files)]).convert("RGB").resize((width, height))
        else:
            image = demo.draw(("train", index)).resize((width, height), Image.Resampling.BICUBIC)
            grain = chance.normal(0, 6, (height, width, 1))
            image = Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))
        path = folder / ("one", "two")[index % 2] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90)
        paths.append(path)
    return paths


def input_(options: argparse.Namespace, device: torch.device) -> Section:
    """Batches for training, and what they cost a training run."""
    batch, size, count = 128, 224, 1536   # a round that is long enough to tell 3%
    section = Section(f"Input, one core, {size} px, batch {batch}, from JPEG of 500 x 375", "images/s")
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "pictures")
        make_pictures(pictures, count, 500, 375, options.data)
        pack = packed(find_source(str(pictures), 0.01), size, Path(folder, "packed"), quiet=True)
        names = ("ours, crops, mirror images", "ours, with colour noise, too", "ImageFolder + DataLoader")
        with Processes(names, reading, pictures, pack.folder, size, batch, device) as processes:
            section.compare(processes.sides(batch), device, options.rounds)
        section.mark("ours to ImageFolder, one core", section.ratio("ImageFolder + DataLoader"), 30)
        section.remarks.append("ImageFolder's side draws crops and mirror images (RandomResizedCrop), no "
                               "colour noise; its normalisation is for ours a part of the network.")
        cost_of_input(section, pack, batch, size, device, options.rounds)
    return section


def reading(name: str, pictures: Path, pack_folder: Path, size: int, batch: int,
            device: torch.device) -> Callable[[], Any]:
    """One batch after the other, on one core."""
    torch.set_num_threads(1)
    if not name.startswith("ours"):
        loader = imagefolder(pictures, size, batch, workers=0)
        return chain.from_iterable(repeat(loader)).__next__
    keep_memory()
    pack = open_pack(pack_folder)
    settings = replace(BASE, image_size=size, batch_size=batch, color_noise=0.1 if "noise" in name else 0.0)

    def epochs() -> Iterator[Batch]:
        while True:
            batches = TrainingBatches(pack, settings, 0, pack.mean_crop(size).to(device))
            yield from map(batches.prepare, range(len(batches) - 1))  # the last one is short
    return epochs().__next__


def cost_of_input(section: Section, pack: Pack, batch: int, size: int, device: torch.device,
                  rounds: int) -> None:
    """C16: epochs with the loader and its augmentation, against the same steps on one ready batch."""
    keep_memory()
    dtype = choose_precision("auto", device)
    model = AlexNet(len(pack.classes), size)
    compute_ready(model, device, World())
    sgd = ours_sgd(model, 1e-5)
    settings = replace(BASE, image_size=size, batch_size=batch)
    waited = []

    def epoch(ready: bool) -> None:
        batches = TrainingBatches(pack, settings, 0, model.mean[0])
        if ready:
            first = batches.prepare(0)
            batches.prepare = lambda index: first
        start = time.perf_counter()
        model.train()
        for one in batches:
            set_rates(sgd, 1e-5)
            train_step(model, sgd, one, dtype)
        if not ready:
            waited.append(batches.waited / (time.perf_counter() - start))

    images = len(pack.labels["train"])
    about = f"training, {size} px, batch {batch}"
    sides = [Side("batches prepared in the background", partial(epoch, False), images),
             Side("one batch, ready beforehand", partial(epoch, True), images)]
    section.compare(sides, device, rounds, about)
    section.mark("part of a training run spent waiting for input", statistics.median(waited[1:]), 0.03,
                 at_most=True)
    section.mark("throughput lost to reading and augmentation (C16)",
                 1 - section.ratio("one batch, ready beforehand", about), 0.03, at_most=True)


def packing(options: argparse.Namespace, device: torch.device) -> Section:
    """Making the packed form out of JPEG files."""
    section = Section(f"Packing for 224 px, {os.cpu_count()} cores", "images/s")
    for about, count, width, height, wanted in (("500 x 375 px", 400, 500, 375, 1.8),
                                                ("3,000 x 2,250 px", 24, 3000, 2250, 4)):
        with tempfile.TemporaryDirectory() as folder:
            pictures = Path(folder, "pictures")
            paths = make_pictures(pictures, count, width, height, options.data)

            def ours() -> None:
                packed(find_source(str(pictures), 0.05), 224, Path(folder, "packed"), quiet=True)
                shutil.rmtree(Path(folder, "packed"))

            loop = "a loop over PIL, one process"
            theirs = partial(usual_packing, paths, Path(folder, "loop.npy"))
            section.compare([Side("ours, with mean image and covariance", ours, count),
                             Side(loop, theirs, count)], device, options.rounds, about)
        section.mark(f"ours to the loop, {about}", section.ratio(loop, about), wanted)
    return section


def usual_packing(paths: list[Path], out: Path) -> None:
    """The centre square of each image, 256 x 256, one after the other."""
    kept = np.empty((len(paths), 256, 256, 3), np.uint8)
    for row, path in enumerate(paths):
        image = Image.open(path).convert("RGB")
        shrink = 256 / min(image.size)
        image = image.resize((round(shrink * image.width), round(shrink * image.height)))
        left, top = (image.width - 256) // 2, (image.height - 256) // 2
        kept[row] = np.asarray(image.crop((left, top, left + 256, top + 256)))
    np.save(out, kept)


# ------------------------------------------------------------------- scaling

def scaling(options: argparse.Namespace, device: torch.device) -> Section:
    """How a training step's cost grows with batch, image size and classes; one process against two."""
    section = Section("How the cost of training grows (as-trained)", "images/s")
    dtype = choose_precision("auto", device)
    cases = [(128, 224, 1000)] + [(batch, 224, 1000) for batch in (32, 64, 256)]
    cases += [(128, side, 1000) for side in (64, 96, 128)] + [(128, 224, classes) for classes in (2, 10_000)]
    for batch, size, classes in cases:
        side = Side(f"batch {batch}, {size} px, {classes:,} classes",
                    step_of(batch, size, classes, dtype, device), batch)
        section.compare([side], device, options.rounds)
        section.rows[-1]["ratio"] = section.rows[0]["median"] / section.rows[-1]["median"]
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # memory counts from its start
            section.rows[-1]["peak_gib"] = pool.apply(peak_of_case, (batch, size, classes, dtype, device))
        section.rows[-1]["gflop"] = training_operations(AlexNet(classes, size)) / 1e9
    if device.type == "cpu" and (os.cpu_count() or 1) > 1:
        torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
        section.compare([Side("one process, all threads", an_epoch, 3000),
                         Side("torchrun, two processes", partial(an_epoch, *torchrun), 3000)],
                        device, 2, "an epoch of demo, 128 px, batch 128")
    return section


def step_of(batch: int, size: int, classes: int, dtype: torch.dtype,
            device: torch.device) -> Callable[[], Any]:
    form = Form(partial(AlexNet, classes, size), True, dtype, ours=True)
    return training_step(form, batch, size, device)


def peak_of_case(batch: int, size: int, classes: int, dtype: torch.dtype, device: torch.device) -> float:
    keep_memory()
    call = step_of(batch, size, classes, dtype, device)
    call()
    call()
    return peak_memory(device)


def an_epoch(*launcher: str) -> None:
    """The whole command, as a person types it."""
    with tempfile.TemporaryDirectory() as folder:
        threads = os.cpu_count() // (2 if launcher else 1)
        command(*launcher, "train_alexnet.py", "--data", "demo", "--image-size", 128, "--batch-size", 128,
                "--epochs", 1, "--out", f"{folder}/run", "--quiet", OMP_NUM_THREADS=str(threads))


# ------------------------------------------------------------------- time to accuracy

def accuracy(options: argparse.Namespace, device: torch.device) -> Section:
    """Seconds from the first step to 60% top-1 at 128 px; one side after the other."""
    if not options.data:
        raise UserError("accuracy needs --data FOLDER with train/ and val/ (Imagenette)")
    size, wanted = 128, 0.40
    folder = options.data
    section = Section(f"Time to 60% top-1, {folder.name}, {size} px", "s")
    sides = {"ours, as-trained, default recipe": ours_by_epoch,
             "torchvision, recipe of pytorch/examples": examples_by_epoch}
    section.remarks.append("Ours reads the packed form, made beforehand, and writes its checkpoints; the "
                           "other side reads the JPEG files and writes nothing. Both measure the whole "
                           "validation part after each epoch. Batch 128, seed 0, one run a side.")
    for name, by_epoch in sides.items():
        row: dict[str, Any] = {"about": "", "rounds": 1, "curve": []}
        section.rows.append(row)
        for seconds, error in in_own_process(by_epoch, folder, size, device):
            row["curve"].append({"seconds": seconds, "val_top1_error": error})
            reached, epochs = error <= wanted, len(row["curve"])
            so_far = "" if reached else f", only {1 - error:.1%} so far"
            row |= {"name": f"{name}: {epochs} epochs{so_far}", "median": seconds, "low": seconds,
                    "high": seconds, "reached": reached}
            row["ratio"] = seconds / section.rows[0]["median"]
            options.keep(section)   # it takes an hour: what is known is written
            print(f"{row['name']}: {error:.1%} error, {seconds:.0f} s", file=sys.stderr, flush=True)
            if reached or epochs == 40:
                break
    section.mark("ours to torchvision's network and recipe", section.rows[1]["ratio"], 4.5)
    return section


def in_own_process(by_epoch: Callable[..., Iterator[float]],
                   *arguments: Any) -> Iterator[tuple[float, float]]:
    """What a side yields after each epoch, with the seconds since its first step."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=send_all, args=(there, by_epoch, arguments))
    process.start()
    there.close()   # so that we notice if the process dies
    try:
        here.recv()   # ready for the first step
        start = time.perf_counter()
        while True:
            error = here.recv()
            yield time.perf_counter() - start, error
    except EOFError:
        raise UserError("the process of one side has failed: its last lines say why") from None
    finally:
        process.terminate()
        process.join()


def send_all(pipe: Any, by_epoch: Callable[..., Iterator[float]], arguments: tuple) -> None:
    for value in by_epoch(*arguments):
        pipe.send(value)


def ours_by_epoch(folder: Path, size: int, device: torch.device) -> Iterator[float]:
    """A 1 when ready, then the validation errors of a run with the default recipe."""
    keep_memory()
    pack = packed(find_source(str(folder)), size)
    settings = replace(BASE, data=str(folder), image_size=size, epochs=40, schedule="constant")
    with tempfile.TemporaryDirectory() as out:
        run = Run(Path(out), settings, pack, device)
        yield 1.0
        for event in run.train():
            if event == EPOCH_DONE:
                yield run.progress.rows[-1]["val_top1_error"]


def examples_by_epoch(folder: Path, size: int, device: torch.device) -> Iterator[float]:
    """The same for torchvision's alexnet, trained as pytorch/examples does."""
    torch.manual_seed(0)
    training, validation = (imagefolder(folder / part, size, 128, workers=2, train=part == "train")
                            for part in ("train", "val"))
    network = torchvision.models.alexnet(num_classes=len(training.dataset.classes)).to(device)
    sgd = examples_sgd(network)
    yield 1.0
    while True:
        network.train()
        for images, labels in training:
            usual_step(network, sgd, images.to(device), labels.to(device))
        network.eval()
        with torch.no_grad():
            wrong = sum((network(images.to(device)).argmax(1).cpu() != labels).sum().item()
                        for images, labels in validation)
        yield wrong / len(validation.dataset)


# ------------------------------------------------------------------- the command line

SECTIONS: dict[str, Callable[[argparse.Namespace, torch.device], Section]] = {
    "lrn": lrn, "step": step, "profile": profile, "inference-network": inference_network,
    "inference": inference_command, "optimizer": optimizer, "input": input_, "packing": packing,
    "scaling": scaling, "accuracy": accuracy}
WITH_DATA = ("accuracy", "inference", "input", "packing")   # these use --data


def keep(name: str, options: argparse.Namespace, device: torch.device, section: Section) -> dict[str, Any]:
    """Writes a section's JSON, and the pages that are made from all of them."""
    content = {"title": section.title, "unit": section.unit, "rows": section.rows, "marks": section.marks,
               "command": name + (" --data FOLDER" if options.data and name in WITH_DATA else ""),
               "remarks": section.remarks, "seed": 0, "date": date.today().isoformat(),
               "machine": {**units.machine(), "torchvision": torchvision.__version__, "device": device.type
                           if device.type != "cuda" else torch.cuda.get_device_name(device)}}
    folder = "gpu" if device.type != "cpu" else "" if computes_in_bf16(device) else "without-bf16"
    write_json(HERE / folder / f"{name}.json", content)
    benchmark_page.write(HERE, SECTIONS)
    return content


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m results.benchmark", description=__doc__.split("\n\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--data", metavar="FOLDER", type=typed_path, help="photographs (train/ and val/): "
                        f"accuracy needs them; {', '.join(WITH_DATA[1:])} use them instead of drawn pictures")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, mps")
    parser.add_argument("--rounds", type=int, default=5, help="of interleaved timings (default 5)")
    parser.add_argument("--batch-size", type=int, default=128,
                        help="of step, inference-network, profile (default 128)")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.batch_size < 1:
        parser.error("--rounds and --batch-size must be 1 or more")
    if unknown := [name for name in options.sections if name not in SECTIONS]:
        parser.error(f"no section is called {', '.join(unknown)}; there is {', '.join(SECTIONS)}")
    with shell("results.benchmark"):
        device = choose_device(options.device)
        for name in options.sections or [name for name in SECTIONS if name != "accuracy" or options.data]:
            print(f"{name} ...", file=sys.stderr, flush=True)
            options.keep = partial(keep, name, options, device)
            content = options.keep(SECTIONS[name](options, device))
            lines = benchmark_page.section_lines(content)
            print("\n".join(in_language(line, "en") for line in lines), flush=True)


if __name__ == "__main__":
    main()
