"""The step pictures: one idea of the paper each, drawn from what alexnet/steps.py computes, in two languages.

    draw("crops", Path("steps"), "zh")    # writes steps/crops.zh.png; STEPS says what there is
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from alexnet import figures, steps
from alexnet.captions import Text
from alexnet.files import read_json
from alexnet.images import open_image, square

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = [ROOT / f"data/samples/photo-{name}.jpg" for name in ("cat", "coffee", "rocket")]
LONG_RUN = ROOT / "results/experiments/base-128/ours-as-trained-0.json"   # 60 epochs of Imagenette
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"   # for colour-blind readers, too

Say = Callable[[str, str], str]   # chooses between an English and a Chinese text
Draw = Callable[[Say], Figure]
STEPS: dict[str, tuple[Text, Draw]] = {}   # of each picture what one sees in it, and what draws it


def step(english: str, chinese: str) -> Callable[[Draw], Draw]:
    """Adds a drawing function to STEPS, under its name."""
    def add(draw: Draw) -> Draw:
        STEPS[draw.__name__] = Text(english, chinese), draw
        return draw
    return add


def draw(name: str, folder: Path, language: str) -> str:
    """Writes a picture of STEPS with its words in a language (en or zh); the file's name."""
    file = f"{name}.png" if language == "en" else f"{name}.{language}.png"
    _, picture = STEPS[name]
    figure = picture(lambda english, chinese: english if language == "en" else chinese)
    figures.save(figure, folder / file, dpi=100)   # photographs of 256 px gain nothing by more
    return file


def photograph(path: Path = PHOTOS[0], side: int = steps.SIDE) -> np.ndarray:
    """A sample as section 2 stores it: (side, side, 3) uint8."""
    return square(open_image(path), side)


def frame(axes: Axes, corner: tuple[float, float], side: float, colour: str, label: str = "") -> None:
    """A square without a filling."""
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=2.5, label=label))


def without_axes(*panels: Axes) -> None:
    """No ticks and no frame; labels and titles stay."""
    for axes in panels:
        axes.set(xticks=[], yticks=[], frame_on=False)


# ------------------------------------------------------------------- sections 2 and 4.1

@step("Crops of 224 px from the stored 256 px: each time another place, and about half are mirrored.",
      "从存储的 256 像素图像中取 224 像素的裁剪：每次位置不同，约有一半做了水平翻转。")
def crops(say: Say) -> Figure:   # section 4.1
    image, colours = photograph(), (BLUE, ORANGE, GREEN)
    drawn = steps.crops(image, 3, seed=18)
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    first, *others = figure.subplots(1, 4)
    first.imshow(image)
    first.set_title(say("stored: 256 x 256", "存储：256 x 256"))
    for axes, crop, colour in zip(others, drawn, colours):
        frame(first, (crop.left, crop.top), steps.SIZE, colour)
        axes.imshow(crop.pixels)
        place = say(f"from row {crop.top}, column {crop.left}", f"起于第 {crop.top} 行第 {crop.left} 列")
        mirrored = say(", mirrored", "，左右翻转") if crop.mirrored else ""
        axes.set_title(place + mirrored, color=colour, fontsize=10)
    without_axes(first, *others)
    return figure


@step("Each of the upper three rows belongs to one principal component of RGB (section 4.1). Let s be a "
      "tenth of the standard deviation of the pixels' colours in the direction of this component. From left "
      "to right, -2s, -s, 0, s and 2s times the component are added to every pixel. The components come from "
      "the three sample photographs. In each of these rows the five pictures look nearly alike: the noise of "
      "2012 is hardly seen. The last row is the first component again, but s is a tenth of the variance (the "
      "eigenvalue), which is what the paper's formula there says: only the middle picture, to which "
      "nothing is added, can still be recognised.",
      "前三行各沿 RGB 的一个主成分（第 4.1 节）加噪声，从左到右依次加 -2σ、-σ、0、σ、2σ。"
      "σ 是噪声的标准差，等于像素在这个主成分上的标准差的十分之一。主成分由三张样例照片算出。"
      "这三行里，每行的五张图看上去差不多：2012 年的噪声很弱，肉眼几乎看不出。"
      "最后一行也沿第一主成分，但照论文那里的公式，σ 取方差（特征值）的十分之一，而不是标准差的十分之一："
      "只有没加噪声的中间一张还认得出来。")
