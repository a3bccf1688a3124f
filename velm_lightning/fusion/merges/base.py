"""The base class of merges."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from velm_lightning.io.configurable import Configurable
from velm_lightning.nn.buildable import Buildable


class Merge(Configurable, Buildable, ABC):
    """Combines two vectors of equal width into one of that width; shapes broadcast as in ``torch.add``."""

    @abstractmethod
    def build(self, dim: int) -> None:
        """Create the layers for vectors of width ``dim``; called once, by the fusion."""

    @abstractmethod
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Merge ``image`` (..., D) and ``text`` (..., D) into (..., D)."""
