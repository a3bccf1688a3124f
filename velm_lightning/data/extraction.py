"""Running a frozen image encoder over pictures whose tokens are not on disk yet; processes share the work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from velm_lightning.data.decode import read_image
from velm_lightning.data.feature_files import (
    Encoder,
    Shard,
    device_of,
    digest_of,
    read_shard,
    shard_path,
    write_shard,
)
from velm_lightning.types import InputError

SHARD = 256
"""Pictures in a file: what an interruption can cost, and what a process takes on at a time."""

_BATCH = 32

Sources = Mapping[bytes, Path | Tensor]
"""Digests of contents, each with a picture that has it."""


class Extraction:
    """Makes the shards of pictures, in the given order, each of which no other process is making.

    Args:
        encoder: turns pictures into tokens; it stays on its device and in its mode.
        folder: where the shards go.
        key: the encoder's.
    """

    def __init__(self, encoder: Encoder, folder: Path, key: str) -> None:
        self.encoder, self.folder, self.key = encoder, folder, key

    def run(self, sources: Sources, progress: bool = True) -> list[Path]:
        """Make every shard of ``sources`` or wait until another process has made it; return their files.

        Raises:
            InputError: a picture cannot be read, tokens do not fit float16, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            every = tuple(sources)
            chunks = [every[start : start + SHARD] for start in range(0, len(every), SHARD)]
            with _bar(progress) as bar:
                self._make_all(chunks, sources, bar)
            return [shard_path(self.folder, chunk) for chunk in chunks]
        except OSError as error:
            raise InputError(
                f"{self.folder}: features cannot be written ({error.strerror or error}): "
                "free some space, or name another folder as data.cache"
            ) from error

    def _make_all(self, chunks: Sequence[tuple[bytes, ...]], sources: Sources, bar: Progress) -> None:
        task = bar.add_task("Encoding images", total=len(sources))
        for wait in (False, True):  # first what is free, then what others were at work on
            busy = []
            for chunk in chunks:
                if self._make(chunk, sources, wait):
                    bar.advance(task, len(chunk))
                else:
                    busy.append(chunk)
            chunks = busy

    def _make(self, chunk: tuple[bytes, ...], sources: Sources, wait: bool) -> bool:
        """Make one shard unless it is there; say no where another process is making it and ``wait`` is not asked."""
        path = shard_path(self.folder, chunk)
        try:
            with FileLock(path.with_suffix(".lock"), timeout=-1 if wait else 0):  # freed when its holder dies
                if read_shard(path, self.key) is None:
                    write_shard(path, Shard(chunk, self._encode(chunk, sources)), self.key)
        except Timeout:
            return False
        return True

    def _encode(self, chunk: Sequence[bytes], sources: Sources) -> Tensor:
        """Return tokens (K, N, D) float16."""
        device, tokens = device_of(self.encoder), []

        def read(digest: bytes) -> Tensor:
            source = sources[digest]
            picture = read_image(source, self.encoder.transform)
            if digest_of(source) != digest:
                raise InputError(f"{source}: changed while it was read: start again when it is at rest")
            return picture

        with workers() as pool, evaluating(self.encoder), torch.autocast(device.type, enabled=False):
            pictures = pool.map(read, chunk)
            while batch := list(islice(pictures, _BATCH)):
                tokens.append(self.encoder(torch.stack(batch).to(device)).x.half().cpu())
        found = torch.cat(tokens)
        good = found.isfinite().flatten(1).all(1)
        if not good.all():
            first = sources[chunk[int(good.long().argmin())]]
            name = first if isinstance(first, Path) else "a picture"
            raise InputError(f"the tokens of {name} do not fit float16: set data.cache_features to false")
        return found


@contextmanager
def evaluating(encoder: Encoder) -> Iterator[None]:
    """Put an encoder into evaluation mode without gradients, and every part of it back into its own mode after."""
    modes = [(module, module.training) for module in encoder.modules()]
    for module, _ in modes:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def workers() -> ThreadPoolExecutor:
    """Return threads for reading and decoding, which leave Python's lock while they work."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return ThreadPoolExecutor(min(8, cores))


def _bar(progress: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not progress or not console.is_terminal)
