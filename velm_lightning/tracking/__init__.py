"""What a run leaves on disk and in Weights & Biases."""

from velm_lightning.tracking.run import Run
from velm_lightning.tracking.settings import Tracking

__all__ = ["Run", "Tracking"]
