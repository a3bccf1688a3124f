"""Scores of sentences: captions by the COCO evaluation, translations by sacrebleu."""

import math

import pytest

from velm_lightning.metrics import chrf, meteor_score, sacre_bleu
from velm_lightning.tasks import Answers, Captions, Exact, Translations, VQAAccuracy
from velm_lightning.types import Prediction

SAID = ("ein roter Kreis neben dem Stern.", "Ein blauer Stern", "")
RIGHT = ("ein roter Kreis neben dem blauen Stern.", "ein blauer Stern", "zwei Quadrate")
ROWS = [
    Prediction(prediction[:9], "", "", prediction, (right,), math.nan, 1.0, 0.5)
    for prediction, right in zip(SAID, RIGHT, strict=True)
]


def test_translations_are_scored_by_sacrebleu():
    scorer, references = Translations(), [(right,) for right in RIGHT]
    expected = sacre_bleu(SAID, references)
    scored = scorer.score(ROWS)
    assert [row.score for row in scored] == pytest.approx(expected.samples.tolist())
    figures = scorer.compute_metrics(scored)
    assert figures == pytest.approx({"bleu": expected.corpus, "chrf": chrf(SAID, references).corpus})
    assert 0 < figures[scorer.name] < 100
    fields = scorer.signature("test:1f2e").split("|")
    assert fields[:2] == ["BLEU", "scorer:sacrebleu"]
    assert set(expected.signature.split("|")) < set(fields)
    assert "split:test:1f2e" in fields


def test_answers_are_scored_one_by_one_as_if_chosen_from_a_list():
    scored = Answers().score([ROWS[0]._replace(prediction=RIGHT[0]), *ROWS[1:]])
    assert [row.score for row in scored] == [1, 0, 0]
    assert Answers().compute_metrics(scored) == {"accuracy": pytest.approx(1 / 3)}
    assert Answers().signature("val").startswith("accuracy|scorer:exact-match")
    row = ROWS[0]._replace(prediction="two", references=("two", *("three",) * 9))
    assert [Answers(scorer).score([row])[0].score for scorer in (Exact(), VQAAccuracy())] == [1, pytest.approx(0.3)]
    assert Answers(VQAAccuracy()).name == VQAAccuracy().name


def test_captions_with_meteor_say_how_it_was_matched():
    pytest.importorskip("snowballstemmer")
    plain, more = Captions().compute_metrics(ROWS), Captions(meteor=True).compute_metrics(ROWS)
    (name,) = more.keys() - plain.keys()
    assert name.startswith("meteor_approx_exact_stem")
    references = {row.key: row.references for row in ROWS}
    assert more[name] == meteor_score({row.key: row.prediction for row in ROWS}, references).corpus
    assert Captions().signature("val").startswith("CIDEr-D|scorer:coco-caption")
