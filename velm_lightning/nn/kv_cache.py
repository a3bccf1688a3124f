"""The cache of incremental decoding: keys and values, constants and recurrent states of the tokens read so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.types import Tokens


class _FreeSlots(NamedTuple):
    """The slots for the next tokens of the hypotheses: slots that no hypothesis uses any more, or new ones."""

    sample: Tensor  # (B, 1)
    slot: Tensor  # (B, K)
    width: int  # the number of slots afterwards

    @staticmethod
    def of(valid: Tensor, beams: int) -> _FreeSlots:
        """Return the first free slots, given a mask (R, M) of the slots that each hypothesis uses."""
        free = F.pad(~valid.view(-1, beams, valid.shape[1]).any(1), (0, beams), value=True)  # (B, M + K)
        slot = free.int().argsort(dim=1, descending=True, stable=True)[:, :beams]
        sample = torch.arange(len(slot), device=slot.device)[:, None]
        return _FreeSlots(sample, slot, max(valid.shape[1], int(slot.max()) + 1))


class _KeyValueBuffers:
    """Preallocated buffers (B, M, …) of keys and values, for at most ``max_new_tokens`` steps."""

    def __init__(self, parts: Sequence[Tensor], max_new_tokens: int) -> None:
        self.buffers, self.length, self.max_new_tokens = list(parts), parts[0].shape[1], max_new_tokens

    def write(self, parts: Sequence[Tensor], free: _FreeSlots | None) -> list[Tensor]:
        """Write ``parts`` (B, N, …) to free slots, or at the end if ``free`` is None; return all slots (B, M, …)."""
        end = free.width if free else self.length + parts[0].shape[1]
        if end > self.buffers[0].shape[1]:
            self._enlarge(self.length + self.max_new_tokens * parts[0].shape[1])
        for buffer, part in zip(self.buffers, parts, strict=True):
            if free is None:
                buffer[:, self.length : end] = part
                continue
            if end > self.length:  # a sample that needs fewer slots must not read uninitialised memory
                buffer[:, self.length : end] = 0.0
            buffer[free.sample, free.slot] = part
        self.length = end
        return self.all()

    def all(self) -> list[Tensor]:
        """Return the written slots (B, M, …)."""
        return [buffer[:, : self.length] for buffer in self.buffers]

    def select(self, samples: Tensor) -> None:
        """Keep only these samples (B',), in ascending order, in place."""
        for buffer in self.buffers:
            written = buffer[:, : self.length]
            written[: len(samples)] = written.index_select(0, samples)
        self.buffers = [buffer[: len(samples)] for buffer in self.buffers]

    def take(self, samples: Tensor) -> None:
        """Replace the samples by copies of ``samples`` (B',), which may repeat."""
        self.buffers = [buffer[:, : self.length].index_select(0, samples) for buffer in self.buffers]

    def _enlarge(self, length: int) -> None:
        longer = [buffer.new_empty(len(buffer), length, *buffer.shape[2:]) for buffer in self.buffers]
        for buffer, old in zip(longer, self.buffers, strict=True):
            buffer[:, : self.length] = old[:, : self.length]
        self.buffers = longer


class Cache:
    """The cache of incremental decoding, with which a step computes one token per hypothesis.

    Keys and values are stored per sample: each step adds those of all hypotheses of a sample, and ``places`` returns
    which slots belong to which hypothesis. So image and prompt are stored and read once for all hypotheses, and
    reordering hypotheses moves no keys. Slots that no hypothesis uses any more are overwritten; the hypotheses of a
    beam search soon share their ancestors, so that few slots are needed.

    Every module stores its entries under itself as the owner: keys and values that grow, constants that are computed
    once per sample, and recurrent states that each step replaces.

    Args:
        max_new_tokens: the maximum number of tokens that are added to the prompt.
    """

    def __init__(self, max_new_tokens: int) -> None:
        self.max_new_tokens, self.beams = max_new_tokens, 1  # beams: hypotheses per sample
        self.free: _FreeSlots | None = None  # the slots of the last tokens given to ``places``; None: at the end
        self.keys_values: dict[Hashable, _KeyValueBuffers] = {}  # rows are samples, here and in ``context``
        self.context: dict[nn.Module, tuple[Tensor, ...]] = {}  # keys and values of cross-attention
        self.positions: dict[nn.Module, tuple[Tensor, ...]] = {}  # rows are hypotheses, here and below
        self.constants: dict[nn.Module, tuple[Tensor, ...]] = {}  # computed once per sample
        self.recurrent_states: dict[nn.Module, tuple[Tensor, ...]] = {}

    def places(self, owner: nn.Module, tokens: Tokens) -> Tokens:
        """Return mask and blocks (R, M) of all tokens that ``owner`` has read, including ``tokens`` (R, N).

        Slots that do not belong to a hypothesis are masked. The embeddings are those of ``tokens`` only.
        """
        valid, block = tokens.mask, tokens.block_ids
        past = self.positions.get(owner, (valid[:, :0], block[:, :0]))
        if self.beams == 1:
            self.free = None
            valid, block = (torch.cat(pair, dim=1) for pair in zip(past, (valid, block), strict=True))
        else:
            self.free = _FreeSlots.of(past[0], self.beams)
            here, more = self.free.slot.reshape(-1, 1), self.free.width - past[0].shape[1]
            valid, block = (
                F.pad(old, (0, more)).scatter(1, here, new) for old, new in zip(past, (valid, block), strict=True)
            )
        self.positions[owner] = valid, block
        return Tokens(tokens.embeddings, valid, block)

    def grow(self, owner: Hashable, *parts: Tensor) -> list[Tensor]:
        """Add the keys and values (R, N, …) of the tokens last given to ``places``, in one tensor or several.

        Returns:
            All keys and values of ``owner`` per sample, (B, M, …).
        """
        if self.beams > 1:
            parts = tuple(part.reshape(-1, self.beams * part.shape[1], *part.shape[2:]) for part in parts)
        if owner in self.keys_values:
            return self.keys_values[owner].write(parts, self.free)
        self.keys_values[owner] = _KeyValueBuffers(parts, self.max_new_tokens)
        return list(parts)

    def take(self, rows: Tensor) -> None:
        """Replace the rows by copies of ``rows`` (R',), which may repeat; only before ``expand``."""
        for buffers in self.keys_values.values():
            buffers.take(rows)
        self._each(
            lambda part: part.index_select(0, rows),
            self.context, self.positions, self.constants, self.recurrent_states,
        )  # fmt: skip

    def expand(self, count: int) -> None:
        """Repeat every row ``count`` times, as hypotheses of one sample; called at most once."""
        self.beams = count
        self._each(lambda part: part.repeat_interleave(count, 0), self.positions, self.constants, self.recurrent_states)

    def select(self, rows: Tensor) -> None:
        """Keep only the rows ``rows`` (R',): all hypotheses of some samples."""
        samples = rows[:: self.beams] // self.beams
        for buffers in self.keys_values.values():
            buffers.select(samples)
        self._each(lambda part: part.index_select(0, samples), self.context)
        self._each(lambda part: part.index_select(0, rows), self.positions, self.constants, self.recurrent_states)

    def reorder(self, rows: Tensor) -> None:
        """Replace row i by row ``rows[i]`` (R,), which belongs to the same sample."""
        self._each(lambda part: part.index_select(0, rows), self.positions, self.recurrent_states)

    def _each(self, change: Callable[[Tensor], Tensor], *stores: dict[nn.Module, tuple[Tensor, ...]]) -> None:
        for store in stores:
            for owner, parts in store.items():
                store[owner] = tuple(change(part) for part in parts)


def cached(cache: Cache | None, owner: nn.Module, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return the result of ``make`` (R, …); with a cache, ``make`` runs only at the first call of ``owner``."""
    return make() if cache is None else stored_in(cache.constants, owner, make)


def stored_in(
    store: dict[nn.Module, tuple[Tensor, ...]], owner: nn.Module, make: Callable[[], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """Return the entry of ``owner`` in ``store``, made by ``make`` if there is none."""
    if owner not in store:
        store[owner] = make()
    return store[owner]
