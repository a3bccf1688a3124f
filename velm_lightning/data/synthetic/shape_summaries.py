"""Generated reports about two images as prompts, with summaries as targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.synthetic.shape_scenes import ShapeCaptions
from velm_lightning.data.synthetic.shapes.scene import MOST, Scene, generator, pick
from velm_lightning.types import Dataset, Sample

_REPORT = 3  # a separate random stream; see `shape_scenes`
_WHICH = ("first", "second")
OPENINGS = ("two pictures were shown on monday.", "the gallery opened its doors at noon.", "many people came to look.")
ASIDES = ("it rained all day.", "the coffee was cold.", "nobody spoke about the frames.", "the room was large.")
VERDICTS = ("liked", "bought", "laughed at")


class ShapeSummaries(Dataset):
    """Reports about two images, each with a summary: a document and several images in one prompt.

    A report names the thing in each image that "they" liked, bought or laughed at, among other sentences in random
    order: "in the first picture it was the red thing." Only the image shows its shape, which the summary names: "they
    liked a star and a circle." The groups are the verdicts.

    Args:
        train: Number of reports in the training split.
        val: Number of reports in the validation split.
        test: Number of reports in the test split.
        size: Side of the square images in pixels.
        seed: Seed of the images and reports.
        most: Maximum number of things per image.
    """

    def __init__(
        self, train: int = 3000, val: int = 300, test: int = 300, size: int = 64, seed: int = 0, most: int = MOST
    ) -> None:
        self.scenes = ShapeCaptions(2 * train, 2 * val, 2 * test, size, seed, most)  # only for their scenes and images
        self.seed = seed
        self._samples: dict[str, list[Sample]] = {}

    @override
    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of a split; the two images of a sample are views of one tensor."""
        if name not in self._samples:
            images = self.scenes.images(name)
            pairs = images.view(len(images) // 2, 2, *images.shape[1:])
            self._samples[name] = [self._report(name, number, pair.unbind()) for number, pair in enumerate(pairs)]
        return self._samples[name]

    def _report(self, name: str, number: int, images: tuple[Tensor, ...]) -> Sample:
        rng = generator(self.seed, name, number, _REPORT)
        things = [_reference(self.scenes.scene(name, 2 * number + place), rng) for place in (0, 1)]
        sentences = [
            f"in the {which} picture it was {words}." for which, (words, _) in zip(_WHICH, things, strict=True)
        ]
        verdict, body = pick(rng, VERDICTS), [*sentences, pick(rng, ASIDES)]
        shuffled = [body[place] for place in rng.permutation(len(body)).tolist()]
        report = " ".join((pick(rng, OPENINGS), f"there was one thing in each that they {verdict}.", *shuffled))
        summary = f"they {verdict} {' and '.join(f'a {shape}' for _, shape in things)}."
        return Sample(f"{name}-{number:06d}", images, report, summary, (summary,), verdict)


def _reference(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """Return words that refer to one thing of a scene without its shape, and the shape."""
    thing = pick(rng, scene.things)
    words = scene.name(thing, "colour", "size colour")
    return f"the {words.noun(anything='thing')}" if words else f"the thing {thing.place}", thing.shape
