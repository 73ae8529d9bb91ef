"""What alexnet_visualization.py and its page say, in English and in Chinese. Data; imports no torch."""

from __future__ import annotations

from typing import Any, NamedTuple


class Text(NamedTuple):
    english: str
    chinese: str

    def filled(self, **values: Any) -> Text:
        """With values in the place of {names}; a value that is a Text itself gives each language its own."""
        texts = {name: in_both(value) for name, value in values.items()}
        english = {name: text.english for name, text in texts.items()}
        chinese = {name: text.chinese for name, text in texts.items()}
        return Text(self.english.format(**english), self.chinese.format(**chinese))


def in_both(value: Any) -> Text:
    """What is the same in both languages, as a Text."""
    return value if isinstance(value, Text) else Text(value, value)


def joined(items: list[str] | list[Text], separator: Text) -> Text:
    texts = [in_both(item) for item in items]
    return Text(separator.english.join(text.english for text in texts),
                separator.chinese.join(text.chinese for text in texts))


COMMAS, SEMICOLONS, AND = Text(", ", "、"), Text("; ", "；"), Text(" and ", "、")


class Kind(NamedTuple):
    """One kind of picture: a WHAT of the command line, a section of the page."""

    needs: str      # "", "pictures", "data", "run", "filters"; "named": drawn only if named
    heading: Text
    help: str       # its line of --list


UNITS = 10   # of a layer that are shown, unless --units says otherwise; here, since --help needs it
KINDS = {   # in the page's order: the telling things first
    "predictions": Kind("pictures", Text("Predictions (section 6.1, figure 4, left)", "分类结果（第 6.1 节，图 4 左）"),
        "the pictures with their five most probable classes as bars (figure 4, left)"),
    "maps": Kind("pictures", Text("Feature maps", "特征图"),
        "for each picture all feature maps of each layer (--layers: before or after the ReLU, by name)"),
    "patches": Kind("data", Text("Patches that excite units", "最能激活各神经元的图像块"),
        "for units of each layer the parts of training pictures that excite them most, as large as their "
        "receptive field"),
    "gradcam": Kind("pictures", Text("Grad-CAM: where the last feature maps speak for the class",
                                     "Grad-CAM：最后的特征图在哪里支持这一类别"),
        "the feature maps of conv5 (or --layers), weighted by how much the class depends on them"),
    "filters": Kind("", Text("Filters (section 6.1, figure 3)", "卷积核（第 6.1 节，图 3）"),
        "the kernels of conv1 in colour, one block per column (figure 3); those of conv2; with --pages of "
        "conv3 to conv5, too"),
    "neighbours": Kind("data", Text("Neighbours in fc7 (section 6.1, figure 4, right)",
                                    "fc7 中的近邻（第 6.1 节，图 4 右）"),
        "training pictures nearest in fc7, and nearest in pixels (figure 4, right); how often the class "
        "agrees"),
    "occlusion": Kind("pictures", Text("Occlusion: what is missed when it is covered", "遮挡：遮住哪里会影响判断"),
        "how far a class's probability falls when a square of the picture is covered"),
    "gradient": Kind("pictures", Text("Gradient: which pixels the class depends on", "梯度：类别得分取决于哪些像素"),
        "the slope of a class's logit along each pixel, plain and averaged over noise"),
    "synthesis": Kind("", Text("Synthesis: pictures that excite a class or a unit most",
                               "合成：最能激活某个类别或神经元的图像"),
        "pictures made by gradient ascent that excite classes and units most"),
    "embedding": Kind("data", Text("Embedding: pictures in the plane of fc7", "嵌入：图片在 fc7 平面上的分布"),
        "validation pictures laid out by the two principal components of fc7"),
    "architecture": Kind("", Text("Architecture (section 3.5, figure 2)", "网络结构（第 3.5 节，图 2）"),
        "the network as in figure 2; parameters, neurons and multiply-adds of each layer"),
    "health": Kind("data", Text("Health: does it train?", "健康检查：网络能否训练？"),
        "dead units, values, weights, gradients, what the norms divide by; in words what is unusual"),
    "explore": Kind("pictures", Text("A page to play with", "交互页面"),
        "a page to play with, explore.html: drag a window, choose kernels and feature maps, move sliders"),
    "training": Kind("run", Text("Training (section 5)", "训练过程（第 5 节）"),
        "curves of the run that made the checkpoint, or of several (--runs)"),
    "growing": Kind("filters", Text("Filters being learned", "卷积核的学习过程"),
        "the kernels of conv1 from epoch to epoch, as an animation (of a run with --keep-filters)"),
    "steps": Kind("named", Text("Step pictures: one idea each", "分步图解：每张图一个想法"),
        "one picture per idea of the paper, from crops to momentum; made without a network, so only if "
        "named"),
}

