"""Masked words: some words of a text are hidden, to be told from the others and from the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.io.seeding import stable_generator
from velm_lightning.metrics.signature import signature_of
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.heads import tied_head
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import mean
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction

HIDDEN, CHANGED = 0.8, 0.1  # of the words to be told; the rest stays as it is


class Told(NamedTuple):
    """What was hidden and what the model takes it for.

    Attributes:
        places: (B, N) bool, the words to be told.
        logits: (W, V) of these words.
        words: (W,) word pieces that stood there.
    """

    places: Tensor
    logits: Tensor
    words: Tensor


class MaskedLM(Task):
    """Masked language modelling of the prompt with the picture beside it (BERT, Devlin et al. 2019; VisualBERT).

    Of the words to be told 80 % are replaced by the mask token, 10 % by any word, 10 % stay. In training they are drawn
    anew at each step; in evaluation they are a function of the sample's key. At least one word of every text is told.

    Args:
        share: share of the words to be told, between 0 and 1.
        dropout: dropout before the head.

    Raises:
        InputError: ``share`` is out of its range.
    """

    def __init__(self, share: float = 0.15, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError(f"task.share={share} must be above 0 and at most 1")
        self.share, self.drop = share, nn.Dropout(dropout)
        self._words = 0

    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """See ``Task.build``.

        Raises:
            InputError: the text encoder reads from left to right only, and would see no word after a hidden one.
        """
        if text_encoder.causal:
            raise InputError(
                f"masked words need a text encoder that reads both ways, and {type(text_encoder).__name__} does not: "
                "use TransformerTextEncoder or a BERT-like HFTextEncoder"
            )
        self.vocabulary = vocabulary
        self.projection, self.head = tied_head(text_encoder)

    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """See ``Task.loss``: the mean over the words to be told."""
        told = self._told(model, batch)
        self._words = len(told.words)
        return F.cross_entropy(told.logits, told.words)

    def num_items(self, batch: Batch) -> int | Tensor:
        """See ``Task.num_items``: the words that were to be told when ``loss`` was last computed."""
        return self._words

    def _told(self, model: FusionProtocol, batch: Batch) -> Told:
        chances = self._chances(batch)  # (B, N, 3)
        places = self._places(batch, chances[..., 0])
        if not bool(places.any()):
            raise InputError("masked words need texts with words in them, and the samples have none: check `text`")
        hidden = places & (chances[..., 1] < HIDDEN)
        changed = places & (chances[..., 1] >= 1 - CHANGED)
        other = (chances[..., 2] * self.vocabulary.size).long().clamp(max=self.vocabulary.size - 1)
        ids = batch.ids.masked_fill(hidden, self.vocabulary.mask).where(~changed, other)
        return Told(places, self._logits(model, batch._replace(ids=ids), places), batch.ids[places])

    def _logits(self, model: FusionProtocol, batch: Batch, places: Tensor) -> Tensor:
        """Return the logits (W, V) of the words at some places (B, N) of a batch."""
        logits: Tensor = self.head(self.drop(self.projection(model(batch).embeddings[places])))
        return logits

    def _piece(self, index: int) -> str:
        """Return a word piece by its name, in which a blank would look like the end of it."""
        return str(self.vocabulary.tokenizer.id_to_token(index)).replace(" ", "\u2423")

    def _chances(self, batch: Batch) -> Tensor:
        """Return random numbers (B, N, 3) between 0 and 1."""
        width = batch.ids.shape[1]
        if self.training:
            return torch.rand(batch.size, width, 3, device=batch.ids.device)
        rows = []
        for key in batch.keys:  # drawn in order, so that padding changes nothing
            rows.append(torch.rand(width, 3, generator=stable_generator(key)))
        return torch.stack(rows).to(batch.ids.device)

    def _places(self, batch: Batch, chances: Tensor) -> Tensor:
        """Choose words by chances (B, N); never special tokens."""
        words = self.vocabulary
        special = torch.tensor([words.pad, words.start, words.end, words.mask], device=batch.ids.device)
        may = batch.mask & (batch.block_ids == 0) & ~torch.isin(batch.ids, special)
        chances = chances.masked_fill(~may, 2.0)
        return may & ((chances < self.share) | (chances == chances.min(1, keepdim=True).values))

    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """See ``Task.predict``: prediction and reference are the words told, one after another."""
        told = self._told(model, batch)
        owner = told.places.nonzero()[:, 0].tolist()
        losses = F.cross_entropy(told.logits.float(), told.words, reduction="none").tolist()
        found: list[list[tuple[str, str, float]]] = [[] for _ in batch.keys]
        best = told.logits.argmax(-1).tolist()
        for row, likely, right, loss in zip(owner, best, told.words.tolist(), losses, strict=True):
            found[row].append((self._piece(likely), self._piece(right), loss))
        rows = []
        for i, told_words in enumerate(found):
            said = " ".join(likely for likely, _, _ in told_words)
            references = (" ".join(right for _, right, _ in told_words),) if told_words else ()
            asked, loss = (batch.keys[i], batch.groups[i], batch.prompts[i]), mean(loss for *_, loss in told_words)
            rows.append(Prediction(*asked, said, references, math.nan, math.nan, loss, batch.pictures[i]))
        return self.score(rows)

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``Task.score``: the share of a sample's words that are right."""
        return [row._replace(score=mean(map(float, _right(row)))) for row in rows]

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``Task.compute_metrics``: the share of all words that are right, and the loss."""
        accuracy = mean(float(right) for row in rows for right in _right(row))
        return {"score": accuracy, "masked_accuracy": accuracy, "loss": mean(row.loss for row in rows)}

    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """See ``Task.top_answers``: what the first ``[MASK]`` of each text hides.

        Raises:
            InputError: a text has none.
        """
        if not bool((batch.ids == self.vocabulary.mask).any()):
            batch = self.blanked(batch)
        masked = batch.ids == self.vocabulary.mask
        if not bool(masked.any(1).all()):
            sign = self.vocabulary.tokenizer.id_to_token(self.vocabulary.mask)
            raise InputError(f"write {sign} in the text where a word is to be found")
        first = masked & (masked.cumsum(1) == 1)
        best = self._logits(model, batch, first).float().softmax(-1).topk(min(count, self.vocabulary.size), dim=-1)
        return [
            [(self._word(index), value) for index, value in zip(indices, values, strict=True)]
            for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def blanked(self, batch: Batch) -> Batch:
        """Return the batch with its prompts read once more, the mask's name in them as the mask."""
        ids = [torch.tensor(self.vocabulary.prompt(ids)) for ids in self.vocabulary.encode_blanked(batch.prompts)]
        lengths = torch.tensor([len(row) for row in ids])
        padded = pad_sequence(ids, batch_first=True, padding_value=self.vocabulary.pad)
        valid = torch.arange(padded.shape[1]) < lengths[:, None]
        padded, valid = padded.to(batch.ids.device), valid.to(batch.ids.device)
        return batch._replace(ids=padded, mask=valid, block_ids=torch.zeros_like(padded))

    def _word(self, index: int) -> str:
        return str(self.vocabulary.decode([index])).strip() or self._piece(index)

    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """See ``Task.with_targets``: a text is its own target."""
        return batch

    def signature(self, split: str) -> str:
        """See ``Task.signature``."""
        return signature_of("accuracy", split=split, scorer="masked-words", share=f"{self.share:g}")


def _right(row: Prediction) -> list[bool]:
    if not row.references:
        return []
    return [said == true for said, true in zip(row.prediction.split(" "), row.references[0].split(" "), strict=True)]
