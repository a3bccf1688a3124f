"""Maps of image attention and of gradient evidence (Grad-CAM), which exists for every fusion and encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

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


@contextmanager
def _with_image_tokens(model: Fusion, image: Tokens) -> Iterator[None]:
    """Let a model use given tokens of its image encoder, so that gradients can be computed with respect to them."""

    def encode_image(_: Tensor) -> Tokens:
        tokens: Tokens = model.connector(image)
        return tokens

    setattr(model, "encode_image", encode_image)  # noqa: B010 - hides the method
    try:
        yield
    finally:
        delattr(model, "encode_image")


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
            with _with_image_tokens(model, cells.with_embeddings(leaf)):
                evidence_sum = model.task.evidence(model, batch, answers)
            (gradient,) = torch.autograd.grad(evidence_sum, leaf, allow_unused=True)
        evidence = None if gradient is None else (leaf.detach() * gradient).sum(-1).relu()
    if attention is not None and attention.numel() != cells.mask.numel():
        attention = None  # the tokens attended to are not positions of the image
    model.train(training)
    return Maps(*(None if scores is None else _on_grid(scores, batch, model.grid) for scores in (attention, evidence)))


def _on_grid(values: Tensor, batch: Batch, grid: tuple[int, int]) -> Tensor:
    """Return the values of the image tokens on their grid (B, h, w), as the mean over frames and depths."""
    images = batch.image_places.shape[1]
    maps = values.reshape(batch.size, max(1, images), -1, *grid).mean(2)
    return maps[torch.arange(batch.size, device=maps.device), batch.last_images] if images else maps[:, 0]
