"""What decoding keeps of what a model has read, so that a step costs one word."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.types import Tokens


class _Free(NamedTuple):
    """Where the next words of the hypotheses go: places that are no hypothesis' past any more, or new ones."""

    sample: Tensor  # (B, 1)
    place: Tensor  # (B, K)
    width: int  # how many places there are then

    @staticmethod
    def of(valid: Tensor, beams: int) -> _Free:
        """Return the first free places, given which ones (R, M) are a hypothesis' own past."""
        free = F.pad(~valid.view(-1, beams, valid.shape[1]).any(1), (0, beams), value=True)  # (B, M + K)
        place = free.int().argsort(dim=1, descending=True, stable=True)[:, :beams]
        sample = torch.arange(len(place), device=place.device)[:, None]
        return _Free(sample, place, max(valid.shape[1], int(place.max()) + 1))


class _Grown:
    """Keys and values of all that was read, in buffers (B, M, …) made once; ``max_new_tokens`` is the most steps."""

    def __init__(self, parts: Sequence[Tensor], max_new_tokens: int) -> None:
        self.buffers, self.length, self.max_new_tokens = list(parts), parts[0].shape[1], max_new_tokens

    def write(self, parts: Sequence[Tensor], free: _Free | None) -> list[Tensor]:
        """Write ``parts`` (B, N, …) to free places, or at the end; return all so far (B, M, …)."""
        end = free.width if free else self.length + parts[0].shape[1]
        if end > self.buffers[0].shape[1]:
            self._enlarge(self.length + self.max_new_tokens * parts[0].shape[1])
        for buffer, part in zip(self.buffers, parts, strict=True):
            if free is None:
                buffer[:, self.length : end] = part
                continue
            if end > self.length:  # a sample that needs fewer places must find numbers there
                buffer[:, self.length : end] = 0.0
            buffer[free.sample, free.place] = part
        self.length = end
        return self.all()

    def all(self) -> list[Tensor]:
        """Return what was written (B, M, …)."""
        return [buffer[:, : self.length] for buffer in self.buffers]

    def select(self, samples: Tensor) -> None:
        """Keep these samples."""
        for buffer in self.buffers:
            written = buffer[:, : self.length]
            written[: len(samples)] = written.index_select(0, samples)
        self.buffers = [buffer[: len(samples)] for buffer in self.buffers]

    def take(self, samples: Tensor) -> None:
        """Go on with copies of these samples, each as often as it is named."""
        self.buffers = [buffer[:, : self.length].index_select(0, samples) for buffer in self.buffers]

    def _enlarge(self, length: int) -> None:
        longer = [buffer.new_empty(len(buffer), length, *buffer.shape[2:]) for buffer in self.buffers]
        for buffer, old in zip(longer, self.buffers, strict=True):
            buffer[:, : self.length] = old[:, : self.length]
        self.buffers = longer


class Cache:
    """What decoding keeps of what a model has read, so that a step costs one word; rows are hypotheses.

    Keys and values belong to a sample: each step adds those of all its hypotheses, and *places* say which of them are
    a hypothesis' own past. So image and prompt are kept and read once for all hypotheses, and hypotheses that follow
    another one move no keys. What is nobody's past any more is written over: the hypotheses of a beam search soon
    descend from one another, so that few of the words that they ever said live on.

    Every part that must remember does so under itself: it *grows* keys and values, *keeps* what is made once for a
    sample, and holds a *state* that each step replaces.

    Args:
        max_new_tokens: the most words that will be added to what is read first.
    """

    def __init__(self, max_new_tokens: int) -> None:
        self.max_new_tokens, self.beams = max_new_tokens, 1  # hypotheses a sample
        self.free: _Free | None = None  # where what ``places`` was told of last is written; at the end if nothing
        self.grown: dict[Hashable, _Grown] = {}  # rows are samples, here and in what is shared
        self.shared: dict[nn.Module, tuple[Tensor, ...]] = {}
        self.past: dict[nn.Module, tuple[Tensor, ...]] = {}  # rows are hypotheses, here and below
        self.kept: dict[nn.Module, tuple[Tensor, ...]] = {}
        self.states: dict[nn.Module, tuple[Tensor, ...]] = {}

    def places(self, owner: nn.Module, tokens: Tokens) -> Tokens:
        """Return the places (R, M) of all that ``owner`` has read for a sample, these tokens (R, N) included.

        What is not a hypothesis' own past is not valid there; the vectors are left out.
        """
        valid, block = tokens.mask, tokens.block_ids
        past = self.past.get(owner, (valid[:, :0], block[:, :0]))
        if self.beams == 1:
            self.free = None
            valid, block = (torch.cat(pair, dim=1) for pair in zip(past, (valid, block), strict=True))
        else:
            self.free = _Free.of(past[0], self.beams)
            here, more = self.free.place.reshape(-1, 1), self.free.width - past[0].shape[1]
            valid, block = (
                F.pad(old, (0, more)).scatter(1, here, new) for old, new in zip(past, (valid, block), strict=True)
            )
        self.past[owner] = valid, block
        return Tokens(tokens.embeddings, valid, block)

    def grow(self, owner: Hashable, *parts: Tensor) -> list[Tensor]:
        """Add keys and values (R, N, …), in one tensor or several, of the tokens that ``places`` was told of last.

        Return all that ``owner`` has of each sample (B, M, …).
        """
        if self.beams > 1:
            parts = tuple(part.reshape(-1, self.beams * part.shape[1], *part.shape[2:]) for part in parts)
        if owner in self.grown:
            return self.grown[owner].write(parts, self.free)
        self.grown[owner] = _Grown(parts, self.max_new_tokens)
        return list(parts)

    def take(self, rows: Tensor) -> None:
        """Go on from the rows named by ``rows`` (R',), each as often as it is named; before ``expand``."""
        for grown in self.grown.values():
            grown.take(rows)
        self._each(lambda part: part.index_select(0, rows), self.shared, self.past, self.kept, self.states)

    def expand(self, count: int) -> None:
        """Let every row become ``count`` hypotheses of one sample; called at most once."""
        self.beams = count
        self._each(lambda part: part.repeat_interleave(count, 0), self.past, self.kept, self.states)

    def select(self, rows: Tensor) -> None:
        """Keep the rows named by ``rows`` (R',): all those of some samples."""
        samples = rows[:: self.beams] // self.beams
        for grown in self.grown.values():
            grown.select(samples)
        self._each(lambda part: part.index_select(0, samples), self.shared)
        self._each(lambda part: part.index_select(0, rows), self.past, self.kept, self.states)

    def reorder(self, rows: Tensor) -> None:
        """Let rows (R,) follow hypotheses, each coming from a row of the same sample."""
        self._each(lambda part: part.index_select(0, rows), self.past, self.states)

    def _each(self, change: Callable[[Tensor], Tensor], *stores: dict[nn.Module, tuple[Tensor, ...]]) -> None:
        for store in stores:
            for owner, parts in store.items():
                store[owner] = tuple(change(part) for part in parts)


def cached(cache: Cache | None, owner: nn.Module, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return what ``make`` gives (R, …); with a cache, what it gave at ``owner``'s first call."""
    return make() if cache is None else stored_in(cache.kept, owner, make)


def stored_in(
    store: dict[nn.Module, tuple[Tensor, ...]], owner: nn.Module, make: Callable[[], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """Return what ``store`` holds of ``owner``, made where there is nothing yet."""
    if owner not in store:
        store[owner] = make()
    return store[owner]
