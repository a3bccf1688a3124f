"""Captions in scripts without spaces are scored by letters, and said to be if they are not."""

import logging

import pytest

from velm_lightning.metrics.scripts import char_tokenise_all, lacks_spaces
from velm_lightning.tasks.sentences import Captions
from velm_lightning.text.vocabulary import Vocabulary, train_tokenizer
from velm_lightning.types import Prediction

REFERENCES = ["一个红色的长方形在纸上", "纸上有一个绿色的形状", "这是一个蓝色的方块", "红色的圆在中间"]


def rows(predictions):
    return [
        Prediction(str(n), "", "", prediction, (reference,), 0.0, 0.0, 0.0)
        for n, (prediction, reference) in enumerate(zip(predictions, REFERENCES, strict=True))
    ]


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("红色的圆。", "红 色 的 圆"),
        ("Ikea沙发，2 把", "ikea 沙 发 2 把"),
        ("แมวดี", "แ ม ว ดี"),
        ("ねこが「いる」", "ね こ が い る"),
        ("Two dogs can't!", "two dogs ca n't"),
    ],
)
def test_letters_of_scripts_without_spaces_are_tokens(caption, tokens):
    assert char_tokenise_all([caption]) == [tokens]


def test_scripts_without_spaces_are_recognised():
    assert lacks_spaces(REFERENCES)
    assert not lacks_spaces(["a red square", "Ikea 沙发 in the corner"])
    assert not lacks_spaces([])


def test_a_caption_that_is_nearly_right_scores_by_letters():
    near = rows([reference.replace("红", "蓝") for reference in REFERENCES])
    by_word, by_letter = Captions().compute_metrics(near), Captions(tokenise="char").compute_metrics(near)
    assert by_letter["bleu_4"] > by_word["bleu_4"] + 0.3
    assert by_letter["bleu_1"] > 0.8
    assert "tok:char" in Captions(tokenise="char").signature("val")
    assert "tok:ptb" in Captions().signature("val")


def test_a_note_names_the_option_once(caplog):
    scorer = Captions()
    with caplog.at_level(logging.WARNING):
        scorer.score(rows(REFERENCES))
        scorer.compute_metrics(rows(REFERENCES))
    assert [record.message.rpartition(" ")[2] for record in caplog.records] == ["char"]


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_no_tokeniser_takes_a_sentence_as_one_word(kind):
    tokenizer = train_tokenizer(REFERENCES * 20, kind)
    words = Vocabulary(tokenizer=tokenizer, answers=[])
    for text in (*REFERENCES, "红色的 IKEA 沙发"):
        (ids,) = words.encode([text])
        if kind == "bpe" or text in REFERENCES:
            assert words.decode(ids) == text
        assert len(ids) >= 6


def test_the_tokeniser_of_other_scripts_is_unchanged():
    assert '"Split"' not in train_tokenizer(["a red square", "ein rotes Quadrat"] * 9, "bpe")
