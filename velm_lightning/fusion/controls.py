"""The two controls, which use only one modality: text only and image only."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.fusion.base import FusionParts
from velm_lightning.fusion.early import EarlyFusion, EarlyParts
from velm_lightning.fusion.meeting import Meeting
from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Batch, InputError, Tokens


class TextOnly(TextFirstFusion):
    """The text encoder without the image: the score that a fusion must exceed to show that it uses the image.

    Args:
        parts: the arguments of ``Fusion``.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.TextOnly(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                       task=velm.Classification(), vocabulary=data.vocabulary)
        >>> model.modalities
        ('text',)
    """

    modalities = ("text",)
    masks_images = True  # it has none

    def __init__(self, **parts: Unpack[FusionParts]) -> None:
        super().__init__(**parts)
        # Unused parameters would count as the model's, and DDP fails on parameters without a gradient.
        self.image_encoder, self.connector = nn.Identity(), nn.Identity()

    @override
    def encode_image(self, image: Tensor) -> Tokens:
        """Return no tokens: (B, 0, D)."""
        weight = self.text_encoder.embedding.weight
        return Tokens.of_image(weight.new_zeros(len(image), 0, self.text_encoder.dim))

    @override
    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Return the states (B, N, D) of the trunk unchanged."""
        return text


class ImageOnly(EarlyFusion):
    """Early fusion with a hidden prompt: its first and last token remain, each replaced by one learned vector.

    The tokens between them are masked, which also hides the length of the prompt. Target words stay visible to the
    words that follow them.

    Args:
        parts: the arguments of ``EarlyFusion``.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.ImageOnly(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                        task=velm.Classification(), vocabulary=data.vocabulary)
        >>> model.modalities
        ('image',)
    """

    modalities = ("image",)
    masks_images = False

    def __init__(self, **parts: Unpack[EarlyParts]) -> None:
        super().__init__(**parts)
        self.hidden = nn.Parameter(torch.randn(self.text_encoder.dim) * 0.02)

    @property
    @override
    def meeting(self) -> Meeting | None:
        return None

    @override
    def encode_images(self, batch: Batch) -> Tokens:
        """Encode the images of a batch; otherwise as ``Fusion.encode_images``.

        Raises:
            InputError: the samples are conversations, whose later questions would stay visible.
        """
        if batch.image_places.shape[1]:
            raise InputError("ImageOnly hides only the first turn of a conversation: choose TextOnly as the control")
        return super().encode_images(batch)

    @override
    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        states = super().fuse(image, self._hide(text), cache)
        return text.with_embeddings(states.embeddings)

    @override
    def pool_text(self, text: Tokens) -> Tensor:
        return super().pool_text(self._hide(text))

    @override
    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        return super().fuse_pairs(image, self._hide(text), images, texts)

    def _hide(self, text: Tokens) -> Tokens:
        prompt = text.block_ids == 0
        valid = prompt & text.mask
        inner = valid & nn.functional.pad(valid[:, 1:], (0, 1))  # all but the last prompt token …
        inner[:, 0] = False  # … and the first
        return Tokens(torch.where(prompt[..., None], self.hidden, text.embeddings), text.mask & ~inner, text.block_ids)
