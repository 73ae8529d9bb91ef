# The lesson, as text: `python paper/lesson/build.py` makes lesson.ipynb and lesson.zh-CN.ipynb of it. Cells begin with
# `# %%`; a comment in code has both languages, with | between them.

# %% [markdown] en
# # AlexNet in an afternoon
#
# [中文](lesson.zh-CN.ipynb) · [the paper, section by section](../README.md) · [exercises](../exercises.md) · [the project](../../README.md)
#
# You follow one photograph through the network of 2012, compute by hand what the layers compute, train the network, look
# at what it has learned, and then break it. You need Python, PyTorch's basics and the packages of `requirements.txt`;
# nothing is downloaded, and a laptop does it in some minutes. Jupyter is not among those packages: open the notebook in
# any notebook program (GitHub shows it, but does not run it). Run the cells from the top; change what you like and run
# them again.

# %% [markdown] zh
# # 一个下午读懂 AlexNet
#
# [English](lesson.ipynb) · [逐节读论文](../README.zh-CN.md) · [练习](../exercises.zh-CN.md) · [项目主页](../../README.zh-CN.md)
#
# 我们跟着一张照片走过 2012 年的网络，亲手验算各层的计算，然后训练它，看它学到了什么，最后让它训练失败。
# 只需要 Python、PyTorch 的基础知识和 `requirements.txt` 里的包；不用下载任何东西，普通笔记本电脑几分钟就能跑完。
# 这些包里不含 Jupyter：请另装 JupyterLab，或用 VS Code 等能运行 .ipynb 的程序打开（GitHub 只能显示，不能运行）。请从上往下逐格运行；可以随意修改，再运行一遍。

# %%
import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

root = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "alexnet").is_dir())
sys.path.insert(0, str(root))

from alexnet import augment, demo
from alexnet.images import open_image, square
from alexnet.model import AlexNet, Dropout, LocalResponseNorm

STEPS = 300   # of each training below; fewer is faster | 下面每次训练的步数；想快就改小
torch.manual_seed(0)

# %% [markdown] en
# ## 1 From a photograph to the input (section 2)
#
# Photographs have all sizes, the network needs one. The paper's rule: make the shorter side 256 px, cut out the central
# 256 x 256. In training, a random 224 x 224 of it is used; here we take the middle.

# %% [markdown] zh
# ## 1 从照片到网络的输入（第 2 节）
#
# 照片大小不一，而网络的输入大小固定。论文的规则：把短边缩放到 256 像素，再取中央的 256 x 256。
# 训练时从中随机取 224 x 224；这里取正中间。

# %%
photo = open_image(root / "data/samples/photo-cat.jpg")
packed = square(photo, 256)                      # (256, 256, 3), uint8
crop = packed[16:240, 16:240]                    # the central 224 x 224 | 中央的 224 x 224

figure, axes = plt.subplots(1, 3, figsize=(7, 2.4))
for axis, image, title in zip(axes, (photo, packed, crop), (photo.size, packed.shape[:2], crop.shape[:2])):
    axis.imshow(image)
    axis.set_title(f"{title[0]} x {title[1]}")
    axis.axis("off")

# %% [markdown] en
# The only other preparation: from each pixel the *mean image* of the training set is subtracted, so that over the training
# set each value is zero on average. The paper's mean is over 1.2 million photographs. We take the samples of this
# repository. Most of them are drawings, so the mean printed below is not quite zero for this photograph.

# %% [markdown] zh
# 此外只做一件事：每个像素减去训练集的*均值图像*，这样在整个训练集上每个值平均为零。论文的均值来自 120 万张照片，
# 这里用本仓库的样例图片；其中大多是画出来的图，所以这张照片减去它以后，平均值（下面打印出来）并不正好是零。

# %%
samples = sorted((root / "data/samples").glob("*.*"))
mean = np.mean([square(open_image(path), 256)[16:240, 16:240] for path in samples], axis=0, dtype=np.float32)

