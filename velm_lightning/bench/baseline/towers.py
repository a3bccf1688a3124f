"""The baseline for captions: a projection of either side, trained with a contrastive loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.bench.baseline.features import Features
from velm_lightning.bench.baseline.training import fit
from velm_lightning.bench.machine import device
from velm_lightning.metrics.retrieval import best_ranks, recall_at

_WIDTH = 512
_KS = (1, 5, 10)


class Towers(nn.Module):
    """Unit vectors of images and texts, and their similarity (CLIP, Radford et al. 2021).

    Args:
        features: The features of each split.
    """

    metric, monitored = "mean recall", "score"

    def __init__(self, features: Mapping[str, Features]) -> None:
        super().__init__()
        self.features = features
        train = features["train"]
        self.image, self.text = _projection(train.images.shape[1]), _projection(train.texts.shape[1])
        self.log_scale = nn.Parameter(torch.tensor(-math.log(0.07)))
        self.to(device())

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the similarity (I, T) of features."""
        image, text = F.normalize(self.image(images), dim=-1), F.normalize(self.text(texts), dim=-1)
        return self.log_scale.exp().clamp(max=100) * image @ text.T

    def fit(self) -> int:
        """Train both projections; return the number of epochs."""
        train = self.features["train"]

        def loss(indices: Tensor) -> Tensor:
            rows = train.rows[indices.to(train.rows.device)]
            logits = self.similarity(train.images[rows], train.texts[indices])
            same = (rows[:, None] == rows[None]).float()  # several captions of an image are all right
            share = same / same.sum(1, keepdim=True)
            return (F.cross_entropy(logits, share) + F.cross_entropy(logits.T, share)) / 2

        return fit(self, loss, lambda: self.scores("val")[self.monitored], len(train.rows), 256)

    @torch.no_grad()
    def scores(self, split: str) -> dict[str, float]:
        """Return recall at 1, 5 and 10 of both directions, and their mean."""
        features = self.features[split]
        similarity = self.similarity(features.images, features.texts).cpu()
        relevant = torch.arange(len(features.images))[:, None] == features.rows.cpu()[None]
        scores: dict[str, float] = {}
        for name, ranks in (
            ("text_to_image", best_ranks(similarity.T, relevant.T)),
            ("image_to_text", best_ranks(similarity, relevant)),
        ):
            scores |= {f"{name}_r{k}": recall_at(ranks, _KS)[f"R@{k}"] for k in _KS}
        return {"score": sum(scores.values()) / len(scores), **scores}


def _projection(width: int) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(width), nn.Dropout(0.2), nn.Linear(width, _WIDTH))
