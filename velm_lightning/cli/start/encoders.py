"""The encoders that ``velm init`` proposes: pretrained and frozen if their weights can be had."""

from __future__ import annotations

from velm_lightning.cli.start.proposal import Proposal
from velm_lightning.cli.start.tasks import TASKS, Part, part
from velm_lightning.cli.start.weights import Weights, how_image, how_text
from velm_lightning.io.packaged import MINILM

SIDE = 224
"""Pixels of the images of MobileNetV2's training."""


def image_encoder(proposal: Proposal, weights: Weights) -> tuple[Part, str]:
    """Return the image encoder and the sentence about it."""
    if weights.image:
        encoder = part("TorchvisionCNN", name="mobilenet_v2", weights="IMAGENET1K_V1", size=SIDE)
        note = f"images: MobileNetV2 pretrained on ImageNet, frozen, at {SIDE} px; its features are computed once"
        return encoder, note
    size = min(128, max(32, proposal.side // 32 * 32))
    widths = [32, 64, 128, 128, 128][: 5 if size > 96 else 4 if size > 48 else 3]
    note = (
        f"images: a small CNN from scratch at {size} px, because torchvision's weights cannot be had here: on a few "
        f"thousand photos it hardly learns what they show; with {how_image()}, `velm init` proposes a pretrained "
        "encoder"
    )
    return part("SmallCNN", size=size, widths=widths), note


def text_encoder(proposal: Proposal, weights: Weights) -> tuple[Part, list[str]]:
    """Return the text encoder and the sentences about it."""
    scratch = part("RNNTextEncoder", dim=256, dropout=0.3)
    if TASKS[proposal.task].read not in proposal.columns:
        return scratch, []
    if weights.text:
        frozen = part("HFTextEncoder", name=MINILM, trainable=0, pooling="mean", keep_states=True)
        note = "texts: MiniLM, a pretrained sentence encoder, frozen; each text is encoded once and kept in memory"
        return frozen, [note]
    note = (
        f"texts: an LSTM from scratch, because MiniLM's weights cannot be had here; with {how_text()}, `velm init` "
        "proposes a pretrained encoder, which needs fewer samples"
    )
    return scratch, [note]
