"""Generation: a sentence for a picture and a prompt: captions, translations, summaries, answers in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.decoding import Decoding, Greedy, Hypothesis
from velm_lightning.encoders.base import TextEncoder
from velm_lightning.nn.packed import Packing
from velm_lightning.tasks.base import HeadTask
from velm_lightning.tasks.heads import pretrained_head, tied_head
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import mean
from velm_lightning.tasks.sentences import Captions, SentenceScorer
from velm_lightning.tasks.stepping import CachedSteps, prompts
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, TextInput, Tokens


class Generation(HeadTask):
    """The words of the target, each predicted from the state before it; the block rule hides what comes later.

    Args:
        label_smoothing: share of the target's probability that is spread over the vocabulary.
        dropout: dropout before the head.
        decoding: how sentences are drawn in evaluation.
        scorer: what the sentences are scored by.
        head: ``tied``: a layer of its own before a vocabulary head that shares the word embedding (Press & Wolf 2017);
            ``own``: the head that a causal language model was pretrained with, and nothing before it.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        dropout: float = 0.0,
        decoding: Decoding | None = None,
        scorer: SentenceScorer | None = None,
        head: Literal["tied", "pretrained"] = "tied",
    ) -> None:
        super().__init__()
        self.kind = head
        self.label_smoothing, self.drop = label_smoothing, nn.Dropout(dropout)
        self._packing: Packing | None = None
        self.decoding, self.scorer = decoding or Greedy(), scorer or Captions()

    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """See ``Task.build``.

        Raises:
            InputError: the text encoder's own head is asked for, and it has none.
        """
        self.vocabulary = vocabulary
        self.projection, self.head = (
            pretrained_head(text_encoder) if self.kind == "pretrained" else tied_head(text_encoder)
        )

    def logits(self, states: Tensor) -> Tensor:
        """Turn states (..., D) into logits (..., V)."""
        logits: Tensor = self.head(self.drop(self.projection(states)))
        return logits

    def vectors(self, model: FusionProtocol, states: Tokens, batch: Batch) -> Tensor:
        """See ``HeadTask.vectors``: the states (W, D) before each target word.

        Raises:
            InputError: no sample has a sentence to produce.
        """
        return states.embeddings[:, :-1][_wanted(batch)]

    def head_logits(self, vectors: Tensor) -> Tensor:
        """See ``HeadTask.head_logits``: (W, V) logits over the word pieces."""
        return self.logits(vectors)

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss (W,) of each target word, given logits (W, V)."""
        smoothing = self.label_smoothing if self.training else 0.0
        said = batch.ids[:, 1:][_wanted(batch)]
        return F.cross_entropy(logits, said, reduction="none", label_smoothing=smoothing)

    def loss_from_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        """See ``HeadTask.loss_from_logits``: the mean over target words."""
        return self.losses(logits, batch).mean()

    def num_items(self, batch: Batch) -> int | Tensor:
        """See ``Task.num_items``: the target words."""
        return (batch.block_ids[:, 1:] > 0).sum()

    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """See ``Task.predict``; a row's loss is the mean over its words, its score comes with the whole table."""
        losses, found = self._row_losses(model, batch), self.sentences(model, batch)
        rows = []
        for i, key in enumerate(batch.keys):
            said, sure = self.vocabulary.decode(found[i][0].ids), math.exp(found[i][0].log_probability)
            asked, references = (key, batch.groups[i], batch.prompts[i]), batch.references[i]
            rows.append(Prediction(*asked, said, references, math.nan, sure, losses[i], batch.pictures[i]))
        return rows

    def _row_losses(self, model: FusionProtocol, batch: Batch) -> list[float]:
        if not bool((batch.block_ids > 0).any()):
            return [math.nan] * batch.size
        losses = self.losses(self.head_logits(self.vectors(model, model(batch), batch)), batch)
        owner = _wanted(batch).nonzero()[:, 0]
        total = torch.zeros(batch.size, dtype=losses.dtype, device=losses.device).index_add_(0, owner, losses)
        means: list[float] = (total / owner.bincount(minlength=batch.size)).tolist()
        return means

    def sentences(
        self, model: FusionProtocol, batch: Batch, decoding: Decoding | None = None
    ) -> list[list[Hypothesis]]:
        """Return for each sample the sentences that decoding finds, best first."""
        decoding = decoding or self.decoding
        steps = CachedSteps(model, batch, self.logits, decoding.max_length, self.packed(model))
        return decoding(steps, self.vocabulary.end, banned=self.banned_ids)

    def packed(self, model: FusionProtocol) -> Packing:
        """Return the model's layers on packed weights; they are kept while it evaluates, as long as nothing changes."""
        if self._packing is None or not self._packing.is_of(model):
            self._packing = Packing(model)
        return self._packing

    def train(self, mode: bool = True) -> Generation:
        """Switch the mode; what evaluation had packed is given up when training begins."""
        self._packing = None
        super().train(mode)
        return self

    @property
    def banned_ids(self) -> set[int]:
        """The word pieces that are never said."""
        words = self.vocabulary
        return {words.pad, words.start, words.mask, words.unknown} - {words.end}

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``Task.score``; a row without references has no score."""
        answered = [row for row in rows if row.references]
        scored = iter(self.scorer.score(answered) if answered else [])
        return [next(scored) if row.references else row._replace(score=math.nan) for row in rows]

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``Task.compute_metrics``: the scorer's figures over samples with references, and diversity."""
        answered = [row for row in rows if row.references]
        found = self.scorer.compute_metrics(answered) if answered else {self.scorer.name: math.nan}
        return {
            "score": found[self.scorer.name],
            **found,
            "loss": mean(row.loss for row in rows),
            "words_used": float(len({word for row in rows for word in row.prediction.split()})),
            "mean_length": mean(float(len(row.prediction.split())) for row in rows),
        }

    def producible(self, texts: Sequence[str], vocabulary: Vocabulary) -> list[str]:
        """See ``Task.producible``: texts in word pieces and back, without unknown words, which are never said."""
        return [vocabulary.decode(ids) for ids in vocabulary.encode(texts)]

    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """See ``Task.top_answers``: as many as decoding finds."""
        found = self.sentences(model, batch)
        return [
            [(self.vocabulary.decode(one.ids), math.exp(one.log_probability)) for one in sample[:count]]
            for sample in found
        ]

    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """See ``Task.with_targets``."""
        targets = [[*ids, self.vocabulary.end] for ids in self.vocabulary.encode(answers)]
        ids, valid, block = self.followed_by(prompts(batch), targets)
        return batch._replace(ids=ids, mask=valid, block_ids=block)

    def followed_by(self, words: TextInput, targets: Sequence[Sequence[int]]) -> TextInput:
        """Return prompts (R, N) with one target a row right behind, as in training."""
        starts = words.mask.sum(1).tolist()
        room = max(start + len(ids) for start, ids in zip(starts, targets, strict=True)) - words.ids.shape[1]
        ids, valid, block = (F.pad(field, (0, max(0, room))) for field in words)
        for row, (start, target) in enumerate(zip(starts, targets, strict=True)):
            there = slice(start, start + len(target))
            ids[row, there], valid[row, there] = torch.tensor(target, device=ids.device), True
            block[row, there] = torch.arange(1, len(target) + 1, device=ids.device)
        return TextInput(ids, valid, block)

    def signature(self, split: str) -> str:
        """See ``Task.signature``."""
        return self.scorer.signature(split)


def _wanted(batch: Batch) -> Tensor:
    """Return (B, N - 1) bool: is the next place a target word?"""
    wanted = batch.block_ids[:, 1:] > 0
    if not bool(wanted.any()):
        raise InputError("generation needs sentences to produce, and the samples have none: check `target`")
    return wanted
