"""Any PyTorch module as an image encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.encoders.image.geometry import Size, grid_of_count, transform_of
from velm_lightning.io.argument_types import checked
from velm_lightning.io.configurable import Configurable
from velm_lightning.types import ImageTransform, InputError

_supplied: ContextVar[nn.Module | None] = ContextVar("supplied", default=None)


@contextmanager
def supplying(module: nn.Module | None) -> Iterator[None]:
    """Give the module that a checkpoint's ``WrappedEncoder`` cannot rebuild, while the checkpoint is loaded."""
    token = _supplied.set(module)
    try:
        yield
    finally:
        _supplied.reset(token)


class WrappedEncoder(ImageEncoder):
    """A PyTorch module as an image encoder; see ``wrap_encoder``.

    A checkpoint rebuilds the module if its class derives from ``Configurable``. Otherwise it holds only the weights and
    the name of the class, and ``load`` takes the module itself.

    Args:
        module: maps normalised pixels (B, 3, H, W) to vectors (B, D), tokens (B, M, D) or a feature map (B, D, h, w).
            The name of a class stands for a module that is supplied while a checkpoint is loaded.
        dim: width D of its output.
        size: side of the image in pixels, or height and width.
        mean: channel means of pixels scaled to 0…1.
        std: channel standard deviations of pixels scaled to 0…1.
        pretrained: whether its weights are pretrained, so that they are trained with a lower learning rate.
        trainable: whether its weights are trained.
        transform: changes of fields of ``ImageTransform``, such as ``{"resize": "pad"}``.

    Raises:
        InputError: the module fails at this size, has another output, or cannot be rebuilt and was not supplied.
    """

    def __init__(
        self,
        module: nn.Module | str,
        dim: int,
        size: Size,
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
        pretrained: bool = False,
        trainable: bool = True,
        transform: Mapping[str, Any] | None = None,
    ) -> None:
        means, stds = (tuple(map(float, values)) for values in (mean, std))
        super().__init__(transform_of(ImageTransform(64, mean=means, std=stds), size, transform))  # type: ignore[arg-type]
        if isinstance(module, str):
            self._init_args["module"], module = module, _given(module)
        elif not isinstance(module, Configurable):
            self._init_args["module"] = f"{type(module).__module__}.{type(module).__qualname__}"
        self.module, self.dim, self.pretrained = module, dim, pretrained
        self.grid = self._grid()
        self.freeze(-1 if trainable else 0)

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        output: Tensor = self.module(pixels)
        if output.ndim == 4:
            return output.flatten(2).transpose(1, 2)
        return output[:, None] if output.ndim == 2 else output

    @torch.no_grad()
    def _grid(self) -> tuple[int, int]:
        """Return rows and columns of the tokens of one image."""
        modes = [(part, part.training) for part in self.module.modules()]
        weight = next(self.module.parameters(), torch.empty(0))
        name, shape = type(self.module).__name__, self.transform.shape
        try:
            output = self.module.eval()(torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device))
        except Exception as error:
            raise InputError(f"{name} fails on an image {(1, *shape)}: {error}") from error
        finally:
            for part, mode in modes:
                part.training = mode
        if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
            kind = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(f"{name} returns {kind}: return a tensor (B, D), (B, M, D) or (B, D, h, w)")
        width = output.shape[1] if output.ndim == 4 else output.shape[-1]
        if width != self.dim:
            raise InputError(f"{name} returns {tuple(output.shape)}, whose width is {width}, but dim={self.dim}")
        if output.ndim == 4:
            return output.shape[2], output.shape[3]
        count = 1 if output.ndim == 2 else output.shape[1]
        rows, columns = grid_of_count(count, self.transform)
        return (rows, columns) if rows * columns == count else (1, count)


def _given(name: str) -> nn.Module:
    module = _supplied.get()
    if module is None:
        raise InputError(
            f"its image encoder wraps {name}, which a file cannot rebuild: give a module of that class in Python, "
            "velm.load(…, image_encoder=module)"
        )
    return module


@checked(module="a torch.nn.Module")
def wrap_encoder(
    module: nn.Module,
    dim: int,
    size: Size,
    *,
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.5, 0.5, 0.5),
    pretrained: bool = False,
    trainable: bool = True,
    transform: Mapping[str, Any] | None = None,
) -> WrappedEncoder:
    """Return any PyTorch module as an image encoder for every fusion.

    Args:
        module: Maps normalised pixels (B, 3, H, W) to vectors (B, D), tokens (B, M, D) or a feature map (B, D, h, w).
        dim: Width D of its output.
        size: Side of the image in pixels, or height and width, to which the data module resizes.
        mean: Channel means of pixels scaled to 0…1.
        std: Channel standard deviations of pixels scaled to 0…1.
        pretrained: Whether its weights are pretrained, so that they are trained with a lower learning rate.
        trainable: Whether its weights are trained.
        transform: Changes of fields of ``ImageTransform``, such as ``{"resize": "pad"}``.

    Raises:
        InputError: The module fails at this size, or has another output.

    Example:
        >>> from torch import nn
        >>> import velm_lightning as velm
        >>> encoder = velm.wrap_encoder(nn.Conv2d(3, 8, 4, stride=4), dim=8, size=16)
        >>> encoder.grid
        (4, 4)

        A checkpoint holds the weights of such a module, but not its code, which ``load`` takes again:
        ``velm.load("latest", image_encoder=nn.Conv2d(3, 8, 4, stride=4))``.
    """
    return WrappedEncoder(module, dim, size, mean, std, pretrained, trainable, transform)
