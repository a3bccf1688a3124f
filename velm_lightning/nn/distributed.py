"""Gathering and summing tensors over processes, with gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def all_gather_with_grad(x: Tensor) -> Tensor:
    """Return the rows (R, …) of all processes, in their order; ``x`` (B, …) may have another B on each.

    The gradient of a row is the sum of its gradients on all processes. Returns ``x`` if there is only one process.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return x
    joined: Tensor = _AllGather.apply(x)
    return joined


def summed(x: Tensor) -> Tensor:
    """Return the sum of ``x`` over all processes, without a gradient."""
    total = x.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
    return total


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        world = dist.get_world_size()
        count = torch.tensor([len(x)], device=x.device)
        counts = [torch.empty_like(count) for _ in range(world)]
        dist.all_gather(counts, count)
        sizes = [int(size) for size in counts]
        padded = x.new_zeros(max(sizes), *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        ctx.rows = slice(sum(sizes[: dist.get_rank()]), sum(sizes[: dist.get_rank() + 1]))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        whole = slopes[0].contiguous()
        dist.all_reduce(whole)
        return whole[ctx.rows]
