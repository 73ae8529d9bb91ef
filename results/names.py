"""What the pages call the cases of the experiments. The keys are the names of the units, which stay as they are."""

from __future__ import annotations

from results.pages import Text, joined

NAMES = {one.en: one for one in (
    # ablations.py, longer.py
    Text("base", "基准"),
    Text("no dropout", "没有丢弃法"),
    Text("fc biases 0", "全连接层偏置为 0"),
    Text("no crops", "没有裁剪"),
    Text("no mirror images", "没有镜像"),
    Text("biases 0", "偏置为 0"),
    Text("no colour noise", "没有颜色噪声"),
    Text("no LRN", "没有 LRN"),
    Text("2x2 pooling", "2x2 池化"),
    Text("no weight decay", "没有权重衰减"),
    Text("tanh", "tanh"),
    *(Text(f"without conv{number}", f"去掉 conv{number}") for number in range(1, 6)),
    Text("plateau", "plateau"),
    Text("weight decay 0.005", "权重衰减 0.005"),
    Text("colour noise not / 1.1", "加颜色噪声后不除以 1.1"),
    Text("colour noise for two thirds", "颜色噪声只用前三分之二"),
    # first_steps.py, head.py, growth.py, starting.py
    Text("as it is", "原样"),
    Text("inverted dropout", "反向缩放的丢弃法"),
    Text("dropout before fc6, fc7", "丢弃法在 fc6、fc7 之前"),
    Text("pixels / 70", "像素除以 70"),
    Text("biases 0.1", "偏置为 0.1"),
    Text("warm-up 150", "预热 150 步"),
    Text("LRN alpha not / 5", "LRN 的 alpha 不除以 5"),
    Text("no same-map norm", "没有同图归一化"),
    Text("LRN per column, alpha / 5", "LRN 在每一路之内，alpha 除以 5"),
    Text("CaffeNet", "CaffeNet"),
    Text("Imagenette", "Imagenette"),
    Text("Imagenette through 64 px", "先缩到 64 px 的 Imagenette"),
    Text("Tiny-ImageNet, 10 classes", "Tiny-ImageNet，10 类"),
    Text("Tiny-ImageNet, 50 classes", "Tiny-ImageNet，50 类"),
    Text("Tiny-ImageNet", "Tiny-ImageNet，全部 200 类"),
)} | {   # where the unit's name is no plain English
    "constant": Text("constant learning rate", "学习率不变"),
    "constant rate": Text("constant learning rate", "学习率不变"),
    **{f"rate {rate}": Text(f"learning rate {rate}", f"学习率 {rate}")
       for rate in ("0.001", "0.002", "0.005", "0.02")},
    "one column, half the maps": Text("one column, half the feature maps", "单路，卷积核减半"),
    "one column, all maps": Text("one column, all feature maps", "单路，卷积核不减"),
    "LRN over all maps": Text("LRN over all feature maps", "LRN 跨全部特征图"),
    "layer 1 as in the text": Text("layer 1 in the order of as-written", "第 1 层按 as-written 的次序"),
    "std 0.01 in conv3-5": Text("conv3 to conv5 with standard deviation 0.01", "conv3 至 conv5 标准差 0.01"),
    "std 0.03 in conv3-5": Text("conv3 to conv5 with standard deviation 0.03", "conv3 至 conv5 标准差 0.03"),
    "biases like weights": Text("biases trained as weights are", "偏置与权重同样训练"),
    "biases as in the code": Text("biases trained as in as-trained", "偏置按 as-trained 训练"),
}


def named(case: str) -> Text:
    """A case's name in both languages; of several differences, each."""
    return NAMES[case] if case in NAMES else joined((NAMES[one] for one in case.split(", ")), ", ", "，")
