"""Interactive fusion: layers of cross-attention between image and words on top of the text trunk."""

from __future__ import annotations

from typing import Unpack, cast

from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.errors import at_least, within
from velm_lightning.fusion.base import FusionParts
from velm_lightning.fusion.meeting import CROSS, Meeting
from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.nn.attention import AttentionMaps, Block, attention_mask
from velm_lightning.nn.kv_cache import Cache, cached
from velm_lightning.types import Tokens


class InteractiveFusion(TextFirstFusion):
    """Encodes image and text separately, then combines them in layers of cross-attention.

    With ``co_attention`` both sides are updated (LXMERT, Tan & Bansal 2019; METER, Dou et al. 2022); without, only the
    text attends to the image (ALBEF, Li et al. 2021; BLIP, Li et al. 2022). With ``gated`` the contribution of every
    cross-attention starts at zero (Flamingo, Alayrac et al. 2022).

    Args:
        depth: number of cross-attention layers.
        heads: number of attention heads; must divide the text width.
        dropout: dropout in these layers.
        co_attention: whether the image also attends to the text.
        gated: whether cross-attention passes through a tanh gate that starts at 0.
        parts: the arguments of ``Fusion``.

    Raises:
        InputError: ``depth`` is less than 1, ``heads`` does not divide the text width, or ``dropout`` is not between 0
            and 1.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.InteractiveFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                                task=velm.Classification(), vocabulary=data.vocabulary, depth=1)
        >>> len(model.text_layers)
        1
    """

    masks_images = True

    def __init__(
        self,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        co_attention: bool = True,
        gated: bool = False,
        **parts: Unpack[FusionParts],
    ) -> None:
        super().__init__(**parts)
        at_least(1, "model", depth=depth)
        within(0, 1, "model", dropout=dropout)
        dim = self.text_encoder.dim
        layers = [Block(dim, heads, dropout, cross=True, gated=gated) for _ in range(depth)]
        self.text_layers = nn.ModuleList(layers)
        # No layer attends to the last update of the image, so that its side has one layer fewer.
        image_depth = depth - 1 if co_attention else 0
        self.image_layers = nn.ModuleList(
            Block(dim, heads, dropout, cross=True, gated=gated) for _ in range(image_depth)
        )
        self.norm = nn.LayerNorm(dim)

    @property
    @override
    def meeting(self) -> Meeting | None:
        return Meeting(CROSS, 1.0)

    @override
    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Combine image tokens (B, M, D) and trunk states (B, N, D) by cross-attention.

        An image token never attends to a target word: its states after the prompt hold for every step of decoding.
        """
        text_mask = attention_mask(text, text if cache is None else cache.places(self, text))
        visible = Tokens(text.embeddings, *cached(cache, self, lambda: cast(Tokens, image)[1:3]))
        cross_mask = attention_mask(text, visible)
        x, y = text.embeddings, None  # (B, N, D), (B, M, D)
        if image is not None:
            y, image_mask, image_cross_mask = (
                image.embeddings,
                attention_mask(image, image),
                attention_mask(image, text),
            )
        for index, layer in enumerate(self.text_layers):
            updated = layer(x, text_mask, y, cross_mask, cache)
            if y is not None and index < len(self.image_layers):
                y = self.image_layers[index](y, image_mask, x, image_cross_mask)
            x = updated
        return text.with_embeddings(self.norm(x))

    @override
    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Select the last cross-attention from words to image tokens: (B, N, M), averaged over its heads."""
        last = self.text_layers[-1].cross_attention
        return next(weights.mean(1) for module, weights in reversed(maps) if module is last)
