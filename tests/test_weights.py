"""Weights in and out: every foreign layout against another computation; what is refused; fine-tuning."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import socket
import sys
import zipfile
from collections import defaultdict, deque
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
import torchvision
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import alexnet_inference
import train_alexnet
from alexnet import AlexNet, checkpoint, foreign, load, onnx_files, weights
from alexnet.augment import as_batch, centre
from alexnet.pack import packed
from alexnet.sources import find_source
from alexnet.files import UserError, fetching, read_json, write_json
from alexnet.layers import Dropout
from alexnet.model import VARIANTS
from alexnet.predict import CLASS_NAMES
from alexnet.recipe import Recipe, freeze, highest_head_rate, make_optimizer
from alexnet.settings import default_head
from alexnet.training import Run
from alexnet.foreign import CAFFE_MEAN, Hints
from conftest import make_folder, run_main, save_picture
from results import fine_tuning
from test_training import settings

HIDDEN = 48     # units of fc6 and fc7 where sixty million parameters prove nothing more
SHAPES = {"conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3),
          "conv4": (384, 192, 3, 3),
          "conv5": (256, 192, 3, 3), "fc6": (HIDDEN, 9216), "fc7": (HIDDEN, HIDDEN), "fc8": (1000, HIDDEN)}


def images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Smooth noise, so that the layers have something to see."""
    small = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed)) * 255
    return F.interpolate(small, (size, size), mode="bicubic").clamp(0, 255)


def assert_close(ours, theirs) -> None:
    ours, theirs = (torch.as_tensor(values).double() for values in (ours, theirs))
    assert ours.shape == theirs.shape and theirs.std() > 0
    assert ((ours - theirs).abs().max() / theirs.abs().max()).item() < 1e-4


@pytest.fixture(scope="module")
def caffe():
    """Caffe's layers with random weights: {"conv1": (weight, bias), ...} in float32, of a size at which
    the normalisations matter."""
    chance = torch.Generator().manual_seed(3)
    layers = {}
    for name, shape in SHAPES.items():
        inputs = int(np.prod(shape[1:]))
        std = 0.05 if name == "conv1" else (2 / inputs) ** 0.5
        weight, bias = torch.randn(shape, generator=chance), torch.randn(shape[0], generator=chance)
        layers[name] = (weight * std, bias * 0.5)
    return layers


