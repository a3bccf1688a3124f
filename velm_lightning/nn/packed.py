"""Linear layers on repacked weights, for CPU decoding with few rows per step; falls back to the plain layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.nn.attention import Attention, FeedForward

_ROWS = 4  # with fewer rows, reading the weights takes the time, in any layout
_SMALL = 400_000  # number of weights below which a call of oneDNN costs more than its layout saves


class OneDNNLinear(NamedTuple):
    """The private operators of torch for a linear layer on weights in oneDNN's layout."""

    pack: Callable[[Tensor, int], Tensor]  # weight (out, in) and number of rows -> packed weight
    apply: Callable[[Tensor, Tensor, Tensor | None], Tensor]  # x (..., in), packed weight, bias -> (..., out)


@cache
def onednn_linear(gelu: bool) -> OneDNNLinear | None:
    """Return torch's operators for a packed linear layer; None if they are missing or compute another result.

    The operators are private, so they may change with any version of torch: they are compared with the plain layer on
    a small input, once per process. This is the only place that uses them.

    Args:
        gelu: whether a GELU follows the layer; oneDNN applies it in the same pass.
    """
    try:
        linear, pack = torch.ops.mkldnn._linear_pointwise, torch.ops.mkldnn._reorder_linear_weight
    except AttributeError:
        return None
    operators = OneDNNLinear(
        pack=lambda weight, rows: pack(weight, rows),
        apply=lambda x, weight, bias: linear(x, weight, bias, "gelu" if gelu else "none", [], "none"),
    )
    return operators if _equals_plain(operators, gelu) else None


@torch.no_grad()
def _equals_plain(operators: OneDNNLinear, gelu: bool) -> bool:
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float32) for shape in ((8, 24), (10, 24), (10,))
    )
    with torch.autocast("cpu", enabled=False):
        for added in (bias, None):
            expected = F.linear(x, weight, added)
            expected = F.gelu(expected) if gelu else expected
            try:
                result = operators.apply(x, operators.pack(weight, len(x)), added)
            except (RuntimeError, TypeError):  # another signature, or torch was built without oneDNN
                return False
            if result.shape != expected.shape or not torch.allclose(result, expected, rtol=1e-4, atol=1e-4):
                return False
    return True


class PackedLinear:
    """A linear layer on a repacked copy of its weights, which is made at the first call.

    On a CPU, ``linear`` reorders its weights at every call: with 8 to 32 rows, this takes a quarter of a layer's time,
    and half of the time of a vocabulary head. The copy of a large layer is packed by oneDNN, that of a small one is
    transposed. Results differ from the plain layer only in rounding.

    Args:
        layers: the layer; or several with the same input, whose outputs are concatenated.
        gelu: whether a GELU follows.
    """

    name = "forward"

    def __init__(self, *layers: nn.Linear, gelu: bool = False) -> None:
        self.layer, self.layers, self.gelu = layers[0], layers, gelu
        self.packed: Tensor | None = None
        self.bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs (..., out) of ``x`` (..., in)."""
        rows = x.shape[:-1].numel()
        if rows < _ROWS:
            return self._activated(torch.cat([F.linear(x, layer.weight, layer.bias) for layer in self.layers], dim=-1))
        if self.packed is None:
            self._pack(rows)
        packed, operators = cast(Tensor, self.packed), onednn_linear(self.gelu)
        if operators is None or not packed.is_mkldnn:
            return self._activated(F.linear(x, packed, self.bias))
        return operators.apply(x, packed, self.bias)

    def _pack(self, rows: int) -> None:
        weight = torch.cat(tuple(layer.weight for layer in self.layers))
        operators = onednn_linear(self.gelu) if weight.numel() >= _SMALL else None
        self.packed = weight.t().contiguous().t() if operators is None else operators.pack(weight, rows)
        self.bias = None if self.layer.bias is None else torch.cat(tuple(layer.bias for layer in self.layers))

    def _activated(self, x: Tensor) -> Tensor:
        return F.gelu(x) if self.gelu else x


class PackedFeedForward:
    """A feed-forward on repacked weights."""

    name = "forward"

    def __init__(self, layer: FeedForward) -> None:
        first, last = cast(nn.Linear, layer[0]), cast(nn.Linear, layer[2])
        self.layer, self.first, self.last = layer, PackedLinear(first, gelu=True), PackedLinear(last)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs (..., D) of ``x`` (..., D)."""
        return self.last(self.first(x))


class PackedProjections:
    """The query, key and value projections of self-attention as one product on repacked weights."""

    name = "projections"

    def __init__(self, layer: Attention) -> None:
        self.layer, self.joined = layer, PackedLinear(layer.query, layer.key_value)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the queries (..., D), and the keys and values (..., 2 D), of ``x`` (..., D)."""
        query, key_value = self.joined(x).split_with_sizes([x.shape[-1], 2 * x.shape[-1]], dim=-1)
        return query, key_value


Packed = PackedLinear | PackedFeedForward | PackedProjections
_KINDS: dict[type[nn.Module], Callable[[Any], Packed]] = {
    nn.Linear: PackedLinear,
    FeedForward: PackedFeedForward,
    Attention: PackedProjections,
}


class Packing:
    """The linear layers, feed-forwards and projections of a model on repacked weights.

    Only float32 layers on a CPU are repacked, and only those whose operators ``onednn_linear`` accepts; all others
    stay plain. Compiled layers stay plain too, because the compiler chooses layouts itself.
    """

    def __init__(self, model: Any) -> None:
        self.made_from = _state(model)
        self.layers = _packed(model)

    def is_of(self, model: Any) -> bool:
        """Return whether the weights of ``model`` are unchanged since they were repacked."""
        return self.made_from == _state(model)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the model on repacked weights inside; has no effect with gradients or under autocast."""
        plain = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
        layers = [] if plain else self.layers
        for packed in layers:
            vars(packed.layer)[packed.name] = packed
        try:
            yield
        finally:
            for packed in layers:
                del vars(packed.layer)[packed.name]


def _state(model: Any) -> dict[nn.Parameter, tuple[int, int]]:
    return {weight: (weight.data_ptr(), weight._version) for weight in model.parameters() if _suits(weight)}


def _packed(model: Any) -> list[Packed]:
    compiled = {part for whole in model.modules() if whole._compiled_call_impl is not None for part in whole.modules()}
    layers: list[Any] = [part for part in model.modules() if type(part) in _KINDS and part not in compiled]
    return [
        _KINDS[type(layer)](layer)
        for layer in layers
        if all(_suits(weight) for weight in layer.parameters()) and _supported(type(layer))
    ]


def _supported(kind: type[nn.Module]) -> bool:
    """Return whether the operators of a kind of layer are available."""
    return all(onednn_linear(gelu) is not None for gelu in ((False, True) if kind is FeedForward else (False,)))


def _suits(weight: Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.is_cpu
