"""The vectors nearest to another: among all of them, or quickly in the nearest cells."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from velm_lightning.data.features.store import FeatureStore
from velm_lightning.io.atomic import write_atomic
from velm_lightning.types import InputError

CHUNK = 65_536
"""Vectors compared at once."""

_CHECK = 16  # bytes before the cells on disk that tell whether they are whole
_FEWEST, _LEARNED = 39, 64  # vectors a cell, at least, and of those from which the cells are learned
_SHARE = 32  # of the cells, one in so many is looked into

Found = tuple[list[int], list[float]]
"""Numbers and cosines of the nearest vectors, best first."""


class Nearest:
    """Looks at every vector.

    Args:
        store: unit vectors as features of one token, (B, 1, W).
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __call__(self, vector: Tensor, count: int) -> Found:
        """Return the ``count`` nearest to ``vector`` (1, W); of equals, the first."""
        places, cosines = torch.empty(0, dtype=torch.long), torch.empty(0)
        for start, found in self.chunks():
            places = torch.cat([places, torch.arange(start, start + len(found))])
            cosines = torch.cat([cosines, (found.to(vector.device) @ vector[0]).cpu()])
            cosines, order = (one[:count] for one in cosines.sort(descending=True, stable=True))
            places = places[order]
        return places.tolist(), cosines.tolist()

    def chunks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield all vectors (C, W) in pieces, each with the number of its first."""
        for start in range(0, len(self.store), CHUNK):
            numbers = range(start, min(start + CHUNK, len(self.store)))
            yield start, self.store.fetch(numbers)[:, 0].float()


class NearestByCells(Nearest):
    """Looks into the nearest cells of the gallery alone (an inverted file, by FAISS), and may miss some.

    For very large galleries: the cells are found once, and kept beside the vectors that they are of.

    Args:
        store: unit vectors as features of one token, (B, 1, W).

    Raises:
        InputError: FAISS is not installed, or the cells cannot be written.
    """

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store)
        try:
            self._faiss: Any = import_module("faiss")
        except ImportError as error:
            raise InputError("--approximate needs faiss-cpu: pip install velm-lightning[faiss]") from error
        name = blake2b(digest_size=_CHECK)
        for _, vectors in self.chunks():
            name.update(vectors.numpy().tobytes())
        path = store.folder / f"{name.hexdigest()}.cells"
        self.cells = self._read(path) or self._build(path)
        self.cells.nprobe = max(1, self.cells.nlist // _SHARE)

    def __call__(self, vector: Tensor, count: int) -> Found:
        """Return about the ``count`` nearest to ``vector`` (1, W)."""
        cosines, places = self.cells.search(vector.cpu().float().numpy(), min(count, len(self.store)))
        there = places[0] >= 0  # fewer where the cells hold fewer
        return places[0][there].tolist(), cosines[0][there].tolist()

    def _read(self, path: Path) -> Any:
        """Return the cells on disk, or nothing where there is no whole one."""
        content = path.read_bytes() if path.exists() else b""
        if len(content) <= _CHECK or content[:_CHECK] != blake2b(content[_CHECK:], digest_size=_CHECK).digest():
            return None
        return self._faiss.deserialize_index(np.frombuffer(content, np.uint8, offset=_CHECK))

    def _build(self, path: Path) -> Any:
        count = len(self.store)
        lists = max(1, min(round(4 * count**0.5), count // _FEWEST))
        sample = torch.linspace(0, count - 1, min(count, lists * _LEARNED)).long().tolist()
        known = self.store.fetch(sample)[:, 0].float().numpy()
        flat, half = self._faiss.IndexFlatIP(known.shape[1]), self._faiss.ScalarQuantizer.QT_fp16
        cells = self._faiss.IndexIVFScalarQuantizer(flat, known.shape[1], lists, half, self._faiss.METRIC_INNER_PRODUCT)
        cells.train(known)
        for _, vectors in self.chunks():
            cells.add(vectors.numpy())
        content = self._faiss.serialize_index(cells).tobytes()
        write_atomic(path, blake2b(content, digest_size=_CHECK).digest() + content)
        return cells
