"""Convolutional classifiers of torchvision, with published or random weights, as image encoders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.encoders.image.geometry import Size, transform_of
from velm_lightning.io import hub
from velm_lightning.io.allow.allowlist import require_network
from velm_lightning.io.configurable import rebuilding
from velm_lightning.types import ImageTransform, InputError

if TYPE_CHECKING:  # imported when used: it takes longer than the rest of this package
    from torchvision.models import WeightsEnum

STAGES = ("layer4", "trunk_output", "features")
"""Node with the last feature map, per family of torchvision: ResNets and similar, RegNet, all others."""


class TorchvisionCNN(ImageEncoder):
    """The feature map of a torchvision classifier (ResNet, VGG, EfficientNet, ConvNeXt …), with one token per cell.

    The preprocessing of the weights becomes the encoder's transform, which the data module applies. Frozen parts stay
    in evaluation mode, so that batch-norm statistics do not change. A weights file is loaded as tensors only and must
    match the hash in its name; with ``HF_HUB_OFFLINE=1`` nothing is downloaded.

    Args:
        name: model name for ``torchvision.models.get_model``, such as ``resnet50``.
        weights: name of the weights, such as ``DEFAULT`` or ``IMAGENET1K_V1``; None means random weights.
        stage: graph node whose output (B, C, h, w) gives the tokens; by default the last feature map.
        trainable: number of last children of the trunk to train: 0 freezes all, -1 none.
        size: side of the image in pixels, or height and width, to which images are squashed; None means the size and
            the resizing of the weights.
        transform: changes of fields of ``ImageTransform``, such as ``{"resize": "pad"}``.

    Raises:
        InputError: the model, its weights or the stage do not exist, or the weights file is missing or damaged.

    Example:
        >>> import velm_lightning as velm
        >>> encoder = velm.TorchvisionCNN("resnet18", weights=None, size=64, trainable=-1)
        >>> encoder.grid, encoder.dim
        ((2, 2), 512)
    """

    def __init__(
        self,
        name: str = "resnet50",
        weights: str | None = "DEFAULT",
        stage: str | None = None,
        trainable: int = 0,
        size: Size | None = None,
        transform: Mapping[str, Any] | None = None,
    ) -> None:
        chosen = _weights(name, weights)
        super().__init__(transform_of(_transform(chosen), size, transform))
        from torchvision.models.feature_extraction import create_feature_extractor

        network = _network(name, chosen)
        node = stage or next((stage for stage in STAGES if hasattr(network, stage)), None)
        if node is None:
            raise InputError(f"image_encoder.stage: {name} has no stage among {STAGES}: name one of its nodes")
        try:
            self.trunk = create_feature_extractor(network.eval(), {node: "cells"})
        except ValueError as error:
            raise InputError(f"image_encoder.stage={node!r} is not a node of {name}: {error}") from error
        self.pretrained = chosen is not None
        cells = self._cells(torch.zeros(1, *self.transform.shape))
        self.dim, self.grid = cells.shape[1], (cells.shape[2], cells.shape[3])
        self.freeze(trainable)

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        return self._cells(pixels.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)

    def _cells(self, pixels: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            cells: Tensor = self.trunk(pixels)["cells"]
        return cells

    @property
    @override
    def layer_groups(self) -> Sequence[nn.Module]:
        parts = [part for part in self.trunk.children() if next(part.parameters(), None) is not None]
        if len(parts) == 1:  # `features` is one container, whose children are the stages
            parts = [part for part in parts[0].children() if next(part.parameters(), None) is not None]
        return parts


def _weights(name: str, weights: str | None) -> WeightsEnum | None:
    from torchvision import models

    try:
        family = models.get_model_weights(name)
    except ValueError as error:
        raise InputError(f"image_encoder.name={name!r} is not a torchvision model: {error}") from error
    if weights is None:
        return None
    try:
        return family[weights]
    except KeyError as error:
        known = ", ".join(member.name for member in family)
        raise InputError(f"image_encoder.weights={weights!r} does not exist: {name} has {known}") from error


def _network(name: str, weights: WeightsEnum | None) -> nn.Module:
    from torchvision import models

    if weights is None or rebuilding():
        untrained: nn.Module = models.get_model(name)
        return untrained
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        check_file(file)
        with _tensors_only():
            loaded: nn.Module = models.get_model(name, weights=weights)
    except OSError as error:
        raise InputError(f"the weights {weights} of {name} are not available: {error}; save them as {file}") from error
    except (RuntimeError, EOFError, UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{file}: cannot be loaded as {weights}: {reason}; remove or replace the file") from error
    return loaded


def check_file(file: Path) -> None:
    """Check that a weights file is the published one, whose name contains the start of its SHA-256.

    Raises:
        InputError: the file is truncated or changed; or it does not exist, and the command line does not allow the
            network.
        OSError: the file does not exist and downloads are disabled.
    """
    if not file.is_file():
        if hub.offline():
            raise OSError("the file does not exist, and HF_HUB_OFFLINE=1 disables downloads")
        require_network(f"the weights {file.name} of torchvision are not on this machine")
        return
    with file.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    published = torch.hub.HASH_REGEX.search(file.name)
    if published and not digest.startswith(published[1]):
        raise InputError(f"{file}: is truncated or changed, as its SHA-256 starts with {digest[:8]}: remove the file")


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Load weights files with ``weights_only=True``, which torchvision does not set."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _transform(weights: WeightsEnum | None) -> ImageTransform:
    if weights is None:
        return ImageTransform(224)
    preset = weights.transforms()
    mean, std = tuple(preset.mean), tuple(preset.std)
    resampling: Literal["bilinear", "bicubic"] = "bicubic" if "cubic" in str(preset.interpolation) else "bilinear"
    crop, resized = preset.crop_size[0], preset.resize_size[0]
    return ImageTransform(crop, "crop", crop / resized, resampling, mean, std)
