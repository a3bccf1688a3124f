"""The callback that compiles layers for training: ``--trainer.callbacks+ Compiling``."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

VARIANTS = 64  # per layer: with and without masks, context and gradients, in the widths of text and image


class Compiling(Callback):
    """Compiles every layer in a ``ModuleList`` separately; layers of the same structure share one compilation.

    The first step with each batch shape takes seconds to minutes longer. The names in the state dict are unchanged, so
    that checkpoints can be exchanged between compiled and uncompiled models.

    Args:
        backend: a backend of ``torch.compile``.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self.backend = backend

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the layers for compilation, which happens when each first runs."""
        compile_layers(pl_module, self.backend)


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Mark the layers in every ``ModuleList`` of ``model`` for compilation unless they already are."""
    settings: Any = torch._dynamo.config
    settings.recompile_limit = max(settings.recompile_limit, VARIANTS)
    for part in model.modules():
        for layer in part if isinstance(part, nn.ModuleList) else ():
            if layer._compiled_call_impl is None:
                layer.compile(backend=backend)