def colour_noise(say: Say) -> Figure:   # section 4.1
    draws, image = [-2.0, -1.0, 0.0, 1.0, 2.0], photograph(PHOTOS[1], 120)
    pixels = np.concatenate([photograph(path).reshape(-1, 3) for path in PHOTOS])
    covariance = np.cov(pixels, rowvar=False)
    used = steps.colour_noise(image, covariance, draws)
    read = steps.colour_noise(image, covariance, draws, eigenvalues=True)
    figure = Figure(figsize=(8, 6.8), layout="constrained")
    rows = [(row, say(f"component {number}", f"主成分 {number}")) for number, row in enumerate(used, 1)]
    rows.append((read[0], say("component 1,\nby eigenvalue", "主成分 1，\n用特征值")))
    grid = figure.subplots(4, len(draws))
    for panels, (pictures, name) in zip(grid, rows):
        for axes, one in zip(panels, pictures):
            axes.imshow(one.clamp(0, 255).byte().numpy(), interpolation="nearest")
        panels[0].set_ylabel(name)
    for axes, deviation in zip(grid[0], draws):
        axes.set_title(say(f"{deviation:g} s.d.", f"{deviation:g} 个标准差"), fontsize=10)
    without_axes(*grid.flat)
    return figure


@step("conv1 along one side of the image: 54 windows lie inside, the 55th hangs over the edge by 3 px.",
      "conv1 沿图像一边的窗口：54 个完全在图像内，第 55 个超出边缘 3 个像素。")
def windows(say: Say) -> Figure:   # section 3.5
    places = steps.windows()
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(180, steps.SIZE, color=BLUE, alpha=0.12)
    axes.axvspan(steps.SIZE, places[-1][1], color=ORANGE, alpha=0.25)
    shown = [(number, begin, end) for number, (begin, end) in enumerate(places, 1) if begin >= 184]
    for height, (number, begin, end) in enumerate(shown):
        colour = ORANGE if end > steps.SIZE else BLUE
        axes.barh(height, end - begin, left=begin, height=0.6, color=colour)
        axes.text(begin - 0.6, height, str(number), ha="right", va="center", fontsize=9)
    axes.text(181, len(shown) - 1, say("image", "图像"), color=BLUE, va="center")
    axes.text(steps.SIZE + 0.2, -0.1, say("zeros", "补零"), color=ORANGE, va="center")
    axes.set(xticks=range(180, 229, 4), xlim=(180, 228.5), yticks=[],
             xlabel=say("pixel along one side (the image ends at 224); a bar is a window, with its number",
                        "沿图像一边的像素（图像到 224 为止）；每一条是一个窗口，左边是它的编号"))
    return figure


# ------------------------------------------------------------------- section 3

@step("ReLU, tanh and the sigmoid on the left, their slopes on the right. Backward, the gradient is "
      "multiplied by the slope.",
      "左为 ReLU、tanh 和 sigmoid，右为它们的斜率。反向传播时梯度要乘以斜率。")
def activations(say: Say) -> Figure:   # section 3.1
    x = np.linspace(-4, 4, 401)
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, (values, slope)), colour in zip(steps.slopes(x).items(), (ORANGE, BLUE, GREEN)):
        left.plot(x, values, color=colour, label=name, linewidth=2)
        right.plot(x, slope, color=colour, label=name, linewidth=2)
    left.set(title=say("output", "输出"), xlabel=say("input", "输入"), ylim=(-1.3, 3))
    right.set(title=say("slope", "斜率"), xlabel=say("input", "输入"))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


@step("The two columns. conv2, conv4 and conv5 see their own half of the feature maps; conv3 and fc6 to "
      "fc8 see both.",
      "双路结构。conv2、conv4、conv5 只看到自己那一路的特征图；conv3 和 fc6 到 fc8 看到两路。")
def columns(say: Say) -> Figure:   # section 3.2
    figure = Figure(figsize=(11, 3), layout="constrained")
    axes = figure.subplots()
    layers = steps.connections()
    heights = {1: (0.0,), 2: (0.9, -0.9)}   # of a layer's halves
    for place, layer in enumerate(layers):
        whole = layer.halves == 1
        for y in heights[layer.halves]:
            colour, alpha = (ORANGE if y < 0 else BLUE), (0.35 if whole else 0.85)
            axes.add_patch(Rectangle((place - 0.27, y - 0.42), 0.54, 0.84, facecolor=colour, alpha=alpha))
            axes.text(place, y, f"{layer.name}\n{layer.maps // layer.halves}", ha="center", va="center",
                      color="black" if whole else "white", fontsize=9)
            for before in heights[layers[place - 1].halves] if place else ():
                if layer.sees_both or before == y:
                    axes.add_patch(FancyArrowPatch(
                        (place - 0.73, before), (place - 0.27, y), arrowstyle="-|>", mutation_scale=11,
                        color=GREY, shrinkA=0, shrinkB=0))
    axes.text(-0.4, 1.55, "GPU 1", color=BLUE)
    axes.text(-0.4, -1.7, "GPU 2", color=ORANGE)
    axes.set(xlim=(-0.5, len(layers) - 0.5), ylim=(-1.8, 1.8))
    without_axes(axes)
    return figure


