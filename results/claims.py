"""The paper's 27 statements, the units that test each, and the rule by which a verdict follows.

When each rule was fixed, and what was changed after which numbers were known, stands in README.md ("What was fixed
when"). Where a rule speaks of differences, they are paired by seed, counted so that the paper's statement makes them
positive, and judged by their 95% t interval (verdicts.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from results import ablations, cifar_nets, counting, tiny
from results.names import named
from results.pages import Text, joined, say
from results.units import DATA, Place, Unit
from results.verdicts import (BY_CONSTRUCTION, NOT_HERE, NOT_RUN, NOT_TESTED, OPPOSITE, REPRODUCED, combine,
                              t_interval, verdict)

IMAGENET = "python train_alexnet.py --data path/to/imagenet"
FILES = {"tiny-64": "tiny.py", "counting": "counting.py", "imagenette-64": "ablations.py",
         "cifar-race": "cifar_nets.py", "cifar-lrn": "cifar_nets.py"}
YES, NO = Text("yes", "是"), Text("no", "否")
ERROR, GAP = Text("error", "错误率"), Text("gap", "错误率之差")


@dataclass(frozen=True)
class Finding:
    found: Text     # the numbers, with their uncertainty
    verdict: Text


@dataclass(frozen=True)
class Claim:
    """One row of the table."""

    id: str
    says: Text
    rule: Text                                         # how the verdict follows
    judge: Callable[[Place], Finding]                  # of a place where all units were run
    units: tuple[Unit, ...] = ()
    command: str = ""                                  # instead of `results.reproduce run ID`

    def finding(self, place: Place) -> Finding:
        """What is known so far."""
        done = sum(place.file(unit).exists() for unit in self.units)
        if done < len(self.units):
            return Finding(say("{} of {} runs done", "{1} 次实验已完成 {0} 次", done, len(self.units)), NOT_RUN)
        return self.judge(place)

    def how(self) -> str:
        folders = [f"--{data} DIR" for data in DATA if any(unit.data == data for unit in self.units)]
        return self.command or " ".join([f"python -m results.reproduce run {self.id}", *folders])

    def experiments(self) -> dict[str, list[str]]:
        """The files of results/ that run it, each with the cases that it compares."""
        found: dict[str, list[str]] = {}
        for unit in self.units:
            cases = found.setdefault(FILES[unit.experiment], [])
            if unit.experiment != "counting" and unit.case not in cases:
                cases.append(unit.case)
        return found


CLAIMS: dict[str, Claim] = {}


def claim(id: str, says: Text, rule: Text, units: Sequence[Unit] = (), command: str = "") -> Callable:
    """Enters a judge as a row of the table."""
    def enter(judge: Callable[[Place], Finding]) -> Callable[[Place], Finding]:
        CLAIMS[id] = Claim(id, says, rule, judge, tuple(units), command)
        return judge
    return enter


# ------------------------------------------------------------------- numbers from JSON files

def results(place: Place, units: Sequence[Unit]) -> list[dict[str, Any]]:
    """The results of those units that were run."""
    return [content["result"] for content in place.found_all(units)]


def differences(place: Place, name: str, measure: Callable[[dict[str, Any]], float]) -> list[float]:
    """Case less base (or what else it is compared with) of what `measure` makes of a JSON file, for all seeds
    that both have. UserError where one was computed in bf16 and the other was not."""
    found = []
    for unit in ablations.units_of(name):
        sides = place.found_all([unit, ablations.case_unit(ablations.CASES[name].against, unit.seed)])
        if len(sides) == 2:
            found.append(measure(sides[0]) - measure(sides[1]))
    return found


def val_error(content: dict[str, Any]) -> float:
    return content["result"]["val_top1_error"]


def train_error(content: dict[str, Any]) -> float:
    return content["result"]["train_top1_error"]


def gap(content: dict[str, Any]) -> float:
    return val_error(content) - train_error(content)


def early_loss(content: dict[str, Any]) -> float:
    """The mean training loss of the first three epochs."""
    rows = content["curve"][:3]
    return sum(row["train_loss"] for row in rows) / len(rows) if rows else math.inf


def with_base(*names: str) -> list[Unit]:
    """The units of some cases, and those that they are compared with, of the same seeds."""
    cases = [unit for name in names for unit in ablations.units_of(name)]
    others = {(ablations.CASES[unit.case].against, unit.seed) for unit in cases}
    return [ablations.case_unit(*other) for other in sorted(others)] + cases


BASE = [ablations.case_unit("base", seed) for seed in range(5)]


def interval_text(values: Sequence[float]) -> str:
    interval = t_interval(values)
    return f"{100 * interval.mean:.2f}% ± {100 * (interval.high - interval.mean):.2f}"


def points(apart: Sequence[float]) -> Text:
    """The mean of paired differences with its interval."""
    return t_interval(apart).text()


def top1(place: Place, name: str) -> Text:
    """A case, and by how much it makes the validation error larger."""
    return say("{}: top-1 error {}", "{}：top-1 错误率 {}", named(name), points(differences(place, name, val_error)))


LARGER = Text("validation error with the change less without it; its interval above 0",
              "有改动减去没有改动的验证错误率，区间在 0 以上")


# ------------------------------------------------------------------- counting and measuring

def counted(place: Place, id: str) -> Any:
    return place.found(counting.units()[0])["result"][id]


def constructed(good: bool) -> Text:
    """The verdict about what our own code makes true."""
    return BY_CONSTRUCTION if good else OPPOSITE


@claim("C1", Text("60 million parameters", "6000 万个参数"),
       Text("the count rounds down to 60 million", "个数向下取整为 6000 万"), counting.units())
def _(place: Place) -> Finding:
    count = counted(place, "C1")
    return Finding(say("{:,} parameters", "{:,} 个参数", count), constructed(count // 10 ** 6 == 60))


LAYERS = "253,440 / 186,624 / 64,896 / 64,896 / 43,264 / 4096 / 4096 / 1000"


@claim("C2", say("650,000 neurons; {}", "65 万个神经元；各层 {}", LAYERS),
       Text("the total within 2% of 650,000 and all layers but conv1 as stated",
            "总数与 65 万相差不到 2%，除 conv1 外各层都与论文一致"), counting.units())
def _(place: Place) -> Finding:
    counts = counted(place, "C2")
    agrees = counts[1:] == [186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    return Finding(say("{:,}; seven of eight numbers {}, conv1's {:,} (55 x 55 x 96) cannot be 253,440",
                       "{:,}；八个数字中有七个{}；conv1 是 {:,}（55 x 55 x 96），不可能是 253,440", sum(counts),
                       Text("agree", "一致") if agrees else Text("do not agree", "不一致"), counts[0]),
                   constructed(agrees and abs(sum(counts) / 650_000 - 1) < 0.02))


@claim("C3", Text("ILSVRC-2010 test error 37.5% / 17.0%, ten-crop", "ILSVRC-2010 测试集，十裁剪，错误率 37.5% / 17.0%"),
       Text("the same errors on ImageNet", "在 ImageNet 上得到同样的错误率"), command=f"{IMAGENET} --schedule release")
def _(place: Place) -> Finding:
    return Finding(Text(
        "needs ImageNet (150 GB) and 4.8e17 operations: hours on one current GPU, ten days or more on two cores (C22); "
        "the 2012 code's own notes have 37.47% and 17.00%",
        "需要 ImageNet（150 GB）和 4.8e17 次运算：如今的一块 GPU 要几个小时，两个核要十天以上（C22）；"
        "2012 年代码自带的记录是 37.47% 和 17.00%"),
        say("{} (no ImageNet, no GPU)", "{}（没有 ImageNet，也没有 GPU）", NOT_TESTED))


@claim("C4", Text("Averaging five networks: 40.7 / 18.2 to 38.1 / 16.4; more after pretraining",
                  "五个网络取平均：40.7 / 18.2 降到 38.1 / 16.4；预训练后更低"),
       Text("image by image, mean error of the base's single networks less error of their average; interval over "
            "images above 0. Pretraining on 2011's images is not tested",
            "逐图计算：基准的单个网络的平均错误率，减去它们取平均后的错误率；按图像计算的区间在 0 以上。"
            "没有检验用 2011 年的图像预训练"), BASE)
def _(place: Place) -> Finding:
    contents = [place.found(unit) for unit in BASE]
    single, average = averaged([content["result"] for content in contents])
    apart = t_interval(single - average)
    return Finding(say(
        "{} networks: {:.2f}% each, {:.2f}% averaged: {:+.2f} percentage points ({:+.2f} to {:+.2f}, over {:,} images)",
        "{} 个网络：单独 {:.2f}%，平均后 {:.2f}%：{:+.2f} 个百分点（{:+.2f} 至 {:+.2f}，按 {:,} 张图像）", len(contents),
        *(100 * value for value in (single.mean(), average.mean(), apart.mean, apart.low, apart.high)), apart.count),
        verdict(single - average))


def averaged(found: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) mean error of single networks, and error of their averaged probabilities, of each image."""
    labels = ablations.from_text(found[0]["labels"], 1)[:, 0]
    all_ = np.stack([ablations.from_text(result["probabilities"], found[0]["classes"]) for result in found])
    return ((all_.argmax(2) != labels).mean(0), (all_.mean(0).argmax(1) != labels).astype(float))