def caffe_forward(layers, bgr_images: torch.Tensor, swapped: bool = False) -> torch.Tensor:
    """BVLC's train_val.prototxt in float64, from its text: the logits. bgr_images: less the mean.
    `swapped`: CaffeNet, which pools before it normalises."""
    def conv(x, name, stride=1, pad=0, groups=1):
        weight, bias = (value.double() for value in layers[name])
        parts = [F.conv2d(part, w, stride=stride, padding=pad)
                 for part, w in zip(x.chunk(groups, 1), weight.chunk(groups, 0))]
        return (torch.cat(parts, 1) + bias.view(1, -1, 1, 1)).clamp_min(0)

    def lrn(x):     # local_size 5, alpha 1e-4, beta 0.75, k 1: Caffe divides alpha by local_size
        result = torch.empty_like(x)
        for c in range(x.shape[1]):
            near = x[:, max(0, c - 2):c + 3]
            result[:, c] = x[:, c] / (1 + 1e-4 / 5 * (near ** 2).sum(1)) ** 0.75
        return result

    def pool(x):    # kernel_size 3, stride 2; Caffe rounds the number of windows up
        side = x.shape[-1]
        count = -(-(side - 3) // 2) + 1
        rows = torch.stack([x[:, :, 2 * i:2 * i + 3].amax(2) for i in range(count)], 2)
        return torch.stack([rows[..., 2 * i:2 * i + 3].amax(3) for i in range(count)], 3)

    first, second = (pool, lrn) if swapped else (lrn, pool)
    x = second(first(conv(bgr_images.double(), "conv1", stride=4)))
    x = second(first(conv(x, "conv2", pad=2, groups=2)))
    x = conv(conv(x, "conv3", pad=1), "conv4", pad=1, groups=2)
    x = pool(conv(x, "conv5", pad=1, groups=2)).flatten(1)
    for name in ("fc6", "fc7", "fc8"):
        weight, bias = (value.double() for value in layers[name])
        x = x @ weight.T + bias
        x = x.clamp_min(0) if name != "fc8" else x
    return x


def zoo_file(path, layers, size: int = 224, swapped: bool = False, **constants) -> None:
    """The ONNX model zoo's BVLC AlexNet, as Caffe2's converter laid it out: names like conv1_w_0, weights
    among the inputs, too, a batch of 1, padding where Caffe rounds up, probabilities at the end."""
    nodes, arrays, x = [], {}, "data_0"

    def add(operator, name, inputs=(), **attributes):
        nonlocal x
        nodes.append(helper.make_node(operator, [x, *inputs], [name], **attributes))
        x = name

    def layer(operator, name, **attributes):
        for kind, value in zip("wb", layers[name]):
            arrays[f"{name}_{kind}_0"] = value.numpy()
        add(operator, f"{name}_1", [f"{name}_w_0", f"{name}_b_0"], **attributes)

    norm = {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0, **constants}
    side = size
    shapes = (11, 4, 0, 1), (5, 1, 2, 2), (3, 1, 1, 1), (3, 1, 1, 2), (3, 1, 1, 2)
    for n, (kernel, stride, pad, group) in enumerate(shapes, 1):
        layer("Conv", f"conv{n}", kernel_shape=[kernel] * 2, strides=[stride] * 2,
              pads=[pad] * 4, group=group)
        side = (side + 2 * pad - kernel) // stride + 1
        add("Relu", f"conv{n}_2")
        if n < 3 and not swapped:
            add("LRN", f"norm{n}_1", **norm)
        if n in (1, 2, 5):
            over = (side - 3) % 2
            add("MaxPool", f"pool{n}_1", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, over, over])
            side = (side + over - 3) // 2 + 1
        if n < 3 and swapped:
            add("LRN", f"norm{n}_1", **norm)
    arrays["OC2_DUMMY_1"] = np.array([1, 9216], np.int64)
    add("Reshape", "OC2_DUMMY_0", ["OC2_DUMMY_1"])
    for n in (6, 7, 8):
        layer("Gemm", f"fc{n}", transB=1)
        if n < 8:
            add("Relu", f"fc{n}_2")
            add("Dropout", f"fc{n}_3", ratio=0.5)
    add("Softmax", "prob_1")
    kinds = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("int64"): TensorProto.INT64}
    inputs = [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [1, 3, size, size])]
    inputs += [helper.make_tensor_value_info(name, kinds[array.dtype], array.shape)
               for name, array in arrays.items()]
    outputs = [helper.make_tensor_value_info("prob_1", TensorProto.FLOAT, [1, 1000])]
    graph = helper.make_graph(nodes, "AlexNet", inputs, outputs,
                              [numpy_helper.from_array(array, name) for name, array in arrays.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=3)
    path.write_bytes(model.SerializeToString())


def run_onnx(path, output: str, name: str, values: torch.Tensor) -> np.ndarray:
    """What onnxruntime gives for any value of the graph, an image at a time if it wants."""
    model = onnx.load(path)
    if output not in [value.name for value in model.graph.output]:
        model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([output], {name: values.numpy()})[0]


BGR_MEAN = torch.tensor(CAFFE_MEAN[::-1]).view(1, 3, 1, 1)


# ------------------------------------------------------------------- files of others

@pytest.mark.parametrize("swapped", [False, True], ids=["AlexNet", "CaffeNet"])
def test_the_model_zoos_onnx_gives_the_logits_of_onnxruntime_and_of_caffe(place, caffe, swapped, capsys):
    zoo_file(place / "any name", caffe, swapped=swapped)
    model, pictures = load(place / "any name"), images(2, 224)
    assert (model.variant, model.image_size, model.num_classes) == ("caffe", 224, 1000)
    assert "has no mean: the usual (122.68, 116.67, 104.01)" in capsys.readouterr().err
    centred = pictures.flip(1) - BGR_MEAN
    with torch.no_grad():
        logits = model(pictures)
    theirs = np.concatenate([run_onnx(place / "any name", "fc8_1", "data_0", one[None]) for one in centred])
    assert_close(logits, theirs)
    assert_close(logits, caffe_forward(caffe, centred, swapped))


def test_the_model_zoos_onnx_can_take_the_227_px_that_caffe_trained_with(place, caffe, capsys):
    zoo_file(place / "x.onnx", caffe)
    model, pictures = checkpoint.build(weights.read(place / "x.onnx", Hints(image_size=227))), images(1, 227)
    with torch.no_grad():
        assert_close(model(pictures), caffe_forward(caffe, pictures.flip(1) - BGR_MEAN))


def plain(caffe, prefix="") -> dict[str, torch.Tensor]:
    """A plain PyTorch file's names for the same layers."""
    names = [f"features.{n}" for n in (0, 4, 8, 10, 12)] + [f"classifier.{n}" for n in (1, 4, 6)]
    return {f"{prefix}{name}.{kind}": value for name, layer in zip(names, caffe.values())
            for kind, value in zip(("weight", "bias"), layer)}


@pytest.mark.parametrize("bgr", [True, False])
def test_numbered_keys_with_prefixes_give_caffes_logits_at_227(place, caffe, bgr):
    torch.save({"epoch": 3, "state_dict": plain(caffe, "module.")}, place / "x.tar")
    mean = np.random.default_rng(0).uniform(80, 140, (3, 256, 256)).astype(np.float32)
    np.save(place / "mean.npy", mean)
    model = checkpoint.build(weights.read(place / "x.tar", Hints(bgr=bgr, mean=place / "mean.npy")))
    pictures = images(2, 227)
    seen = (pictures.flip(1) if bgr else pictures) - torch.from_numpy(mean[:, 14:241, 14:241])
    with torch.no_grad():
        assert_close(model(pictures), caffe_forward(caffe, seen))


def test_caffes_shapes_alone_do_not_say_the_order_of_colours(place, caffe):
    safetensors.torch.save_file(plain(caffe), place / "x.bin")
    with pytest.raises(UserError, match=r"--bgr \(Caffe's order\) or --rgb"):
        load(place / "x.bin")
    model = checkpoint.build(weights.read(place / "x.bin", Hints(bgr=False)))
    assert torch.equal(model.conv1.weight, caffe["conv1"][0]) and model.image_size == 227


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    return torchvision.models.alexnet(num_classes=5).eval()


@pytest.mark.parametrize("form", ["archive", "old pickle", "parallel", "safetensors", "under ema",
                                  "other names"])
def test_torchvisions_file_gives_torchvisions_logits(place, theirs, form):
    state = theirs.state_dict()
    if form == "parallel":      # pytorch/examples wraps the features only
        inside = {name.replace("features.", "features.module."): value for name, value in state.items()}
        state = {"state_dict": inside}
    if form == "under ema":
        state = {"ema": state, "epoch": 3}
    if form == "other names":   # whose alphabetical order is not the network's
        names = {"classifier.1": "fc1", "classifier.4": "fc2", "classifier.6": "classifier"}
        state = {f"{names.get(name.rpartition('.')[0], name.rpartition('.')[0])}.{name.rpartition('.')[2]}": value
                 for name, value in state.items()}
    if form == "safetensors":
        safetensors.torch.save_file(state, place / "x.pth")
    else:
        torch.save(state, place / "x.pth", _use_new_zipfile_serialization=form != "old pickle")
    model, pictures = load(place / "x.pth"), images(2, 224)
    mean, std = (torch.tensor(values).view(3, 1, 1)
                 for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        assert_close(model(pictures), theirs((pictures / 255 - mean) / std))
    assert model.variant == "torchvision" and model.classes == ["0", "1", "2", "3", "4"]


def test_a_sigmoid_head_answers_with_its_sigmoid_for_two_classes(place, theirs, capsys):
    state = {name: value[:1] if name.startswith("classifier.6") else value
             for name, value in theirs.state_dict().items()}
    torch.save(state, place / "one.pth")
    (place / "names.txt").write_text("no\nyes\n")
    model = checkpoint.build(weights.read(place / "one.pth", Hints(classes=place / "names.txt")))
    pictures = images(2, 224)
    assert "one output: its sigmoid is" in capsys.readouterr().err and model.classes == ["no", "yes"]
    mean, std = (torch.tensor(values).view(3, 1, 1)
                 for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        assert_close(model(pictures).softmax(1)[:, 1], theirs((pictures / 255 - mean) / std)[:, 0].sigmoid())


def test_what_a_network_has_not_is_refused():
    model = AlexNet(3, 36, hidden=8)
    model.classes = ["a", "b", "c"]
    for extra in (torch.zeros(2), torch.zeros(2, dtype=torch.int64), 5):
        content = checkpoint.about(model, {})
        content["model"] = {**model.state_dict(), "conv6.weight": extra}
        with pytest.raises(UserError, match="does not fit the network .* which has no conv6.weight"):
            checkpoint.check(content, Path("odd"))


def test_weights_that_are_nan_or_infinite_in_our_32_bits_are_refused():
    model = AlexNet(3, 36, hidden=8)
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    content = {**checkpoint.about(model, {}), "model": state, "classes": ["a", "b", "c"]}
    for value in (1e30, np.nan, np.inf, -1e39):
        state["conv2.weight"][3, 2, 1, 0] = value
        if value == 1e30:
            checkpoint.check(content, Path("fine"))
            continue
        with pytest.raises(UserError, match="conv2.weight holds NaN or infinity"):
            checkpoint.check(content, Path("bad"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_class_names_are_read_in_every_encoding_of_unicode(tmp_path, encoding):
    path = tmp_path / "names.txt"
    path.write_bytes("猫\r\nStraße\r\n\r\nsea side\r\n".encode(encoding))
    assert foreign.class_names(3, Path("x.pt"), Hints(classes=path), {}) == ["猫", "Straße", "sea side"]
    for content, reason in (("蚂蚁\n".encode("gbk"), "not UTF-8 .line 1.: save it as UTF-8"),
                            (b"\x89PNG\r\n\x1a\n\0", "not a text")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"--classes .*names.txt is {reason}"):
            foreign.class_names(1, Path("x.pt"), Hints(classes=path), {})


def test_what_training_scripts_save_beside_the_weights_is_neither_run_nor_in_the_way(
        place, theirs, monkeypatch):
    """torchvision's references/classification/train.py; numpy's numbers; a line that a loader would run."""
    class Evil:
        def __reduce__(self):
            return eval, (f"open({str(place / 'evil')!r}, 'w')",)
    options = Namespace(model="alexnet", device=torch.device("cpu"), output_dir=place)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1).state_dict()
    torch.save({"model": theirs.state_dict(), "optimizer": optimizer, "lr_scheduler": {}, "epoch": 1,
                "args": options,
                "best": np.float64(0.5), "curve": np.zeros(3), "evil": Evil(),
                "history": defaultdict(list, loss=[1.0]), "last": deque([1.0])}, place / "x.pth")
    for ours, other in zip(load(place / "x.pth").parameters(), theirs.parameters(), strict=True):
        assert torch.equal(ours, other)
    assert not (place / "evil").exists()


def test_what_lies_beside_a_whole_alexnet_is_left_out_and_said(place, theirs, capsys):
    state = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    more = {"n_averaged": torch.tensor(3), "criterion.weight": torch.ones(5),
            "metrics.confmat": torch.zeros(5, 5)}
    torch.save({"state_dict": {**state, **more}}, place / "x.ckpt")
    assert torch.equal(load(place / "x.ckpt").fc8.weight, theirs.classifier[6].weight)
    normalised, left_out = capsys.readouterr().err.splitlines()
    assert "does not say how its training normalised images: ImageNet's" in normalised
    assert left_out == (f"warning: {place / 'x.ckpt'} has more than an AlexNet's weights; left out: "
                        "criterion.weight, metrics.confmat, n_averaged")


@pytest.mark.parametrize("key,given", [
    ("classes", list("badec")), ("class_to_idx", dict(a=1, b=0, c=4, d=2, e=3)),
    ("id2label", dict(enumerate("badec"))),
    ("id2label", {str(number): name for number, name in enumerate("badec")})], ids=str)
def test_names_of_classes_in_the_file_or_the_hubs_folder_are_taken(place, capsys, key, given):
    state = AlexNet(5, 224, "torchvision", hidden=8).state_dict()
    del state["mean"]
    torch.save({"net": state, key: given}, place / "x.pth")
    assert load(place / "x.pth").classes == list("badec")
    safetensors.torch.save_file(state, place / "model.safetensors")
    write_json(place / "config.json", {key: given})
    assert load(place).classes == load(place / "model.safetensors").classes == list("badec")
    assert all("normalised images" in line for line in capsys.readouterr().err.splitlines())
    write_json(place / "config.json", {key: list("abca") + ["b"]})
    assert load(place).classes == list("01234")
    assert f"what {key} gives are not 5 different names" in capsys.readouterr().err
    (place / "config.json").write_text("{")
    assert load(place).classes == list("01234")


def test_the_line_for_a_whole_network_of_ours_makes_a_file_that_is_read(place, capsys):
    model = ours(64, "as-trained")
    for name, whole in (("x.pt", model), ("traced.pt", torch.jit.trace(model, images(1, 64)))):
        torch.save(model, place / name) if whole is model else whole.save(place / name)
        _, _, err = call(capsys, place / name)
        exec(err.partition("read here: ")[2].replace("'new.pth'", repr(str(place / f"new-{name}"))))
        content = weights.read(place / f"new-{name}", Hints(variant="as-trained"))
        with torch.no_grad():
            assert torch.equal(checkpoint.build(content)(images(2, 64)), model(images(2, 64)))


# ------------------------------------------------------------------- ours to others

def ours(size: int, variant: str, **changes) -> AlexNet:
    torch.manual_seed(1)
    model = AlexNet(7, size, variant, **{"hidden": HIDDEN, **changes}).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            std = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.5
            parameter.copy_(torch.randn_like(parameter) * std)
        model.conv1.weight *= 0.7
        model.mean += torch.rand_like(model.mean) * 20 + 90
    model.classes = [f"class {index}" for index in range(7)]
    return model


CASES = [(size, variant, {}) for size in (64, 224) for variant in VARIANTS] + [
    (64, "as-trained", {"columns": "half"}), (63, "as-trained", {"pooling": "2x2", "activation": "tanh"}),
    (97, "as-written", {"without": "conv3", "activation": "sigmoid"}),
    (64, "as-trained", {"lrn": "none", "dropout": "none"}), (128, "as-trained", {"conv6": 32})]


@pytest.mark.parametrize("size,variant,changes", CASES, ids=lambda value: str(value))
def test_onnx_gives_our_logits_and_comes_back_bitwise(place, size, variant, changes):
    model = ours(size, variant, **changes)
    onnx_files.save_onnx(place / "x.onnx", model, {"epoch": 3})
    for count in (1, 5):
        pictures = images(count, size, count)
        with torch.no_grad():
            assert_close(run_onnx(place / "x.onnx", "logits", "images", pictures), model(pictures))
    content = weights.read(place / "x.onnx")
    again = checkpoint.build(content)
    assert again.design == model.design and again.classes == model.classes
    assert content["facts"] == {"epoch": 3}
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_intermediate_values_in_onnx_have_our_names(place):
    model = ours(64, "as-trained")
    onnx_files.save_onnx(place / "x.onnx", model, {})
    for name in ("norm1", "mapnorm2", "pool5"):
        with torch.no_grad():
            found = run_onnx(place / "x.onnx", name, "images", images(2, 64))
            assert_close(found, model.activations(images(2, 64), [name])[name])


def test_an_onnx_file_that_computes_something_else_is_not_kept(place, monkeypatch):
    step = onnx_files.onnx_step

    def wrong(layer, model):
        operator, attributes = step(layer, model)
        return operator, {**attributes, "alpha": attributes["alpha"] * 5} if operator == "LRN" else attributes
    monkeypatch.setattr(onnx_files, "onnx_step", wrong)
    with pytest.raises(UserError, match="computes other logits"):
        onnx_files.save_onnx(place / "x.onnx", ours(64, "as-written"), {})
    assert list(place.iterdir()) == []


def test_torchvisions_layout_and_safetensors_come_back_bitwise(place):
    torch.manual_seed(2)
    for name, model in (("x.pth", AlexNet(3, 224, "torchvision")), ("x.safetensors", ours(64, "as-trained"))):
        weights.convert({**checkpoint.about(model, {}), "model": model.state_dict()}, place / name)
        again = load(place / name)
        assert again.design == model.design
        assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    with torch.device("meta"):
        theirs = torchvision.models.alexnet(num_classes=3)
    theirs.load_state_dict(torch.load(place / "x.pth", weights_only=True), assign=True)


def test_safetensors_are_known_whatever_the_length_of_their_header(place):
    """One length of 32 begins with 0x80, as a pickle does."""
    model, first = AlexNet(2, 64, hidden=8), set()
    for more in range(0, 256, 8):
        model.classes = ["a", "b" * (1 + more)]
        weights.save_safetensors(place / "x.safetensors", model, {})
        first.add((place / "x.safetensors").read_bytes()[0])
        assert load(place / "x.safetensors").classes == model.classes
    assert 0x80 in first


@pytest.mark.parametrize("change, message", [
    (lambda model: setattr(model, "fc8", torch.nn.Linear(8, 5)), "fc8.weight is 5 x 8, not 7 x 8"),
    (lambda model: setattr(model, "classes", list(range(7))), "classes must be a list of names"),
    (lambda model: setattr(model, "classes", list("abc")), "fc8.weight is 7 x 8, not 3 x 8"),
    (lambda model: setattr(model, "fc8", torch.nn.Sequential(model.fc8)), "which has no fc8.0.weight")])
def test_a_network_that_could_not_be_read_again_is_not_saved(place, change, message):
    model = AlexNet(7, 64, hidden=8)
    change(model)
    with pytest.raises(UserError, match=message):
        checkpoint.save(place / "x.pt", model, {})
    assert not list(place.iterdir())


def test_facts_become_plain_values_or_are_refused(place):
    checkpoint.save(place / "x.pt", AlexNet(2, 64, hidden=8), {"error": np.float64(0.25), "pair": (1, 2)})
    assert checkpoint.read(place / "x.pt")["facts"] == {"error": 0.25, "pair": [1, 2]}
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoint.save(place / "y.pt", AlexNet(2, 64, hidden=8), {"error": torch.tensor(0.25)})
    assert not (place / "y.pt").exists()


def test_a_network_in_training_mode_is_not_exported(place):
    with pytest.raises(ValueError, match="eval"):
        onnx_files.save_onnx(place / "x.onnx", AlexNet(2, 64, hidden=8).train(), {})
    assert not list(place.iterdir())


def test_the_torchvision_layout_is_refused_where_it_does_not_fit(place):
    for model, message in ((AlexNet(2, 224, "as-trained", hidden=8), "only the variant torchvision"),
                           (AlexNet(2, 64, "torchvision"),
                            "fc6 is 4096 x 256 at 64 px, torchvision's is 4096 x 9216")):
        with pytest.raises(UserError, match=message):
            weights.save_torchvision(place / "x.pth", model, {})


# ------------------------------------------------------------------- wrong and hostile files

class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-was-here",)


def call(capsys, *arguments, main=weights.main) -> tuple[int, str, str]:
    return run_main(main, capsys, *arguments)


def small_state() -> dict[str, torch.Tensor]:
    return AlexNet(2, 36, hidden=4).state_dict()


def our_file(path, **changes) -> None:
    content = {"format": "alexnet", "version": 1, "variant": "as-trained", "changes": {"hidden": 4},
               "image_size": 36,
               "classes": ["a", "b"], "facts": {}, "model": small_state()}
    torch.save({**content, **changes}, path)


def bomb(path) -> None:
    our_file(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/99", bytes(200_000_000))


def cut(write, path) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])


def picture(path) -> None:
    save_picture(path.with_suffix(".png"), 0).rename(path)


def expanded(path) -> None:     # a tensor that claims a terabyte and has four bytes
    state = plain({name: (torch.zeros(1).expand(shape), torch.zeros(shape[0]))
                   for name, shape in SHAPES.items()})
    torch.save({**state, "classifier.1.weight": torch.zeros(1).expand(10 ** 8, 9216)}, path)


def exported(path) -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, path.with_suffix(".pt2"))
    path.with_suffix(".pt2").rename(path)


def zipped(path) -> None:
    our_file(path.with_suffix(".pt"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".pt"), "best.pt")
    path.with_suffix(".pt").unlink()


def arrays(path) -> None:
    np.savez(path.with_suffix(".npz"), weight=np.zeros(3))
    path.with_suffix(".npz").rename(path)


def resnet(path) -> None:
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), path)


