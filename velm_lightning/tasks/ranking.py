"""The search index of retrieval: all images and texts of an evaluation, each encoded once, over all processes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from velm_lightning.io.groups import BELOW
from velm_lightning.metrics.retrieval import best_ranks
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import all_gather_objects
from velm_lightning.types import Prediction, TextInput, Tokens

CHUNK = 32
"""Number of queries that are ranked together; bounds memory and is the unit of work of a process."""

_ABOVE = 1e6  # items that were fused with the query rank before all others


class Direction(Enum):
    """The direction of a search; the values begin the groups of rows."""

    IMAGES = "text to image"
    TEXTS = "image to text"


def fold_of(row: Prediction) -> str:
    """Return direction and fold of a row: its group without the group of its query in the data."""
    return row.group.partition(BELOW)[0]


class CachedSample(NamedTuple):
    """An encoded sample of an evaluation.

    Attributes:
        key: the sample's key.
        group: its group in the data; may be empty.
        text: its text as written.
        name: the name of its image.
        vector: (W,) the vector of its text.
        words: the token ids of its text.
        encoded_image: vector (W,) and tokens (N, D) of its image; None if another sample holds them.
    """

    key: str
    group: str
    text: str
    name: str
    vector: Tensor
    words: list[int]
    encoded_image: tuple[Tensor, Tensor] | None


class RankedQuery(NamedTuple):
    """The rank of a query's best relevant item, from 1, and the item that came first."""

    query: int
    rank: int
    first: int


class Searcher(Protocol):
    """The similarity of images and texts, as computed by ``Retrieval``."""

    shortlist: int

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the logits (I, T) of vectors (I, W) and (T, W)."""
        ...

    def correction(self, model: FusionProtocol, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Return the correction (P,) of the similarity of pairs from their fused states."""
        ...