@claim("C5", Text("Fall 2009 release, 10,184 classes: 67.4% / 40.9%", "2009 年秋季版，10,184 类：67.4% / 40.9%"),
       Text("the same errors there", "得到同样的错误率"), command=f"{IMAGENET}-fall-2009 --epochs 36")
def _(place: Place) -> Finding:
    return Finding(Text(
        "needs 8.9 million images that are no longer given out in this form; half of them for training, 3.5 times as "
        "many as in C3",
        "需要 890 万张图像，如今已不再以这种形式发放；其中一半用于训练，是 C3 的 3.5 倍"),
        say("{} (no such data)", "{}（没有那样的数据）", NOT_TESTED))


CONVOLUTIONS = [f"conv{number}" for number in range(1, 6)]


@claim("C6", Text("Each conv layer holds at most 1% of the parameters, and each is needed",
                  "每个卷积层的参数不超过 1%，却一个也少不得"),
       Text("leaving each of the five out: interval above 0 for all five. The shares are counted, not judged",
            "五个卷积层逐个去掉：五个区间都在 0 以上。所占份额只计数，不判断"),
       [*with_base(*(f"without {name}" for name in CONVOLUTIONS)), *counting.units()])
def _(place: Place) -> Finding:
    apart = {name: differences(place, f"without {name}", val_error) for name in CONVOLUTIONS}
    effects = joined((say("{} {}", "{} {}", name, points(values)) for name, values in apart.items()), "; ", "；")
    shares = counted(place, "C6")
    return Finding(say("top-1 error without {}. Shares by counting: {}: {} of them above 1%",
                       "去掉后 top-1 错误率的变化：{}。参数所占的份额：{}：其中 {} 个超过 1%", effects,
                       joined(f"{100 * share:.2f}%" for share in shares), sum(share > 0.01 for share in shares)),
                   combine({name: verdict(values) for name, values in apart.items()}))


