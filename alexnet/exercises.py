"""Exercises on the paper, whose answers are computed from the network, its optimiser and its augmentation.

    python -m alexnet.exercises 4             the question (all of them: paper/exercises.md)
    python -m alexnet.exercises 4 54          is 54 right? A known slip gets its own hint
    python -m alexnet.exercises 4 --hint      where to begin
    python -m alexnet.exercises 4 --answer    the answer
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from alexnet.cli import CommandLine, shell
from alexnet.files import UserError

if TYPE_CHECKING:   # a wrong option is answered before torch is imported, which takes seconds
    from alexnet.geometry import Step
    from alexnet.model import AlexNet

PAPER = Path(__file__).parents[1] / "paper"
PAGES = {"en": PAPER / "exercises.md", "zh": PAPER / "exercises.zh-CN.md"}

Text = tuple[str, str]   # English, Chinese


@dataclass
class Answer:
    """What is right, to so many decimals, where to begin, and what goes wrong most often."""

    value: float
    decimals: int
    hint: Text
    slips: list[tuple[float, Text]]   # a wrong value, and what led to it

    def gives(self, value: float, given: float) -> bool:
        """Whether a person's number is `value` as they would round it."""
        return abs(given - value) <= 0.51 * 10 ** -self.decimals if self.decimals else given == round(value)


# ------------------------------------------------------------------- what the answers are computed from

@cache
def network(num_classes: int = 1000, variant: str = "as-written") -> AlexNet:
    """The network for 224 px, without memory for its weights."""
    from alexnet.settings import outline
    return outline(num_classes, 224, variant)


def layer(name: str) -> Step:
    """A step of the network, in numbers."""
    from alexnet.geometry import step_of
    return step_of(network(), name)


def normalised(values: list[float], place: int, variant: str = "as-written") -> float:
    """Section 3.3 for one of some neighbouring maps at one point, with the constants of a variant."""
    import torch
    from alexnet.model import VARIANTS, LocalResponseNorm
    design = VARIANTS[variant]
    norm = LocalResponseNorm(design.lrn_k, alpha=design.lrn_alpha, over_n=design.lrn_over_n)
    return norm(torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1))[0, place].item()


def updated(steps: int, weight_decay: float = 5e-4) -> float:
    """A weight of 1 after so many steps with momentum 0.9, learning rate 0.01 and a gradient of 0.5."""
    import torch
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.01, momentum=0.9, weight_decay=weight_decay)
    for _ in range(steps):
        weight.grad = torch.full_like(weight, 0.5)
        optimizer.step()
    return weight.item()


PER_CENT = ("In per cent, please.", "请用百分数。")
NO_BIASES = ("The biases are forgotten: one for each kernel.", "忘了偏置：每个卷积核有一个。")
NO_DECAY = ("Weight decay is forgotten.", "忘了权重衰减。")
DIVIDED = ("That divides alpha by n = 5, as the code of 2012 does; the paper's formula does not.",
           "这里把 alpha 除以了 n = 5；2012 年的代码这样做，论文的公式没有。")


# ------------------------------------------------------------------- the exercises, in the order of the pages

def input_values() -> Answer:
    side = network().image_size
    return Answer(3 * side ** 2, 0, ("Height times width times colours.", "高 × 宽 × 颜色通道数。"), [
        (side ** 2, ("That is one colour; there are three.", "这只是一个颜色通道，一共有三个。")),
        (3 * 256 ** 2, ("256 px is the stored image; the network sees a crop of 224 px.",
                        "256 像素是存储的图像，网络看到的是 224 像素的裁剪。"))])


def tanh_slope() -> Answer:
    import torch
    x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    y = torch.tanh(x)
    y.backward()
    hint = ("The derivative of tanh x is 1 - tanh² x.", "tanh x 的导数是 1 - tanh² x。")
    return Answer(x.grad.item(), 4, hint, [
        (y.item(), ("That is tanh 3 itself, not its slope.", "这是 tanh 3 本身，不是它的斜率。")),
        (1.0, ("That is the slope of ReLU there.", "这是 ReLU 在该处的斜率。"))])


