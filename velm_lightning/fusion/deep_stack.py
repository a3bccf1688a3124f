"""DeepStack fusion: image tokens of several depths of the image encoder enter the first layers of the text trunk."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Unpack, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders import ImageEncoder
from velm_lightning.encoders.connectors import Connector, LinearConnector
from velm_lightning.encoders.layer_control import AroundControl, LayerControl
from velm_lightning.fusion.early import EarlyFusion, EarlyParts, joint_attention
from velm_lightning.fusion.meeting import Meeting
from velm_lightning.nn.attention import AttentionMaps
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Batch, InputError, Tokens


class DeepStackFusion(EarlyFusion):
    """Early fusion whose image tokens also receive earlier layers of the image encoder, one per layer of the trunk.

    The tokens of the encoder's last layer precede the words. Those of ``levels`` earlier layers, evenly spaced and each
    with a connector of its own, are added to the image tokens after the first, second, … layer of the trunk (Qwen3-VL,
    Bai et al. 2025; after DeepStack, Meng et al. 2024). The sequence does not get longer.

    Args:
        levels: number of earlier layers of the image encoder that are used.
        parts: the arguments of ``EarlyFusion``.

    Raises:
        InputError: the image encoder or the trunk has fewer than ``levels + 1`` layers, or none that can be used.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.DeepStackFusion(
        ...     levels=1, image_encoder=velm.SmallViT(16), text_encoder=velm.TransformerTextEncoder(),
        ...     task=velm.Classification(), vocabulary=data.vocabulary)
        >>> model.image_encoder.depths
        (2,)
    """

    masks_images = False

    def __init__(self, levels: int = 1, **parts: Unpack[EarlyParts]) -> None:
        super().__init__(**parts)
        depth = len(self.text_encoder.open_layers())
        if not 1 <= levels < depth:
            raise InputError(
                f"model.levels must be 1 to {depth - 1}, one less than the layers of the trunk, got {levels}"
            )
        kind, place = self._meeting
        self.levels, self._meeting = levels, Meeting(f"{kind}, several depths of the image", place)
        encoder = cast(ImageEncoder, self.image_encoder)
        encoder.open_depths(levels)
        connectors = [self.connector]
        for _ in range(levels):
            connector = deepcopy(parts.get("connector") or LinearConnector())
            connector.build(encoder.dim, self.text_encoder.dim)
            connectors.append(connector)
        self.connector = _Connectors(connectors, encoder.grid[0] * encoder.grid[1])

    @override
    def encode_images(self, batch: Batch) -> Tokens:
        tokens, images = super().encode_images(batch), batch.image_places.shape[1]
        return tokens if images < 2 else _by_depth(tokens, images, self.levels + 1)

    @override
    def _encode(
        self, tokens: Tokens, cache: Cache | None, count: int | None = None, order: Tensor | None = None
    ) -> Tokens:
        if count is None:
            return super()._encode(tokens, cache)
        cells = count // (self.levels + 1)
        earlier = tokens.embeddings[:, : count - cells].reshape(len(tokens.mask), self.levels, cells, -1)
        rest = tokens.slice(count - cells)
        return self.text_encoder.trunk(rest, cache, _AddedLevels(earlier, self._masking(rest, cache, cells)))

    @override
    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Select the last self-attention of the trunk that is not masked: (B, N, M), in the order of the encoder.

        The tokens of a place share its weight equally.
        """
        levels = self.levels + 1
        last = image.slice(0, image.mask.shape[1] // levels)
        weights = joint_attention(self._joint_maps(maps), last, text)
        if weights is None:
            return None
        # A resampler's tokens are no places of an image; any order of them will do.
        cells = math.gcd(weights.shape[2], cast(_Connectors, self.connector).cells)
        by_image = weights.reshape(*weights.shape[:2], -1, 1, cells).expand(-1, -1, -1, levels, -1)
        return by_image.flatten(2) / levels


class _AddedLevels(AroundControl):
    """Adds one level to the image tokens before each layer but the first.

    Args:
        levels: (B, L, M, D), the first for the second layer.
        inner: the control that limits where image and words attend to each other.
    """

    def __init__(self, levels: Tensor, inner: LayerControl | None) -> None:
        super().__init__(inner)
        self.levels = levels

    @override
    def before(self, index: int, states: Tensor) -> Tensor:
        if not 1 <= index <= self.levels.shape[1]:
            return states
        level = self.levels[:, index - 1]
        cells = level.shape[1]
        return torch.cat([states[:, :cells] + level, states[:, cells:]], 1)


class _Connectors(nn.Module):
    """One connector per depth of an image encoder.

    Args:
        connectors: that of the last layer, then those of the earlier ones.
        cells: number of tokens per frame and depth.
    """

    def __init__(self, connectors: list[nn.Module], cells: int) -> None:
        super().__init__()
        self.last, self.cells = connectors[0], cells
        self.earlier = nn.ModuleList(connectors[1:])

    def forward(self, image: Tokens) -> Tokens:
        """Map tokens (B, T * (L + 1) * M, image_dim), depth by depth within a frame, to (B, (L + 1) * M', dim)."""
        parts = [*self.earlier, self.last]
        frames = image.mask.shape[1] // (len(parts) * self.cells)
        tokens = _by_depth(image, frames, len(parts))
        each = frames * self.cells
        depths = (tokens.slice(start, start + each) for start in range(0, len(parts) * each, each))
        return Tokens.cat([cast(Connector, part)(depth) for part, depth in zip(parts, depths, strict=True)])


def _by_depth(tokens: Tokens, count: int, depths: int) -> Tokens:
    """Return the tokens of ``count`` images or frames, each depth by depth, in the order of their depths."""
    shape = (len(tokens.mask), count, depths, -1)
    fields = (
        None if field is None else field.reshape(*shape, *field.shape[2:]).transpose(1, 2).flatten(1, 3)
        for field in tokens
    )
    return Tokens(*fields)  # type: ignore[arg-type]
