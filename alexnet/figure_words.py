"""The words drawn in figures, English and Chinese. Figures are made with the English ones; `worded` exchanges
them where `language` is "zh". {} is what varies: a number, a name, or words that stand here themselves."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Iterator

from alexnet.captions import Text

language = "en"   # the words of all figures: en or zh

CHINESE = {
    "{} (train: with dropout and augmentation)": "{}（训练：含丢弃法和数据增强）",
    "{} runs (solid: val; dashed: train, with dropout and augmentation)":
        "{} 次训练（实线：验证；虚线：训练，含丢弃法和数据增强）",
    "train": "训练", "val": "验证", "train, top-1": "训练，top-1", "val, top-1": "验证，top-1",
    "val, top-5": "验证，top-5", "epoch": "轮", "cross-entropy": "交叉熵", "error, %": "错误率，%",
    "top-1 error, %": "top-1 错误率，%", "validation error, %": "验证错误率，%", "epoch {}: {}": "第 {} 轮：{}",
    "epoch {}": "第 {} 轮",

    "AlexNet {}, {} classes": "AlexNet {}，{} 类", "picture": "图像", "max-pool {}": "最大池化 {}",
    "dropout": "丢弃法", "same-map norm": "同图归一化", "parameters: {}": "参数：{}", "neurons: {}": "神经元：{}",
    "multiply-adds for one picture: {}": "一张图像的乘加次数：{}",

    "{}: all {} kernels, {} × {} px ({})": "{}：全部 {} 个卷积核，{} × {} 像素（{}）",
    "column {}, {}": "第 {} 路，{}", "each by its own largest weight": "各按自己的最大权重",
    "all on one scale": "全部用同一尺度",
    "{}: {} of {} kernels (every {}th from {}), each for its {} input maps; red positive, blue negative, by "
    "the kernel's own largest value ({})":
        "{0}：{2} 个卷积核中的 {1} 个（从 {4} 起每 {3} 个取一个），各有 {5} 张输入特征图；红为正，蓝为负，按各核自己的最大值（{6}）",
    "kernel {}": "卷积核 {}",
    "{}: how colourful the kernels are ({})": "{}：卷积核的色彩度（{}）", "column {}: mean {}": "第 {} 路：平均 {}",
    "all: mean {}": "全部：平均 {}", "drawn at random": "随机抽取时",
    "colourfulness: share of a kernel's energy that is not grey": "色彩度：卷积核能量中非灰色的比例",
    "% of the kernels have less": "低于此值的卷积核，%",

    "{} of {}: all {} feature maps, {} × {}, on one scale ({})": "{1} 的 {0}：全部 {2} 张特征图，{3} × {4}，同一尺度（{5}）",
    "{} of {}: {} values, row by row, on one scale ({})": "{1} 的 {0}：{2} 个值，逐行排列，同一尺度（{3}）",
    "value": "值",

    "nearest in {} among {}, with Euclidean distance; over {} validation pictures {} of the {} nearest are "
    "of their class ({})":
        "在{1}中按{0}最近的，附欧氏距离；对 {2} 张验证图像，最近的 {4} 张里有 {3} 与其同类（{5}）",
    "pixels": "像素", "{} training pictures": " {} 张训练图像",
    "{} training pictures, evenly chosen": "均匀选出的 {} 张训练图像",

    "occlusion by the mean image, {} × {} px every {} px ({})": "用均值图像遮挡，{} × {} 像素，每隔 {} 像素（{}）",
    "largest fall {}": "最多下降 {}",
    "fall of the probability, percentage points (mean of the squares over a pixel)":
        "概率的下降，百分点（遮住某像素的各方块的平均）",
    "|d logit / d pixel|, largest of R, G, B; right: mean over 16 copies with noise of 30 grey levels ({})":
        "|d logit / d 像素|，取 R、G、B 中最大的；右：16 份副本的平均，每份加标准差为 30 的噪声（{}）",
    "gradient": "梯度", "over noise": "加噪声平均",
    "share of the picture's 99.5th percentile": "与该图第 99.5 百分位数之比",
    "Grad-CAM, {}: {} places ({})": "Grad-CAM，{}：{} 个位置（{}）",
    "{}: nothing speaks for this class": "{}：没有支持此类的证据",
    "{}: no pixel changes its score": "{}：任何像素都不影响其得分",

    "{}: strongest of {} training pictures, cut at the receptive field, {} × {} px; value before the "
    "nonlinearity ({})":
        "{}：{} 张训练图像中激活最强的，按感受野裁出，{} × {} 像素；数值为非线性之前的（{}）",
    "unit {}": "神经元 {}",
    "what excites a unit in the middle most, cut at its receptive field: gradient ascent, blurred gradients, "
    "decay to the mean image, shifts ({})":
        "使中央神经元激活最强的图像，按感受野裁出：梯度上升，梯度模糊，向均值图像衰减，平移（{}）",
    "what excites a class most: gradient ascent, blurred gradients, decay to the mean image, shifts ({})":
        "使某一类的输出最大的图像：梯度上升，梯度模糊，向均值图像衰减，平移（{}）",

    "{} validation pictures by the two largest principal components of fc7 ({})":
        "{} 张验证图像，按 fc7 的前两个主成分排列（{}）",
    "first principal component ({} of the variance)": "第一主成分（占方差的 {}）", "second ({})": "第二主成分（{}）",

    "over {} training pictures, without dropout ({})": "用 {} 张训练图像，不用丢弃法（{}）",
    "never above 0: dead after a ReLU": "从不大于 0：经 ReLU 后死亡",
    "never below 0: a ReLU does nothing": "从不小于 0：ReLU 不起作用",
    "% of the units": "神经元，%", "units, over all pictures and places": "神经元，对全部图像和位置",
    "values before the nonlinearity (whiskers: 1 and 99%)": "非线性之前的值（须线：1% 和 99%）",
    "linear within ±1, then logarithmic": "±1 之内为线性，之外为对数",
    "weights: standard deviation": "权重：标准差", "gradients: root mean square": "梯度：均方根",
    "weights and gradients": "权重和梯度", "usual": "通常的范围",
    "gradient / weight (times the learning rate: a step)": "梯度 / 权重（乘以学习率为一步）",
    "what the norms divide by (1: their least)": "归一化的除数（以最小值为 1）",
    "no normalisation in this network": "这个网络没有归一化",

    # what a network is called, in brackets behind many of these; last, because it fits them, too
    "{}, {} px, trained on {} for {} epoch{}": "{}，{} 像素，在 {} 上训练 {} 轮",
    "{}, {} px, trained on {}": "{}，{} 像素，在 {} 上训练",
    "{}, {} px for {} epoch{}": "{}，{} 像素，训练 {} 轮",
    "{}, {} px": "{}，{} 像素", "{} px": "{} 像素",
}


words = CHINESE   # or more than these: `chinese`
names: frozenset[str] = frozenset()   # of classes, which stay as they are: one may be called train, or value


@contextmanager
def chinese(more: dict[str, str]) -> Iterator[None]:
    """What is saved meanwhile has Chinese words. Those of `more` come first, the longest before all."""
    global language, words
    before = language
    longest_first = sorted(more, key=lambda form: len(form.replace("{}", "")), reverse=True)
    language, words = "zh", {form: more[form] for form in longest_first} | CHINESE
    try:
        yield
    finally:
        language, words = before, CHINESE


def chosen(text: Text) -> str:
    return text.chinese if language == "zh" else text.english


def worded(text: str) -> str:
    """The text, or each of its lines, in the language chosen; what is not in the table stays."""
    if language == "en":
        return text
    whole = in_chinese(text)
    return whole if whole != text else "\n".join(map(in_chinese, text.split("\n")))


def in_chinese(text: str) -> str:
    if text in names:
        return text
    if text in words:
        return words[text]
    for form, chinese in words.items():   # the first that fits
        if "{}" in form and (found := re.fullmatch(re.escape(form).replace(r"\{\}", "(.*)"), text)):
            return chinese.format(*map(in_chinese, found.groups()))
    return text