ARCHITECTURE = Text(
    "The network as it is, drawn from its description: feature maps x height x width of each layer's "
    "result, the kernels (orange, size / stride), and what follows each layer (grey).{columns} Below: "
    "{parameters:.0%} of the parameters are in the fully-connected layers, {work:.0%} of the multiply-adds "
    "in the convolutions.",
    "按网络自身的描述绘制：每层输出的特征图数 × 高 × 宽，橙色为卷积核（大小 / 步长），灰色为该层之后的运算。{columns}"
    "下方：{parameters:.0%} 的参数在全连接层，{work:.0%} 的乘加运算在卷积层。")
RED_LINES = Text(" Red lines: where one column looks at the other.", "红线表示两路之间的连接。")

FIRST_KERNELS = Text(
    "What the first layer looks for; grey is a weight of 0. Left each kernel by its own largest weight, "
    "which shows its pattern; right all on one scale, which shows how strong it is.",
    "第一层在找的图案，灰色表示权重为 0。左：每个卷积核按自身的最大权重缩放，便于看清图案；"
    "右：所有卷积核共用一个尺度，便于比较强弱。")
COLOURFULNESS = Text(
    "How colourful the kernels are: the share of a kernel's energy that is not grey (mean by column: "
    "{means}). The paper finds one column colour-agnostic and the other colour-specific.",
    "卷积核的色彩度，即非灰度部分所占能量的比例（各路平均：{means}）。论文指出，"
    "一路几乎与颜色无关，另一路则对颜色敏感。")
KERNEL_PAGE = Text(
    "Each block is one kernel of {layer}; in it a square of {side} x {side} weights for each of its "
    "{inputs} input feature maps. Shown are {shown} of {count} kernels, every {step}th{rest}.",
    "每个方块是 {layer} 的一个卷积核，其中每个小方格是它对一张输入特征图的 {side} × {side} 个权重（共 {inputs} 格）。"
    "这里画出 {count} 个卷积核中的 {shown} 个，每 {step} 个取一个{rest}。")
ALL_PAGES = Text(" (--pages all shows the rest)", "（--pages all 显示全部）")

MAPS = Text(
    "{picture}: {what} of {layer}, on one scale up to the 99.8th percentile; {colours}.{blocks}",
    "{picture}：{layer} 的{what}，共用一个色标，上限为第 99.8 百分位；{colours}。{blocks}")
DARK_MAP = Text("a dark map found nothing in this picture", "全暗的特征图表示它在这张图片里什么也没找到")
DARK_VALUE = Text("dark is 0", "暗处为 0")
SIGNED = Text("red is above 0, blue below, white is 0", "红为正，蓝为负，白为零")
ALL_MAPS = Text("all {count} feature maps, {side} × {side}", "全部特征图（共 {count} 张，{side} × {side}）")
ALL_VALUES = Text("{count} values, row by row", "全部 {count} 个值，逐行排列")
TWO_BLOCKS = Text(" The upper block is the first column, the lower one the second.", "上半为第一路，下半为第二路。")

PREDICTIONS = Text("The five most probable classes of each picture (one crop){end}",
                   "每张图片概率最高的五个类别（中心裁剪）{end}")
RIGHT_ONE = Text(", the right one in red; above each picture its true class.",
                 "，红色为正确类别；图片上方为真实类别。")
FULL_STOP = Text(".", "。")

NEIGHBOURS = Text(
    "Left a query, then the pictures nearest to it in {space} among {among}{frames}. Over "
    "{asked} validation pictures, {fc7:.1%} of the {near} nearest in fc7 are of their class, and "
    "{pixels:.1%} of the nearest in pixels.",
    "左侧为查询图片，其后是按{space}的欧氏距离与它最近的训练图片（从 {among} 张中查找）{frames}。对 {asked} 张验证图片，"
    "按 fc7 最近的 {near} 张里有 {fc7:.1%} 与之同类，按像素最近的则为 {pixels:.1%}。")
