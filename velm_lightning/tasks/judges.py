"""Judges: models that describe generated images and compare the descriptions with the captions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from velm_lightning.io.configurable import Configurable


class Descriptions(NamedTuple):
    """A judge's descriptions of B images.

    Attributes:
        descriptions: B descriptions, in the form that ``Judge.compare`` reads.
        confidence: (B,) the probability of each description.
        features: (B, F) of the images, for distances between sets of images.
    """

    descriptions: tuple[str, ...]
    confidence: Tensor
    features: Tensor


class Judge(Configurable, ABC):
    """Describes images without their captions, and compares descriptions with captions.

    It is not part of the model, and must be the same for all models that are compared.
    """

    @abstractmethod
    def describe(self, images: Tensor) -> Descriptions:
        """Describe images (B, 3, H, W), uint8."""

    @abstractmethod
    def compare(self, description: str, caption: str) -> Mapping[str, float]:
        """Return metrics between 0 and 1 by name that compare a description with a caption; NaN if not applicable.

        ``score`` is among them and is the headline metric.
        """

    @property
    @abstractmethod
    def accuracy(self) -> float:
        """The share of real held-out images that are described without an error."""

    @abstractmethod
    def name(self) -> str:
        """Return a name that identifies the judge and its weights."""
