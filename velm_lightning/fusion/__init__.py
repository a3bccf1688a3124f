"""Fusions, one per file: early, interactive and late fusion, and the two controls.

They may import everything that a model consists of, ``training`` included, and neither data nor commands.
"""

from velm_lightning.fusion.base import Fusion, FusionParts
from velm_lightning.fusion.bottleneck import BottleneckFusion
from velm_lightning.fusion.controls import ImageOnly, TextOnly
from velm_lightning.fusion.deep_stack import DeepStackFusion
from velm_lightning.fusion.early import EarlyFusion
from velm_lightning.fusion.interactive import InteractiveFusion
from velm_lightning.fusion.interleaved import InterleavedFusion
from velm_lightning.fusion.late import LateFusion
from velm_lightning.fusion.merged import MergedFusion
from velm_lightning.fusion.merges import (
    BilinearAttention,
    BlockTerm,
    Concat,
    FactorizedBilinear,
    FiLM,
    GatedMultimodalUnit,
    LowRankBilinear,
    Merge,
    Mutan,
    Product,
    Sum,
    TensorFusion,
)
from velm_lightning.fusion.mixture_of_transformers import MixtureOfTransformers
from velm_lightning.fusion.text_first import TextFirstFusion

__all__ = [
    "BilinearAttention",
    "BlockTerm",
    "BottleneckFusion",
    "Concat",
    "DeepStackFusion",
    "EarlyFusion",
    "FactorizedBilinear",
    "FiLM",
    "Fusion",
    "FusionParts",
    "GatedMultimodalUnit",
    "ImageOnly",
    "InteractiveFusion",
    "InterleavedFusion",
    "LateFusion",
    "LowRankBilinear",
    "Merge",
    "MergedFusion",
    "MixtureOfTransformers",
    "Mutan",
    "Product",
    "Sum",
    "TensorFusion",
    "TextFirstFusion",
    "TextOnly",
]
