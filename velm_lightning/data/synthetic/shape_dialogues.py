"""Generated dialogues of two turns about a scene, with the history in the prompt."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.synthetic.shape_scenes import Scenes
from velm_lightning.data.synthetic.shapes.dialogues import exchanges_about
from velm_lightning.data.synthetic.shapes.scene import MOST, Scene
from velm_lightning.errors import at_least
from velm_lightning.types import Sample


class ShapeDialogues(Scenes):
    """Replies in both turns of dialogues about a scene; in the second, the first gives the referent of "it" or "them".

    "what shape is the red thing?" - "a star"; "what shape is the red thing? a star. where is it?" - "in the top left".
    As in VisDial (Das et al. 2017) every turn is a sample, in training and in evaluation: the group ``first`` has
    no history; in ``it`` the history names one thing, in ``them`` several. The arguments are those of `Scenes` and:

    Args:
        dialogues_per_scene: Maximum number of dialogues per scene.
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
        at_least(1, dialogues_per_scene=dialogues_per_scene)
        self.dialogues_per_scene = dialogues_per_scene

    @override
    def _samples_of(
        self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor
    ) -> Iterator[Sample]:
        begun = set()
        for place, (first, second, group) in enumerate(exchanges_about(scene, rng, self.dialogues_per_scene)):
            if first not in begun:  # several dialogues may begin alike
                begun.add(first)
                yield Sample(f"{key}-{place}-1", image, first.question, first.reply, (first.reply,), "first")
            history = f"{first.question} {first.reply}."
            yield Sample(
                f"{key}-{place}-2", image, f"{history} {second.question}", second.reply, (second.reply,), group
            )
