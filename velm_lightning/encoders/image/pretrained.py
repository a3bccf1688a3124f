"""Hugging Face vision models as image encoders: ViT, DINOv2, the image towers of CLIP and SigLIP, ResNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder, evenly_spaced
from velm_lightning.encoders.image.geometry import Size, grid_of_count, on_grid, transform_of
from velm_lightning.encoders.layer_groups import layer_groups_of
from velm_lightning.io import hub
from velm_lightning.io.configurable import rebuilding
from velm_lightning.types import ImageTransform, InputError


class HFImageEncoder(ImageEncoder):
    """A vision model of the Hugging Face hub: patches of a Transformer, or cells of a convolutional network, as tokens.

    Class and register tokens are dropped. The image processor that is stored with the weights defines the transform,
    which the data module applies.

    Args:
        name: hub name or folder; None means a model from ``config`` only, with random weights.
        config: overrides of the model's configuration; without ``name`` the whole configuration, with ``model_type``.
        weights: whether to load the pretrained weights; otherwise they are random, for training from scratch.
        trainable: number of last layer groups to train: 0 freezes all, -1 none.
        size: side of the image in pixels, or height and width, to which images are squashed; None means the model's
            size and resizing. Position embeddings are interpolated if the model can do so.
        transform: changes of fields of ``ImageTransform``, which by default follow the model's processor.

    Raises:
        InputError: the model or its processor cannot be loaded, does not suit ``size`` or is not a plain vision model;
            or a field of ``transform`` does not exist.

    Example:
        >>> import velm_lightning as velm
        >>> config = {"model_type": "vit", "image_size": 32, "patch_size": 8, "hidden_size": 8, "num_hidden_layers": 1,
        ...           "num_attention_heads": 2, "intermediate_size": 16}
        >>> velm.HFImageEncoder(config=config, size=32).grid  # HFImageEncoder("facebook/dinov2-small") loads weights
        (4, 4)
    """

    def __init__(
        self,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        weights: bool = True,
        trainable: int = 0,
        size: Size | None = None,
        transform: Mapping[str, Any] | None = None,
    ) -> None:
        source = None if rebuilding() else name
        model_config = hub.configuration(source, config)
        model_config = getattr(model_config, "vision_config", model_config)  # the image tower of a multimodal model
        super().__init__(_transform(source, model_config, size, transform))
        self.pretrained = weights and name is not None
        from transformers import AutoModel

        self.model = hub.model(AutoModel, model_config, source if weights else None)
        self.model.eval()  # `_shape` runs the model
        self._check_inputs()
        # A checkpoint is rebuilt without the files of `name`.
        self._init_args |= {"config": hub.plain(model_config), "transform": self.transform._asdict(), "size": None}
        self.depth = int(getattr(model_config, "num_hidden_layers", 0) or len(getattr(model_config, "depths", ())))
        self.grid, self.dim = self._shape()
        if trainable:
            self._freeze_unread()
        self.freeze(trainable)

    @property
    @override
    def layer_groups(self) -> Sequence[nn.Module]:
        return layer_groups_of(self.model, self.depth)

    @override
    def open_depths(self, count: int) -> None:
        depths = evenly_spaced(count, self.depth)
        pixels = self.mean.new_zeros(1, *self.transform.shape)
        with torch.no_grad():
            *states, last = self._states(pixels, depths) if len(self.layer_groups) > 1 else [pixels]
        if len(states) != count or any(each.ndim != 3 or each.shape != last.shape for each in states):
            super().open_depths(count)
        self.depths = depths

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        cells = self._states(pixels, self.depths)
        tokens = [each.flatten(2).transpose(1, 2) if each.ndim == 4 else each for each in cells]
        tokens = [each[:, -self.grid[0] * self.grid[1] :] for each in tokens]
        return torch.cat(tokens, 1) if self.depths else tokens[0]

    def _states(self, pixels: Tensor, depths: Sequence[int] = ()) -> list[Tensor]:
        """Return patches (B, N, D) preceded by class and register tokens, or cells (B, D, h, w), of some layers.

        The last one is the output of the model; those of the layers ``depths`` precede it.
        """
        parameters = signature(self.model.forward).parameters
        options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in parameters else {}
        if depths:
            options["output_hidden_states"] = True
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.model(pixel_values=pixels, **options)
        earlier = output.hidden_states or () if depths else ()  # the embeddings, then the output of every layer
        return [*(earlier[number] for number in depths if number < len(earlier)), output.last_hidden_state]

    def _shape(self) -> tuple[tuple[int, int], int]:
        """Return the grid of tokens and their width.

        Raises:
            InputError: the model fails at this image size.
        """
        try:
            with torch.no_grad():
                (states,) = self._states(torch.zeros(1, *self.transform.shape))
        except Exception as error:  # models raise different errors for another size or missing inputs
            kind = self.model.config.model_type
            raise InputError(
                f"image_encoder.size={self.transform.size} does not suit a {kind}: {hub.reason(error)}"
            ) from error
        if states.ndim == 4:
            return (states.shape[2], states.shape[3]), states.shape[1]
        count = states.shape[1]
        patch = getattr(self.model.config, "patch_size", 0)
        if isinstance(patch, int) and patch:
            rows, columns = (side // patch for side in self.transform.sides)
            if 0 < rows * columns <= count:
                return (rows, columns), states.shape[2]
        return grid_of_count(count, self.transform), states.shape[2]

    def _check_inputs(self) -> None:
        """Check that pixels are the only required input of the model.

        Raises:
            InputError: the model takes no pixels, or requires further inputs (NaFlex).
        """
        kind, inputs = self.model.config.model_type, signature(self.model.forward).parameters
        if "pixel_values" not in inputs:
            raise InputError(f"image_encoder: a {kind} takes no images: choose a vision model")
        plain = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        required = [name for name, p in inputs.items() if p.default is Parameter.empty and p.kind in plain]
        more = [name for name in required if name != "pixel_values"]
        if more:
            raise InputError(
                f"image_encoder: a {kind} requires {' and '.join(more)} besides pixel_values: choose another model"
            )

    def _freeze_unread(self) -> None:
        """Freeze parameters that do not affect the tokens, such as a norm of the class token: they get no gradient."""
        parameters = list(self.parameters())
        with torch.enable_grad():
            total = self.encode(torch.zeros(1, *self.transform.shape)).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)


def _transform(name: str | None, config: Any, size: Size | None, changes: Mapping[str, Any] | None) -> ImageTransform:
    """Return the transform of the model's processor with ``changes``; without a model, images are only resized.

    Raises:
        InputError: ``size`` or a field in ``changes`` is not allowed.
    """
    model_size = getattr(config, "image_size", None)
    default = ImageTransform(model_size if isinstance(model_size, int) else 224)
    base = hub.image_transform(name) if name is not None else default
    transform = transform_of(base, size, changes)
    patch = getattr(config, "patch_size", None)
    if transform.resize == "stretch-to-grid" and isinstance(patch, int):
        transform, _ = on_grid(transform, patch, "")
    return transform
