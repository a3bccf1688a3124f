"""Retrieval: find the picture of a text and the text of a picture."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.io.seeding import stable_number
from velm_lightning.metrics.retrieval import recall_of_folds
from velm_lightning.metrics.signature import signature_of
from velm_lightning.nn.distributed import all_gather_with_grad
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.floors import Floors
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.ranking import CachedSample, Direction, SearchIndex
from velm_lightning.tasks.rows import mean
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, Sample, Tokens

KS = (1, 5, 10)
LARGEST_SCALE = 100.0


class Retrieval(Task):
    """Image and text are compared alone, and what looks alike is read together.

    Alone, each becomes a vector, and the vectors of one pair are drawn together, all others apart (CLIP, Radford et al.
    2021; SigLIP, Zhai et al. 2023); several texts of one picture in a batch are each other's pairs (UniCL, Yang et al.
    2022). Together, a pair's fused summary corrects that similarity: it is learned on hard negatives of the batch
    (ALBEF, Li et al. 2021), and in evaluation it puts the best ``shortlist`` of a search in another order. So every
    fusion is a cross-encoder behind two towers; late fusion's is the cheap one, vector to vector.

    Pairs are told apart among the samples that all processes see at once, hard negatives among those of one process.
    Gradient accumulation adds no others: the loss of a step in two micro-batches is not that of one batch of twice the
    size, and a larger batch is a harder task.

    A sample is a picture with a text and nothing to produce; see ``CaptionPairs``.

    Args:
        width: width of the vectors that are compared.
        contrast: ``softmax``: cross-entropy over the pairs of the batch, both ways; ``sigmoid``: each pair by itself.
        temperature: divides similarities at first; it is learned.
        matching: weight of the fused pairs in the loss, above 0.
        negatives: hard negatives of each text and of each picture.
        shortlist: how many results of a search are read with the query; 0 takes the two towers alone.
        fold: number of pictures that are ranked among themselves, in the order of their keys, as 1,000 for COCO's 1K
            protocol; none takes all.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        width: int = 256,
        contrast: Literal["softmax", "sigmoid"] = "softmax",
        temperature: float = 0.07,
        matching: float = 1.0,
        negatives: int = 1,
        shortlist: int = 16,
        fold: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("matching", matching)):
            if value <= 0:
                raise InputError(f"task.{name}={value} must be above 0")
        if negatives < 1 or shortlist < 0 or (fold is not None and fold < 1):
            raise InputError(
                f"task.negatives={negatives} and task.fold={fold} must be at least 1, "
                f"task.shortlist={shortlist} at least 0"
            )
        self.width, self.contrast, self.temperature, self.matching = width, contrast, temperature, matching
        self.negatives, self.shortlist, self.fold = negatives, shortlist, fold
        self._held: dict[str, CachedSample] = {}
        self._pictures: set[str] = set()

    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """See ``Task.build``."""
        dim = text_encoder.dim
        self.image, self.text = nn.Linear(dim, self.width), nn.Linear(dim, self.width)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.temperature)))
        # SigLIP starts with few pairs taken for matches; a softmax does not feel a shift.
        self.shift = nn.Parameter(torch.tensor(-10.0)) if self.contrast == "sigmoid" else None
        self.match = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim), nn.Linear(dim, 1, bias=False))

    def vectors(self, model: FusionProtocol, image: Tokens, text: Tokens) -> tuple[Tensor, Tensor]:
        """Return the unit vectors (I, W) of images and (T, W) of the output of ``encode_text``."""
        return self.image_vectors(image), self.text_vectors(model, text)

    def image_vectors(self, image: Tokens) -> Tensor:
        """Return the unit vectors (I, W) of images."""
        return F.normalize(self.image(image.mean()), dim=-1)

    def text_vectors(self, model: FusionProtocol, text: Tokens) -> Tensor:
        """Return the unit vectors (T, W) of texts that ``encode_text`` has read."""
        return F.normalize(self.text(model.text_features(text)), dim=-1)

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the logits (I, T) of unit vectors: how well each pair goes together, seen alone."""
        logits = self.log_scale.exp().clamp(max=LARGEST_SCALE) * images @ texts.T
        return logits if self.shift is None else logits + self.shift

    def correction(self, model: FusionProtocol, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Return what reading pairs (P,) together adds to their similarity; ``encode_text`` has read the texts."""
        found: Tensor = self.match(model.fuse_pairs(image, text, images, texts))[:, 0]
        return found

    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """See ``Task.loss``: over the pairs of all processes."""
        image, text = model.encode_image(batch.image), model.encode_text(model.embed_text(batch.words))
        images, texts = self.vectors(model, image, text)
        names = torch.tensor([stable_number(name) for name in batch.pictures], device=images.device)
        alone = self._contrast(images, texts, names)
        return alone + self.matching * self._matching(model, (image, text), self.similarity(images, texts), names)

    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """See ``Task.forward_once``: each picture is read with its own text, alone and together."""
        self._own(model, batch)

    def _contrast(self, images: Tensor, texts: Tensor, names: Tensor) -> Tensor:
        """Return the loss of this process's rows among those of all."""
        same = names[:, None] == all_gather_with_grad(names)[None]  # (B, R)
        every_text = self.similarity(images, all_gather_with_grad(texts))
        every_image = self.similarity(all_gather_with_grad(images), texts).T
        if self.contrast == "sigmoid":
            sign = 2.0 * same - 1
            return -(F.logsigmoid(sign * every_text) + F.logsigmoid(sign * every_image)).sum(1).mean() / 2
        share = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(every_text, share) + F.cross_entropy(every_image, share)) / 2

    def _matching(
        self, model: FusionProtocol, pair: tuple[Tokens, Tokens], similarity: Tensor, names: Tensor
    ) -> Tensor:
        """Tell true pairs from hard negatives of the batch: another text for an image, another image for a text."""
        alone, same = similarity.detach(), names[:, None] == names[None]
        rows = torch.arange(len(names), device=names.device)
        repeated = rows.repeat_interleave(self.negatives)
        other_texts, other_images = (self._hard(logits, same).flatten() for logits in (alone, alone.T))
        images = torch.cat([rows, repeated, other_images])
        texts = torch.cat([rows, other_texts, repeated])
        logits = self.correction(model, *pair, images, texts) + alone[images, texts]
        true, *wrong = torch.split(logits, [len(rows), len(repeated), len(repeated)])
        exists = (~same).any(1)  # a batch may show one picture alone
        losses = [-torch.cat([true[:, None], one.view(len(rows), -1)], 1).log_softmax(1)[:, 0] for one in wrong]
        return ((losses[0] + losses[1]) * exists).mean() / 2

    def _hard(self, logits: Tensor, same: Tensor) -> Tensor:
        """Draw for each row (B, B) some columns (B, K) of other pictures, the more similar the likelier."""
        weights = logits.float().softmax(1).masked_fill(same, 0)
        nothing = weights.sum(1, keepdim=True) <= 0  # no other picture, or none with a likelihood that is left
        weights = torch.where(nothing, (~same).float() + same.all(1, keepdim=True), weights)
        return torch.multinomial(weights, self.negatives, replacement=True)

    # Evaluation: every picture and text is kept until all have been seen.

    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """See ``Task.predict``; ranks come with the whole table."""
        image = model.encode_image(batch.image)
        images, texts = self.vectors(model, image, model.encode_text(model.embed_text(batch.words)))
        for i, (key, name) in enumerate(zip(batch.keys, batch.pictures, strict=True)):
            first = key == name or name not in self._pictures  # a picture is kept once
            self._pictures.add(name)
            words = batch.ids[i][batch.mask[i] & (batch.block_ids[i] == 0)].tolist()
            tokens = (
                image.embeddings[i] if self.shortlist else image.embeddings[i, :0]
            )  # read with a query, or not needed again
            shown = (_kept(images[i]), _kept(tokens)) if first else None
            self._held[key] = CachedSample(key, batch.prompts[i], name, _kept(texts[i]), words, shown)
        nothing = math.nan
        return [
            Prediction(key, "", text, "", (name,), nothing, nothing, nothing, name)
            for key, text, name in zip(batch.keys, batch.prompts, batch.pictures, strict=True)
        ]

    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``Task.aggregate``: two searches, a row for every text and a row for every picture."""
        gallery = SearchIndex.of({row.key for row in rows}, self._held, self.fold)
        self._held, self._pictures = {}, set()
        found = [row for direction in Direction for row in gallery.search(self, model, direction)]
        return self.score(found)

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``Task.score``: one over the rank."""
        return [row._replace(score=1 / rank_of(row)) if row.prediction else row for row in rows]

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``Task.compute_metrics``: recall at 1, 5, 10 and median ranks, both ways; the headline is mean recall."""
        found: dict[str, float] = {}
        for direction in Direction:
            folds: dict[str, list[int]] = {}
            for row in rows:
                if row.group.startswith(direction.value):
                    folds.setdefault(row.group, []).append(rank_of(row) - 1)
            if folds:
                recalls = recall_of_folds(list(folds.values()), KS)
                name = direction.value.replace(" ", "_")
                found |= {f"{name}_r{k}": recalls[f"R@{k}"] for k in KS}
                found[f"{name}_median_rank"] = recalls["median rank"]
        return {"score": mean(value for name, value in found.items() if "_r" in name[-4:]), **found}

    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        """See ``Task.floors``: the expected recalls of a random ranking, over the same folds."""
        folds: dict[str, dict[Direction, list[Prediction]]] = {}
        for row in rows:
            for direction in Direction:
                if row.group.startswith(direction.value):
                    fold = folds.setdefault(row.group.removeprefix(direction.value), {one: [] for one in Direction})
                    fold[direction].append(row)
        if not folds:
            return {}
        found = {}
        for k in KS:
            of_folds = [_chance(fold[Direction.IMAGES], fold[Direction.TEXTS], k) for fold in folds.values()]
            for direction, values in zip(Direction, zip(*of_folds, strict=True), strict=True):
                found[f"{direction.value.replace(' ', '_')}_r{k}"] = mean(values)
        return {"chance": {"score": mean(found.values()), **found}}

    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """See ``Task.top_answers``: whether image and text match; compare such figures only with each other."""
        matches = self._own(model, batch).sigmoid().tolist()
        both = [sorted((("match", p), ("no match", 1 - p)), key=lambda one: -one[1]) for p in matches]
        return [found[:count] for found in both]

    def _own(self, model: FusionProtocol, batch: Batch) -> Tensor:
        image, text = model.encode_image(batch.image), model.encode_text(model.embed_text(batch.words))
        rows = torch.arange(batch.size, device=image.embeddings.device)
        images, texts = self.vectors(model, image, text)
        return self.correction(model, image, text, rows, rows) + self.similarity(images, texts).diagonal()

    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """See ``Task.with_targets``: a pair is its own target."""
        return batch

    def evidence(self, model: FusionProtocol, batch: Batch, answers: Sequence[str]) -> Tensor:
        """See ``Task.evidence``: of the pairs."""
        return self._own(model, batch).sum()

    def signature(self, split: str) -> str:
        """See ``Task.signature``."""
        told = {"gallery": f"folds of {self.fold}" if self.fold else "all", "shortlist": str(self.shortlist)}
        return signature_of("mean recall", split=split, **told)


def _chance(texts: Sequence[Prediction], pictures: Sequence[Prediction], k: int) -> tuple[float, float]:
    """Return R@k of a random ranking, of pictures for each text and of texts for each picture."""
    count, images = len(texts), len(pictures)
    if not count or not images:
        return math.nan, math.nan
    every = math.comb(count, min(k, count))
    hits = mean(1 - math.comb(count - len(row.references), min(k, count)) / every for row in pictures)
    return min(1.0, k / images), hits


def rank_of(row: Prediction) -> int:
    """Return the rank, from 1, that a row's prediction tells."""
    found = re.match(r"rank (\d+)", row.prediction)
    if found is None:
        raise InputError(f"sample {row.key!r}: {row.prediction!r} tells no rank: the row is of another task")
    return int(found[1])


def _kept(row: Tensor) -> Tensor:
    """Copy a row to the CPU: a view would keep, and send to other processes, the whole batch it is of."""
    return row.detach().cpu().clone()
