"""Tokens of a frozen image encoder, computed once per image, kept on disk and read in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from velm_lightning.data.features.extraction import Extraction, Sources
from velm_lightning.data.features.frozen import FrozenEncoder, encoder_key
from velm_lightning.data.features.shards import SUFFIX, is_intact, open_shard
from velm_lightning.data.images.cache import default_folder
from velm_lightning.data.images.store import distinct
from velm_lightning.io.digests import digests_of
from velm_lightning.io.threads import threads
from velm_lightning.types import Image, InputError

_log = logging.getLogger(__name__)

_CHECKED = 2  # cached images that are encoded again to detect changed code
_NEAR = 0.05  # relative difference allowed between devices and library versions
_MOST = 2**29  # bytes of means that a process keeps


class FeatureStore:
    """The image tokens of a split by sample number, float16 and memory-mapped; missing ones are computed first.

    Tokens are stored under the content of the image and of the encoder's weights and transform, so that a change of
    any of them leads to new tokens. A few tokens are computed again to detect changed code. Damaged shards are
    computed again. Processes that need the same tokens share the work. The encoder runs in evaluation mode.

    Args:
        images: Image of every sample: a file, a tensor, or a tuple of frames (all of one length).
        encoder: Turns images into tokens; its device and mode do not change.
        cache_dir: Folder of the shards, with one subfolder per encoder.
        progress: Whether to show a progress bar.

    Attributes:
        key: Key of the encoder; the tokens are stale if ``encoder_key`` returns another.
        as_mean: Whether ``fetch`` returns the mean of the tokens of an image as its only token. Each process keeps the
            means that it has computed, at most 512 MiB.
        folder: Folder of the encoder's shards.
        num_images: Number of distinct images.
        num_computed: Number of images whose features were computed.

    Raises:
        InputError: An image cannot be read, tokens do not fit float16, the folder cannot be written, or its
            features differ from those of the current code.
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
        self.num_images, self.num_computed, self._files = len(sources), 0, list[Path]()
        try:
            places = self._places_of(sources, Extraction(encoder, self.folder, self.key), progress)
        except OSError as error:
            raise InputError(
                f"{self.folder}: features cannot be written ({error.strerror or error}): "
                "free some space, or set data.cache_dir to another folder"
            ) from error
        self._places = [places[digest] for digest in digests]
        self._shards = _mapped(self._files)
        self.as_mean, self._means = False, dict[int, Tensor]()

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return float16 tokens (B, N, D), or (B, T, N, D) for clips; with ``as_mean``, N is 1 and they are float32."""
        rows = self._rows[torch.as_tensor(indices, dtype=torch.long)]  # (B,) or (B, T)
        images, read = rows.flatten().tolist(), self._mean if self.as_mean else self._tokens
        with torch.autocast("cpu", enabled=False):  # which does not support float16
            tokens = torch.stack([read(image) for image in images]) if images else read(0)[None][:0]
        return tokens.view(*rows.shape, *tokens.shape[1:])

    def _tokens(self, image: int) -> Tensor:
        shard, row = self._places[image]
        return self._shards[shard][row]

    def _mean(self, image: int) -> Tensor:
        if (mean := self._means.get(image)) is None:
            mean = self._tokens(image).float().mean(0, keepdim=True)
            if (len(self._means) + 1) * mean.nbytes <= _MOST:
                self._means[image] = mean
        return mean

    def _places_of(self, sources: Sources, extraction: Extraction, progress: bool) -> dict[bytes, tuple[int, int]]:
        """Return the file number and row of every image, after computing the missing ones."""
        places = self._find(sorted(self.folder.glob(f"*{SUFFIX}")), sources)
        self._check(list(places.items())[:_CHECKED], extraction, sources)
        missing = {digest: source for digest, source in sources.items() if digest not in places}
        if missing:
            self.num_computed = len(missing)
            places |= self._find(extraction.run(missing, progress), missing)
            if len(places) < len(sources):
                raise InputError(f"{self.folder}: features that were just written cannot be read: check the disk")
        return places

    def _find(self, files: Sequence[Path], wanted: Iterable[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return the file number and row of the wanted images in ``files``; remove damaged files."""
        left = set(wanted)
        places: dict[bytes, tuple[int, int]] = {}
        with threads() as pool:
            rows = list(pool.map(lambda file: self._read(file, left), files))
        for file, places_in in zip(files, rows, strict=True):
            if places_in is None:
                self._remove(file)
            elif places_in:
                places |= {digest: (len(self._files), row) for digest, row in places_in.items()}
                self._files.append(file)
        return places

    def _read(self, file: Path, wanted: set[bytes]) -> dict[bytes, int] | None:
        """Return the rows of the wanted images in a shard, or None if the shard is damaged."""
        shard = open_shard(file)
        if shard is None:
            return None
        rows = {digest: row for row, digest in enumerate(shard.digests) if digest in wanted}
        return rows if not rows or is_intact(shard, self.key) else None

    def _remove(self, file: Path) -> None:
        """Remove a damaged shard, unless another process has just replaced it."""
        with FileLock(file.with_suffix(".lock")):
            if file.exists() and not is_intact(open_shard(file), self.key):
                _log.warning("%s: damaged; its features are computed again", file)
                file.unlink()

    def _check(self, places: Sequence[tuple[bytes, tuple[int, int]]], extraction: Extraction, sources: Sources) -> None:
        """Compute a few features again and raise if those on disk differ."""
        if not places:
            return
        shards = _mapped(self._files)
        stored = torch.stack([shards[shard][row] for _, (shard, row) in places]).float()
        computed = extraction.tokens([digest for digest, _ in places], sources).float()
        if stored.shape != computed.shape or (stored - computed).norm() > _NEAR * computed.norm():
            raise InputError(
                f"{self.folder}: these features were computed by other code: the same weights and images give "
                "different ones now; remove the folder"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Exclude the mapped files and the means, which the other process maps and computes itself."""
        return self.__dict__ | {"_shards": None, "_means": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shards = _mapped(self._files)


def _mapped(files: Iterable[Path]) -> list[Tensor]:
    """Map the tokens of undamaged shards."""
    shards = [(file, open_shard(file)) for file in files]
    gone = [str(file) for file, shard in shards if shard is None]
    if gone:
        raise InputError(f"{gone[0]}: was removed or damaged during use: start the command again")
    return [shard.tokens for _, shard in shards if shard is not None]
