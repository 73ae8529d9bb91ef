"""ONNX: our networks out; our own exports and Caffe's AlexNet, as the model zoo has it, in.

The graph is written by hand. torch's own exporter (torch.onnx.export with dynamo=True) gives the same logits
for any number of images and a file of the same size. But it needs one more package (onnxscript) and several
times as long, takes LRN apart into two thirds more nodes, and the values between them lose our names.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet import checkpoint
from alexnet.checkpoint import FORMAT, Checkpoint
from alexnet.files import UserError, brief, whole_file
from alexnet.foreign import Hints, Found, from_layers
from alexnet.geometry import Step, sizes
from alexnet.model import VARIANTS, AlexNet

TOLERANCE = 1e-4   # between onnxruntime and us, of the largest logit


def package(name: str) -> Any:
    """A package that only some files need; UserError if it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        needed = name.split(".")[0]
        raise UserError(f"this kind of file needs one more package: pip install {needed}") from None


def parse(text: str, path: Path) -> dict[str, Any]:
    """What one of our exports says about itself (`checkpoint.about`)."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        raise UserError(f"{path} is damaged: what it says about itself cannot be read") from None


# ------------------------------------------------------------------- out

def save_onnx(path: Path, model: AlexNet, facts: dict[str, Any]) -> None:
    """Written, run with onnxruntime, compared with us, and only then given its name. ValueError for a model
    in training mode, whose dropout is on."""
    if model.training:
        raise ValueError("the model is in training mode, with dropout: call model.eval() first")
    session_of = package("onnxruntime").InferenceSession
    data = as_onnx(model, facts).SerializeToString()
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
        session = session_of(str(temporary), providers=["CPUExecutionProvider"])
        for count in (1, 3):
            images = torch.rand(count, 3, model.image_size, model.image_size,
                                generator=torch.Generator().manual_seed(count)) * 255
            with torch.inference_mode():
                ours = model(images)
            theirs = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
            difference = (ours - theirs).abs().max() / ours.abs().max().clamp_min(1e-30)
            if not difference <= TOLERANCE:     # not a number is no agreement
                raise UserError(f"onnxruntime computes other logits than we do ({difference:.1e} of the "
                                f"largest): {path} was not written")


def as_onnx(model: AlexNet, facts: dict[str, Any]) -> Any:
    """The network in ONNX: `images` (N, 3, S, S), float, RGB, 0..255, to `logits` (N, classes). The results
    of the steps have their names."""
    onnx = package("onnx")
    helper, constants = onnx.helper, {**model.state_dict(), "std": model.std[0]}
    nodes = [helper.make_node("Sub", ["images", "mean"], ["centred"])]
    if model.design.pixel_std:
        nodes.append(helper.make_node("Div", ["centred", "std"], ["scaled"]))
    for step in sizes(model).values():
        nodes += nodes_of(step, nodes[-1].output[0], model)
    nodes[-1].output[0] = "logits"
    for node in nodes:
        node.name = node.output[0]
    used = {name for node in nodes for name in node.input}
    tensors = [onnx.numpy_helper.from_array(value.contiguous().numpy(), name)
               for name, value in constants.items() if name in used]
    sides, value = [model.image_size] * 2, helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "AlexNet", [value("images", onnx.TensorProto.FLOAT, ["N", 3, *sides])],
                              [value("logits", onnx.TensorProto.FLOAT, ["N", model.num_classes])], tensors)
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                               producer_name=FORMAT)
    helper.set_model_props(result, {FORMAT: json.dumps(checkpoint.about(model, facts))})
    onnx.checker.check_model(result)
    return result


def nodes_of(step: Step, x: str, model: AlexNet) -> list[Any]:
    """The nodes of one step, of which the last gives its result. x: the name of what goes in."""
    make, name, module = package("onnx").helper.make_node, step.name, getattr(model, step.name)
    operator, attributes = onnx_step(step, model)
    if operator == "LRN" and module.columns > 1:
        columns = [f"{name}.column{index}" for index in range(module.columns)]
        return [make("Split", [x], [f"{column}.in" for column in columns], axis=1),
                *(make("LRN", [f"{column}.in"], [column], **attributes) for column in columns),
                make("Concat", columns, [name], axis=1)]
    if operator == "SameMapNorm":   # AveragePool divides by n x n at the border, too
        constants = [make("Constant", [], [f"{name}.{what}"], value_float=getattr(module, what))
                     for what in ("alpha", "k", "beta")]
        return [*constants,
                make("Mul", [x, x], [f"{name}.square"]),
                make("AveragePool", [f"{name}.square"], [f"{name}.mean"], count_include_pad=1, **attributes),
                make("Mul", [f"{name}.mean", f"{name}.alpha"], [f"{name}.scaled"]),
                make("Add", [f"{name}.scaled", f"{name}.k"], [f"{name}.sum"]),
                make("Pow", [f"{name}.sum", f"{name}.beta"], [f"{name}.power"]),
                make("Div", [x, f"{name}.power"], [name])]
    if operator == "Dropout":
        return [] if module.inverted else [
            make("Constant", [], [f"{name}.keep"], value_float=module.keep),
            make("Mul", [x, f"{name}.keep"], [name])]
    weights = [f"{name}.weight", f"{name}.bias"] if step.weights else []
    return [make(operator, [x, *weights], [name], **attributes)]


def onnx_step(step: Step, model: AlexNet) -> tuple[str, dict[str, Any]]:
    """A step of the network as ONNX's operator and its attributes.

    Windows that hang over the edge get their padding in numbers, right and below: what ONNX's own ceil_mode
    does differs between versions.
    """
    module = getattr(model, step.name)
    window = {"kernel_shape": [step.kernel] * 2, "strides": [step.stride] * 2,
              "pads": [step.padding] * 2 + [step.padding + step.far] * 2}
    if step.kind == "norm":      # ONNX, too, divides alpha by n
        return "LRN", {"size": module.n, "alpha": module.scale * module.n, "beta": module.beta,
                       "bias": module.k}
    return {"conv": ("Conv", {**window, "group": step.groups}), "pool": ("MaxPool", window),
            "mapnorm": ("SameMapNorm", window), "fc": ("Gemm", {"transB": 1}), "flatten": ("Flatten", {}),
            "relu": (type(module).__name__.replace("ReLU", "Relu"), {}), "drop": ("Dropout", {})}[step.kind]


# ------------------------------------------------------------------- in

def open_onnx(path: Path, hints: Hints) -> Found:
    """One of our exports, or Caffe's AlexNet as the model zoo has it."""
    load = package("onnx").load_model_from_string   # looks into no other file
    try:
        found = load(path.read_bytes())
    except Exception as error:  # protobuf's own classes of errors
        raise UserError(f"{path} is damaged or no checkpoint ({brief(error)})") from None
    said = {entry.key: entry.value for entry in found.metadata_props}
    if FORMAT in said:
        names = [array.name for array in found.graph.initializer]
        model = {name: tensor(found.graph, name, path) for name in names
                 if name == "mean" or name.startswith(("conv", "fc"))}
        return {**parse(said[FORMAT], path), "model": model}, None
    try:
        return from_zoo(found.graph, path, hints)
    except (TypeError, ValueError, LookupError) as error:   # attributes of other types, missing parts
        raise UserError(f"{path} is not Caffe's AlexNet ({brief(error)})") from None