CHECKS = {"side of 256 for 224 px": Text("side of 256 for 224 px", "224 像素对应边长 256"), "centre": Text("centre", "取中央"),
          "only the mean": Text("only the mean", "只减均值"), "centre crop": Text("centre crop", "中心裁剪")}


@claim("C7", Text("Shorter side to 256, the centre, only the mean subtracted", "短边缩放到 256，取中央，只减均值"),
       Text("all four checks hold", "四项检查都成立"), counting.units())
def _(place: Place) -> Finding:
    checks = counted(place, "C7")
    return Finding(joined((say("{}: {}", "{}：{}", CHECKS[name], YES if good else NO) for name, good in checks.items()),
                          "; ", "；"), constructed(all(checks.values())))


RACES = [unit for activation in cifar_nets.RATES for unit in cifar_nets.race_units(activation)]


@claim("C8", Text("CIFAR-10, four layers: 25% training error six times faster with ReLU than with tanh",
                  "CIFAR-10，四层网络：用 ReLU 达到 25% 训练错误率的速度是用 tanh 的六倍"),
       Text("epochs with tanh over epochs with ReLU, geometric mean of three seeds: its interval above 1 and reaching 6. "
            "Each learning rate was chosen by the training error at epoch 8, with one seed",
            "tanh 的轮数除以 ReLU 的轮数，三个种子的几何平均：区间在 1 以上并且达到 6。学习率都按第 8 轮的训练错误率选定，只用一个种子"),
       RACES)
