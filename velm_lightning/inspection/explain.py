"""Where a model looked: attention, and gradient evidence that exists for every fusion and encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from velm_lightning.fusion import Fusion
from velm_lightning.nn.attention import record_attention
from velm_lightning.types import Batch, Tokens


class Maps(NamedTuple):
    """Where a model looked, per sample, on the grid of its image tokens.

    Attributes:
        attention: (B, h, w) share of the last layer's attention, mean over heads; none where nothing attends to images.
        evidence: (B, h, w) Grad-CAM on the image tokens (Selvaraju et al. 2017): how much each spoke for the answer;
            none where the task does not look at the picture.
    """

    attention: Tensor | None
    evidence: Tensor | None


class _Seen:
    """A model whose image encoder's tokens are given, so that gradients can be taken with respect to them."""

    def __init__(self, model: Fusion, image: Tokens) -> None:
        self.model, self.image = model, image

    def __call__(self, batch: Batch) -> Tokens:
        return self.model.fuse(self.encode_image(batch.image), self.model.embed_text(batch.words))

    def encode_image(self, image: Tensor) -> Tokens:
        """Return the tokens that were given, brought to the width of the text."""
        tokens: Tokens = self.model.connector(self.image)
        return tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def explain(model: Fusion, batch: Batch, answers: Sequence[str]) -> Maps:
    """Say where ``model`` looked when it gave ``answers``, one a sample; clips are averaged over their frames."""
    training = model.training
    model.eval()
    with torch.no_grad():
        image, text = model.encode_image(batch.image), model.embed_text(batch.words)
        with record_attention() as maps:
            model.fuse(image, text)
        looked = model.image_attention(maps, image, text)
        attention = None if looked is None else model.pool(text.with_embeddings(looked))  # (B, M)
        cells = model.image_encoder(batch.image) if image.embeddings.shape[1] else image
    evidence = None
    if image.embeddings.shape[1]:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # its RNNs have no backward in eval mode
            leaf = cells.embeddings.detach().requires_grad_()
            held = model.task.evidence(_Seen(model, cells.with_embeddings(leaf)), batch, answers)
            (slope,) = torch.autograd.grad(held, leaf, allow_unused=True)
        evidence = None if slope is None else (leaf.detach() * slope).sum(-1).relu()
    if attention is not None and attention.shape[1] != cells.embeddings.shape[1]:
        attention = None  # what was looked at are not places of the picture
    model.train(training)
    return Maps(*(None if found is None else _on_grid(found, model.grid) for found in (attention, evidence)))


def _on_grid(values: Tensor, grid: tuple[int, int]) -> Tensor:
    frames = values.view(len(values), -1, *grid)
    return frames.mean(1)


def heat_picture(image: Tensor, heat: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Lay a heat map (h, w) over a picture (3, H, W) uint8 and return it as (H, W, 3) uint8."""
    size = list(image.shape[-2:])
    shown = torch.nn.functional.interpolate(heat[None, None].float(), size=size, mode="bicubic", antialias=True)[0, 0]
    shown = ((shown - shown.min()) / (shown.max() - shown.min() + 1e-9)).clamp(0, 1)
    colour = torch.stack([shown, 0.25 * shown, 1 - shown]) * 255
    mixed = 0.55 * image.float() + 0.45 * colour
    return mixed.permute(1, 2, 0).clamp(0, 255).byte().cpu().numpy()


def draw(path: Path, image: Tensor, title: str, maps: Maps) -> None:
    """Write a picture of one sample: what the model saw, its attention and its evidence.

    Args:
        path: a ``.png``, ``.pdf`` or ``.svg`` file.
        image: (3, H, W) uint8, as the model saw it.
        title: question and answer.
        maps: of this one sample.
    """
    panels = [("what the model saw", image.permute(1, 2, 0).numpy())]
    for name, found in (("attention", maps.attention), ("evidence (Grad-CAM)", maps.evidence)):
        if found is not None:
            panels.append((name, heat_picture(image, found[0])))
    figure = Figure(figsize=(3.2 * len(panels), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, wrap=True, parse_math=False)
    for place, (name, picture) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        axes.imshow(picture)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
