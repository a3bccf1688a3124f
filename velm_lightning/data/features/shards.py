"""Shards: files with the features of some pictures, which are written whole and prove it when they are read."""

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
    """Some pictures' tokens.

    Attributes:
        pictures: digest of each picture's content, as ``digest_of`` gives it.
        tokens: (K, N, D) float16, mapped.
        checksum: of pictures, tokens and encoder, as it was written.
    """

    pictures: tuple[bytes, ...]
    tokens: Tensor
    checksum: str


def shard_path(folder: Path, pictures: Sequence[bytes]) -> Path:
    """Return the file of these pictures: the same for every process that wants them."""
    return folder / (blake2b(b"".join(pictures), digest_size=SIZE).hexdigest() + SUFFIX)


def write_shard(path: Path, pictures: Sequence[bytes], tokens: Tensor, key: str) -> None:
    """Write a shard beside its place and move it there, so that no half of it is ever read."""
    names = torch.frombuffer(bytearray(b"".join(pictures)), dtype=torch.uint8).view(len(pictures), -1)
    checksum = _checksum(tuple(pictures), tokens, key)
    remove_parts_of(path)
    write_atomic(path, save({"pictures": names, "tokens": tokens.contiguous()}, {"checksum": checksum}))


def open_shard(path: Path) -> Shard | None:
    """Map a shard without a look at its tokens; nothing where it is missing or cut, or its frame is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            pictures, tokens = file.get_tensor("pictures"), file.get_tensor("tokens")
            checksum = (file.metadata() or {}).get("checksum", "")
            return Shard(tuple(bytes(row) for row in pictures.numpy()), tokens, checksum)
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError):
        return None


def is_whole(shard: Shard | None, key: str) -> bool:
    """Tell whether a shard holds to the last bit what was written, and was written for the encoder of this key."""
    return shard is not None and shard.checksum == _checksum(shard.pictures, shard.tokens, key)


def _checksum(pictures: Sequence[bytes], tokens: Tensor, key: str) -> str:
    about = repr((key, pictures, tokens.dtype, tuple(tokens.shape)))
    return f"{zlib.crc32(raw(tokens), zlib.crc32(about.encode())):08x}"
