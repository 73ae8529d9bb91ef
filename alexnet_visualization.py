"""Look inside a network: what its filters are, what it sees, what it finds alike. PNG files and a page.

    python alexnet_visualization.py                                everything, for the newest run
    python alexnet_visualization.py filters --model best.pt        one thing
    python alexnet_visualization.py maps gradcam --images cat.jpg --out look
    python alexnet_visualization.py maps --layers conv1 norm1      before the ReLU, and between
    python alexnet_visualization.py training --runs results/runs/A results/runs/B
    python alexnet_visualization.py --list                         what there is to see
"""

from __future__ import annotations

import argparse
import html
import os
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

from alexnet.cli import PRETRAINED, CommandLine, check_data, find, shell
from alexnet.files import UserError, printable, read_csv, read_json, write_json, write_text

SAMPLES = Path(__file__).resolve().parent / "data" / "samples"
FEW = 8               # pictures where many could be taken, as in figure 4
UNITS, PATCHES = 10, 9
NEAR = 6              # neighbours, as in figure 4
ASKED = 500           # validation pictures whose neighbours are counted
LAID_OUT = 1000       # validation pictures in the plane
EXAMINED = 256        # training pictures over which health is measured
WHAT = ("architecture", "filters", "maps", "predictions", "neighbours", "occlusion", "gradient", "gradcam",
        "patches", "synthesis", "embedding", "health", "training")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = CommandLine(__doc__)
    add = parser.add_argument
    add("what", nargs="*", metavar="WHAT", help=f"{', '.join(WHAT)} (default: all that the inputs allow)")
    add("--list", action="store_true", help="say what each of them shows")
    add("--model", metavar="CHECKPOINT", help="a checkpoint or a run's folder (default: the newest run's best.pt)")
    add("--images", nargs="+", metavar="PATH", help="files, all of them, and folders, eight pictures of each (default: "
        "eight validation pictures of the data, else the samples in data/)")
    add("--data", metavar="WHERE", help="training and validation pictures, as in train_alexnet.py (default: those that the "
        "network was trained on, if they are there)")
    add("--out", metavar="DIR", help="where the files go (default: inside/ beside the checkpoint)")
    add("--language", choices=("en", "zh"), default="en", help="of index.html (default en)")

    add = parser.add_argument_group("choices").add_argument
    add("--layers", nargs="+", metavar="NAME", help="for maps, patches, gradcam, synthesis: conv1 is before the nonlinearity, "
        "relu1 after it, pool1, norm1, fc7 ... what their names say")
    add("--class", dest="target", metavar="NAME", help="for occlusion, gradient, gradcam, synthesis: a class by its name "
        "(default: for each picture the most probable one)")
    add("--units", nargs="+", type=int, metavar="N", help=f"for patches and synthesis (default: {UNITS} evenly chosen)")
    add("--pages", default="1", metavar="N", help="for filters: how many pages of conv2 to conv5, or all (default 1)")
    add("--sample", type=int, default=2000, metavar="N", help="for neighbours and patches: training pictures looked through, evenly "
        "chosen (default 2000; 0 is all)")
    add("--runs", nargs="+", metavar="RUN", help="for training: folders of runs (default: the checkpoint's)")
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.what if name not in WHAT]:
        raise UserError(f"there is nothing called {', '.join(unknown)} to look at; there is {', '.join(WHAT)}")
    if options.pages != "all" and not (options.pages.isdecimal() and int(options.pages) > 0):
        raise UserError(f"--pages takes a number from 1 on, or all, not {options.pages}")
    if options.sample < 0:
        raise UserError("--sample must be 0 (all) or more")
    if options.images and not any(map(os.path.lexists, options.images)):
        raise UserError(f"no picture could be read in {', '.join(options.images)}: there is no such file or folder")
    check_data(options.data)
    if not options.list:
        find(options.model)
    return options


if __name__ == "__main__":   # a mistake in the options is answered before torch is imported, which takes seconds
    with shell("alexnet_visualization.py"):
        parse()

import numpy as np
import torch
from torch import Tensor

from alexnet import checkpoint, figures, interpret, weights
from alexnet.augment import as_batch, middle
from alexnet.geometry import sizes, step_of
from alexnet.images import packed_side
from alexnet.pack import Pack, packed
from alexnet.sources import find_source
from alexnet.device import choose_device, keep_memory
from alexnet.predict import as_square, class_above, find_pictures, readable_names, reason


# ------------------------------------------------------------------- what goes in

class Picture(NamedTuple):
    """A picture to look at, as the network gets it."""

    name: str
    image: np.ndarray     # (S, S, 3) uint8
    truth: int | None     # its class, if known


class Shown(NamedTuple):
    """A PNG file that was written, with what one sees in it, in English and in Chinese."""

    file: str
    english: str
    chinese: str


class Crops:
    """The central crops of some pictures of a packed part, read when they are asked for: by a number, one
    (S, S, 3), by a slice several."""

    def __init__(self, images: np.ndarray, chosen: np.ndarray, size: int) -> None:
        self.images, self.chosen = images, chosen
        self.inside = middle(images.shape[1], size)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, which: int | slice) -> np.ndarray:
        return np.asarray(self.images[self.chosen[which]][..., self.inside, self.inside, :])


