"""Weights in the order that the processor wants, for layers that few rows pass through many times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.attention import FeedForward
from velm_lightning.tasks.model import Model

_ROWS = 4  # with fewer, reading the weights takes the time, in whatever order they stand
_SMALL = 400_000  # weights below which calling oneDNN costs more than its order saves


class PackedLinear:
    """What a linear layer does, on a copy of its weights in the order of reading, made at the first use.

    On a CPU, ``linear`` orders its weights anew at every call, which weighs as long as the rows are few: with 8 to 32
    rows a quarter of a layer's time, of a vocabulary's head half. A large layer's copy is packed by oneDNN, a small
    one's transposed. Results differ in rounding alone. Weights that have changed are copied again; where a gradient is
    wanted, and for anything but float32 on a CPU, the layer does its own.

    Args:
        layer: the layer.
        gelu: whether a GELU follows it; oneDNN does that in passing.
    """

    def __init__(self, layer: nn.Linear, gelu: bool = False) -> None:
        self.layer, self.gelu = layer, gelu
        self.packed: Tensor | None = None
        self.made_from: tuple[Tensor, int] = (layer.weight, layer.weight._version)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        weight, bias, rows = self.layer.weight, self.layer.bias, x.shape[:-1].numel()
        if rows < _ROWS or not _suits(x, weight):
            return self._finished(F.linear(x, weight, bias))
        made_from, version = self.made_from
        small = weight.numel() < _SMALL
        if self.packed is None or weight is not made_from or weight._version != version:
            own = weight.detach()
            self.packed = own.t().contiguous().t() if small else torch.ops.mkldnn._reorder_linear_weight(own, rows)
            self.made_from = weight, weight._version
        if small:
            return self._finished(F.linear(x, self.packed, bias))
        after = "gelu" if self.gelu else "none"
        done: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, bias, after, [], "none")
        return done

    def _finished(self, x: Tensor) -> Tensor:
        return F.gelu(x) if self.gelu else x


class PackedFeedForward:
    """What a feed-forward does, on packed weights."""

    def __init__(self, layer: FeedForward) -> None:
        first, last = cast(nn.Linear, layer[0]), cast(nn.Linear, layer[2])
        self.layer, self.first, self.last = layer, PackedLinear(first, gelu=True), PackedLinear(last)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return self.last(self.first(x))


Packed = PackedLinear | PackedFeedForward


def packed_layers(model: Model) -> list[Packed]:
    """Return the model's feed-forwards and other linear layers on packed weights; none where torch lacks oneDNN.

    Compiled layers are left out, for the compiler has its own ways.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return []
    left_out = {part for whole in model.modules() if whole._compiled_call_impl is not None for part in whole.modules()}
    whole = [part for part in model.modules() if type(part) is FeedForward and part not in left_out]
    left_out.update(layer for part in whole for layer in part)
    single = [part for part in model.modules() if type(part) is nn.Linear and part not in left_out]
    return [*map(PackedFeedForward, whole), *map(PackedLinear, single)]


@contextmanager
def running(layers: Sequence[Packed]) -> Iterator[None]:
    """Let these layers run on their packed weights inside."""
    for one in layers:
        vars(one.layer)["forward"] = one
    try:
        yield
    finally:
        for one in layers:
            del vars(one.layer)["forward"]


def _suits(x: Tensor, weight: Tensor) -> bool:
    plain = x.dtype == torch.float32 == weight.dtype and x.is_cpu and weight.is_cpu
    return plain and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