@step("Response normalisation of 16 neighbouring feature maps at one point. Where five strong ones stand "
      "together, all are divided by more.",
      "某一点上 16 张相邻特征图的响应归一化。五个强响应聚在一起时，除数更大。")
def normalisation(say: Say) -> Figure:   # section 3.3
    values = [4.0, 20, 4, 4, 200, 4, 4, 4, 200, 200, 200, 200, 200, 4, 4, 60]
    divisors, results = steps.normalised(values)
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    shown = ((values, BLUE, 0, say("before", "归一化前")), (divisors, GREY, 1, say("divisor", "除数")),
             (results, ORANGE, 1, say("after", "归一化后")))
    for axes, (heights, colour, decimals, name) in zip(panels, shown):
        bars = axes.bar(range(1, len(values) + 1), heights, color=colour)
        axes.bar_label(bars, [f"{height:.{decimals}f}" for height in heights], fontsize=8)
        axes.margins(y=0.25)
        axes.set(yticks=[], ylabel=name)
    panels[-1].set(xticks=range(1, len(values) + 1), xlabel=say("feature map", "特征图"))
    return figure


GRID = np.array([[1, 2, 0, 3, 1, 2, 0], [0, 9, 1, 1, 0, 4, 1], [2, 1, 4, 0, 5, 1, 3], [0, 3, 1, 7, 1, 0, 2],
                 [6, 0, 2, 1, 0, 8, 1], [1, 2, 0, 3, 2, 1, 0], [0, 1, 5, 0, 1, 2, 4]])


@step("Max-pooling of the same numbers. Windows of 3 x 3, 2 apart, share a column with their neighbours "
      "at the side and a row with those above and below; windows of 2 x 2 share nothing, and leave out "
      "the last column and the last row.",
      "对同样的数做最大池化。3 x 3、步长 2 的窗口与左右相邻的窗口共用一列，与上下相邻的共用一行；2 x 2 的窗口互不相交，最右一列和最下"
      "一行用不到。")
def pooling(say: Say) -> Figure:   # section 3.4
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    grid = figure.subplots(2, 2, width_ratios=(2, 1))
    for (left, right), window in zip(grid, (3, 2)):
        results = steps.pooled(GRID, window)
        numbers(left, GRID)
        numbers(right, results)
        for row, column in np.ndindex(results.shape):
            corner = 2 * column - 0.5, 2 * row - 0.5
            left.add_patch(Rectangle(corner, window, window, facecolor=ORANGE, alpha=0.12))
        for column, colour in ((0, BLUE), (1, GREEN)):
            frame(left, (2 * column - 0.44, -0.44), window - 0.12, colour)
            frame(right, (column - 0.44, -0.44), 0.88, colour)
        left.set_title(say(f"windows of {window} x {window}, 2 apart", f"{window} x {window} 的窗口，步长 2"))
        right.set_title(say("largest of each", "各窗口的最大值"))
    return figure


def numbers(axes: Axes, values: np.ndarray) -> None:
    axes.set(xlim=(-0.6, values.shape[1] - 0.4), ylim=(values.shape[0] - 0.4, -0.6), aspect="equal")
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:g}", ha="center", va="center", fontsize=11)
    without_axes(axes)


@step("What one value of each layer sees of the image, in the paper's network (`as-written`): the deeper "
      "the layer, the more. In `as-trained` the squares from pool2 on are 32 px wider and higher, because of "
      "its second normalisation of layer 2.",
      "论文的网络（`as-written`）中，每一层的一个值在图像上能看到的范围：层越深，看到的越多。`as-trained` 在第 2 层多一次"
      "归一化，它看 5 × 5 的邻域，因此从 pool2 起，每一层能看到的范围，高和宽都比图中的多 32 像素。")
def fields(say: Say) -> Figure:   # section 3.5
    image = photograph()[16:240, 16:240]
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "pool5"]
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image, alpha=0.75)
    colours = (ORANGE, "#E69F00", GREEN, BLUE, "#CC79A7", "black")
    for field, colour in zip(steps.fields(names), colours):
        side = field.end - field.begin
        label = say(f"{field.name}: {side} px", f"{field.name}：{side} 像素")
        frame(axes, (field.begin - 0.5, field.begin - 0.5), side, colour, label)
    axes.set(xlim=(-0.5, 223.5), ylim=(223.5, -0.5))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    without_axes(axes)
    return figure