class SearchIndex:
    """Images and texts, the same on every process, in the natural order of their keys (9 before 10).

    Memory is linear in the number of images and texts, and that of a search is ``CHUNK`` times it.

    Args:
        samples: the samples of all processes.
        fold: number of images that are ranked among themselves; None means all.
    """

    def __init__(self, samples: Sequence[CachedSample], fold: int | None) -> None:
        self.samples = sorted(samples, key=lambda sample: _natural(sample.key))
        encoded = {each.name: each.encoded_image for each in self.samples[::-1] if each.encoded_image}
        encoded |= {
            each.name: each.encoded_image for each in self.samples if each.encoded_image and each.key == each.name
        }
        self.names = list(dict.fromkeys(sample.name for sample in self.samples))
        place = {name: index for index, name in enumerate(self.names)}
        self.texts_of: dict[str, list[str]] = {name: [] for name in self.names}  # the texts of each image
        self.groups_of: dict[str, set[str]] = {name: set() for name in self.names}
        for sample in self.samples:
            self.texts_of[sample.name].append(sample.text)
            self.groups_of[sample.name].add(sample.group)
        self.owner = torch.tensor([place[sample.name] for sample in self.samples])  # (T,) the image of each text
        self.images = torch.stack([encoded[name][0] for name in self.names])  # (I, W)
        self.tokens = torch.stack([encoded[name][1] for name in self.names])  # (I, N, D)
        self.texts = torch.stack([sample.vector for sample in self.samples])  # (T, W)
        size = fold or len(self.names)
        self.folds = [range(start, min(start + size, len(self.names))) for start in range(0, len(self.names), size)]

    @classmethod
    def of(cls, keys: set[str], cached: Mapping[str, CachedSample], fold: int | None) -> SearchIndex:
        """Gather the samples named by ``keys`` from all processes."""
        local = [sample for key, sample in cached.items() if key in keys]
        return cls([sample for part in all_gather_objects(local) for sample in part], fold)

    def search(self, task: Searcher, model: FusionProtocol, direction: Direction) -> list[Prediction]:
        """Run all queries of a direction; the processes divide the queries, and each returns all rows."""
        rows = []
        for number, fold in enumerate(self.folds, 1):
            label = direction.value if len(self.folds) == 1 else f"{direction.value}, fold {number}"
            images = torch.tensor(list(fold))
            texts = torch.isin(self.owner, images).nonzero()[:, 0]
            queries, items = (texts, images) if direction is Direction.IMAGES else (images, texts)
            local = [
                hit for chunk in _chunks_of_rank(queries) for hit in self._ranked(task, model, direction, chunk, items)
            ]
            everything = sorted(hit for part in all_gather_objects(local) for hit in part)
            rows += [self._row(direction, label, hit) for hit in everything]
        return rows

    def _ranked(
        self, task: Searcher, model: FusionProtocol, direction: Direction, queries: Tensor, items: Tensor
    ) -> Iterator[RankedQuery]:
        """Rank ``items`` (C,) for ``queries`` (Q,), which are indices of texts or images."""
        device = next(iter(task.parameters())).device if isinstance(task, torch.nn.Module) else torch.device("cpu")
        of_texts = direction is Direction.IMAGES
        images, texts = (items, queries) if of_texts else (queries, items)
        logits = task.similarity(self.images[images].to(device), self.texts[texts].to(device)).cpu()  # (I, T)
        scores = (logits.T if of_texts else logits).double()  # (Q, C)
        count = min(task.shortlist, len(items))
        if count:
            best = scores.topk(count, dim=1).indices  # (Q, K)
            near, repeated = items[best].flatten(), queries.repeat_interleave(count)
            pairs = (near, repeated) if of_texts else (repeated, near)
            added = self._corrections(task, model, *pairs, device).view(len(queries), count)
            scores = (scores - _ABOVE).scatter(1, best, scores.gather(1, best) + added)
        relevant = (
            self.owner[queries][:, None] == items if of_texts else queries[:, None] == self.owner[items][None]
        )  # (Q, C)
        ranks = best_ranks(scores.numpy(), relevant.numpy())
        for query, rank, first in zip(queries.tolist(), ranks.tolist(), scores.argmax(1).tolist(), strict=True):
            yield RankedQuery(query, rank + 1, int(items[first]))

    def _corrections(
        self, task: Searcher, model: FusionProtocol, images: Tensor, texts: Tensor, device: torch.device
    ) -> Tensor:
        """Return the correction (P,) of pairs of images (P,) and texts (P,), in double precision."""
        distinct_images, image_rows = torch.unique(images, return_inverse=True)
        distinct_texts, text_rows = torch.unique(texts, return_inverse=True)
        image = Tokens.of_image(self.tokens[distinct_images].to(device))
        text = model.encode_text(
            model.embed_text(_words([self.samples[index].words for index in distinct_texts.tolist()], device))
        )
        return task.correction(model, image, text, image_rows.to(device), text_rows.to(device)).cpu().double()

    def _row(self, direction: Direction, label: str, hit: RankedQuery) -> Prediction:
        """Return the row of a query; an image has the group of its texts if they share one."""
        references: tuple[str, ...]
        if direction is Direction.IMAGES:
            sample = self.samples[hit.query]
            key, prompt, name, references = sample.key, sample.text, sample.name, (sample.name,)
            first, groups = self.names[hit.first], {sample.group}
        else:
            name = self.names[hit.query]
            key, prompt, references = f"picture of {name}", "", tuple(self.texts_of[name])
            first, groups = self.samples[hit.first].text, self.groups_of[name]
        group = next(iter(groups)) if len(groups) == 1 else ""
        return Prediction(
            key=key,
            group=f"{label}{BELOW}{group}" if group else label,
            prompt=prompt,
            prediction=f"rank {hit.rank}; first: {first}",
            references=references,
            score=math.nan,
            confidence=math.nan,
            loss=math.nan,
            image=name,
        )


def _words(rows: Sequence[Sequence[int]], device: torch.device) -> TextInput:
    """Return token ids as a padded batch of prompts."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return TextInput(ids, torch.arange(width, device=device) < lengths[:, None], torch.zeros_like(ids))


def _chunks_of_rank(queries: Tensor) -> Sequence[Tensor]:
    """Split queries into chunks, independently of the number of processes, and return those of this process."""
    chunks = torch.split(queries, CHUNK)
    shared = dist.is_available() and dist.is_initialized()
    return chunks[dist.get_rank() :: dist.get_world_size()] if shared else chunks


def _natural(key: str) -> list[tuple[int, str]]:
    """Return a sort key that orders numbers by value: 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]