def zoo_with(path, caffe, change) -> None:
    zoo_file(path, caffe)
    model = onnx.load(path)
    change(model.graph)
    path.write_bytes(model.SerializeToString())


def elsewhere(graph) -> None:   # weights in another file: any file of the machine
    tensor = graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def another_group(graph) -> None:
    node = [node for node in graph.node if node.op_type == "Conv"][3]
    next(attribute for attribute in node.attribute if attribute.name == "group").i = 1


def another_type(graph) -> None:
    node = next(node for node in graph.node if node.op_type == "LRN")
    attribute = next(attribute for attribute in node.attribute if attribute.name == "alpha")
    attribute.CopyFrom(helper.make_attribute("alpha", "a lot"))


def odd_widths(path) -> None:
    state = small_state()
    del state["mean"]
    state["conv2.weight"], state["conv2.bias"] = torch.zeros(255, 48, 5, 5), torch.zeros(255)
    torch.save(state, path)


def quantised(graph) -> None:
    graph.node[0].op_type = "QLinearConv"


def short_shape(graph) -> None:
    graph.initializer[0].dims[0] = 10 ** 9


HOSTILE = {
    "code": (lambda path, caffe: torch.save({"state_dict": Evil()}, path), "holds more than tensors"),
    "whole model": (lambda path, caffe: torch.save(AlexNet(2, 36, hidden=4), path),
                    "of the class alexnet.model.AlexNet, which is not run; where that class is known, and if "
                    "you trust the file, this line of Python makes a file that is read here: "
                    "torch.save(torch.load('file.pth', weights_only=False).state_dict(), 'new.pth')"),
    "whole model inside": (lambda path, caffe: torch.save(
                               {"epoch": 3, "model": torch.nn.DataParallel(torch.nn.Flatten())}, path),
                           "weights_only=False)['model'].state_dict()"),
    "TorchScript": (lambda path, caffe: torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(path),
                    "is TorchScript, a program; this line of Python makes a file that is read here: "
                    "torch.save(torch.jit.load('file.pth').state_dict(), 'new.pth')"),
    "exported": (lambda path, caffe: exported(path),
                 "torch.save(torch.export.load('file.pth').state_dict, 'new.pth')"),
    "arrays": (lambda path, caffe: torch.save({"state_dict": {"conv1.weight": np.zeros(3)}}, path),
               "torch.as_tensor(value) for name, value in "
               "torch.load('file.pth', weights_only=False)['state_dict'].items()"),
    "numpy's": (lambda path, caffe: arrays(path), "is numpy's archive; this line"),
    "old form": (lambda path, caffe: torch.save({"model": small_state(), "args": Namespace()}, path,
                                                _use_new_zipfile_serialization=False),
                 "torch's old form; if you trust it, this line"),
    "our names": (lambda path, caffe: torch.save(small_state(), path),
                  "does not say which variant it is: python -m alexnet.weights file.pth NEW.pt --variant"),
    **{name: (lambda path, caffe, name=name: torch.save({**plain(caffe), name: torch.ones(9)}, path),
              f"and {name}") for name in ("features.1.weight", "features.13.gamma", "bn.bias")},
    "bomb": (lambda path, caffe: bomb(path), "would unpack to more than its own size"),
    "picture": (lambda path, caffe: picture(path), "is no checkpoint: neither"),
    "empty": (lambda path, caffe: path.write_bytes(b""), "is empty"),
    "zipped": (lambda path, caffe: zipped(path), "is an archive (best.pt): unpack it"),
    "Git LFS": (lambda path, caffe: path.write_text("version https://git-lfs.github.com/spec/v1\n"
                                                     "oid sha256:4d7a"),
                "is a text, not a network (was it downloaded?): version https://git-lfs"),
    "cut": (lambda path, caffe: cut(our_file, path), "is damaged or no checkpoint"),
    "cut safetensors": (lambda path, caffe: cut(lambda p: safetensors.torch.save_file(plain(caffe), p), path),
                        "is damaged"),
    "cut onnx": (lambda path, caffe: cut(lambda p: zoo_file(p, caffe), path), "is damaged or no checkpoint"),
    "nothing": (lambda path, caffe: torch.save({"state_dict": {}}, path), "is not a checkpoint of this"),
    "code in ours": (lambda path, caffe: our_file(path, model=Evil()), "holds more than tensors"),
    "resnet": (lambda path, caffe: resnet(path), "holds no AlexNet: 20 convolution"),
    "a list": (lambda path, caffe: torch.save([1, 2], path), "holds no state dict, but a list"),
    "wrong classes": (lambda path, caffe: our_file(path, classes=["a", "b", "c"]),
                      "fc8.weight is 2 x 4, not 3 x 4"),
    "huge": (lambda path, caffe: our_file(path, image_size=10 ** 6),
             "mean is 1 x 3 x 36 x 36, not 1 x 3 x 1000000 x"),
    "no sense": (lambda path, caffe: our_file(path, changes={"hidden": "many"}),
                 "does not describe a network"),
    "no facts": (lambda path, caffe: our_file(path, facts=3), "does not describe a network"),
    "newer": (lambda path, caffe: our_file(path, version=99), "newer version"),
    "expanded": (lambda path, caffe: expanded(path), "not plain floating-point numbers"),
    "elsewhere": (lambda path, caffe: zoo_with(path, caffe, elsewhere), "must be one file"),
    "groups": (lambda path, caffe: zoo_with(path, caffe, another_group), "group of conv4 is 1, not 2"),
    "type": (lambda path, caffe: zoo_with(path, caffe, another_type), "is not Caffe's AlexNet (TypeError"),
    "widths": (lambda path, caffe: odd_widths(path),
               "255-384-384-256 feature maps, conv2 sees 48 of conv1's"),
    "notes": (lambda path, caffe: our_file(path, notes=3, version=99), "newer version"),
    "quantised": (lambda path, caffe: zoo_with(path, caffe, quantised), "bvlcalexnet-12.onnx is the one"),
    "short": (lambda path, caffe: zoo_with(path, caffe, short_shape), "is damaged: conv1_w_0"),
    "LRN": (lambda path, caffe: zoo_file(path, caffe, size=224, beta=0.5), "beta of norm1 is 0.5, not 0.75"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_wrong_files_get_one_line_and_nothing_is_run_or_written(capsys, place, monkeypatch, caffe, name):
    monkeypatch.chdir(place)
    write, message = HOSTILE[name]
    write(place / "file.pth", caffe)
    before = sorted(path.name for path in place.iterdir())
    status, out, err = call(capsys, "file.pth", "new.pt")
    assert (status, out) == (2, "") and err.count("\n") == 1 and message in err and "Traceback" not in err
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize("options,message", [
    (["--classes", "names.txt"], "has 3 names, 3 of them different; x.pth has 2 classes"),
    (["--mean", "bad.npy"], "is no .npy file"), (["--mean", "small.npy"], "--mean small.npy is 3 x 9 x 9"),
    (["--image-size", "64"], "fc6 is 8 x 9216, with 64 px it would be 8 x 256; python -m alexnet.weights x.pth "
                             "NEW.pt --image-size 224 makes a checkpoint that fits"),
    (["--variant", "caffe"], "--bgr")])
def test_options_that_do_not_fit_get_one_line(capsys, place, monkeypatch, options, message):
    monkeypatch.chdir(place)
    model = AlexNet(2, 224, "torchvision", hidden=8)
    torch.save({name: value for name, value in model.state_dict().items() if name != "mean"}, "x.pth")
    (place / "names.txt").write_text("a\nb\nc\n")
    (place / "bad.npy").write_bytes(b"no")
    np.save("small.npy", np.zeros((3, 9, 9)))
    status, out, err = call(capsys, "x.pth", "new.pt", *options)
    assert (status, out) == (2, "") and err.count("\n") == 1 and message in err
    assert not (place / "new.pt").exists()


def test_a_destination_that_is_there_stays_as_it_is(capsys, place):
    our_file(place / "x.pt")
    (place / "y.onnx").write_text("precious")
    status, _, err = call(capsys, place / "x.pt", place / "y.onnx")
    assert status == 2 and "is there already" in err and (place / "y.onnx").read_text() == "precious"
    assert call(capsys, place / "x.pt", place / "y.zip")[0] == 2
    assert "only other people's files take options" in call(capsys, place / "x.pt", "--bgr")[2]


def test_a_description_says_what_one_wants_to_know(capsys, place):
    model = ours(64, "as-trained")
    checkpoint.save(place / "x.pt", model, {"data": "photos", "epoch": 3, "epochs": 9, "batch_size": 16,
                                            "lr": 0.01, "val_top1_error": 0.25, "val_top5_error": 0.125})
    status, out, err = call(capsys, place / "x.pt")
    assert (status, err) == (0, "")
    for text in ("as-trained, hidden 48, 64 px, 7 classes (class 0, class 1, class 2 ...)",
                 "trained on photos: 3 of 9 epochs",
                 "top-1 25.00%, top-5 12.50%", "fc6", "96 x 15 x 15"):
        assert text in out


def test_a_thousand_classes_are_imagenets_in_inference(capsys, place):
    state = AlexNet(1000, 224, "torchvision", hidden=8).state_dict()
    torch.save({name: value for name, value in state.items() if name != "mean"}, place / "alexnet.pth")
    save_picture(place / "a.png", 0)
    status, out, err = call(capsys, place / "a.png", "--model", place / "alexnet.pth",
                            "--output", place / "a.csv",
                            "--names", "en", main=alexnet_inference.main)
    assert (status, err) == (0, "")
    row, = csv.DictReader(open(place / "a.csv"))
    names = [line["english"] for line in csv.DictReader(open(CLASS_NAMES, encoding="utf-8"))]
    assert row["class_1"] in names
    assert load(place / "alexnet.pth").classes[:2] == ["n01440764", "n01443537"]


def test_a_missing_package_is_named_and_nothing_else_needs_it(capsys, place, monkeypatch):
    our_file(place / "x.pt")
    for name in ("onnx", "onnxruntime", "safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    assert call(capsys, place / "x.pt")[0] == 0
    for suffix, package in ((".onnx", "onnx"), (".safetensors", "safetensors")):
        status, _, err = call(capsys, place / "x.pt", place / f"y{suffix}")
        assert status == 2 and f"pip install {package}" in err and err.count("\n") == 1


# ------------------------------------------------------------------- torchvision's own

@pytest.fixture
def published(place, monkeypatch):
    """A server's file of torchvision's layout under a name with its hash; an empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(place / "home"))
    state = AlexNet(2, 224, "torchvision", hidden=8).state_dict()
    del state["mean"]
    torch.save(state, place / "x")
    digest = hashlib.sha256((place / "x").read_bytes()).hexdigest()
    path = (place / "x").rename(place / f"alexnet-owt-{digest[:8]}.pth")
    default = SimpleNamespace(url=path.as_uri())
    monkeypatch.setattr(torchvision.models, "AlexNet_Weights", SimpleNamespace(DEFAULT=default))
    return path


def test_pretrained_is_fetched_once_and_its_hash_checked(place, published, capsys):
    assert load("pretrained").variant == "torchvision"
    kept = place / "home/hub/checkpoints" / published.name
    assert kept.read_bytes() == published.read_bytes()
    published.unlink()
    assert load("pretrained").variant == "torchvision"
    kept.write_bytes(kept.read_bytes() + b" ")
    with pytest.raises(UserError, match="is not torchvision's file: its SHA-256 begins with"):
        load("pretrained")


def test_a_download_that_falls_silent_ends_in_a_line(place, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(place / "home"))
    monkeypatch.setattr(weights, "fetching", partial(fetching, 0.2))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:   # takes the question, and never answers
        default = SimpleNamespace(url=f"http://127.0.0.1:{silent.getsockname()[1]}/alexnet-owt-00000000.pth")
        monkeypatch.setattr(torchvision.models, "AlexNet_Weights", SimpleNamespace(DEFAULT=default))
        with pytest.raises(UserError, match="cannot be fetched .*timed out"):
            load("pretrained")
    assert socket.getdefaulttimeout() is None


def test_pretrained_without_a_network_says_which_file_goes_where(capsys, place, published):
    published.unlink()
    status, _, err = call(capsys, "pretrained")
    err = "".join(line for line in err.splitlines(True)
                  if not line.startswith("Downloading"))   # torch 2.6 says so
    assert status == 2 and err.count("\n") == 1
    assert f"put it at {place}/home/hub/checkpoints/{published.name}" in err and "get file://" in err


# ------------------------------------------------------------------- fine-tuning

SIZE = 36


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp("tuning")
    make_folder(place / "new", {"train/moon": 24, "train/ring": 24, "train/disc": 24,
                                "val/moon": 5, "val/ring": 5, "val/disc": 5})
    torch.manual_seed(5)
    model = AlexNet(2, SIZE, hidden=64)
    model.classes = ["star", "stripes"]
    model.mean.uniform_(100, 150)
    checkpoint.save(place / "old.pt", model, {})
    return place


def tune(capsys, data, out, *more):
    return call(capsys, "--data", data / "new", "--cache", data / "cache", "--weights", data / "old.pt",
                "--out", out, "--device", "cpu", "--epochs", 2, *more, main=train_alexnet.main)


def test_fine_tuning_keeps_all_but_fc8_and_a_frozen_part_bitwise(capsys, data, place):
    status, out, err = tune(capsys, data, place / "run", "--freeze", "conv5")
    assert status == 0 and all("no better than always" in line for line in err.splitlines())
    assert "fc8 is new" in out and "frozen: all up to conv5" in out
    old, new = load(data / "old.pt"), load(place / "run/last.pt")
    assert new.classes == ["disc", "moon", "ring"] and new.design == old.design
    same = {name for name, value in new.state_dict().items()
            if value.shape == old.state_dict()[name].shape and torch.equal(value, old.state_dict()[name])}
    assert same == {"mean"} | {name for name in new.state_dict() if name.startswith("conv")}
    content = torch.load(place / "run/last.pt", weights_only=True)
    assert len(content["optimizer"]["state"]) == 6      # momentum for fc6, fc7, fc8 only
    chosen = read_json(place / "run/config.json")["settings"]
    assert chosen["freeze"] == "conv5" and chosen["changes"] == {"hidden": 64}
    assert chosen["image_size"] == SIZE


def test_a_frozen_part_costs_no_gradients():
    model = AlexNet(3, SIZE, hidden=16)
    freeze(model, "conv5")
    with_gradient = []
    for name in ("pool5", "fc6"):
        getattr(model, name).register_forward_hook(
            lambda module, inputs, result: with_gradient.append(result.requires_grad))
    model(images(2, SIZE)).sum().backward()
    assert with_gradient == [False, True]
    assert {name for name, p in model.named_parameters() if p.grad is None} == {
        f"conv{n}.{what}" for n in range(1, 6) for what in ("weight", "bias")}


def test_the_head_has_a_rate_of_its_own():
    groups = make_optimizer(AlexNet(3, SIZE, hidden=16), Recipe(), 10.0).param_groups
    factors = {tuple(p.shape): group["factor"] for group in groups for p in group["params"]}
    assert (factors[3, 16], factors[3,], factors[16, 16], factors[16,]) == (10, 20, 1, 2)
    plain = make_optimizer(AlexNet(3, SIZE, hidden=16), Recipe())
    assert len(plain.param_groups) == 4   # as in runs of before


def test_the_same_classes_keep_fc8(data):
    pack = packed(find_source(str(data / "new")), SIZE, data / "cache", quiet=True)
    start = weights.read(data / "old.pt")
    model = AlexNet(3, SIZE, hidden=64)
    for classes in (pack.classes, ["other", "names", "here"]):
        content = {**start, "classes": classes, "model": model.state_dict()}
        run = Run(None, settings(changes={"hidden": 64}), pack, torch.device("cpu"), start=content)
        assert torch.equal(run.model.fc8.weight, model.fc8.weight) == (classes == pack.classes)
        assert torch.equal(run.model.fc7.weight, model.fc7.weight)


def test_a_stopped_fine_tuning_goes_on_without_the_weights_file(capsys, data, place):
    shutil.copy(data / "old.pt", place / "w.pt")
    same = "--weights", place / "w.pt", "--freeze", "conv2", "--schedule", "constant"
    straight = tune(capsys, data, place / "straight", *same)
    tune(capsys, data, place / "run", *same, "--epochs", 1)
    (place / "w.pt").unlink()
    again = "--resume", place / "run", "--epochs", 2, "--device", "cpu"
    status, out, err = call(capsys, *again, main=train_alexnet.main)
    assert (status, straight[0]) == (0, 0) and "frozen: all up to conv2" in out
    one, two = (torch.load(place / name / "last.pt", weights_only=True)["model"]
                for name in ("run", "straight"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    status, _, err = call(capsys, "--resume", place / "run", "--freeze", "conv3", main=train_alexnet.main)
    assert status == 2 and "--freeze conv3 (was conv2)" in err


@pytest.mark.parametrize("options,message", [
    (["--variant", "caffe"], "leave --variant out"), (["--head-lr", "0"], "--head-lr must be above 0"),
    (["--image-size", "64"], "made for 36 px (so is its mean image); leave --image-size out"),
    (["--image-size", "128"],
     "(its fc6 is 64 x 256, with 128 px it would be 64 x 2304); leave --image-size out"),
    (["--weights", "nowhere"], "there is no checkpoint nowhere")])
def test_contradictions_of_the_weights_get_one_line(capsys, data, place, options, message):
    status, _, err = tune(capsys, data, place / "run", *options)
    assert status == 2 and message in err and err.count("\n") == 1 and not (place / "run").exists()


def test_freeze_needs_weights(capsys, data, place):
    status, _, err = call(capsys, "--freeze", "conv5", "--out", place / "run", main=train_alexnet.main)
    assert status == 2 and "need --weights" in err


def test_the_heads_limit_is_where_its_descent_turns_unstable(data):
    """fc8 alone, on the values that the network gives it; small weights, balanced labels."""
    pack = packed(find_source(str(data / "new")), SIZE, data / "cache", quiet=True)
    model = load(data / "old.pt")
    limit = highest_head_rate(model, pack, Recipe(bias_rate=0.0))
    crops = centre(as_batch(pack.images["train"]), SIZE)
    with torch.no_grad():
        h = model.activations(crops, ["fc7"])["fc7"].double() * Dropout.keep
    labels = torch.from_numpy(pack.labels["train"])

    def grows(rate: float) -> bool:
        """Whether a tiny step along the steepest direction is larger after sixty steps: the Hessian at
        equal probabilities is (h h^T) times (1/C - 1/C^2), its curvature 1/C along differences."""
        direction = torch.linalg.svd(h / len(h) ** 0.5)[2][0]
        weight = torch.outer(torch.tensor([1.0, -1, 0], dtype=torch.float64), direction) * 1e-6
        bend = lambda w: ((h @ w.T) / 3).T @ h / len(h)     # noqa: E731
        v, start = torch.zeros_like(weight), weight.norm()
        for _ in range(80):
            v = 0.9 * v - rate * bend(weight)
            weight = weight + v
        return bool(weight.norm() > start)
    assert len(labels) == 72 and not grows(limit * 0.97) and grows(limit * 1.03)


def test_the_default_rate_of_a_new_fc8_is_lowered_where_its_first_steps_allow_less(data, monkeypatch):
    pack = packed(find_source(str(data / "new")), SIZE, data / "cache", quiet=True)
    start = weights.read(data / "old.pt")
    limits = iter((0.02, 0.002, 0.002))
    monkeypatch.setattr("alexnet.settings.highest_head_rate", lambda *_: next(limits))
    assert [default_head({**start, "classes": classes}, pack, Recipe(), 0.003)
            for classes in (["a", "b"], ["a", "b"], pack.classes)] == [1.0, 0.33, 1.0]


def test_the_table_and_plot_of_fine_tuning_come_from_the_json_files(place, capsys):
    settings = {"image_size": 64, "epochs": 2, "batch_size": 32, "lr": 0.003,
                "head_lr": 1.0, "freeze": None, "variant": "as-trained"}
    shared = {"settings": settings, "images": {"train": 150, "val": 90}, "seconds": 5.0, "date": "2012-09-13",
              "surroundings": {"cores": 2, "device": "cpu", "computed_in": "float32", "torch": "2"}}
    write_json(place / "first.json", {**shared, "classes": ["a", "b"], "errors": [0.5, 0.25]})
    for seed, last in ((0, 0.25), (1, 0.5)):
        for kind in fine_tuning.KINDS:
            write_json(place / f"{kind}-{seed}.json", {**shared, "kind": kind, "pictures": 50, "seed": seed,
                                                       "classes": ["c", "d", "e"], "errors": [0.75, last]})
    fine_tuning.report(place)
    text = (place / "README.md").read_text()
    assert "| 50 | fine-tuned | 37.5% | 25.0% to 50.0% | 5 | 2 | 32 | 0.003 | 1 | 0, 1 |" in text
    assert " 2012-09-13, 2 cores" in text and "learnt a, b in 2 epochs (25.0%" in text
    assert "| 50 | 微调 | 37.5% | 25.0% 至 50.0% | 5 | 2 | 32 | 0.003 | 1 | 0、1 |" in (
        place / "README.zh-CN.md").read_text()
    assert Image.open(place / "errors.png").size == (2000, 800)


@pytest.mark.parametrize("variant", ["as-trained", "torchvision"])
def test_a_built_network_shares_nothing_with_the_file_and_computes_in_32_bits(variant):
    torch.manual_seed(0)
    model = AlexNet(3, 64, variant, hidden=16).eval()
    halves = {name: tensor.half() for name, tensor in model.state_dict().items()}
    model.load_state_dict(halves)   # values that 16 bits hold
    given = {name: torch.nn.Parameter(tensor.half()) for name, tensor in model.state_dict().items()}
    content = {**checkpoint.about(model, {}), "model": given}
    built = checkpoint.build(content)
    images = torch.randint(0, 256, (2, 3, 64, 64))
    assert torch.equal(built(images), model(images)) and not built.training
    assert [name for name, _ in built.named_parameters()] == [name for name, _ in model.named_parameters()]
    for parameter in built.parameters():
        assert parameter.is_leaf and parameter.requires_grad
        assert parameter.dtype == torch.float32 and parameter.is_contiguous()
    with torch.no_grad():
        built.conv1.weight.zero_()
    assert torch.equal(given["conv1.weight"], model.conv1.weight.half())


# ------------------------------------------------------------------- promises that no other test holds

def test_weights_in_whole_numbers_are_refused(place, theirs):
    state = {name: (value * 100).round().to(torch.int8) for name, value in theirs.state_dict().items()}
    torch.save(state, place / "x.pth")
    with pytest.raises(UserError, match="not plain floating-point numbers .quantised"):
        load(place / "x.pth")


def test_many_small_bombs_are_one(place):
    our_file(place / "x.pt")
    with zipfile.ZipFile(place / "x.pt", "a", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):   # each smaller than the file
            archive.writestr(f"archive/data/{100 + number}", bytes((place / "x.pt").stat().st_size // 2))
    with pytest.raises(UserError, match="would unpack to more than its own size"):
        load(place / "x.pt")


def test_a_mean_of_ones_own_is_not_lost_in_torchvisions_layout(place):
    model = AlexNet(2, 224, "torchvision")
    model.mean[0, 2] += 1
    with pytest.raises(UserError, match="no place for a mean of one's own: .pt, .safetensors"):
        weights.save_torchvision(place / "x.pth", model, {})
    assert not list(place.iterdir())


def test_a_file_far_too_large_is_not_opened(place):
    with open(place / "x.pt", "wb") as file:
        file.truncate(5 * 2 ** 30)   # takes no room
    with pytest.raises(UserError, match="x.pt has 5.0 GiB; an AlexNet has a quarter of one"):
        load(place / "x.pt")


def test_a_mean_image_stands_upright_whichever_axis_its_channels_have(place):
    image = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype(np.float32)
    expected = torch.from_numpy(image).permute(2, 0, 1)[:, 2:38, 2:38]
    for array in (image, image.transpose(2, 0, 1), image.transpose(2, 0, 1)[None]):
        np.save(place / "mean.npy", array)
        assert torch.equal(foreign.read_mean(place / "mean.npy", 36, False), expected)
        assert torch.equal(foreign.read_mean(place / "mean.npy", 36, True), expected.flip(0))


def test_two_classes_of_one_name_are_refused(place):
    (place / "names.txt").write_text("cat\ncat\n")
    with pytest.raises(UserError, match="has 2 names, 1 of them different"):
        foreign.class_names(2, Path("x.pt"), Hints(classes=place / "names.txt"), {})


def test_windows_that_are_rounded_up_may_be_said_by_ceil_mode(place, caffe):
    def rounded_up(graph):
        for node in graph.node:
            if node.op_type == "MaxPool":
                next(one for one in node.attribute if one.name == "pads").ints[:] = [0] * 4
                node.attribute.append(helper.make_attribute("ceil_mode", 1))
    zoo_with(place / "x.onnx", caffe, rounded_up)
    assert load(place / "x.onnx").variant == "caffe"


def test_dense_weights_that_are_stored_the_other_way_round_are_turned(place, caffe):
    def turned(graph):
        arrays = {array.name: array for array in graph.initializer}
        for node in graph.node:
            if node.op_type == "Gemm":
                del node.attribute[:]
                array = arrays[node.input[1]]
                array.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(array).T.copy(), array.name))
    zoo_with(place / "x.onnx", caffe, turned)
    assert torch.equal(load(place / "x.onnx").fc7.weight, caffe["fc7"][0])


def test_an_onnx_file_that_takes_red_green_blue_can_be_said_to(place, caffe):
    zoo_file(place / "x.onnx", caffe)
    for bgr, first in ((None, 2), (True, 2), (False, 0)):
        found = weights.read(place / "x.onnx", Hints(bgr=bgr))["model"]["conv1.weight"]
        assert torch.equal(found[:, first], caffe["conv1"][0][:, 0])


def test_the_heads_limit_is_that_of_all_classes(data, monkeypatch):
    """Images lie sorted by class: the first 128 may be of one."""
    monkeypatch.setattr(AlexNet, "activations", lambda model, images, names: {names[0]: images.float().mean((2, 3))})
    pack, model = packed(find_source(str(data / "new")), SIZE, data / "cache", quiet=True), load(data / "old.pt")
    two = np.stack([np.full((pack.side, pack.side, 3), grey, np.uint8) for grey in (20, 200)])
    few, many = (replace(pack, images={"train": np.repeat(two, count, 0)}, labels={"train": range(2 * count)})
                 for count in (1, 200))
    assert highest_head_rate(model, many, Recipe()) == pytest.approx(highest_head_rate(model, few, Recipe()), rel=0.02)
