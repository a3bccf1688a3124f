"""Exact and approximate search for nearest vectors."""

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
"""Number of vectors compared at once."""

_CHECK = 16  # bytes of the checksum before the cells on disk
_FEWEST, _LEARNED = 39, 64  # vectors per cell: at least, and to learn the cells from
_SHARE = 32  # one in so many cells is searched

Found = tuple[list[int], list[float]]
"""Indices and cosine similarities of the nearest vectors, best first."""


class Nearest:
    """Exact search: compares a query with every vector.

    Args:
        store: unit vectors as features of one token, (B, 1, W).
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __call__(self, vector: Tensor, count: int) -> Found:
        """Return the ``count`` nearest to ``vector`` (1, W); the first of equals comes first."""
        places, cosines = torch.empty(0, dtype=torch.long), torch.empty(0)
        for start, vectors in self.chunks():
            places = torch.cat([places, torch.arange(start, start + len(vectors))])
            cosines = torch.cat([cosines, (vectors.to(vector.device) @ vector[0]).cpu()])
            cosines, order = (values[:count] for values in cosines.sort(descending=True, stable=True))
            places = places[order]
        return places.tolist(), cosines.tolist()

    def chunks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield all vectors in chunks (C, W), each with the index of its first vector."""
        for start in range(0, len(self.store), CHUNK):
            numbers = range(start, min(start + CHUNK, len(self.store)))
            yield start, self.store.fetch(numbers)[:, 0].float()


class NearestByCells(Nearest):
    """Approximate search: compares a query only with the vectors of the nearest cells (an inverted file of FAISS).

    It is meant for very large sets of images. The cells are computed once and stored next to the vectors.

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
        valid = places[0] >= 0  # -1 if the cells hold fewer vectors
        return places[0][valid].tolist(), cosines[0][valid].tolist()

    def _read(self, path: Path) -> Any:
        """Return the cells on disk, or None if the file is missing or damaged."""
        content = path.read_bytes() if path.exists() else b""
        if len(content) <= _CHECK or content[:_CHECK] != blake2b(content[_CHECK:], digest_size=_CHECK).digest():
            return None
        return self._faiss.deserialize_index(np.frombuffer(content, np.uint8, offset=_CHECK))

    def _build(self, path: Path) -> Any:
        count = len(self.store)
        lists = max(1, min(round(4 * count**0.5), count // _FEWEST))
        sample = torch.linspace(0, count - 1, min(count, lists * _LEARNED)).long().tolist()
        training = self.store.fetch(sample)[:, 0].float().numpy()
        flat, half = self._faiss.IndexFlatIP(training.shape[1]), self._faiss.ScalarQuantizer.QT_fp16
        cells = self._faiss.IndexIVFScalarQuantizer(
            flat, training.shape[1], lists, half, self._faiss.METRIC_INNER_PRODUCT
        )
        cells.train(training)
        for _, vectors in self.chunks():
            cells.add(vectors.numpy())
        content = self._faiss.serialize_index(cells).tobytes()
        write_atomic(path, blake2b(content, digest_size=_CHECK).digest() + content)
        return cells
