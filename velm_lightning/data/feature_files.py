"""What lies on disk of computed features: names that change with what they hang on, and shards that prove whole."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from velm_lightning.recipe import recipe
from velm_lightning.types import ImageTransform, InputError, Tokens

SUFFIX = ".safetensors"
_VERSION = 1  # of the shards and of the decoding: a new number leaves the old files aside
_DIGEST = 16  # bytes that name a picture's content


class Encoder(Protocol):
    """All that is asked of an image encoder: pictures in, tokens out."""

    transform: ImageTransform

    @property
    def frozen(self) -> bool:
        """Whether nothing in it learns."""
        ...

    def __call__(self, image: Tensor) -> Tokens:
        """Turn uint8 pictures (B, 3, S, S) into tokens."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """See ``nn.Module``."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """See ``nn.Module``."""
        ...

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """See ``nn.Module``."""
        ...


class Shard(NamedTuple):
    """Some pictures' tokens.

    Attributes:
        pictures: digest of each picture's content, as ``digest_of`` gives it.
        tokens: (K, N, D) float16 or bfloat16; of a file, mapped.
    """

    pictures: tuple[bytes, ...]
    tokens: Tensor


def encoder_key(encoder: Encoder) -> str:
    """Return a name that changes with any weight or buffer of an encoder, how it was built, and its transform."""
    about = [_VERSION, recipe(encoder), encoder.transform]
    digest = sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in _state(encoder):
        digest.update(f"\n{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(_bytes(value.detach().cpu()))
    return digest.hexdigest()[:32]


def device_of(encoder: Encoder) -> torch.device:
    """Return where an encoder's weights lie."""
    return next((value.device for _, value in _state(encoder)), torch.device("cpu"))


def _state(encoder: Encoder) -> Iterable[tuple[str, Tensor]]:
    yield from encoder.named_parameters()
    yield from encoder.named_buffers()


def digest_of(image: Path | Tensor) -> bytes:
    """Return what names a picture by its content: a file's bytes, or a tensor's values and shape.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(image, Tensor):
        digest = blake2b(repr((image.dtype, tuple(image.shape))).encode(), digest_size=_DIGEST)
        digest.update(_bytes(image))
        return digest.digest()
    try:
        return blake2b(image.read_bytes(), digest_size=_DIGEST).digest()
    except OSError as error:
        raise InputError(f"{image}: cannot be read ({error.strerror}): mend its name or remove its rows") from error


def shard_path(folder: Path, pictures: Sequence[bytes]) -> Path:
    """Return the file of these pictures: the same for every process that wants them."""
    return folder / (blake2b(b"".join(pictures), digest_size=_DIGEST).hexdigest() + SUFFIX)


def write_shard(path: Path, shard: Shard, key: str) -> None:
    """Write a shard beside its place and move it there, so that no half of it is ever read."""
    part = path.with_suffix(".part")
    pictures = torch.frombuffer(bytearray(b"".join(shard.pictures)), dtype=torch.uint8).view(-1, _DIGEST)
    content = {"pictures": pictures, "tokens": shard.tokens.contiguous()}
    try:
        save_file(content, part, {"checksum": _checksum(content, key)})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_shard(path: Path, key: str) -> Shard | None:
    """Map a shard; nothing where it is missing, cut, damaged, or another encoder's."""
    try:
        with safe_open(path, framework="pt") as file:
            content = {name: file.get_tensor(name) for name in ("pictures", "tokens")}
            whole = (file.metadata() or {}).get("checksum") == _checksum(content, key)
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return None
    if not whole:
        return None
    return Shard(tuple(bytes(row) for row in content["pictures"].numpy()), content["tokens"])


def map_tokens(path: Path) -> Tensor:
    """Map the tokens of a shard that was found whole before."""
    with safe_open(path, framework="pt") as file:
        tokens: Tensor = file.get_tensor("tokens")
    return tokens


def _checksum(content: dict[str, Tensor], key: str) -> str:
    found = zlib.crc32(key.encode())
    for name in sorted(content):
        found = zlib.crc32(repr((name, content[name].dtype, tuple(content[name].shape))).encode(), found)
        found = zlib.crc32(_bytes(content[name]), found)
    return f"{found:08x}"


def _bytes(value: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    flat: np.ndarray[tuple[int], np.dtype[np.uint8]] = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat
