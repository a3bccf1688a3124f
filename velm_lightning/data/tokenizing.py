"""Where a tokeniser comes from: trained on the training split, or pretrained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from velm_lightning.types import InputError
from velm_lightning.vocabulary import SPECIALS, train_tokenizer


class Tokenizing(ABC):
    """Gives the tokeniser of a run."""

    @abstractmethod
    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the ``tokenizer`` and ``specials`` arguments of a ``Vocabulary``, given the training split's texts."""


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
    """The tokeniser of a pretrained model, from the hub or a folder.

    Args:
        name: hub name or folder, as ``AutoTokenizer.from_pretrained`` takes it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def tokenizer(self, texts: Sequence[str]) -> dict[str, Any]:
        """See ``Tokenizing.tokenizer``.

        Raises:
            InputError: the tokeniser cannot be loaded, or is not of the fast kind.
        """
        from transformers import AutoTokenizer

        try:
            found = AutoTokenizer.from_pretrained(self.name)
        except (OSError, ValueError) as error:
            raise InputError(f"tokenizer.name={self.name!r} cannot be loaded: {str(error).splitlines()[0]}") from error
        if not found.is_fast:
            raise InputError(f"tokenizer.name={self.name!r} has no fast tokeniser: choose a model that has one")
        start = found.cls_token or found.bos_token or found.eos_token
        end = found.sep_token or found.eos_token
        specials = [found.pad_token or end, start, end, found.mask_token or end, found.unk_token or end]
        return {"tokenizer": found.backend_tokenizer.to_str(), "specials": specials}
