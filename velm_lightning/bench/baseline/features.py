"""Features of the baseline: one vector per text and per image, from frozen pretrained models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from velm_lightning.bench.machine import device
from velm_lightning.data.images.decode import read_image
from velm_lightning.data.images.store import distinct
from velm_lightning.encoders import TorchvisionCNN
from velm_lightning.io import hub
from velm_lightning.io.threads import threads
from velm_lightning.types import Sample

_BATCH = 32


class Features(NamedTuple):
    """The features of a split.

    Attributes:
        texts: (N, D) a vector per sample; D is 0 if all texts are the same.
        images: (I, E) a vector per distinct image, or per clip.
        rows: (N,) the image of each sample.
    """

    texts: Tensor
    images: Tensor
    rows: Tensor


class Extractor:
    """Computes features as sentence-transformers and torchvision do.

    Args:
        text: Hub name or folder of a text model.
        image: Name of a torchvision classifier.
        weights: Name of its weights; None means random weights.

    Raises:
        InputError: A model cannot be loaded.
    """

    def __init__(self, text: str, image: str, weights: str | None) -> None:
        from tokenizers import Tokenizer
        from transformers import AutoModel

        self.tokenizer = Tokenizer.from_str(hub.tokenizer(text)["tokenizer"])
        self.tokenizer.enable_truncation(128)
        self.tokenizer.enable_padding()
        self.text: Any = hub.model(AutoModel, hub.configuration(text), text).to(device()).eval()
        self.image = TorchvisionCNN(image, weights).to(device()).eval()

    @torch.no_grad()
    def features(self, samples: Sequence[Sample]) -> Features:
        """Return the features of a split."""
        images, rows = distinct([sample.image for sample in samples])
        vectors = self.of_images(images)
        if rows.ndim == 2:  # clips: the mean of their frames
            vectors, rows = vectors[rows].mean(1), torch.arange(len(rows))
        texts = [sample.text for sample in samples]
        empty = torch.zeros(len(texts), 0, device=device())
        return Features(self.of_texts(texts) if len(set(texts)) > 1 else empty, vectors, rows.to(device()))

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the mean (N, D) of the tokens of each text; texts of similar length share a batch."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        parts = []
        for start in range(0, len(order), _BATCH):
            encoded = self.tokenizer.encode_batch([texts[index] for index in order[start : start + _BATCH]])
            ids = torch.tensor([each.ids for each in encoded], device=device())
            mask = torch.tensor([each.attention_mask for each in encoded], device=device())
            states = self.text(input_ids=ids, attention_mask=mask).last_hidden_state
            parts.append((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
        return torch.cat(parts)[torch.tensor(order).argsort()]

    def of_images(self, images: Sequence[Any]) -> Tensor:
        """Return the mean (I, E) of the last feature map of each image."""
        parts = []
        with threads() as pool:
            for start in range(0, len(images), _BATCH):
                read = pool.map(lambda image: read_image(image, self.image.transform), images[start : start + _BATCH])
                parts += [self.image(image[None].to(device())).mean() for image in read]
        return torch.cat(parts)
