"""Hooks through which a ``LayerControl`` acts on the layers of Hugging Face models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from velm_lightning.encoders.layer_control import LayerControl
from velm_lightning.nn.attention import narrowed
from velm_lightning.types import InputError, Tokens

_MARK = "_before_layer"
"""Attribute of a layer that has the hook."""


class ControlledPass:
    """The layers of one forward pass, which run in order under a control.

    Args:
        control: acts on the layers.
        queries: the tokens (B, N) of this pass.
        keys: mask and block ids (B, M) of these tokens and those of earlier decoding steps.
    """

    def __init__(self, control: LayerControl, queries: Tokens, keys: Tokens) -> None:
        self.control, self.queries, self.keys = control, queries, keys
        self.started = 0  # number of layers that have started

    def enter(self, states: Tensor) -> Tensor:
        """Start the next layer; return the input (B, N, D) that replaces ``states``."""
        self.started += 1
        return self.control.before(self.started - 1, states)

    def narrow(self, mask: Tensor | None) -> Tensor | None:
        """Return the mask (B, 1, N, M) of an attention of the current layer within the visible keys."""
        return narrowed(mask, self.control.visible(self.started - 1, self.queries, self.keys), self.queries.embeddings)


_pass: ContextVar[ControlledPass | None] = ContextVar("pass", default=None)


@contextmanager
def controlling(control: LayerControl | None, queries: Tokens, keys: Tokens, layers: int) -> Iterator[None]:
    """Let a control act on the layers of the model that runs inside the context; None means no control.

    Raises:
        InputError: the number of layers that ran is not ``layers``.
    """
    current = None if control is None else ControlledPass(control, queries, keys)
    reset = _pass.set(current)
    try:
        yield
    finally:
        _pass.reset(reset)
    if current is not None and current.started != layers:
        raise InputError(f"{current.started} of its {layers} layers run one after the other")


def current_pass() -> ControlledPass | None:
    """Return the forward pass that runs under a control, or None."""
    return _pass.get()


def hook(layers: Iterable[nn.Module]) -> None:
    """Register the hook with layers, once; it has no effect outside of ``controlling``.

    The hook stays, because compiled layers do not notice hooks that are added or removed after they were compiled.
    """
    for layer in layers:
        if not hasattr(layer, _MARK):
            layer.register_forward_pre_hook(_enter_layer, with_kwargs=True)
            setattr(layer, _MARK, True)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _enter_layer(layer: nn.Module, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    current = _pass.get()
    if current is None:
        return None
    if args:
        return (current.enter(args[0]), *args[1:]), dict(options)
    if "hidden_states" not in options:
        raise InputError(f"its {type(layer).__name__} takes no hidden_states")
    return (), {**options, "hidden_states": current.enter(options["hidden_states"])}
