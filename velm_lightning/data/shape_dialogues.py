"""The embedded dialogues: two turns about a scene, the history in the prompt, the reply to produce."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from velm_lightning.data.shape_scenes import Scenes, at_least
from velm_lightning.data.shapes.dialogues import talk
from velm_lightning.data.shapes.scene import MOST, Scene
from velm_lightning.types import Sample


class ShapeDialogues(Scenes):
    """Replies in the second turn of a dialogue about a scene, whose first turn says what "it" or "them" stands for.

    "is there a red thing? yes. where is it?" - "it is in the top left." In the group ``it`` the first turn names one
    thing, in ``them`` some. The arguments are those of `Scenes`, and:

    Args:
        train: number of scenes in the training split.
        val: number of scenes in the validation split.
        test: number of scenes in the test split.
        dialogues_per_scene: how many dialogues are held about a scene, if it allows as many.
        size: side of the square pictures in pixels.
        seed: another seed gives other scenes.
        most: most things in a scene.
    """

    def __init__(
        self,
        train: int = 3000,
        val: int = 300,
        test: int = 300,
        dialogues_per_scene: int = 6,
        size: int = 64,
        seed: int = 0,
        most: int = MOST,
    ) -> None:
        super().__init__(train, val, test, size, seed, most)
        at_least("dialogues_per_scene", dialogues_per_scene, 1)
        self.dialogues_per_scene = dialogues_per_scene

    def _say(self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor) -> Iterator[Sample]:
        for place, (history, question, reply, group) in enumerate(talk(scene, rng, self.dialogues_per_scene)):
            yield Sample(f"{key}-{place}", image, f"{history} {question}", reply, (reply,), group)