def _(place: Place) -> Finding:
    found = {activation: results(place, cifar_nets.race_units(activation)) for activation in cifar_nets.RATES}
    epochs = {name: [one["epochs"] for one in some] for name, some in found.items()}
    said = []
    for name, some in found.items():
        if name == "relu" or all(one["reached"] for one in some):
            edge = Text(" (edge of the grid)", "（已到网格的边缘）") if some[0]["at_the_edge"] else ""
            said.append(say("{} {} epochs at learning rate {:g}{}", "{} 用 {} 轮（学习率 {:g}）{}", name,
                            joined(f"{one:g}" for one in epochs[name]), some[0]["rate"], edge))
        else:   # a lower bound has no interval
            least = min(slow / fast for slow, fast in zip(epochs[name], epochs["relu"]))
            said.append(say("{} not in {:g} epochs: at least {:.1f} times slower than relu in each seed",
                            "{} 在 {:g} 轮内没有达到：每个种子都至少是 relu 的 {:.1f} 倍", name, max(epochs[name]), least))
    interval = t_interval([math.log(slow / fast) for slow, fast in zip(epochs["tanh"], epochs["relu"])])
    low, high = math.exp(interval.low), math.exp(min(interval.high, 50))
    return Finding(say("{}. tanh {:.1f} times slower ({:.1f} to {:.1f})", "{}。tanh 所用的轮数是其 {:.1f} 倍（{:.1f} 至 {:.1f}）",
                       joined(said, "; ", "；"), math.exp(interval.mean), low, high),
                   REPRODUCED if low > 1 and high >= 6 else OPPOSITE if high < 1 else NOT_HERE)


@claim("C9", Text("Two columns against one with half the kernels: 1.7 / 1.2 percentage points better, and slightly faster "
                  "to train", "双路网络比卷积核减半的单路网络好 1.7 / 1.2 个百分点，训练也略快"),
       say("{}. The time is that of two GPUs against one: not tested. One column with all feature maps, which the paper does "
           "not have, is given, not judged",
           "{}。时间是两块 GPU 与一块的比较：未检验。论文里没有卷积核不减的单路网络，这里只给出，不判断", LARGER),
       with_base("one column, half the maps", "one column, all maps"))
def _(place: Place) -> Finding:
    return Finding(joined((top1(place, f"one column, {maps} maps") for maps in ("half the", "all")), "; ", "；"),
                   verdict(differences(place, "one column, half the maps", val_error)))


@claim("C10", Text("Local response normalisation: 1.4 / 1.2 percentage points; CIFAR-10 13% to 11%",
                   "局部响应归一化：1.4 / 1.2 个百分点；CIFAR-10 上 13% 降到 11%"),
       say("{}, on both data sets. CIFAR-10's schedule is shortened to {} epochs. {} were planned first, which leave both nets "
           "far from trained; what they gave is said, too",
           "{}，两个数据集都如此。CIFAR-10 的训练缩短到 {} 轮。原计划 {} 轮，两个网络都远未训练好；那次的结果也列出",
           LARGER, cifar_nets.LONGER, cifar_nets.LRN_EPOCHS),
       [*with_base("no LRN"), *(unit for epochs in (cifar_nets.LONGER, cifar_nets.LRN_EPOCHS)
                                for case in ("with LRN", "without") for unit in cifar_nets.norm_units(case, epochs))])
def _(place: Place) -> Finding:
    def on_cifar(epochs: int) -> tuple[Text, list[float]]:
        without, with_it = ([one["val_top1_error"] for one in results(place, cifar_nets.norm_units(case, epochs))]
                            for case in ("without", "with LRN"))
        apart = [a - b for a, b in zip(without, with_it)]
        return say("CIFAR-10, {} epochs, {} without, {} with: {}", "CIFAR-10，{} 轮，没有时 {}，有时 {}：{}",
                   epochs, interval_text(without), interval_text(with_it), points(apart)), apart

    large = differences(place, "no LRN", val_error)
    said, small = on_cifar(cifar_nets.LONGER)
    return Finding(say("Imagenette, without: {}; {}; {}", "Imagenette，没有时：{}；{}；{}", points(large), said,
                       on_cifar(cifar_nets.LRN_EPOCHS)[0]),
                   combine({"Imagenette": verdict(large), "CIFAR-10": verdict(small)}))


@claim("C11", Text("Overlapping pooling: 0.4 / 0.3 percentage points, and harder to overfit",
                   "重叠池化：0.4 / 0.3 个百分点，而且更不容易过拟合"),
       say("{}; so for the gap between validation and training error", "{}；验证与训练错误率之差也如此", LARGER),
       with_base("2x2 pooling"))
