"""Heads that turn states into words."""

from __future__ import annotations

from torch import nn

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.types import InputError


def tied_head(text_encoder: TextEncoder) -> tuple[nn.Module, nn.Module]:
    """Return a layer of its own and a vocabulary head that shares the word embedding (Press & Wolf 2017)."""
    dim, embedding = text_encoder.dim, text_encoder.embedding
    turn = nn.Sequential(nn.Linear(dim, embedding.embedding_dim), nn.LayerNorm(embedding.embedding_dim))
    head = nn.Linear(embedding.embedding_dim, embedding.num_embeddings)
    head.weight = embedding.weight
    nn.init.zeros_(head.bias)
    return turn, head


def pretrained_head(text_encoder: TextEncoder) -> tuple[nn.Module, nn.Module]:
    """Return nothing and the head that a causal language model was pretrained with.

    Raises:
        InputError: the text encoder has none.
    """
    found = text_encoder.lm_head
    if found is None:
        raise InputError(f"task.head is 'own', but {type(text_encoder).__name__} has no vocabulary head: use 'tied'")
    return nn.Identity(), found
