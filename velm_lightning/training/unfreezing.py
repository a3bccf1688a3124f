"""The callback that unfreezes pretrained encoders from the top, one layer group after another."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim import Optimizer

from velm_lightning.encoders.base import Encoder
from velm_lightning.types import InputError


class GradualUnfreezing(Callback):
    """Trains the last layer group of every pretrained encoder first, then adds one below it (Howard & Ruder 2018).

    Groups that are not yet trained stay in evaluation mode, and their gradients are discarded before the optimiser
    step. The gradients are computed nevertheless, because DDP needs the same set of gradients in every process.
    Parameters that ``trainable`` froze stay frozen.

    Args:
        every: number of epochs after which one more layer group is trained.
        start: epoch, counted from 0, in which the training of the last group starts.

    Raises:
        InputError: ``every`` or ``start`` is out of range, or the model has no trainable pretrained encoder.
    """

    def __init__(self, every: int = 1, start: int = 1) -> None:
        if every < 1 or start < 0:
            raise InputError(
                f"GradualUnfreezing: every must be at least 1, got {every}, and start at least 0, got {start}"
            )
        self.every, self.start = every, start
        self.waiting: list[nn.Parameter] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise ``InputError`` if there is no pretrained encoder to unfreeze."""
        if not _trainable(pl_module):
            raise InputError(
                "GradualUnfreezing: the model has no trainable pretrained encoder: set trainable of an encoder above 0"
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze the layer groups that are not trained in this epoch."""
        opened = max(0, (trainer.current_epoch - self.start) // self.every + 1)
        self.waiting = []
        for encoder in _trainable(pl_module):
            groups = list(encoder.layer_groups)
            waiting = groups[: max(0, len(groups) - opened)]
            self.waiting += [parameter for group in waiting for parameter in group.parameters()]
            encoder.keep(waiting + [group for group in groups[len(waiting) :] if _frozen(group)])

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Discard the gradients of the layer groups that are not yet trained."""
        for parameter in self.waiting:
            parameter.grad = None


def _trainable(model: Any) -> list[Encoder]:
    return [part for part in model.modules() if isinstance(part, Encoder) and part.pretrained and not part.frozen]


def _frozen(part: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in part.parameters())