def _(place: Place) -> Finding:
    gaps = differences(place, "2x2 pooling", gap)
    return Finding(say("{}; gap between validation and training {}", "{}；验证与训练错误率之差 {}",
                       top1(place, "2x2 pooling"), points(gaps)),
                   combine({ERROR: verdict(differences(place, "2x2 pooling", val_error)), GAP: verdict(gaps)}))


PAPERS_ORDER = ("conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
                "flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8").split()
PAPERS_SHAPES = [[96, 3, 11, 4], [256, 48, 5, 1], [384, 256, 3, 1], [384, 192, 3, 1], [256, 192, 3, 1],
                 [4096, 9216, 1, 1], [4096, 4096, 1, 1], [1000, 4096, 1, 1]]


@claim("C12", Text("The architecture of section 3.5", "3.5 节的结构"),
       Text("as-written: kernels, inputs, strides of all eight layers as stated, and the order of ReLU, normalisation and "
            "pooling", "as-written：八层的卷积核、输入、步长，以及 ReLU、归一化、池化的次序，都与论文一致"), counting.units())
def _(place: Place) -> Finding:
    equal = sum(a == b for a, b in zip(counted(place, "C12"), PAPERS_SHAPES))
    order = counted(place, "C12 order") == PAPERS_ORDER
    return Finding(say("{} of 8 layers as in section 3.5 (results, inputs, side, stride of the kernels); the order of ReLU, "
                       "normalisation and pooling: {}",
                       "8 层中有 {} 层与 3.5 节一致（卷积核的个数、输入、边长、步长）；ReLU、归一化、池化的次序：{}",
                       equal, YES if order else NO), constructed(equal == 8 and order))


AUGMENTATIONS = ("no crops, no mirror images", "no crops", "no mirror images")


@claim("C13", Text("Random crops and mirror images; without them, substantial overfitting",
                   "随机裁剪和镜像；没有它们会严重过拟合"),
       Text("gap between validation and training error without them less with them; interval above 0",
            "没有它们减去有它们时，验证与训练错误率之差；区间在 0 以上"), with_base(*AUGMENTATIONS))
def _(place: Place) -> Finding:
    gaps = differences(place, AUGMENTATIONS[0], gap)
    return Finding(say("without both: gap {}; {}", "两者都没有时：验证与训练错误率之差 {}；{}", points(gaps),
                       joined((top1(place, name) for name in AUGMENTATIONS), "; ", "；")),
                   with_error(verdict(gaps), differences(place, AUGMENTATIONS[0], val_error)))


@claim("C14", Text("Ten-crop instead of one crop: 39.0 / 18.3 to 37.5 / 17.0", "十裁剪代替单次裁剪：39.0 / 18.3 降到 37.5 / 17.0"),
       Text("error of one crop less error of ten-crop, of the base; interval above 0",
            "基准的单次裁剪错误率减去十裁剪错误率；区间在 0 以上"), BASE)
def _(place: Place) -> Finding:
    one, ten = ([one[f"{crops}top1_error"] for one in results(place, BASE)] for crops in ("val_", "ten_views_"))
    apart = [a - b for a, b in zip(one, ten)]
    return Finding(say("one crop {}, ten-crop {}: {}", "单次裁剪 {}，十裁剪 {}：{}", interval_text(one), interval_text(ten),
                       points(apart)), verdict(apart))


@claim("C15", Text("Colour noise: top-1 error lower by more than 1 percentage point", "颜色噪声：top-1 错误率降低 1 个百分点以上"),
       LARGER, with_base("no colour noise"))
def _(place: Place) -> Finding:
    apart = differences(place, "no colour noise", val_error)
    excludes = Text("; the interval excludes the paper's +1", "；区间不包含论文所说的 +1")
    return Finding(say("{}{}", "{}{}", top1(place, "no colour noise"), excludes if t_interval(apart).high < 0.01 else ""),
                   verdict(apart))


@claim("C16", Text("Augmentation costs nothing: it runs while the step before is computed",
                   "数据增强不花时间：它和上一步的计算同时进行"),
       Text("training with batches prepared in the background as fast as with one batch that is ready: the ranges of five "
            "rounds overlap (results/benchmark/input.json)",
            "在后台准备批次的训练，与用一个现成批次的训练一样快：五轮测量的范围重叠（results/benchmark/input.json）"),
       counting.units(), "python -m results.benchmark input && python -m results.reproduce run C16")