x = augment.as_batch([crop]) - augment.as_batch([mean])            # (1, 3, 224, 224)
print(f"before: {crop.min()} ... {crop.max()}, mean {crop.mean():.0f}")
print(f"after:  {x.min():.0f} ... {x.max():.0f}, mean {x.mean():.0f}")

# %% [markdown] en
# ## 2 One value of conv1 is a sum of 363 products (section 3.5)
#
# conv1 has 96 kernels of 11 x 11 px, each over three colours: 11 x 11 x 3 = 363 weights. To get one value of a feature
# map, lay the kernel on the image, multiply each weight by the pixel below it, add everything up, add the bias. Then move
# the kernel by 4 px, and so on.

# %% [markdown] zh
# ## 2 conv1 的一个值是 363 个乘积之和（3.5 节）
#
# conv1 有 96 个 11 x 11 的卷积核，各覆盖三个颜色通道：11 x 11 x 3 = 363 个权重。要得到特征图上的一个值，就把卷积核放在图像上，
# 每个权重乘以它下面的像素，全部相加，再加偏置。然后把卷积核移动 4 个像素，依此类推。

# %%
model = AlexNet(num_classes=10, image_size=224)   # random weights: nothing is learned yet | 随机权重：还什么都没学到
kernel, bias = model.conv1.weight[7], model.conv1.bias[7]

row, column = 10, 20                              # which value of the map | 特征图上的哪一个值
window = x[0, :, 4 * row:4 * row + 11, 4 * column:4 * column + 11]
by_hand = (window * kernel).sum() + bias

feature_map = model.conv1(x)[0, 7]
print(f"{kernel.numel()} products, by hand {by_hand:.4f}, by the network {feature_map[row, column]:.4f}")
assert torch.isclose(by_hand, feature_map[row, column], atol=1e-3)

# %% [markdown] en
# How many values has a row of the map? Windows start at 0, 4, 8, ..., and the last whole one at 212: that makes 54. The
# paper says 55. The program of 2012 rounded up: one more window starts at 216, and hangs over the edge by 3 px, which
# count as zeros.

# %% [markdown] zh
# 特征图的一行有多少个值？窗口从 0、4、8……开始，最后一个完整的从 212 开始：共 54 个。论文说 55 个。
# 2012 年的程序向上取整：还有一个窗口从 216 开始，超出边缘 3 个像素，超出部分按零计算。

# %%
whole_windows = (224 - 11) // 4 + 1
print(f"whole windows {whole_windows}, values in a row {feature_map.shape[1]}, the last window ends at {4 * 54 + 11}")

# %% [markdown] en
# ## 3 Eight layers
#
# The same image through the whole network. The feature maps become smaller, and there are more of them (up to 384; conv5
# has 256 again); at the end there is one number per class. The table says where the parameters lie. Its last column,
# *sees*, is the side of the receptive field: how many pixels of the image, in each direction, one value depends on. The
# table is of the default network, `as-trained`. Its second normalisation of layer 2 looks at 5 x 5 places, which adds 32 px
# from pool2 on; in the paper's own network, `as-written`, conv3 sees 99 px and pool5 195.

# %% [markdown] zh
# ## 3 八层网络
#
# 让同一张图像走过整个网络。特征图越来越小，张数增多（最多 384 张，conv5 又回到 256 张）；最后每个类别得到一个数。表格列出参数都在哪里。
# 最后一列 *sees* 是感受野的边长：沿高和沿宽，一个值各能看到图像的多少个像素。表格是默认网络 `as-trained` 的：
# 它在第 2 层的第二次归一化要看 5 x 5 个位置，从 pool2 起使感受野多出 32 像素；
# 在论文所写的网络 `as-written` 中，conv3 看到 99 像素，pool5 看到 195 像素。

