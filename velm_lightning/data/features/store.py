"""Tokens of a frozen image encoder: made once for each picture, kept on disk, and read back in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from rich.console import Console
from torch import Tensor

from velm_lightning.data.features.extraction import Extraction, Sources
from velm_lightning.data.features.frozen import FrozenEncoder, encoder_key
from velm_lightning.data.features.shards import SUFFIX, is_whole, open_shard
from velm_lightning.data.images.cache import default_folder
from velm_lightning.data.images.store import distinct
from velm_lightning.io.digests import digests_of
from velm_lightning.io.threads import threads
from velm_lightning.types import Image, InputError

_CHECKED = 2  # pictures that are encoded again when their features are found
_NEAR = 0.05  # how far, relative to their length, features may be from those of other devices and library versions


class FeatureStore:
    """The image tokens of a split by sample number, float16, memory-mapped; what is missing is made first.

    A picture's tokens are found by the content of the picture, of the encoder's weights and of its transform, so that
    a change of any of them asks for other tokens; and a few are made again to see that the code has not changed
    either. Shards that are damaged are made anew. Processes that want the same tokens share the work. The tokens are
    those of the encoder in evaluation mode.

    Args:
        images: the picture of every sample: a file, a tensor, or a tuple of frames (all of one length).
        encoder: turns pictures into tokens; it stays on its device and in its mode.
        cache_dir: where the shards lie, in a folder for each encoder.
        progress: show a bar while tokens are made.

    Attributes:
        key: the encoder's: what is fetched is stale where ``encoder_key`` gives another.
        folder: where the encoder's shards lie.
        pictures: number of different pictures.
        made: how many of them had no features yet.

    Raises:
        InputError: a picture cannot be read, tokens do not fit float16, the folder cannot be written, or what lies
            there is of other code.
    """

    def __init__(
        self, images: Sequence[Image], encoder: FrozenEncoder, cache_dir: Path | None = None, progress: bool = True
    ) -> None:
        root = (cache_dir or default_folder()) / "features"
        self.key = encoder_key(encoder)
        self.folder = root / f"{type(encoder).__name__}-{self.key}"
        images, self._rows = distinct(images)
        digests = digests_of(images, root)
        sources = dict(zip(digests, images, strict=True))
        self.pictures, self.made, self._files = len(sources), 0, list[Path]()
        try:
            places = self._places_of(sources, Extraction(encoder, self.folder, self.key), progress)
        except OSError as error:
            raise InputError(
                f"{self.folder}: features cannot be written ({error.strerror or error}): "
                "free some space, or name another folder as data.cache_dir"
            ) from error
        self._places = [places[digest] for digest in digests]
        self._shards = _mapped(self._files)

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return float16 tokens (B, N, D), or (B, T, N, D) for clips."""
        rows = self._rows[torch.as_tensor(indices, dtype=torch.long)]  # (B,) or (B, T)
        places = [self._places[row] for row in rows.flatten().tolist()]
        with torch.autocast("cpu", enabled=False):  # which knows no float16
            tokens = torch.stack([self._shards[shard][row] for shard, row in places])
        return tokens.view(*rows.shape, *tokens.shape[1:])

    def _places_of(self, sources: Sources, extraction: Extraction, progress: bool) -> dict[bytes, tuple[int, int]]:
        """Return file number and row of every picture, once all are there."""
        places = self._find(sorted(self.folder.glob(f"*{SUFFIX}")), sources)
        self._check(list(places.items())[:_CHECKED], extraction, sources)
        missing = {digest: source for digest, source in sources.items() if digest not in places}
        if missing:
            self.made = len(missing)
            places |= self._find(extraction.run(missing, progress), missing)
            if len(places) < len(sources):
                raise InputError(f"{self.folder}: features just written cannot be read back: is the disk in order?")
        return places

    def _find(self, files: Sequence[Path], wanted: Iterable[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return file number and row of the wanted pictures that lie in whole ``files``; remove damaged ones."""
        left = set(wanted)
        places: dict[bytes, tuple[int, int]] = {}
        with threads() as pool:
            rows = list(pool.map(lambda file: self._read(file, left), files))
        for file, found in zip(files, rows, strict=True):
            if found is None:
                self._remove(file)
            elif found:
                places |= {picture: (len(self._files), row) for picture, row in found.items()}
                self._files.append(file)
        return places

    def _read(self, file: Path, wanted: set[bytes]) -> dict[bytes, int] | None:
        """Return the rows of wanted pictures in a shard; nothing where the shard is damaged."""
        shard = open_shard(file)
        if shard is None:
            return None
        rows = {picture: row for row, picture in enumerate(shard.pictures) if picture in wanted}
        return rows if not rows or is_whole(shard, self.key) else None

    def _remove(self, file: Path) -> None:
        """Remove a damaged shard, unless another process has just put a whole one in its place."""
        with FileLock(file.with_suffix(".lock")):
            if file.exists() and not is_whole(open_shard(file), self.key):
                Console(stderr=True).print(f"{file}: damaged, so its features are made anew", soft_wrap=True)
                file.unlink()

    def _check(self, found: Sequence[tuple[bytes, tuple[int, int]]], extraction: Extraction, sources: Sources) -> None:
        """Make a few features again and refuse those on disk if they are others."""
        if not found:
            return
        shards = _mapped(self._files)
        kept = torch.stack([shards[shard][row] for _, (shard, row) in found]).float()
        made = extraction.tokens([digest for digest, _ in found], sources).float()
        if kept.shape != made.shape or (kept - made).norm() > _NEAR * made.norm():
            raise InputError(
                f"{self.folder}: these features were made by other code, for the same weights and pictures give "
                "others now: remove the folder"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped files out: the other process maps them anew."""
        return self.__dict__ | {"_shards": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shards = _mapped(self._files)


def _mapped(files: Iterable[Path]) -> list[Tensor]:
    """Map the tokens of shards that were found whole."""
    shards = [(file, open_shard(file)) for file in files]
    gone = [str(file) for file, shard in shards if shard is None]
    if gone:
        raise InputError(f"{gone[0]}: was removed or damaged while it was in use: start again")
    return [shard.tokens for _, shard in shards if shard is not None]