def _(place: Place) -> Finding:
    lost = counted(place, "C16")
    if lost is None:
        return Finding(Text("results/benchmark/input.json is missing", "缺少 results/benchmark/input.json"), NOT_RUN)
    lost_part, overlap = lost
    return Finding(say("{:.1f}% of the throughput lost, at 224 px, where the same cores do both (medians of five rounds, whose "
                       "ranges {})", "在 224 像素上损失 {:.1f}% 的吞吐量（这里两件事由同样的核来做；五轮测量的中位数，两边的范围{}）",
                       100 * lost_part, Text("overlap", "重叠") if overlap else Text("do not overlap", "不重叠")),
                   REPRODUCED if overlap else NOT_HERE)


@claim("C17", Text("Dropout: without it, substantial overfitting; about twice the iterations",
                   "丢弃法：没有它会严重过拟合；所需迭代约为两倍"),
       Text("gap between validation and training error without it less with it; log of epochs to 50% training error with it "
            "over without; both intervals above 0. With biases of 0 in fc6 and fc7 on both sides: with the recipe's 1 and no "
            "dropout learning does not start (what-breaks-it), even at half the learning rate. That pair, planned first, is "
            "given, too",
            "没有它减去有它时，验证与训练错误率之差；训练错误率降到 50% 所需的轮数，有它与没有它之比的对数；两个区间都在 0 以上。"
            "两边 fc6 和 fc7 的偏置都为 0：若按原来的 1 又没有丢弃法，即使学习率减半也不能开始学习（what-breaks-it）。"
            "原计划的那一对也列出"), with_base("fc biases 0, no dropout", "no dropout"))
def _(place: Place) -> Finding:
    without, with_it = "fc biases 0, no dropout", "fc biases 0"
    gaps, errors = (differences(place, without, measure) for measure in (gap, val_error))
    times = [epochs_to(place.found(ablations.case_unit(with_it, seed)), 0.5)
             / epochs_to(place.found(ablations.case_unit(without, seed)), 0.5) for seed in range(3)]
    return Finding(say("fc biases 0, without: gap {}; top-1 error {}; with it {:.1f} times as many epochs to 50% training error. "
                       "Biases 1, learning rate 0.005, without: top-1 error {}",
                       "全连接层偏置为 0，没有时：验证与训练错误率之差 {}；top-1 错误率 {}；有它时，训练错误率降到 50% 所需的轮数是 "
                       "{:.1f} 倍。偏置为 1、学习率 0.005，没有时：top-1 错误率 {}", points(gaps), points(errors),
                       t_interval(times).mean, points(differences(place, "no dropout", val_error))),
                   with_error(combine({GAP: verdict(gaps), Text("epochs", "轮数"): verdict([math.log(ratio) for ratio in times])}),
                              errors))


def with_error(one: Text, errors: Sequence[float]) -> Text:
    """A verdict about the gap between validation and training error, with what the error itself does."""
    interval = t_interval(errors)
    says = Text("no larger", "并不更高")
    if interval.low > 0:
        says = Text("larger", "也更高")
    elif interval.high < 0:
        says = Text("smaller", "反而更低")
    return say("{} (the gap; the error is {} without)", "{}（只是验证与训练错误率之差；没有时错误率{}）", one, says)


def epochs_to(content: dict[str, Any], error: float) -> float:
    """The first epoch whose training error (with dropout) is at most `error`, between two epochs by a line; the
    last epoch if there is none."""
    before = (0.0, 1.0)
    for row in content["curve"]:
        now = (float(row["epoch"]), row["train_top1_error"])
        if now[1] <= error:
            return before[0] + (now[0] - before[0]) * (before[1] - error) / (before[1] - now[1])
        before = now
    return before[0]


@claim("C18", Text(*["v := 0.9 v - 0.0005 e w - e g; w := w + v"] * 2),
       Text("twenty steps, with a change of the learning rate, equal those two lines in float64 to 1e-6",
            "二十步，中间改变学习率，与这两行在 float64 下相差不到 1e-6"), counting.units())
def _(place: Place) -> Finding:
    apart = counted(place, "C18")
    return Finding(say("largest relative difference {:.1e}", "最大相对差 {:.1e}", apart), constructed(apart < 1e-6))


