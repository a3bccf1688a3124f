"""The loss of an optimiser step that is cut into micro-batches or spread over processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from velm_lightning.nn.distributed import summed


class StepMean:
    """Makes the gradient of an optimiser step that of the mean over all its items, into however many parts it is cut.

    A task's loss is a mean over the items of one batch: its samples, or its target words (``Task.num_items``). A mean
    of such means gives the items of a small batch a larger weight. So each loss is multiplied by its number of items,
    and the gradients, gathered over micro-batches and processes, are divided by the number of items of the whole step.
    A step of one batch in one process is left exactly as it is.

    Attributes:
        losses: the mean loss of each micro-batch of this process since the step began, without a gradient.
        items: the number of items that each of them is a mean over.
    """

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.items: list[int | Tensor] = []
        self._complete = False

    def add(self, loss: Tensor, items: int | Tensor, batches: int = 1, processes: int = 1) -> Tensor:
        """Takes up a micro-batch and returns the loss to differentiate.

        Args:
            loss: scalar mean of the micro-batch.
            items: number of items that it is a mean over; 0 for an empty micro-batch.
            batches: ``accumulate_grad_batches``, by which Lightning divides what this returns.
            processes: number of processes, over which gradients are averaged.
        """
        if self._complete:
            self.losses, self.items, self._complete = [], [], False
        self.losses.append(loss.detach())
        self.items.append(items)
        return loss if batches * processes == 1 else loss * items * batches

    def complete(self, parameters: Iterable[nn.Parameter], batches: int = 1, processes: int = 1) -> None:
        """Divides the gradients by the number of items of the whole step; called after its last micro-batch."""
        self._complete = True
        if batches * processes == 1:
            return
        own = torch.as_tensor(sum(self.items), dtype=torch.float32, device=self.losses[0].device)
        factor = processes / summed(own).clamp(min=1)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
