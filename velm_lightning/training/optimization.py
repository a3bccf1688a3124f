"""The optimiser, its parameter groups and its learning-rate schedule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from velm_lightning.encoders.base import Encoder
from velm_lightning.io.configurable import Configurable


class Schedule:
    """The factor of the peak learning rate per step: a linear warm-up, then a cosine to zero.

    Its attributes are plain values, which the scheduler saves in checkpoints: a resumed run follows the schedule that
    it was started with, even if the number of steps has changed since.

    Args:
        warmup: number of steps over which the rate rises.
        steps: total number of steps; if infinite, the rate stays constant after the warm-up.
    """

    def __init__(self, warmup: int, steps: float) -> None:
        self.warmup, self.steps = warmup, steps
        self.begin, self.level = warmup, 1.0
        self.plan = [warmup, steps]  # as configured

    def __call__(self, step: int) -> float:
        """Return the factor of the peak rate at ``step``."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if not math.isfinite(self.steps):
            return self.level
        progress = (step - self.begin) / max(1, self.steps - self.begin)
        return self.level * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def continued(self, step: int, planned: Schedule) -> Schedule:
        """Return a schedule that continues this one at ``step`` without a jump and ends when ``planned`` does."""
        schedule = Schedule(self.warmup, planned.steps)
        schedule.begin = max(step, self.warmup)
        schedule.level, schedule.plan = self(schedule.begin), planned.plan
        return schedule


class Optimization(Configurable):
    """AdamW (Loshchilov & Hutter 2019) with a linear warm-up and a cosine decay to zero.

    Embeddings and parameters of fewer than two dimensions (biases, gates, those of norms) are not decayed. Pretrained
    parts have a lower learning rate, which can be reduced further from each layer to the one below.

    The schedule counts optimiser steps. With more processes, micro-batches or samples per batch an epoch has fewer
    steps, and the rate rises and falls over the same share of the epochs. The peak rate is not scaled by the number of
    samples per step.

    Args:
        learning_rate: peak learning rate.
        weight_decay: decoupled weight decay.
        warmup_ratio: share of all optimiser steps over which the rate rises; at least one step.
        pretrained_lr_scale: factor of the learning rate of pretrained parts.
        betas: coefficients of AdamW's running averages.
        layer_decay: factor of the learning rate from each layer of a pretrained encoder to the one below
            (discriminative fine-tuning, Howard & Ruder 2018; usually 0.65 to 0.95); 1 gives all layers the same rate.

    Example:
        >>> import velm_lightning as velm
        >>> optimization = velm.Optimization(learning_rate=2e-3, warmup_ratio=0.1)
        >>> optimization.factor(step=9, steps=100)  # of the peak learning rate, at the end of the warm-up
        1.0
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_ratio: float = 0.05,
        pretrained_lr_scale: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.98),
        layer_decay: float = 1.0,
    ) -> None:
        self.learning_rate, self.weight_decay, self.warmup_ratio = learning_rate, weight_decay, warmup_ratio
        self.layer_decay = layer_decay
        self.pretrained_lr_scale, self.betas = pretrained_lr_scale, (betas[0], betas[1])

    def configure(self, model: nn.Module, steps: float) -> dict[str, Any]:
        """Return Lightning's optimiser configuration for a run of ``steps`` optimiser steps, which may be infinite."""
        # The fused kernel takes all parameters in one call; it exists for every floating type on CPU and CUDA.
        optimizer = torch.optim.AdamW(self.groups(model), lr=self.learning_rate, betas=self.betas, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def schedule(self, steps: float) -> Schedule:
        """Return the schedule of a run of ``steps`` optimiser steps; if infinite, the rate stays at its peak."""
        return Schedule(max(1, round(self.warmup_ratio * steps)) if math.isfinite(steps) else 1, steps)

    def factor(self, step: int, steps: float) -> float:
        """Return the factor of the peak rate at ``step`` of ``steps``."""
        return self.schedule(steps)(step)

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Return AdamW's parameter groups: trainable parameters by whether they are decayed and by learning rate."""
        scales = self._lr_scales(model)
        embeddings = {p for part in model.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for parameter in model.parameters():
            if parameter.requires_grad:
                decayed = parameter.ndim > 1 and parameter not in embeddings
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
        """Return the factor of the learning rate of each parameter in a module with an attribute ``pretrained``."""
        scales: dict[nn.Parameter, float] = {}
        for part in model.modules():  # a module precedes its submodules, whose attribute takes precedence
            pretrained = getattr(part, "pretrained", None)
            if pretrained is False:
                scales |= dict.fromkeys(part.parameters(), 1.0)
            elif pretrained:
                groups = part.layer_groups if isinstance(part, Encoder) else [part]
                for depth, group in enumerate(reversed(groups)):
                    scale = self.pretrained_lr_scale * self.layer_decay**depth
                    scales |= dict.fromkeys(group.parameters(), scale)
        return scales
