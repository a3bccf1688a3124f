"""Where the image meets the text: early, late and interactive fusion, and the two controls."""

from velm_lightning.fusion.base import Fusion
from velm_lightning.fusion.controls import ImageOnly, TextOnly
from velm_lightning.fusion.early import EarlyFusion
from velm_lightning.fusion.interactive import InteractiveFusion
from velm_lightning.fusion.late import LateFusion
from velm_lightning.fusion.merges import Concat, GatedMultimodalUnit, LowRankBilinear, Merge, Product, Sum, TensorFusion
from velm_lightning.fusion.text_first import TextFirstFusion

__all__ = [
    "Concat",
    "EarlyFusion",
    "Fusion",
    "GatedMultimodalUnit",
    "ImageOnly",
    "InteractiveFusion",
    "LateFusion",
    "LowRankBilinear",
    "Merge",
    "Product",
    "Sum",
    "TensorFusion",
    "TextOnly",
    "TextFirstFusion",
]
