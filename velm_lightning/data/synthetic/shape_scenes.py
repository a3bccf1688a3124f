"""Generated scenes of coloured shapes with questions, captions, statements and German translations.

Nothing is read from disk; everything is a function of (seed, split, index). The content of a scene determines its
split, so that no two splits share a scene.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.synthetic.shapes.captions import captions
from velm_lightning.data.synthetic.shapes.german import sentences
from velm_lightning.data.synthetic.shapes.questions import ask, state
from velm_lightning.data.synthetic.shapes.render import render
from velm_lightning.data.synthetic.shapes.scene import FEWEST, MOST, Scene, draw, generator
from velm_lightning.errors import at_least
from velm_lightning.types import SPLITS, Dataset, InputError, Sample

_SCENE, _RENDERING, _LANGUAGE = range(3)


class Scenes(Dataset):
    """Base class of datasets of scenes; subclasses generate the texts.

    Args:
        train: Number of scenes in the training split.
        val: Number of scenes in the validation split.
        test: Number of scenes in the test split.
        size: Side of the square images in pixels.
        seed: Seed of the scenes.
        most: Maximum number of things per scene; fewer make references easier to resolve.
    """

    def __init__(
        self, train: int = 3000, val: int = 500, test: int = 500, size: int = 64, seed: int = 0, most: int = MOST
    ) -> None:
        self.scenes_in = {"train": train, "val": val, "test": test}
        self.size, self.seed, self.most = size, seed, most
        at_least(1, train=train)
        at_least(0, val=val, test=test)
        at_least(16, size=size)
        at_least(0, seed=seed)
        if not FEWEST <= most <= MOST:
            raise InputError(f"most must be from {FEWEST} to {MOST}, got {most}")
        self._images: dict[str, Tensor] = {}
        self._samples: dict[str, list[Sample]] = {}

    def scene(self, name: str, index: int) -> Scene:
        """Return the scene of one image of the split ``name``."""
        return draw(generator(self.seed, name, index, _SCENE), name, self.most)

    def images(self, name: str) -> Tensor:
        """Return the images of the split ``name``, (S, 3, size, size) uint8: rendered on the first call."""
        if name not in self._images:
            images = np.empty((self._count(name), 3, self.size, self.size), dtype=np.uint8)
            for index in range(len(images)):
                images[index] = render(
                    self.scene(name, index), generator(self.seed, name, index, _RENDERING), self.size
                )
            self._images[name] = torch.from_numpy(images)
        return self._images[name]

    @override
    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of ``train``, ``val`` or ``test``, scene by scene; ``image`` is a view of `images`."""
        if name not in self._samples:
            samples: list[Sample] = []
            for index, image in enumerate(self.images(name)):
                rng = generator(self.seed, name, index, _LANGUAGE)
                samples += self._samples_of(name, self.scene(name, index), rng, f"{name}-{index:06d}", image)
            self._samples[name] = samples
        return self._samples[name]

    def _count(self, name: str) -> int:
        if name not in self.scenes_in:
            raise InputError(f"split {name!r} does not exist: choose one of {', '.join(SPLITS)}")
        return self.scenes_in[name]

    @abstractmethod
    def _samples_of(
        self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor
    ) -> Iterator[Sample]:
        """Yield the samples of one scene, whose keys begin with ``key``."""


class ShapeScenes(Scenes):
    """Questions about coloured shapes in five groups; given only the question, all answers are equally likely.

    ``exist``, ``count``, ``attribute``, ``relation`` and ``comparison``; see `shapes.questions`. The answer is one of
    yes, no, 0…3, a colour or a shape. The arguments are those of `Scenes`, without ``most``, and:

    Args:
        questions_per_scene: Maximum number of questions per scene, each of another kind.

    Raises:
        InputError: A number is too small.

    Example:
        >>> import velm_lightning as velm
        >>> sample = velm.ShapeScenes(train=1, size=16).split("train")[0]
        >>> sample.image.shape, sample.key
        (torch.Size([3, 16, 16]), 'train-000000-0')
    """

    def __init__(
        self,
        train: int = 3000,
        val: int = 500,
        test: int = 500,
        questions_per_scene: int = 8,
        size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val, test, size, seed)
        at_least(1, questions_per_scene=questions_per_scene)
        self.questions_per_scene = questions_per_scene

    @override
    def _samples_of(
        self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor
    ) -> Iterator[Sample]:
        for place, (text, answer, group, _) in enumerate(ask(scene, rng, self.questions_per_scene)):
            yield Sample(f"{key}-{place}", image, text, {answer: 1.0}, (answer,), group)


class ShapeCaptions(Scenes):
    """Scenes with five captions each as targets; the arguments are those of `Scenes`.

    ``train`` has one sample per caption, ``val`` and ``test`` have one per scene; all have the five as references.
    The groups are the numbers of things in the scene.

    Example:
        >>> import velm_lightning as velm
        >>> sample = velm.ShapeCaptions(train=1, size=16).split("train")[0]
        >>> sample.text, isinstance(sample.target, str)
        ('', True)
    """

    @override
    def _samples_of(
        self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor
    ) -> Iterator[Sample]:
        written = captions(scene, rng)
        for place, caption in enumerate(written if split == "train" else written[:1]):
            yield Sample(f"{key}-{place}", image, "", caption, written, f"{len(scene.things)} things")


class ShapeStatements(Scenes):
    """Statements about a scene that are true or false with equal probability given the words.

    The groups are those of `ShapeScenes`; the arguments are those of `Scenes` and:

    Args:
        statements_per_scene: Maximum number of statements per scene.
    """

    def __init__(
        self,
        train: int = 3000,
        val: int = 500,
        test: int = 500,
        statements_per_scene: int = 8,
        size: int = 64,
        seed: int = 0,
        most: int = MOST,
    ) -> None:
        super().__init__(train, val, test, size, seed, most)
        at_least(1, statements_per_scene=statements_per_scene)
        self.statements_per_scene = statements_per_scene

    @override
    def _samples_of(
        self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor
    ) -> Iterator[Sample]:
        for place, question in enumerate(ask(scene, rng, self.statements_per_scene)):
            text, holds = state(question, rng)
            answer = "true" if holds else "false"
            yield Sample(f"{key}-{place}", image, text, {answer: 1.0}, (answer,), question.group)


class ShapeTranslations(Scenes):
    """English sentences about a scene with German translations as targets; the arguments are those of `Scenes`.

    In the group ``one`` the translation depends on the image: "the red one is above the blue one" is *der rote ist über
    dem blauen* of a circle or a star and *das rote …* of a square or a triangle. In ``named`` the words suffice.
    """

    @override
    def _samples_of(
        self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor
    ) -> Iterator[Sample]:
        for place, (english, german, group) in enumerate(sentences(scene, rng)):
            yield Sample(f"{key}-{place}", image, english, german, (german,), group)
