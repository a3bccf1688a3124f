"""How one predicted answer is scored against its references."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from velm_lightning.io.configurable import Configurable
from velm_lightning.metrics.signature import signature_of
from velm_lightning.metrics.vqa import VQAProtocol, clean_punctuation, normalise_answer, vqa_accuracy


class Scorer(Configurable, ABC):
    """Scores one prediction; ``name`` is the figure's name in logs and tables."""

    name: str

    @abstractmethod
    def __call__(self, prediction: str, references: Sequence[str]) -> float:
        """Return a score between 0 and 1."""

    def expected(self, answers: Mapping[str, float], references: Sequence[Sequence[str]]) -> list[float]:
        """Return for each of N samples the expected score of an answer that is drawn with these probabilities."""
        return [math.fsum(p * self(answer, given) for answer, p in answers.items()) for given in references]

    @abstractmethod
    def signature(self, split: str) -> str:
        """Say what the mean over the samples of ``split`` is; see ``metrics.signature_of``."""


class Exact(Scorer):
    """1 where the prediction is one of the references, letter for letter; the mean is accuracy."""

    name = "accuracy"

    def __call__(self, prediction: str, references: Sequence[str]) -> float:
        """See ``Scorer``."""
        return float(prediction in references)

    def expected(self, answers: Mapping[str, float], references: Sequence[Sequence[str]]) -> list[float]:
        """See ``Scorer.expected``."""
        return [math.fsum(answers.get(answer, 0.0) for answer in set(given)) for given in references]

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

    def expected(self, answers: Mapping[str, float], references: Sequence[Sequence[str]]) -> list[float]:
        """See ``Scorer.expected``; an answer whose normal form is no form of a reference scores 0 in each protocol."""
        alike: dict[str, list[str]] = {}
        for answer in answers:
            alike.setdefault(normalise_answer(answer), []).append(answer)
        found = []
        for given in references:
            forms = {form for one in given for form in (one, clean_punctuation(one), normalise_answer(one))}
            near = [answer for form in forms for answer in alike.get(form, ())]
            found.append(math.fsum(answers[answer] * self(answer, given) for answer in near))
        return found

    def signature(self, split: str) -> str:
        """See ``Scorer.signature``."""
        return signature_of("VQA accuracy", split=split, protocol=self.protocol)
