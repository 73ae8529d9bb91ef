"""The claims and what was found, in Chinese: the phrases of claims.py, for the guide to the paper."""

from __future__ import annotations

import re

NUMBER = r"[+-]?(?:[\d.,]*\d(?:e[+-]?\d+)?|inf|nan)"
PERCENT = rf"{NUMBER}%(?: ± {NUMBER})?"

SAYS = {
    "C1": "6000 万个参数", "C2": "65 万个神经元；各层 253,440 / 186,624 / 64,896 / 64,896 / 43,264 / 4096 / 4096 / 1000", "C3": "ILSVRC-2010 测试集，十视图，错误率 37.5% / 17.0%",
    "C4": "五个网络取平均：40.7 / 18.2 降到 38.1 / 16.4；预训练后更低", "C5": "2009 年秋季版，10,184 类：67.4% / 40.9%",
    "C6": "每个卷积层的参数不超过 1%，却一个也少不得", "C7": "短边缩放到 256，取中央，只减均值",
    "C8": "CIFAR-10，四层网络：用 ReLU 达到 25% 训练错误率的速度是用 tanh 的六倍", "C9": "两柱网络比卷积核减半的单柱网络好 1.7 / 1.2 个百分点，训练也略快",
    "C10": "局部响应归一化：1.4 / 1.2 个百分点；CIFAR-10 上 13% 降到 11%", "C11": "重叠池化：0.4 / 0.3 个百分点，而且更不容易过拟合",
    "C12": "3.5 节的结构", "C13": "随机裁剪和镜像；没有它们会严重过拟合", "C14": "十视图代替一个视图：39.0 / 18.3 降到 37.5 / 17.0",
    "C15": "颜色噪声：top-1 错误率降低 1 个百分点以上", "C16": "数据增强不花时间：它和上一步的计算同时进行",
    "C17": "丢弃法：没有它会严重过拟合；所需迭代约为两倍", "C18": "v := 0.9 v - 0.0005 e w - e g; w := w + v", "C19": "权重衰减也降低训练错误率",
    "C20": "偏置设为 1，学习的初期更快", "C21": "验证错误率不再下降时，学习率除以 10", "C22": "两块 GTX 580 3GB 用五到六天",
    "C23": "conv1 学到有方向选择性的和彩色的卷积核；每次训练都是一柱与颜色无关，另一柱与颜色有关",
    "C24": "图 4 左：最可能的五个类别大多合理", "C25": "图 4 右：按 fc7，最近的训练图像是同类；按像素则不是",
    "C26": "特征可以压缩成短的二进制码，用于快速检索（论文没有做）", "C27": "按重要性排列：ReLU、两块 GPU、LRN、重叠池化",
}

