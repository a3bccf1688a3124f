"""Generated conversations about one or two scenes, each shown where the conversation turns to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.datasets.conversation_samples import samples_of
from velm_lightning.data.datasets.messages import Conversation
from velm_lightning.data.synthetic.shape_scenes import Scenes
from velm_lightning.data.synthetic.shapes.dialogues import Exchange, exchanges_about
from velm_lightning.data.synthetic.shapes.scene import MOST, Scene
from velm_lightning.errors import at_least
from velm_lightning.types import Sample, Turn


class ShapeConversations(Scenes):
    """Conversations of two turns about a scene; every second one goes on with two turns about another scene.

    The turns are those of ``ShapeDialogues``: the second question says "it" or "them". The question at which the
    second image stands has the same words as one about the first, so that a model must use the image of its turn.
    Training has one sample per conversation, which learns all replies; evaluation has one per reply, in the groups
    ``first``, ``it`` and ``them``, and, about the second scene, ``first, image 2`` and so on. The arguments are those
    of `Scenes` and:

    Args:
        conversations_per_scene: Maximum number of conversations that begin with a scene.

    Example:
        >>> from velm_lightning.data import ShapeConversations
        >>> samples = ShapeConversations(train=4, size=16).split("train")
        >>> sorted({(len(sample.image), len(sample.turns)) for sample in samples})
        [(1, 4), (2, 8)]
    """

    def __init__(
        self,
        train: int = 3000,
        val: int = 150,
        test: int = 300,
        conversations_per_scene: int = 4,
        size: int = 64,
        seed: int = 0,
        most: int = MOST,
    ) -> None:
        super().__init__(train, val, test, size, seed, most)
        at_least(1, conversations_per_scene=conversations_per_scene)
        self.conversations_per_scene = conversations_per_scene

    @override
    def _samples_of(
        self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor
    ) -> Iterator[Sample]:
        for place, exchange in enumerate(exchanges_about(scene, rng, self.conversations_per_scene)):
            exchanges, images = [exchange], [image]
            if place % 2:
                other = int(rng.integers(self._count(split)))
                exchanges += exchanges_about(self.scene(split, other), rng, 1)
                images += [self.images(split)[other]] * (len(exchanges) - 1)  # none if nothing can be asked about it
            turns = tuple(turn for exchange in exchanges for turn in _turns(exchange))
            groups = [group + ", image 2" * (n > 1) for n, group in enumerate(_groups(exchanges))]
            talk = Conversation(split, f"{key}-{place}", turns, tuple(images))
            for sample, group in zip(samples_of(talk, split == "train"), groups, strict=False):
                yield sample if split == "train" else sample._replace(group=group)


def _groups(exchanges: list[Exchange]) -> list[str]:
    return [group for exchange in exchanges for group in ("first", exchange.group)]


def _turns(exchange: Exchange) -> Iterator[Turn]:
    """Yield the turns of an exchange, with an image before the first question."""
    for place, (question, reply) in enumerate((exchange.first, exchange.second)):
        yield Turn("user", (question,) if place else (None, question))
        yield Turn("assistant", (reply,), learned=True)
