"""A page to play with: what a network does with some pictures, as one HTML file.

    content = explore.contents(model, images, ["cat", "dog"], training)
    Path("explore.html").write_text(explore.page(content), encoding="utf-8")

The file needs nothing else, not even a server. It is made of explore.html, explore.css and explore.js, which
lie beside this file, and of numbers in 8 bits each. explore.js computes the first layer, normalisation,
pooling and dropout; the other layers' feature maps come from here.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from alexnet import demo, interpret
from alexnet.augment import as_batch, middle
from alexnet.files import UserError
from alexnet.geometry import Step, sizes
from alexnet.images import packed_side
from alexnet.layers import Dropout
from alexnet.model import VARIANTS, AlexNet, Design, LocalResponseNorm
from alexnet.predict import readable_names

PATCHES = 3        # training pictures for each unit
QUALITY = 60       # of the JPEG that holds them
ACROSS = 20        # of them in a row
BUILT_IN_SET = "demo (built-in)"   # not the name of anybody's folder
BUILT_IN = {       # English and Chinese names
    BUILT_IN_SET: ("the built-in set", "内置数据集"), "checks": ("checks", "棋盘格"), "cross": ("cross", "十字"),
    "disc": ("disc", "圆盘"), "moon": ("moon", "月牙"), "ring": ("ring", "圆环"), "star": ("star", "五角星"),
    "stripes": ("stripes", "条纹"), "target": ("target", "同心圆"), "triangle": ("triangle", "三角形"),
    "zigzag": ("zigzag", "锯齿纹")}


def contents(model: AlexNet, images: np.ndarray, titles: list[str], training: Any = None,
             trained_on: str = "", language: str = "en") -> dict[str, Any]:
    """All that explore.js needs to know, ready for JSON. UserError if the network's numbers are not finite.

    images: (N, S, S, 3) uint8, each with its title. training: what `interpret.strongest` looks through,
    (M, side, side, 3) uint8; without, the page shows no patches. trained_on: the name of the data set.
    """
    crops = as_batch(images).to(model.mean.device)
    steps = sizes(model)
    convolutions = [step for step in steps.values() if step.kind == "conv"]
    layers = [*convolutions, steps["fc6"], steps["fc7"]]
    with torch.inference_mode():
        values = model.activations(crops, [layer.name for layer in layers[1:]])   # the page has the first
        top = model(crops).softmax(1).topk(min(5, model.num_classes))
    tops = [[[model.classes[index], round(share, 5)] for index, share in zip(*five)]
            for five in zip(top.indices.tolist(), top.values.tolist())]
    return {
        "language": language, "words": WORDS,
        "names": names(model.classes, {name for five in tops for name, _ in five}),
        "variant": model.variant, "classes": model.num_classes, "trained_on": trained_on,
        "packed": packed_side(model.image_size),
        "net": first_layer(model, convolutions[0]),
        "layers": [about(model, layer, values.get(layer.name)) for layer in layers],
        "pictures": [{"name": title, "pixels": in_base64(image), "top": five}
                     for title, image, five in zip(titles, images, tops)],
        "patches": None if training is None else patches(model, training, convolutions),
        "lrn": {name: normalisation(design, model.design) for name, design in (
            ("paper", VARIANTS["as-written"]), ("code", VARIANTS["as-trained"]), ("own", model.design))
            if design.lrn != "none"},
        "pooling": {"own": {"size": steps["pool1"].kernel, "stride": steps["pool1"].stride},
                    "paper": {"size": 3, "stride": 2}, "apart": {"size": 2, "stride": 2}},   # section 3.4
        "keep": Dropout.keep,
    }


def names(classes: list[str], wanted: set[str]) -> dict[str, tuple[str, ...]]:
    """What some classes of ImageNet or of the built-in set are called in English and in Chinese."""
    if list(classes) == list(demo.CLASSES):
        return BUILT_IN
    both = [readable_names(classes, language) for language in ("en", "zh")]
    known = [name for name in sorted(wanted) if name in both[0]]
    return {name: tuple(re.split("[,，]", of[name])[0] for of in both) for name in known}


def in_base64(values: np.ndarray) -> str:
    """The values as bytes."""
    return base64.b64encode(np.ascontiguousarray(values, np.uint8).tobytes()).decode()


def eight_bits(rows: Tensor) -> dict[str, Any]:
    """(rows, values) as low + step * byte, each row with its own low and step: within half a step."""
    values = rows.detach().cpu().double().numpy()   # MPS has no double
    if not np.isfinite(values).all():
        raise UserError("the network's numbers are not finite: its training has diverged")
    low, high = values.min(1), values.max(1)
    step = (high - low) / 255
    whole = (values - low[:, None]) / np.where(step > 0, step, 1)[:, None]
    return {"low": low.tolist(), "step": step.tolist(), "bytes": in_base64(whole.round())}


def first_layer(model: AlexNet, layer: Step) -> dict[str, Any]:
    """The first convolution (conv1, or conv2 if a network has no conv1), and what it sees of a picture."""
    design, convolution = model.design, getattr(model, layer.name)
    kinds = [name[:4] for name in model.steps]
    return {
        "name": layer.name, "size": model.image_size, "side": layer.shape[1], "kernel": layer.kernel,
        "stride": layer.stride, "padding": layer.padding, "columns": design.columns,
        "mean": eight_bits(model.mean[0].flatten(1)), "std": list(design.pixel_std or (1, 1, 1)),
        "kernels": eight_bits(convolution.weight.flatten(1)), "bias": convolution.bias.tolist(),
        "activation": design.activation, "round_up": design.round_up,
        "activation_first": kinds.index("relu") < kinds.index("pool"),   # before normalisation and pooling
    }


def about(model: AlexNet, layer: Step, values: Tensor | None) -> dict[str, Any]:
    """A layer in numbers, and its (pictures, maps, side, side) values; a fully-connected one sees all."""
    dense = layer.kind == "fc"
    field, jump, first = (model.image_size, 0, 0) if dense else (layer.field, layer.jump, layer.first)
    return {"name": layer.name, "maps": layer.shape[0], "side": layer.shape[1], "dense": dense,
            "columns": 1 if dense else model.design.columns, "field": field, "jump": jump, "first": first,
            "values": None if values is None else eight_bits(values.flatten(1))}


def patches(model: AlexNet, training: Any, layers: list[Step]) -> dict[str, Any]:
    """For each unit of each layer its strongest training pictures, [picture, row, column, value], and these
    pictures as one JPEG."""
    found = interpret.strongest(model, training, [layer.name for layer in layers], PATCHES, "explore")
    used = np.unique(np.concatenate([best.image.ravel() for best in found.values()]))
    side, lines = model.image_size, math.ceil(len(used) / ACROSS)
    sheet = np.zeros((lines * side, ACROSS * side, 3), np.uint8)
    for place, index in enumerate(used):   # all at once would take as much memory again
        top, left, picture = place // ACROSS * side, place % ACROSS * side, training[index]
        inside = middle(len(picture), side)
        sheet[top:top + side, left:left + side] = picture[inside, inside]
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=QUALITY, optimize=True)
    strongest = {name: [[[int(np.searchsorted(used, image)), int(row), int(column), float(f"{value:.3g}")]
                         for image, row, column, value in zip(*unit)] for unit in zip(*best)]
                 for name, best in found.items()}
    return {"looked": len(training), "across": ACROSS, "strongest": strongest,
            "sheet": "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()}


def normalisation(design: Design, own: Design) -> dict[str, Any]:
    """Section 3.3's numbers as a variant has them, over the columns of a network."""
    norm = LocalResponseNorm(k=design.lrn_k, alpha=design.lrn_alpha, over_n=design.lrn_over_n)
    return {"k": norm.k, "n": norm.n, "alpha": norm.scale, "beta": norm.beta,
            "columns": own.columns if own.lrn == "column" else 1}