def conv2_maps() -> Answer:
    maps = network().conv2.weight.shape[1]
    return Answer(maps, 0, ("Which feature maps of conv1 lie on the same GPU? Section 3.2.",
                            "conv1 的哪些特征图在同一块 GPU 上？见 3.2 节。"), [
        (2 * maps, ("Those are all maps of conv1; a kernel of conv2 sees those of its own column.",
                    "这是 conv1 的全部特征图；conv2 的一个卷积核只看到自己那一路的。"))])


def conv1_side() -> Answer:
    side = layer("conv1").shape[-1]
    hint = ("(224 - 11) / 4 is 53.25. How many windows are there, the first and the last included?",
            "(224 - 11) / 4 = 53.25。算上第一个和最后一个，一共有多少个窗口？")
    return Answer(side, 0, hint, [
        (side - 1, ("That is 1 + 53, rounded down. The code of 2012 rounds up: its last window hangs over "
                    "the edge by 3 px.",
                    "这是 1 + 53，向下取整。2012 年的代码向上取整：最后一个窗口超出边缘 3 个像素。")),
        (side + 1, ("That is 224 / 4; but the 56th window would lie mostly outside.",
                    "这是 224 / 4；但那样第 56 个窗口大部分在图像之外。"))])


def conv1_parameters() -> Answer:
    conv1 = layer("conv1")
    return Answer(conv1.parameters, 0, ("96 kernels of 11 x 11 x 3 weights, and what else?",
                                        "96 个 11 x 11 x 3 的卷积核，还有什么？"), [
        (conv1.weights, NO_BIASES),
        (conv1.parameters - conv1.weights * 2 // 3, ("A kernel covers three colours.", "一个卷积核覆盖三个颜色通道。"))])


def conv2_parameters() -> Answer:
    conv2 = layer("conv2")
    return Answer(conv2.parameters, 0, ("How many maps does a kernel of conv2 see (exercise 3)?",
                                        "conv2 的一个卷积核看到多少张特征图（练习 3）？"), [
        (conv2.weights, NO_BIASES),
        (conv2.parameters + conv2.weights, ("conv2 sees 48 maps, not 96: the columns are separate.",
                                            "conv2 看到的是 48 张特征图，不是 96 张：两路是分开的。")),
        (2 * conv2.weights, ("conv2 sees 48 maps, not 96; and the biases are forgotten.",
                             "conv2 看到的是 48 张特征图，不是 96 张；而且忘了偏置。"))])


def share_of_fully_connected() -> Answer:
    everything = sum(values.numel() for values in network().parameters())
    share = 100 * sum(layer(name).parameters for name in ("fc6", "fc7", "fc8")) / everything
    hint = ("fc6 alone has 9216 x 4096 weights; the whole network has about 61 million parameters.",
            "仅 fc6 就有 9216 x 4096 个权重；整个网络约有 6100 万个参数。")
    return Answer(share, 1, hint, [
        (share / 100, PER_CENT),
        (100 - share, ("That is the share of the convolutional layers.", "这是卷积层所占的比例。")),
        (100 * layer("fc6").parameters / everything, ("That is fc6 alone.", "这只是 fc6。"))])


def share_of_convolutions() -> Answer:
    from alexnet.geometry import sizes
    steps = sizes(network()).values()
    convolutions = sum(step.multiply_adds for step in steps if step.kind == "conv")
    share = 100 * convolutions / sum(step.multiply_adds for step in steps)
    return Answer(share, 1, (
        "A weight of a convolution is used once for each place of its map, a weight of fc6, fc7, fc8 once.",
        "卷积的一个权重在特征图的每个位置各用一次，fc6、fc7、fc8 的一个权重只用一次。"), [
        (share / 100, PER_CENT),
        (100 - share, ("That is the share of the fully-connected layers.", "这是全连接层所占的比例。"))])


def conv1_neurons() -> Answer:
    maps, side, _ = layer("conv1").shape
    return Answer(maps * side ** 2, 0, ("96 maps of 55 x 55.", "96 张 55 x 55 的特征图。"), [
        (253_440, ("Figure 2's caption has this number, but the 55 x 55 x 96 in the figure are 290,400.",
                   "图 2 的说明写的是这个数，但图中的 55 x 55 x 96 等于 290,400。")),
        (maps * (side - 1) ** 2, ("That is 54 x 54: see exercise 4.", "这是 54 x 54：见练习 4。"))])


def one_active_map() -> Answer:
    values = [0.0, 0.0, 100.0, 0.0, 0.0]
    return Answer(normalised(values, 2), 1, ("The only square in the sum that is not 0 is 100² = 10,000.",
                                             "求和中唯一不为 0 的平方项是 100² = 10,000。"), [
        (normalised(values, 2, "as-trained"), DIVIDED),
        (100 / (2 + 1), ("The exponent beta = 0.75 is forgotten.", "忘了指数 beta = 0.75。"))])


def five_active_maps() -> Answer:
    values = [100.0] * 5
    return Answer(normalised(values, 2), 1, ("Now there are five squares in the sum.", "现在求和中有五个平方项。"), [
        (normalised(values, 2, "as-trained"), (
            "Either the neighbours are forgotten (exercise 10), or alpha is divided by n = 5, as the code of "
            "2012 does: with five equal values both give the same.",
            "要么忘了相邻的特征图（练习 10），要么像 2012 年的代码那样把 alpha 除以了 n = 5：五个值相等时两者结果相同。"))])


def first_map() -> Answer:
    values = [100.0] * 5
    return Answer(normalised(values, 0), 1, ("The window of five begins at max(0, i - n/2).",
                                             "五张的窗口从 max(0, i - n/2) 开始。"), [
        (normalised(values, 2), ("For the first map, two of the five neighbours do not exist.",
                                 "对第一张特征图来说，窗口的五张中有两张不存在。"))])


def pool1_side() -> Answer:
    side = layer("pool1").shape[-1]
    return Answer(side, 0, ("Windows of 3 values, 2 apart, on 55 values.", "55 个值上，窗口为 3，步长为 2。"), [
        (side + 1, ("The window that begins at value 52 ends with the last, 54: no further one is needed.",
                    "把 55 个值编为 0 到 54 号：从 52 号开始的窗口恰好到 54 号为止，不需要再多一个。")),
        (layer("conv1").shape[-1] // 3, (
            "That is for windows that are 3 apart; these are 2 apart and overlap.",
            "那是步长为 3 的情形；这里步长为 2，窗口互相重叠。"))])


def fc6_inputs() -> Answer:
    inputs = network().fc6.weight.shape[1]
    return Answer(inputs, 0, ("pool5 gives 256 maps; how large is each?", "pool5 给出 256 张特征图；每张多大？"), [
        (math.prod(layer("conv5").shape), ("The pooling behind conv5 is forgotten.", "忘了 conv5 之后的池化。")),
        (inputs // 2, ("fc6 sees both columns.", "fc6 同时看到两路。"))])


def conv2_field() -> Answer:
    return Answer(layer("conv2").field, 0, (
        "conv1 sees 11 px, 4 apart. pool1 covers 3 of its values; conv2 covers 5 of pool1's, which are 8 px "
        "apart.",
        "conv1 看到 11 像素，间隔 4。pool1 覆盖它的 3 个值；conv2 覆盖 pool1 的 5 个值，间隔 8 像素。"), [
        (11 + 4 * 4, ("pool1 stands between conv1 and conv2.", "conv1 和 conv2 之间还有 pool1。")),
        (11 + 2 * 4 + 4 * 4, ("Behind pool1 neighbours are 8 px apart, not 4.", "pool1 之后相邻的值间隔 8 像素，不是 4。")),
        (5, ("That is on conv2's input maps; the question is about pixels of the image.",
             "这是在 conv2 的输入特征图上；问的是图像的像素。"))])


def crops() -> Answer:
    import torch
    from alexnet import augment
    choice = augment.choose(200_000, 256 - 224, torch.Generator().manual_seed(0))
    count = len(torch.stack([choice.top, choice.left, choice.mirror.long()], 1).unique(dim=0))
    return Answer(count, 0, ("Where may a side of 224 begin in 256: 0, 1, ... up to what?",
                             "256 中的 224 可以从哪里开始：0、1、……一直到几？"), [
        (2 * 32 ** 2, ("The paper counts this; but a crop may begin at 0, 1, ..., 32, which are 33 places.",
                       "论文是这样数的；但裁剪可以从 0、1、……、32 开始，共 33 个位置。")),
        (count // 2, ("Each crop has a mirror image.", "每个裁剪还有镜像。"))])


def ten_crop_average() -> Answer:
    import torch
    logits = torch.tensor([[4.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    return Answer(logits.softmax(1).mean(0)[0].item(), 3, (
        "First the softmax of each crop, then the mean.", "先对每个裁剪做 softmax，再取平均。"), [
        (logits.mean(0).softmax(0)[0].item(), (
            "That averages before the softmax; the paper averages what the softmax gives.",
            "这是在 softmax 之前取平均；论文对 softmax 的输出取平均。"))])


def colour_noise() -> Answer:
    import numpy as np
    from alexnet import augment
    red, variance = 0.6, 4000.0
    direction = np.array([red, 0.8, 0.0])
    largest = abs(augment.components(variance * np.outer(direction, direction))[0]).max()
    return Answer(0.1 * float(largest), 2, (
        "The standard deviation along a component is the square root of its eigenvalue.",
        "沿一个主成分的标准差是其特征值的平方根。"), [
        (0.1 * variance * red, (
            "That multiplies by the eigenvalue, as the paper's formula says: with values of 0 to 255 the "
            "picture would be lost.",
            "这是乘以特征值，论文的公式就是这样写的：像素值在 0 到 255 之间，图像会被毁掉。")),
        (0.1 * math.sqrt(variance), ("Only 0.6 of the component is red.", "这个主成分只有 0.6 是红色。"))])


def dropout_scale() -> Answer:
    import torch
    from alexnet.layers import Dropout
    value = 3.0
    return Answer(Dropout().eval()(torch.tensor([value])).item(), 1, (
        "In training a unit is there half of the time; in test, always.", "训练时神经元有一半时间在；测试时一直在。"), [
        (value, ("That is today's way: doubled in training, unchanged in test.", "这是今天的做法：训练时加倍，测试时不变。")),
        (2 * value, ("Today's way doubles, but in training.", "今天的做法会加倍，但那是在训练时。"))])


def dropout_networks() -> Answer:
    hidden = network().fc7.out_features
    return Answer(2 * hidden, 0, ("Each unit of fc6 and of fc7 is there or not.", "fc6 和 fc7 的每个神经元或在或不在。"), [
        (hidden, ("Dropout stands behind both fc6 and fc7.", "fc6 和 fc7 之后都有丢弃法。"))])


def one_update() -> Answer:
    return Answer(updated(1), 6, ("v = 0 - 0.0005 · 0.01 · w - 0.01 · 0.5, then w + v.",
                                  "v = 0 - 0.0005 · 0.01 · w - 0.01 · 0.5，然后 w + v。"), [
        (updated(1, 0.0), NO_DECAY),
        (updated(1, 0.0) - 5e-4, ("Weight decay, too, is multiplied by the learning rate.", "权重衰减也要乘学习率。"))])


def two_updates() -> Answer:
    return Answer(updated(2), 6, ("v keeps 0.9 of what it was.", "v 保留原来的 0.9。"), [
        (updated(2, 0.0), NO_DECAY),
        (updated(1) + (updated(1) - 1), ("Momentum is forgotten: the second step is larger than the first.",
                                         "忘了动量：第二步比第一步大。"))])


def steps_of_training() -> Answer:
    from alexnet.recipe import RECIPES
    images, epochs = 1_200_000, 90
    batches = math.ceil(images / RECIPES["as-written"].batch_size)
    hint = ("How many batches of 128 are there in an epoch?", "一轮有多少个大小为 128 的批次？")
    return Answer(epochs * batches, 0, hint, [
        (batches, ("That is one epoch.", "这是一轮。")),
        (epochs * images, ("Those are images, not batches.", "这是图像数，不是批次数。"))])


def loss_at_the_start() -> Answer:
    import torch
    classes = network().num_classes
    loss = torch.nn.functional.cross_entropy(torch.zeros(1, classes), torch.zeros(1, dtype=torch.long)).item()
    base = ("The loss takes the natural logarithm.", "损失用的是自然对数。")
    return Answer(loss, 2, ("Each class has the probability 1/1000; the loss is minus the logarithm of that.",
                            "每个类别的概率是 1/1000；损失是它的负对数。"), [
        (math.log10(classes), base), (math.log2(classes), base),
        (math.log(10), ("That is ln 10, for ten classes.", "这是 ln 10，十个类别时的值。"))])


def two_classes() -> Answer:
    from alexnet.recipe import RECIPES, highest_rate
    recipe = RECIPES["as-trained"]
    highest = highest_rate(network(2, "as-trained"), recipe)
    return Answer(highest, 4, (
        "At the start each unit of fc7 gives its bias, 1, and dropout halves the mean: |h|² = 4096 / 4. The "
        "curvature is (|h|² + 2) / C (the 2: biases learn twice as fast), and the limit 2 (1 + 0.9) / "
        "curvature.",
        "一开始 fc7 的每个神经元给出偏置 1，丢弃法使均值减半：|h|² = 4096 / 4。曲率为 (|h|² + 2) / C（2 是偏置学习率的倍数），"
        "上限为 2 (1 + 0.9) / 曲率。"), [
        (highest / 2, ("That is half of the limit, which train_alexnet.py takes.",
                       "这是上限的一半，train_alexnet.py 取这个值。")),
        (highest / (1 + recipe.momentum), ("That is without momentum, which allows 1.9 times as much.",
                                           "这是没有动量时的上限；动量为 0.9 时，上限是它的 1.9 倍。"))])


EXERCISES: tuple[Callable[[], Answer], ...] = (
    input_values, tanh_slope, conv2_maps, conv1_side, conv1_parameters, conv2_parameters,
    share_of_fully_connected, share_of_convolutions, conv1_neurons, one_active_map,
    five_active_maps, first_map, pool1_side, fc6_inputs, conv2_field, crops, ten_crop_average,
    colour_noise, dropout_scale, dropout_networks, one_update, two_updates, steps_of_training,
    loss_at_the_start, two_classes)


# ------------------------------------------------------------------- asking and answering

def question(number: int, language: str) -> str:
    """The text of an exercise, from its page."""
    page = PAGES[language].read_text("utf-8") + "\n\n"
    text = re.search(rf"^\*\*{number}\.\*\* (.+?)\n\n", page, re.MULTILINE | re.DOTALL)[1]
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)   # a link's name only
    return text.replace("\n", " " if language == "en" else "")


def number_in(text: str, language: str = "en") -> float:
    """34,944, 96.2% or 1e-2 as a number; UserError for what is none."""
    try:
        return float(text.replace(",", "").replace("，", "").rstrip("%％"))
    except ValueError:
        raise UserError(f"{text} is not a number; give one such as 34,944 or 96.2%" if language == "en" else
                        f"{text} 不是数；请给出像 34,944 或 96.2% 这样的数") from None


def comment(answer: Answer, given: float, language: str) -> str:
    """What to say to a number that a person gives."""
    chinese = language == "zh"   # True is 1: the second of a Text
    if answer.gives(answer.value, given):
        return ("Right.", "正确。")[chinese]
    for value, reason in answer.slips:
        if answer.gives(value, given):
            return ("Not yet. ", "还不对。")[chinese] + reason[chinese]
    return ("Not yet; --hint says where to begin.", "还不对；--hint 告诉你从哪里入手。")[chinese]


def main(arguments: list[str] | None = None) -> None:
    with shell("exercises"):
        parser = CommandLine(__doc__, usage="python -m alexnet.exercises NUMBER [ANSWER] [--hint] [--answer]")
        parser.add_argument("number", type=int, help=f"1 to {len(EXERCISES)}")
        parser.add_argument("given", nargs="?", metavar="ANSWER", help="such as 54, 34,944 or 96.2%%")
        parser.add_argument("--hint", action="store_true", help="where to begin")
        parser.add_argument("--answer", action="store_true", help="the answer")
        parser.add_argument("--language", choices=list(PAGES), default="en", help="en (default) or zh")
        options = parser.parse_args(arguments)
        if not 1 <= options.number <= len(EXERCISES):
            raise UserError(f"there are exercises 1 to {len(EXERCISES)}, not {options.number}"
                            if options.language == "en" else
                            f"练习的编号是 1 到 {len(EXERCISES)}，没有 {options.number}")
        given = None if options.given is None else number_in(options.given, options.language)
        print(question(options.number, options.language))
        if given is None and not (options.hint or options.answer):
            return
        answer = EXERCISES[options.number - 1]()
        if given is not None:
            if options.given.endswith(("%", "％")) and answer.value < 1:   # a probability
                given /= 100
            print(comment(answer, given, options.language))
        if options.hint:
            print(answer.hint[options.language == "zh"])
        if options.answer:
            print(f"{answer.value:,.{answer.decimals}f}")


if __name__ == "__main__":
    main()
