"""Low-rank adapters, which fine-tune a frozen pretrained model with a few new parameters."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from velm_lightning.errors import at_least, positive
from velm_lightning.io.configurable import Configurable
from velm_lightning.types import InputError


class LoRA(Configurable):
    """Low-rank adapters (Hu et al. 2022) from the package ``peft``: ``pip install "velm-lightning[lora]"``.

    Args:
        rank: rank of each adapter, i.e. of the product of its two matrices.
        alpha: scale of the adapters: the product is multiplied by ``alpha / rank``.
        targets: name suffixes of the layers to adapt; ``all-linear`` means every linear layer.

    Raises:
        InputError: ``rank`` is less than 1, or ``alpha`` is not a finite number above 0.
    """

    def __init__(self, rank: int = 8, alpha: float = 16.0, targets: str | list[str] = "all-linear") -> None:
        at_least(1, "text_encoder.lora", rank=rank)
        positive("text_encoder.lora", alpha=alpha)
        self.rank, self.alpha, self.targets = rank, alpha, targets

    def adapt(self, network: nn.Module) -> None:
        """Insert the adapters into a Hugging Face model and freeze all its other parameters.

        Raises:
            InputError: ``peft`` is not installed, or no layer name matches ``targets``.
        """
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise InputError("text_encoder.lora needs the package peft: pip install 'velm-lightning[lora]'") from error
        options: dict[str, Any] = {"r": self.rank, "lora_alpha": self.alpha, "target_modules": self.targets}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out")  # peft corrects it for GPT-2 and warns
            try:
                inject_adapter_in_model(LoraConfig(**options), network)
            except ValueError as error:
                raise InputError(f"text_encoder.lora: {error}") from error
        for part in network.modules():
            for name in ("lora_A", "lora_B"):
                if hasattr(part, name):
                    getattr(part, name).pretrained = False  # new parameters use the full learning rate