def tensor(graph: Any, name: str, path: Path) -> Tensor:
    onnx = package("onnx")
    array = next((array for array in graph.initializer if array.name == name), None)
    if array is None or array.data_location == onnx.TensorProto.EXTERNAL:
        raise UserError(f"{path} has no weights {name} inside: it must be one file")
    try:
        return torch.from_numpy(onnx.numpy_helper.to_array(array).copy())
    except Exception as error:  # a shape that its bytes do not fill, a type that torch lacks
        raise UserError(f"{path} is damaged: {name} ({brief(error)})") from None


def from_zoo(graph: Any, path: Path, hints: Hints) -> Found:
    """Caffe's AlexNet, or one with its steps in another order (CaffeNet), from a graph whose every attribute
    is compared with ours."""
    skipped = ("Dropout", "Softmax", "Constant", "Identity")
    nodes = [node for node in graph.node if node.op_type not in skipped]
    steps = steps_of(nodes, path)
    usual = [step for step in VARIANTS["caffe"].steps() if not step.startswith("drop")]
    if sorted(steps) != sorted(usual):
        raise UserError(f"{path} is not Caffe's AlexNet: its steps are {' '.join(steps)[:160]}")
    layers = []
    for node in nodes:
        if node.op_type in ("Conv", "Gemm"):
            if len(node.input) != 3:
                raise UserError(f"{path}: {node.op_type} without a bias is not Caffe's")
            weight, bias = (tensor(graph, name, path) for name in node.input[1:])
            if node.op_type == "Gemm" and not attributes_of(node).get("transB") and weight.ndim == 2:
                weight = weight.T.contiguous()
            layers.append((weight, bias))
    if [weight.ndim for weight, _ in layers] != [4] * 5 + [2] * 3:
        raise UserError(f"{path} is not Caffe's AlexNet: its weights have other shapes")
    norm = {"alpha": 1e-4, "bias": 1.0, **attributes_of(nodes[steps.index("norm1")])}
    changes: dict[str, Any] = {"lrn_k": round(norm["bias"], 9), "lrn_alpha": round(norm["alpha"], 9)}
    if steps != usual:
        changes["order"] = " ".join(steps).replace("relu6", "relu6 drop6").replace("relu7", "relu7 drop7")
    side = graph.input[0].type.tensor_type.shape.dim
    given = side[2].dim_value if len(side) == 4 else 0
    hints = replace(hints, variant="caffe", image_size=hints.image_size or given or None,
                    bgr=hints.bgr is not False)
    content, notes = from_layers(layers, path, hints, "Caffe's weights as ONNX", changes)
    compare_attributes(nodes, content, given or content["image_size"], path)
    return content, notes


