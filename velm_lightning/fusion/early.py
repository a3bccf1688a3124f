"""Early fusion: image tokens precede the words in the input of the text trunk."""

from __future__ import annotations

from typing import NotRequired, Unpack

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.layer_control import LayerControl
from velm_lightning.fusion.base import Fusion, FusionParts
from velm_lightning.fusion.meeting import JOINED, Meeting
from velm_lightning.nn.attention import AttentionMaps
from velm_lightning.nn.kv_cache import Cache, cached
from velm_lightning.types import InputError, Tokens


class EarlyParts(FusionParts):
    """The arguments of ``EarlyFusion``, which a subclass accepts and passes on as ``**parts: Unpack[EarlyParts]``."""

    join: NotRequired[int]
    leave: NotRequired[int | None]


class EarlyFusion(Fusion):
    """Prepends image tokens to the words, so that one trunk contextualises both.

    This is the arrangement of VisualBERT (Li et al. 2019) and ViLT (Kim et al. 2021).
    With a causal trunk the image is a prefix: *inject* captioning (Show and Tell, Vinyals et al. 2015), and, with a
    frozen language model, the visual prefix (Frozen, Tsimpoukelli et al. 2021; ClipCap, Mokady et al. 2021).

    ``join`` and ``leave`` limit where image and words attend to each other: in the layers ``join`` to ``leave - 1`` of
    the trunk. In all others attention between them is masked in both directions, so that each passes through them by
    itself. Words keep the positions that they have after the image. The masked form computes every layer on all
    tokens, i.e. it has the FLOPs of ``join=0``.

    In conversations every image stands at its mark between the words.

    Args:
        join: the first layer of the trunk, from 0, in which image and words attend to each other.
        leave: the first layer after ``join`` in which they no longer do; None means that they do until the last.
        parts: the arguments of ``Fusion``.

    Raises:
        InputError: the layers do not exist, or the trunk has no layers (only if ``join`` or ``leave`` is set).

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.EarlyFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                          task=velm.Classification(), vocabulary=data.vocabulary)
        >>> model.modalities
        ('image', 'text')
    """

    masks_images = True

    def __init__(self, join: int = 0, leave: int | None = None, **parts: Unpack[FusionParts]) -> None:
        super().__init__(**parts)
        self.joint_layers: range | None = None  # None: all, also in trunks without layers
        self._meeting = Meeting(JOINED, 0.0)
        self._last_joint: list[nn.Module] = []  # in a list, so that it is no submodule
        if join or leave is not None:
            layers = self.text_encoder.open_layers()
            depth = len(layers)
            end = depth if leave is None else leave
            if not 0 <= join < end <= depth:
                raise InputError(
                    f"model.join and model.leave must satisfy 0 <= join < leave <= {depth}, the number of layers of "
                    f"the trunk, got {join} and {leave}"
                )
            self.joint_layers, self._last_joint = range(join, end), [layers[end - 1]]
            self._meeting = Meeting(JOINED if end == depth else f"{JOINED}, left again", join / depth)

    @property
    @override
    def meeting(self) -> Meeting | None:
        return self._meeting

    @override
    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        if image is None:
            return self._encode(text, cache)
        count, tokens = image.embeddings.shape[1], Tokens.cat([self._scaled(image), text])
        if image.places is None or not self.masks_images:
            fused = self._encode(tokens, cache, count).embeddings
            return text.with_embeddings(fused[:, fused.shape[1] - text.embeddings.shape[1] :])
        order = _reading_order(image.places, text)
        states = self._encode(_gather(tokens, order), cache, count, order)
        return text.with_embeddings(_gather(states, order.argsort(1)).embeddings[:, count:])

    @override
    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Fuse given pairs; a causal trunk encodes each image once and reuses it for all texts paired with it."""
        if not self.text_encoder.causal or image.places is not None:
            return super().fuse_pairs(image, text, images, texts)
        distinct, rows = torch.unique(images, return_inverse=True)
        cache = Cache(max_new_tokens=1)
        self._encode(self._scaled(image.rows(distinct)), cache, image.embeddings.shape[1])
        cache.take(rows)
        return self.pool(self._encode(text.rows(texts), cache))

    def _encode(
        self, tokens: Tokens, cache: Cache | None, count: int | None = None, order: Tensor | None = None
    ) -> Tokens:
        """Apply the trunk to tokens.

        Args:
            tokens: image and words (B, N, D), or only words.
            cache: the cache of incremental decoding.
            count: number of image tokens; None means that they are cached.
            order: (B, N) places of the tokens before they were reordered, the image first; None means the same.
        """
        control = self._masking(tokens, cache, count, order)
        if control is None:  # a trunk without layers need not accept one
            return self.text_encoder.trunk(tokens, cache)
        return self.text_encoder.trunk(tokens, cache, control)

    def _masking(
        self, tokens: Tokens, cache: Cache | None, count: int | None, order: Tensor | None = None
    ) -> LayerControl | None:
        """Return the control that limits where image and words attend to each other, or None; as ``_encode``."""
        if self.joint_layers is None:
            return None
        place = torch.arange(tokens.mask.shape[1], device=tokens.mask.device) if order is None else order
        (image,) = cached(cache, self, lambda: (tokens.mask & (place < (count or 0)),))
        return _JointLayers(self.joint_layers, image, count is not None)

    def _scaled(self, image: Tokens) -> Tokens:
        return image.with_embeddings(image.embeddings * self.text_encoder.scale)

    @override
    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Select the last self-attention of the trunk, from words to image tokens, that is not masked: (B, N, M)."""
        maps = self._joint_maps(maps)
        if image.places is not None:
            back = _reading_order(image.places, text).argsort(1)  # from the reading order
            maps = [(owner, _reordered(weights, back)) for owner, weights in maps]
        return joint_attention(maps, image, text)

    def _joint_maps(self, maps: AttentionMaps) -> AttentionMaps:
        """Return the maps of the last layer in which image and words attend to each other, or all if all do."""
        if not self._last_joint:
            return maps
        inside = set(self._last_joint[0].modules())
        return [(owner, weights) for owner, weights in maps if owner in inside]


