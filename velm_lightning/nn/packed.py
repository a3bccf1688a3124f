"""Weights in the order that the processor wants, for layers that few rows pass through many times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.nn.attention import Attention, FeedForward

_ROWS = 4  # with fewer, reading the weights takes the time, in whatever order they stand
_SMALL = 400_000  # weights below which calling oneDNN costs more than its order saves


class PackedLinear:
    """What a linear layer does, on a copy of its weights in the order of reading, made at the first use.

    On a CPU, ``linear`` orders its weights anew at every call, which weighs as long as the rows are few: with 8 to 32
    rows a quarter of a layer's time, of a vocabulary's head half. A large layer's copy is packed by oneDNN, a small
    one's transposed. Results differ in rounding alone.

    Args:
        layers: the layer; or several that read the same, whose results then stand side by side.
        gelu: whether a GELU follows; oneDNN does that in passing.
    """

    name = "forward"

    def __init__(self, *layers: nn.Linear, gelu: bool = False) -> None:
        self.layer, self.layers, self.gelu = layers[0], layers, gelu
        self.packed: Tensor | None = None
        self.bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        rows = x.shape[:-1].numel()
        if rows < _ROWS:
            return self._finished(torch.cat([F.linear(x, one.weight, one.bias) for one in self.layers], dim=-1))
        if self.packed is None:
            self._pack(rows)
        packed = cast(Tensor, self.packed)
        if not packed.is_mkldnn:
            return self._finished(F.linear(x, packed, self.bias))
        after = "gelu" if self.gelu else "none"
        done: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, self.bias, after, [], "none")
        return done

    def _pack(self, rows: int) -> None:
        weight = torch.cat(tuple(one.weight for one in self.layers))
        small = weight.numel() < _SMALL
        self.packed = weight.t().contiguous().t() if small else torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        self.bias = None if self.layer.bias is None else torch.cat(tuple(one.bias for one in self.layers))

    def _finished(self, x: Tensor) -> Tensor:
        return F.gelu(x) if self.gelu else x


class PackedFeedForward:
    """What a feed-forward does, on packed weights."""

    name = "forward"

    def __init__(self, layer: FeedForward) -> None:
        first, last = cast(nn.Linear, layer[0]), cast(nn.Linear, layer[2])
        self.layer, self.first, self.last = layer, PackedLinear(first, gelu=True), PackedLinear(last)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return self.last(self.first(x))


class PackedProjections:
    """Queries, keys and values of tokens that read themselves, in one product on packed weights."""

    name = "projections"

    def __init__(self, layer: Attention) -> None:
        self.layer, self.joined = layer, PackedLinear(layer.query, layer.key_value)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (..., D) to (..., D) and (..., 2 D)."""
        query, key_value = self.joined(x).split_with_sizes([x.shape[-1], 2 * x.shape[-1]], dim=-1)
        return query, key_value


Packed = PackedLinear | PackedFeedForward | PackedProjections
_KINDS: dict[type[nn.Module], Callable[[Any], Packed]] = {
    nn.Linear: PackedLinear,
    FeedForward: PackedFeedForward,
    Attention: PackedProjections,
}


class Packing:
    """A model's feed-forwards, projections and other linear layers on packed weights.

    None where torch lacks oneDNN, and for anything but float32 on a CPU. Compiled layers are left out, for the
    compiler has its own ways.
    """

    def __init__(self, model: Any) -> None:
        self.made_from = _state(model)
        self.layers = _packed(model) if hasattr(torch.ops.mkldnn, "_linear_pointwise") else []

    def is_of(self, model: Any) -> bool:
        """Say whether the model's weights are still those that were packed."""
        return self.made_from == _state(model)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the model run on packed weights inside; not where a gradient or a lower precision is wanted."""
        plain = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
        layers = [] if plain else self.layers
        for one in layers:
            vars(one.layer)[one.name] = one
        try:
            yield
        finally:
            for one in layers:
                del vars(one.layer)[one.name]


def _state(model: Any) -> dict[nn.Parameter, tuple[int, int]]:
    return {weight: (weight.data_ptr(), weight._version) for weight in model.parameters() if _suits(weight)}


def _packed(model: Any) -> list[Packed]:
    compiled = {part for whole in model.modules() if whole._compiled_call_impl is not None for part in whole.modules()}
    layers: list[Any] = [part for part in model.modules() if type(part) in _KINDS and part not in compiled]
    return [_KINDS[type(layer)](layer) for layer in layers if all(_suits(weight) for weight in layer.parameters())]


def _suits(weight: Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.is_cpu
