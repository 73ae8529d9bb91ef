"""The data set that we draw ourselves, so that everything runs without a download.

Ten classes: six shapes and four patterns. Place, size, turn, colours, background and light are
random and the same for all classes, so neither the mean colour nor a linear classifier on pixels
tells them apart; edges, corners and patterns do. Every picture follows from its key alone.
"""

from __future__ import annotations

import colorsys
import sys
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image

from alexnet.cli import shell
from alexnet.files import writing

SIDE = 96                                     # pixels
COUNTS = {"train": 3000, "val": 500, "samples": 16}
VERSION = 1                                   # changes when the pictures do
CLASSES = ("checks", "cross", "disc", "moon", "ring", "star", "stripes", "target", "triangle", "zigzag")

Key = tuple[str, int]                         # part, index


def items(part: str) -> list[tuple[Key, int]]:
    """The keys of a part (`train`, `val`, or `samples`, which are neither), each with its label."""
    return [((part, index), index % len(CLASSES)) for index in range(COUNTS[part])]


def draw(key: Key) -> Image.Image:
    """One picture, RGB, SIDE x SIDE."""
    part, index = key
    chance = np.random.default_rng([2012, list(COUNTS).index(part), index])
    name = CLASSES[index % len(CLASSES)]
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE * 2 - 1           # -1 ... 1

    turn, size = chance.uniform(-0.6, 0.6) - np.pi / 2, chance.uniform(0.5, 0.85)
    place = chance.uniform(-1, 1, 2) * (1 - size)
    u, v = rotate(x - place[0], y - place[1], turn)
    u, v = u / size, v / size
    outline = OUTLINES[name](chance) if name in OUTLINES else blob(chance)
    paint = PATTERNS[name](u, v, chance.uniform(9, 13)) if name in PATTERNS else np.zeros_like(u)

    back, front, second = colours(chance)
    picture = background(x, y, back, chance)
    angle = chance.uniform(0, 2 * np.pi)                           # where the light comes from
    light = np.array([np.cos(angle), np.sin(angle)])
    shadow_u, shadow_v = rotate(x - place[0] + 0.09 * light[0], y - place[1] + 0.09 * light[1], turn)
    shadow = coverage(outline(shadow_u / size, shadow_v / size), soft=6)
    picture *= 1 - 0.45 * shadow[..., None]
    fill = front + (second - front) * paint[..., None]
    shine = 1 + 0.22 * ((x - place[0]) * light[0] + (y - place[1]) * light[1]) / size
    cover = coverage(outline(u, v))[..., None]
    picture = picture * (1 - cover) + fill * shine[..., None] * cover
    exposure = chance.uniform(0.75, 1.2) * (1 + 0.18 * (x * light[0] + y * light[1]))
    grain = chance.normal(0, chance.uniform(1, 6), picture.shape)
    return Image.fromarray((picture * exposure[..., None] + grain).clip(0, 255).astype(np.uint8))


def rotate(x: np.ndarray, y: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    return x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)


def soft_step(value: np.ndarray) -> np.ndarray:
    return (value + 0.5).clip(0, 1)


def coverage(shape: np.ndarray, soft: float = 1.0) -> np.ndarray:
    """How much of each pixel lies where `shape` is negative; the edge is `soft` pixels wide."""
    slope = np.hypot(*np.gradient(shape)) + 1e-6
    return soft_step(-shape / slope / soft)


def colours(chance: np.random.Generator) -> list[np.ndarray]:
    """A muted background, a bright front, and a second colour apart from both; 0..255."""
    ranges = ([0, 0.1, 0.15], [1, 0.6, 0.5]), ([0, 0.3, 0.8], [1, 0.9, 1]), ([0, 0.2, 0.1], [1, 0.9, 0.9])
    chosen: list[np.ndarray] = []
    while len(chosen) < 3:
        colour = 255 * np.array(colorsys.hsv_to_rgb(*chance.uniform(*ranges[len(chosen)])))
        if all(np.abs(colour - other) @ [0.3, 0.5, 0.2] > 55 for other in chosen):
            chosen.append(colour)
    return chosen


def background(x: np.ndarray, y: np.ndarray, colour: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A colour that drifts to a neighbour of it, with clouds; (SIDE, SIDE, 3) floats."""
    cells = int(chance.integers(3, 9))
    clouds = Image.fromarray(chance.uniform(-1, 1, (cells, cells)).astype(np.float32))
    clouds = np.asarray(clouds.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    angle = chance.uniform(0, 2 * np.pi)
    drift = (x * np.cos(angle) + y * np.sin(angle))[..., None] * chance.normal(0, 18, 3)
    return colour + drift + clouds[..., None] * chance.uniform(8, 30)


# ------------------------------------------------------------------- outlines, negative inside

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


def polygon(corners: int, inner: float) -> Field:
    """A star with `corners` points at radius 1 and as many dents at radius `inner`."""
    sector = np.pi / corners
    dent = inner * np.array([np.cos(sector), np.sin(sector)])
    edge = dent - [1, 0]

    def field(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        angle = np.abs((np.arctan2(v, u) + sector) % (2 * sector) - sector)  # 0 at a point
        return np.hypot(u, v) - np.abs(edge[1] / (np.sin(angle) * edge[0] - np.cos(angle) * edge[1]))
    return field


def blob(chance: np.random.Generator) -> Field:
    phase = chance.uniform(0, 2 * np.pi, 3)

    def field(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        angle = np.arctan2(v, u)
        return np.hypot(u, v) - 0.9 - sum(0.09 * np.sin(k * angle + phase[k - 2]) for k in (2, 3, 4))
    return field


def cross(arm: float) -> Field:
    return lambda u, v: np.minimum(np.maximum(np.abs(u) - 0.95, np.abs(v) - arm),
                                   np.maximum(np.abs(u) - arm, np.abs(v) - 0.95))


def moon(shift: float) -> Field:
    return lambda u, v: np.maximum(np.hypot(u, v) - 0.95, 0.8 - np.hypot(u - shift, v))


def ring(middle: float, width: float) -> Field:
    return lambda u, v: np.abs(np.hypot(u, v) - middle) - width


OUTLINES: dict[str, Callable[[np.random.Generator], Field]] = {
    "cross": lambda chance: cross(chance.uniform(0.22, 0.34)),
    "disc": lambda chance: ring(0, chance.uniform(0.85, 0.95)),
    "moon": lambda chance: moon(chance.uniform(0.4, 0.6)),
    "ring": lambda chance: ring(0.72, chance.uniform(0.14, 0.24)),
    "star": lambda chance: polygon(5, chance.uniform(0.38, 0.5)),
    "triangle": lambda chance: polygon(3, 0.5),
}

# ------------------------------------------------------------------- patterns, 0 ... 1; p: waves

PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "checks": lambda u, v, p: soft_step(np.sin(u * p) * np.sin(v * p) * 6),
    "stripes": lambda u, v, p: soft_step(np.sin(u * p) * 3),
    "target": lambda u, v, p: soft_step(np.sin(np.hypot(u, v) * p) * 3),
    "zigzag": lambda u, v, p: soft_step(np.sin((u + 0.8 * np.abs((v * 1.4) % 1 - 0.5)) * p) * 3),
}


if __name__ == "__main__":  # python -m alexnet.demo FOLDER: the samples as files
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("python -m alexnet.demo FOLDER: writes the samples of data/samples that are drawn")
    folder = Path(sys.argv[1])
    with shell("alexnet.demo"), writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for sample, label in items("samples"):
            draw(sample).save(folder / f"{CLASSES[label]}-{sample[1]:02}.png")