FRAMES = Text("; blue: of the same class, orange: of another", "，蓝框表示同类，橙框表示异类")
SPACES = {"fc7": Text("the {values} values of fc7", " fc7 "), "pixels": Text("raw pixels", "原始像素")}

OCCLUSION = Text(
    "Red: covering this place with a square of {side} x {side} px of the mean image makes the class above "
    "the picture less probable, by as many percentage points as the scale says; blue: more probable.",
    "红色：用均值图像中 {side} × {side} 像素的方块遮住此处，图片上方所示类别的概率会下降（百分点见色标）；"
    "蓝色：概率会上升。")

GRADIENT = Text(
    "How much the score of the class above the picture changes with each pixel: plain, and averaged over 16 "
    "noisy copies (SmoothGrad), in which accidents of single pixels cancel. Each picture on its own scale.",
    "图片上方类别的得分随每个像素变化的程度：左为原始梯度，右为 16 份加噪副本的平均（SmoothGrad），"
    "后者让个别像素的偶然因素互相抵消。每张图片各用自己的色标。")

GRADCAM = Text(
    "Bright: where the feature maps of {layers} speak for the class above the picture. A grid "
    "of {sides}, placed at the centres of the receptive fields and interpolated. Where nothing speaks for "
    "the class, the picture says so.",
    "明亮处：{layers} 的特征图在此支持图片上方的类别。网格为 {sides}，按感受野中心定位后插值。"
    "若没有任何位置支持该类别，图中会注明。")

PATCHES = Text(
    "Each row is a unit of {layer}: the parts of {count:,} training pictures that excite it most, as much "
    "of them as it sees ({field} x {field} px, {cut}), each picture at most once; above, its value.",
    "每行是 {layer} 的一个神经元：在 {count} 张训练图片中最能激活它的图像块，大小即其感受野"
    "（{field} × {field} 像素，{cut}），每张图片最多出现一次；上方为激活值。")
LARGER_THAN_PICTURE = Text("more than the picture", "大于整张图片")
CUT_AT_EDGE = Text("less at an edge", "靠近边缘时更小")

SYNTHESIS_CLASSES = Text(
    "Pictures made to excite {shown} of {count} classes as much as possible, by gradient ascent from the "
    "mean image. What keeps them from being noise: gradients blurred from up to 4 px down to half of one, "
    "a decay of 1% per step to the mean image, small shifts.",
    "从均值图像出发，用梯度上升合成最能激活某个类别的图像（{count} 个类别中的 {shown} 个）。为了不让结果变成噪声："
    "梯度经过模糊（由至多 4 像素降至半像素），每一步向均值图像衰减 1%，并做小幅平移。")
SYNTHESIS_UNITS = Text(
    "The same for units: one row per layer, what excites the unit in the middle of its feature map most, "
    "cut at its receptive field. From edges and colours to textures and parts of things.",
    "对各层神经元做同样的合成：每行一层，显示最能激活特征图正中神经元的图像，按感受野裁剪。"
    "由边缘和颜色逐步过渡到纹理和物体的局部。")

EMBEDDING = Text(
    "{count:,} validation pictures, laid out by the two directions in which their fc7 differs most "
    "({first:.0%} and {second:.0%} of the variance). Left as dots coloured by class, right as pictures, one "
    "per cell.",
    "{count} 张验证图片，按 fc7 差异最大的两个方向排布（分别占方差的 {first:.0%} 和 {second:.0%}）。"
    "左：按类别着色的点；右：缩略图，每格一张。")

HEALTH = Text("Over {count} training pictures, without dropout: {loss}. {unusual}.",
              "基于 {count} 张训练图片（不使用丢弃法）：{loss}。{unusual}。")
LOSS = Text("loss {loss:.3f}; chance level is {chance:.3f}", "损失为 {loss:.3f}，随机猜测水平为 {chance:.3f}")
OWN_ANSWERS = Text("these pictures' classes are not the network's: no loss, and gradients of its own answers",
                   "这些图片的类别不是网络的类别：不计损失，梯度按网络自己的回答计算")
