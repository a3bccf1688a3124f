"""A check, made when a Hugging Face text model is built, that its hidden states equal those of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from typing_extensions import override

from velm_lightning.encoders.layer_control import LayerControl, no_layers
from velm_lightning.encoders.text.attention_interface import CHECKED
from velm_lightning.io import hub
from velm_lightning.nn.attention import record_attention
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import InputError, Tokens

if TYPE_CHECKING:
    from velm_lightning.encoders.text.pretrained import HFTextEncoder

TOKENS, PROMPT = 5, 3
EQUAL, SAME = 1e-4, 1e-5
"""Relative tolerances for hidden states of equivalent and of identical computations."""


def own_states(model: Any, ids: Tensor, positions: Tensor) -> Tensor:
    """Return the hidden states (B, N, D) of ids (B, N) from transformers with its eager attention."""
    with _attention(model, "eager"):
        options = {"attention_mask": torch.ones_like(ids), "position_ids": positions, "use_cache": False}
        states: Tensor = model(input_ids=ids, **options).last_hidden_state
    return states


@contextmanager
def _attention(model: Any, name: str) -> Iterator[None]:
    """Switch a model to another attention implementation inside the context."""
    previous = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(previous)


@torch.no_grad()
def check_trunk(encoder: HFTextEncoder) -> bool:
    """Compare hidden states of a few tokens, with padding and with a cache, to those of transformers.

    Returns:
        whether the model is causal.

    Raises:
        InputError: the model has state other than keys and values, passes its attention an unsupported argument, uses
            another attention, or fails.
    """
    try:
        causal, problem = _compare(encoder)
    except Exception as error:  # models raise different errors for unexpected inputs
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise _refusal(encoder, f"{kind}{hub.reason(error)}") from error
    if problem:
        raise _refusal(encoder, problem)
    return causal


def _compare(encoder: HFTextEncoder) -> tuple[bool, str]:
    """Return whether a model is causal, and a description of the problem or an empty string."""
    problem = _extra_state(encoder.config)
    if problem:
        return encoder.causal, problem
    size = encoder.embedding.weight.shape[0]
    ids = (torch.arange(TOKENS, device=encoder.embedding.weight.device)[None] + size // 2) % size
    positions = torch.arange(TOKENS, device=ids.device)[None] + encoder.first_position
    reference = own_states(encoder.model, ids, positions)[0]
    causal = _close(own_states(encoder.model, ids[:, :1], positions[:, :1])[0], reference[:1], SAME)
    with _attention(encoder.model, CHECKED), record_attention() as maps:
        padded, whole, decoded = _padded(encoder, ids[0]), _whole(encoder, ids), _decoded(encoder, ids)
        words = _words(encoder, ids)
        encoder.trunk(
            words.with_embeddings(words.embeddings.roll(1, 1) - words.embeddings)
        )  # vectors of no word, like image tokens
    if not maps:
        return causal, "its layers do not call the attention interface of transformers"
    if not all(_close(states, reference) for states in padded):
        return causal, "its hidden states differ from those that transformers computes"
    return causal, "" if _close(decoded, whole) else "decoding word by word differs from a single forward pass"


_KEYS_AND_VALUES = ("DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer")
"""Classes of the caches of transformers that hold only keys and values, or nothing; older versions lack the last."""


def _extra_state(config: Any) -> str:
    """Describe the layers that cache more than keys and values in transformers, or return an empty string."""
    from transformers.cache_utils import DynamicCache

    kinds = [type(layer).__name__ for layer in DynamicCache(config=config).layers]
    places = [place for place, kind in enumerate(kinds) if kind not in _KEYS_AND_VALUES]
    names = ", ".join(sorted({kinds[place] for place in places}))
    return f"layers {places} cache more than keys and values for decoding ({names})" if places else ""


def _padded(encoder: HFTextEncoder, ids: Tensor) -> Tensor:
    """Return the states (2, N, D) of tokens (N,) with padding at the end, and at the start and in between."""
    valid = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1, 1]], device=ids.device).bool()
    padded = torch.zeros_like(valid, dtype=torch.long).masked_scatter(valid, ids.repeat(2))
    tokens = Tokens(encoder.embedding(padded), valid, torch.zeros_like(padded))
    return encoder.trunk(tokens).embeddings[valid].view(2, len(ids), -1)


def _words(encoder: HFTextEncoder, ids: Tensor) -> Tokens:
    """Return the embedded tokens (1, N), the first ``PROMPT`` of them a prompt."""
    block = (torch.arange(TOKENS, device=ids.device)[None] - PROMPT + 1).clamp(min=0)
    return Tokens(encoder.embedding(ids), torch.ones_like(ids).bool(), block)


def _whole(encoder: HFTextEncoder, ids: Tensor) -> Tensor:
    return encoder.trunk(_words(encoder, ids)).embeddings


def _decoded(encoder: HFTextEncoder, ids: Tensor) -> Tensor:
    """Return the same states (1, N, D), computed word by word after the prompt."""
    words, cache = _words(encoder, ids), Cache(TOKENS - PROMPT)
    steps = [(0, PROMPT), *((place, place + 1) for place in range(PROMPT, TOKENS))]
    parts = (words.slice(start, end) for start, end in steps)
    return torch.cat([encoder.trunk(part, cache).embeddings for part in parts], 1)


class _Apart(LayerControl):
    """Restricts every token to itself in all layers."""

    @override
    def before(self, index: int, states: Tensor) -> Tensor:
        if states.ndim != 3 or states.shape[1] != TOKENS:
            raise InputError(f"layer {index} takes a tensor of shape {tuple(states.shape)} first")
        return states

    @override
    def visible(self, index: int, queries: Tokens, keys: Tokens) -> Tensor:
        return torch.eye(TOKENS, device=keys.mask.device).bool()[None]


@torch.no_grad()
def check_layers(encoder: HFTextEncoder) -> None:
    """Check that a control acts on every layer of a model and on its attention.

    Raises:
        InputError: it does not.
    """
    training = encoder.training
    encoder.eval()
    ids = torch.arange(TOKENS, device=encoder.embedding.weight.device)[None] % encoder.embedding.weight.shape[0]
    words = _words(encoder, ids)
    others = words.embeddings.clone()
    others[:, 0] = -others[:, 0]
    problem = ""
    try:
        states, changed = (
            encoder.trunk(words.with_embeddings(x), control=_Apart()).embeddings[:, 1:]
            for x in (words.embeddings, others)
        )
        if not _close(changed, states):
            problem = "tokens reach each other outside of the attention of the layers"
    except InputError as error:
        problem = str(error)
    encoder.train(training)
    if problem:
        raise no_layers(encoder.config.model_type, problem)


def _close(actual: Tensor, expected: Tensor, tolerance: float = EQUAL) -> bool:
    return bool((actual - expected).norm() <= tolerance * expected.norm())


def _refusal(encoder: HFTextEncoder, problem: str) -> InputError:
    return InputError(
        f"text_encoder: a {encoder.config.model_type} cannot be used here: {problem}: choose another model"
    )
