"""Mixture-of-Transformers: every modality has weights of its own, and all tokens share one attention."""

from __future__ import annotations

from typing import Unpack, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.layer_control import AroundControl, LayerControl
from velm_lightning.encoders.text.transformer import TransformerTextEncoder
from velm_lightning.fusion.early import EarlyFusion, EarlyParts
from velm_lightning.fusion.meeting import Meeting
from velm_lightning.nn.attention import AttentionMaps, Block, KeyValue
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import InputError, Tokens


class MixtureOfTransformers(EarlyFusion):
    """Early fusion in which image tokens pass through layers of their own (Mixture-of-Transformers, Liang et al. 2024).

    Norms, projections and feed-forward networks are separate for image and words; the attention is over both, as in
    ``EarlyFusion``. A step costs the FLOPs of early fusion, with about twice the parameters of the trunk.

    Args:
        parts: the arguments of ``EarlyFusion``; the text encoder is a ``TransformerTextEncoder``.

    Raises:
        InputError: the text encoder is another one.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.MixtureOfTransformers(
        ...     image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(depth=3),
        ...     task=velm.Classification(), vocabulary=data.vocabulary)
        >>> len(model.image_layers)
        2
    """

    masks_images = False

    def __init__(self, **parts: Unpack[EarlyParts]) -> None:
        super().__init__(**parts)
        if not isinstance(self.text_encoder, TransformerTextEncoder):
            raise InputError(
                f"MixtureOfTransformers adds image layers to the layers of a TransformerTextEncoder, got a "
                f"{type(self.text_encoder).__name__}: choose that text encoder, or EarlyFusion"
            )
        kind, place = self._meeting
        self._meeting = Meeting(f"{kind}, weights per modality", place)
        dim, *earlier = self.text_encoder.dim, *list(self.text_encoder.layers)[:-1]
        self.image_layers = nn.ModuleList(cast(Block, layer).like() for layer in earlier)
        # Nothing attends to what the last layer would make of the image tokens.
        self.last_norm, self.last_key_value = nn.LayerNorm(dim), KeyValue(dim)

    @override
    def _encode(
        self, tokens: Tokens, cache: Cache | None, count: int | None = None, order: Tensor | None = None
    ) -> Tokens:
        return self.text_encoder.trunk(
            tokens, cache, _SeparateWeights(self, count or 0, self._masking(tokens, cache, count))
        )

    @override
    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Select the last attention from words to image tokens that is not masked: (B, N, M), averaged over its heads.

        In the last layer of the trunk only words are queries.
        """
        words, layers = text.embeddings.shape[1], self._last_joint or self.text_encoder.open_layers()
        last = cast(Block, layers[-1]).self_attention
        weights = next(weights for module, weights in reversed(maps) if module is last)
        return weights[:, :, -words:, : image.embeddings.shape[1]].mean(1)


class _SeparateWeights(AroundControl):
    """Applies the layers of the image to the first ``count`` tokens, under the mask of ``inner``."""

    def __init__(self, model: MixtureOfTransformers, count: int, inner: LayerControl | None) -> None:
        super().__init__(inner)
        self.model, self.count = model, count

    @override
    def apply(self, index: int, layer: nn.Module, states: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        words, image, image_layers = cast(Block, layer), states[:, : self.count], self.model.image_layers
        text = states[:, self.count :]
        query, key_value = words.self_attention.projections(words.norm_self(text))
        last = index == len(image_layers)
        if last:
            image_keys = self.model.last_key_value(self.model.last_norm(image))
            mask = mask if mask is None else mask[..., self.count :, :]
        else:
            own = cast(Block, image_layers[index])
            image_query, image_keys = own.self_attention.projections(own.norm_self(image))
            query = torch.cat([image_query, query], 1)
        key_value = torch.cat([image_keys, key_value], 1)
        if cache is not None:
            (key_value,) = cache.grow(words.self_attention, key_value)
        heads = words.self_attention.gather(query, key_value, mask)
        if not last:
            image = own.finish(image, own.self_attention.out(heads[:, : self.count]))
            heads = heads[:, self.count :]
        return torch.cat([image, words.finish(text, words.self_attention.out(heads))], 1)
