"""Merges, which combine an image vector and a text vector in late fusion; they import no fusion."""

from velm_lightning.fusion.merges.base import Merge
from velm_lightning.fusion.merges.bilinear import (
    BlockTerm,
    FactorizedBilinear,
    LowRankBilinear,
    Mutan,
    TensorFusion,
)
from velm_lightning.fusion.merges.bilinear_attention import BilinearAttention
from velm_lightning.fusion.merges.elementwise import Concat, FiLM, GatedMultimodalUnit, Product, Sum

__all__ = [
    "BilinearAttention",
    "BlockTerm",
    "Concat",
    "FactorizedBilinear",
    "FiLM",
    "GatedMultimodalUnit",
    "LowRankBilinear",
    "Merge",
    "Mutan",
    "Product",
    "Sum",
    "TensorFusion",
]
