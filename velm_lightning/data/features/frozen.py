"""Frozen image encoders whose features are cached: the protocol, the key and the checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Protocol

import torch
from torch import Tensor, nn

from velm_lightning.io.configurable import to_config
from velm_lightning.io.digests import raw
from velm_lightning.types import ImageTransform, InputError, Tokens

_VERSION = 3  # of the decoding and the features; a new number ignores features on disk


class FrozenEncoder(Protocol):
    """Protocol of an image encoder: images in, tokens out."""

    transform: ImageTransform

    @property
    def frozen(self) -> bool:
        """Whether no parameter is trained."""
        ...

    def __call__(self, image: Tensor) -> Tokens:
        """Encode uint8 images (B, 3, H, W) as tokens (B, N, D)."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Yield all modules, as ``nn.Module.modules``."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the named parameters, as ``nn.Module.named_parameters``."""
        ...

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the named buffers, as ``nn.Module.named_buffers``."""
        ...


def encoder_key(encoder: FrozenEncoder) -> str:
    """Return a key that changes with any weight, buffer, argument or transform of an encoder."""
    description = [_VERSION, to_config(encoder), encoder.transform]
    if depths := getattr(encoder, "depths", ()):  # otherwise the key is that of earlier versions
        description.append(depths)
    digest = sha256(json.dumps(description, sort_keys=True).encode())
    for name, value in _state(encoder):
        digest.update(f"\n{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(raw(value.cpu()))
    return digest.hexdigest()[:32]


def device_of(encoder: FrozenEncoder) -> torch.device:
    """Return the device of an encoder's weights."""
    return next((value.device for _, value in _state(encoder)), torch.device("cpu"))


def _state(encoder: FrozenEncoder) -> Iterable[tuple[str, Tensor]]:
    yield from encoder.named_parameters()
    yield from encoder.named_buffers()


@contextmanager
def evaluation_mode(encoder: FrozenEncoder) -> Iterator[None]:
    """Put an encoder into evaluation mode without gradients; restore the mode of every module afterwards."""
    modes = [(module, module.training) for module in encoder.modules()]
    for module, _ in modes:
        module.training = False
    try:
        with torch.no_grad(), torch.autocast(device_of(encoder).type, enabled=False):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def check_frozen(encoder: FrozenEncoder) -> None:
    """Check that an encoder is frozen.

    Raises:
        InputError: The encoder has trained parameters.
    """
    if not encoder.frozen:
        raise InputError(
            f"data.cache_features=true needs a frozen image encoder, but {type(encoder).__name__} is trained: "
            "freeze it (image_encoder.init_args.trainable: 0), or set data.cache_features to false"
        )