class Job:
    """A model, pictures, and data to look at; what is costly is worked out once, when it is first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.path = weights.pretrained() if options.model == PRETRAINED else find(options.model)
        if self.path.is_dir():
            self.path = self.path / "best.pt"
        content = weights.read(self.path)
        self.facts: dict[str, Any] = content["facts"]
        self.model = checkpoint.build(content)
        self.device = choose_device(options.device)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.size = self.model.image_size
        self.out = Path(options.out) if options.out else self.path.parent / "inside"
        try:
            names = readable_names(self.model.classes, "en")
        except UserError:
            names = {}
        self.names = {name: text.split(",")[0] for name, text in names.items()}
        self.classes = [self.names.get(name, name) for name in self.model.classes]
        self.title = f"{self.model.variant}, {self.size} px"
        if self.facts.get("data"):
            self.title += f", trained on {Path(str(self.facts['data'])).name}"
        if self.facts.get("epoch"):
            self.title += f" for {self.facts['epoch']} epoch{'s' * (self.facts['epoch'] != 1)}"
        self.convs = [name for name in self.model.steps if name.startswith("conv")]
        for name in options.layers or []:
            try:
                self.model.activations(torch.zeros(1, 3, self.size, self.size, device=self.device), [name])
            except ValueError as error:
                raise UserError(f"--layers: {error}") from None
        self.target = self.class_number(options.target) if options.target else None

    def class_number(self, name: str) -> int:
        for names in (self.model.classes, self.classes):
            if name in names:
                return names.index(name)
        some = ", ".join(self.classes[:12]) + (" ..." if len(self.classes) > 12 else "")
        raise UserError(f"--class: the network has no class {name}; there is {some}")

    @cached_property
    def pack(self) -> Pack:
        """Training and validation pictures; UserError if they are not to be had."""
        where = self.options.data or self.facts.get("data")
        if not where:
            raise UserError("needs pictures to look through: --data FOLDER")
        fraction, labels = (None, None) if self.options.data else map(self.facts.get, ("val_fraction", "labels"))
        return packed(find_source(str(where), fraction, labels=labels), self.size)

    @cached_property
    def has_data(self) -> bool:
        try:
            self.pack
        except UserError as error:
            if self.options.data:
                raise
            say(f"without training pictures ({error}); --data names them")
            return False
        return True

    def part(self, part: str, most: int) -> tuple[Crops, np.ndarray]:
        """At most `most` (0: all) pictures of a part with their labels, of each class its share."""
        labels = self.pack.labels[part]
        count = min(most or len(labels), len(labels))
        by_class = np.argsort(labels, kind="stable")
        chosen = np.sort(by_class[np.linspace(0, len(labels) - 1, count).round().astype(int)])
        return Crops(self.pack.images[part], chosen, self.size), labels[chosen]

    @cached_property
    def data_classes(self) -> list[str]:
        return [self.names.get(name, name) for name in self.pack.classes]

    @cached_property
    def pictures(self) -> list[Picture]:
        """Those that were named, or validation pictures, or the samples."""
        if not self.options.images and self.has_data:
            images, labels = self.part("val", FEW)
            known = self.pack.classes == self.model.classes
            return [Picture(f"val-{number}", images[index], int(labels[index]) if known else None)
                    for index, number in enumerate(images.chosen.tolist())]
        found: list[Path] = []
        for place in self.options.images or [str(SAMPLES)]:
            paths, _ = find_pictures([place])
            if Path(place).is_dir() and len(paths) > FEW:
                say(f"{place}: {FEW} of {len(paths)} pictures, evenly chosen")
                paths = [paths[i] for i in np.linspace(0, len(paths) - 1, FEW).round().astype(int)]
            found += paths
        pictures, inside = [], middle(packed_side(self.size), self.size)
        for path in found:
            try:
                square = as_square(path, packed_side(self.size))
            except Exception as error:  # pillow raises nearly anything for a damaged file
                say(f"{path}: {reason(error)}")
                continue
            name = class_above(path, self.model.classes)
            truth = None if name is None else self.model.classes.index(name)
            pictures.append(Picture(path.stem, square[inside, inside], truth))
        if not pictures:
            raise UserError(f"no picture could be read in {', '.join(self.options.images or [str(SAMPLES)])}")
        return pictures

    @cached_property
    def crops(self) -> Tensor:
        """The pictures as the network takes them: (N, 3, S, S) uint8."""
        return as_batch([picture.image for picture in self.pictures]).to(self.device)

    @cached_property
    def probabilities(self) -> Tensor:
        with torch.inference_mode():
            return self.model(self.crops).softmax(1).cpu()

    @cached_property
    def targets(self) -> Tensor:
        """For each picture the class that is asked about."""
        if self.target is not None:
            return torch.full((len(self.pictures),), self.target, device=self.device)
        return self.probabilities.argmax(1).to(self.device)

    def about(self, number: int) -> str:
        """A picture's title: the class asked about, and its probability."""
        index = int(self.targets[number])
        return f"{self.classes[index]}: {self.probabilities[number, index]:.0%}"

    def units(self, count: int) -> list[int]:
        """The units asked for of a layer that has `count`."""
        if self.options.units:
            if wrong := [unit for unit in self.options.units if not 0 <= unit < count]:
                raise UserError(f"--units: there is no unit {wrong[0]} in a layer of {count} (0 to {count - 1})")
            return self.options.units
        return sorted(set(np.linspace(0, count - 1, UNITS).round().astype(int).tolist()))


