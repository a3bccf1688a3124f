"""Compiled layers for training: ``--trainer.callbacks+ Compiling``."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

VARIANTS = 64  # of one layer's code: with and without masks, a context, gradients; widths of text and image


class Compiling(Callback):
    """Compiles every repeated layer of a model by itself, once for all layers of one form.

    The first step of each form of batch takes seconds to minutes longer. The state dict keeps its names, so that
    checkpoints are the same with and without.

    Args:
        backend: a backend of ``torch.compile``.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self.backend = backend

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the layers; each is compiled where it runs first."""
        compile_layers(pl_module, self.backend)


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Let the layers in every ``ModuleList`` of ``model`` be compiled, where they are not yet."""
    settings: Any = torch._dynamo.config
    settings.recompile_limit = max(settings.recompile_limit, VARIANTS)
    for part in model.modules():
        for layer in part if isinstance(part, nn.ModuleList) else ():
            if layer._compiled_call_impl is None:
                layer.compile(backend=backend)