@claim("C19", Text("Weight decay lowers the training error, too", "权重衰减也降低训练错误率"),
       Text("training error without it less with it; interval above 0", "没有它减去有它时的训练错误率；区间在 0 以上"),
       with_base("no weight decay"))
def _(place: Place) -> Finding:
    train, val = (differences(place, "no weight decay", measure) for measure in (train_error, val_error))
    return Finding(say("without: training error {}; validation {}", "没有时：训练错误率 {}；验证错误率 {}", points(train),
                       points(val)), verdict(train))


@claim("C20", Text("Biases of 1 speed up the first stages", "偏置设为 1，学习的初期更快"),
       Text("mean training loss of the first three epochs with biases 0 less with 1; interval above 0",
            "前三轮的平均训练损失，偏置为 0 减去偏置为 1；区间在 0 以上"), with_base("biases 0"))
def _(place: Place) -> Finding:
    early, late = (differences(place, "biases 0", measure) for measure in (early_loss, val_error))
    return Finding(say("biases 0: loss of the first epochs {}; validation error at the end {}",
                       "偏置为 0：前几轮的损失 {}；最后的验证错误率 {}", t_interval(early).text(1, ""), points(late)),
                   verdict(early))


@claim("C21", Text("The learning rate is divided by 10 when the validation error stops improving",
                   "验证错误率不再下降时，学习率除以 10"),
       Text("validation error with a constant learning rate less with drops (at 60% and 84%, fixed beforehand); interval above 0",
            "学习率不变减去按计划下降（在全程的 60% 和 84% 处，事先定好）时的验证错误率；区间在 0 以上"), with_base("constant rate"))
def _(place: Place) -> Finding:
    return Finding(say("{}; the paper's own rule (`plateau`) was not run, and the first drop lowers the error at 128 px in 30 "
                       "and 60 epochs (single runs, base result)",
                       "{}；论文自己的规则（`plateau`）没有跑；128 像素的 30 轮和 60 轮里，第一次降低学习率都使错误率下降"
                       "（见单次运行和基准结果）", top1(place, "constant rate")),
                   verdict(differences(place, "constant rate", val_error)))


@claim("C22", Text("Five to six days on two GTX 580 3GB", "用两块 GTX 580 3GB 训练五到六天"), Text("by counting only", "只计算运算量"),
       counting.units(), "python -m results.benchmark step && python -m results.reproduce run C22")
def _(place: Place) -> Finding:
    found = counted(place, "C22")
    here = ""
    if "days_here" in found:
        here = say("; here {:.0f} images/s, {:.0f} days", "；这里每秒 {:.0f} 张图像，要 {:.0f} 天", found["images_per_second_here"],
                   found["days_here"])
    return Finding(say("{:.1e} operations in 90 epochs: {:.0f}% of the peak rate of two GTX 580 for 5.5 days, which is "
                       "possible{}", "{:.1e} 次运算（90 轮）：相当于两块 GTX 580 以峰值速度的 {:.0f}% 运行 5.5 天，这是可能的{}",
                       found["operations"], 100 * found["share_of_peak"], here),
                   say("{} (no such GPUs)", "{}（没有那样的 GPU）", NOT_TESTED))


@claim("C23", Text("conv1 learns oriented and coloured kernels; one column is colour-agnostic, the other colour-specific, in "
                   "every run", "conv1 学到有方向选择性的和彩色的卷积核；每次训练都是一路与颜色无关，另一路与颜色有关"),
       Text("mean colourfulness (share of energy off the grey axis) of the more colourful column less the other, beyond that of "
            "1,000 random halvings of the same kernels; interval above 0",
            "更彩色的一路减去另一路的平均彩色程度（偏离灰色轴的能量所占的比例），超出同一批卷积核 1,000 次随机对半划分的部分；"
            "区间在 0 以上"), BASE)
def _(place: Place) -> Finding:
    columns = [np.array(one["colourfulness"]).reshape(2, -1) for one in results(place, BASE)]
    apart = [beyond_chance(one) for one in columns]
    means = joined(f"{one[0].mean():.3f} / {one[1].mean():.3f}" for one in columns)
    return Finding(say("columns' means {}; beyond chance {}; a weak test: after 12 epochs much of each kernel is still its "
                       "initial noise", "两路彩色程度的平均值 {}；超出随机划分的部分 {}；这个检验的分辨力很弱：训练 12 轮之后，"
                       "每个卷积核里还有不少初始的噪声", means, t_interval(apart).text(1, "")), verdict(apart))


