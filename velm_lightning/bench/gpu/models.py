"""The models that are measured, with random weights, and their batches."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import torch

from velm_lightning.bench.gpu.flops import Shapes, Tower
from velm_lightning.encoders import (
    HFImageEncoder,
    HFTextEncoder,
    ImageEncoder,
    SmallViT,
    TextEncoder,
    TransformerTextEncoder,
)
from velm_lightning.fusion import Fusion
from velm_lightning.tasks import Generation
from velm_lightning.text.vocabulary import SPECIALS, Vocabulary, train_tokenizer
from velm_lightning.types import Batch


class Pair(NamedTuple):
    """An image encoder and a text trunk with their sizes.

    Attributes:
        name: name in tables.
        image: creates the image encoder.
        text: creates the text encoder.
        image_tower: sizes of the image encoder.
        text_tower: sizes of the text trunk.
        size: side of an image in pixels.
        patch: side of a patch in pixels.
        words: size of the vocabulary.
        prompt: tokens of a prompt.
        target: tokens of a target sentence.
    """

    name: str
    image: Callable[[], ImageEncoder]
    text: Callable[[], TextEncoder]
    image_tower: Tower
    text_tower: Tower
    size: int
    patch: int
    words: int
    prompt: int
    target: int

    @property
    def shapes(self) -> Shapes:
        """The numbers of tokens of a sample."""
        patches = (self.size // self.patch) ** 2
        return Shapes(patches, 3 * self.patch**2, self.prompt + self.target, self.target, self.words)

    def build(self, kind: type[Fusion]) -> Fusion:
        """Return a fusion of the two encoders."""
        known: dict[str, Any] = {"heads": max(1, self.text_tower.dim // 64), "dropout": 0.0}
        more = {name: known[name] for name in known if name in signature(kind).parameters}
        return kind(
            vocabulary=vocabulary(self.words),
            image_encoder=self.image(),
            text_encoder=self.text(),
            task=Generation(),
            **more,
        )

    def batch(self, size: int) -> Batch:
        """Return samples with random images, prompts and targets, all of the same length."""
        length, empty = self.prompt + self.target, ("",) * size
        image = torch.randint(256, (size, 3, self.size, self.size), dtype=torch.uint8)
        ids = torch.randint(len(SPECIALS), self.words, (size, length))
        blocks = (torch.arange(length) - self.prompt + 1).clamp(min=0).repeat(size, 1)
        keys = tuple(map(str, range(size)))
        answers = torch.zeros(size, 0)
        valid, marks = torch.ones_like(ids).bool(), ids[:, :0]
        texts = (empty, ((),) * size, empty, keys)
        return Batch(keys, image, ids, valid, blocks, answers, *texts, blocks > 0, marks, marks)


def vocabulary(words: int) -> Vocabulary:
    """Return a vocabulary of ``words`` tokens."""
    return Vocabulary(train_tokenizer((f"w{i}" for i in range(words - len(SPECIALS))), size=words))


def transformers_pair(name: str, dim: int, depth: int, size: int, patch: int, words: int, target: int) -> Pair:
    """Return a Vision Transformer and a Transformer of this package with the same width and depth."""
    heads = max(1, dim // 64)
    return Pair(
        name,
        lambda: SmallViT(size, patch, dim, depth, heads),
        lambda: TransformerTextEncoder(dim, depth, heads, dropout=0.0),
        Tower.plain(dim, depth),
        Tower.plain(dim, depth),
        size,
        patch,
        words,
        prompt=16,
        target=target,
    )


def hugging_face_pair(name: str, image: Tower, text: Tower, size: int, patch: int, words: int, target: int) -> Pair:
    """Return an image tower like SigLIP's and a language model like Llama, from configurations."""

    def config(tower: Tower, **more: Any) -> dict[str, Any]:
        heads = max(1, tower.dim // 64)
        sizes = {"hidden_size": tower.dim, "num_hidden_layers": tower.depth, "intermediate_size": tower.inner}
        return {**sizes, "num_attention_heads": heads, **more}

    vision = config(image, model_type="siglip_vision_model", image_size=size, patch_size=patch, vision_use_head=False)
    groups = max(1, text.key_value // 64)
    language = config(text, model_type="llama", num_key_value_heads=groups, max_position_embeddings=2048)
    return Pair(
        name,
        lambda: HFImageEncoder(config=vision, trainable=-1),
        lambda: HFTextEncoder(config=language),
        image,
        text,
        size,
        patch,
        words,
        prompt=16,
        target=target,
    )


class Models(NamedTuple):
    """The pairs of one run: both kinds, and the three sizes over which growth is measured."""

    plain: Pair
    hugging_face: Pair
    growing: tuple[Pair, Pair, Pair]


def models(small: bool) -> Models:
    """Return the models of ``velm bench gpu``, or tiny ones."""
    if small:
        tiny = [transformers_pair(f"{dim} wide", dim, 1, 32, 16, 64, 8) for dim in (64, 128, 192)]
        text = Tower(128, 2, 192, 64, maps=3)
        other = hugging_face_pair("SmolLM2-like + SigLIP-like", Tower.plain(64, 1), text, 32, 16, 64, 8)
        return Models(tiny[0], other, (tiny[0], tiny[1], tiny[2]))
    grown = [
        transformers_pair(f"ViT-{letter}/16 + {depth} layers of {dim}", dim, depth, 224, 16, 32_000, 48)
        for letter, dim, depth in (("S", 384, 12), ("B", 768, 12), ("L", 1024, 24))
    ]
    text = Tower(576, 30, 1536, 192, maps=3)
    other = hugging_face_pair("SmolLM2-135M + SigLIP-B/16 sizes", Tower.plain(768, 12), text, 224, 16, 49_152, 48)
    return Models(grown[1], other, (grown[0], grown[1], grown[2]))