# ------------------------------------------------------------------- what there is to see

@dataclass
class Look:
    draw: Callable[[Job], Iterator[Shown]]
    needs: str            # "", "pictures", "data" or "run"
    english: str          # headings of the page
    chinese: str
    help: str


LOOKS: dict[str, Look] = {}


def look(needs: str, english: str, chinese: str) -> Callable[[Callable], Callable]:
    """Makes a function one of the things to see: its name is the WHAT, its docstring the line of --list."""
    def register(draw: Callable[[Job], Iterator[Shown]]) -> Callable:
        LOOKS[draw.__name__] = Look(draw, needs, english, chinese, (draw.__doc__ or "").strip())
        return draw
    return register


@look("", "Architecture (section 3.5, figure 2)", "网络结构（第 3.5 节，图 2）")
def architecture(job: Job) -> Iterator[Shown]:
    """the network as in figure 2; parameters, neurons and multiply-adds of each layer"""
    words = {"norm": "LRN", "mapnorm": "same-map norm", "pool": "max-pool", "relu": job.model.design.activation,
             "drop": "dropout", "flatten": ""}
    words["relu"] = {"relu": "ReLU"}.get(words["relu"], words["relu"])
    blocks = [figures.Block("picture", 3, job.size, 1, 0, 0, [], 0, 0, 0)]
    for layer in sizes(job.model).values():
        if layer.weights:
            dense = layer.name.startswith("fc")
            blocks.append(figures.Block(layer.name, layer.shape[0], 0 if dense else layer.shape[1], layer.groups,
                                        0 if dense else layer.kernel, layer.stride, [], layer.parameters, layer.neurons,
                                        layer.multiply_adds))
        elif word := words[layer.name.rstrip("12345678")]:
            size = f" {layer.kernel}×{layer.kernel}/{layer.stride}" if word == "max-pool" else ""
            blocks[-1].between.append(word + size)
    columns = job.model.design.columns
    figures.architecture(blocks, columns, job.out / "architecture.png",
                         f"AlexNet {job.title}, {len(job.classes):,} classes")
    meeting = " Red lines: where one column looks at the other." if columns == 2 else ""
    meeting_zh = "红线表示两柱之间的连接。" if columns == 2 else ""
    yield Shown("architecture.png",
                "The network as it is, drawn from its description: maps x height x width of each layer's result, the kernels "
                f"(orange, size / stride), and what follows each layer (grey).{meeting} Below: nearly all parameters are in the "
                "fully-connected layers, nearly all the work is in the convolutions.",
                f"按网络自身的描述绘制：每层输出的特征图数 × 高 × 宽，橙色为卷积核（大小 / 步长），灰色为该层之后的运算。{meeting_zh}"
                "下方：参数几乎都在全连接层，计算量几乎都在卷积层。")


