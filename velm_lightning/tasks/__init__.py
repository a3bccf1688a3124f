"""Tasks: one file per task, with its head, its loss and its metrics; may import all but fusions and training."""

from velm_lightning.tasks.base import HeadTask, Task
from velm_lightning.tasks.classification import Classification
from velm_lightning.tasks.distillation import Distillation
from velm_lightning.tasks.drawing import Drawing
from velm_lightning.tasks.generation import Generation
from velm_lightning.tasks.masked import MaskedLM
from velm_lightning.tasks.mixture import Mixture
from velm_lightning.tasks.retrieval import Retrieval
from velm_lightning.tasks.scorers import Exact, Scorer, VQAAccuracy
from velm_lightning.tasks.self_critical import SelfCritical
from velm_lightning.tasks.sentences import Answers, Captions, SentenceScorer, Translations

__all__ = [
    "Answers",
    "Captions",
    "Classification",
    "Distillation",
    "Drawing",
    "Exact",
    "Generation",
    "HeadTask",
    "MaskedLM",
    "Mixture",
    "Retrieval",
    "Scorer",
    "SelfCritical",
    "SentenceScorer",
    "Task",
    "Translations",
    "VQAAccuracy",
]
