"""AlexNet as it was really trained in 2012. What stands where; begin with model.py, recipe.py, training.py.

The network
    model.py         AlexNet from conv1 to fc8, and its four variants
    layers.py        layers that PyTorch lacks: dropout of 2012, normalisation within a feature map, columns
    norms.py         the two response normalisations in fewer passes through memory
    kernels.py       the same on a GPU, in Triton
    geometry.py      sizes, numbers of parameters, receptive fields

Data, from files to batches
    demo.py          the data set that we draw ourselves
    folders.py       what lies in a folder
    layout.py        what names of folders and files mean: parts and classes
    labels.py        lists of labels
    sources.py       images with labels: of the demo, a folder, a list, torchvision
    images.py        an image file to RGB, to the square of section 2
    pack.py          a data set packed once, then memory-mapped
    augment.py       crops, mirror images, colour noise, ten-crop
    batches.py       a training batch, and the random numbers in it
    threads.py       work on threads, results in order

Training
    recipe.py        section 5 as numbers: SGD, learning rates, schedules
    settings.py      all that decides what a run computes
    training.py      the loop, evaluation, a run's folder
    progress.py      how far a run is
    checkpoint.py    our own checkpoints
    console.py       what the terminal shows of a run
    measuring.py     the errors of a checkpoint

Use
    predict.py       images to probabilities and features
    answers.py       predictions as a table, JSON, bars
    codes.py         binary codes of features

Pictures
    subject.py       what is looked at: a network, its data, some pictures
    interpret.py     kernels, attributions, patches, neighbours, as arrays
    pictures.py      each kind of picture: what is computed, drawn and said
    figures.py       all matplotlib figures
    captions.py      what the page says below them, English and Chinese
    figure_words.py  the words inside them, in Chinese
    fonts.py         these in fonts that have their letters
    explore.py       the page to play with (explore.html, explore.css, explore.js)

Learning
    exercises.py     exercises on the paper, with computed answers
    steps.py         single ideas of the paper, as arrays
    step_figures.py  pictures of them

Files of others
    weights.py       any file of weights in; ours out
    foreign.py       weights that do not say what they are
    onnx_files.py    ONNX in and out

What all share
    files.py         files that appear whole or not at all; JSON, CSV, texts
    cli.py           options, and the shell around main()
    device.py        device, precision, processes
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet.model import AlexNet

__all__ = ["AlexNet", "load"]


def __getattr__(name: str) -> Any:
    """`alexnet.AlexNet`, imported when it is first used: torch takes seconds, and --help does not need it."""
    if name != "AlexNet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from alexnet.model import AlexNet
    return AlexNet


def load(path: Path | str) -> AlexNet:
    """An AlexNet in eval mode, with `.classes`, from a run's folder, a checkpoint, or another's file
    (alexnet/weights.py); `pretrained` is torchvision's. UserError if it holds none."""
    # Imported here, so that `python -m alexnet.weights` can be the one to load it.
    from alexnet import checkpoint, weights
    return checkpoint.build(weights.read(path))