# %%
model.eval()
with torch.no_grad():
    shapes = {name: tuple(values.shape[1:]) for name, values in model.activations(
        augment.as_batch([crop]),
        ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8"]).items()}
for name, shape in shapes.items():
    print(f"{name:6} {' x '.join(map(str, shape)):>14}")
print()
print(model.table())

# %% [markdown] en
# ## 4 ReLU: why it can learn faster (section 3.1)
#
# Backward, the gradient is multiplied by the slope of each neuron that it passes. The slope of tanh is small for large
# inputs; the slope of ReLU is 1 for all inputs above 0. Seven layers one behind the other make the difference large. With
# small inputs the slope of tanh is near 1: our small network on CIFAR-10 shows little difference (claim C8 in the
# [results](../../results/README.md)).

# %% [markdown] zh
# ## 4 ReLU：为什么可能学得更快（3.1 节）
#
# 反向传播时，梯度每经过一个神经元就乘上它的斜率。输入较大时 tanh 的斜率很小；ReLU 对所有大于 0 的输入斜率都是 1。
# 七层叠在一起，差别就很大。输入较小时 tanh 的斜率接近 1：我们在 CIFAR-10 上的小网络就看不出多少差别
# （见[结果](../../results/README.zh-CN.md)中的 C8）。

# %%
inputs = torch.tensor([0.5, 1.0, 2.0, 3.0], requires_grad=True)
for name, function in (("tanh", torch.tanh), ("relu", torch.relu)):
    slope, = torch.autograd.grad(function(inputs).sum(), inputs)
    print(f"{name}: slopes {[round(value, 4) for value in slope.tolist()]}, through seven layers "
          f"{[f'{value ** 7:.0e}' for value in slope.tolist()]}")

# %% [markdown] en
# ## 5 Two columns (section 3.2)
#
# The network did not fit into one GPU of 2012 (3 GB). So each layer was cut in two halves, one for each GPU; conv2, conv4
# and conv5 see only the feature maps of their own half. Test it: what happens to the first half of conv2 if the second
# half of conv2's input, the feature maps of pool1, is set to zero?

# %% [markdown] zh
# ## 5 双路（3.2 节）
#
# 2012 年的一块 GPU（3 GB 显存）放不下整个网络。于是每层分成两半，各放一块 GPU；conv2、conv4、conv5 只看到自己那一半的特征图。
# 试一试：把 conv2 的输入（pool1 的特征图）的后一半全部置零，conv2 的前一半会怎样？

# %%
with torch.no_grad():
    maps = model.activations(augment.as_batch([crop]), ["pool1"])["pool1"]
    without_second = maps.clone()
    without_second[:, 48:] = 0
    before, after = model.conv2(maps), model.conv2(without_second)
print("first half of conv2 is the same:", torch.equal(before[:, :128], after[:, :128]))
print("second half of conv2 is the same:", torch.equal(before[:, 128:], after[:, 128:]))
assert torch.equal(before[:, :128], after[:, :128]) and not torch.equal(before[:, 128:], after[:, 128:])

# %% [markdown] en
# ## 6 Local response normalisation (section 3.3)
#
# A ReLU can give any large value. Neurons of the eye and the brain damp their neighbours when they fire; the paper
# imitates that among feature maps. At each point, a value is divided by a number that grows with its own square and those
# of the two feature maps on each side: $(2 + 0.0001 \sum a_j^2)^{0.75}$. These are the constants of `as-written`; the
# default network, `as-trained`, divides 0.0001 by 5, as the code of 2012 does.

# %% [markdown] zh
# ## 6 局部响应归一化（3.3 节）
#
# ReLU 的输出可以任意大。视觉系统的神经元在活跃时会抑制邻近的神经元；论文在特征图之间模仿这一点。
# 在每个位置上，一个值要除以一个数；以它为中心的五张特征图（含它自己）的平方和越大，这个数越大：$(2 + 0.0001 \sum a_j^2)^{0.75}$。
# 这是 `as-written` 的常数；默认网络 `as-trained` 与 2012 年的代码一样，把 0.0001 除以 5。

# %%
def normalised(values):
    """The middle of five neighbouring maps at one point, by hand."""
    return values[2] / (2 + 1e-4 * sum(value ** 2 for value in values)) ** 0.75


alone, in_company = [0.0, 0.0, 100.0, 0.0, 0.0], [100.0] * 5
print(f"100 alone becomes {normalised(alone):.1f}, with four neighbours of 100 {normalised(in_company):.1f}")

norm = LocalResponseNorm()                        # the paper's k, n, alpha, beta | 论文的 k、n、alpha、beta
by_layer = norm(torch.tensor(alone).view(1, 5, 1, 1))[0, 2].item()
assert math.isclose(normalised(alone), by_layer, rel_tol=1e-5)

# %% [markdown] en
# ## 7 Overlapping pooling (section 3.4)
#
# Pooling keeps the largest value of each window. Usual were windows of 2 x 2, 2 apart; the paper takes 3 x 3, 2 apart, so
# that windows overlap by one row or column. On the 5 x 5 values below, windows of 2 x 2 leave out the last row and column.

# %% [markdown] zh
# ## 7 重叠池化（3.4 节）
#
# 池化只保留每个窗口中的最大值。当时常用 2 x 2、步长 2 的窗口；论文用 3 x 3、步长 2，窗口之间重叠一行或一列。
# 对下面 5 x 5 的数，2 x 2 的窗口用不到最后一行和最后一列。

# %%
values = torch.tensor([[1., 2, 0, 3, 1], [0, 9, 1, 1, 0], [2, 1, 4, 0, 5], [0, 3, 1, 7, 1], [6, 0, 2, 1, 0]])
by_hand = torch.stack([torch.stack([values[row:row + 3, column:column + 3].max() for column in (0, 2)])
                       for row in (0, 2)])
print("3 x 3, 2 apart:", by_hand.tolist())
print("2 x 2, 2 apart:", F.max_pool2d(values[None], 2)[0].tolist())
assert torch.equal(by_hand, F.max_pool2d(values[None], 3, 2)[0])

# %% [markdown] en
# ## 8 Dropout (section 4.2)
#
# In training, each unit of fc6 and fc7 is set to zero with probability 0.5, drawn anew for each image. In test all units
# are there, so there would be twice as much: the outputs are halved. Today one doubles in training instead. Each of the two
# agrees with itself, on average, between training and test. But today's values are twice those of 2012 in both, 1.0
# against 0.5 below. In test, the next layer's weights can make up for that; in training, gradients are twice as large, too.

# %% [markdown] zh
# ## 8 丢弃法（4.2 节）
#
# 训练时，fc6 和 fc7 的每个神经元以 0.5 的概率置零，每张图像重新抽取。测试时所有神经元都在，总量会变成两倍，所以输出减半。
# 今天的做法是改为在训练时加倍。两种做法各自在训练和测试之间是一致的（就平均而言），但无论训练还是测试，
# 今天的数值都是 2012 年的两倍：下面打印的是 1.0 和 0.5。测试时，下一层的权重可以抵消这个倍数；训练时，梯度也是两倍。

# %%
ones = torch.ones(10_000)
for name, dropout in (("2012 ", Dropout()), ("today", torch.nn.Dropout(0.5))):
    in_training, in_test = dropout.train()(ones), dropout.eval()(ones)
    print(f"{name}: in training values of {sorted(set(in_training.tolist()))}, mean {in_training.mean():.2f}; "
          f"in test {in_test.mean():.1f}")

# %% [markdown] en
# ## 9 The loss at the start
#
# When all classes are equally probable, the loss with ten classes is ln 10 = 2.30. The untrained network lies a little
# above, since its probabilities are not quite equal. Remember this number: a training whose loss stays at 2.30 does not learn.

# %% [markdown] zh
# ## 9 开始时的损失
#
# 所有类别概率相同时，十个类别的损失是 ln 10 = 2.30。未经训练的网络略高一点，因为它给出的概率并不完全相等。
# 记住这个数：损失一直停在 2.30，就说明没有在学习。

# %%
logits = torch.zeros(1, 10)
print(f"{F.cross_entropy(logits, torch.tensor([3])).item():.4f} = {math.log(10):.4f}")

# %% [markdown] en
# ## 10 The update rule, three steps of it (section 5)
#
# $v \leftarrow 0.9\,v - 0.0005 \cdot \epsilon \cdot w - \epsilon \cdot g$, then $w \leftarrow w + v$. The first term is
# momentum: keep going where the last steps went. The second is weight decay: shrink a little. The third is the gradient.

# %% [markdown] zh
# ## 10 按更新规则走三步（第 5 节）
#
# $v \leftarrow 0.9\,v - 0.0005 \cdot \epsilon \cdot w - \epsilon \cdot g$，然后 $w \leftarrow w + v$。
# 第一项是动量：继续朝前几步的方向走。第二项是权重衰减：略微缩小。第三项是梯度。

# %%
w, v, gradient, rate = 1.0, 0.0, 0.5, 0.01
weight = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=rate, momentum=0.9, weight_decay=0.0005)
for step in range(3):
    v = 0.9 * v - 0.0005 * rate * w - rate * gradient
    w = w + v
    weight.grad = torch.tensor([gradient], dtype=torch.float64)
    optimizer.step()
    print(f"step {step + 1}: by hand {w:.6f}, by torch.optim.SGD {weight.item():.6f}")
assert math.isclose(w, weight.item())

# %% [markdown] en
# ## 11 Something to learn
#
# ImageNet has 150 GB. We take the built-in set, small pictures of ten classes that the repository draws itself: 3,000 for
# training and 500 for validation. The network is the same; only the image is smaller: crops of 64 px out of 73, in proportion to 224 out of 256.

# %% [markdown] zh
# ## 11 要学的东西
#
# ImageNet 有 150 GB。我们用内置数据集，即仓库自己画的小图，分十类：3,000 张用于训练，500 张用于验证。
# 网络相同，只是图像小一些：从 73 像素中取 64 像素的裁剪，比例与 256 取 224 相同。

# %%
def drawn(part):
    """Images (N, 73, 73, 3) uint8, and their labels."""
    keys, labels = zip(*demo.items(part))
    return np.stack([square(demo.draw(key), 73) for key in keys]), torch.tensor(labels)


images, labels = drawn("train")
val_images, val_labels = drawn("val")
mean_image = torch.from_numpy(images.mean(0)).permute(2, 0, 1).float()

figure, axes = plt.subplots(2, 10, figsize=(12, 2.8))
for axis, image, label in zip(axes.flat, images, labels):
    axis.imshow(image)
    axis.set_title(demo.CLASSES[label], fontsize=9)
    axis.axis("off")

# %% [markdown] en
# ## 12 Data augmentation (section 4.1)
#
# Each time that a picture is used, it is cut out at another place and mirrored or not. The network never sees quite the
# same picture twice, so it cannot learn them by heart as easily. Here is one picture, ten times.

# %% [markdown] zh
# ## 12 数据增强（4.1 节）
#
# 每次用到一张图，都从不同的位置裁剪，并随机左右翻转。网络几乎不会两次看到完全相同的图，也就不那么容易死记硬背。
# 下面是同一张图的十次结果。

# %%
choice = augment.choose(10, 73 - 64, torch.Generator().manual_seed(0))
crops = augment.crop(images, np.full(10, 5), choice, 64)           # (10, 3, 64, 64)
figure, axes = plt.subplots(1, 10, figsize=(12, 1.5))
for axis, one in zip(axes, crops):
    axis.imshow(one.permute(1, 2, 0))
    axis.axis("off")

# %% [markdown] en
# ## 13 Training
#
# The loop: take 64 random pictures, cut and mirror them, compute the loss, go backward, let SGD with momentum take a step.
# That is all. (`train_alexnet.py` gives biases twice the learning rate and no weight decay, as the code of 2012 did, and
# adds the colour noise, a schedule for the learning rate, checkpoints. Here biases are treated as weights are.)

# %% [markdown] zh
# ## 13 训练
#
# 循环很简单：随机取 64 张图，裁剪、翻转，算损失，反向传播，让带动量的 SGD 走一步。仅此而已。
# （`train_alexnet.py` 和 2012 年的代码一样，偏置的学习率加倍、没有权重衰减，
# 另外还有颜色噪声、学习率调度和检查点。这里对偏置和权重一视同仁。）

# %%
def train(model, steps=STEPS, rate=0.01, seed=0):
    """The loss of each step."""
    model.mean.copy_(augment.centre(mean_image, 64)[None])         # the network subtracts it | 由网络减去
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=0.0005)
    chance, losses = torch.Generator().manual_seed(seed), []
    model.train()
    for step in range(steps):
        chosen = torch.randint(0, len(images), (64,), generator=chance)
        batch = augment.crop(images, chosen.numpy(), augment.choose(64, 73 - 64, chance), 64)
        loss = F.cross_entropy(model(batch), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


torch.manual_seed(0)
trained = AlexNet(num_classes=10, image_size=64)
kernels_before = trained.conv1.weight.detach().clone()
losses = train(trained)

# %% [markdown] en
# The first steps make the loss larger than at chance level; then it falls below 2.30, and learning has started.

# %% [markdown] zh
# 最初几步损失反而高于随机猜测；随后降到 2.30 以下，学习就开始了。

# %%
def show(curves):
    """Losses over steps, smoothed over ten, with the loss at chance level."""
    plt.figure(figsize=(7, 3))
    for name, curve in curves.items():
        smooth = [np.mean(curve[max(0, step - 9):step + 1]) for step in range(len(curve))]
        plt.plot(smooth, label=name)
    plt.axhline(math.log(10), color="grey", linestyle="--", label="ln 10")
    plt.xlabel("step")
    plt.ylabel("loss")
    plt.legend()


show({"as trained in 2012": losses})

# %% [markdown] en
# How good is it? Chance level is an error of 90%. The validation pictures were never used in training.

# %% [markdown] zh
# 效果如何？随机猜测的错误率是 90%。验证集的图片从未用于训练。

# %%
def error_of(model):
    """Top-1 error on the validation pictures, with the central crop."""
    model.eval()
    centre = augment.centre(augment.as_batch(val_images), 64)
    with torch.no_grad():
        found = torch.cat([model(part).argmax(1) for part in centre.split(100)])
    return (found != val_labels).float().mean().item()


print(f"top-1 error {error_of(trained):.1%}")

# %% [markdown] en
# ## 14 What it has learned (figure 3)
#
# The 48 kernels of conv1 that changed most, before and after, each with its own scale. The paper's kernels are edges and
# colours, after 90 epochs over 1.2 million images. After a few hundred steps ours show stripes and blobs of colour already;
# those that are not shown changed less.

# %% [markdown] zh
# ## 14 它学到了什么（图 3）
#
# conv1 中变化最大的 48 个卷积核，训练前和训练后，各用自己的尺度显示。论文的卷积核看过 120 万张图像、训练 90 轮，成了边缘和色块的检测器。
# 我们只走了几百步，这些卷积核已经显出条纹和色块；没有画出来的那些变化较小。

# %%
def picture(kernels):
    """48 kernels (48, 3, 11, 11) as one picture."""
    low, high = kernels.amin((1, 2, 3), True), kernels.amax((1, 2, 3), True)
    tiles = F.pad((kernels - low) / (high - low), (1, 1, 1, 1), value=1.0)
    return tiles.view(4, 12, 3, 13, 13).permute(0, 3, 1, 4, 2).reshape(4 * 13, 12 * 13, 3)


kernels_after = trained.conv1.weight.detach()
moved = (kernels_after - kernels_before).flatten(1).norm(dim=1)
order = moved.argsort(descending=True)[:48]       # those that changed most | 变化最大的
figure, axes = plt.subplots(1, 2, figsize=(12, 2.4))
for axis, kernels, title in zip(axes, (kernels_before, kernels_after), ("before", "after")):
    axis.imshow(picture(kernels[order]))
    axis.set_title(title)
    axis.axis("off")

# %% [markdown] en
# And what conv1 makes of a picture: the eight feature maps with the largest values. Bright is where the kernel fits.

# %% [markdown] zh
# 再看 conv1 对一张图的响应：数值最大的八张特征图。亮处就是卷积核与图像吻合之处。

# %%
star = augment.centre(augment.as_batch(val_images[5:6]), 64)
with torch.no_grad():
    maps = trained.activations(star, ["conv1"])["conv1"][0].clamp(min=0)
figure, axes = plt.subplots(1, 9, figsize=(12, 1.6))
axes[0].imshow(star[0].permute(1, 2, 0))
for axis, index in zip(axes[1:], maps.amax((1, 2)).argsort(descending=True)):
    axis.imshow(maps[index], cmap="gray")
    axis.set_title(f"{index}", fontsize=9)
for axis in axes:
    axis.axis("off")

# %% [markdown] en
# ## 15 Break it yourself
#
# Section 5 says that the biases of conv2, conv4, conv5, fc6 and fc7 began at 1, and 2012's code gave conv3 to conv5 larger
# initial weights (standard deviation 0.03). Small details? Set all biases to 0, draw all weights with standard deviation
# 0.01, and train again, with the same pictures in the same order. Biases and weights change together here, so this
# experiment cannot tell which of them matters; [what breaks AlexNet](../../results/what-breaks-it/README.md) changes one at
# a time.

# %% [markdown] zh
# ## 15 自己动手，让它训练失败
#
# 第 5 节说，conv2、conv4、conv5、fc6 和 fc7 的偏置初值为 1；2012 年的代码还给 conv3 到 conv5 更大的权重初值（标准差 0.03）。
# 这些是无关紧要的细节吗？把所有偏置设为 0、所有权重初值的标准差设为 0.01，用同样的图片、同样的顺序再训练一次。
# 这里偏置和权重同时改变，所以看不出是哪一个起作用；[什么会使 AlexNet 无法训练](../../results/what-breaks-it/README.zh-CN.md)每次只改一处。

# %%
torch.manual_seed(0)
broken = AlexNet(num_classes=10, image_size=64, bias=(0,) * 8, std=(0.01,) * 8)
broken_losses = train(broken)
show({"as trained in 2012": losses, "biases 0, weights 0.01": broken_losses})
print(f"loss of the last 50 steps: {np.mean(broken_losses[-50:]):.4f}; ln 10 = {math.log(10):.4f}")

# %% [markdown] en
# In these 300 steps the loss stays at ln 10. With ten seeds instead of one it did so in all ten ([seeds.py](seeds.py)): the
# mean loss of the last 50 steps was 2.302 to 2.304, and with the constants of 2012 0.447 to 0.709. It need not stay
# there for ever: on Imagenette, `as-written`, whose weights are drawn with 0.01, started learning after 669 to 723 steps
# when its biases were 0 ([what breaks AlexNet](../../results/what-breaks-it/README.md)).
#
# A likely reason: the cell below prints, for each layer before training, the mean value and how much values differ from one
# picture to the next. What tells pictures apart shrinks on the way, and more so in the broken network: in fc7 pictures
# differ by 0.023 with the constants of 2012, and by 0.00024 without. So fc8 has a hundredth of the signal to learn from. No
# gradient is printed here, so the table says nothing of the way back.
#
# The cure depends on the constants: with small weights and biases of 0, bring back the constants of 2012; with biases of 1
# and dropout that doubles in training (`nn.Dropout`), take biases of 0.1 instead.

# %% [markdown] zh
# 这 300 步里，损失停在 ln 10。换十个种子，十次都是如此（[seeds.py](seeds.py)）：最后 50 步的平均损失是 2.302 至 2.304，
# 用 2012 年的常数时是 0.447 至 0.709。但它不一定永远停在那里：在 Imagenette 上，`as-written`（权重的标准差为 0.01）在偏置为 0 时，
# 过了 669 至 723 步才开始学习（[什么会使 AlexNet 无法训练](../../results/what-breaks-it/README.zh-CN.md)）。
#
# 可能的原因：下面一格打印训练之前每一层的平均值，以及不同图片之间相差多少。区分图片的信号一路缩小，训练失败的网络里缩小得更厉害：
# 在 fc7，用 2012 年的常数时图片之间相差 0.023，训练失败的网络只有 0.00024。也就是说，fc8 能用的信号只有百分之一。
# 这里没有打印梯度，所以这张表不能说明反向传播的情况。
#
# 补救办法取决于常数：权重小、偏置为 0 时，恢复 2012 年的常数；偏置为 1 而丢弃法在训练时加倍（`nn.Dropout`）时，把偏置改为 0.1。

# %%
def signal(model):
    """By layer: the mean value after the ReLU, and how much it differs between pictures."""
    some = augment.centre(augment.as_batch(val_images[:100]), 64)
    names = ["relu1", "relu2", "relu3", "relu4", "relu5", "fc6", "fc7"]
    with torch.no_grad():
        return {name: (values.mean().item(), values.std(0).mean().item())
                for name, values in model.eval().activations(some, names).items()}


torch.manual_seed(0)
fresh = {"2012": AlexNet(10, 64), "biases 0, weights 0.01": AlexNet(10, 64, bias=(0,) * 8, std=(0.01,) * 8)}
for name, model in fresh.items():
    model.mean.copy_(augment.centre(mean_image, 64)[None])
    print(f"{name}, before training")
    for layer, (mean_value, spread) in signal(model).items():
        print(f"    {layer:5}  mean {mean_value:9.2g}   differs between pictures by {spread:9.2g}")

# %% [markdown] en
# ## 16 Your own pictures
#
# Everything here in full is in three scripts. A folder with a subfolder for each class is enough:
#
#     python train_alexnet.py --data path/to/images --image-size 128
#     python alexnet_inference.py path/to/pictures
#     python alexnet_visualization.py
#
# The cell below shows samples of this repository to the network. The cup of coffee is none of the ten classes; the network
# must choose one of them nevertheless.
#
# Then: [exercises](../exercises.md), whose answers are checked, and [the paper](../README.md).

# %% [markdown] zh
# ## 16 用你自己的图片
#
# 以上内容的完整版在三个脚本里。一个文件夹，每个类别一个子文件夹，就够了：
#
#     python train_alexnet.py --data path/to/images --image-size 128
#     python alexnet_inference.py path/to/pictures
#     python alexnet_visualization.py
#
# 下面一格把本仓库的样例图片交给网络。咖啡的照片不属于这十类中的任何一类，但网络必须从中选一个。
#
# 接下来：做[练习](../exercises.zh-CN.md)（程序会检查答案），读[论文](../README.zh-CN.md)。

# %%
print("predictions of the network that you have trained:")
for path in samples[::3]:
    with torch.no_grad():
        probability, best = trained(augment.as_batch([square(open_image(path), 64)])).softmax(1)[0].max(0)
    print(f"    {path.name:18} {demo.CLASSES[best]:10} {probability:.0%}")
