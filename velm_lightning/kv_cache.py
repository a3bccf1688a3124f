"""What decoding keeps of what a model has read, so that a step costs one word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from velm_lightning.types import Tokens


class _Grown:
    """Keys and values that get longer by a step, in buffers made once; ``room`` is the most steps."""

    def __init__(self, parts: Sequence[Tensor], room: int) -> None:
        self.buffers, self.length, self.room = list(parts), parts[0].shape[2], room

    def append(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Write ``parts`` (B, heads, N, D) at the end and return all so far (B, heads, M, D)."""
        end = self.length + parts[0].shape[2]
        if end > self.buffers[0].shape[2]:
            self._make_room(self.length + self.room * parts[0].shape[2])
        for buffer, part in zip(self.buffers, parts, strict=True):
            buffer[:, :, self.length : end] = part
        self.length = end
        return self.all()

    def all(self) -> list[Tensor]:
        """Return what was written."""
        return [buffer[:, :, : self.length] for buffer in self.buffers]

    def select(self, samples: Tensor) -> None:
        """Keep these samples."""
        for written in self.all():
            written[: len(samples)] = written.index_select(0, samples)
        self.buffers = [buffer[: len(samples)] for buffer in self.buffers]

    def take(self, samples: Tensor) -> None:
        """Go on with copies of these samples, each as often as it is named."""
        self.buffers = [written.index_select(0, samples) for written in self.all()]

    def _make_room(self, length: int) -> None:
        longer = [part.new_empty(*part.shape[:2], length, part.shape[3]) for part in self.buffers]
        for buffer, written in zip(longer, self.all(), strict=True):
            buffer[:, :, : self.length] = written
        self.buffers = longer


class Cache:
    """What decoding keeps of what a model has read, so that a step costs one word; rows are hypotheses.

    Keys and values belong to a sample: each step adds those of all its hypotheses, and *places* say which of them are
    a hypothesis' own past. So image and prompt are kept and read once for all hypotheses, and hypotheses that follow
    another one move no keys. Every part that must remember does so under itself: it *grows* keys and values, *keeps*
    what is made once for a sample, and holds a *state* that each step replaces.

    Args:
        room: the most words that will be added to what is read first.
    """

    def __init__(self, room: int) -> None:
        self.room, self.beams = room, 1  # hypotheses a sample
        self.grown: dict[nn.Module, _Grown] = {}  # rows are samples, here and in what is shared
        self.shared: dict[nn.Module, tuple[Tensor, ...]] = {}
        self.past: dict[nn.Module, tuple[Tensor, ...]] = {}  # rows are hypotheses, here and below
        self.kept: dict[nn.Module, tuple[Tensor, ...]] = {}
        self.states: dict[nn.Module, tuple[Tensor, ...]] = {}

    def grow(self, owner: nn.Module, key: Tensor, value: Tensor) -> list[Tensor]:
        """Append keys and values (R, heads, N, D) to what ``owner`` has; return all of each sample (B, heads, M, D)."""
        parts = [side_by_side(part, self.beams) for part in (key, value)]
        if owner in self.grown:
            return self.grown[owner].append(parts)
        self.grown[owner] = _Grown(parts, self.room)
        return parts

    def places(self, owner: nn.Module, tokens: Tokens) -> Tokens:
        """Return the places (R, M) of all that ``owner`` has read for a sample, these tokens (R, N) included.

        What is not a hypothesis' own past is not valid there; the vectors are left out.
        """
        valid, block = tokens.valid, tokens.block
        if self.beams > 1:
            own = torch.eye(self.beams, dtype=torch.bool, device=valid.device)  # (K, K)
            valid = (valid.view(-1, self.beams, 1) & own).flatten(0, 1)
            block = block.expand_as(valid)
        if owner in self.past:
            valid, block = (torch.cat(pair, dim=1) for pair in zip(self.past[owner], (valid, block), strict=True))
        self.past[owner] = valid, block
        return Tokens(tokens.x, valid, block)

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


def once(cache: Cache | None, owner: nn.Module, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return what ``make`` gives (R, …); with a cache, what it gave at ``owner``'s first call."""
    return make() if cache is None else kept_in(cache.kept, owner, make)


def kept_in(
    store: dict[nn.Module, tuple[Tensor, ...]], owner: nn.Module, make: Callable[[], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """Return what ``store`` holds of ``owner``, made where there is nothing yet."""
    if owner not in store:
        store[owner] = make()
    return store[owner]


def side_by_side(x: Tensor, beams: int) -> Tensor:
    """Put the tokens of a sample's hypotheses (B K, heads, N, D) beside each other: (B, heads, K N, D)."""
    return x if beams == 1 else x.view(-1, beams, *x.shape[1:]).transpose(1, 2).flatten(2, 3)


def apart(x: Tensor, beams: int) -> Tensor:
    """Undo ``side_by_side``."""
    samples, heads, _, dim = x.shape
    return x if beams == 1 else x.view(samples, heads, beams, -1, dim).transpose(1, 2).flatten(0, 1)
