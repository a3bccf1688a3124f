"""Learning-rate schedules, one class per file, which ``optimization.schedule`` names by ``class_path``."""

from velm_lightning.training.schedules.base import PlannedSchedule, Schedule
from velm_lightning.training.schedules.constant import Constant
from velm_lightning.training.schedules.cosine import Cosine
from velm_lightning.training.schedules.linear_decay import LinearDecay

__all__ = ["Constant", "Cosine", "LinearDecay", "PlannedSchedule", "Schedule"]
