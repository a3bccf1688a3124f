"""Measures how much the score of a trained model depends on the image and on the text.

The score of a split is computed again with the images, or the texts, permuted among the samples (the perceptual score,
Gat et al. 2021), and with a growing share of them missing (Ma et al. 2022). A missing image is replaced by the mean of
the split's images, a missing text by an empty prompt.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from copy import copy
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from velm_lightning.data import MultimodalData
from velm_lightning.data.incongruent import permuted, unchanged
from velm_lightning.data.split import Split
from velm_lightning.fusion import Fusion
from velm_lightning.io.digests import contents_of
from velm_lightning.io.seeding import stable_generator
from velm_lightning.tasks.rows import gather_rows
from velm_lightning.types import Batch, InputError, Prediction

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = ("image", "text")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the samples from which a modality is removed."""

_FOR_THE_MEAN = 256  # images


class Shuffled(NamedTuple):
    """The score if a modality is permuted among the samples.

    Attributes:
        scores: the score of each permutation.
        cost: the score of the unchanged samples minus the mean of ``scores``.
        perceptual: the cost as a share of the unchanged score (Gat et al. 2021).
        unchanged: number of samples that keep their content, because more than half of the samples share it.
    """

    scores: list[float]
    cost: float
    perceptual: float
    unchanged: int = 0


class Probe(NamedTuple):
    """The result of a probe, as ``probe.json`` of a run holds it.

    Attributes:
        split: name of the split.
        samples: number of samples.
        seed: seed of the permutations and of the choice of missing samples.
        score: score of the unchanged samples.
        shuffled: the scores after permutation, by modality; a modality with the same content in all samples is absent.
        shares: shares of the samples from which a modality is missing.
        missing: scores at these shares, by modality.
    """

    split: str
    samples: int
    seed: int
    score: float
    shuffled: dict[str, Shuffled]
    shares: list[float]
    missing: dict[str, list[float]]


