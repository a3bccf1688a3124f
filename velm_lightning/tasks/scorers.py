"""How one predicted answer is scored against its references."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from velm_lightning.metrics.signature import signature_of
from velm_lightning.metrics.vqa import VQAProtocol, vqa_accuracy
from velm_lightning.recipe import Recorded


class Scorer(Recorded, ABC):
    """Scores one prediction; ``name`` is the figure's name in logs and tables."""

    name: str

    @abstractmethod
    def __call__(self, prediction: str, references: Sequence[str]) -> float:
        """Return a score between 0 and 1."""

    @abstractmethod
    def signature(self, split: str) -> str:
        """Say what the mean over the samples of ``split`` is; see ``metrics.signature_of``."""


class Exact(Scorer):
    """1 where the prediction is one of the references, letter for letter; the mean is accuracy."""

    name = "accuracy"

    def __call__(self, prediction: str, references: Sequence[str]) -> float:
        """See ``Scorer``."""
        return float(prediction in references)

    def signature(self, split: str) -> str:
        """See ``Scorer.signature``."""
        return signature_of("accuracy", split=split)


class VQAAccuracy(Scorer):
    """Agreement with human annotators by the official VQA evaluation (Antol et al. 2015).

    Args:
        protocol: which of the three published variants; see ``velm_lightning.metrics.vqa``.
    """

    name = "vqa_accuracy"

    def __init__(self, protocol: VQAProtocol = "official") -> None:
        self.protocol: VQAProtocol = protocol

    def __call__(self, prediction: str, references: Sequence[str]) -> float:
        """See ``Scorer``."""
        return vqa_accuracy(prediction, references, self.protocol)

    def signature(self, split: str) -> str:
        """See ``Scorer.signature``."""
        return signature_of("VQA accuracy", split=split, protocol=self.protocol)
