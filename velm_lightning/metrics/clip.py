"""CLIPScore and RefCLIPScore (Hessel et al. 2021, arXiv:2104.08718): how well a caption fits its picture.

CLIPScore is the cosine of the CLIP vectors of the picture and of the caption after the prompt "A photo depicts",
clipped at 0, times 2.5. RefCLIPScore is the harmonic mean of CLIPScore and of the largest cosine of the caption with a
reference, also clipped at 0. The figures depend on the CLIP model, so its name is part of the signature; published
figures use ViT-B/32 (``openai/clip-vit-base-patch32``) on pictures of its input size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from velm_lightning.io import hub
from velm_lightning.metrics._ngrams import Floats
from velm_lightning.metrics._rows import RowsMetric
from velm_lightning.metrics.captions import Score
from velm_lightning.types import ImageTransform, InputError

WEIGHT, PROMPT = 2.5, "A photo depicts "
T = TypeVar("T")


class Clip:
    """A CLIP model that maps pictures and captions to unit vectors.

    Args:
        name: hub name or folder of a model of the ``clip`` kind, with its tokeniser and image processor.
        batch_size: pictures or captions per batch.
        device: the device of the model.

    Attributes:
        transform: the preprocessing of pictures.

    Raises:
        InputError: If the model cannot be loaded or is not a CLIP model.
    """

    def __init__(self, name: str, batch_size: int = 64, device: str = "cpu") -> None:
        from transformers import AutoModel

        config = hub.configuration(name)
        if config.model_type != "clip":
            raise InputError(f"clip={name!r} is a {config.model_type}, not a CLIP model: CLIPScore is defined on CLIP")
        self.name, self.batch_size = name, batch_size
        self.model: Any = hub.model(AutoModel, config, name).eval().to(device)
        self.transform: ImageTransform = hub.image_transform(name)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(3, 1, 1) * 255
            for values in (self.transform.mean, self.transform.std)
        )
        self._words = Tokenizer.from_str(hub.tokenizer(name)["tokenizer"])
        self._words.enable_truncation(int(config.text_config.max_position_embeddings))
        self._words.enable_padding()  # after the end token, whose causal attention does not see it

    @torch.no_grad()
    def pictures(self, pictures: Iterable[Tensor]) -> Tensor:
        """Return unit vectors (N, D) of uint8 pictures (3, S, S), preprocessed by ``transform``."""
        features = [
            self.model.visual_projection(self.model.vision_model(self._pixels(part)).pooler_output)
            for part in _batches(pictures, self.batch_size)
        ]
        return _unit(features)

    @torch.no_grad()
    def captions(self, captions: Iterable[str]) -> Tensor:
        """Return unit vectors (N, D) of captions, each after the prompt and truncated to the length of the model."""
        features = []
        for part in _batches(captions, self.batch_size):
            encodings = self._words.encode_batch([PROMPT + caption for caption in part])
            ids, valid = (
                torch.tensor([getattr(encoding, field) for encoding in encodings], device=self._mean.device)
                for field in ("ids", "attention_mask")
            )
            states = self.model.text_model(input_ids=ids, attention_mask=valid)
            features.append(self.model.text_projection(states.pooler_output))
        return _unit(features)

    def _pixels(self, pictures: list[Tensor]) -> Tensor:
        return (torch.stack(pictures).to(self._mean) - self._mean) / self._std


class ClipScores(NamedTuple):
    """CLIPScore from 0 to 2.5, and RefCLIPScore, which is missing if there are no references."""

    clip: Score
    ref_clip: Score | None


def clip_score(
    pictures: Iterable[Tensor],
    captions: Sequence[str],
    clip: Clip,
    references: Sequence[Sequence[str]] | None = None,
) -> ClipScores:
    """Score N captions against their images and, if given, against references.

    Args:
        pictures: N uint8 pictures (3, S, S) in the geometry of ``clip.transform``; iterated over once.
        captions: N captions.
        clip: the model.
        references: the reference captions of each picture.

    Raises:
        InputError: If the numbers differ, there are no captions, or a picture has no reference.
    """
    if references is not None and (len(references) != len(captions) or not all(references)):
        raise InputError(f"{len(captions)} captions need as many lists of references, each with at least one caption")
    if not captions:
        raise InputError("no captions to score: the split is empty")
    caption_vectors, picture_vectors = clip.captions(captions), clip.pictures(pictures)
    if len(caption_vectors) != len(picture_vectors):
        raise InputError(
            f"{len(caption_vectors)} captions for {len(picture_vectors)} pictures: give one picture per caption"
        )
    scores = WEIGHT * (caption_vectors * picture_vectors).sum(1).clamp(min=0)  # (N,)
    if references is None:
        return ClipScores(_score(scores), None)
    return ClipScores(_score(scores), _score(_harmonic(scores, _closest(caption_vectors, references, clip))))


class CLIPScore(RowsMetric):
    """`clip_score` over all batches of all processes.

    Args:
        clip: the model, or the name or folder of one.
    """

    higher_is_better = True

    def __init__(self, clip: Clip | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.clip = Clip(clip) if isinstance(clip, str) else clip

    def update(
        self, pictures: Sequence[Tensor], captions: Sequence[str], references: Sequence[Sequence[str]] | None = None
    ) -> None:
        """Add a batch; arguments and errors as in `clip_score`. Either all batches have references or none has."""
        scores = clip_score(pictures, captions, self.clip, references)
        self.keep(zip(*(score.samples.tolist() for score in scores if score is not None), strict=True))

    def compute(self) -> dict[str, Tensor]:
        """Return the means by name, float64 scalars: "CLIPScore", and "RefCLIPScore" if there were references.

        Raises:
            InputError: If no caption was added, or only some captions have references.
        """
        rows = self.kept()
        if len({len(row) for row in rows}) != 1:
            raise InputError(
                f"{len(rows)} captions were added, some of them with references: give references for all or for none"
            )
        names = ("CLIPScore", "RefCLIPScore")
        means = (math.fsum(values) / len(rows) for values in zip(*rows, strict=True))
        return {name: torch.tensor(mean, dtype=torch.float64) for name, mean in zip(names, means, strict=False)}


def _closest(caption_vectors: Tensor, references: Sequence[Sequence[str]], clip: Clip) -> Tensor:
    """Return (N,) the largest cosine of each caption with one of its references, at least 0."""
    owner = torch.tensor(
        [place for place, captions in enumerate(references) for _ in captions], device=caption_vectors.device
    )
    similarity = (clip.captions(chain.from_iterable(references)) * caption_vectors[owner]).sum(1)
    return similarity.new_zeros(len(caption_vectors)).scatter_reduce_(0, owner, similarity, "amax")


def _batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(things)
    while batch := list(islice(iterator, size)):
        yield batch


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    return 2 * a * b / (a + b).clamp(min=torch.finfo(a.dtype).tiny)


def _unit(parts: Sequence[Tensor]) -> Tensor:
    vectors = torch.cat(list(parts)) if parts else torch.empty(0, 1)
    return F.normalize(vectors.double(), dim=1)


def _score(samples: Tensor) -> Score:
    values: Floats = samples.cpu().numpy()
    return Score(float(np.mean(values)), values)
