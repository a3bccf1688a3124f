"""Where a tokeniser comes from: trained on the training split, or pretrained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from velm_lightning import hub
from velm_lightning.vocabulary import SPECIALS, train_tokenizer


class Tokenizing(ABC):
    """Gives the tokeniser of a run."""

    @abstractmethod
    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return what a ``Vocabulary`` is told of its tokeniser, given the training split's texts."""


class TrainedTokenizer(Tokenizing):
    """A tokeniser trained on the prompts and sentences of the training split.

    Args:
        kind: ``word`` or ``bpe`` (byte-pair encoding).
        size: largest number of word pieces.
        min_count: rarer words become unknown; rarer pairs are not merged.
        lowercase: read, and so produce, lower-case letters only; translations keep the case.
    """

    def __init__(
        self, kind: Literal["word", "bpe"] = "word", size: int = 10_000, min_count: int = 1, lowercase: bool = True
    ) -> None:
        self.kind, self.size, self.min_count, self.lowercase = kind, size, min_count, lowercase

    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """See ``Tokenizing.tokenizer``."""
        return {
            "tokenizer": train_tokenizer(texts, self.kind, self.size, self.min_count, self.lowercase),
            "specials": SPECIALS,
        }


class PretrainedTokenizer(Tokenizing):
    """The tokeniser of a pretrained model; a pretrained text encoder brings its own without being told to.

    Args:
        name: hub name, folder, GGUF file or folder with one.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """See ``Tokenizing.tokenizer``.

        Raises:
            InputError: the tokeniser cannot be loaded, or is not of the fast kind.
        """
        return hub.tokenizer(self.name)
