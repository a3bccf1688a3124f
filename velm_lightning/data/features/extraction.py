"""Computing the features of images that are not on disk yet; several processes share the work."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from math import prod
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from velm_lightning.data.features.frozen import FrozenEncoder, device_of, evaluation_mode
from velm_lightning.data.features.shards import is_intact, open_shard, shard_path, write_shard
from velm_lightning.data.images.decode import read_image
from velm_lightning.io.digests import digest_of
from velm_lightning.io.terminal import Console
from velm_lightning.io.threads import threads
from velm_lightning.types import InputError, Source

SHARD = 256
"""Images per file: the unit of work of a process, and the most that an interruption loses."""

_BATCH = 32
_PIXELS = 2**18  # per CPU batch: activations above 32 MB are newly allocated and zeroed in every layer

Sources = Mapping[bytes, Source]
"""An image per digest of its content."""


class Extraction:
    """Writes the shards of images in order, postponing those that other processes are writing.

    Args:
        encoder: Turns images into tokens; its device and mode do not change.
        folder: Folder of the shards.
        key: Key of the encoder.
    """

    def __init__(self, encoder: FrozenEncoder, folder: Path, key: str) -> None:
        self.encoder, self.folder, self.key = encoder, folder, key

    def run(self, sources: Sources, progress: bool = True) -> list[Path]:
        """Write every shard of ``sources``, or wait until another process has written it; return the files.

        Raises:
            InputError: An image cannot be read, tokens do not fit float16, or the disk is full.
            OSError: The folder cannot be written.
        """
        every = tuple(sources)
        chunks = [every[start : start + SHARD] for start in range(0, len(every), SHARD)]
        self.folder.mkdir(parents=True, exist_ok=True)
        with _bar(progress, f"Encoding {len(every):,} images for {self.folder}") as bar:
            task, left = bar.add_task("Encoding images", total=len(every)), chunks
            for wait in (False, True):  # first the free shards, then those that other processes were writing
                busy = []
                for number, chunk in enumerate(left):
                    if self._write(chunk, sources, wait):
                        bar.advance(task, len(chunk))
                        self._check_space(chunk, len(left) - number - 1)
                    else:
                        busy.append(chunk)
                left = busy
                bar.update(task, description="Waiting for other processes" if left else None)
        return [shard_path(self.folder, chunk) for chunk in chunks]

    def _write(self, chunk: tuple[bytes, ...], sources: Sources, wait: bool) -> bool:
        """Write one shard unless it exists; return False if another process is writing it and ``wait`` is False."""
        path = shard_path(self.folder, chunk)
        try:
            with FileLock(path.with_suffix(".lock"), timeout=-1 if wait else 0):  # released when its process ends
                if not is_intact(open_shard(path), self.key):
                    write_shard(path, chunk, self.tokens(chunk, sources), self.key)
        except Timeout:
            return False
        return True

    def tokens(self, digests: Sequence[bytes], sources: Sources) -> Tensor:
        """Return the encoder's tokens of K images: (K, N, D) float16.

        Raises:
            InputError: An image cannot be read, or its tokens do not fit float16.
        """
        device, batches = device_of(self.encoder), []
        pixels = prod(self.encoder.transform.shape[1:])
        size = _BATCH if device.type != "cpu" else max(1, min(_BATCH, _PIXELS // pixels))
        with threads() as pool, evaluation_mode(self.encoder):
            read = pool.map(lambda digest: self._read(digest, sources[digest]), digests)
            while batch := list(islice(read, size)):
                batches.append(self.encoder(torch.stack(batch).to(device)).embeddings.half().cpu())
            tokens = torch.cat(batches)
        good = tokens.isfinite().flatten(1).all(1)
        if not good.all():
            first = sources[digests[int(good.long().argmin())]]
            name = "an image" if isinstance(first, Tensor) else first
            raise InputError(f"the features of {name} do not fit float16: set data.cache_features to false")
        return tokens

    def _read(self, digest: bytes, source: Source) -> Tensor:
        image = read_image(source, self.encoder.transform)
        if digest_of(source) != digest:
            raise InputError(f"{source}: changed while its features were computed: start the command again")
        return image

    def _check_space(self, chunk: tuple[bytes, ...], left: int) -> None:
        """Raise early if the remaining shards do not fit on the disk."""
        needed = left * shard_path(self.folder, chunk).stat().st_size
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise InputError(
                f"{self.folder}: the features need {needed / 1e9:.1f} GB more and {free / 1e9:.1f} GB are free: "
                "free some space, or set data.cache_dir to another folder"
            )


@contextmanager
def _bar(progress: bool, message: str) -> Iterator[Progress]:
    """Show a progress bar on a terminal, or print one line into a log."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if progress and not console.is_terminal:
        console.print(message, soft_wrap=True)
    with Progress(*columns, console=console, transient=True, disable=not (progress and console.is_terminal)) as bar:
        yield bar