def steps_of(nodes: list[Any], path: Path) -> list[str]:
    """Our names for the nodes; UserError if some have none."""
    kinds = {"Conv": "conv", "Relu": "relu", "LRN": "norm", "MaxPool": "pool", "Reshape": "flatten",
             "Flatten": "flatten", "Gemm": "fc"}
    if strange := sorted({node.op_type for node in nodes} - set(kinds)):
        raise UserError(f"{path} has operators that an AlexNet lacks: {', '.join(strange[:4])} (of the model "
                        "zoo's files, bvlcalexnet-12.onnx is the one with plain weights)")
    steps, number = [], 0
    for node in nodes:
        kind = kinds[node.op_type]
        number += kind in ("conv", "fc")
        steps.append(kind if kind == "flatten" else f"{kind}{number}")
    return steps


def attributes_of(node: Any) -> dict[str, Any]:
    helper = package("onnx").helper
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def compare_attributes(nodes: list[Any], content: Checkpoint, size: int, path: Path) -> None:
    """UserError where a node of another's graph, made for `size` px, computes something else than our step
    does."""
    model = checkpoint.described({**content, "image_size": size})
    usual = {"pads": [0] * 4, "strides": [1, 1], "group": 1, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    steps = [step for step in sizes(model).values() if step.kind != "drop"]
    for node, step in zip(nodes, steps, strict=True):
        operator, expected = onnx_step(step, model)
        given = {**usual, **attributes_of(node)}
        if given.get("ceil_mode") and operator == "MaxPool":    # the same windows, said in another way
            given["pads"] = expected["pads"]
        for name, value in expected.items():
            if name != "transB" and not np.allclose(given.get(name, np.nan), value, rtol=1e-5):
                raise UserError(f"{path} is not Caffe's AlexNet at {size} px: {name} of {step.name} is "
                                f"{given.get(name)}, not {value}")
