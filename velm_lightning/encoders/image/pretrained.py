"""Pretrained vision models of transformers as image encoders: ViT, DINOv2, the towers of CLIP and SigLIP, ResNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.encoders.layer_groups import layer_groups_of
from velm_lightning.io import hub
from velm_lightning.io.configurable import rebuilding
from velm_lightning.types import ImageTransform, InputError


class HFImageEncoder(ImageEncoder):
    """The patches of a vision Transformer, or the cells of a convolutional network, of the Hugging Face hub.

    Class and register tokens are left out. The processor that comes with the weights says what pictures look like, and
    the data module follows it.

    Args:
        name: hub name or folder; none: ``config`` alone, with random weights.
        config: keys of the model's configuration that are to differ; without a name all of it, ``model_type`` included.
        weights: whether its weights are loaded; if not, they are random: the counterpart from scratch.
        trainable: layers, counted from the end, that go on learning: 0 freezes all, -1 none.
        size: side of the picture in pixels, if not the model's own; the picture is then squashed to it.
        transform: fields of ``ImageTransform`` that differ from what the model's processor does.

    Raises:
        InputError: the model or its processor cannot be loaded, or is not for pictures.
    """

    def __init__(
        self,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        weights: bool = True,
        trainable: int = 0,
        size: int | None = None,
        transform: Mapping[str, Any] | None = None,
    ) -> None:
        source = None if rebuilding() else name
        found = hub.configuration(source, config)
        found = getattr(found, "vision_config", found)  # of a model for pictures and texts, the half for pictures
        super().__init__(_transform(source, found, size, transform))
        self.pretrained = weights and name is not None
        from transformers import AutoModel

        self.model = hub.model(AutoModel, found, source if weights else None).eval()  # while its shape is found out
        self._check_inputs()
        # A checkpoint is rebuilt without what lies under `name`.
        self._init_args |= {"config": hub.plain(found), "transform": self.transform._asdict(), "size": None}
        self.depth = int(getattr(found, "num_hidden_layers", 0) or len(getattr(found, "depths", ())))
        self.grid, self.dim = self._shape()
        if trainable:
            self._freeze_unread()
        self.freeze(trainable)

    @property
    def layer_groups(self) -> Sequence[nn.Module]:
        """See ``Encoder.layer_groups``: what comes before the layers, then each layer."""
        return layer_groups_of(self.model, self.depth)

    def encode(self, pixels: Tensor) -> Tensor:
        """See ``ImageEncoder.encode``."""
        cells = self._states(pixels)
        tokens = cells.flatten(2).transpose(1, 2) if cells.ndim == 4 else cells
        return tokens[:, -self.grid[0] * self.grid[1] :]

    def _states(self, pixels: Tensor) -> Tensor:
        """Return (B, N, D) patches after class and register tokens, or (B, D, h, w) cells."""
        takes = signature(self.model.forward).parameters
        options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states: Tensor = self.model(pixel_values=pixels, **options).last_hidden_state
        return states

    def _shape(self) -> tuple[tuple[int, int], int]:
        """Return the grid of tokens and their width."""
        side = self.transform.size
        try:
            with torch.no_grad():
                states = self._states(torch.zeros(1, 3, side, side))
        except Exception as error:  # whatever a model raises that expects another size or more inputs
            kind = self.model.config.model_type
            raise InputError(f"image_encoder.size={side} does not suit a {kind}: {hub.reason(error)}") from error
        if states.ndim == 4:
            return (states.shape[2], states.shape[3]), states.shape[1]
        side, count = isqrt(states.shape[1]), states.shape[1]
        patch = getattr(self.model.config, "patch_size", 0)
        if isinstance(patch, int) and patch and (self.transform.size // patch) ** 2 <= count:
            side = self.transform.size // patch
        return (side, side), states.shape[2]

    def _check_inputs(self) -> None:
        """Refuse a model that reads no pictures, or that must be told more than their pixels (NaFlex).

        Raises:
            InputError: it is such a model.
        """
        kind, inputs = self.model.config.model_type, signature(self.model.forward).parameters
        if "pixel_values" not in inputs:
            raise InputError(f"image_encoder: a {kind} reads no pictures: choose a vision model")
        plain = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        needed = [name for name, of in inputs.items() if of.default is Parameter.empty and of.kind in plain]
        more = [name for name in needed if name != "pixel_values"]
        if more:
            raise InputError(
                f"image_encoder: a {kind} wants {' and '.join(more)} with the pixels: choose another model"
            )

    def _freeze_unread(self) -> None:
        """Freeze what the tokens do not depend on, such as a norm of the class token alone: it could not learn."""
        learning = list(self.parameters())
        with torch.enable_grad():
            seen = self.encode(torch.zeros(1, 3, self.transform.size, self.transform.size)).sum()
        for parameter, slope in zip(learning, torch.autograd.grad(seen, learning, allow_unused=True), strict=True):
            parameter.requires_grad_(slope is not None)


def _transform(name: str | None, config: Any, size: int | None, changes: Mapping[str, Any] | None) -> ImageTransform:
    """Return what the model's processor does, changed as asked; without a model, the picture squashed to its size.

    Raises:
        InputError: no size is known, or a field does not exist.
    """
    changes = dict(changes or {})
    wrong = sorted(set(changes) - set(ImageTransform._fields))
    if wrong:
        fields = ", ".join(ImageTransform._fields)
        raise InputError(f"image_encoder.transform has no {wrong[0]!r}: choose among {fields}")
    own = getattr(config, "image_size", None)
    base = hub.image_transform(name) if name is not None else ImageTransform(own if isinstance(own, int) else 224)
    if size is not None:
        base = base._replace(size=size, resize="squash", crop_ratio=1.0)
    changes |= {key: tuple(changes[key]) for key in ("mean", "std") if key in changes}
    return base._replace(**changes)
