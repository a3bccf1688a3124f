"""What is asked of a model: a head, a loss, and figures computed from rows."""

from velm_lightning.tasks.base import Task
from velm_lightning.tasks.classification import Classification
from velm_lightning.tasks.generation import Generation
from velm_lightning.tasks.scorers import Exact, Scorer, VQAAccuracy
from velm_lightning.tasks.sentences import Answers, Captions, SentenceScorer, Translations

__all__ = [
    "Answers",
    "Captions",
    "Classification",
    "Exact",
    "Generation",
    "Scorer",
    "SentenceScorer",
    "Task",
    "Translations",
    "VQAAccuracy",
]