# ------------------------------------------------------------------- sections 4.2 and 5

@step("Dropout of 64 neurons, all of value 1, for two images. In 2012, what is left stays 1 in training, "
      "and all are halved in test; today, what is left is doubled in training.",
      "64 个神经元的输出都是 1；两张图像各抽一次掩码。2012 年：训练时留下的仍为 1，测试时全部减半；今天：训练时把留下的加倍。")
def dropout(say: Say) -> Figure:   # section 4.2
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    for row, (inverted, name) in enumerate(((False, "2012"), (True, say("today", "今天")))):
        trained, tested = steps.masks(64, inverted)
        pictures = [*trained, np.full(64, tested)]
        titles = [say(f"training, image {number}: mean {values.mean():.2f}",
                      f"训练，图像 {number}：均值 {values.mean():.2f}") for number, values in enumerate(trained, 1)]
        titles.append(say(f"test: all {tested:g}", f"测试：全部为 {tested:g}"))
        for column, (values, title) in enumerate(zip(pictures, titles)):
            axes = figure.add_subplot(2, 3, 3 * row + column + 1)
            shown = axes.imshow(values.reshape(4, 16), vmin=0, vmax=2, cmap="cividis")
            axes.set_title(title, fontsize=10)
            without_axes(axes)
            if not column:
                axes.set_ylabel(name, fontsize=12)
    figure.colorbar(shown, ax=figure.axes, ticks=(0, 0.5, 1, 2), label=say("value", "值"))
    return figure


@step("Gradient descent in a narrow valley, 40 steps. Momentum is faster along it, and stays stable at "
      "learning rates at which plain descent is not; above its own limit it diverges, too. Where the "
      "curvature (the second derivative) is c, the limit is 2 / c without momentum and 3.8 / c with "
      "momentum 0.9: here c = 25 across the valley, so 0.08 and 0.152.",
      "狭窄山谷中的梯度下降，40 步。动量沿谷底走得更快；"
      "有些学习率会使普通梯度下降发散，加了动量却仍然稳定；但学习率超过动量法自己的上限时，动量法也会发散。"
      "曲率（二阶导数）为 c 时，普通梯度下降的学习率上限为 2 / c，动量为 0.9 时为 3.8 / c；图中横穿山谷方向的曲率 c = 25，两个上限就是 0.08 和 0.152。")
def momentum(say: Say) -> Figure:   # section 5
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    grid = figure.subplots(2, 3, sharex=True, sharey=True)
    x, y = np.meshgrid(np.linspace(-6, 10, 200), np.linspace(-2.4, 2.4, 100))
    along, across = steps.CURVATURES
    height = 0.5 * (along * x ** 2 + across * y ** 2)
    rows = (0.0, say("without momentum", "无动量")), (0.9, say("momentum 0.9", "动量 0.9"))
    for panels, (factor, name) in zip(grid, rows):
        for axes, rate in zip(panels, (0.02, 0.1, 0.16)):
            way = steps.descent(rate, factor, 40)
            axes.contour(x, y, height, levels=np.geomspace(0.5, 90, 9), colors=GREY, linewidths=0.5)
            axes.plot(*way.T, "o-", color=ORANGE, markersize=3, linewidth=1)
            axes.plot(0, 0, "*", color=BLUE, markersize=12)
            diverges = np.abs(way[-1]).max() > np.abs(way[0]).max()
            axes.set_title(say(f"{name}, learning rate {rate:g}", f"{name}，学习率 {rate:g}")
                           + (say(": diverges", "：发散") if diverges else ""), fontsize=10)
    grid[0, 0].set(xlim=(-6, 10), ylim=(-2.4, 2.4))
    without_axes(*grid.flat)
    return figure


@step("Sixty epochs of Imagenette at 128 px, seed 0 (results/base): validation error above, learning rate "
      "below.",
      "Imagenette，128 像素，六十轮，种子 0（results/base）：上为验证错误率，下为学习率。")
def schedule(say: Say) -> Figure:   # section 5
    rows = read_json(LONG_RUN)["curve"]
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot(epochs, [100 * row["val_top1_error"] for row in rows], color=BLUE, linewidth=2)
    above.set_ylabel(say("validation error, %", "验证错误率，%"))
    below.step(epochs, [row["lr"] for row in rows], where="mid", color=ORANGE, linewidth=2)
    below.set(yscale="log", xlabel=say("epoch", "轮次"), ylabel=say("learning rate", "学习率"))
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return figure
