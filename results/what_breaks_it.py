"""What breaks AlexNet: the list of its runs, and the page about them. What a run does stands in first_steps.py (the loss
while one difference after another is made), head.py (why, and from which rate on) and growth.py (why the text does not come
with many classes)."""

from __future__ import annotations

import statistics
from pathlib import Path

from results import growth, head, plots, starting
from results.first_steps import (DECISIVE, DIFFERENCES, LAYERS, first_unit, found_of, loss_lines, span, start_rows,
                                 starts)
from results.names import named
from results.pages import PAGES, Text, fill, joined, part, picture, row, say, table
from results.units import Place, Unit

TITLE = Text("What breaks AlexNet", "什么会使 AlexNet 无法训练")
MENDS = ("std 0.03 in conv3-5", "std 0.01 in conv3-5", "rate 0.002", "biases 0.1", "inverted dropout, biases 0.1")   # with 200 classes
ELSEWHERE = {   # (pixels, classes): what is looked at beside 64 px and ten classes, and with how many seeds
    (64, 200): ((*DECISIVE, *MENDS), 3),
    (128, 10): (DECISIVE, 3),
    (128, 200): (DECISIVE[:1], 3),   # Tiny-ImageNet's 64 px enlarged: fc6 has 2,304 inputs then, not 256
    (224, 10): (DECISIVE[:2], 1),
}
SETTINGS = [(64, 10), *ELSEWHERE]
SHORT = [(64, 10), (128, 10), (64, 200)]   # in the table at the top of the page


# ------------------------------------------------------------------- the units

def units() -> list[Unit]:
    """Seed by seed: first what decides, at the end what takes long."""
    found = []
    for seed in range(3):
        found += [first_unit(variant, name, seed) for variant in DIFFERENCES for name in DIFFERENCES[variant]]
        found += head.units(seed)
    found += growth.units(0)
    found += [first_unit(variant, name, seed, *setting) for setting, (names, seeds) in ELSEWHERE.items()
              for seed in range(seeds) for variant in DIFFERENCES for name in names if name in DIFFERENCES[variant]]
    return found + growth.units(1) + growth.units(2) + starting.units()


def decisive(unit: Unit) -> bool:
    """Whether `run all` does it early: the five differences that decide, at 64 px, and the head."""
    return not unit.experiment.startswith(("first-steps", "growth")) or (
        unit.experiment == "first-steps-64px-10" and unit.config["difference"] in DECISIVE)


# ------------------------------------------------------------------- the report

def report(place: Place) -> list[Text | str]:
    """Writes results/what-breaks-it/: the page and its figures. The lines for the page of all results."""
    out = place.out / "what-breaks-it"
    if not draw(place, out):
        return []
    fill(out, "short", at_a_glance(place), TITLE)
    fill(out, "runs", page(place, out), TITLE)
    more = say("[What to check, what was run, and our explanation](what-breaks-it/{}).",
               "[检查什么、做了哪些实验、我们的解释](what-breaks-it/{})。", Text(*PAGES.values()))
    return [say("## {}", "## {}", TITLE), "", *picture(place.out, "what-breaks-it/first-steps.png"),
            *picture(place.out, "what-breaks-it/limits.png"), more, ""]


def draw(place: Place, out: Path) -> bool:
    """The figures; False if nothing was run."""
    panels = {f"{variant}, {size} px, {classes} classes": lines for size, classes in SETTINGS
              for variant in DIFFERENCES if (lines := loss_lines(place, variant, size, classes))}
    if panels:
        plots.curves(panels, out / "first-steps.png", "The first steps: loss divided by that of chance level (ln C)",
                     "step", "loss / ln C", level=1.0, log=(True, True))
    if rates := head.limit_lines(place):
        plots.curves(rates, out / "limits.png",
                     "Which learning rates fc7 survives, by the number of classes; dotted: the paper's",
                     "classes", "learning rate", level=0.01, log=(True, True), dashed=head.PREDICTED)
    if fades := head.fading_lines(place):
        plots.curves(fades, out / "fading.png", "fc7 fades where a batch's classes are drawn at random",
                     "step", "|h|^2, as a part of the first", level=1.0, log=(False, True))
    if grown := growth.growth_lines(place):
        plots.curves(grown, out / "growth.png", "How far apart images are in fc8: standard deviation from one to the next",
                     "step", "in fc8", level=growth.SEEN, log=(False, True))
    if shares := starting.survival_lines(place):
        plots.curves(shares, out / "starting.png",
                     "When learning starts: the share of runs in which it has not started yet",
                     "step", "share of runs", level=0.5, log=(True, False))
    return bool(panels or rates or fades or grown or shares)


