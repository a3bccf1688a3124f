"""The ceiling is the score of a perfect model with a given tokeniser and answer list."""

import importlib.util

import pytest
from helpers import tiny

from velm_lightning.data import TrainedTokenizer
from velm_lightning.inspection.ceiling import ceiling, thin_targets
from velm_lightning.tasks import Classification, Generation, MaskedLM
from velm_lightning.tasks.scorers import VQAAccuracy
from velm_lightning.tasks.sentences import Answers, Captions, Translations
from velm_lightning.text.vocabulary import Vocabulary, train_tokenizer
from velm_lightning.types import Sample

SIGNS = ("10:30", "T-shirt", "it's Paris", "3.5 cm", "$5", "Zürich", "don't know", "red/blue")
GERMAN = (
    "Ein Mann, der eine rot-weiße Jacke trägt, schläft.",
    "Zwei Frauen lachen: \"Wie schön!\", sagt eine.",
    "Drei Hunde laufen über die Straße (bei Regen).",
)  # fmt: skip
CHINESE = ("一个红色的长方形在纸上", "纸上有一个绿色的形状", "这是一个蓝色的方块", "橙色的长方形")


def saying(*texts, references=None):
    return [Sample(str(i), tiny.picture(i), "", text, references or (text,)) for i, text in enumerate(texts)]


def words(texts, **options):
    return Vocabulary(**TrainedTokenizer(**options).tokenizer(list(texts)))


def test_free_answers_can_be_produced_exactly():
    measured = ceiling(Generation(scorer=Answers()), saying(*SIGNS), words(SIGNS))
    assert (measured.score, measured.bytes, measured.samples, measured.lost) == (1.0, 1.0, 8, [])
    assert not measured.low


@pytest.mark.skipif(importlib.util.find_spec("sacrebleu") is None, reason="sacrebleu is not installed")
@pytest.mark.parametrize("kind", ["auto", "word", "bpe"])
def test_a_perfect_translator_reaches_bleu_100(kind):
    measured = ceiling(Generation(scorer=Translations()), saying(*GERMAN), words(GERMAN, kind=kind))
    assert measured.score == pytest.approx(100)


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_hyphens_and_apostrophes_can_be_produced(kind):
    texts = ("a man's T-shirt is black-and-white", "the dog isn't on the half-pipe", "a boy jumps")
    measured = ceiling(Generation(scorer=Captions()), saying(*texts), words(texts, kind=kind))
    assert measured.score == measured.bytes > 0
    assert measured.lost == []


def test_a_lost_text_is_named_with_the_fix():
    measured = ceiling(
        Generation(scorer=Answers()), saying("a red circle", "a blue star"), words(["a red circle"] * 10)
    )
    assert measured.score == 0.5
    assert measured.low
    described = measured.describe("accuracy")
    assert "the highest accuracy that this tokeniser and answer list allow is 0.5000 (byte-level: 1.0000" in described
    assert "'a blue star' becomes 'a'" in described
    assert "set data.tokenizer.init_args.kind to bpe" in described


def test_a_truncated_text_lowers_the_ceiling():
    cut = Vocabulary(train_tokenizer(["a red circle"]), max_length=2)
    assert ceiling(Generation(scorer=Answers()), saying("a red circle"), cut).lost == [("a red circle", "a red")]


def test_the_normalisation_of_the_metric_is_applied():
    samples = saying("the red", references=("the red",) * 9 + ("red",))
    known = words(["red"] * 10)
    assert ceiling(Generation(scorer=Answers(VQAAccuracy())), saying("the red"), known).score == 0.0
    assert ceiling(Generation(scorer=Answers(VQAAccuracy())), samples, known).score == 1.0
    assert ceiling(Generation(scorer=Answers()), saying("the red"), known).score == 0.0


def test_the_best_of_several_references_counts():
    samples = saying("a blue star", references=("a blue star", "a red circle"))
    assert ceiling(Generation(scorer=Answers()), samples, words(["a red circle"] * 10)).score == 1.0


def test_the_answer_list_limits_the_ceiling():
    samples = [
        Sample(str(i), tiny.picture(0), "", {answer: 1.0}, (answer,))
        for i, answer in enumerate(["yes", "no", "cat", "?"])
    ]
    measured = ceiling(Classification(), samples, tiny.vocabulary())
    assert (measured.score, measured.bytes) == (0.5, 1.0)
    assert measured.lost == [("cat", ""), ("?", "")]


def test_without_texts_or_references_there_is_no_ceiling():
    assert ceiling(MaskedLM(), saying("a red circle"), tiny.vocabulary()) is None
    assert ceiling(Generation(), tiny.described(), tiny.vocabulary()) is None


def test_a_long_split_is_subsampled():
    measured = ceiling(Generation(scorer=Answers()), saying(*["a"] * 50), words(["a"] * 10), most=20)
    assert (measured.samples, measured.score) == (20, 1.0)


@pytest.mark.parametrize(
    ("texts", "kind"), [(tiny.TEXTS * 20, "word"), (SIGNS, "bpe"), (CHINESE, "bpe"), (GERMAN, "bpe"), ((), "word")]
)
def test_closed_texts_use_words_and_others_use_bytes(texts, kind):
    tokenizing = TrainedTokenizer()
    chosen = tokenizing.tokenizer(list(texts))["tokenizer"]
    assert chosen == train_tokenizer(list(texts), kind)
    assert tokenizing.reason.startswith({"word": "whole words", "bpe": "byte-pair encoding"}[kind])


def test_targets_of_unknown_words_give_a_warning():
    known = words(["a red circle"] * 10)
    assert "3 of 4 targets contain no known word, such as 'x y'" in thin_targets(saying("x y", "z", "q", "a"), known)
    assert thin_targets(saying("a red circle", "x", "a red circle"), known) is None


def test_targets_of_one_piece_each_give_a_warning():
    texts = ["ꦲꦏ꧀ꦱꦫ", "ꦗꦮ", "ꦱꦭꦃ", "ꦮꦺꦴꦁ"]  # Javanese script, which the tokeniser does not split
    assert "4 of 4 targets are one word piece long" in thin_targets(saying(*texts), words(texts, kind="word"))
    assert "one word piece long" not in thin_targets(saying(*CHINESE), words(CHINESE, kind="word"))
    assert thin_targets(saying(*["yes", "no"] * 5), words(["yes", "no"] * 10)) is None, "answers that return"


def test_sentences_without_spaces_give_a_warning():
    texts = [f"一只狗在雪地里跑{letter}" for letter in "来去了过着呢吧啊"]
    samples = [Sample(str(i), tiny.picture(i), "", text, (text,)) for i, text in enumerate(texts)]
    words = Vocabulary(train_tokenizer(texts, kind="bpe"))
    assert "8 of 8 targets contain no space" in thin_targets(samples, words)
    answers = [sample._replace(target="Feuerwehr", references=("Feuerwehr",)) for sample in samples]
    assert thin_targets(answers, words) is None, "one answer that returns is no sentence"
