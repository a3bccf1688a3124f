"""Where a tokeniser comes from: trained on the training split, or pretrained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from velm_lightning.io import hub
from velm_lightning.text.vocabulary import SPECIALS, coverage, train_tokenizer

COVERED = 0.995
"""Share of unseen running words that must be known for whole words to be chosen: 100 % in closed texts; measured, not
99.5 % in any of DAQUAR (99.4), Flickr8k (99.0), Multi30k en, de, fr, cs (97.2, 95.3, 97.4, 92.4)."""

_SAID = {"word": "whole words", "bpe": "byte-pair encoding"}


class Tokenizing(ABC):
    """Gives the tokeniser of a run.

    Attributes:
        reason: which one it is and why, once it is known.
    """

    reason = ""

    @abstractmethod
    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return what a ``Vocabulary`` is told of its tokeniser, given the training split's texts."""


class TrainedTokenizer(Tokenizing):
    """A tokeniser trained on the prompts and sentences of the training split.

    Args:
        kind: ``word`` (whole words), ``bpe`` (byte-pair encoding over bytes), or ``auto``: whole words if 99.5 % of
            the running words of every tenth text occur in the others too, bytes otherwise.
        size: largest number of word pieces.
        min_count: rarer words become unknown; rarer pairs are not merged.
        lowercase: read, and so produce, lower-case letters only.
    """

    def __init__(
        self,
        kind: Literal["auto", "word", "bpe"] = "auto",
        size: int = 10_000,
        min_count: int = 1,
        lowercase: bool = False,
    ) -> None:
        self.kind, self.size, self.min_count, self.lowercase = kind, size, min_count, lowercase

    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """See ``Tokenizing.tokenizer``."""
        kind = "word" if self.kind == "auto" else self.kind
        found = self._trained(texts, kind)
        self.reason = f"{_SAID.get(kind, kind)} of the training texts"
        if self.kind == "auto":
            share = coverage(found, texts)
            if share < COVERED:
                kind, found = "bpe", self._trained(texts, "bpe")
            self.reason = (
                f"{_SAID[kind]} of the training texts, for {share:.1%} of the words of a tenth that is held out are "
                f"in the rest ({COVERED:.1%} are needed for whole words)"
            )
        return {"tokenizer": found, "specials": SPECIALS}

    def _trained(self, texts: Sequence[str], kind: str) -> str:
        return train_tokenizer(texts, kind, self.size, self.min_count, self.lowercase)


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
        self.reason = f"that of {self.name}"
        return hub.tokenizer(self.name)