def beyond_chance(columns: np.ndarray, halvings: int = 1000) -> float:
    """The difference of two columns' means, less its mean when the same kernels are shared out at random."""
    values, chance = columns.ravel().copy(), np.random.default_rng(0)
    halves = np.stack([chance.permutation(values) for _ in range(halvings)]).reshape(halvings, 2, -1).mean(2)
    return float(abs(columns[0].mean() - columns[1].mean()) - np.abs(halves[:, 0] - halves[:, 1]).mean())


@claim("C24", Text("Figure 4, left: the five most probable labels are mostly sensible", "图 4 左：最可能的五个类别大多合理"),
       Text("the right class among the five most probable of 200 (Tiny-ImageNet, 64 px, 15 epochs) for more than half of the "
            "validation images, in each seed",
            "200 类（Tiny-ImageNet，64 像素，15 轮）：每个种子都有一半以上的验证图像，正确类别在最可能的五个之中"), tiny.units())
def _(place: Place) -> Finding:
    errors = [one["val_top5_error_1"] for one in results(place, tiny.units())]
    return Finding(say("200 classes: top-5 error {}; the panel itself by `alexnet_inference.py --panel`",
                       "200 类：top-5 错误率 {}；图由命令生成：`alexnet_inference.py --panel`", interval_text(errors)),
                   REPRODUCED if max(errors) < 0.5 else NOT_HERE)


@claim("C25", Text("Figure 4, right: nearest training images in fc7 are of the same kind, in pixels they are not",
                   "图 4 右：按 fc7，最近的训练图像是同类；按像素则不是"),
       Text("share of the six nearest training images with the query's class, in fc7 less in pixels; interval above 0",
            "最近的六张训练图像中与查询图像同类的比例，按 fc7 减去按像素；区间在 0 以上"), BASE)
def _(place: Place) -> Finding:
    fc7, pixels = ([one[f"agreement_in_{where}"] for one in results(place, BASE)] for where in ("fc7", "pixels"))
    apart = [a - b for a, b in zip(fc7, pixels)]
    return Finding(say("same class: {} in fc7, {} in pixels: {}", "同类的比例：按 fc7 为 {}，按像素为 {}：{}", interval_text(fc7),
                       interval_text(pixels), points(apart)), verdict(apart))


@claim("C26", Text("Features could be compressed to short binary codes for fast retrieval (not done in the paper)",
                   "特征可以压缩成短的二进制码，用于快速检索（论文没有做）"),
       Text("an auto-encoder on fc7; agreement of neighbours by code against by fc7",
            "在 fc7 上训练自编码器；按码与按 fc7 找到的近邻的一致程度"),
       command="python alexnet_inference.py FOLDER --features fc7 --output features.npz")
def _(place: Place) -> Finding:
    return Finding(Text("a suggestion, not a result: features by the command, then an auto-encoder; some hours",
                        "这是一个设想，不是结果：用命令取出特征，再训练一个自编码器；要几个小时"), NOT_TESTED)


ORDER = ("tanh", "one column, half the maps", "no LRN", "2x2 pooling")


@claim("C27", Text("By importance: ReLU, two GPUs, LRN, overlapping pooling", "按重要性排列：ReLU、两块 GPU、LRN、重叠池化"),
       Text("each effect on the validation error less the next one's, paired by seed; all three intervals above 0",
            "每项对验证错误率的影响减去下一项的影响，按种子配对；三个区间都在 0 以上"), with_base(*ORDER))
def _(place: Place) -> Finding:
    effects = {name: differences(place, name, val_error) for name in ORDER}
    steps = {say("{} over {}", "“{}”的影响大于“{}”", named(first), named(second)): [a - b for a, b in zip(effects[first], effects[second])]
             for first, second in zip(ORDER, ORDER[1:])}
    text = joined((say("{} {}", "{} {}", named(name), points(apart)) for name, apart in effects.items()), "; ", "；")
    kept = all(t_interval(step).mean > 0 for step in steps.values())
    return Finding(say("{}. {} effects in the paper's order: {}", "{}。{} 个效应按论文的次序排列：{}", text, len(effects),
                       YES if kept else NO), combine({name: verdict(step) for name, step in steps.items()}))
