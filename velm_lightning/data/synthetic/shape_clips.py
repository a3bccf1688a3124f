"""Generated clips in which one of three coloured shapes stays and two move apart."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.synthetic.shapes.render import render
from velm_lightning.data.synthetic.shapes.scene import (
    COLOURS,
    GRID,
    JITTER,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    generator,
    pick,
)
from velm_lightning.errors import at_least
from velm_lightning.types import SPLITS, Dataset, InputError, Sample

_SCENE, _RENDERING, _LANGUAGE = range(3)
WAYS = (("left", "right"), ("up", "down"))
"""Directions towards smaller and larger x, and smaller and larger y."""


class Clip(NamedTuple):
    """The frames of a clip, and the direction of each thing ("" for the one that stays)."""

    frames: tuple[Scene, ...]
    ways: tuple[str, ...]


class ShapeClips(Dataset):
    """Questions about short clips in which one of three things stays and two move, in opposite directions.

    Both make their step, from one cell of the 3 x 3 grid to the next, at the same moment. ``stays``: "what colour is
    the thing that stays?" needs two frames in any order. ``moves``: "what shape is the thing that moves left?" also
    needs their order: the reversed clip has another answer.

    Args:
        train: Number of clips in the training split, with six questions each.
        val: Number of clips in the validation split.
        test: Number of clips in the test split.
        frames: Number of frames.
        size: Side of the square images in pixels.
        seed: Seed of the clips.
    """

    def __init__(
        self, train: int = 2000, val: int = 300, test: int = 300, frames: int = 3, size: int = 64, seed: int = 0
    ) -> None:
        self.clips_in = {"train": train, "val": val, "test": test}
        self.frames, self.size, self.seed = frames, size, seed
        at_least(0, train=train, val=val, test=test)
        at_least(2, frames=frames)
        at_least(16, size=size)
        at_least(0, seed=seed)
        self._images: dict[str, Tensor] = {}
        self._samples: dict[str, list[Sample]] = {}

    def clip(self, name: str, index: int) -> Clip:
        """Return one clip of the split ``name``."""
        return draw_clip(generator(self.seed, name, index, _SCENE), name, self.frames)

    def images(self, name: str) -> Tensor:
        """Return the clips of the split ``name``, (S, T, 3, size, size) uint8: rendered on the first call."""
        if name not in self._images:
            if name not in self.clips_in:
                raise InputError(f"split {name!r} does not exist: choose one of {', '.join(SPLITS)}")
            clips = np.empty((self.clips_in[name], self.frames, 3, self.size, self.size), dtype=np.uint8)
            for index in range(len(clips)):
                for place, scene in enumerate(self.clip(name, index).frames):  # the same ground and noise
                    clips[index, place] = render(scene, generator(self.seed, name, index, _RENDERING), self.size)
            self._images[name] = torch.from_numpy(clips)
        return self._images[name]

    @override
    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of ``train``, ``val`` or ``test``, clip by clip; frames are views of `images`."""
        if name not in self._samples:
            self._samples[name] = [
                sample
                for index, frames in enumerate(self.images(name))
                for sample in self._ask(f"{name}-{index:06d}", frames.unbind(), self.clip(name, index))
            ]
        return self._samples[name]

    def _ask(self, key: str, frames: tuple[Tensor, ...], clip: Clip) -> Iterator[Sample]:
        """Yield questions for the colour and the shape of each thing, which its movement identifies."""
        for place, (thing, way) in enumerate(zip(clip.frames[0].things, clip.ways, strict=True)):
            does, group = (f"moves {way}", "moves") if way else ("stays", "stays")
            for asked in ("colour", "shape"):
                answer = getattr(thing, asked)
                text = f"what {asked} is the thing that {does}?"
                yield Sample(f"{key}-{place}-{asked}", frames, text, {answer: 1.0}, (answer,), group)


class ShapeClipCaptions(ShapeClips):
    """The clips of `ShapeClips` with captions as targets: "a red star moves left, a blue circle …".

    Two captions describe the two moving things, in either order, then the one that stays. ``train`` has one sample
    per caption, ``val`` and ``test`` have one per clip; all have both as references. The groups are the axes.
    """

    @override
    def _ask(self, key: str, frames: tuple[Tensor, ...], clip: Clip) -> Iterator[Sample]:
        clauses = [
            f"a {thing.colour} {thing.shape} {f'moves {way}' if way else 'stays'}"
            for thing, way in zip(clip.frames[0].things, clip.ways, strict=True)
        ]
        captions = tuple(", ".join((*order, clauses[2])) + "." for order in (clauses[:2], clauses[1::-1]))
        group = "sideways" if clip.ways[0] in WAYS[0] else "upright"
        for place, caption in enumerate(captions if key.startswith("train") else captions[:1]):
            yield Sample(f"{key}-{place}", frames, "", caption, captions, group)


def draw_clip(rng: np.random.Generator, split: str, frames: int) -> Clip:
    """Draw a clip that belongs only to ``split``; no two things share a colour or a shape."""
    while True:
        axis = int(rng.integers(2))
        starts = [divmod(cell, GRID) for cell in rng.permutation(GRID * GRID)[:3].tolist()]  # (x, y)
        ends = [
            (x + step * (axis == 0), y + step * (axis == 1)) for (x, y), step in zip(starts, (-1, 1, 0), strict=True)
        ]
        if len({*starts, *ends}) < 5 or not all(0 <= at < GRID for end in ends for at in end):
            continue
        looks = [rng.permutation(len(kinds))[:3].tolist() for kinds in (COLOURS, SHAPES)]
        looks.insert(0, rng.integers(len(SIZES), size=3).tolist())
        if zlib.crc32(repr((starts, ends, looks)).encode()) % len(SPLITS) == SPLITS.index(split):
            break
    jitter, step = rng.uniform(-JITTER, JITTER, (3, 2)).tolist(), pick(rng, range(1, frames))
    before, after = (_scene(looks, cells, jitter) for cells in (starts, ends))
    return Clip((before,) * step + (after,) * (frames - step), (*WAYS[axis], ""))


def _scene(looks: list[list[int]], cells: list[tuple[int, int]], jitter: list[list[float]]) -> Scene:
    """Return the scene of things with these sizes, colours and shapes in these cells (x, y)."""
    things = []
    for (size, colour, shape), (x, y), (dx, dy) in zip(zip(*looks, strict=True), cells, jitter, strict=True):
        centre = (x + 0.5) / GRID + dx, (y + 0.5) / GRID + dy
        things.append(Thing(SIZES[size], COLOURS[colour], SHAPES[shape], *centre))
    return Scene(tuple(things), ())
