"""Masked language modelling: predict masked tokens of a text from the other tokens and the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from typing_extensions import override

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.errors import within
from velm_lightning.io.seeding import stable_generator
from velm_lightning.metrics.signature import signature_of
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.heads import tied_head
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import mean, prediction_of
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction

HIDDEN, CHANGED = 0.8, 0.1  # shares of the target tokens; the rest stays unchanged


class MaskedTokens(NamedTuple):
    """The target tokens of a batch and the model's logits for them.

    Attributes:
        places: (B, N) bool, the positions of the target tokens.
        logits: (W, V) at these positions.
        words: (W,) the original tokens.
    """

    places: Tensor
    logits: Tensor
    words: Tensor


class MaskedLM(Task):
    """Masked language modelling of the prompt given the image (BERT, Devlin et al. 2019; VisualBERT).

    80 % of the target tokens are replaced by the mask token, 10 % by a random token, and 10 % stay. In training they
    are drawn at each step; in evaluation they depend only on the sample's key. Every text has at least one.

    Args:
        share: share of target tokens, above 0 and at most 1.
        dropout: dropout probability before the head.

    Raises:
        InputError: ``share`` or ``dropout`` is out of its range.
    """

    def __init__(self, share: float = 0.15, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError(f"task.share={share} must be above 0 and at most 1")
        within(0, 1, "task", dropout=dropout)
        self.share, self.drop = share, nn.Dropout(dropout)
        self._words = 0

    @override
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """Create the head.

        Raises:
            InputError: the text encoder is causal, so that it cannot use the tokens after a masked one.
        """
        if text_encoder.causal:
            raise InputError(
                f"masked words need a text encoder that reads both ways, and {type(text_encoder).__name__} does not: "
                "use TransformerTextEncoder or a BERT-like HFTextEncoder"
            )
        self.vocabulary = vocabulary
        self.projection, self.head = tied_head(text_encoder)

    @override
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the mean loss over the target tokens."""
        masked = self._masked(model, batch)
        self._words = len(masked.words)
        return F.cross_entropy(masked.logits, masked.words)

    @override
    def num_items(self, batch: Batch) -> int | Tensor:
        """Return the number of target tokens of the last call of ``loss``."""
        return self._words

    def _masked(self, model: FusionProtocol, batch: Batch) -> MaskedTokens:
        chances = self._chances(batch)  # (B, N, 3)
        places = self._places(batch, chances[..., 0])
        index = places.nonzero(as_tuple=True)  # the only time that the host waits for a GPU
        if not len(index[0]):
            raise InputError("masked words need texts with words in them, and the samples have none: check `text`")
        hidden = places & (chances[..., 1] < HIDDEN)
        changed = places & (chances[..., 1] >= 1 - CHANGED)
        other = (chances[..., 2] * self.vocabulary.size).long().clamp(max=self.vocabulary.size - 1)
        ids = batch.ids.masked_fill(hidden, self.vocabulary.mask).where(~changed, other)
        return MaskedTokens(places, self._logits(model, batch._replace(ids=ids), index), batch.ids[index])

    def _logits(self, model: FusionProtocol, batch: Batch, places: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Return the logits (W, V) at positions of a batch, a mask (B, N) or rows and columns (W,)."""
        logits: Tensor = self.head(self.drop(self.projection(model(batch).embeddings[places])))
        return logits

    def _piece(self, index: int) -> str:
        """Return the name of a token, with spaces made visible because rows join tokens by spaces."""
        return str(self.vocabulary.tokenizer.id_to_token(index)).replace(" ", "\u2423")

    def _chances(self, batch: Batch) -> Tensor:
        """Return random numbers (B, N, 3) between 0 and 1."""
        width = batch.ids.shape[1]
        if self.training:
            return torch.rand(batch.size, width, 3, device=batch.ids.device)
        rows = []
        for key in batch.keys:  # drawn position by position, so that padding changes nothing
            rows.append(torch.rand(width, 3, generator=stable_generator(key)))
        return torch.stack(rows).to(batch.ids.device)

    def _places(self, batch: Batch, chances: Tensor) -> Tensor:
        """Return the target positions (B, N), given random numbers (B, N); never special tokens."""
        words = self.vocabulary
        special = torch.tensor([words.pad, words.start, words.end, words.mask])
        special = special.to(batch.ids.device, non_blocking=True)
        eligible = batch.mask & (batch.block_ids == 0) & ~torch.isin(batch.ids, special)
        chances = chances.masked_fill(~eligible, 2.0)
        return eligible & ((chances < self.share) | (chances == chances.min(1, keepdim=True).values))

    @override
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """Return rows whose prediction and reference are the target tokens, joined by spaces."""
        masked = self._masked(model, batch)
        owner = masked.places.nonzero()[:, 0].tolist()
        losses = F.cross_entropy(masked.logits.float(), masked.words, reduction="none").tolist()
        targets: list[list[tuple[str, str, float]]] = [[] for _ in batch.keys]
        best = masked.logits.argmax(-1).tolist()
        for row, likely, right, loss in zip(owner, best, masked.words.tolist(), losses, strict=True):
            targets[row].append((self._piece(likely), self._piece(right), loss))
        rows = []
        for i, tokens in enumerate(targets):
            prediction = " ".join(likely for likely, _, _ in tokens)
            references = (" ".join(right for _, right, _ in tokens),) if tokens else ()
            loss = mean(loss for *_, loss in tokens)
            rows.append(prediction_of(batch, i, prediction, references=references, loss=loss))
        return self.score(rows)

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Score each row by the share of its tokens that are correct."""
        return [row._replace(score=mean(map(float, _right(row)))) for row in rows]

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute the share of all tokens that are correct, and the mean loss."""
        accuracy = mean(float(right) for row in rows for right in _right(row))
        return {"score": accuracy, "masked_accuracy": accuracy, "loss": mean(row.loss for row in rows)}

    @override
    @torch.no_grad()
    def as_question(self, batch: Batch) -> Batch:
        """Return the batch with the first token masked that an evaluation chooses, which is then the reference."""
        places = self._places(batch, self._chances(batch)[..., 0])
        first = places & (places.cumsum(1) == 1)
        if bool((batch.ids == self.vocabulary.mask).any()) or not bool(first.any(1).all()):
            return batch
        references = tuple((self._piece(index),) for index in batch.ids[first].tolist())
        return batch._replace(ids=batch.ids.masked_fill(first, self.vocabulary.mask), references=references)

    @override
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """Return the best tokens for the first ``[MASK]`` of each text.

        Raises:
            InputError: a text has no ``[MASK]``.
        """
        if not bool((batch.ids == self.vocabulary.mask).any()):
            batch = self.blanked(batch)
        masked = batch.ids == self.vocabulary.mask
        if not bool(masked.any(1).all()):
            sign = self.vocabulary.tokenizer.id_to_token(self.vocabulary.mask)
            raise InputError(f"write {sign} in the text in place of a word")
        first = masked & (masked.cumsum(1) == 1)
        best = self._logits(model, batch, first).float().softmax(-1).topk(min(count, self.vocabulary.size), dim=-1)
        return [
            [(self._word(index), value) for index, value in zip(indices, values, strict=True)]
            for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def blanked(self, batch: Batch) -> Batch:
        """Return the batch with its prompts tokenised again, so that a written ``[MASK]`` becomes the mask token."""
        ids = [torch.tensor(self.vocabulary.prompt(ids)) for ids in self.vocabulary.encode_blanked(batch.prompts)]
        lengths = torch.tensor([len(row) for row in ids])
        padded = pad_sequence(ids, batch_first=True, padding_value=self.vocabulary.pad)
        valid = torch.arange(padded.shape[1]) < lengths[:, None]
        padded, valid = padded.to(batch.ids.device), valid.to(batch.ids.device)
        return batch._replace(ids=padded, mask=valid, block_ids=torch.zeros_like(padded))

    def _word(self, index: int) -> str:
        return str(self.vocabulary.decode([index])).strip() or self._piece(index)

    @override
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """Return the batch unchanged: the targets are tokens of the text."""
        return batch

    @override
    def signature(self, split: str) -> str:
        return signature_of("accuracy", split=split, scorer="masked-words", share=f"{self.share:g}")


def _right(row: Prediction) -> list[bool]:
    if not row.references:
        return []
    return [token == true for token, true in zip(row.prediction.split(" "), row.references[0].split(" "), strict=True)]