class _JointLayers(LayerControl):
    """Masks attention between image and words outside of some layers.

    Args:
        layers: layers without this mask.
        image: (B, M) bool, the valid image tokens of the pass that contains them.
        with_image: whether this pass contains them; otherwise they are cached.
    """

    def __init__(self, layers: range, image: Tensor, with_image: bool) -> None:
        self.layers, self.image, self.with_image = layers, image, with_image
        self.mask: Tensor | None = None

    @override
    def visible(self, index: int, queries: Tokens, keys: Tokens) -> Tensor | None:
        if index in self.layers:
            return None
        if self.mask is None:
            image = nn.functional.pad(self.image, (0, keys.mask.shape[1] - self.image.shape[1]))  # (B, M)
            own = image if self.with_image else torch.zeros_like(queries.mask)  # (B, N)
            # Padding may attend to anything, so that none of its rows is empty.
            self.mask = (own[:, :, None] == image[:, None, :]) | ~queries.mask[:, :, None]
        return self.mask


def _reading_order(places: Tensor, text: Tokens) -> Tensor:
    """Return the order (B, M + N) of M image tokens and N words in which each image stands at its mark."""
    words = torch.arange(text.mask.shape[1], device=places.device).expand_as(text.mask)
    return torch.cat([2 * places, 2 * words + 1], 1).argsort(dim=1, stable=True)


def _gather(tokens: Tokens, order: Tensor) -> Tokens:
    """Return the tokens of each sample in another order (B, N)."""
    embeddings = tokens.embeddings.gather(1, order[..., None].expand_as(tokens.embeddings))
    return Tokens(embeddings, tokens.mask.gather(1, order), tokens.block_ids.gather(1, order))


def _reordered(weights: Tensor, order: Tensor) -> Tensor:
    """Return attention weights (B, heads, N, N) with tokens in another order (B, N); others are not of all tokens."""
    if weights.shape[-2:] != (order.shape[1],) * 2:
        return weights
    rows = order[:, None, :, None].expand_as(weights)
    return weights.gather(2, rows).gather(3, rows.transpose(2, 3))


def joint_attention(maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
    """Return the part (B, N, M), from words to image tokens, of the last self-attention over ``[image, text]``.

    Attention heads are averaged. None means that no attention over both was recorded.
    """
    count, total = image.embeddings.shape[1], image.embeddings.shape[1] + text.embeddings.shape[1]
    joint = [weights for _, weights in maps if weights.shape[-2:] == (total, total)]
    return joint[-1][:, :, count:, :count].mean(1) if joint else None