NOTHING_UNUSUAL = Text("Nothing unusual", "未见异常")
UNUSUAL_THINGS = Text("Unusual: {things}", "异常：{things}")
UNUSUAL = {   # a kind of interpret.unusual: with {layer} and {number}
    "not finite": Text(
        "{layer} holds values that are not finite: training has diverged; a lower learning rate helps",
        "{layer} 中出现了 NaN 或无穷大：训练已经发散，应降低学习率"),
    "same answer": Text(
        "the network gives nearly the same answer to every picture (they differ by {number:.1%})",
        "网络对每张图片的回答几乎相同（仅相差 {number:.1%}）"),
    "same features": Text(
        "fc7 is nearly the same for every picture ({number:.0%} of its squared length is common): fc8 has "
        "nothing to tell them by",
        "fc7 对每张图片都几乎相同（其长度平方的 {number:.0%} 为各张图片所共有）：fc8 无从区分它们"),
    "dead": Text(
        "{number:.0%} of {layer}'s units are dead: never above 0, so nothing can change them",
        "{layer} 有 {number:.0%} 的神经元已经死亡：从不大于 0，因而不再学习"),
    "always on": Text(
        "{number:.0%} of {layer}'s units are never below 0: for them the ReLU does nothing",
        "{layer} 有 {number:.0%} 的神经元从不小于 0：ReLU 对它们不起作用"),
    "saturated": Text(
        "{number:.0%} of {layer}'s values lie where the nonlinearity is flat: little gradient comes through",
        "{layer} 有 {number:.0%} 的值位于非线性函数的平坦区：几乎没有梯度通过"),
    "no gradient": Text(
        "hardly any gradient reaches {layer} (at most {number:.1e} of the weights' size): nothing is learnt "
        "there",
        "几乎没有梯度传到 {layer}（仅为权重大小的 {number:.1e}）：它学不到东西"),
    "large gradient": Text(
        "{layer}'s gradient is {number:.1f} times the size of its weights: the learning rate will be too "
        "high for it",
        "{layer} 的梯度是其权重大小的 {number:.1f} 倍：学习率对它来说过高"),
    "idle norm": Text(
        "{layer} divides by nearly the same everywhere (at most {number:.3f} times its least): it does "
        "nothing",
        "{layer} 的除数处处几乎相同（最大值仅为最小值的 {number:.3f} 倍）：它不起作用"),
}

EXPLORE = Text(
    "One page to play with, in English and Chinese; it needs no other file and no network connection.",
    "一个可以动手操作的页面（中英文），不需要其他文件，也不需要联网。")

TRAINING = Text("Loss and error by epoch; top-1 error on the validation part at the end: {ends}.",
                "损失与错误率随训练轮数的变化；结束时验证集上的 top-1 错误率：{ends}。")

GROWING = Text("The kernels of conv1 from epoch to epoch, each scaled by its own largest magnitude; beside "
               "them the validation error. What looks like noise at the end is, for the most part, the "
               "initial weights: weight decay removes them slowly.",
               "conv1 的卷积核随训练轮数的变化，每个卷积核按自己的最大绝对值缩放；旁边是验证错误率。最后看上去像噪声的部分，"
               "大多是权重初值：权重衰减消除它们很慢。")

CLASSES = Text("{count} classes: {names}{end}", "{count} 个类别：{names}{end}")
AND_MORE = Text(" ...", " 等")

PAGE = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 0 1rem 3rem;
        color: #222; background: #fff; }}
h1 {{ font-size: 1.5rem; }}
h2 {{ font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }}
figure {{ margin: 1.2rem 0; }}
img {{ max-width: 100%; height: auto; border: 1px solid #ddd; }}
figcaption {{ color: #555; font-size: .92rem; overflow-wrap: anywhere; }}
nav a {{ margin-right: .8rem; white-space: nowrap; }}
html[lang=en] span[lang=zh-CN], html[lang=zh-CN] span[lang=en] {{ display: none; }}
@media (max-width: 40rem) {{   /* a wide picture is moved sideways, not made too small to read */
    figure a {{ display: block; overflow-x: auto; }}
    img {{ max-width: none; width: 44rem; }}
}}
</style>
<script>
function switchLanguage() {{
    document.documentElement.lang = document.documentElement.lang === "en" ? "zh-CN" : "en";
}}
</script>
</head>
<body>
<h1>{title}</h1>
<button onclick="switchLanguage()"><span lang="en">中文</span><span lang="zh-CN">English</span></button>
<p>{about}</p>
<nav>{links}</nav>
{sections}
</body>
</html>
"""
LINK = """<p><a href="{file}">{file}</a>: {caption}</p>"""
FIGURE = """<figure><a href="{file}"><img src="{file}" loading="lazy" alt="{alt}"></a>\
<figcaption>{caption}</figcaption></figure>"""