def page(content: dict[str, Any]) -> str:
    """The HTML file: script, style and numbers put into explore.html."""
    here = Path(__file__).parent
    html = (here / "explore.html").read_text(encoding="utf-8")
    for name in ("explore.css", "explore.js"):
        html = html.replace(f"/* {name} */", (here / name).read_text(encoding="utf-8"))
    numbers = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return html.replace("/* numbers */", numbers.replace("<", "\\u003c"))   # no </script> in a name


# ------------------------------------------------------------------- what the page says, English and Chinese

WORDS: dict[str, tuple[str, str]] = {
    "title": ("Look inside AlexNet", "看看 AlexNet 的内部"),
    "about": (
        "The network: {variant}, pictures of {size} × {size} px, {classes} classes{trained_on}. Choose a "
        "picture; all panels follow it. Red is positive, blue negative, white zero.",
        "网络：{variant}，输入 {size} × {size} 像素，{classes} 个类别{trained_on}。选择一张图片，各栏随之更新。红色为正，蓝色为负，白色为零。"),
    "trained_on": (", trained on {name}", "，训练数据：{name}"),
    "pictures": ("Pictures", "图片"),
    "open": ("Your own …", "自己的图片…"),
    "bad_file": ("This file could not be opened as a picture: {name}", "无法将此文件作为图片打开：{name}"),

    "answer_title": ("What the network answers", "网络的回答"),
    "answer_do": (
        "The five most probable classes of the chosen picture. The panels below show, step by step, what "
        "the network computes on the way to such an answer.",
        "所选图片概率最高的五个类别。下面各栏逐步展示网络得出这一结果之前所做的计算。"),
    "answer_own": (
        "Your picture goes through the first layer only (panels 1, 2, 3 and 4): the other layers' weights "
        "would make this page too large. It stays in your browser.",
        "自己的图片只经过第一层（第 1、2、3、4 栏）：其余各层的权重数据太多，放进来会使本页过大。图片不会离开你的浏览器。"),

    "convolution_title": ("1 · Convolution (section 3.5): window times kernel", "1 · 卷积（论文第 3.5 节）：窗口乘以卷积核"),
    "convolution_do": (
        "Drag the window over the picture (or use the arrow keys) and choose a kernel. For each colour, the "
        "{kernel} × {kernel} values in the window are multiplied by the kernel's. The sum of all {products} "
        "products, plus the bias, is the marked cell of the feature map. Choose a small square to read its "
        "product.",
        "在图片上拖动窗口（也可用方向键），并选择一个卷积核。对每个颜色通道，窗口内的 {kernel} × {kernel} 个值与卷积核逐个相乘。全部 {products} 个乘积之和再加上偏置，"
        "就是特征图上标出的那一格。点任意小方格可读出它的乘积。"),
    "picture_label": ("picture: {size} × {size} px, a window every {stride} px.",
                      "图片：{size} × {size} 像素，窗口步长 {stride} 像素。"),
    "hangs": ("The window hangs over the edge; what lies outside counts as 0.", "窗口超出了图片边缘，超出部分按 0 计算。"),
    "inside": ("The window lies inside the picture.", "窗口完全位于图片内。"),
    "kernels_label": ("the {maps} kernels of {layer}; chosen: {unit}", "{layer} 的 {maps} 个卷积核；当前：{unit}"),
    "window": ("window − mean{deviation}", "窗口 − 均值{deviation}"),
    "deviation": (", ÷ s.d.", "，÷ 标准差"),
    "activated": (", after the nonlinearity", "（非线性之后）"),
    "kernel": ("kernel", "卷积核"), "product": ("products", "乘积"), "sum": ("sum", "和"),
    "red": ("red", "红"), "green": ("green", "绿"), "blue": ("blue", "蓝"), "bias": ("bias", "偏置"),
    "tap": ("{colour}, row {row}, column {column}: {value} × {weight} = {product}",
            "{colour}色，第 {row} 行第 {column} 列：{value} × {weight} = {product}"),
    "map_label": ("feature map of kernel {unit}, {side} × {side}", "卷积核 {unit} 的特征图，{side} × {side}"),

    "maps_title": ("2 · Feature maps: what each layer finds", "2 · 特征图：每一层找到了什么"),
    "maps_do": (
        "Choose a layer and one of its feature maps, then a cell in the enlarged map. The frame on the "
        "picture is the cell's receptive field: it sees nothing else. Below are the training pictures' "
        "parts to which the same unit (neuron) responds most.",
        "选择一层和其中一张特征图，再在放大的特征图中选一格。图片上的方框是这一格的感受野：框外的内容它完全看不到。下方是使同一神经元响应最强的训练图像块。"),
    "layer": ("Layer", "层"),
    "overview_label": ("{layer}: {maps} feature maps of {side} × {side}, before the nonlinearity{columns}",
                       "{layer}：{maps} 张 {side} × {side} 的特征图，非线性之前{columns}"),
    "halves": ("; upper half: first column, lower half: second", "；上半为第一路，下半为第二路"),
    "dense_label": ("{layer}: {maps} values, after the nonlinearity", "{layer}：{maps} 个值，非线性之后"),
    "one_label": ("map {unit}, row {row}, column {column}: {value}",
                  "特征图 {unit}，第 {row} 行第 {column} 列：{value}"),
    "dense_one": ("neuron {unit}: {value}", "神经元 {unit}：{value}"),
    "field_label": ("it sees {width} × {height} px of the picture", "它看到图片中的 {width} × {height} 像素"),
    "whole_label": ("it sees the whole picture", "它看到整张图片"),
    "patches_label": ("strongest responses of unit {unit} among {looked} training pictures",
                      "神经元 {unit} 在 {looked} 张训练图片中的最强响应"),
    "patches_dense": (
        "Patches are shown for convolutional layers: a fully-connected neuron sees whole pictures.",
        "仅对卷积层显示图像块：全连接层的神经元看到的是整张图片。"),
    "patches_none": ("No training pictures were given to this page (--data names them).",
                     "生成本页时没有提供训练图片（用 --data 指定）。"),

    "lrn_title": ("3 · Response normalisation (section 3.3): neighbours compete",
                  "3 · 局部响应归一化（论文第 3.3 节）：相邻特征图相互竞争"),
    "lrn_do": (
        "Each bar is one kernel's value at the cell marked in panel 1{activated}: grey before, red after. A "
        "value with strong neighbours is divided by more. Move the sliders; choose a bar, and the frame "
        "shows the neighbours that its divisor sums over.",
        "每根柱是一个卷积核在第 1 栏所标位置的值{activated}：灰色为归一化前，红色为归一化后。邻居越强，除数越大。移动滑块；选一根柱，方框标出其除数求和所涉及的邻居。"),
    "paper": ("paper", "论文"),
    "code": ("2012 code (α ÷ n)", "2012 年代码（α ÷ n）"),
    "own": ("this network", "本网络"),
    "apart": ("no overlap", "不重叠"),
    "k": ("k", "k"), "n": ("n", "n"), "alpha": ("α", "α"), "beta": ("β", "β"),
    "cell": ("values of the marked cell", "所标位置的值"),

    "pool_title": ("4 · Pooling (section 3.4): the largest of each window", "4 · 池化（论文第 3.4 节）：取每个窗口的最大值"),
    "pool_do": (
        "On the left is the feature map of panel 1{activated}, on the right its pooled form. Choose a cell "
        "on the right: the frame on the left is its window. If the stride is smaller than the size, windows "
        "overlap, as in the paper.",
        "左边是第 1 栏的特征图{activated}，右边是池化结果。在右边选一格，左边的方框就是它的窗口。步长小于窗口时相邻窗口重叠，论文正是这样做的。"),
    "size": ("size", "窗口大小"),
    "stride": ("stride", "步长"),
    "before_label": ("before: {side} × {side}", "池化前：{side} × {side}"),
    "after_label": ("after: {side} × {side}", "池化后：{side} × {side}"),
    "largest": ("the largest of {count} values is {value}", "{count} 个值中最大的是 {value}"),

    "dropout_title": ("5 · Dropout (section 4.2): one idea, two scales", "5 · 丢弃法（论文第 4.2 节）：一个想法，两种缩放"),
    "dropout_do": (
        "The bars are {neurons} neurons of fc6 for this picture. In training a mask sets about half of them "
        "to 0; draw it again and again. In testing all take part, so the scale must be the same: in 2012 "
        "values were halved in testing, today they are doubled in training. Red bars: training with this "
        "mask. Blue frames: testing. Dots: the mean over all masks so far; it approaches the frames.",
        "柱子是 fc6 中 {neurons} 个神经元对这张图片的值。训练时用随机掩码将约一半置零，可反复抽取。测试时全部参与，因此两者的尺度要一致：2012 年在测试时减半，如今则在训练时加倍。"
        "红柱为使用当前掩码的训练值，蓝框为测试值，圆点为至今所有掩码下的平均值，它逐渐接近蓝框。"),
    "keep": ("probability of being kept", "保留概率"),
    "draw": ("Draw a mask", "抽取掩码"),
    "draw_many": ("Draw 100", "抽取 100 次"),
    "masked": ("2012: training x × mask; testing x × {keep}", "2012 年：训练 x × 掩码；测试 x × {keep}"),
    "inverted": ("today: training x × mask ÷ {keep}; testing x", "如今：训练 x × 掩码 ÷ {keep}；测试 x"),
    "drawn": ("{kept} of {count} kept; sum now {now}, mean over {draws} masks {mean}, in testing {test}",
              "保留 {kept} / {count}；当前之和 {now}，{draws} 次掩码的平均 {mean}，测试时 {test}"),
    "footer": ("Made by alexnet_visualization.py explore. Kernels and values are stored in 8 bits.",
               "由 alexnet_visualization.py explore 生成。卷积核与数值以 8 位存储。"),
}
