"""Training of any model that satisfies ``FusionProtocol``; imports no fusion.

The LightningModule base, the optimiser, its schedules, gradual unfreezing and compiling.
"""

from velm_lightning.training.compiling import Compiling
from velm_lightning.training.module import TrainingModule
from velm_lightning.training.optimization import Optimization
from velm_lightning.training.schedules import Constant, Cosine, LinearDecay, Schedule
from velm_lightning.training.unfreezing import GradualUnfreezing

__all__ = [
    "Compiling",
    "Constant",
    "Cosine",
    "GradualUnfreezing",
    "LinearDecay",
    "Optimization",
    "Schedule",
    "TrainingModule",
]
