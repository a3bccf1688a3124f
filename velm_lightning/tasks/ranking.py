"""What a search ranks: all pictures and texts of an evaluation, each encoded once, whichever process saw them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from velm_lightning.metrics.retrieval import best_ranks
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import all_gather_objects
from velm_lightning.types import Prediction, TextInput, Tokens

CHUNK = 32
"""Queries ranked at once: what memory and the work of a process are counted in."""

_ABOVE = 1e6  # what has been read with the query is ranked before all that has not


class Direction(Enum):
    """What is looked for with what; the names are the groups of rows."""

    IMAGES = "text to image"
    TEXTS = "image to text"


class CachedSample(NamedTuple):
    """A sample of an evaluation.

    Attributes:
        key: the sample's key.
        text: its text as written.
        name: the name of its picture.
        vector: (W,) of its text.
        words: its word pieces.
        shown: vector (W,) and tokens (N, D) of its picture, where they are kept with this sample.
    """

    key: str
    text: str
    name: str
    vector: Tensor
    words: list[int]
    shown: tuple[Tensor, Tensor] | None


class RankedQuery(NamedTuple):
    """The rank of a query's best answer, from 1, and what came first."""

    query: int
    rank: int
    first: int


class Searcher(Protocol):
    """How well pictures and texts go together: ``Retrieval``."""

    shortlist: int

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Logits (I, T) of vectors."""
        ...

    def correction(self, model: FusionProtocol, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """What reading pairs (P,) together adds."""
        ...


class SearchIndex:
    """Pictures and texts, the same on every process, in the order of their keys, numbers counting as such.

    Its memory grows with the number of pictures and texts, that of a search with ``CHUNK`` times it, never its square.

    Args:
        samples: of all processes.
        fold: pictures that are ranked among themselves; none takes all.
    """

    def __init__(self, samples: Sequence[CachedSample], fold: int | None) -> None:
        self.samples = sorted(samples, key=lambda one: _natural(one.key))
        shown = {one.name: one.shown for one in self.samples[::-1] if one.shown}
        shown |= {one.name: one.shown for one in self.samples if one.shown and one.key == one.name}
        self.names = list(dict.fromkeys(one.name for one in self.samples))
        place = {name: index for index, name in enumerate(self.names)}
        self.written: dict[str, list[str]] = {name: [] for name in self.names}  # the texts of each picture
        for one in self.samples:
            self.written[one.name].append(one.text)
        self.owner = torch.tensor([place[one.name] for one in self.samples])  # (T,) which picture each text is of
        self.images = torch.stack([shown[name][0] for name in self.names])  # (I, W)
        self.tokens = torch.stack([shown[name][1] for name in self.names])  # (I, N, D)
        self.texts = torch.stack([one.vector for one in self.samples])  # (T, W)
        size = fold or len(self.names)
        self.folds = [range(start, min(start + size, len(self.names))) for start in range(0, len(self.names), size)]

    @classmethod
    def of(cls, keys: set[str], held: Mapping[str, CachedSample], fold: int | None) -> SearchIndex:
        """Bring together what every process holds of the samples named by ``keys``."""
        mine = [one for key, one in held.items() if key in keys]
        return cls([one for part in all_gather_objects(mine) for one in part], fold)

    def search(self, task: Searcher, model: FusionProtocol, direction: Direction) -> list[Prediction]:
        """Look with every query of a direction; the processes share the work, and each returns all rows."""
        rows = []
        for number, fold in enumerate(self.folds, 1):
            group = direction.value if len(self.folds) == 1 else f"{direction.value}, fold {number}"
            pictures = torch.tensor(list(fold))
            texts = torch.isin(self.owner, pictures).nonzero()[:, 0]
            queries, items = (texts, pictures) if direction is Direction.IMAGES else (pictures, texts)
            found = [one for chunk in _shared(queries) for one in self._ranked(task, model, direction, chunk, items)]
            everything = sorted(one for part in all_gather_objects(found) for one in part)
            rows += [self._row(direction, group, one) for one in everything]
        return rows

    def _ranked(
        self, task: Searcher, model: FusionProtocol, direction: Direction, queries: Tensor, items: Tensor
    ) -> Iterator[RankedQuery]:
        """Rank ``items`` (C,) for ``queries`` (Q,), all of them numbers of texts or pictures."""
        device = next(iter(task.parameters())).device if isinstance(task, torch.nn.Module) else torch.device("cpu")
        of_texts = direction is Direction.IMAGES
        images, texts = (items, queries) if of_texts else (queries, items)
        logits = task.similarity(self.images[images].to(device), self.texts[texts].to(device)).cpu()  # (I, T)
        scores = (logits.T if of_texts else logits).double()  # (Q, C)
        count = min(task.shortlist, len(items))
        if count:
            best = scores.topk(count, dim=1).indices  # (Q, K)
            near, asked = items[best].flatten(), queries.repeat_interleave(count)
            pairs = (near, asked) if of_texts else (asked, near)
            added = self._read(task, model, *pairs, device).view(len(queries), count)
            scores = (scores - _ABOVE).scatter(1, best, scores.gather(1, best) + added)
        relevant = (
            self.owner[queries][:, None] == items if of_texts else queries[:, None] == self.owner[items][None]
        )  # (Q, C)
        ranks = best_ranks(scores.numpy(), relevant.numpy())
        for query, rank, first in zip(queries.tolist(), ranks.tolist(), scores.argmax(1).tolist(), strict=True):
            yield RankedQuery(query, rank + 1, int(items[first]))

    def _read(
        self, task: Searcher, model: FusionProtocol, images: Tensor, texts: Tensor, device: torch.device
    ) -> Tensor:
        """Return what reading pictures (P,) with texts (P,) adds, in double precision."""
        shown, image_rows = torch.unique(images, return_inverse=True)
        written, text_rows = torch.unique(texts, return_inverse=True)
        image = Tokens.of_image(self.tokens[shown].to(device))
        text = model.encode_text(
            model.embed_text(_words([self.samples[index].words for index in written.tolist()], device))
        )
        return task.correction(model, image, text, image_rows.to(device), text_rows.to(device)).cpu().double()

    def _row(self, direction: Direction, group: str, found: RankedQuery) -> Prediction:
        nothing = math.nan
        if direction is Direction.IMAGES:
            one = self.samples[found.query]
            said = f"rank {found.rank}; first: {self.names[found.first]}"
            return Prediction(one.key, group, one.text, said, (one.name,), nothing, nothing, nothing, one.name)
        name = self.names[found.query]
        said = f"rank {found.rank}; first: {self.samples[found.first].text}"
        return Prediction(
            f"picture of {name}", group, "", said, tuple(self.written[name]), nothing, nothing, nothing, name
        )


def _words(rows: Sequence[Sequence[int]], device: torch.device) -> TextInput:
    """Return prompts as a padded batch."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return TextInput(ids, torch.arange(width, device=device) < lengths[:, None], torch.zeros_like(ids))


def _shared(queries: Tensor) -> Sequence[Tensor]:
    """Cut queries into chunks, the same at any number of processes, and return this one's."""
    chunks = torch.split(queries, CHUNK)
    shared = dist.is_available() and dist.is_initialized()
    return chunks[dist.get_rank() :: dist.get_world_size()] if shared else chunks


def _natural(key: str) -> list[tuple[int, str]]:
    """Order names as people do: 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]
