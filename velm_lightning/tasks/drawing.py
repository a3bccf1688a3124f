"""Drawing: from a caption to a picture, by flow matching; the fusion brings the caption to the canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from velm_lightning.decoding.flow import Flow, between, keyed_noise, keyed_times
from velm_lightning.encoders.base import TextEncoder
from velm_lightning.encoders.image.patches import cut, join
from velm_lightning.metrics.signature import signature_of
from velm_lightning.nn.attention import Block, attention_mask
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.judges import Judge
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import all_gather_objects, mean
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, TextInput, Tokens

SOONEST = 0.05
"""The least time that is taken to be left where a velocity is computed from a predicted picture."""


class Drawing(Task):
    """Pictures drawn from captions by a rectified flow (Lipman et al. 2023; Liu et al. 2023), from noise at time 0.

    The roles are swapped: the caption takes the image's place in the fusion, and the patches of the noisy picture the
    text's. So the three fusions are the three ways of conditioning of DiT (Peebles & Xie 2023): *early* puts the
    caption before the patches (in-context), *interactive* lets patches read it by cross-attention, *late* merges its
    mean with each patch at the end (modulation). `TextOnly` reads no caption: an unconditional generator. `ImageOnly`
    does not see the canvas, and cannot draw.

    The network predicts the picture, from which the velocity follows (Li & He 2025, arXiv:2511.13720): with patches of
    more values than the width of a token, noise cannot be predicted. The loss is the squared error of the velocity.
    The image encoder must be `Patches` of the same ``size`` and ``patch``.

    Args:
        judge: says what a drawn picture shows.
        size: side of the picture in pixels.
        patch: side of a patch in pixels; divides ``size``.
        depth: number of layers that read the caption before the fusion does; 4 attention heads each.
        caption_dropout: share of training captions that are dropped, for classifier-free guidance
            (Ho & Salimans 2022).
        flow: how pictures are drawn: steps and guidance.
        centre: mean of the logits of the training times, which are normal with deviation 1 (Esser et al. 2024); less
            than 0 favours the noisy beginning.

    Raises:
        InputError: ``patch`` does not divide ``size``, or ``caption_dropout`` is no share.
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
        if size % patch or not 0 <= caption_dropout <= 1:
            raise InputError(
                f"task.patch={patch} must divide task.size={size}, and task.caption_dropout={caption_dropout} be in 0…1"
            )
        self.judge, self.flow, self.size, self.patch = judge, flow or Flow(), size, patch
        self.depth, self.caption_dropout, self.centre = depth, caption_dropout, centre
        self.distance = math.nan
        self._features: dict[str, tuple[Tensor, Tensor]] = {}

    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """See ``Task.build``."""
        dim, values, count = text_encoder.dim, 3 * self.patch**2, (self.size // self.patch) ** 2
        self.reader = nn.ModuleList(Block(dim, 4 if dim % 4 == 0 else 1) for _ in range(self.depth))
        self.norm = nn.LayerNorm(dim)
        self.canvas = nn.Linear(values, dim)  # keeps how large values are, which a connector's norm takes away
        self.position = nn.Parameter(torch.randn(count, dim) * 0.5)
        self.time = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.head = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, values)
        )  # fmt: skip

    # The network: what the picture will be, given a noisy one.

    def embed_caption(self, model: FusionProtocol, words: TextInput, blank: Tensor) -> Tokens:
        """Read captions (B, L); of those in ``blank`` (B,) only the start token is seen."""
        first = torch.arange(words.ids.shape[1], device=words.ids.device) == 0
        tokens = model.embed_text(words._replace(mask=words.mask & (first | ~blank[:, None])))
        x, mask = tokens.embeddings, attention_mask(tokens, tokens)
        for layer in self.reader:
            x = layer(x, mask)
        return tokens.with_embeddings(self.norm(x))

    def picture(self, model: FusionProtocol, caption: Tokens, noisy: Tensor, time: Tensor) -> Tensor:
        """Predict the patches (B, N, V) of the picture that lies behind ``noisy`` ones at times (B,).

        Raises:
            InputError: the image encoder gives other tokens than the patches.
        """
        x = self.canvas(noisy) + self.position + self.time(waves(time, self.position.shape[1]))[:, None]
        seen = model.encode_image(noisy).embeddings  # nothing, where the fusion has no image encoder
        if seen.shape[1]:
            if seen.shape != x.shape:
                raise InputError(
                    f"drawing needs model.image_encoder Patches with size={self.size} and patch={self.patch}, and a "
                    f"connector that keeps {x.shape[1]} tokens apart: it has {seen.shape[1]}"
                )
            x = x + seen
        states = model.fuse(caption, Tokens.of_image(x)).embeddings
        unread = caption.embeddings.sum() * 0  # so that nothing is without a gradient where the fusion reads no caption
        predicted: Tensor = self.head(states) + unread
        return predicted

    def velocity(self, model: FusionProtocol, caption: Tokens, noisy: Tensor, time: Tensor) -> Tensor:
        """Return where noisy patches (B, N, V) at times (B,) go."""
        left = (1 - time).clamp(min=SOONEST)[:, None, None]
        return (self.picture(model, caption, noisy, time).float() - noisy) / left

    def losses(self, model: FusionProtocol, batch: Batch, blank: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return the squared error (B,) of the velocity, given noise (B, N, V) and times (B,)."""
        patches = cut(batch.image.float() / 127.5 - 1, self.patch)
        noisy = between(noise, patches, time)
        left = (1 - time).clamp(min=SOONEST)[:, None, None]
        wanted = (patches - noisy) / left
        found = self.velocity(model, self.embed_caption(model, batch.words, blank), noisy, time)
        return (found - wanted).square().mean((1, 2))

    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """See ``Task.loss``."""
        device = batch.image.device
        blank = torch.rand(batch.size, device=device) < self.caption_dropout
        noise = torch.randn(batch.size, *self._shape(), device=device)
        time = (torch.randn(batch.size, device=device) + self.centre).sigmoid()
        return self.losses(model, batch, blank, noise, time).mean()

    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """See ``Task.forward_once``: the picture is predicted one time."""
        self.losses(model, batch, *self._of_keys(batch))

    def _shape(self) -> tuple[int, int]:
        return (self.size // self.patch) ** 2, 3 * self.patch**2

    def _of_keys(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return no blanks, and noise and times that are functions of the samples' keys."""
        device = batch.image.device
        blank = torch.zeros(batch.size, dtype=torch.bool, device=device)
        return blank, keyed_noise(batch.keys, self._shape()).to(device), keyed_times(batch.keys).to(device)

    # Drawing and what is said of it.

    @torch.no_grad()
    def draw(self, model: FusionProtocol, words: TextInput, keys: Sequence[str], flow: Flow | None = None) -> Tensor:
        """Draw captions (B, L): uint8 pictures (B, 3, size, size), each a function of its caption and its key."""
        none = torch.zeros(len(keys), dtype=torch.bool, device=words.ids.device)
        asked, free = self.embed_caption(model, words, none), self.embed_caption(model, words, ~none)
        patches = (flow or self.flow)(
            lambda x, time: self.velocity(model, asked, x, time),
            lambda x, time: self.velocity(model, free, x, time),
            keyed_noise(keys, self._shape()).to(words.ids.device),
        )
        return ((join(patches, self.patch) + 1) * 127.5).round().clamp(0, 255).byte()

    def produce_images(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the drawn images (B, 3, size, size) of a batch's captions, uint8."""
        return self.draw(model, batch.words, batch.keys)

    @torch.no_grad()
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """See ``Task.predict``: what the judge saw in the drawn picture."""
        losses = self.losses(model, batch, *self._of_keys(batch)).tolist()
        seen = self.judge.look(self.produce_images(model, batch))
        real = self.judge.look(batch.image).features
        self._features |= dict(zip(batch.keys, zip(real, seen.features, strict=True), strict=True))
        rows = []
        for i, (said, sure, loss) in enumerate(zip(seen.said, seen.sure.tolist(), losses, strict=True)):
            references = batch.references[i]
            asked = batch.keys[i], batch.groups[i], batch.prompts[i]
            rows.append(
                Prediction(*asked, said, references, self._score(said, references), sure, loss, batch.pictures[i])
            )
        return rows

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``Task.score``: says anew whether what was seen is what was asked."""
        return [row._replace(score=self._score(row.prediction, row.references)) for row in rows]

    def _score(self, said: str, references: Sequence[str]) -> float:
        return self.judge.right(said, references[0])["score"] if references else math.nan

    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``Task.aggregate``: the distance of what was drawn from the real pictures is computed besides."""
        found = {key: pair for part in all_gather_objects(self._features) for key, pair in part.items()}
        self.distance, self._features = distance([found[row.key] for row in rows]), {}
        return self.score(rows)

    def extra_metrics(self) -> dict[str, float]:
        """Return the Fréchet distance of the last evaluation and the accuracy of the judge."""
        return {f"FID({self.judge.name()})": self.distance, "judge_accuracy": self.judge.accuracy}

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``Task.compute_metrics``: the judge's, and the loss."""
        found = [self.judge.right(row.prediction, row.references[0]) for row in rows if row.references]
        names = dict.fromkeys(name for one in found for name in one)
        figures = {name: mean(one[name] for one in found) for name in names} or {"score": math.nan}
        return figures | {"loss": mean(row.loss for row in rows)}

    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """See ``Task.top_answers``: what the judge sees in the drawn picture."""
        seen = self.judge.look(self.produce_images(model, batch))
        return [[pair] for pair in zip(seen.said, seen.sure.tolist(), strict=True)]

    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """See ``Task.with_targets``: a drawing has no other target than its picture."""
        return batch

    def signature(self, split: str) -> str:
        """See ``Task.signature``."""
        flow = f"{self.flow.method}-{self.flow.steps}-guidance-{self.flow.guidance:g}"
        return signature_of("drawn as asked", scorer=self.judge.name(), decoding=flow, split=split)


def waves(time: Tensor, dim: int) -> Tensor:
    """Return sines and cosines (B, dim) of times (B,), as of positions (Vaswani et al. 2017)."""
    half = (dim + 1) // 2
    speeds = torch.exp(torch.arange(half, device=time.device) * (-math.log(1000.0) / half)) * 100
    angles = time[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :dim]


class _Given(nn.Module):
    """Features that were computed already, where torchmetrics would compute them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        return features


def distance(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the Fréchet distance (Heusel et al. 2017) of features (F,), real and drawn; NaN below two pairs."""
    if len(pairs) < 2:
        return math.nan
    metric = FrechetInceptionDistance(feature=_Given(len(pairs[0][0])))
    for features, real in zip(zip(*pairs, strict=True), (True, False), strict=True):
        metric.update(torch.stack(features).double(), real=real)
    return float(metric.compute())
