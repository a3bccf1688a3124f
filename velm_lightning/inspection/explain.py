"""Maps of image attention and of gradient evidence (Grad-CAM), which exists for every fusion and encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from velm_lightning.fusion import Fusion
from velm_lightning.nn.attention import record_attention
from velm_lightning.types import Batch, Tokens


class Maps(NamedTuple):
    """Maps per sample on the grid of the image tokens.

    Attributes:
        attention: (B, h, w) share of the last layer's attention, mean over heads; None if no
            layer attends to the image.
        evidence: (B, h, w) Grad-CAM on the image tokens (Selvaraju et al. 2017): how much each supports the answer;
            None if the answer does not depend on the image.
    """

    attention: Tensor | None
    evidence: Tensor | None


class _WithImageTokens:
    """A model with given image tokens, so that gradients can be computed with respect to them."""

    def __init__(self, model: Fusion, image: Tokens) -> None:
        self.model, self.image = model, image

    def __call__(self, batch: Batch) -> Tokens:
        return self.model.fuse(self.encode_images(batch), self.model.embed_text(batch.words))

    def encode_images(self, batch: Batch) -> Tokens:
        """Return the given tokens with the blocks and places of the batch."""
        return type(self.model).encode_images(self, batch)  # type: ignore[arg-type]

    def encode_image(self, image: Tensor) -> Tokens:
        """Return the given tokens after the connector; ``image`` is ignored."""
        tokens: Tokens = self.model.connector(self.image)
        return tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def explain(model: Fusion, batch: Batch, answers: Sequence[str]) -> Maps:
    """Return the maps of ``model`` for ``answers``, one answer per sample.

    Clips are averaged over their frames; of the images of a conversation the maps are of the last.
    """
    training = model.training
    model.eval()
    with torch.no_grad():
        image, text = model.encode_images(batch), model.embed_text(batch.words)
        with record_attention() as maps:
            model.fuse(image, text)
        image_attention = model.image_attention(maps, image, text)
        attention = None if image_attention is None else model.pool(text.with_embeddings(image_attention))  # (B, M)
        marked = bool(batch.image_places.shape[1])
        pixels = batch.image.flatten(0, 1) if marked else batch.image
        cells = model.image_encoder(pixels) if image.embeddings.shape[1] else image
    evidence = None
    if image.embeddings.shape[1]:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # its RNNs have no backward in eval mode
            leaf = cells.embeddings.detach().requires_grad_()
            evidence_sum = model.task.evidence(_WithImageTokens(model, cells.with_embeddings(leaf)), batch, answers)
            (gradient,) = torch.autograd.grad(evidence_sum, leaf, allow_unused=True)
        evidence = None if gradient is None else (leaf.detach() * gradient).sum(-1).relu()
    if attention is not None and attention.numel() != cells.mask.numel():
        attention = None  # the tokens attended to are not positions of the image
    model.train(training)
    return Maps(*(None if scores is None else _on_grid(scores, batch, model.grid) for scores in (attention, evidence)))


def _on_grid(values: Tensor, batch: Batch, grid: tuple[int, int]) -> Tensor:
    """Return the values of the image tokens on their grid (B, h, w)."""
    frames = values.reshape(batch.size, -1, *grid)
    if not batch.image_places.shape[1]:
        return frames.mean(1)
    return frames[torch.arange(batch.size, device=frames.device), batch.last_images]
