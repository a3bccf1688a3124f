"""Handwritten digits with questions such as "what is it plus two?"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import add
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.data.synthetic.shapes.scene import generator
from velm_lightning.types import SPLITS, Dataset, InputError, Sample

Pool = tuple[Tensor, Tensor]
"""Images (N, h, w) of 0…255 and their digits (N,)."""

_NUMBERS = ("one", "two", "three", "four", "five")
QUESTIONS: dict[str, tuple[str, Callable[[int], int | bool]]] = {
    "what digit is it?": ("read", lambda digit: digit),
    **{f"what is it plus {word}?": ("plus", partial(add, k)) for k, word in enumerate(_NUMBERS, 1)},
    "what is nine minus it?": ("minus", lambda digit: 9 - digit),
    "what is ten minus it?": ("minus", lambda digit: 10 - digit),
    "is it even?": ("compare", lambda digit: digit % 2 == 0),
    "is it odd?": ("compare", lambda digit: digit % 2 == 1),
    "is it larger than four?": ("compare", lambda digit: digit > 4),
    "is it smaller than five?": ("compare", lambda digit: digit < 5),
}
"""Group and answer of each question; over the ten digits, the answers are uniform."""


class Digits(Dataset):
    """Scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, or MNIST, with questions such as "what is it plus two?".

    Given only the question, all numbers, or yes and no, are equally likely. ``train`` is the beginning and ``val`` the
    end of the first part of the file, ``test`` the beginning of its second part.

    Args:
        train: Number of digits in the training split.
        val: Number of digits in the validation split.
        test: Number of digits in the test split.
        questions_per_digit: Number of questions per digit, at most 12.
        size: Side in pixels to which the images are enlarged.
        seed: Seed of the questions.
        mnist: Folder of torchvision's MNIST, which is downloaded if missing. None means scikit-learn's digits.
    """

    def __init__(
        self,
        train: int = 1197,
        val: int = 300,
        test: int = 300,
        questions_per_digit: int = 8,
        size: int = 32,
        seed: int = 0,
        mnist: Path | None = None,
    ) -> None:
        if not 1 <= questions_per_digit <= len(QUESTIONS):
            raise InputError(f"questions_per_digit={questions_per_digit}: give a number from 1 to {len(QUESTIONS)}")
        if size < 8 or seed < 0 or min(train, val, test) < 0:
            raise InputError(f"size={size} must be at least 8, and seed={seed}, train, val and test at least 0")
        self.counts = {"train": train, "val": val, "test": test}
        self.questions_per_digit, self.size, self.seed, self.mnist = questions_per_digit, size, seed, mnist
        self._samples: dict[str, list[Sample]] = {}

    @override
    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples digit by digit; the key is the split, the digit's number in the file and the question."""
        if name not in self.counts:
            raise InputError(f"split {name!r} does not exist: choose one of {', '.join(SPLITS)}")
        if name not in self._samples:
            first, (pixels, digits) = self._part(name)
            images = _enlarged(pixels, self.size)
            self._samples[name] = [
                sample
                for place, (image, digit) in enumerate(zip(images, digits.tolist(), strict=True), first)
                for sample in self._ask(name, place, image, digit)
            ]
        return self._samples[name]

    def _part(self, name: str) -> tuple[int, Pool]:
        """Return the number of the first digit, and the digits of a split."""
        images, digits = _mnist(self.mnist, name != "test") if self.mnist else _sklearn(name != "test")
        wanted = self.counts["test"] if name == "test" else self.counts["train"] + self.counts["val"]
        if wanted > len(digits):
            which = "test" if name == "test" else "train + val"
            raise InputError(f"{which} is {wanted}, but the file has {len(digits)} digits for it: ask for fewer")
        begin = len(digits) - self.counts["val"] if name == "val" else 0
        chosen = slice(begin, begin + self.counts[name])
        return begin, (images[chosen], digits[chosen])

    def _ask(self, name: str, place: int, image: Tensor, digit: int) -> list[Sample]:
        rng, texts = generator(self.seed, name, place, 0), list(QUESTIONS)
        samples = []
        for which in sorted(rng.permutation(len(texts))[: self.questions_per_digit].tolist()):
            group, answer_of = QUESTIONS[texts[which]]
            value = answer_of(digit)
            answer = ("no", "yes")[value] if isinstance(value, bool) else str(value)
            samples.append(Sample(f"{name}-{place:05d}-{which}", image, texts[which], {answer: 1.0}, (answer,), group))
        return samples


def _enlarged(images: Tensor, size: int) -> Tensor:
    """Return (N, 3, size, size) uint8."""
    if not len(images):
        return torch.empty(0, 3, size, size, dtype=torch.uint8)
    smooth = F.interpolate(images[:, None].float(), (size, size), mode="bilinear", antialias=True)
    return smooth.round().clamp(0, 255).byte().repeat(1, 3, 1, 1)


def _sklearn(first: bool) -> Pool:
    """Return the first 1,497 digits of the file, or the last 300."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("the digits need scikit-learn: pip install velm-lightning[digits]") from None
    source = load_digits()
    chosen = slice(None, -300) if first else slice(-300, None)
    return torch.from_numpy(source.images[chosen] / 16 * 255), torch.from_numpy(np.asarray(source.target[chosen]))


def _mnist(folder: Path, first: bool) -> Pool:
    from torchvision.datasets import MNIST

    try:
        source = MNIST(str(folder), train=first, download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"mnist: {folder} has no MNIST, and it cannot be downloaded: {error}") from error
    return source.data, source.targets
