"""The images of a split by sample number: decoded per fetch, once per run, or once for all runs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from rich.progress import track
from torch import Tensor

from velm_lightning.data.images.cache import build_cache, cache_key, checksum, default_folder
from velm_lightning.data.images.decode import MAX_PIXELS, is_ready, read_image
from velm_lightning.io.digests import image_key
from velm_lightning.io.terminal import Console
from velm_lightning.io.threads import threads
from velm_lightning.types import Image, ImageTransform, InputError, Source

__all__ = ["MAX_PIXELS", "ImageStore", "read_image"]


class ImageStore:
    """The images of a split by sample number: decoded per fetch, once per run, or once for all runs.

    An image that several samples use is kept once. Loader workers share the memory and the file. A process verifies an
    image of the file when it reads it for the first time; a damaged one is decoded again from its source.

    Args:
        images: Image of every sample: a file or a part of one, a tensor, or a tuple of frames (all of one length).
        transform: The geometry.
        mode: ``disabled`` decodes at every fetch; ``memory`` keeps all images as uint8; ``disk`` maps one uint8 file,
            which is written once for the same files and geometry.
        cache_dir: Folder of the ``disk`` files.
        max_pixels: See ``read_image``.
        strict: Whether ``memory`` and ``disk`` raise for an unreadable image at the start instead of when it is
            fetched.
        progress: Whether to show a progress bar.
    """

    def __init__(
        self,
        images: Sequence[Image],
        transform: ImageTransform,
        mode: Literal["disabled", "memory", "disk"] = "disabled",
        cache_dir: Path | None = None,
        *,
        max_pixels: int = MAX_PIXELS,
        strict: bool = True,
        progress: bool = True,
    ) -> None:
        self.transform, self.max_pixels = transform, max_pixels
        self._sources, self._rows = distinct(images)
        self._pixels, self._good = _one_block(self._sources, transform), torch.empty(0, dtype=torch.bool)
        self._cache: Path | None = None
        self._checksums = torch.empty(0, dtype=torch.long)
        self._unchecked = torch.empty(0, dtype=torch.bool)
        if self._pixels is not None:
            self._rows = _places(self._sources, self._pixels)[self._rows]
            self._sources = []
        elif mode != "disabled" and not all(is_ready(source, transform) for source in self._sources):
            self._load(mode, cache_dir or default_folder(), strict, progress)

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return uint8 (B, 3, H, W), or (B, T, 3, H, W) for clips.

        Raises:
            InputError: An image cannot be read; the message names its file.
        """
        rows = self._rows[torch.as_tensor(indices, dtype=torch.long)]  # (B,) or (B, T)
        flat = rows.flatten()
        self._verify(flat)
        if self._pixels is not None and (not len(self._good) or bool(self._good[flat].all())):
            return self._pixels.index_select(0, flat).view(*rows.shape, *self._pixels.shape[1:])
        if not len(flat):
            return torch.empty(*rows.shape, *self.transform.shape, dtype=torch.uint8)
        images = torch.stack([self._read(row) for row in flat.tolist()])
        return images.view(*rows.shape, *images.shape[1:])

    def fetch_readable(self, indices: Sequence[int]) -> tuple[Tensor, list[int], list[InputError]]:
        """Return the readable images, their positions in ``indices``, and one error per unreadable image."""
        try:
            return self.fetch(indices), list(range(len(indices))), []
        except InputError:
            images, positions, errors = [self.fetch([])], [], []
        for position, index in enumerate(indices):
            try:
                images.append(self.fetch([index]))
                positions.append(position)
            except InputError as error:
                errors.append(error)
        return torch.cat(images), positions, errors

    def _read(self, row: int) -> Tensor:
        if self._pixels is not None and bool(self._good[row]):
            return self._pixels[row]
        return read_image(self._sources[row], self.transform, self.max_pixels)

    def _verify(self, rows: Tensor) -> None:
        """Compare the checksums of the rows of the file that this process has not read before."""
        if self._pixels is None or not len(self._unchecked):
            return
        for row in set(rows[self._unchecked[rows]].tolist()):
            self._unchecked[row] = False
            if checksum(self._pixels[row]) != self._checksums[row]:
                self._good[row] = False  # `_read` decodes it
                Console(stderr=True).print(
                    f"{self._cache}: the image of {self._sources[row]} is damaged and decoded again: remove the file",
                    soft_wrap=True,
                )

    def _load(self, mode: str, folder: Path, strict: bool, progress: bool) -> None:
        """Decode every image into memory or into the cache file; unreadable ones are marked."""
        count = len(self._sources)
        files = [source for source in self._sources if not isinstance(source, Tensor)]
        if mode == "disk" and len(files) == count:
            self._cache = folder / f"{cache_key(files, self.transform)}.uint8"
            self._map(self._decode_all(progress))
        else:
            self._pixels = torch.empty(count, *self.transform.shape, dtype=torch.uint8)
            self._good = torch.zeros(count).bool()
            for row, image in enumerate(self._decode_all(progress)):
                if image is not None:
                    self._pixels[row], self._good[row] = image, True
        bad = (~self._good).nonzero().flatten().tolist()
        if bad and strict:
            try:
                self._read(bad[0])
            except InputError as error:
                more = f" ({len(bad)} such images; `velm data check` lists them)" if len(bad) > 1 else ""
                raise InputError(f"{error}{more}") from error

    def _map(self, images: Iterable[Tensor | None]) -> None:
        assert self._cache is not None, "only a store on disk is mapped"
        cache = build_cache(self._cache, len(self._sources), self.transform.shape, images)
        self._pixels, self._good, self._checksums = cache
        self._unchecked = torch.ones(len(self._sources), dtype=torch.bool)

    def _decode_all(self, progress: bool) -> Iterator[Tensor | None]:
        """Yield every image in order, decoded by several threads; None for an unreadable one."""

        def read(source: Source) -> Tensor | None:
            try:
                return read_image(source, self.transform, self.max_pixels)
            except InputError:
                return None

        console = Console(stderr=True)
        hidden = not progress or not console.is_terminal
        starts = range(0, len(self._sources), 256)
        with threads() as pool:
            for start in track(starts, "Decoding images", console=console, transient=True, disable=hidden):
                yield from pool.map(read, self._sources[start : start + 256])

    def __getstate__(self) -> dict[str, Any]:
        """Exclude a mapped file, which the other process maps itself."""
        return self.__dict__ | ({"_pixels": None} if self._cache else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._cache:
            self._map(self._decode_all(progress=False))


def distinct(images: Sequence[Image]) -> tuple[list[Source], Tensor]:
    """Return the distinct images, and each sample's number(s) among them: (n,), or (n, T) for clips.

    Raises:
        InputError: Clips have different numbers of frames.
    """
    numbers: dict[Hashable, int] = {}
    sources: list[Source] = []

    def number(image: Source) -> int:
        key = image_key(image)
        if key not in numbers:
            numbers[key] = len(sources)
            sources.append(image)
        return numbers[key]

    lengths = {len(image) if isinstance(image, tuple) else -1 for image in images}
    if len(lengths) > 1 or 0 in lengths:
        counts = ", ".join("single images" if n < 0 else f"clips of {n}" for n in sorted(lengths))
        raise InputError(f"the samples of a split must all have the same number of frames (one or more), got {counts}")
    rows = [[number(part) for part in image] if isinstance(image, tuple) else number(image) for image in images]
    return sources, torch.tensor(rows, dtype=torch.long)


def _one_block(sources: Sequence[Source], transform: ImageTransform) -> Tensor | None:
    """Return (N, 3, H, W) without a copy if all images are rows of one tensor, so that a batch is one gather."""
    row = prod(transform.shape)
    tensors = [source for source in sources if isinstance(source, Tensor) and is_ready(source, transform)]
    if not tensors or len(tensors) < len(sources):
        return None
    storage = tensors[0].untyped_storage()
    for tensor in tensors:
        same = tensor.untyped_storage().data_ptr() == storage.data_ptr()
        if not same or not tensor.is_contiguous() or tensor.storage_offset() % row:
            return None
    return torch.empty(0, dtype=torch.uint8).set_(storage)[: storage.nbytes() // row * row].view(-1, *tensors[0].shape)


def _places(sources: Sequence[Source], block: Tensor) -> Tensor:
    row = block[0].numel()
    return torch.tensor([source.storage_offset() // row for source in sources if isinstance(source, Tensor)])
