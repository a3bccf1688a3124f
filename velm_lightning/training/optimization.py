"""The optimiser and its parameter groups."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from velm_lightning.encoders.base import Encoder
from velm_lightning.errors import InputError, within
from velm_lightning.io.configurable import Configurable
from velm_lightning.training.schedules import Cosine, Schedule

_EMBEDDINGS = nn.Embedding | nn.EmbeddingBag


class Optimization(Configurable):
    """AdamW (Loshchilov & Hutter 2019) with a learning-rate schedule.

    Only weights are decayed: the matrices by which layers multiply their input. Embeddings, learned positions, class
    tokens, queries, biases, gates and the parameters of norms are not. A matrix that a module holds itself counts as a
    weight if ``weight`` is in its name. Pretrained parts have a lower learning rate, which can be reduced further from
    each layer to the one below.

    The schedule counts optimiser steps. With more processes, micro-batches or samples per batch an epoch has fewer
    steps, and the rate rises and falls over the same share of the epochs. The peak rate is not scaled by the number of
    samples per step.

    Args:
        learning_rate: peak learning rate.
        weight_decay: decoupled weight decay.
        schedule: the learning rate over the steps; by default ``Cosine()``, a warm-up and a cosine decay to zero.
        pretrained_lr_scale: factor of the learning rate of pretrained parts.
        betas: coefficients of AdamW's running averages.
        layer_decay: factor of the learning rate from each layer of a pretrained encoder to the one below
            (discriminative fine-tuning, Howard & Ruder 2018; usually 0.65 to 0.95); 1 gives all layers the same rate.

    Raises:
        InputError: a rate, decay or factor is negative or not finite, or one of ``betas`` is not in [0, 1).

    Example:
        >>> import velm_lightning as velm
        >>> optimization = velm.Optimization(learning_rate=2e-3, weight_decay=0.1)
        >>> optimization.learning_rate, type(optimization.schedule).__name__
        (0.002, 'Cosine')
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        pretrained_lr_scale: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.98),
        layer_decay: float = 1.0,
    ) -> None:
        within(0, math.inf, "optimization", learning_rate=learning_rate, weight_decay=weight_decay)
        within(0, math.inf, "optimization", layer_decay=layer_decay, pretrained_lr_scale=pretrained_lr_scale)
        if not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"optimization.betas must be at least 0 and below 1, got {betas[0]} and {betas[1]}")
        self.learning_rate, self.weight_decay, self.layer_decay = learning_rate, weight_decay, layer_decay
        self.schedule = schedule or Cosine()
        self.pretrained_lr_scale, self.betas = pretrained_lr_scale, (betas[0], betas[1])

    def configure(self, model: nn.Module, steps: float) -> dict[str, Any]:
        """Return Lightning's optimiser configuration for a run of ``steps`` optimiser steps, which may be infinite."""
        # The fused kernel takes all parameters in one call; it exists for every floating type on CPU and CUDA.
        optimizer = torch.optim.AdamW(self.groups(model), lr=self.learning_rate, betas=self.betas, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule.plan(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Return AdamW's parameter groups: trainable parameters by whether they are decayed and by learning rate."""
        scales = self._lr_scales(model)
        embeddings = {p for part in model.modules() if isinstance(part, _EMBEDDINGS) for p in part.parameters()}
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                decayed = _is_weight(name, parameter) and parameter not in embeddings
                groups.setdefault((decayed, scales.get(parameter, 1.0)), []).append(parameter)
        return [
            {
                "params": parameters,
                "weight_decay": self.weight_decay if decayed else 0.0,
                "lr": self.learning_rate * scale,
            }
            for (decayed, scale), parameters in groups.items()
        ]

    def _lr_scales(self, model: nn.Module) -> dict[nn.Parameter, float]:
        """Return the factor of the learning rate of each parameter in a module with an attribute ``pretrained``.

        A parameter that several modules share has the factor of the module that comes first: a vocabulary head that
        shares the word embedding does not change the embedding's rate.
        """
        first_names = {parameter: name for name, parameter in model.named_parameters()}
        scales: dict[nn.Parameter, float] = {}
        for path, part in model.named_modules():  # a module precedes its submodules, whose attribute takes precedence
            for parameter, scale in self._part_scales(part).items():
                if not path or first_names[parameter].startswith(f"{path}."):
                    scales[parameter] = scale
        return scales

    def _part_scales(self, part: nn.Module) -> dict[nn.Parameter, float]:
        pretrained = getattr(part, "pretrained", None)
        if pretrained is None:
            return {}
        if not pretrained:
            return dict.fromkeys(part.parameters(), 1.0)
        scales: dict[nn.Parameter, float] = {}
        for depth, group in enumerate(reversed(part.layer_groups if isinstance(part, Encoder) else [part])):
            scales |= dict.fromkeys(group.parameters(), self.pretrained_lr_scale * self.layer_decay**depth)
        return scales


def _is_weight(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a layer multiplies its input by the parameter, which PyTorch and transformers then call weight.

    A stack of matrices, such as the experts of a layer, is one under any name. Other parameters take the place of an
    input (learned positions, class tokens, queries) or scale one.
    """
    if parameter.ndim < 2:
        return False
    *stack, rows, columns = parameter.shape
    stacked = math.prod(stack) > 1 and min(rows, columns) > 1
    return stacked or any("weight" in part for part in name.split(".")[-2:])  # also `weight.original0`, parametrised
