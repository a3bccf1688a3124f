"""The baseline for answers: an MLP over the concatenated features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from velm_lightning.bench.baseline.features import Features
from velm_lightning.bench.baseline.training import fit
from velm_lightning.bench.machine import device
from velm_lightning.metrics import macro_f1
from velm_lightning.types import Sample

FEW, SKEWED = 50, 1.5
"""Up to FEW answers whose most frequent one is SKEWED times the mean are weighted, and selected by macro-F1."""
_WIDTH = 512


class Classifier:
    """An MLP that chooses among the training answers.

    Args:
        samples: The samples of each split.
        features: The features of each split.
        num_answers: Largest number of answers: the most frequent ones.

    Attributes:
        monitored: The score on the validation split by which the best epoch is chosen.
    """

    metric = "accuracy"

    def __init__(
        self, samples: Mapping[str, Sequence[Sample]], features: Mapping[str, Features], num_answers: int
    ) -> None:
        self.samples, self.features = samples, features
        counts: Counter[str] = Counter()
        for sample in samples["train"]:
            counts.update(sample.target if isinstance(sample.target, Mapping) else {})
        ranked = counts.most_common(num_answers)
        self.answers = [answer for answer, _ in ranked]
        frequency = torch.tensor([float(count) for _, count in ranked])
        self.skewed = len(ranked) <= FEW and bool(frequency.max() >= SKEWED * frequency.mean())
        self.monitored = "macro_f1" if self.skewed else "score"
        weight = frequency**-0.5 if self.skewed else torch.ones(len(ranked))
        self.weight = (weight * frequency.sum() / (weight * frequency).sum()).to(device())
        self.targets = self._targets(samples["train"])

    def _targets(self, samples: Sequence[Sample]) -> Tensor:
        """Return the share (N, A) of each answer in the answers of a sample."""
        index = {answer: place for place, answer in enumerate(self.answers)}
        targets = torch.zeros(len(samples), len(index))
        for row, sample in zip(targets, samples, strict=True):
            for answer, share in (sample.target if isinstance(sample.target, Mapping) else {}).items():
                if answer in index:
                    row[index[answer]] = share
        return (targets / targets.sum(1, keepdim=True).clamp(min=1e-9)).to(device())

    def fit(self) -> int:
        """Train the MLP; return the number of epochs."""
        train = self.features["train"]
        width = train.texts.shape[1] + train.images.shape[1]
        self.model = nn.Sequential(
            nn.LayerNorm(width), nn.Dropout(0.3), nn.Linear(width, _WIDTH), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(_WIDTH, len(self.answers)),
        ).to(device())  # fmt: skip
        known = self.targets.sum(1).nonzero()[:, 0]

        def loss(indices: Tensor) -> Tensor:
            chosen = known[indices.to(known.device)]
            likely = self._logits(train, chosen).log_softmax(1)
            return -(self.targets[chosen] * likely * self.weight).sum(1).mean()

        return fit(self.model, loss, lambda: self.scores("val")[self.monitored], len(known), 64)

    def _logits(self, features: Features, indices: Tensor) -> Tensor:
        both = torch.cat([features.texts[indices], features.images[features.rows[indices]]], 1)
        logits: Tensor = self.model(both)
        return logits

    @torch.no_grad()
    def scores(self, split: str) -> dict[str, float]:
        """Return accuracy, and macro-F1 if there are few answers and every sample has one."""
        features, samples = self.features[split], self.samples[split]
        parts = torch.split(torch.arange(len(samples), device=device()), 1024)
        chosen = [self.answers[i] for part in parts for i in self._logits(features, part).argmax(1).tolist()]
        pairs = [(answer, s.references) for answer, s in zip(chosen, samples, strict=True) if s.references]
        scores = {"score": sum(answer in references for answer, references in pairs) / len(pairs)}
        if len(self.answers) <= FEW and all(len(references) == 1 for _, references in pairs):
            scores["macro_f1"] = macro_f1([answer for answer, _ in pairs], [given[0] for _, given in pairs])
        return scores
