"""Drawing: text-to-image generation by flow matching, conditioned on the caption through the fusion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.decoding.flow import Flow, between, keyed_noise, keyed_times
from velm_lightning.encoders.base import TextEncoder
from velm_lightning.encoders.image.patches import cut, join
from velm_lightning.errors import at_least, within
from velm_lightning.metrics.signature import signature_of
from velm_lightning.nn.attention import Block, attention_mask
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.judges import Judge
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import all_gather_objects, mean, prediction_of
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, TextInput, Tokens

MIN_REMAINING_TIME = 0.05
"""The lower bound of the remaining time by which a predicted image is divided to give a velocity."""


class Drawing(Task):
    """Generates images from captions by a rectified flow (Lipman et al. 2023; Liu et al. 2023), with noise at time 0.

    The roles are swapped: the fusion receives the caption as the image, and the patches of the noisy image as the
    text. So the three fusions are the three conditionings of DiT (Peebles & Xie 2023): *early* puts the caption before
    the patches (in-context), *interactive* uses cross-attention, and *late* merges the mean caption with each patch at
    the end (modulation). `TextOnly` ignores the caption and is an unconditional generator. `ImageOnly` does not read
    the noisy image, so it cannot draw.

    The network predicts the image, from which the velocity is computed (Li & He 2025, arXiv:2511.13720): if patches
    have more values than a token is wide, noise cannot be predicted. The loss is the squared error of the velocity.
    The image encoder must be `Patches` of the same ``size`` and ``patch``.

    Args:
        judge: describes a drawn image.
        size: side of the image in pixels.
        patch: side of a patch in pixels; divides ``size``.
        depth: number of layers that encode the caption before the fusion; 4 attention heads each.
        caption_dropout: share of training captions that are dropped, for classifier-free guidance
            (Ho & Salimans 2022).
        flow: the integration of the flow: steps and guidance.
        centre: mean of the logits of the training times, which are normal with deviation 1 (Esser et al. 2024);
            values below 0 favour noisy images.

    Raises:
        InputError: ``patch`` does not divide ``size``, or ``caption_dropout`` is not between 0 and 1.
    """

    def __init__(
        self,
        judge: Judge,
        size: int = 32,
        patch: int = 8,
        depth: int = 1,
        caption_dropout: float = 0.1,
        flow: Flow | None = None,
        centre: float = -0.8,
    ) -> None:
        super().__init__()
        at_least(1, "task", size=size, patch=patch, depth=depth)
        within(0, 1, "task", caption_dropout=caption_dropout)
        within(-math.inf, math.inf, "task", centre=centre)
        if size % patch:
            raise InputError(f"task.patch={patch} must divide task.size={size}")
        self.judge, self.flow, self.size, self.patch = judge, flow or Flow(), size, patch
        self.depth, self.caption_dropout, self.centre = depth, caption_dropout, centre
        self.distance = math.nan
        self._features: dict[str, tuple[Tensor, Tensor]] = {}

    @override
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        dim, values, count = text_encoder.dim, 3 * self.patch**2, (self.size // self.patch) ** 2
        self.reader = nn.ModuleList(Block(dim, 4 if dim % 4 == 0 else 1) for _ in range(self.depth))
        self.norm = nn.LayerNorm(dim)
        self.canvas = nn.Linear(values, dim)  # keeps the scale of the values, which a connector's norm removes
        self.position = nn.Parameter(torch.randn(count, dim) * 0.5)
        self.time = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.head = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, values)
        )  # fmt: skip

    # The network: the image, given a noisy one.

    def embed_caption(self, model: FusionProtocol, words: TextInput, blank: Tensor) -> Tokens:
        """Return the encoded captions (B, L, D); those in ``blank`` (B,) are reduced to the start token."""
        first = torch.arange(words.ids.shape[1], device=words.ids.device) == 0
        tokens = model.embed_text(words._replace(mask=words.mask & (first | ~blank[:, None])))
        x, mask = tokens.embeddings, attention_mask(tokens, tokens)
        for layer in self.reader:
            x = layer(x, mask)
        return tokens.with_embeddings(self.norm(x))

    def predict_image(self, model: FusionProtocol, caption: Tokens, noisy: Tensor, time: Tensor) -> Tensor:
        """Predict the patches (B, N, V) of the image, given noisy patches (B, N, V) at times (B,).

        Raises:
            InputError: the image encoder returns another number or width of tokens.
        """
        x = self.canvas(noisy) + self.position + self.time(waves(time, self.position.shape[1]))[:, None]
        encoded = model.encode_image(noisy).embeddings  # no tokens if the fusion has no image encoder
        if encoded.shape[1]:
            if encoded.shape != x.shape:
                raise InputError(
                    f"drawing needs model.image_encoder Patches with size={self.size} and patch={self.patch}, and a "
                    f"connector that keeps {x.shape[1]} tokens apart: it has {encoded.shape[1]}"
                )
            x = x + encoded
        states = model.fuse(caption, Tokens.of_image(x)).embeddings
        unread = caption.embeddings.sum() * 0  # every parameter gets a gradient, also if the fusion ignores captions
        predicted: Tensor = self.head(states) + unread
        return predicted

    def velocity(self, model: FusionProtocol, caption: Tokens, noisy: Tensor, time: Tensor) -> Tensor:
        """Return the velocities of noisy patches (B, N, V) at times (B,)."""
        left = (1 - time).clamp(min=MIN_REMAINING_TIME)[:, None, None]
        return (self.predict_image(model, caption, noisy, time).float() - noisy) / left

    def losses(self, model: FusionProtocol, batch: Batch, blank: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return the squared error (B,) of the velocity, given noise (B, N, V) and times (B,)."""
        patches = cut(batch.image.float() / 127.5 - 1, self.patch)
        noisy = between(noise, patches, time)
        left = (1 - time).clamp(min=MIN_REMAINING_TIME)[:, None, None]
        target = (patches - noisy) / left
        predicted = self.velocity(model, self.embed_caption(model, batch.words, blank), noisy, time)
        return (predicted - target).square().mean((1, 2))

    @override
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        device = batch.image.device
        blank = torch.rand(batch.size, device=device) < self.caption_dropout
        noise = torch.randn(batch.size, *self._shape(), device=device)
        time = (torch.randn(batch.size, device=device) + self.centre).sigmoid()
        return self.losses(model, batch, blank, noise, time).mean()

    @override
    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """Predict the image once."""
        self.losses(model, batch, *self._of_keys(batch))

    def _shape(self) -> tuple[int, int]:
        return (self.size // self.patch) ** 2, 3 * self.patch**2

    def _of_keys(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return no blanks, and noise and times that are functions of the samples' keys."""
        device = batch.image.device
        blank = torch.zeros(batch.size, dtype=torch.bool, device=device)
        return blank, keyed_noise(batch.keys, self._shape()).to(device), keyed_times(batch.keys).to(device)

    # Drawing, and the judge's description of the result.

    @torch.no_grad()
    def draw(self, model: FusionProtocol, words: TextInput, keys: Sequence[str], flow: Flow | None = None) -> Tensor:
        """Return images (B, 3, size, size), uint8, of captions (B, L); each depends only on its caption and its key."""
        none = torch.zeros(len(keys), dtype=torch.bool, device=words.ids.device)
        conditional, free = self.embed_caption(model, words, none), self.embed_caption(model, words, ~none)
        patches = (flow or self.flow)(
            lambda x, time: self.velocity(model, conditional, x, time),
            lambda x, time: self.velocity(model, free, x, time),
            keyed_noise(keys, self._shape()).to(words.ids.device),
        )
        return ((join(patches, self.patch) + 1) * 127.5).round().clamp(0, 255).byte()

    def produce_images(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the drawn images (B, 3, size, size) of a batch's captions, uint8."""
        return self.draw(model, batch.words, batch.keys)

    @torch.no_grad()
    @override
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """Return the judge's descriptions of the drawn images."""
        losses = self.losses(model, batch, *self._of_keys(batch)).tolist()
        described = self.judge.describe(self.produce_images(model, batch))
        real = self.judge.describe(batch.image).features
        self._features |= dict(zip(batch.keys, zip(real, described.features, strict=True), strict=True))
        rows = []
        values = zip(described.descriptions, described.confidence.tolist(), losses, strict=True)
        for i, (description, confidence, loss) in enumerate(values):
            score = self._score(description, batch.references[i])
            rows.append(prediction_of(batch, i, description, score=score, confidence=confidence, loss=loss))
        return rows

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Compare the descriptions with the captions again."""
        return [row._replace(score=self._score(row.prediction, row.references)) for row in rows]

    def _score(self, description: str, references: Sequence[str]) -> float:
        return self.judge.compare(description, references[0])["score"] if references else math.nan

    @override
    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        """Score the rows and compute the Fréchet distance between drawn and real images."""
        features = {key: pair for part in all_gather_objects(self._features) for key, pair in part.items()}
        self.distance, self._features = distance([features[row.key] for row in rows]), {}
        return self.score(rows)

    def extra_metrics(self) -> dict[str, float]:
        """Return the Fréchet distance of the last evaluation and the accuracy of the judge."""
        return {f"FID({self.judge.name()})": self.distance, "judge_accuracy": self.judge.accuracy}

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute the means of the judge's comparisons and of the loss."""
        comparisons = [self.judge.compare(row.prediction, row.references[0]) for row in rows if row.references]
        names = dict.fromkeys(name for comparison in comparisons for name in comparison)
        metrics = {name: mean(values[name] for values in comparisons) for name in names} or {"score": math.nan}
        return metrics | {"loss": mean(row.loss for row in rows)}

    @override
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """Return the judge's description of each drawn image."""
        described = self.judge.describe(self.produce_images(model, batch))
        return [[pair] for pair in zip(described.descriptions, described.confidence.tolist(), strict=True)]

    @override
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """Return the batch unchanged: the only target is the image."""
        return batch

    @override
    def signature(self, split: str) -> str:
        flow = f"{self.flow.method}-{self.flow.steps}-guidance-{self.flow.guidance:g}"
        return signature_of("drawn as asked", scorer=self.judge.name(), decoding=flow, split=split)


def waves(time: Tensor, dim: int) -> Tensor:
    """Return sines and cosines (B, dim) of times (B,), as of positions (Vaswani et al. 2017)."""
    half = (dim + 1) // 2
    speeds = torch.exp(torch.arange(half, device=time.device) * (-math.log(1000.0) / half)) * 100
    angles = time[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :dim]


class _PrecomputedFeatures(nn.Module):
    """Passes precomputed features through, in place of the network of torchmetrics."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        return features


def distance(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the Fréchet distance (Heusel et al. 2017) of features (F,), real and drawn; NaN below two pairs."""
    if len(pairs) < 2:
        return math.nan
    from torchmetrics.image.fid import FrechetInceptionDistance  # imports most of torchvision

    metric = FrechetInceptionDistance(feature=_PrecomputedFeatures(len(pairs[0][0])))
    for features, real in zip(zip(*pairs, strict=True), (True, False), strict=True):
        metric.update(torch.stack(features).double(), real=real)
    return float(metric.compute())
