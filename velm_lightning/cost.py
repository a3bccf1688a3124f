"""What a model costs: floating-point operations and memory."""

from __future__ import annotations

import resource
import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from velm_lightning.tasks.base import Task
from velm_lightning.tasks.model import Model
from velm_lightning.types import Batch


def flops(model: Model, batch: Batch) -> int:
    """Count the floating-point operations of one forward pass per sample, a multiply-add as two.

    Matrix products, convolutions and attention are counted; element-wise work and recurrent cells, for which torch has
    no count, are not.
    """
    assert isinstance(model, nn.Module)
    task, training = model.task, model.training
    assert isinstance(task, Task)
    model.eval()
    with (
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
        torch.nn.attention.sdpa_kernel(
            torch.nn.attention.SDPBackend.MATH  # written out as matrix products, so that no kernel goes uncounted
        ),
    ):
        task.once(model, batch)
    model.train(training)
    return int(counter.get_total_flops() // batch.size)


def peak_memory() -> int:
    """Return the largest memory use so far in bytes: the GPU's where there is one, else this process's."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
