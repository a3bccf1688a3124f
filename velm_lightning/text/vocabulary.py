"""What the numbers mean: word pieces for the ids in a batch, answers for the classes of a head."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from velm_lightning.errors import InputError
from velm_lightning.io.configurable import Configurable

PAD, START, END, MASK, UNKNOWN = SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")

_MARK = r"!-/:-@\[-`{-~\p{P}"  # as BERT's tokeniser has it: all of ASCII that is neither letter nor digit, too
_LETTER = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # no blank stands between words
_WORD = rf" ?[{_LETTER}]\p{{M}}*| ?[{_MARK}]| ?[^\s{_MARK}{_LETTER}]+|\s"
_ODD_BLANK = re.compile(r"\s\s|[^\S ]|^\s|\s$")


class Vocabulary(Configurable):
    """A tokeniser and an answer list; every size in a model that depends on the data comes from here.

    Args:
        tokenizer: a Hugging Face ``tokenizers`` tokeniser as its JSON text.
        answers: the classes, in the order of the head's outputs; empty where sentences are produced.
        counts: how much weight each answer has in the training split, in the same order.
        specials: names of the tokens that play pad, start, end, mask and unknown (one name may play several parts).
        max_length: longest prompt, and longest target, in word pieces; what is longer is cut at its end.
        add_eos: whether a prompt ends with the end token, as for a model that was trained on ``[CLS] text [SEP]``; a
            causal language model, to which that token says that all is over, goes on without it.
    """

    def __init__(
        self,
        tokenizer: str,
        answers: Sequence[str] = (),
        counts: Sequence[float] = (),
        specials: Sequence[str] = SPECIALS,
        max_length: int = 64,
        add_eos: bool = True,
    ) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer)
        self.tokenizer.no_padding()  # which a pretrained model's file may ask for
        self.tokenizer.no_truncation()
        self.tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text; no file of a tokeniser records this
        self.add_eos = add_eos
        self.answers, self.counts, self.max_length = list(answers), list(counts), max_length
        ids = [self.tokenizer.token_to_id(name) for name in specials]
        if None in ids:
            missing = [name for name, found in zip(specials, ids, strict=True) if found is None]
            raise InputError(f"the tokeniser lacks the special tokens {missing}: name its own in `specials`")
        self.pad, self.start, self.end, self.mask, self.unknown = (int(found) for found in ids if found is not None)

    @property
    def size(self) -> int:
        """Number of word pieces."""
        return int(self.tokenizer.get_vocab_size())

    @cached_property
    def answer_index(self) -> dict[str, int]:
        """Where each answer stands in the head's outputs."""
        return {answer: index for index, answer in enumerate(self.answers)}

    @cached_property
    def _special(self) -> set[int]:
        return {index for index, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts into word pieces, each at most ``max_length`` long, never into special tokens.

        A ``[SEP]`` in a text is text; a model that knows it as one piece (unigram models do) reads an unknown word.
        """
        found = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        taken = self._special.difference([self.unknown])
        found = [ids if taken.isdisjoint(ids) else [self.unknown if i in taken else i for i in ids] for ids in found]
        return [ids[: self.max_length] for ids in found]

    def encode_blanked(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts in which the name of the mask token (``[MASK]``) stands for a hidden word into word pieces."""
        sign = self.tokenizer.id_to_token(self.mask)
        around = [text.split(sign) for text in texts]
        pieces = iter(self.encode([part.strip() for parts in around for part in parts]))
        found = [[piece for part in parts for piece in (self.mask, *next(pieces))][1:] for parts in around]
        return [ids[: self.max_length] for ids in found]

    def prompt(self, ids: Sequence[int]) -> list[int]:
        """Return a prompt's word pieces with their start, and with their end where prompts are closed."""
        return [self.start, *ids, *([self.end] if self.add_eos else [])]

    def decode(self, ids: Sequence[int]) -> str:
        """Turn word pieces back into text, up to the first end token; see ``train_tokenizer`` for what comes back."""
        pieces = list(ids)
        if self.end in pieces:
            pieces = pieces[: pieces.index(self.end)]
        return str(self.tokenizer.decode(pieces, skip_special_tokens=True))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the arguments, so that loader workers get it whatever their start method."""
        return type(self), tuple(self._init_args.values())


def train_tokenizer(
    texts: Iterable[str], kind: str = "word", size: int = 10_000, min_count: int = 1, lowercase: bool = False
) -> str:
    """Train a tokeniser on the training split's texts and return its JSON.

    Decoding what was encoded gives back the text in Unicode form NFC, exactly. Of whole words this holds for texts
    made of known pieces: a word is another piece with a blank before it than without one. Other blanks (double ones,
    tabs, line ends, blanks at the ends of a text) are pieces too if a training text holds any; if none does, they are
    read as single blanks, and left out at the ends.

    Args:
        texts: prompts and sentences of the training split.
        kind: ``word`` (whole words and punctuation marks; single letters in scripts without blanks) or ``bpe``
            (byte-pair encoding, Sennrich et al. 2016, over bytes, which can say every text).
        size: largest number of word pieces.
        min_count: rarer words become unknown; rarer pairs are not merged, nor are pairs that occur once.
        lowercase: read, and so produce, lower-case letters only.

    Raises:
        InputError: ``kind`` is neither.
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
    else:
        raise InputError(f"tokenizer.kind is {kind!r}: choose 'word' or 'bpe', or name a pretrained tokeniser")
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Prepend(" ")])  # the first word is as any other
    tokenizer.pre_tokenizer = pieces  # a blank is written Ġ, as in GPT-2, and no text can hold one
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def coverage(tokenizer: str, texts: Sequence[str], parts: int = 10) -> float:
    """Return the share of running words that would be known if their part of the texts had not been seen.

    Each part (every tenth text) is held out in turn, so that small files give a stable figure as well.

    Args:
        tokenizer: a tokeniser trained on ``texts``, as its JSON text.
        texts: prompts and sentences of the training split.
        parts: number of parts.
    """
    words = Tokenizer.from_str(tokenizer)
    words.encode_special_tokens = True
    table = np.zeros((parts, words.get_vocab_size()), dtype=np.int64)
    for part in range(parts):
        for found in words.encode_batch(texts[part::parts], add_special_tokens=False):
            np.add.at(table[part], found.ids, 1)
    known = table.sum(0) > table  # some other part holds it too
    known[:, words.token_to_id(UNKNOWN)] = False
    return float(table[known].sum() / max(1, table.sum())) if table.any() else 1.0
