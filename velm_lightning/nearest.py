"""The vectors nearest to another: among all of them, or quickly through a graph."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from velm_lightning.data.features import FeatureStore
from velm_lightning.types import InputError

CHUNK = 65_536
"""Vectors compared at once."""

_CHECK = 16  # bytes before a graph on disk that tell whether it is whole
_LINKS, _BUILDING, _LOOKING = 32, 128, 128

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


class NearestByGraph(Nearest):
    """Walks a graph of neighbours (HNSW, Malkov & Yashunin 2018, by FAISS), and may miss some: for large galleries.

    The graph is kept beside the vectors that it is of.

    Args:
        store: unit vectors as features of one token, (B, 1, W).

    Raises:
        InputError: FAISS is not installed, or the graph cannot be written.
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
        path = store.folder / f"{name.hexdigest()}.hnsw"
        self.graph = self._read(path) or self._build(path)

    def __call__(self, vector: Tensor, count: int) -> Found:
        """Return about the ``count`` nearest to ``vector`` (1, W)."""
        self.graph.hnsw.efSearch = max(_LOOKING, 2 * count)
        cosines, places = self.graph.search(vector.cpu().float().numpy(), min(count, len(self.store)))
        return places[0].tolist(), cosines[0].tolist()

    def _read(self, path: Path) -> Any:
        """Return the graph on disk, or nothing where there is no whole one."""
        content = path.read_bytes() if path.exists() else b""
        if len(content) <= _CHECK or content[:_CHECK] != blake2b(content[_CHECK:], digest_size=_CHECK).digest():
            return None
        return self._faiss.deserialize_index(np.frombuffer(content, np.uint8, offset=_CHECK))

    def _build(self, path: Path) -> Any:
        graph = None
        for _, vectors in self.chunks():
            if graph is None:
                graph = self._faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, self._faiss.METRIC_INNER_PRODUCT)
                graph.hnsw.efConstruction = _BUILDING
            graph.add(vectors.numpy())
        content = self._faiss.serialize_index(graph).tobytes()
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, delete=False) as file:
                file.write(blake2b(content, digest_size=_CHECK).digest() + content)
            os.replace(file.name, path)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror or error}): free some space") from error
        return graph
