"""Generated posts, each a drawn face with a few words, labelled positive, neutral or negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.synthetic.shapes.scene import generator, pick
from velm_lightning.types import SPLITS, Dataset, InputError, Sample

Floats = NDArray[np.floating[Any]]

LABELS = ("positive", "neutral", "negative")
SUBJECTS = ("the concert", "our trip", "the dinner", "the match", "the new song", "the party", "the show", "the picnic")
WORDS = {
    "positive": ("wonderful", "great", "lovely", "a dream", "perfect", "not bad", "not boring"),
    "neutral": ("on monday", "at seven", "in the old hall", "in two parts", "outside", "not far", "not on monday"),
    "negative": ("awful", "bad", "boring", "a mess", "far too long", "not great", "not lovely"),
}
"""Predicates per sentiment; "not" inverts some of them."""
SMILE = {"positive": 0.7, "neutral": 0.0, "negative": -0.7}
"""Mean curvature of the mouth; with its spread, faint smiles and neutral faces overlap."""
SPREAD = 0.22


class FacePosts(Dataset):
    """Posts whose sentiment is that of the face or, if the face is neutral, that of the words.

    The groups are ``words`` (the face is neutral), ``both`` (face and words agree) and ``irony`` (they disagree:
    "the concert was great" under a sad face is negative). In a neutral post both are neutral. The classes are skewed.

    Args:
        train: Number of posts in the training split.
        val: Number of posts in the validation split.
        test: Number of posts in the test split.
        shares: Shares of the positive, neutral and negative posts.
        size: Side of the square images in pixels.
        seed: Seed of the posts.
    """

    def __init__(
        self,
        train: int = 6000,
        val: int = 1500,
        test: int = 1500,
        shares: Sequence[float] = (0.85, 0.1, 0.05),
        size: int = 48,
        seed: int = 0,
    ) -> None:
        if len(shares) != len(LABELS) or min(shares) < 0 or not abs(sum(shares) - 1) <= 1e-6:
            raise InputError(f"shares={list(shares)}: give three that sum to 1: of {', '.join(LABELS)}")
        if size < 16 or seed < 0 or min(train, val, test) < 0:
            raise InputError(f"size={size} must be at least 16, and seed={seed}, train, val and test at least 0")
        self.counts = {"train": train, "val": val, "test": test}
        self.shares, self.size, self.seed = tuple(shares), size, seed
        self._samples: dict[str, list[Sample]] = {}

    @override
    def split(self, name: str) -> Sequence[Sample]:
        if name not in self.counts:
            raise InputError(f"split {name!r} does not exist: choose one of {', '.join(SPLITS)}")
        if name not in self._samples:
            posts = [self._post(generator(self.seed, name, index, 0)) for index in range(self.counts[name])]
            images = torch.empty(len(posts), 3, self.size, self.size, dtype=torch.uint8)
            for index, (_, face, _) in enumerate(posts):
                images[index] = draw_face(SMILE[face], generator(self.seed, name, index, 1), self.size)
            self._samples[name] = [
                Sample(f"{name}-{index:06d}", image, text, {label: 1.0}, (label,), _group(face, label, text))
                for index, (image, (label, face, text)) in enumerate(zip(images, posts, strict=True))
            ]
        return self._samples[name]

    def _post(self, rng: np.random.Generator) -> tuple[str, str, str]:
        """Draw a label, then a face and words with that label."""
        label = LABELS[int(np.searchsorted(np.cumsum(self.shares), rng.random(), side="right").clip(max=2))]
        face = pick(rng, ("neutral", label))
        words = label if face == "neutral" else pick(rng, LABELS)
        return label, face, f"{pick(rng, SUBJECTS)} was {pick(rng, WORDS[words])}"


def _group(face: str, label: str, text: str) -> str:
    if face == "neutral":
        return "words"
    return "both" if text.partition(" was ")[2] in WORDS[label] else "irony"


def draw_face(bend: float, rng: np.random.Generator, size: int) -> Tensor:
    """Return the image of a face, (3, size, size) uint8, with a mouth of about this curvature: 1 smiles, -1 is sad."""
    bend += SPREAD * float(rng.standard_normal())
    radius = rng.uniform(0.30, 0.42)
    x0, y0 = 0.5 + rng.uniform(-0.06, 0.06, 2)
    ground, skin = rng.uniform(90, 230, (3, 1, 1)), np.array([236, 196, 140]).reshape(3, 1, 1) + rng.uniform(-20, 20)
    grid = (np.arange(size) + 0.5) / size
    x, y = (grid[None, :] - x0) / radius, (grid[:, None] - y0) / radius  # the face is the unit disc, y downwards
    soft = 1.5 / (size * radius)  # width of an edge
    mouth = np.maximum(np.abs(y - 0.45 + bend * 0.45 * ((x / 0.55) ** 2 - 0.5)) - 0.07, np.abs(x) - 0.55)
    eyes = np.minimum(np.hypot(x - 0.35, y + 0.25), np.hypot(x + 0.35, y + 0.25)) - 0.1
    image = ground + (skin - ground) * _cover(np.hypot(x, y) - 1, soft)
    image = image + (40 - image) * _cover(np.minimum(mouth, eyes), soft)
    noisy = image + rng.standard_normal((3, size, size)) * 6
    return torch.from_numpy(np.clip(noisy + 0.5, 0, 255).astype(np.uint8))


def _cover(outside: Floats, soft: float) -> Floats:
    """Return the share of each pixel within a shape, given the distance of the pixel from it."""
    covered: Floats = np.clip(0.5 - outside / soft, 0, 1)
    return covered
