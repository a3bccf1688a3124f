"""Vocabulary heads, which map states to logits over the vocabulary."""

from __future__ import annotations

from torch import nn

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.types import InputError


def tied_head(text_encoder: TextEncoder) -> tuple[nn.Module, nn.Module]:
    """Return a projection and a vocabulary head that shares the word embedding (Press & Wolf 2017)."""
    dim, embedding = text_encoder.dim, text_encoder.embedding
    projection = nn.Sequential(nn.Linear(dim, embedding.embedding_dim), nn.LayerNorm(embedding.embedding_dim))
    head = nn.Linear(embedding.embedding_dim, embedding.num_embeddings)
    head.weight = embedding.weight
    nn.init.zeros_(head.bias)
    return projection, head


def pretrained_head(text_encoder: TextEncoder) -> tuple[nn.Module, nn.Module]:
    """Return an identity and the vocabulary head of a pretrained causal language model.

    Raises:
        InputError: the text encoder has none.
    """
    head = text_encoder.lm_head
    if head is None:
        name = type(text_encoder).__name__
        raise InputError(f"task.head is 'pretrained', but {name} has no vocabulary head: use 'tied'")
    return nn.Identity(), head
