"""Scorers of single answers against their references: exact match and VQA accuracy."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from typing_extensions import override

from velm_lightning.io.configurable import Configurable
from velm_lightning.metrics.signature import signature_of
from velm_lightning.metrics.vqa import VQAProtocol, clean_punctuation, normalise_answer, vqa_accuracy


class Scorer(Configurable, ABC):
    """Scores one prediction; ``name`` is the name of the metric in logs and tables."""

    name: str

    @abstractmethod
    def __call__(self, prediction: str, references: Sequence[str]) -> float:
        """Return a score between 0 and 1."""

    def expected(self, answers: Mapping[str, float], references: Sequence[Sequence[str]]) -> list[float]:
        """Return the expected score (N values) of an answer drawn with these probabilities, per sample."""
        return [math.fsum(p * self(answer, given) for answer, p in answers.items()) for given in references]

    @abstractmethod
    def signature(self, split: str) -> str:
        """Return the definition of the mean score on ``split``; see ``metrics.signature_of``."""


class Exact(Scorer):
    """Scores 1 if the prediction equals one of the references exactly, else 0; the mean is accuracy."""

    name = "accuracy"

    @override
    def __call__(self, prediction: str, references: Sequence[str]) -> float:
        """Return the score of ``prediction``, between 0 and 1."""
        return float(prediction in references)

    @override
    def expected(self, answers: Mapping[str, float], references: Sequence[Sequence[str]]) -> list[float]:
        return [math.fsum(answers.get(answer, 0.0) for answer in set(given)) for given in references]

    @override
    def signature(self, split: str) -> str:
        return signature_of("accuracy", split=split)


class VQAAccuracy(Scorer):
    """Agreement with human annotators by the official VQA evaluation (Antol et al. 2015).

    Args:
        protocol: one of the three published variants; see ``velm_lightning.metrics.vqa``.
    """

    name = "vqa_accuracy"

    def __init__(self, protocol: VQAProtocol = "official") -> None:
        self.protocol: VQAProtocol = protocol

    @override
    def __call__(self, prediction: str, references: Sequence[str]) -> float:
        """Return the score of ``prediction``, between 0 and 1."""
        return vqa_accuracy(prediction, references, self.protocol)

    @override
    def expected(self, answers: Mapping[str, float], references: Sequence[Sequence[str]]) -> list[float]:
        by_form: dict[str, list[str]] = {}
        for answer in answers:
            by_form.setdefault(normalise_answer(answer), []).append(answer)
        scores = []
        for given in references:
            forms = {form for text in given for form in (text, clean_punctuation(text), normalise_answer(text))}
            # an answer whose normal form is no form of a reference scores 0 in each protocol
            near = [answer for form in forms for answer in by_form.get(form, ())]
            scores.append(math.fsum(answers[answer] * self(answer, given) for answer in near))
        return scores

    @override
    def signature(self, split: str) -> str:
        return signature_of("VQA accuracy", split=split, protocol=self.protocol)
