"""Optimisation, unfreezing and compiling, the same for every fusion; imports no fusion."""

from velm_lightning.training.compiling import Compiling
from velm_lightning.training.optimization import Optimization
from velm_lightning.training.unfreezing import GradualUnfreezing

__all__ = ["Compiling", "GradualUnfreezing", "Optimization"]
