"""The mean loss of an optimiser step that consists of several micro-batches or processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from velm_lightning.nn.distributed import summed


class StepMean:
    """Makes the gradient of an optimiser step that of the mean over all its items, however the step is divided.

    The loss of a task is a mean over the items of one batch: its samples or its target words (``Task.num_items``). A
    mean of such means would give the items of a small batch a larger weight. Each loss is therefore multiplied by its
    number of items, and the gradients, accumulated over micro-batches and processes, are divided by the number of items
    of the whole step. A step of one batch in one process is not changed.

    Attributes:
        losses: detached mean loss () of each micro-batch of this process in the current step.
        items: number of items of each of these micro-batches.
    """

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.items: list[int | Tensor] = []
        self._complete = False

    def add(self, loss: Tensor, items: int | Tensor, batches: int = 1, processes: int = 1) -> Tensor:
        """Record the loss of a micro-batch and return the loss to differentiate.

        Args:
            loss: mean () over the items of the micro-batch.
            items: number of these items; 0 for an empty micro-batch.
            batches: ``accumulate_grad_batches``, by which Lightning divides the returned loss.
            processes: number of processes, over which gradients are averaged.
        """
        if self._complete:
            self.losses, self.items, self._complete = [], [], False
        self.losses.append(loss.detach())
        self.items.append(items)
        return loss if batches * processes == 1 else loss * items * batches

    def complete(self, parameters: Iterable[nn.Parameter], batches: int = 1, processes: int = 1) -> None:
        """Divide the gradients by the number of items of the whole step; called after its last micro-batch."""
        self._complete = True
        if batches * processes == 1:
            return
        # a new tensor on the device: copying a number to it would let the host wait for a GPU
        items = torch.zeros((), device=self.losses[0].device) + sum(self.items)
        factor = processes / summed(items).clamp(min=1)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
