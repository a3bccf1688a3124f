"""The steps that decoding requires of a fusion: one token at a time, with and without the cache."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from typing_extensions import override

from velm_lightning.nn.kv_cache import Cache
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.types import Batch, TextInput

_log = logging.getLogger(__name__)


def prompts(batch: Batch) -> TextInput:
    """Return the prompts of a batch, i.e. all tokens before the last target, trimmed to the longest prompt."""
    place = torch.arange(batch.ids.shape[1], device=batch.ids.device)
    lengths = ((batch.mask & ~batch.target_mask) * (place + 1)).amax(1)  # up to the last token that is no target
    prompt = place < lengths[:, None]  # (B, N)
    width = int(lengths.max())
    return TextInput(batch.ids[:, :width], prompt[:, :width], (batch.block_ids * prompt)[:, :width])


def last_block(words: TextInput) -> Tensor:
    """Return the block (B, 1) of the last token of each row, whose blocks never decrease."""
    return words.block_ids.amax(1, keepdim=True)


class CachedSteps:
    """Steps with a cache: image and prompt are read once, then one token per step.

    Args:
        model: the fusion.
        batch: the samples; their targets are ignored.
        logits: maps states (B, N, D) to logits (B, N, V).
        max_new_tokens: the maximum number of generated tokens.
    """

    def __init__(
        self,
        model: FusionProtocol,
        batch: Batch,
        logits: Callable[[Tensor], Tensor],
        max_new_tokens: int,
    ) -> None:
        self.model, self.batch, self.logits = model, batch, logits
        self.cache, self.block = Cache(max_new_tokens), torch.empty(0)  # the block (R, 1) of the last token

    def start(self) -> Tensor:
        """Return the logits (B, V) of each sample's first token."""
        words = prompts(self.batch)
        self.block = last_block(words)
        states = self.model.fuse(
            self.model.encode_images(self.batch), self.model.embed_text(words, self.cache), self.cache
        )
        last = words.mask.sum(1) - 1
        return self.logits(states.embeddings[torch.arange(len(last), device=last.device), last])

    def expand(self, count: int) -> None:
        """Repeat every row ``count`` times."""
        self.cache.expand(count)
        self.block = self.block.repeat_interleave(count, 0)

    def step(self, ids: Tensor) -> Tensor:
        """Append the chosen tokens (R,) and return the logits (R, V) of the next."""
        self.block = self.block + 1
        valid = torch.ones_like(ids, dtype=torch.bool)[:, None]
        words = TextInput(ids[:, None], valid, self.block)
        states = self.model.fuse(None, self.model.embed_text(words, self.cache), self.cache)
        return self.logits(states.embeddings[:, 0])

    def reorder(self, rows: Tensor) -> None:
        """Replace row i by row ``rows[i]`` (R,), which belongs to the same sample."""
        self.cache.reorder(rows)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows (R')."""
        self.cache.select(rows)
        self.block = self.block[rows]


class UncachedSteps(CachedSteps):
    """Steps that recompute the whole sequence: slow, used as the reference for the cache."""

    @override
    def start(self) -> Tensor:
        self.words, self.image = prompts(self.batch), self.model.encode_images(self.batch)
        return self._read()

    def _read(self) -> Tensor:
        states = self.model.fuse(self.image, self.model.embed_text(self.words))
        place = torch.arange(self.words.mask.shape[1], device=self.words.mask.device)
        last = (self.words.mask * (place + 1)).argmax(1)
        return self.logits(states.embeddings[torch.arange(len(last), device=last.device), last])

    @override
    def step(self, ids: Tensor) -> Tensor:
        block = last_block(self.words)[:, 0] + 1
        rows = torch.arange(len(ids), device=ids.device)
        lengths = self.words.mask.sum(1)  # target tokens directly follow the prompt, as in training
        self.words = TextInput(*(torch.nn.functional.pad(field, (0, 1)) for field in self.words))
        self.words.ids[rows, lengths], self.words.mask[rows, lengths] = ids, True
        self.words.block_ids[rows, lengths] = block
        return self._read()

    @override
    def expand(self, count: int) -> None:
        self._rows(torch.arange(len(self.words.ids), device=self.words.ids.device).repeat_interleave(count))

    @override
    def reorder(self, rows: Tensor) -> None:
        self._rows(rows)

    @override
    def select(self, rows: Tensor) -> None:
        self._rows(rows)

    def _rows(self, rows: Tensor) -> None:
        self.words, self.image = self.words.rows(rows), self.image.rows(rows)


def steps_of(
    model: FusionProtocol,
    batch: Batch,
    logits: Callable[[Tensor], Tensor],
    max_new_tokens: int,
) -> CachedSteps:
    """Return steps with the cache, or without it if the fusion does not take one; arguments as ``CachedSteps``."""
    if model.takes_cache:
        return CachedSteps(model, batch, logits, max_new_tokens)
    warn_uncached(type(model).__name__)
    return UncachedSteps(model, batch, logits, max_new_tokens)


@cache
def warn_uncached(name: str) -> None:
    """Log once per class that decoding is slower than it could be."""
    _log.warning(
        "%s.fuse takes no cache: every decoding step computes the whole sentence again. "
        "Add the argument `cache` to decode faster.",
        name,
    )
