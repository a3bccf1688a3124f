"""MyFusion: feature-wise linear modulation of the text by the image (FiLM, Perez et al. 2018)."""

from __future__ import annotations

from typing import Unpack

from torch import nn

from velm_lightning.fusion import Fusion
from velm_lightning.fusion.base import FusionParts
from velm_lightning.types import Tokens


class MyFusion(Fusion):
    """Scales and shifts every state of the text trunk by linear functions of the mean image vector.

    Args:
        dropout: dropout probability of the image vector.
        parts: the arguments of ``Fusion``.
    """

    def __init__(self, dropout: float = 0.0, **parts: Unpack[FusionParts]) -> None:
        super().__init__(**parts)
        dim = self.text_encoder.dim
        self.modulation = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, 2 * dim))
        self.norm = nn.LayerNorm(dim)

    def fuse(self, image: Tokens, text: Tokens) -> Tokens:  # type: ignore[override] # it decodes without a cache
        """Return the modulated states (B, N, D) of the text (B, N, D), given image tokens (B, M, D)."""
        scale, shift = self.modulation(image.mean())[:, None].chunk(2, dim=-1)  # (B, 1, D) each
        states = self.text_encoder.trunk(text)
        return states.with_embeddings(self.norm(states.embeddings * (1 + scale) + shift))