# In this order: a phrase stands before those that it contains.
PHRASES = {
    # verdicts
    "not reproduced at this scale": "在这个规模上未能重现", "reproduced": "重现", "by construction": "由代码的写法保证",
    r" \(opposite: ": "（结果相反的部分：", "opposite": "结果相反", "not all runs are there": "实验尚未做完", "not tested": "未检验",
    "no such GPUs": "没有那样的 GPU", "no ImageNet, no GPU": "没有 ImageNet，也没有 GPU", "no such data": "没有那样的数据",
    r" \(the gap; the error is no larger without\)": "（只是验证与训练错误率之差；没有时错误率并不更高）",
    r" \(the gap; the error is smaller without\)": "（只是验证与训练错误率之差；没有时错误率反而更低）",
    r" \(the gap; the error is larger without\)": "（验证与训练错误率之差；没有时错误率也更高）",
    r"no LRN over 2x2 pooling": "LRN 大于重叠池化", r"\berror\b(?=[,)（）])": "错误率", r"\bCIFAR-10\b(?=\))": "CIFAR-10",
    # what is only said
    re.escape("needs ImageNet (150 GB) and 4.8e17 operations: hours on one current GPU, ten days or more on two cores (C22); the "
              "release's own notes have"):
        "需要 ImageNet（150 GB）和 4.8e17 次运算：如今的一块 GPU 要几个小时，两个核要十天以上（见 C22）；2012 年代码自带的记录是",
    r"(%) and (\d)": r"\1 和 \2",
    re.escape("needs 8.9 million images that are no longer given out in this form; half of them for training, 3.5 times as many "
              "as in C3"): "需要 890 万张图像，如今已不再以这种形式发放；其中一半用于训练，是 C3 的 3.5 倍",
    re.escape("a suggestion, not a result: features by the command, then an auto-encoder; some hours"):
        "这是一个设想，不是结果：用命令取出特征，再训练一个自编码器；要几个小时",
    # counting and measuring
    rf"({NUMBER}) parameters": r"\1 个参数",
    rf"seven of eight numbers agree, conv1's ({NUMBER}) \((\d+ x \d+ x \d+)\) cannot be ({NUMBER})":
        r"八个数字中有七个一致；conv1 是 \1（\2），不可能是 \3",
    "side of 256 for 224 px": "224 像素对应边长 256", "centre crop": "中心裁剪", "centre": "取中央", "only the mean": "只减均值",
    r"(\d) of 8 layers as in section 3.5 \(results, inputs, side, stride of the kernels\)":
        r"8 层中有 \1 层与 3.5 节一致（卷积核的个数、输入、边长、步长）",
    "the order of ReLU, normalisation and pooling": "ReLU、归一化、池化的次序",
    rf"({PERCENT}) of the throughput lost, at 224 px, where the same cores do both \(medians of five rounds, whose ranges do not overlap\)":
        r"在 224 像素上损失 \1 的吞吐量（这里两件事由同样的核来做；五轮测量的中位数，两边的范围不重叠）",
    "largest relative difference": "最大相对差",
    rf"({NUMBER}) operations in 90 epochs: ({PERCENT}) of the peak rate of two GTX 580 for 5.5 days, which is possible":
        r"90 轮共 \1 次运算：相当于两块 GTX 580 以峰值速度的 \2 运行 5.5 天，这是可能的",
    rf"here ({NUMBER}) images/s, ({NUMBER}) days": r"这里每秒 \1 张图像，要 \2 天",
    # networks
    rf"(\d+) networks: ({PERCENT}) each, ({PERCENT}) averaged: ({NUMBER}) points \(({NUMBER}) to ({NUMBER}), over ({NUMBER}) images\)":
        r"\1 个网络：单独 \2，平均后 \3：\4 个百分点（\5 至 \6，按 \7 张图像）",
    rf"({NUMBER}) points \(({NUMBER}) to ({NUMBER}); (\d+) pairs\)": r"\1 个百分点（\2 至 \3；\4 对）",
    rf"({NUMBER}) \(({NUMBER}) to ({NUMBER}); (\d+) pairs\)": r"\1（\2 至 \3；\4 对）",
    rf"(relu|tanh|sigmoid) ({NUMBER}(?:, {NUMBER})*) epochs at rate ({NUMBER})": r"\1 用 \2 轮（学习率 \3）",
    r" \(edge of the grid\)": "（已到网格的边缘）",
    rf"(tanh|sigmoid) not in ({NUMBER}) epochs: at least ({NUMBER}) times slower than relu in each seed":
        r"\1 在 \2 轮内没有达到：每次都至少是 relu 的 \3 倍",
    rf"(tanh|sigmoid) ({NUMBER}) times slower \(({NUMBER}) to ({NUMBER})\)": r"\1 所用的轮数是其 \2 倍（\3 至 \4）",
    "Imagenette, without: ": "Imagenette，没有时：",
    rf"CIFAR-10, (\d+) epochs, ({PERCENT}) without, ({PERCENT}) with: ": r"CIFAR-10，\1 轮，没有时 \2，有时 \3：",
    "top-1 error without conv1": "去掉后 top-1 错误率的变化：conv1", "Shares by counting": "参数所占的份额",
    r"(\d) of them above 1%": r"其中 \1 个超过 1%",
    "2x2 windows": "2x2 窗口", "gap between validation and training": "验证与训练错误率之差",
    rf"one view ({PERCENT}), ten ({PERCENT})": r"一个视图 \1，十个 \2",
    rf"with it ({NUMBER}) times as many epochs to 50% training error": r"有它时，训练错误率降到 50% 所需的轮数是 \1 倍",
    "loss of the first epochs": "前几轮的损失", "validation error at the end": "最后的验证错误率",
    rf"columns' means ((?:{NUMBER} / {NUMBER}(?:, )?)+); beyond chance": r"两柱彩色程度的平均值 \1；超出随机划分的部分",
    rf"same class: ({PERCENT}) in fc7, ({PERCENT}) in pixels": r"同类的比例：按 fc7 为 \1，按像素为 \2",
    r"the panel itself by `": "图由命令生成：`", rf"200 classes: top-5 error ({PERCENT})": r"200 类：top-5 错误率 \1",
    "the interval excludes the paper's \\+1": "区间不包含论文所说的 +1",
    re.escape("the paper's own rule (`plateau`) was not run, and the first drop lowers the error at 128 px in 30 and 60 epochs "
              "(single runs, base result)"): "论文自己的规则（`plateau`）没有跑；128 像素的 30 轮和 60 轮里，第一次降低学习率都使错误率下降（见单次运行和 60 轮的结果）",
    "a weak test: after 12 epochs much of each kernel is still its initial noise": "只训练 12 轮，每个卷积核里还有不少初始的噪声，这个检验的分辨力很弱",
    r"(\d) effects in the paper's order": r"\1 个效应按论文的次序排列",
    # changes to the network or the training
    "one column, half the maps": "一柱、卷积核减半", "one column, all maps": "一柱、卷积核不减", "no LRN": "没有 LRN", "2x2 pooling": "2x2 池化",
    "no dropout": "没有丢弃法", "no crops, no mirror images": "没有裁剪和镜像", "no crops": "没有裁剪", "no mirror images": "没有镜像",
    "no colour noise": "没有颜色噪声", "no weight decay": "没有权重衰减", "fc biases 0": "全连接层偏置为 0", "biases 0": "偏置为 0",
    rf"Biases 1, rate ({NUMBER})": r"偏置为 1、学习率 \1", "constant rate": "学习率不变",
    "training error": "训练错误率", "validation": "验证错误率", "top-1 error": "top-1 错误率", "top-5 error": "top-5 错误率",
    "without both": "两者都没有时", "without": "没有时", r"\bgap\b": "验证与训练错误率之差", r"\byes\b": "是", r"\bno\b": "否",
    # signs
    r" ?\(": "（", r"\)": "）", "; ": "；", ": ": "：", r"\. ": "。", r"(?<=\d), (?=\d)": "、", ", ": "，",
}


def chinese(text: str) -> str:
    """A finding or a verdict of claims.py."""
    for phrase, words in PHRASES.items():
        text = re.sub(phrase, words, text)
    return text
