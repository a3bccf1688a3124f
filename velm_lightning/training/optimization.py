"""The optimiser and its schedule, the same for every fusion."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from velm_lightning.encoders.base import Encoder
from velm_lightning.io.configurable import Configurable


class Schedule:
    """The share of the peak rate at each step: a linear warm-up, then a cosine from a level to zero.

    Its attributes are plain values, which the scheduler writes into checkpoints: a run that goes on follows the
    schedule that it was started with, however long it is to be now.

    Args:
        warmup: steps over which the rate rises.
        steps: all steps; may be infinite, and then the rate stays at its level.
    """

    def __init__(self, warmup: int, steps: float) -> None:
        self.warmup_ratio, self.steps = warmup, steps
        self.begin, self.level = warmup, 1.0
        self.plan = [warmup, steps]  # what the settings asked for

    def __call__(self, step: int) -> float:
        """Return the share of the peak rate at ``step``."""
        if step < self.warmup_ratio:
            return (step + 1) / self.warmup_ratio
        if not math.isfinite(self.steps):
            return self.level
        done = (step - self.begin) / max(1, self.steps - self.begin)
        return self.level * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def continued(self, step: int, planned: Schedule) -> Schedule:
        """Return a schedule that goes on from this one at ``step`` without a jump, and ends as ``planned`` does."""
        found = Schedule(self.warmup_ratio, planned.steps)
        found.begin = max(step, self.warmup_ratio)
        found.level, found.plan = self(found.begin), planned.plan
        return found


class Optimization(Configurable):
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up, then a cosine to zero.

    Norms, biases, gates and other parameters of fewer than two dimensions, and embeddings, are not decayed. Parts that
    were pretrained learn at a fraction of the rate, the lower layers, where that is wanted, at a smaller one.

    The schedule counts optimiser steps, of which more processes, micro-batches or samples in a batch leave fewer in an
    epoch: the rate rises and falls over the same share of the epochs, in fewer and longer steps. The peak rate is not
    scaled by the number of samples in a step.

    Args:
        learning_rate: peak rate.
        weight_decay: decoupled weight decay.
        warmup_ratio: share of all optimiser steps over which the rate rises; at least one step.
        pretrained_lr_scale: what the rate of pretrained parts is multiplied by.
        betas: AdamW's averaging factors.
        layer_decay: what the rate of a pretrained encoder's layers is multiplied by from each to the one below
            (discriminative fine-tuning, Howard & Ruder 2018; 0.65 to 0.95 are usual); 1 treats all alike.
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
        """Return Lightning's optimiser configuration for a run of ``steps`` optimiser steps (may be infinite)."""
        # The fused kernel takes all parameters in one call; it exists for every floating type on CPU and CUDA.
        optimizer = torch.optim.AdamW(self.groups(model), lr=self.learning_rate, betas=self.betas, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def schedule(self, steps: float) -> Schedule:
        """Return the schedule of a run of ``steps`` optimiser steps; without an end, the rate stays at its peak."""
        return Schedule(max(1, round(self.warmup_ratio * steps)) if math.isfinite(steps) else 1, steps)

    def factor(self, step: int, steps: float) -> float:
        """Return the share of the peak rate at ``step`` of ``steps``."""
        return self.schedule(steps)(step)

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Sort trainable parameters into groups: decayed or not, and by their rate."""
        shares = self._shares(model)
        embeddings = {p for part in model.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for parameter in model.parameters():
            if parameter.requires_grad:
                decayed = parameter.ndim > 1 and parameter not in embeddings
                groups.setdefault((decayed, shares.get(parameter, 1.0)), []).append(parameter)
        return [
            {
                "params": parameters,
                "weight_decay": self.weight_decay if decayed else 0.0,
                "lr": self.learning_rate * share,
            }
            for (decayed, share), parameters in groups.items()
        ]

    def _shares(self, model: nn.Module) -> dict[nn.Parameter, float]:
        """Return the share of the rate at which parameters learn that are, or are part of what is, pretrained."""
        shares: dict[nn.Parameter, float] = {}
        for part in model.modules():  # a whole comes before its parts, which may say otherwise
            pretrained = getattr(part, "pretrained", None)
            if pretrained is False:
                shares |= dict.fromkeys(part.parameters(), 1.0)
            elif pretrained:
                sections = part.layer_groups if isinstance(part, Encoder) else [part]
                for depth, section in enumerate(reversed(sections)):
                    share = self.pretrained_lr_scale * self.layer_decay**depth
                    shares |= dict.fromkeys(section.parameters(), share)
        return shares