@look("", "Filters (section 6.1, figure 3)", "卷积核（第 6.1 节，图 3）")
def filters(job: Job) -> Iterator[Shown]:
    """the kernels of conv1 in colour, a block a column (figure 3); those of conv2 to conv5 in pages"""
    for name in job.convs:
        weight = getattr(job.model, name).weight.detach().float().cpu()
        if weight.shape[1] == 3:
            colour, columns = interpret.colourfulness(weight), job.model.design.columns
            figures.first_kernels(weight.numpy(), colour, columns, job.out / f"filters-{name}.png",
                                  f"{name}: all {len(weight)} kernels, {weight.shape[2]} × {weight.shape[3]} px, each scaled to its own "
                                  f"largest value ({job.title})")
            means = [part.mean() for part in np.split(colour, columns)]
            numbers = " and ".join(f"{mean:.2f}" for mean in means)
            yield Shown(f"filters-{name}.png",
                        f"What the first layer looks for. Grey is a weight of 0; below each kernel its colourfulness, the share of its "
                        f"energy that is not grey (mean by column: {numbers}). The paper finds one column colour-agnostic and "
                        "the other colour-specific.",
                        "第一层在找的图案。灰色表示权重为 0；每个卷积核下方的数字是其色彩度，即非灰度部分所占能量的比例"
                        f"（各柱平均：{'、'.join(f'{mean:.2f}' for mean in means)}）。论文指出，一柱几乎与颜色无关，另一柱则对颜色敏感。")
            continue
        pages = -(-len(weight) // 32)
        wanted = pages if job.options.pages == "all" else min(pages, int(job.options.pages))
        for page in range(wanted):
            numbers = list(range(page, len(weight), pages))
            file = f"filters-{name}.png" if wanted == 1 else f"filters-{name}-{page + 1}.png"
            figures.kernel_page(weight[numbers].numpy(), numbers, job.out / file,
                                f"{name}: {len(numbers)} of {len(weight)} kernels (every {pages}th from {page}), each for its {weight.shape[1]} "
                                f"input maps; red positive, blue negative, by the kernel's own largest value ({job.title})")
            yield Shown(file,
                        f"Each block is one kernel of {name}; in it a square of {weight.shape[2]} x {weight.shape[3]} weights for each of its "
                        f"{weight.shape[1]} input maps. Shown are {len(numbers)} of {len(weight)} kernels, every {pages}th (--pages all shows the rest).",
                        f"每个方块是 {name} 的一个卷积核，其中每个小方格是它对一张输入特征图的 {weight.shape[2]} × {weight.shape[3]} 个权重"
                        f"（共 {weight.shape[1]} 格）。这里画出 {len(weight)} 个卷积核中的 {len(numbers)} 个，每 {pages} 个取一个（--pages all 显示全部）。")


@look("pictures", "Feature maps", "特征图")
def maps(job: Job) -> Iterator[Shown]:
    """for each picture all maps of each layer (--layers: before or after the ReLU, by name)"""
    names = job.options.layers or [f"relu{name[-1]}" for name in job.convs]
    with torch.inference_mode():
        found = job.model.activations(job.crops, names)
    for number, picture in enumerate(job.pictures):
        for name in names:
            values = found[name][number].float().cpu()
            columns = job.model.design.columns
            if values.ndim == 1:   # a fully-connected layer: its values as one square
                side = int(np.ceil(len(values) ** 0.5))
                values, columns = torch.nn.functional.pad(values, (0, side * side - len(values))).view(1, side, side), 1
            file = f"maps-{number + 1}-{name}.png"
            what = (f"all {len(values)} maps, {values.shape[1]} × {values.shape[2]}" if len(values) > 1
                    else f"{found[name].shape[1]} values, row by row")
            what_zh = (f"全部特征图（共 {len(values)} 张，{values.shape[1]} × {values.shape[2]}）" if len(values) > 1
                       else f"全部 {found[name].shape[1]} 个值，逐行排列")
            figures.layer_maps(picture.image, values.numpy(), columns, job.out / file,
                               f"{name} of {picture.name}: {what}, on one scale ({job.title})")
            apart = ["", ""] if columns == 1 else [" The upper block is the first column, the lower one the second.",
                                                   "上半为第一柱，下半为第二柱。"]
            yield Shown(file, f"{picture.name}: {what} of {name}. One scale for all maps, up to the 99.8th percentile; a dark map "
                              f"found nothing in this picture.{apart[0]}",
                        f"{picture.name}：{name} 的{what_zh}。所有特征图共用一个色标，"
                        f"上限为第 99.8 百分位；全暗的特征图表示它在这张图片里什么也没找到。{apart[1]}")


@look("pictures", "Predictions (section 6.1, figure 4, left)", "分类结果（第 6.1 节，图 4 左）")
def predictions(job: Job) -> Iterator[Shown]:
    """the pictures with their five most probable classes as bars (figure 4, left)"""
    for page, first in enumerate(range(0, len(job.pictures), FEW), 1):
        entries = []
        for picture, row in list(zip(job.pictures, job.probabilities))[first:first + FEW]:
            order = row.argsort(descending=True, stable=True)[:5].tolist()
            entries.append(figures.PanelEntry(
                picture.image, picture.name if picture.truth is None else job.classes[picture.truth],
                [(job.classes[index], row[index].item(), index == picture.truth) for index in order]))
        file = "predictions.png" if page == 1 else f"predictions-{page}.png"
        figures.prediction_panel(entries, job.out / file)
        known = all(picture.truth is not None for picture in job.pictures)
        yield Shown(file, "The five most probable classes of each picture (one view)" +
                    (", the right one in red; above each picture its true class." if known else "."),
                    "每张图片概率最高的五个类别（一个视图）" + ("，红色为正确类别；图片上方为真实类别。" if known else "。"))


@look("data", "Neighbours in fc7 (section 6.1, figure 4, right)", "fc7 中的近邻（第 6.1 节，图 4 右）")
def neighbours(job: Job) -> Iterator[Shown]:
    """training pictures nearest in fc7, and nearest in pixels (figure 4, right); how often the class agrees"""
    bank, labels = job.part("train", job.options.sample)
    asked, truths = job.part("val", ASKED)
    shown = job.pictures[:5]
    pixels = np.stack([picture.image for picture in shown])
    known = interpret.features(job.model, bank, "fc7", "fc7 of training pictures")
    spaces = {
        "fc7": (interpret.features(job.model, pixels), interpret.features(job.model, asked), known),
        "pixels": (pixels, asked, bank)}
    agree, panels = {}, []
    for space, (queries, many, among) in spaces.items():
        found, _ = interpret.neighbours(many, among, NEAR, f"neighbours in {space}")
        agree[space] = (labels[found] == truths[:, None]).mean()
        found, distances = interpret.neighbours(queries, among, NEAR + 1)
        panels.append((space, found, distances))
    share = f"{len(bank):,} training pictures" + (", evenly chosen" if len(bank) < len(job.pack.images["train"]) else "")
    for space, found, distances in panels:
        rows = []
        for picture, which, far in zip(shown, found, distances):
            pairs = [(index, distance) for index, distance in zip(which.tolist(), far)
                     if np.abs(bank[index].astype(int) - picture.image).mean() > 1][:NEAR]   # not the query itself
            title = picture.name if picture.truth is None else job.classes[picture.truth]
            rows.append(figures.NeighbourRow(picture.image, title, [
                (bank[index], f"{job.data_classes[labels[index]]}\n{distance:.3g}",
                 None if picture.truth is None else labels[index] == picture.truth) for index, distance in pairs]))
        file = f"neighbours-{space}.png"
        figures.neighbour_rows(rows, job.out / file, f"nearest in {space} among {share}, with Euclidean distance; over {len(asked)} validation "
                               f"pictures {agree[space]:.1%} of the {NEAR} nearest are of their class ({job.title})")
        where = ["the 4096 values of fc7" if job.model.design.hidden == 4096 else "fc7", " fc7 "] if space == "fc7" else ["raw pixels", "原始像素"]
        yield Shown(file, f"Left a query, then the pictures nearest to it in {where[0]} among {share}; green: of the same class. Over "
                          f"{len(asked)} validation pictures, {agree['fc7']:.1%} of the {NEAR} nearest in fc7 are of their class, and "
                          f"{agree['pixels']:.1%} of the nearest in pixels.",
                    f"左侧为查询图片，其后是按{where[1]}的欧氏距离与它最近的训练图片（从 {len(bank)} 张中查找），绿框表示同类。对 {len(asked)} 张验证图片，"
                    f"按 fc7 最近的 {NEAR} 张里有 {agree['fc7']:.1%} 与之同类，按像素最近的则为 {agree['pixels']:.1%}。")


@look("pictures", "Occlusion: what is missed when it is covered", "遮挡：遮住哪里会影响判断")
def occlusion(job: Job) -> Iterator[Shown]:
    """how far a class's probability falls when a square of the picture is covered"""
    patch = max(4, round(job.size / 7))
    stride = max(2, patch // 2)
    entries = []
    for number, picture in enumerate(job.pictures):
        heat = interpret.occlusion(job.model, job.crops[number], int(job.targets[number]), patch, stride)
        entries.append(figures.Attribution(picture.image, job.about(number), [(f"largest fall {100 * heat.max():.1f} points", heat)]))
    reach = max(0.02, max(float(np.abs(entry.heats[0][1]).max()) for entry in entries))
    figures.attributions(entries, job.out / "occlusion.png", f"occlusion by the mean image, {patch} × {patch} px every {stride} px ({job.title})",
                         "fall of the probability, points (mean of the squares over a pixel)", reach)
    yield Shown("occlusion.png",
                f"Red: covering this place with a square of {patch} x {patch} px of the mean image makes the class above the picture less "
                "probable, by as many points as the scale says; blue: more probable.",
                f"红色：用均值图像中 {patch} × {patch} 像素的方块遮住此处，图片上方所示类别的概率会下降（百分点见色标）；蓝色：概率会上升。")


@look("pictures", "Gradient: which pixels the class depends on", "梯度：类别得分取决于哪些像素")
def gradient(job: Job) -> Iterator[Shown]:
    """the slope of a class's logit along each pixel, plain and averaged over noise"""
    plain = np.abs(interpret.gradient(job.model, job.crops, job.targets)).max(1)
    smooth = np.abs(interpret.gradient(job.model, job.crops, job.targets, noise=30, samples=16)).max(1)
    entries = [figures.Attribution(picture.image, job.about(number), [("gradient", plain[number]), ("over noise", smooth[number])])
               for number, picture in enumerate(job.pictures)]
    figures.attributions(entries, job.out / "gradient.png", f"|d logit / d pixel|, largest of R, G, B; right: mean over 16 copies with noise of 30 grey "
                         f"levels ({job.title})", "share of the picture's 99.5th percentile", overlay=False)
    yield Shown("gradient.png",
                "How much the score of the class above the picture changes with each pixel: plain, and averaged over 16 noisy copies "
                "(SmoothGrad), in which accidents of single pixels cancel. Each picture on its own scale.",
                "图片上方类别的得分随每个像素变化的程度：左为原始梯度，右为 16 份加噪副本的平均（SmoothGrad），后者让个别像素的偶然因素互相抵消。"
                "每张图片各用自己的色标。")


@look("pictures", "Grad-CAM: where the last maps speak for the class", "Grad-CAM：最后的特征图在哪里支持这一类别")
def gradcam(job: Job) -> Iterator[Shown]:
    """the maps of conv5 (or --layers), weighted by how much the class depends on them"""
    names = [name for name in job.options.layers or [] if name.startswith("conv")] or job.convs[-1:]
    heats = {name: interpret.gradcam(job.model, job.crops, job.targets, name) for name in names}
    entries = [figures.Attribution(picture.image, job.about(number), [(name, heats[name][number]) for name in names])
               for number, picture in enumerate(job.pictures)]
    side = step_of(job.model, names[-1]).shape[1]
    figures.attributions(entries, job.out / "gradcam.png", f"Grad-CAM, {names[-1]}: {side} × {side} places ({job.title})",
                         "share of the picture's 99.5th percentile")
    yield Shown("gradcam.png",
                f"Bright: where the maps of {', '.join(names)} speak for the class above the picture. A {side} x {side} grid, placed at the centres "
                "of the receptive fields and interpolated.",
                f"明亮处：{'、'.join(names)} 的特征图在此支持图片上方的类别。网格为 {side} × {side}，按感受野中心定位后插值。")


@look("data", "Patches that excite units", "最能激活各单元的图像块")
def patches(job: Job) -> Iterator[Shown]:
    """for units of each layer the training pictures' parts that excite them most, as large as their receptive field"""
    images, _ = job.part("train", job.options.sample)
    names = [name for name in job.options.layers or [] if name.startswith("conv")] or job.convs
    best = interpret.strongest(job.model, images, names, PATCHES, "patches")
    for name, found in best.items():
        layer = step_of(job.model, name)
        less, less_zh = (("more than the picture", "大于整张图片") if layer.field > job.size else
                         ("less at an edge", "靠近边缘时更小"))
        rows = []
        for unit in job.units(layer.shape[0]):
            pieces = []
            for index, row, column, value in zip(*(part[unit].tolist() for part in found)):
                pieces.append((images[index][interpret.field_of_view(layer, row, column, job.size)], f"{value:.3g}"))
            rows.append((f"{name}\nunit {unit}", pieces))
        figures.picture_rows(rows, job.out / f"patches-{name}.png",
                             f"{name}: strongest of {len(images):,} training pictures, cut at the receptive field, {layer.field} × {layer.field} px; "
                             f"value before the nonlinearity ({job.title})")
        yield Shown(f"patches-{name}.png",
                    f"Each row is a unit of {name}: the parts of {len(images):,} training pictures that excite it most, as much of them as it sees "
                    f"({layer.field} x {layer.field} px, {less}), each picture at most once; above, its value.",
                    f"每行是 {name} 的一个单元：在 {len(images)} 张训练图片中最能激活它的图像块，大小即其感受野（{layer.field} × {layer.field} 像素，"
                    f"{less_zh}），每张图片最多出现一次；上方为激活值。")


@look("", "Synthesis: pictures that excite a class or a unit most", "合成：最能激活某个类别或单元的图像")
def synthesis(job: Job) -> Iterator[Shown]:
    """pictures made by gradient ascent that excite classes and units most"""
    wanted = [name for name in job.options.layers or []] or [*job.convs, "fc8"]
    rule = "gradient ascent, blurred gradients, decay to the mean image, shifts"
    units: list[tuple[str, list[tuple[np.ndarray, str]]]] = []
    for name in wanted:
        layer = step_of(job.model, name)
        if name == "fc8":
            count = len(job.classes)
            chosen = [job.target] if job.target is not None else sorted(set(np.linspace(0, count - 1, 12).round().astype(int).tolist()))
            pictures = interpret.synthesis(job.model, name, chosen, doing="classes")
            across = min(6, len(chosen))
            rows = [("", [(picture, job.classes[index]) for picture, index in zip(pictures[first:first + across], chosen[first:first + across])])
                    for first in range(0, len(chosen), across)]
            figures.picture_rows(rows, job.out / "synthesis-classes.png", f"what excites a class most: {rule} ({job.title})")
            yield Shown("synthesis-classes.png",
                        f"Pictures made to excite {len(chosen)} of {count} classes as much as possible, by gradient ascent from the mean image. What "
                        "keeps them from being noise: gradients blurred from 4 px down to half of one, a decay of 1% a step to the mean image, small shifts.",
                        f"从均值图像出发，用梯度上升合成最能激活某个类别的图像（{count} 个类别中的 {len(chosen)} 个）。为了不让结果变成噪声：梯度经过模糊"
                        "（由 4 像素降至半像素），每一步向均值图像衰减 1%，并做小幅平移。")
            continue
        chosen = job.units(layer.shape[0])
        pictures = interpret.synthesis(job.model, name, chosen, doing=name)
        middle = layer.shape[1] // 2
        window = interpret.field_of_view(layer, middle, middle, job.size) if layer.shape[1] > 1 else (slice(None),) * 2
        units.append((f"{name}\n{window[0].stop - window[0].start} px" if layer.shape[1] > 1 else name,
                      [(picture[window], f"unit {unit}") for picture, unit in zip(pictures, chosen)]))
    if units:
        figures.picture_rows(units, job.out / "synthesis-units.png", f"what excites a unit in the middle most, cut at its receptive field: {rule} ({job.title})")
        yield Shown("synthesis-units.png",
                    "The same for units: a row a layer, what excites the unit in the middle of its map most, cut at its receptive field. From edges and "
                    "colours to textures and parts of things.",
                    "对各层单元做同样的合成：每行一层，显示最能激活特征图正中单元的图像，按感受野裁剪。由边缘和颜色逐步过渡到纹理和物体的局部。")


@look("data", "Embedding: pictures in the plane of fc7", "嵌入：图片在 fc7 平面上的分布")
def embedding(job: Job) -> Iterator[Shown]:
    """validation pictures laid out by the two principal components of fc7"""
    images, labels = job.part("val", LAID_OUT)
    places, shares = interpret.plane(interpret.features(job.model, images, "fc7", "fc7 of validation pictures"))
    step = max(1, job.size // 64)
    small = [image[::step, ::step] for image in images]
    figures.plane(places, labels, job.data_classes, small, shares, job.out / "embedding.png",
                  f"{len(images):,} validation pictures by the two largest principal components of fc7 ({job.title})")
    yield Shown("embedding.png",
                f"{len(images):,} validation pictures, laid out by the two directions in which their fc7 differs most ({shares[0]:.0%} and "
                f"{shares[1]:.0%} of the variance). Left as dots coloured by class, right as pictures, one a cell.",
                f"{len(images)} 张验证图片，按 fc7 差异最大的两个方向排布（分别占方差的 {shares[0]:.0%} 和 {shares[1]:.0%}）。左：按类别着色的点；"
                "右：缩略图，每格一张。")


UNUSUAL = {   # kind: English, Chinese; {layer}, {number}
    "not finite": ("{layer} holds values that are not finite: training has diverged; a lower rate helps",
                   "{layer} 中出现了 NaN 或无穷大：训练已经发散，应降低学习率"),
    "same answer": ("the network gives nearly the same answer to every picture (they differ by {number:.1%})",
                    "网络对每张图片的回答几乎相同（仅相差 {number:.1%}）"),
    "same features": ("fc7 is nearly the same for every picture ({number:.0%} of its length is common): fc8 has nothing to tell them by",
                      "fc7 对每张图片都几乎相同（长度的 {number:.0%} 是共有的）：fc8 无从区分"),
    "dead": ("{number:.0%} of {layer}'s units are dead: never above 0, so nothing can change them",
             "{layer} 有 {number:.0%} 的单元已经死掉：从不大于 0，因而再也学不动"),
    "always on": ("{number:.0%} of {layer}'s units are never below 0: for them the ReLU does nothing",
                  "{layer} 有 {number:.0%} 的单元从不小于 0：ReLU 对它们不起作用"),
    "saturated": ("{number:.0%} of {layer}'s values lie where the nonlinearity is flat: little gradient comes through",
                  "{layer} 有 {number:.0%} 的值位于非线性函数的平坦区：几乎没有梯度通过"),
    "no gradient": ("hardly any gradient reaches {layer} (at most {number:.1e} of the weights' size): nothing is learnt there",
                    "几乎没有梯度传到 {layer}（仅为权重大小的 {number:.1e}）：它学不到东西"),
    "large gradient": ("{layer}'s gradient is {number:.1f} times the size of its weights: the rate will be too high for it",
                       "{layer} 的梯度是其权重大小的 {number:.1f} 倍：学习率对它来说过高"),
    "idle norm": ("{layer} divides by nearly the same everywhere (at most {number:.3f} times its least): it does nothing",
                  "{layer} 的除数处处几乎相同（最大值仅为最小值的 {number:.3f} 倍）：它不起作用"),
}


@look("data", "Health: does it train?", "健康检查：网络能否训练？")
def health(job: Job) -> Iterator[Shown]:
    """dead units, values, weights, gradients, what the norms divide by; in words what is unusual"""
    images, labels = job.part("train", EXAMINED)
    crops = torch.cat([crops for _, crops in interpret.batches(job.model, images)])
    same = job.pack.classes == job.model.classes
    if same:
        targets = torch.from_numpy(np.array(labels)).to(job.device)
    else:
        with torch.inference_mode():
            targets = job.model(crops).argmax(1)
    report = interpret.health(job.model, crops, targets.clone())
    words = [[UNUSUAL[kind][language].format(layer=layer, number=number) for kind, layer, number in report.unusual] for language in (0, 1)]
    loss = f"loss {report.loss:.3f}; a network that knows nothing has {report.chance:.3f}"
    lines = [loss, *(f"• {line}" for line in words[0] or ["nothing unusual"])]
    figures.health([figures.LayerState(layer.name, layer.dead, layer.always, layer.values, layer.weights, layer.gradients)
                    for layer in report.layers], report.divisors, lines, job.out / "health.png",
                   f"over {len(images)} training pictures, without dropout ({job.title})")
    for line in words[0]:
        say(f"health: {line}")
    yield Shown("health.png",
                f"Over {len(images)} training pictures, without dropout: {loss}. " + ("Unusual: " + "; ".join(words[0]) if words[0] else "Nothing unusual") + ".",
                f"基于 {len(images)} 张训练图片（不使用丢弃法）：损失为 {report.loss:.3f}，而瞎猜的网络为 {report.chance:.3f}。"
                + ("异常：" + "；".join(words[1]) if words[1] else "未见异常") + "。")


@look("run", "Training (section 5)", "训练过程（第 5 节）")
def training(job: Job) -> Iterator[Shown]:
    """curves of the run that made the checkpoint, or of several (--runs)"""
    folders = [Path(run) for run in job.options.runs or [job.path.parent]]
    runs = {folder.resolve().name: metrics(folder) for folder in folders}
    if len(runs) == 1:
        (name, rows), = runs.items()
        figures.training_curves(rows, job.out / "training.png", name)
    else:
        figures.runs_side_by_side(runs, job.out / "training.png", f"{len(runs)} runs")
    ends = [f"{name}: {rows[-1]['val_top1_error']:.1%}" for name, rows in runs.items()]
    yield Shown("training.png", f"Loss and error by epoch; top-1 error on the validation part at the end: {'; '.join(ends)}.",
                f"损失与错误率随训练轮数的变化；结束时验证集上的 top-1 错误率：{'；'.join(ends)}。")


def metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's metrics.csv, as numbers; UserError if there are none."""
    path = folder / "metrics.csv"
    if not path.is_file():
        raise UserError(f"there is no {path}: --runs takes folders of runs")
    rows = [{name: float(value) for name, value in row.items()} for row in read_csv(path)]
    if not rows:
        raise UserError(f"{path} has no epoch yet")
    return rows


# ------------------------------------------------------------------- the page

PAGE = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 0 1rem 3rem; color: #222; background: #fff; }}
h1 {{ font-size: 1.5rem; }}
h2 {{ font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }}
figure {{ margin: 1.2rem 0; }}
img {{ max-width: 100%; height: auto; border: 1px solid #ddd; }}
figcaption {{ color: #555; font-size: .92rem; overflow-wrap: anywhere; }}
nav a {{ margin-right: .8rem; white-space: nowrap; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
<nav>{links}</nav>
{sections}
</body>
</html>
"""


def page(job: Job, shown: dict[str, list[Shown]]) -> None:
    """index.html, with what earlier calls wrote about the same network; captions.json remembers it."""
    about = f"{job.path.resolve()} {job.path.stat().st_mtime_ns}"
    memory = job.out / "captions.json"
    before = read_json(memory) if memory.is_file() else {}
    old = before.get("looks", {}) if before.get("model") == about else {}
    looks = {name: shown.get(name) or [Shown(*entry) for entry in old.get(name, []) if (job.out / entry[0]).is_file()] for name in LOOKS}
    looks = {name: entries for name, entries in looks.items() if entries}
    write_json(memory, {"model": about, "looks": looks})
    chinese = job.options.language == "zh"
    sections = []
    for name, entries in looks.items():
        heading = LOOKS[name].chinese if chinese else LOOKS[name].english
        pictures = "\n".join(
            f'<figure><a href="{html.escape(entry.file)}"><img src="{html.escape(entry.file)}" loading="lazy" alt="{html.escape(entry.file)}"></a>'
            f"<figcaption>{html.escape(entry.chinese if chinese else entry.english)}</figcaption></figure>" for entry in entries)
        sections.append(f'<h2 id="{name}">{html.escape(heading)}</h2>\n{pictures}')
    links = " ".join(f'<a href="#{name}">{name}</a>' for name in looks)
    facts = [f"{len(job.classes)} 个类别：" if chinese else f"{len(job.classes)} classes:",
             ("、" if chinese else ", ").join(job.classes[:20]) + ((" 等" if chinese else " ...") if len(job.classes) > 20 else "")]
    write_text(job.out / "index.html", PAGE.format(
        language="zh-CN" if chinese else "en", title=html.escape(f"AlexNet: {job.title}"), about=html.escape(("" if chinese else " ").join(facts)),
        links=links, sections="\n".join(sections)))


# ------------------------------------------------------------------- the job

def say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def possible(job: Job) -> list[str]:
    """What the inputs allow."""
    has_run = bool(job.options.runs) or (job.path.parent / "metrics.csv").is_file()
    return [name for name, what in LOOKS.items()
            if (what.needs != "data" or job.has_data) and (what.needs != "run" or has_run)]


def run(options: argparse.Namespace) -> None:
    job = Job(options)
    if not options.model:
        say(f"model: {job.path}")
    shown: dict[str, list[Shown]] = {}
    for name in options.what or possible(job):
        start = time.perf_counter()
        try:
            shown[name] = list(LOOKS[name].draw(job))
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        page(job, shown)   # after each: what was finished is not lost
        say(f"{name}: {len(shown[name])} PNG file{'s' * (len(shown[name]) != 1)}, {time.perf_counter() - start:.1f} s")
    print(job.out / "index.html")


def main(arguments: list[str] | None = None) -> None:
    with shell("alexnet_visualization.py"):
        options = parse(arguments)
        keep_memory()
        if options.list:
            print("\n".join(f"{name:13} {what.help}" for name, what in LOOKS.items()))
        else:
            run(options)


if __name__ == "__main__":
    main()
