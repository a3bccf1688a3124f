"""What is asked of an image encoder whose features are kept: that it is frozen, known by its content, and at rest."""

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

_VERSION = 2  # of the decoding and of the features: a new number leaves old features aside


class FrozenEncoder(Protocol):
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


def encoder_key(encoder: FrozenEncoder) -> str:
    """Return a name that changes with any weight or buffer of an encoder, how it was built, and its transform."""
    about = [_VERSION, to_config(encoder), encoder.transform]
    digest = sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in _state(encoder):
        digest.update(f"\n{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(raw(value.cpu()))
    return digest.hexdigest()[:32]


def device_of(encoder: FrozenEncoder) -> torch.device:
    """Return where an encoder's weights lie."""
    return next((value.device for _, value in _state(encoder)), torch.device("cpu"))


def _state(encoder: FrozenEncoder) -> Iterable[tuple[str, Tensor]]:
    yield from encoder.named_parameters()
    yield from encoder.named_buffers()


@contextmanager
def at_rest(encoder: FrozenEncoder) -> Iterator[None]:
    """Put an encoder into evaluation mode without gradients, and every part of it back into its own mode after."""
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
    """Refuse an encoder that learns.

    Raises:
        InputError: it does.
    """
    if not encoder.frozen:
        raise InputError(
            f"data.cache_features=true needs a frozen image encoder, but {type(encoder).__name__} learns: "
            "freeze it (image_encoder.init_args.trainable: 0), or set data.cache_features to false"
        )