def in_short(place: Place) -> Text | str:
    """In how many runs learning starts with each of the differences that decide, both networks together; and the
    largest learning rates that fc7 survives (the seeds' median)."""
    runs, rates, said = [], [], []
    for name in DECISIVE:
        found = [content["result"]["alive_at"] for variant in DIFFERENCES
                 for content in found_of(place, variant, name, 64, 10)]
        if found:
            runs.append(say("{} {} of {}", "{} {}/{}", named(name), sum(step is not None for step in found), len(found)))
    for name in head.NAMES:
        medians = [statistics.median(rate or 0 for rate in found) for classes in head.CLASSES
                   if (found := head.survived(place, name, classes, *head.drawn(classes)[0]))]
        if len(medians) == len(head.CLASSES):
            rates.append(say("{} {}", "{} {}", named(name), joined(f"{rate:.2g}" for rate in medians)))
    if runs:
        said.append(say("runs in which learning starts, 64 px, 10 classes of Imagenette: {}",
                        "开始学习的次数，64 px，Imagenette 的 10 类：{}", joined(runs, "; ", "；")))
    if rates:
        said.append(say("the largest learning rate that fc7 survives with {} classes: {}", "fc7 能承受的最大学习率，{} 类：{}",
                        joined(map(str, head.CLASSES)), joined(rates, "; ", "；")))
    return joined(said, ". And ", "。") if said else ""


def at_a_glance(place: Place) -> list[Text | str]:
    """By which step learning starts with each of today's practices, and with what mends one of them."""
    settings = [(variant, size, classes) for size, classes in SHORT for variant in DIFFERENCES]
    columns = (say("{}, {} px, {} classes", "{}，{} px，{} 类", *setting) for setting in settings)
    rows = [row(named(name), *cells) for name in (*DECISIVE, "inverted dropout, biases 0.1")
            if any(cells := [span(place, variant, name, size, classes) for variant, size, classes in settings])]
    return table(("", *columns), rows)[:-1]


# ------------------------------------------------------------------- the tables of the page

NETWORK, DIFFERENCE, CLASSES, BATCH, SEED = (
    Text("network", "网络"), Text("difference", "改动"), Text("classes", "类别数"), Text("batch", "批大小"), Text("seed", "种子"))
DRAWN = Text("classes drawn", "批次中的类别")


def page(place: Place, out: Path) -> list[Text | str]:
    lines: list[Text | str] = [Text(
        "Made by `python -m results.reproduce table`; the runs by `python -m results.reproduce run what-breaks-it --imagenette "
        "DIR --tiny DIR`.",
        "由 `python -m results.reproduce table` 生成；实验用 `python -m results.reproduce run what-breaks-it --imagenette DIR "
        "--tiny DIR`。"), ""]
    return [*lines, *starting_lines(place, out), *first_lines(place, out), *head_lines(place), *growth_lines(place)]


def starting_lines(place: Place, out: Path) -> list[Text | str]:
    return [
        *part(Text("Does learning start?", "能开始学习吗？"), Text(
            "Up to 2,000 steps, fp32, the loss of every step stored, each start watched for 200 steps more. Share: of the runs in "
            "which learning starts, Wilson's 95% interval. Last: the median share of fc7's neurons that are above 0 for any of 128 "
            "images at the end of the run.",
            "最多 2,000 步，fp32，保存每一步的损失，开始学习之后再观察 200 步。比例：开始学习的实验所占的比例，Wilson 95% 区间。"
            "末列：实验结束时，fc7 中对 128 张图像里的任何一张大于 0 的神经元所占比例的中位数。"),
            (Text("data", "数据"), "px", NETWORK, DIFFERENCE, Text("starts", "开始学习"), Text("share", "比例"),
             Text("at step: median (lowest to highest)", "步数：中位数（最小至最大）"), Text("fc7 above 0", "fc7 大于 0")),
            starting.start_rows(place)),
        *picture(out, "starting.png"),
        *part(Text("as-written, 200 classes, up to 10,000 steps", "as-written，200 类，最多 10,000 步"), "",
              (SEED, Text("learning starts at step", "开始学习的步数")), starting.late_rows(place)),
        *part(Text("What becomes of it", "最后的错误率"), Text(
            "12 epochs of Imagenette, 64 px, fp32, the base's schedule; three seeds, in %.",
            "Imagenette，12 轮，64 px，fp32，与基准相同的学习率安排；三个种子，单位 %。"),
            (NETWORK, DIFFERENCE, Text("top-1 error, validation", "top-1 错误率，验证"), Text("training", "训练"),
             Text("neurons of fc7 above 0 for any validation image", "fc7 中对任何验证图像大于 0 的神经元")),
            starting.end_rows(place))]


