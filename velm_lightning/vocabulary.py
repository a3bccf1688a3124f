"""What the numbers mean: word pieces for the ids in a batch, answers for the classes of a head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from velm_lightning.recipe import Recorded
from velm_lightning.types import InputError

PAD, START, END, MASK, UNKNOWN = SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")


class Vocabulary(Recorded):
    """A tokeniser and an answer list; every size in a model that depends on the data comes from here.

    Args:
        tokenizer: a Hugging Face ``tokenizers`` tokeniser as its JSON text.
        answers: the classes, in the order of the head's outputs; empty where sentences are produced.
        counts: how much weight each answer has in the training split, in the same order.
        specials: names of the tokens that play pad, start, end, mask and unknown (one name may play several parts).
        max_length: longest prompt, and longest target, in word pieces; what is longer is cut at its end.
        closed: whether a prompt ends with the end token, as for a model that was trained on ``[CLS] text [SEP]``; a
            causal language model, to which that token says that all is over, goes on without it.
    """

    def __init__(
        self,
        tokenizer: str,
        answers: Sequence[str] = (),
        counts: Sequence[float] = (),
        specials: Sequence[str] = SPECIALS,
        max_length: int = 64,
        closed: bool = True,
    ) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer)
        self.tokenizer.no_padding()  # which a pretrained model's file may ask for
        self.tokenizer.no_truncation()
        self.closed = closed
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

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts into word pieces, without special tokens, each at most ``max_length`` long."""
        found = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids[: self.max_length] for encoding in found]

    def prompt(self, ids: Sequence[int]) -> list[int]:
        """Return a prompt's word pieces with their start, and with their end where prompts are closed."""
        return [self.start, *ids, *([self.end] if self.closed else [])]

    def decode(self, ids: Sequence[int]) -> str:
        """Turn word pieces back into text, up to the first end token."""
        pieces = list(ids)
        if self.end in pieces:
            pieces = pieces[: pieces.index(self.end)]
        return str(self.tokenizer.decode(pieces, skip_special_tokens=True)).strip()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the arguments, so that loader workers get it whatever their start method."""
        return type(self), tuple(self._init_args.values())


def train_tokenizer(
    texts: Iterable[str], kind: str = "word", size: int = 10_000, min_count: int = 1, lowercase: bool = True
) -> str:
    """Train a tokeniser on the training split's texts and return its JSON.

    Args:
        texts: prompts and sentences of the training split.
        kind: ``word`` (whole words and punctuation marks) or ``bpe`` (byte-pair encoding, Sennrich et al. 2016).
        size: largest number of word pieces.
        min_count: rarer words (or pairs) become unknown (or are not merged).
        lowercase: read, and so produce, lower-case letters only.

    Raises:
        InputError: ``kind`` is neither.
    """
    shared: dict[str, Any] = {
        "vocab_size": size,
        "min_frequency": min_count,
        "special_tokens": list(SPECIALS),
        "show_progress": False,
    }
    if kind == "word":
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: trainers.Trainer = trainers.WordLevelTrainer(**shared)
        tokenizer.decoder = decoders.WordPiece(cleanup=True)  # a blank before every word, none before a full stop
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **shared)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        raise InputError(f"tokenizer.kind is {kind!r}: choose 'word' or 'bpe', or name a pretrained tokeniser")
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())
