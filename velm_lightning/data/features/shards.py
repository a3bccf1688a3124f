"""Shards: files with the features of up to 256 images and a checksum."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from velm_lightning.io.atomic import remove_parts_of, write_atomic
from velm_lightning.io.digests import SIZE, raw

SUFFIX = ".safetensors"


class Shard(NamedTuple):
    """The tokens of K images.

    Attributes:
        digests: Digest of each image, from ``digest_of``.
        tokens: (K, N, D) float16, memory-mapped.
        checksum: Of digests, tokens and encoder key.
    """

    digests: tuple[bytes, ...]
    tokens: Tensor
    checksum: str


def shard_path(folder: Path, digests: Sequence[bytes]) -> Path:
    """Return the file of these images; it depends only on their digests."""
    return folder / (blake2b(b"".join(digests), digest_size=SIZE).hexdigest() + SUFFIX)


def write_shard(path: Path, digests: Sequence[bytes], tokens: Tensor, key: str) -> None:
    """Write a shard atomically."""
    names = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(len(digests), -1)
    checksum = _checksum(tuple(digests), tokens, key)
    remove_parts_of(path)
    write_atomic(path, save({"pictures": names, "tokens": tokens.contiguous()}, {"checksum": checksum}))


def open_shard(path: Path) -> Shard | None:
    """Map a shard without reading its tokens; None if it is missing, truncated or has a damaged header."""
    try:
        with safe_open(path, framework="pt") as file:
            digests, tokens = file.get_tensor("pictures"), file.get_tensor("tokens")
            checksum = (file.metadata() or {}).get("checksum", "")
            return Shard(tuple(bytes(row) for row in digests.numpy()), tokens, checksum)
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError):
        return None


def is_intact(shard: Shard | None, key: str) -> bool:
    """Return whether a shard was written for the encoder with this key and its checksum is right."""
    return shard is not None and shard.checksum == _checksum(shard.digests, shard.tokens, key)


def _checksum(digests: Sequence[bytes], tokens: Tensor, key: str) -> str:
    description = repr((key, digests, tokens.dtype, tuple(tokens.shape)))
    return f"{zlib.crc32(raw(tokens), zlib.crc32(description.encode())):08x}"
