"""Rendering a scene with numpy: anti-aliased shapes on a light background with faint noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from velm_lightning.data.synthetic.shapes.scene import RADIUS, Scene, Thing

Floats = NDArray[np.floating[Any]]

RGB = {
    "red": (222, 44, 44),
    "green": (44, 166, 64),
    "blue": (44, 84, 222),
    "yellow": (238, 206, 40),
    "purple": (158, 56, 186),
    "black": (40, 40, 44),
}
SHADE, NOISE = 12.0, 4.0
"""Maximum deviation of a thing's brightness, and standard deviation of the noise, in levels of 255."""


def _fan(corners: int) -> Floats:
    """Return the outward normals (corners, 2) of a regular polygon on its base."""
    angles = np.pi / 2 + 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


_THREE, _FIVE = _fan(3), _fan(5)


def _lines(x: Floats, y: Floats, normals: Floats) -> Floats:
    """Return (corners, H, W): distance of each pixel along each normal."""
    return normals[:, 0, None, None] * x + normals[:, 1, None, None] * y


def _circle(x: Floats, y: Floats, r: float) -> Floats:
    return np.hypot(x, y) - r


def _square(x: Floats, y: Floats, r: float) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - 0.9 * r


def _triangle(x: Floats, y: Floats, r: float) -> Floats:
    outside: Floats = _lines(x, y - 0.15 * r, _THREE).max(axis=0) - 0.58 * r
    return outside


def _star(x: Floats, y: Floats, r: float) -> Floats:
    """Return the distance from a pentagram, the points inside at least four of five lines, joined with a disc."""
    outside: Floats = np.sort(_lines(x, -y, _FIVE), axis=0)[-2] - 0.33 * r
    return np.minimum(outside, np.hypot(x, y) - 0.54 * r)


_OUTSIDE: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
}
"""Distance of a pixel at (x, y) from a shape of radius ``r`` at the origin; negative inside."""


def render(scene: Scene, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Return the image of ``scene``, (3, size, size) uint8; ``rng`` draws the background, the shades and the noise."""
    ground = rng.uniform(205, 240) + rng.uniform(-6, 6, (3, 1, 1))
    image = ground.astype(np.float32) + rng.standard_normal((3, size, size), dtype=np.float32) * np.float32(NOISE)
    shades = rng.uniform(-SHADE, SHADE, len(scene.things))
    for thing, shade in zip(scene.things, shades.tolist(), strict=True):
        _paint(image, thing, shade)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _paint(image: Floats, thing: Thing, shade: float) -> None:
    """Blend one thing into ``image`` (3, H, W), each pixel by the share that the thing covers."""
    side = image.shape[-1]
    radius = RADIUS[thing.size] * side
    rows, columns = (_window(centre * side, 1.4 * radius + 1, side) for centre in (thing.y, thing.x))
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5 - thing.x * side)
    y = np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5 - thing.y * side)
    cover = np.clip(0.5 - _OUTSIDE[thing.shape](x[None, :], y[:, None], radius), 0, 1)  # (h, w)
    colour = np.array(RGB[thing.colour], dtype=np.float32)[:, None, None] + np.float32(shade)
    patch = image[:, rows, columns]
    patch += cover * (colour - patch)


def _window(centre: float, reach: float, side: int) -> slice:
    """Return the pixels within ``reach`` of ``centre`` that lie in the image."""
    return slice(max(0, int(centre - reach)), min(side, int(centre + reach) + 1))
