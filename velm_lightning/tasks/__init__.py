"""What is asked of a model: a head, a loss, and figures computed from rows."""

from velm_lightning.tasks.base import Task
from velm_lightning.tasks.classification import Classification
from velm_lightning.tasks.scorers import Exact, Scorer, VQAAccuracy

__all__ = ["Classification", "Exact", "Scorer", "Task", "VQAAccuracy"]
