"""Interactive fusion: words and image read each other by cross-attention on top of the text trunk."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.nn.attention import AttentionMaps, Block, attention_mask
from velm_lightning.nn.kv_cache import Cache, cached
from velm_lightning.types import Tokens


class InteractiveFusion(TextFirstFusion):
    """Each side is encoded alone, then layers of cross-attention let them read each other.

    With ``co_attention`` both sides are updated (LXMERT, Tan & Bansal 2019; METER, Dou et al. 2022); without, only the
    text reads the image (ALBEF, Li et al. 2021; BLIP, Li et al. 2022). ``gated`` starts every cross-attention at zero
    (Flamingo, Alayrac et al. 2022).

    Args:
        depth: number of cross-attention layers.
        heads: attention heads; divides the text width.
        dropout: dropout in these layers.
        co_attention: whether the image reads the text too.
        gated: whether cross-attention enters through a tanh gate that starts at 0.
        parts: encoders, task and optimisation, as in ``Fusion``.
    """

    def __init__(
        self,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        co_attention: bool = True,
        gated: bool = False,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        dim = self.text_encoder.dim
        layers = [Block(dim, heads, dropout, cross=True, gated=gated) for _ in range(depth)]
        self.text_layers = nn.ModuleList(layers)
        # The image's last update would be read by nobody: there is one layer fewer on its side.
        image_depth = depth - 1 if co_attention else 0
        self.image_layers = nn.ModuleList(
            Block(dim, heads, dropout, cross=True, gated=gated) for _ in range(image_depth)
        )
        self.norm = nn.LayerNorm(dim)

    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``TextFirstFusion.fuse_states``.

        An image token never sees a target word, so that what the image became with the prompt stands for every step.
        """
        own = attention_mask(text, text if cache is None else cache.places(self, text))
        seen = Tokens(text.embeddings, *cached(cache, self, lambda: cast(Tokens, image)[1:]))
        cross = attention_mask(text, seen)
        x, y = text.embeddings, None
        if image is not None:
            y, image_own, image_cross = image.embeddings, attention_mask(image, image), attention_mask(image, text)
        for index, layer in enumerate(self.text_layers):
            read = layer(x, own, y, cross, cache)
            if y is not None and index < len(self.image_layers):
                y = self.image_layers[index](y, image_own, x, image_cross)
            x = read
        return text.with_embeddings(self.norm(x))

    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """See ``Fusion.image_attention``: the last cross-attention from words to the image."""
        last = self.text_layers[-1].cross_attention
        return next(weights.mean(1) for module, weights in reversed(maps) if module is last)
