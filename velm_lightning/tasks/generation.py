"""Generation: a sentence for an image and a prompt, such as a caption, translation, summary or answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.decoding import Decoding, Greedy, Hypothesis
from velm_lightning.encoders.base import TextEncoder
from velm_lightning.errors import within
from velm_lightning.tasks.base import HeadTask
from velm_lightning.tasks.heads import pretrained_head, tied_head
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import mean, prediction_of
from velm_lightning.tasks.sentences import Captions, SentenceScorer
from velm_lightning.tasks.stepping import last_block, prompts, steps_of
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, TextInput, Tokens


class Generation(HeadTask):
    """Predicts each token of the target from the state before it; the block rule masks later tokens.

    Args:
        label_smoothing: share of the target's probability that is spread over the vocabulary.
        dropout: dropout probability before the head.
        decoding: the search for sentences in evaluation; by default greedy.
        scorer: scores the sentences; by default as captions.
        head: ``tied``: a new layer and a vocabulary head that shares the word embedding (Press & Wolf 2017);
            ``pretrained``: the head of the pretrained causal language model, without a new layer.

    Raises:
        InputError: ``label_smoothing`` or ``dropout`` is not between 0 and 1.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeCaptions(train=8, val=4, test=4, size=16))
        >>> model = velm.EarlyFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                          task=velm.Generation(decoding=velm.BeamSearch(2)), vocabulary=data.vocabulary)
        >>> len(model.predict([None], top_k=2)[0])
        2
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
        within(0, 1, "task", label_smoothing=label_smoothing, dropout=dropout)
        self.kind = head
        self.label_smoothing, self.drop = label_smoothing, nn.Dropout(dropout)
        self.decoding, self.scorer = decoding or Greedy(), scorer or Captions()

    @override
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """Create the head.

        Raises:
            InputError: ``head`` is ``pretrained``, and the text encoder has no head.
        """
        self.vocabulary = vocabulary
        self.projection, self.head = (
            pretrained_head(text_encoder) if self.kind == "pretrained" else tied_head(text_encoder)
        )

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (..., V) of states (..., D)."""
        logits: Tensor = self.head(self.drop(self.projection(states)))
        return logits

    @override
    def vectors(self, model: FusionProtocol, states: Tokens, batch: Batch) -> Tensor:
        """Return the state (W, D) before each target token.

        Raises:
            InputError: no sample has a target.
        """
        return states.embeddings[:, :-1][_places(batch)]

    @override
    def head_logits(self, vectors: Tensor) -> Tensor:
        """Return the logits (W, V) over the vocabulary."""
        return self.logits(vectors)

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss (W,) of each target token, given logits (W, V)."""
        smoothing = self.label_smoothing if self.training else 0.0
        # Their number is known here: counting them again would let the host wait for a GPU.
        wanted = batch.target_mask[:, 1:].flatten()
        targets = batch.ids[:, 1:].flatten()[wanted.int().argsort(descending=True, stable=True)[: len(logits)]]
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)

    @override
    def loss_from_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss over target tokens."""
        return self.losses(logits, batch).mean()

    @override
    def num_items(self, batch: Batch) -> int | Tensor:
        """Return the number of target tokens."""
        return batch.target_mask[:, 1:].sum()

    @override
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """Return rows without scores, which need the whole table; a row's loss is the mean over its tokens."""
        losses, sentences = self._row_losses(model, batch), self.sentences(model, batch)
        rows = []
        for i, (best, *_) in enumerate(sentences):
            sentence = self.vocabulary.decode(best.ids)
            rows.append(prediction_of(batch, i, sentence, confidence=math.exp(best.log_probability), loss=losses[i]))
        return rows

    def _row_losses(self, model: FusionProtocol, batch: Batch) -> list[float]:
        if not bool(batch.target_mask.any()):
            return [math.nan] * batch.size
        losses = self.losses(self.head_logits(self.vectors(model, model(batch), batch)), batch)
        owner = _places(batch)[0]
        total = torch.zeros(batch.size, dtype=losses.dtype, device=losses.device).index_add_(0, owner, losses)
        means: list[float] = (total / owner.bincount(minlength=batch.size)).tolist()
        return means

    def sentences(
        self, model: FusionProtocol, batch: Batch, decoding: Decoding | None = None
    ) -> list[list[Hypothesis]]:
        """Return the decoded sentences of each sample, best first."""
        decoding = decoding or self.decoding
        steps = steps_of(model, batch, self.logits, decoding.max_length)
        return decoding(steps, self.vocabulary.end, banned=self.banned_ids)

    @property
    def banned_ids(self) -> set[int]:
        """The tokens that are never generated."""
        words = self.vocabulary
        return {words.pad, words.start, words.mask, words.unknown} - {words.end}

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Score the rows that have the references that the scorer needs; all others have no score."""
        answered = self._answered(rows)
        scored = iter(self.scorer.score(answered) if answered else [])
        return [next(scored) if self._can_score(row) else row._replace(score=math.nan) for row in rows]

    def _can_score(self, row: Prediction) -> bool:
        return bool(row.references) or not self.scorer.needs_references

    def _answered(self, rows: Sequence[Prediction]) -> list[Prediction]:
        return [row for row in rows if self._can_score(row)]

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute the scorer's metrics over samples with references, the loss, and diversity."""
        answered = self._answered(rows)
        metrics = self.scorer.compute_metrics(answered) if answered else {self.scorer.name: math.nan}
        return {
            "score": metrics[self.scorer.name],
            **metrics,
            "loss": mean(row.loss for row in rows),
            "words_used": float(len({word for row in rows for word in row.prediction.split()})),
            "mean_length": mean(float(len(row.prediction.split())) for row in rows),
        }

    @override
    def producible(self, texts: Sequence[str], vocabulary: Vocabulary) -> list[str]:
        """Return the texts after encoding and decoding, without unknown tokens, which are never generated."""
        return [vocabulary.decode(ids) for ids in vocabulary.encode(texts)]

    @override
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """Return the decoded sentences, at most as many as the search returns."""
        return [
            [(self.vocabulary.decode(row.ids), math.exp(row.log_probability)) for row in sample[:count]]
            for sample in self.sentences(model, batch)
        ]

    @override
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        targets = [[*ids, self.vocabulary.end] for ids in self.vocabulary.encode(answers)]
        prompt = prompts(batch)
        ids, valid, block = self.followed_by(prompt, targets)
        target = valid & (block > last_block(prompt))
        return batch._replace(ids=ids, mask=valid, block_ids=block, target_mask=target)

    def followed_by(self, words: TextInput, targets: Sequence[Sequence[int]]) -> TextInput:
        """Return prompts (R, N), each directly followed by its target, as in training."""
        starts, blocks = words.mask.sum(1).tolist(), last_block(words)[:, 0].tolist()
        extra = max(start + len(ids) for start, ids in zip(starts, targets, strict=True)) - words.ids.shape[1]
        ids, valid, block = (F.pad(field, (0, max(0, extra))) for field in words)
        for row, (start, target) in enumerate(zip(starts, targets, strict=True)):
            span = slice(start, start + len(target))
            ids[row, span], valid[row, span] = torch.tensor(target, device=ids.device), True
            block[row, span] = torch.arange(1, len(target) + 1, device=ids.device) + blocks[row]
        return TextInput(ids, valid, block)

    @override
    def signature(self, split: str) -> str:
        return self.scorer.signature(split)


def _places(batch: Batch) -> tuple[Tensor, ...]:
    """Return the row (W,) and the position (W,) before each target token; the host waits for the GPU once."""
    places = batch.target_mask[:, 1:].nonzero(as_tuple=True)
    if not len(places[0]):
        raise InputError("generation needs sentences to produce, and the samples have none: check `target`")
    return places
