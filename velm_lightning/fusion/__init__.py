"""Where the image meets the text: early, late and interactive fusion, and the two controls."""

from velm_lightning.fusion.base import Fusion
from velm_lightning.training.compiling import Compiling
from velm_lightning.fusion.controls import ImageOnly, TextOnly
from velm_lightning.fusion.early import EarlyFusion
from velm_lightning.fusion.interactive import InteractiveFusion
from velm_lightning.fusion.late import LateFusion
from velm_lightning.fusion.merges import Concat, Gate, LowRankBilinear, Merge, Product, Sum, TensorProduct
from velm_lightning.training.optimization import Optimization
from velm_lightning.fusion.text_first import TrunkFirst
from velm_lightning.training.unfreezing import GradualUnfreezing

__all__ = [
    "Compiling",
    "Concat",
    "EarlyFusion",
    "Fusion",
    "Gate",
    "GradualUnfreezing",
    "ImageOnly",
    "InteractiveFusion",
    "LateFusion",
    "LowRankBilinear",
    "Merge",
    "Optimization",
    "Product",
    "Sum",
    "TensorProduct",
    "TextOnly",
    "TrunkFirst",
]
