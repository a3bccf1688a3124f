"""Who says what a drawn picture shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from velm_lightning.io.configurable import Configurable


class Sight(NamedTuple):
    """What a judge saw in B pictures.

    Attributes:
        said: B descriptions, which ``Judge.right`` understands.
        sure: (B,) the probability it gave each description.
        features: (B, F) what it made of the pictures, for distances between sets of them.
    """

    said: tuple[str, ...]
    sure: Tensor
    features: Tensor


class Judge(Configurable, ABC):
    """Says what pictures show, knowing no caption, and whether that is what was asked for.

    It is no part of the model: it must be the same for all that are compared.
    """

    @abstractmethod
    def look(self, pictures: Tensor) -> Sight:
        """Say what uint8 pictures (B, 3, H, W) show."""

    @abstractmethod
    def right(self, said: str, asked: str) -> Mapping[str, float]:
        """Compare what was seen with what was asked: figures 0…1 by name, NaN where one does not apply.

        ``score`` is among them and is the headline.
        """

    @property
    @abstractmethod
    def accuracy(self) -> float:
        """The share of real pictures, which it has not learned from, that it describes without a fault."""

    @abstractmethod
    def name(self) -> str:
        """Say who the judge is: the same name, the same judge."""
