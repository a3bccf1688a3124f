"""Searches a set of images for those that match a text best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from velm_lightning.data.collate import Texts
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.data.images.store import read_image
from velm_lightning.fusion import Fusion
from velm_lightning.inspection.nearest import Nearest
from velm_lightning.io.configurable import Configurable
from velm_lightning.io.threads import threads
from velm_lightning.tasks.retrieval import Retrieval
from velm_lightning.types import ImageTransform, InputError, Sample, TextInput, Tokens


class Hit(NamedTuple):
    """An image that matches a text.

    Attributes:
        picture: the image file.
        similarity: cosine similarity of the image's and the text's vector.
        together: logit of the fused pair; None for an image that is not in the shortlist.
    """

    picture: Path
    similarity: float
    together: float | None


class PictureVectors(Configurable, nn.Module):
    """Wraps a trained model as an image encoder with one output token: the image's retrieval vector.

    Args:
        model: any fusion of images and texts that was trained on ``Retrieval``, by itself or in a ``Mixture``.

    Raises:
        InputError: the model was not trained on retrieval, or is a control that ignores a modality.
    """

    frozen = True

    def __init__(self, model: Fusion) -> None:
        super().__init__()
        task = next((part for part in model.task.modules() if isinstance(part, Retrieval)), None)
        if task is None:
            raise InputError(f"the checkpoint's task is {type(model.task).__name__}: search needs Retrieval")
        if hidden := {"image", "text"} - set(model.modalities):
            raise InputError(f"the checkpoint's {type(model).__name__} sees no {hidden.pop()}, so it cannot search")
        self.model, self.task = model, task
        self.transform: ImageTransform = model.transform

    def forward(self, image: Tensor) -> Tokens:
        """Encode uint8 images (B, 3, S, S) as one unit vector each, (B, 1, W)."""
        return Tokens.of_image(self.task.image_vectors(self.model.encode_image(image))[:, None])


class PictureIndex:
    """The vectors of images, cached on disk as float16 by the content of image and model.

    A query takes a shortlist of images by cosine similarity with the text, then re-ranks it by the logits of the fused
    pairs, as the evaluation of ``Retrieval`` does.

    Args:
        model: the model, as ``PictureVectors`` accepts it.
        pictures: image files.
        cache_dir: folder of the vectors; None takes the default of ``FeatureStore``.
        nearest: the search for nearest vectors: exact by default, or approximate.

    Attributes:
        made: number of images that were encoded because their vectors were not in the cache.

    Raises:
        InputError: the model cannot search, an image cannot be read, or the vectors cannot be written.
    """

    def __init__(
        self,
        model: Fusion,
        pictures: Sequence[Path],
        cache_dir: Path | None = None,
        nearest: type[Nearest] = Nearest,
    ) -> None:
        self.encoder = PictureVectors(model.eval())
        vectors = FeatureStore(pictures, self.encoder, cache_dir)
        self.pictures, self.made, self._nearest = list(pictures), vectors.num_computed, nearest(vectors)

    @torch.inference_mode()
    def best(self, text: str, top: int) -> list[Hit]:
        """Return the ``top`` images for a text, best first."""
        model, task = self.encoder.model, self.encoder.task
        sample = Sample("query", Path(), text, None, ())
        words = Texts([sample], model.vocabulary).batch([0], torch.empty(1)).to(model.device).words
        vector = task.text_vectors(model, model.encode_text(model.embed_text(words)))  # (1, W)
        indices, cosines = self._nearest(vector, max(top, task.shortlist))
        hits = [Hit(self.pictures[index], cosine, None) for index, cosine in zip(indices, cosines, strict=True)]
        return [*self._rerank(hits[: task.shortlist], words), *hits[task.shortlist :]][:top]

    def _rerank(self, hits: Sequence[Hit], words: TextInput) -> Sequence[Hit]:
        """Sort the shortlist by the logits of the fused pairs, in descending order."""
        if not hits:
            return hits
        model, task = self.encoder.model, self.encoder.task
        pixels = torch.stack([read_image(hit.picture, model.transform) for hit in hits]).to(model.device)
        image, text = model.encode_image(pixels), model.encode_text(model.embed_text(words))
        rows = torch.arange(len(hits), device=model.device)
        images, texts = task.vectors(model, image, text)
        logits = task.similarity(images, texts)[:, 0] + task.correction(model, image, text, rows, rows * 0)
        order = logits.argsort(descending=True, stable=True).tolist()
        return [hits[index]._replace(together=float(logits[index])) for index in order]


def readable(pictures: Sequence[Path], transform: ImageTransform) -> Iterator[Path]:
    """Yield the image files that can be read; every file is decoded to find out."""

    def can_be_read(path: Path) -> bool:
        try:
            read_image(path, transform)
        except InputError:
            return False
        return True

    with threads() as pool:
        yield from (path for path, readable in zip(pictures, pool.map(can_be_read, pictures), strict=True) if readable)
