"""Weights in the order that the processor wants, for layers that few rows pass through many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_ROWS = 16  # with fewer, reading the weights takes the time, in whatever order they stand


class PackedLinear(TorchFunctionMode):
    """Inside, linear layers run on copies of their weights that oneDNN has packed, each made at its first use.

    On a CPU, ``linear`` packs its weights anew at every call, which weighs as long as the rows are few: with 32 rows a
    fifth of a layer's time, of a vocabulary's head two fifths. Results differ in rounding alone. Weights must stay as
    they are, nothing may need a gradient, and what is not a float32 parameter on a CPU goes its usual way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.packed: dict[nn.Parameter, Tensor] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do what ``func`` does, in another way where it is a linear layer that gains by it."""
        if func is F.linear and not kwargs and _gains(*args):
            return self._linear(*args)
        return func(*args, **(kwargs or {}))

    def _linear(self, x: Tensor, weight: nn.Parameter, bias: Tensor | None = None) -> Tensor:
        ops = torch.ops.mkldnn
        if weight not in self.packed:
            self.packed[weight] = ops._reorder_linear_weight(weight.detach(), x.shape[:-1].numel())
        out: Tensor = ops._linear_pointwise(x, self.packed[weight], bias, "none", [], "")
        return out


def _gains(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    plain = isinstance(weight, nn.Parameter) and weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
    alike = x.dtype == weight.dtype == torch.float32 and not torch.is_grad_enabled()
    return plain and alike and x.shape[:-1].numel() >= _ROWS and not torch.is_autocast_enabled("cpu")
