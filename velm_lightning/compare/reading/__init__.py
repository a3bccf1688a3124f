"""Reads run folders for a comparison, without torch: records, settings, curves, predictions and thumbnails.

It may import ``io`` and ``errors``; everything else of ``compare`` may import it.
"""

from velm_lightning.compare.reading.folders import SkippedRun, read_runs
from velm_lightning.compare.reading.record import COSTS
from velm_lightning.compare.reading.run_files import RunFiles
from velm_lightning.compare.reading.run_folder import RunFolder
from velm_lightning.compare.reading.scores import Scores
from velm_lightning.compare.reading.settings import differ, flat, is_path, short_class, training_settings

__all__ = [
    "COSTS",
    "RunFiles",
    "RunFolder",
    "Scores",
    "SkippedRun",
    "differ",
    "flat",
    "is_path",
    "read_runs",
    "short_class",
    "training_settings",
]