def first_lines(place: Place, out: Path) -> list[Text | str]:
    lines: list[Text | str] = [Text(
        "The next tables are of older runs, seeds 0, 1, 2. The numbers are the steps by which learning starts (defined at the top). "
        "They were computed from all losses during the run, which ended soon after (after 200 steps at least); the JSON files keep "
        "the first 100 losses and then means of 50 steps.",
        "下面几个表是较早的实验，种子 0、1、2。数字是开始学习的步数（定义见本页开头），在实验当时由全部损失算出，随后实验很快结束"
        "（至少 200 步）；JSON 文件里保存前 100 步的损失，之后是每 50 步的平均。"), "", *picture(out, "first-steps.png")]
    for size, classes in SETTINGS:
        lines += part(say("{} px, {} classes", "{} px，{} 类", size, classes), "",
                      (NETWORK, DIFFERENCE, Text("learning starts by step", "开始学习的步数")),
                      [row(variant, named(name), joined(seeds)) for variant in DIFFERENCES for name in DIFFERENCES[variant]
                       if (seeds := starts(place, variant, name, size, classes))])
    return lines + part(Text("At the start, 64 px: standard deviation of each layer's result / of its gradient",
                             "最初，64 px：各层输出的标准差 / 其梯度的标准差"), "",
                        (NETWORK, DIFFERENCE, *LAYERS), start_rows(place))


def head_lines(place: Place) -> list[Text | str]:
    swing, fade, both = Text("by the swing", "按振荡"), Text("by the fade", "按衰减"), Text("both: the head alone", "两者：只看头部")
    return [
        *part(Text("The swing", "振荡"), Text(
            "Learning rates above which the first step is unstable, 3.8 / curvature. The curvature is taken three ways. By the head: "
            "|h|^2 / C. By the head and p: |h|^2 times the largest eigenvalue of the mean of diag(p) - p p', p being the "
            "probabilities that the network gives an image's classes. Last: the largest curvature of the whole loss. Means of the "
            "seeds.",
            "超过此学习率，第一步就不稳定：3.8 / 曲率。曲率有三种取法。按头部：|h|^2 / C。按头部和 p：|h|^2 乘以 diag(p) - p p' 的平均的"
            "最大特征值，p 是网络给出的各类概率。末列：整个损失的最大曲率。各种子的平均。"),
            (NETWORK, DIFFERENCE, CLASSES, Text("by the head", "按头部"), Text("by the head and p", "按头部和 p"),
             Text("by the largest curvature", "按最大曲率")), head.curvature_rows(place)),
        *part(Text("The fade", "衰减"), Text(
            "The part of its length, in %, that the mean of fc7 loses with each step: predicted from the start, and found for each "
            "seed (below 0: it grows). Last: after 60 steps, how many % of its neurons have a mean below 0, before ReLU.",
            "fc7 的平均值每一步失去的长度（%）：由最初的网络预测的，以及每个种子测得的（小于 0 表示变长）。"
            "末列：60 步之后，有百分之几的神经元在 ReLU 之前的平均值小于 0。"),
            (DIFFERENCE, CLASSES, Text("learning rate", "学习率"), BATCH, DRAWN, Text("predicted", "预测"), Text("lost", "测得"),
             Text("below 0", "小于 0")), head.fading_rows(place)),
        *part(Text("The largest rate that fc7 survives", "fc7 能承受的最大学习率"), Text(
            "Predicted from the start (the head alone: fc7 and fc8 simulated without images), and found by bisection for each seed. "
            "Evenly: each class equally often in every batch.",
            "由最初的网络预测的（只看头部：不用图像，模拟 fc7 和 fc8），以及对每个种子用二分法测得的。均匀：每个批次中各类一样多。"),
            (DIFFERENCE, CLASSES, BATCH, DRAWN, swing, fade, both, Text("survived", "承受")), head.limit_rows(place))]


def growth_lines(place: Place) -> list[Text | str]:
    steps = (say("step {}", "第 {} 步", step) for step in growth.LOOK_AT[1:])
    return part(Text("How far apart pictures are", "不同图像相差多少"), say(
        "200 classes, batches of 200, learning rate 0.01, 64 px. Of fc7, before ReLU and without dropout: standard deviation from "
        "image to image (the mean of its neurons') / mean; seed 0; a run ends soon after learning starts. Last: the first step by "
        "which the deviation is {} in fc8, for each seed.",
        "200 类，批大小 200，学习率 0.01，64 px。fc7 在 ReLU 之前、不用丢弃法：不同图像之间的标准差（各神经元的平均）/ 平均值；种子 0；"
        "开始学习后实验很快结束。末列：每个种子在 fc8 中的标准差达到 {} 的步数。", growth.SEEN),
        (NETWORK, DIFFERENCE, DRAWN, Text("at first", "最初"), *steps, say("{} in fc8 by step", "fc8 达到 {} 的步数", growth.SEEN)),
        growth.growth_rows(place))
