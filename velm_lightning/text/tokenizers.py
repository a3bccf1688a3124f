"""Sources of tokenisers: trained on the training split, or pretrained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from typing_extensions import override

from velm_lightning.errors import at_least
from velm_lightning.io import hub
from velm_lightning.io.configurable import RecordsArguments
from velm_lightning.text.vocabulary import SPECIALS, coverage, train_tokenizer

COVERED = 0.995
"""Share of held-out running words that must be known for ``auto`` to choose whole words. Measured: 100 % for generated
texts, 99.4 % for DAQUAR, 99.0 % for Flickr8k, and 97.2, 95.3, 97.4, 92.4 % for Multi30k en, de, fr, cs."""

_NAMES = {"word": "whole words", "bpe": "byte-pair encoding"}


class Tokenizing(RecordsArguments, ABC):
    """Source of the tokeniser of a run.

    Attributes:
        reason: Description of the tokeniser and the reason for its choice, after ``tokenizer`` was called.
    """

    reason = ""

    @abstractmethod
    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the tokeniser as arguments of a ``Vocabulary``, given the texts of the training split."""


class TrainedTokenizer(Tokenizing):
    """A tokeniser trained on the prompts and sentences of the training split.

    Args:
        kind: ``word`` (whole words), ``bpe`` (byte-pair encoding over bytes), or ``auto``: whole words if 99.5 % of
            the running words of every tenth text also occur in the others, else byte-pair encoding.
        size: Maximum number of tokens.
        min_count: Rarer words become unknown, and rarer pairs are not merged.
        lowercase: Whether texts are converted to lower case.
    """

    def __init__(
        self,
        kind: Literal["auto", "word", "bpe"] = "auto",
        size: int = 10_000,
        min_count: int = 1,
        lowercase: bool = False,
    ) -> None:
        at_least(1, "data.tokenizer", size=size, min_count=min_count)
        self.kind, self.size, self.min_count, self.lowercase = kind, size, min_count, lowercase

    @override
    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        kind = "word" if self.kind == "auto" else self.kind
        tokenizer = self._trained(texts, kind)
        self.reason = f"{_NAMES.get(kind, kind)} of the training texts"
        if self.kind == "auto":
            share = coverage(tokenizer, texts)
            if share < COVERED:
                kind, tokenizer = "bpe", self._trained(texts, "bpe")
            self.reason = (
                f"{_NAMES[kind]} of the training texts, because {share:.1%} of the words of a held-out tenth occur in "
                f"the rest (whole words need {COVERED:.1%})"
            )
        return {"tokenizer": tokenizer, "specials": SPECIALS}

    def _trained(self, texts: Sequence[str], kind: str) -> str:
        return train_tokenizer(texts, kind, self.size, self.min_count, self.lowercase)


class PretrainedTokenizer(Tokenizing):
    """The tokeniser of a pretrained model; a pretrained text encoder uses its own by default.

    Args:
        name: Hub name, folder, GGUF file or folder with one.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @override
    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """See ``Tokenizing.tokenizer``.

        Raises:
            InputError: the tokeniser cannot be loaded, or is not of the fast kind.
        """
        self.reason = f"that of {self.name}"
        return hub.tokenizer(self.name)
