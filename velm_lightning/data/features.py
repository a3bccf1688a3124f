"""Tokens of a frozen image encoder: made once for each picture, kept on disk, and read back in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from rich.console import Console
from torch import Tensor

from velm_lightning.data.cache import default_folder
from velm_lightning.data.extraction import Extraction, workers
from velm_lightning.data.feature_files import SUFFIX, Encoder, digest_of, encoder_key, map_tokens, read_shard
from velm_lightning.data.images import distinct
from velm_lightning.types import Image


class FeatureStore:
    """The image tokens of a split by sample number, float16, memory-mapped; what is missing is made first.

    A picture's tokens are found by the content of the picture, of the encoder's weights and of its transform, so that
    a change of any of them asks for other tokens. Processes that want the same tokens share the work. The tokens are
    those of the encoder in evaluation mode.

    Args:
        images: the picture of every sample: a file, a tensor, or a tuple of frames (all of one length).
        encoder: turns pictures into tokens; it stays on its device and in its mode.
        cache_dir: where the shards lie, in a folder for each encoder.
        progress: show a bar while tokens are made.

    Attributes:
        key: the encoder's: what is fetched is stale where ``encoder_key`` gives another.
        folder: where the encoder's shards lie.
        made: number of pictures whose tokens were not there.

    Raises:
        InputError: a picture cannot be read, tokens do not fit float16, or the folder cannot be written.
    """

    def __init__(
        self, images: Sequence[Image], encoder: Encoder, cache_dir: Path | None = None, progress: bool = True
    ) -> None:
        self.key = encoder_key(encoder)
        self.folder = (cache_dir or default_folder()) / "features" / f"{type(encoder).__name__}-{self.key}"
        sources, self._rows = distinct(images)
        with workers() as pool:
            digests = list(pool.map(digest_of, sources))
        wanted = dict(zip(digests, sources, strict=True))
        self._files: list[Path] = []
        places = self._find(sorted(self.folder.glob(f"*{SUFFIX}")), wanted)
        missing = {digest: source for digest, source in wanted.items() if digest not in places}
        if missing:
            places |= self._find(Extraction(encoder, self.folder, self.key).run(missing, progress), missing)
        self.made = len(missing)
        self._places = [places[digest] for digest in digests]
        self._shards = [map_tokens(file) for file in self._files]

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return float16 tokens (B, N, D), or (B, T, N, D) for clips."""
        rows = self._rows[torch.as_tensor(indices, dtype=torch.long)]  # (B,) or (B, T)
        places = [self._places[row] for row in rows.flatten().tolist()]
        tokens = torch.stack([self._shards[shard][row] for shard, row in places])
        return tokens.view(*rows.shape, *tokens.shape[1:])

    def _find(self, files: Iterable[Path], wanted: Iterable[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return file number and row of the wanted pictures that lie in whole ``files``; remove damaged ones."""
        wanted = set(wanted)
        places: dict[bytes, tuple[int, int]] = {}
        for file in files:
            shard = read_shard(file, self.key)
            if shard is None:
                self._remove(file)
                continue
            rows = {picture: row for row, picture in enumerate(shard.pictures) if picture in wanted - places.keys()}
            if rows:
                places |= {picture: (len(self._files), row) for picture, row in rows.items()}
                self._files.append(file)
        return places

    def _remove(self, file: Path) -> None:
        """Remove a damaged shard, unless another process has just put a whole one in its place."""
        with FileLock(file.with_suffix(".lock")):
            if file.exists() and read_shard(file, self.key) is None:
                Console(stderr=True).print(f"{file}: damaged, so its features are made anew", soft_wrap=True)
                file.unlink()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped files out: the other process maps them anew."""
        return self.__dict__ | {"_shards": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shards = [map_tokens(file) for file in self._files]
