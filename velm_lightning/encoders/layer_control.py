"""The way in which a fusion acts on the layers of a text trunk."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import InputError, Tokens


class LayerControl:
    """Changes to the layers of a trunk during one forward pass; by default none.

    A fusion passes an instance to ``TextEncoder.trunk``. Layers are numbered from 0, from input to output.

    Example:
        >>> import torch
        >>> class Doubled(LayerControl):
        ...     def before(self, index, states):
        ...         return 2 * states if index == 1 else states
        >>> Doubled().before(1, torch.ones(1, 2, 3)).mean()
        tensor(2.)
    """

    def before(self, index: int, states: Tensor) -> Tensor:
        """Return the input (B, N, D) of layer ``index`` instead of ``states`` (B, N, D)."""
        return states

    def visible(self, index: int, queries: Tokens, keys: Tokens) -> Tensor | None:
        """Return which keys the attention of layer ``index`` may use, within the mask that it has anyway.

        Args:
            index: number of the layer.
            queries: the tokens (B, N) of this pass.
            keys: mask and block ids (B, M) of these tokens and those of earlier decoding steps.

        Returns:
            a mask (B, N, M) bool; None, the default, means no restriction.
        """
        return None

    def apply(self, index: int, layer: nn.Module, states: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """Return the output (B, N, D) of layer ``index``; only ``TransformerTextEncoder`` calls this.

        Args:
            index: number of the layer.
            layer: the layer, a ``Block``.
            states: its input (B, N, D).
            mask: the mask (B, 1, N, M) of its attention, added to the logits; None means no mask.
            cache: the cache of incremental decoding.
        """
        output: Tensor = layer(states, mask, cache=cache)
        return output


class AroundControl(LayerControl):
    """A control that acts around another one; what a subclass does not override is left to the inner control.

    Args:
        inner: the control; None means one without changes.
    """

    def __init__(self, inner: LayerControl | None = None) -> None:
        self.inner = inner or LayerControl()

    @override
    def before(self, index: int, states: Tensor) -> Tensor:
        return self.inner.before(index, states)

    @override
    def visible(self, index: int, queries: Tokens, keys: Tokens) -> Tensor | None:
        return self.inner.visible(index, queries, keys)

    @override
    def apply(self, index: int, layer: nn.Module, states: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        return self.inner.apply(index, layer, states, mask, cache)


def no_layers(kind: str, problem: str = "") -> InputError:
    """Return the error for a trunk, of class or model type ``kind``, on whose layers no control can act."""
    reason = f" ({problem})" if problem else ""
    return InputError(
        f"text_encoder: a {kind} has no layers on which a fusion can act{reason}: choose a Transformer, or a fusion "
        "that acts before or after the trunk"
    )
