"""The data set that we draw ourselves, so that everything runs without a download.

Ten classes: eight shapes and two textures. Place, size, turn, colours, background and light are
random and the same for all classes, so neither the mean colour nor a linear classifier on pixels
tells them apart; edges and corners do. Every picture follows from its key alone.
"""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image

SIDE = 96                                     # pixels
COUNTS = {"train": 3000, "val": 500, "samples": 16}
VERSION = 1                                   # changes when the pictures do
CLASSES = ("checks", "cross", "disc", "heart", "moon", "ring", "square", "star", "stripes", "triangle")

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

    turn, size = chance.uniform(0, 2 * np.pi), chance.uniform(0.38, 0.72)
    place = chance.uniform(-1, 1, 2) * (0.95 - size)
    u, v = rotate(x - place[0], y - place[1], turn)
    u, v = u / size, v / size
    shape, paint = OUTLINES.get(name, blob)(u, v, chance), np.zeros_like(u)
    if name == "stripes":
        paint = soft_step(np.sin(u * chance.uniform(11, 15)) * 3)
    if name == "checks":
        pitch = chance.uniform(8, 11)
        paint = soft_step(np.sin(u * pitch) * np.sin(v * pitch) * 6)

    back, front, second = colours(chance)
    picture = background(x, y, back, chance)
    angle = chance.uniform(0, 2 * np.pi)                           # where the light comes from
    light = np.array([np.cos(angle), np.sin(angle)])
    shadow_u, shadow_v = rotate(x - place[0] + 0.09 * light[0], y - place[1] + 0.09 * light[1], turn)
    shadow = coverage(OUTLINES.get(name, lambda u, v, _: np.hypot(u, v) - 0.9)(
        shadow_u / size, shadow_v / size, chance), soft=6)
    picture *= 1 - 0.45 * shadow[..., None]
    fill = front + (second - front) * paint[..., None]
    shine = 1 + 0.22 * ((x - place[0]) * light[0] + (y - place[1]) * light[1]) / size
    cover = coverage(shape)[..., None]
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
    """Background, front and second colour, 0..255, the later two apart from those before."""
    chosen: list[np.ndarray] = []
    while len(chosen) < 3:
        hue, saturation, value = chance.uniform([0, 0.15, 0.25], [1, 0.95, 1])
        colour = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
        if all(np.abs(colour - other) @ [0.3, 0.5, 0.2] > 55 for other in chosen):
            chosen.append(colour)
    return chosen


def background(x: np.ndarray, y: np.ndarray, colour: np.ndarray,
               chance: np.random.Generator) -> np.ndarray:
    """A colour that drifts to a neighbour of it, with clouds; (SIDE, SIDE, 3) floats."""
    cells = int(chance.integers(3, 9))
    clouds = Image.fromarray(chance.uniform(-1, 1, (cells, cells)).astype(np.float32))
    clouds = np.asarray(clouds.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    angle = chance.uniform(0, 2 * np.pi)
    drift = (x * np.cos(angle) + y * np.sin(angle))[..., None] * chance.normal(0, 18, 3)
    return colour + drift + clouds[..., None] * chance.uniform(8, 30)


# ------------------------------------------------------------------- outlines, negative inside

def polygon(u: np.ndarray, v: np.ndarray, corners: int, inner: float) -> np.ndarray:
    """A star with `corners` points at radius 1 and as many dents at radius `inner`."""
    sector = np.pi / corners
    angle = np.abs((np.arctan2(v, u) + sector) % (2 * sector) - sector)  # 0 at a point
    dent = inner * np.array([np.cos(sector), np.sin(sector)])
    edge = dent - [1, 0]
    radius = -edge[1] / (np.sin(angle) * edge[0] - np.cos(angle) * edge[1])
    return np.hypot(u, v) - np.abs(radius)


def blob(u: np.ndarray, v: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    angle, phase = np.arctan2(v, u), chance.uniform(0, 2 * np.pi, 3)
    wave = sum(0.09 * np.sin(k * angle + phase[k - 2]) for k in (2, 3, 4))
    return np.hypot(u, v) - 0.9 - wave


def cross(u: np.ndarray, v: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    arm = chance.uniform(0.22, 0.34)
    one = np.maximum(np.abs(u) - 0.95, np.abs(v) - arm)
    other = np.maximum(np.abs(u) - arm, np.abs(v) - 0.95)
    return np.minimum(one, other)


def heart(u: np.ndarray, v: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    u, v = u * 1.2, -v * 1.2 + 0.1
    return (u * u + v * v - 1) ** 3 - u * u * v ** 3


def moon(u: np.ndarray, v: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    shift = chance.uniform(0.4, 0.6)
    return np.maximum(np.hypot(u, v) - 0.95, 0.8 - np.hypot(u - shift, v))


def ring(u: np.ndarray, v: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.abs(np.hypot(u, v) - 0.72) - chance.uniform(0.14, 0.24)


OUTLINES = {
    "cross": cross, "heart": heart, "moon": moon, "ring": ring,
    "disc": lambda u, v, _: np.hypot(u, v) - 0.9,
    "square": lambda u, v, _: np.maximum(np.abs(u), np.abs(v)) - 0.75,
    "star": lambda u, v, chance: polygon(u, v, 5, chance.uniform(0.38, 0.5)),
    "triangle": lambda u, v, _: polygon(u, v, 3, 0.5),
}