class Prober:
    """Evaluates a model on altered samples of a split.

    Args:
        model: the model, in evaluation mode.
        split: the split, connected to the model.
        indices: indices of the samples to evaluate.
        batch_size: number of samples per batch.
        seed: seed of the permutations and of the choice of missing samples.

    Attributes:
        has: whether a modality varies over the samples, by modality.

    Raises:
        InputError: the samples are conversations.
    """

    def __init__(self, model: Fusion, split: Split, indices: Sequence[int], batch_size: int, seed: int) -> None:
        self.model, self.split, self.indices = model, split, list(indices)
        self.batch_size, self.seed = batch_size, seed
        texts = split.texts
        if texts.conversations:
            raise InputError("the samples are conversations, whose images and texts are one sequence: probe other data")
        self.contents: dict[str, list[Hashable]] = {
            "image": contents_of([texts.samples[i].image for i in self.indices]),
            "text": [tuple(texts.prompt_ids[i]) for i in self.indices],
        }
        self.has = {modality: len(set(contents)) > 1 for modality, contents in self.contents.items()}

    def score(self) -> float:
        """Return the score of the unchanged samples."""
        return self._score(self._batches())

    def order(self, modality: Modality, turn: int) -> list[int]:
        """Return, for each sample, the position of the sample whose image or text it gets; it depends on ``turn``."""
        return permuted(self.contents[modality], self.seed, modality, turn)

    def unchanged(self, modality: Modality) -> int:
        """Return the number of samples that keep their content under every permutation."""
        return unchanged(self.contents[modality], self.order(modality, 0))

    def shuffled(self, modality: Modality, turn: int) -> float:
        """Return the score if a modality is permuted among the samples; the permutation depends on ``turn``."""
        other = [self.indices[place] for place in self.order(modality, turn)]
        if modality == "image":
            return self._score(self._batches(pictures=other))
        return self._score(self._batches(prompts=[self.split.texts.prompt_ids[i] for i in other]))

    def missing(self, modality: Modality, share: float) -> float:
        """Return the score if a modality is missing from a share of the samples; larger shares include smaller ones."""
        priority = torch.rand(len(self.indices), generator=stable_generator(self.seed, modality))
        missing = torch.zeros(len(self.indices), dtype=torch.bool)
        missing[priority.argsort()[: round(share * len(self.indices))]] = True
        if modality == "image":
            return self._score(self._batches(blank=missing))
        texts, empty = self.split.texts, self.split.texts.vocabulary.prompt([])
        prompts = [texts.prompt_ids[index] for index in self.indices]
        prompts = [empty if gone else prompt for gone, prompt in zip(missing.tolist(), prompts, strict=True)]
        return self._score(self._batches(prompts=prompts))

    def _batches(
        self,
        pictures: Sequence[int] | None = None,
        prompts: Sequence[list[int]] | None = None,
        blank: Tensor | None = None,
    ) -> Iterator[Batch]:
        """Yield batches of the samples with altered images or prompts.

        Args:
            pictures: index of the sample whose image each sample gets; None keeps the images.
            prompts: prompt ids of each sample; None keeps the prompts.
            blank: (S,) bool, samples whose image is replaced by the mean image; None replaces none.
        """
        texts = copy(self.split.texts)
        if pictures is not None:
            texts.image_names = list(texts.image_names)  # a prediction names the image that was used
            for index, source in zip(self.indices, pictures, strict=True):
                texts.image_names[index] = self.split.texts.image_names[source]
        pictures = self.indices if pictures is None else pictures
        if prompts is not None:
            texts.prompt_ids = list(texts.prompt_ids)
            for index, prompt in zip(self.indices, prompts, strict=True):
                texts.prompt_ids[index] = prompt
        for start in range(0, len(self.indices), self.batch_size):
            part = slice(start, start + self.batch_size)
            image = self._images(pictures[part])
            if blank is not None and bool(blank[part].any()):
                image[blank[part]] = self._mean(image)
            yield texts.batch(self.indices[part], image)

    def _images(self, indices: Sequence[int]) -> Tensor:
        return self.split.read([(0, index) for index in indices]).image

    def _mean(self, like: Tensor) -> Tensor:
        """Return the mean image, or the mean features, of the split in the dtype of ``like``."""
        if not hasattr(self, "_mean_image"):
            sample = self.indices[:: -(-len(self.indices) // _FOR_THE_MEAN)]
            self._mean_image = self._images(sample).float().mean(0)
        return self._mean_image.to(like.dtype)

    def rows(self) -> list[Prediction]:
        """Return the table of an evaluation of the unchanged samples."""
        return self._table(self._batches())

    def first_batch(self) -> Batch:
        """Return the first batch of the unchanged samples, on the device of the model."""
        return next(self._batches()).to(self.model.device)

    def _score(self, batches: Iterator[Batch]) -> float:
        return self.model.task.compute_metrics(self._table(batches))["score"]

    @torch.inference_mode()
    def _table(self, batches: Iterator[Batch]) -> list[Prediction]:
        rows = [row for batch in batches for row in self.model.task.predict(self.model, batch.to(self.model.device))]
        return self.model.task.aggregate(self.model, gather_rows(rows))


def prober_of(model: Fusion, data: MultimodalData, split: str, limit: int | None = None, seed: int = 0) -> Prober:
    """Return a prober of a model, which is set to evaluation mode, on at most ``limit`` samples of a split."""
    data.connect(model.eval())
    view = data.with_features(split)
    indices = range(len(view))[:: max(1, -(-len(view) // limit))] if limit else range(len(view))
    return Prober(model, view, indices, data.batch_size, seed)


def probe(
    model: Fusion, data: MultimodalData, split: str, shuffles: int = 3, limit: int | None = None, seed: int = 0
) -> Probe:
    """Measure how much the score of a model depends on each modality.

    Args:
        model: a trained model; it is set to evaluation mode.
        data: the data module of its run.
        split: ``train``, ``val`` or ``test``.
        shuffles: number of permutations per modality.
        limit: largest number of samples, spread evenly over the split; None evaluates all of them.
        seed: seed of the permutations and of the choice of missing samples.
    """
    prober = prober_of(model, data, split, limit, seed)
    score = prober.score()
    shuffled: dict[str, Shuffled] = {}
    missing: dict[str, list[float]] = {}
    for modality in MODALITIES:
        if prober.has[modality]:
            scores = [prober.shuffled(modality, turn) for turn in range(shuffles)]
            cost = score - math.fsum(scores) / len(scores)
            share = cost / score if score else math.nan
            shuffled[modality] = Shuffled(scores, cost, share, prober.unchanged(modality))
            missing[modality] = [score, *(prober.missing(modality, share) for share in SHARES[1:])]
    return Probe(data.title(split), len(prober.indices), seed, score, shuffled, list(SHARES), missing)
