"""The vocabulary: tokens of the ids in a batch, and answers of the classes of a head."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from velm_lightning.errors import InputError
from velm_lightning.io.configurable import Configurable

PAD, START, END, MASK, UNKNOWN = SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")

_MARK = (
    r"!-/:-@\[-`{-~\p{P}"  # as in BERT's tokeniser, includes all ASCII characters that are neither letters nor digits
)
_LETTER = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts without spaces between words
_WORD = rf" ?[{_LETTER}]\p{{M}}*| ?[{_MARK}]| ?[^\s{_MARK}{_LETTER}]+|\s"
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")
_ODD_BLANK = re.compile(r"\s\s|[^\S ]|^\s|\s$")


class Vocabulary(Configurable):
    """A tokeniser and an answer list; every size in a model that depends on the data comes from here.

    Args:
        tokenizer: JSON text of a Hugging Face ``tokenizers`` tokeniser.
        answers: The classes, in the order of the head's outputs; empty for tasks that generate text.
        counts: Total weight of each answer in the training split, in the same order.
        specials: Names of the pad, start, end, mask and unknown tokens; they may repeat.
        max_length: Maximum number of tokens of a prompt and of a target; longer ones are truncated.
        add_eos: Whether a prompt ends with the end token, as for a model trained on ``[CLS] text [SEP]``. False for
            causal language models, for which that token ends the text.
        chat_template: The template (Jinja) by which a model writes conversations. None means that the end token ends
            every turn.
    """

    replaceable = False
    """Whether the tokeniser is the default of the data, which a text encoder replaces by its own."""

    def __init__(
        self,
        tokenizer: str,
        answers: Sequence[str] = (),
        counts: Sequence[float] = (),
        specials: Sequence[str] = SPECIALS,
        max_length: int = 64,
        add_eos: bool = True,
        chat_template: str | None = None,
    ) -> None:
        self.chat_template = chat_template
        self.tokenizer = parse_tokenizer(tokenizer)
        self.tokenizer.no_padding()  # which the file of a pretrained model may enable
        self.tokenizer.no_truncation()
        self.tokenizer.encode_special_tokens = (
            True  # encodes "[SEP]" in a text as text; tokeniser files do not store this
        )
        self.add_eos = add_eos
        self.answers, self.counts, self.max_length = list(answers), list(counts), max_length
        ids = [self.tokenizer.token_to_id(name) for name in specials]
        if None in ids:
            missing = [name for name, index in zip(specials, ids, strict=True) if index is None]
            raise InputError(f"the tokeniser lacks the special tokens {missing}: name its own in `specials`")
        self.pad, self.start, self.end, self.mask, self.unknown = (int(index) for index in ids if index is not None)

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self.tokenizer.get_vocab_size())

    @cached_property
    def answer_index(self) -> dict[str, int]:
        """Index of each answer in the head's outputs."""
        return {answer: index for index, answer in enumerate(self.answers)}

    @cached_property
    def _special(self) -> set[int]:
        return {index for index, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of texts, at most ``max_length`` per text, without special tokens.

        A ``[SEP]`` in a text is encoded as text, or as the unknown token by tokenisers that cannot split it (unigram).
        """
        return [ids[: self.max_length] for ids in self.encode_whole(texts)]

    def encode_whole(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of texts of any length; otherwise as ``encode``."""
        with _without_panics():
            rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        reserved = self._special.difference([self.unknown])
        return [
            ids if reserved.isdisjoint(ids) else [self.unknown if i in reserved else i for i in ids] for ids in rows
        ]

    def encode_markup(self, text: str) -> list[int]:
        """Return the token ids of a text in which the names of special tokens stand for these tokens."""
        self.tokenizer.encode_special_tokens = False
        with _without_panics():
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        self.tokenizer.encode_special_tokens = True
        return ids

    def encode_blanked(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of texts in which the name of the mask token (``[MASK]``) marks hidden words."""
        sign = self.tokenizer.id_to_token(self.mask)
        around = [text.split(sign) for text in texts]
        pieces = iter(self.encode([part.strip() for parts in around for part in parts]))
        rows = [[piece for part in parts for piece in (self.mask, *next(pieces))][1:] for parts in around]
        return [ids[: self.max_length] for ids in rows]

    def prompt(self, ids: Sequence[int]) -> list[int]:
        """Return the ids of a prompt with the start token, and with the end token if ``add_eos`` is set."""
        return [self.start, *ids, *([self.end] if self.add_eos else [])]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids up to the first end token; see ``train_tokenizer`` for exactness."""
        pieces = list(ids)
        if self.end in pieces:
            pieces = pieces[: pieces.index(self.end)]
        return str(self.tokenizer.decode(pieces, skip_special_tokens=True))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments, so that loader workers with any start method receive the vocabulary."""
        return type(self), tuple(self._init_args.values())


@contextmanager
def _without_panics() -> Iterator[None]:
    """Report a panic of ``tokenizers``, which is no ``Exception``, such as that of a pattern without end."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the tokeniser cannot encode a text ({reason}): use another one") from error


def parse_tokenizer(text: str) -> Tokenizer:
    """Return the tokeniser of a JSON text.

    Raises:
        InputError: The text is not that of a Hugging Face ``tokenizers`` tokeniser.
    """
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises `Exception`
        raise InputError(
            f"the text of the tokeniser cannot be read ({' '.join(str(error).split())[:200]}): "
            "give the JSON that Hugging Face `tokenizers` writes"
        ) from error


def train_tokenizer(
    texts: Iterable[str], kind: str = "word", size: int = 10_000, min_count: int = 1, lowercase: bool = False
) -> str:
    """Train a tokeniser on the training split's texts and return its JSON.

    Decoding an encoded text returns it exactly, in Unicode form NFC. For whole words this holds for texts of known
    tokens: a word with a space before it and the same word without one are two tokens. Other white space (double
    spaces, tabs, line ends, spaces at the ends of a text) is kept if a training text has any; else it is read as
    single spaces and removed at the ends.

    Args:
        texts: Prompts and targets of the training split.
        kind: ``word`` (whole words and punctuation marks; single letters in scripts without spaces) or ``bpe``
            (byte-pair encoding, Sennrich et al. 2016, over bytes, which encodes every text).
        size: Maximum number of tokens.
        min_count: Rarer words become unknown; rarer pairs, and pairs that occur once, are not merged.
        lowercase: Whether texts are converted to lower case.

    Raises:
        InputError: ``kind`` is neither ``word`` nor ``bpe``.
    """
    texts = list(texts)
    shared: dict[str, Any] = {"vocab_size": size, "special_tokens": list(SPECIALS), "show_progress": False}
    steps: list[Any] = [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
    if kind == "word":
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        trainer: trainers.Trainer = trainers.WordLevelTrainer(min_frequency=min_count, **shared)
        if not any(map(_ODD_BLANK.search, texts)):
            steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
        split = pre_tokenizers.Split(Regex(_WORD), "isolated")
        pieces: Any = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=max(2, min_count), **shared)
        pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if any(map(_UNSPACED.search, texts)):  # a sentence would be one word, and one token if it occurs twice
            letters = pre_tokenizers.Split(Regex(rf" ?[{_LETTER}]\p{{M}}*"), "isolated")
            pieces = pre_tokenizers.Sequence([letters, pieces])
    else:
        raise InputError(f"tokenizer.kind is {kind!r}: choose 'word' or 'bpe', or name a pretrained tokeniser")
    tokenizer.normalizer = normalizers.Sequence(
        [*steps, normalizers.Prepend(" ")]
    )  # so that the first word is encoded like the others
    tokenizer.pre_tokenizer = pieces  # a space is written Ġ, as in GPT-2
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def coverage(tokenizer: str, texts: Sequence[str], parts: int = 10) -> float:
    """Return the share of running words that also occur in the other parts of the texts.

    Each part (every tenth text) is held out in turn, so that the share is stable for small files.

    Args:
        tokenizer: JSON text of a tokeniser trained on ``texts``.
        texts: Prompts and targets of the training split.
        parts: Number of parts.
    """
    words = Tokenizer.from_str(tokenizer)
    words.encode_special_tokens = True
    table = np.zeros((parts, words.get_vocab_size()), dtype=np.int64)
    for part in range(parts):
        for encoding in words.encode_batch(texts[part::parts], add_special_tokens=False):
            np.add.at(table[part], encoding.ids, 1)
    known = table.sum(0) > table  # also occurs in another part
    known[:, words.token_to_id(UNKNOWN)] = False
    return float(table[known].sum() / max(1, table.sum())) if table.any() else 1.0
