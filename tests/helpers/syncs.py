"""Counts the operations that make the host wait for a GPU, on the device "meta", which computes nothing."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class Syncs(TorchDispatchMode):
    """Records operations whose result the host needs; those that cannot be counted raise on this device."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (aten._local_scalar_dense.default, aten.equal.default):
            self.seen.append(str(function))
            return True
        if function is aten.nonzero.default:
            self.seen.append(str(function))
            return torch.zeros(args[0].numel(), args[0].ndim, dtype=torch.long, device="meta")
        return function(*args, **(kwargs or {}))
