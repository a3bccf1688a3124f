"""Writes the files of a run and logs it to Weights & Biases; may import inspection and the rooms below it."""

from velm_lightning.tracking.run import Run
from velm_lightning.tracking.settings import Tracking

__all__ = ["Run", "Tracking"]
