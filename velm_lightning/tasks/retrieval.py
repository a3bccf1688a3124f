"""Retrieval: find the image of a text and the texts of an image."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.errors import at_least, positive
from velm_lightning.io.seeding import stable_number
from velm_lightning.metrics.retrieval import recall_of_folds
from velm_lightning.metrics.signature import signature_of
from velm_lightning.nn.distributed import all_gather_with_grad
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.floors import Floors
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.ranking import CachedSample, Direction, SearchIndex, fold_of
from velm_lightning.tasks.rows import mean
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, Sample, Tokens

KS = (1, 5, 10)
LARGEST_SCALE = 100.0


class Retrieval(Task):
    """Compares images and texts by two towers, and corrects the similarity of near pairs by their fused states.

    The towers encode image and text separately, and a contrastive loss pulls the vectors of a pair together (CLIP,
    Radford et al. 2021; SigLIP, Zhai et al. 2023); several texts of one image in a batch are all positives (UniCL, Yang
    et al. 2022). The pooled fused states of a pair correct its similarity: the correction is learned on hard negatives
    of the batch (ALBEF, Li et al. 2021), and reranks the best ``shortlist`` results of a search in evaluation. So every
    fusion is a cross-encoder behind two towers; that of late fusion is cheap, vector to vector.

    Contrastive negatives come from all processes, hard negatives from one process. Gradient accumulation adds none: the
    loss of a step in two micro-batches differs from that of one batch of twice the size, and larger batches are harder.

    A sample is an image with a text and without a target; see ``CaptionPairs``.

    Args:
        width: width of the vectors of the towers; a linear map of either side leads to it. None means the width of the
            text encoder: the vector of an image is then the mean of the connector's tokens, and the map of texts starts
            as the identity, so that images are learned into the space of a pretrained sentence encoder (DeViSE, Frome
            et al. 2013).
        contrast: ``softmax``: cross-entropy over the pairs of the batch, both ways; ``sigmoid``: each pair by itself.
        temperature: initial value of the learned temperature.
        matching: weight of the matching loss of fused pairs, above 0.
        negatives: number of hard negatives per text and per image.
        shortlist: number of results that are reranked by the fusion; 0 uses only the two towers.
        fold: number of images that are ranked among themselves, in the order of their keys, as 1,000 for COCO's 1K
            protocol; None means all.
        text_dropout: dropout on the vectors of texts before their linear map; images have that of the connector.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                         task=velm.Retrieval(width=32), vocabulary=data.vocabulary)
        >>> model.text_features(["a red circle", "a blue square"]).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        width: int | None = 256,
        contrast: Literal["softmax", "sigmoid"] = "softmax",
        temperature: float = 0.07,
        matching: float = 1.0,
        negatives: int = 1,
        shortlist: int = 16,
        fold: int | None = None,
        text_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        positive("task", temperature=temperature, matching=matching)
        at_least(1, "task", negatives=negatives, fold=fold, width=width)
        at_least(0, "task", shortlist=shortlist)
        if not 0 <= text_dropout < 1:
            raise InputError(f"task.text_dropout must be from 0 to below 1, got {text_dropout}")
        self.width, self.contrast, self.temperature, self.matching = width, contrast, temperature, matching
        self.negatives, self.shortlist, self.fold = negatives, shortlist, fold
        self.drop_text = nn.Dropout(text_dropout)
        self._cached: dict[str, CachedSample] = {}
        self._stored_images: set[str] = set()

    @override
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        dim = text_encoder.dim
        self.image: nn.Module = nn.Identity() if self.width is None else nn.Linear(dim, self.width)
        self.text = nn.Linear(dim, self.width or dim)
        if self.width is None:
            nn.init.eye_(self.text.weight)
            nn.init.zeros_(self.text.bias)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.temperature)))
        # SigLIP starts with few predicted matches; a softmax is invariant to a shift.
        self.shift = nn.Parameter(torch.tensor(-10.0)) if self.contrast == "sigmoid" else None
        self.match = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim), nn.Linear(dim, 1, bias=False))

    def vectors(self, model: FusionProtocol, image: Tokens, text: Tokens) -> tuple[Tensor, Tensor]:
        """Return the unit vectors (I, W) of images and (T, W) of the output of ``encode_text``."""
        return self.image_vectors(image), self.text_vectors(model, text)

    def image_vectors(self, image: Tokens) -> Tensor:
        """Return the unit vectors (I, W) of images."""
        return F.normalize(self.image(image.mean()), dim=-1)

    def text_vectors(self, model: FusionProtocol, text: Tokens) -> Tensor:
        """Return the unit vectors (T, W) of the output of ``encode_text``."""
        return F.normalize(self.text(self.drop_text(model.pool_text(text))), dim=-1)

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the similarity logits (I, T) of unit vectors."""
        logits = self.log_scale.exp().clamp(max=LARGEST_SCALE) * images @ texts.T
        return logits if self.shift is None else logits + self.shift

    def correction(self, model: FusionProtocol, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Return the correction (P,) of the similarity of pairs; ``text`` is the output of ``encode_text``."""
        correction: Tensor = self.match(model.fuse_pairs(image, text, images, texts))[:, 0]
        return correction

    @override
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the sum of the contrastive loss over all processes and the weighted matching loss."""
        image, text = model.encode_image(batch.image), model.encode_text(model.embed_text(batch.words))
        images, texts = self.vectors(model, image, text)
        names = torch.tensor([stable_number(name) for name in batch.image_names])
        names = names.to(images.device, non_blocking=True)
        contrast = self._contrast(images, texts, names)
        return contrast + self.matching * self._matching(model, (image, text), self.similarity(images, texts), names)

    @override
    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """Encode and fuse each image with its text."""
        self._pair_logits(model, batch)

    def _contrast(self, images: Tensor, texts: Tensor, names: Tensor) -> Tensor:
        """Return the contrastive loss of the rows of this process among the rows of all."""
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
        """Return the loss of pairs against hard negatives: other texts for an image, other images for a text."""
        detached, same = similarity.detach(), names[:, None] == names[None]
        rows = torch.arange(len(names), device=names.device)
        repeated = rows.repeat_interleave(self.negatives)
        other_texts, other_images = (self._hard(logits, same).flatten() for logits in (detached, detached.T))
        images = torch.cat([rows, repeated, other_images])
        texts = torch.cat([rows, other_texts, repeated])
        logits = self.correction(model, *pair, images, texts) + detached[images, texts]
        true, *wrong = torch.split(logits, [len(rows), len(repeated), len(repeated)])
        exists = (~same).any(1)  # a batch may hold only one image
        losses = [-torch.cat([true[:, None], part.view(len(rows), -1)], 1).log_softmax(1)[:, 0] for part in wrong]
        return ((losses[0] + losses[1]) * exists).mean() / 2

    def _hard(self, logits: Tensor, same: Tensor) -> Tensor:
        """Sample K columns of other images per row of (B, B) logits, by their softmax: (B, K)."""
        weights = logits.float().softmax(1).masked_fill(same, 0)
        nothing = weights.sum(1, keepdim=True) <= 0  # no other image, or all probabilities underflow
        weights = torch.where(nothing, (~same).float() + same.all(1, keepdim=True), weights)
        return torch.multinomial(weights, self.negatives, replacement=True)

    # Evaluation: vectors are stored until all samples have been encoded.

    @override
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """Store the vectors and return rows without ranks, which need all samples."""
        image = model.encode_image(batch.image)
        images, texts = self.vectors(model, image, model.encode_text(model.embed_text(batch.words)))
        for i, (key, name) in enumerate(zip(batch.keys, batch.image_names, strict=True)):
            first = key == name or name not in self._stored_images  # an image is stored once
            self._stored_images.add(name)
            words = batch.ids[i][batch.mask[i] & (batch.block_ids[i] == 0)].tolist()
            tokens = image.embeddings[i] if self.shortlist else image.embeddings[i, :0]  # needed for reranking only
            self._cached[key] = CachedSample(
                key=key,
                group=batch.groups[i],
                text=batch.prompts[i],
                name=name,
                vector=_copied(texts[i]),
                words=words,
                encoded_image=(_copied(images[i]), _copied(tokens)) if first else None,
            )
        nothing = math.nan
        return [
            Prediction(
                key=key,
                group="",
                prompt=text,
                prediction="",
                references=(name,),
                score=nothing,
                confidence=nothing,
                loss=nothing,
                image=name,
            )
            for key, text, name in zip(batch.keys, batch.prompts, batch.image_names, strict=True)
        ]

    @override
    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        """Search in both directions and return one row per text and one per image."""
        index = SearchIndex.of({row.key for row in rows}, self._cached, self.fold)
        self._cached, self._stored_images = {}, set()
        return self.score([row for direction in Direction for row in index.search(self, model, direction)])

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Score each row by the reciprocal of its rank."""
        return [row._replace(score=1 / rank_of(row)) if row.prediction else row for row in rows]

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute recall at 1, 5 and 10 and median ranks in both directions; the headline is the mean recall."""
        metrics: dict[str, float] = {}
        for direction in Direction:
            folds: dict[str, list[int]] = {}
            for row in rows:
                if row.group.startswith(direction.value):
                    folds.setdefault(fold_of(row), []).append(rank_of(row) - 1)
            if folds:
                recalls = recall_of_folds(list(folds.values()), KS)
                name = direction.value.replace(" ", "_")
                metrics |= {f"{name}_r{k}": recalls[f"R@{k}"] for k in KS}
                metrics[f"{name}_median_rank"] = recalls["median rank"]
        return {"score": mean(value for name, value in metrics.items() if "_r" in name[-4:]), **metrics}

    @override
    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        """Return the expected recalls of a random ranking, over the same folds."""
        folds: dict[str, dict[Direction, list[Prediction]]] = {}
        for row in rows:
            for direction in Direction:
                if row.group.startswith(direction.value):
                    fold = folds.setdefault(
                        fold_of(row).removeprefix(direction.value), {each: [] for each in Direction}
                    )
                    fold[direction].append(row)
        if not folds:
            return {}
        recalls = {}
        for k in KS:
            of_folds = [_chance(fold[Direction.IMAGES], fold[Direction.TEXTS], k) for fold in folds.values()]
            for direction, values in zip(Direction, zip(*of_folds, strict=True), strict=True):
                recalls[f"{direction.value.replace(' ', '_')}_r{k}"] = mean(values)
        return {"chance": {"score": mean(recalls.values()), **recalls}}

    @override
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """Return the probability that image and text match; comparable only with each other."""
        matches = self._pair_logits(model, batch).sigmoid().tolist()
        both = [sorted((("match", p), ("no match", 1 - p)), key=lambda pair: -pair[1]) for p in matches]
        return [pairs[:count] for pairs in both]

    def _pair_logits(self, model: FusionProtocol, batch: Batch) -> Tensor:
        image, text = model.encode_image(batch.image), model.encode_text(model.embed_text(batch.words))
        rows = torch.arange(batch.size, device=image.embeddings.device)
        images, texts = self.vectors(model, image, text)
        return self.correction(model, image, text, rows, rows) + self.similarity(images, texts).diagonal()

    @override
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """Return the batch unchanged: the pair is the target."""
        return batch

    @override
    def evidence(self, model: FusionProtocol, batch: Batch, answers: Sequence[str]) -> Tensor:
        """Return the sum of the logits of the pairs."""
        return self._pair_logits(model, batch).sum()

    @override
    def signature(self, split: str) -> str:
        options = {"gallery": f"folds of {self.fold}" if self.fold else "all", "shortlist": str(self.shortlist)}
        return signature_of("mean recall", split=split, **options)


def _chance(texts: Sequence[Prediction], images: Sequence[Prediction], k: int) -> tuple[float, float]:
    """Return R@k of a random ranking, of images for each text and of texts for each image."""
    count = len(texts)
    if not texts or not images:
        return math.nan, math.nan
    every = math.comb(count, min(k, count))
    hits = mean(1 - math.comb(count - len(row.references), min(k, count)) / every for row in images)
    return min(1.0, k / len(images)), hits


def rank_of(row: Prediction) -> int:
    """Return the rank, from 1, in a row's prediction.

    Raises:
        InputError: the prediction holds no rank.
    """
    match = re.match(r"rank (\d+)", row.prediction)
    if match is None:
        raise InputError(f"sample {row.key!r}: {row.prediction!r} has no rank: the row is of another task")
    return int(match[1])


def _copied(row: Tensor) -> Tensor:
    """Return a copy of a row on the CPU: a view would store, and send to other processes, the whole batch."""
    return row.detach().cpu().clone()
