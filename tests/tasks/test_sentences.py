"""How tables of sentences are scored: captions as COCO does it, translations by sacrebleu."""

import math

import pytest

from velm_lightning.metrics import chrf, meteor_score, sacre_bleu
from velm_lightning.tasks import Captions, Translations
from velm_lightning.types import Row

SAID = ("ein roter Kreis neben dem Stern.", "Ein blauer Stern", "")
RIGHT = ("ein roter Kreis neben dem blauen Stern.", "ein blauer Stern", "zwei Quadrate")
ROWS = [Row(said[:9], "", "", said, (right,), math.nan, 1.0, 0.5) for said, right in zip(SAID, RIGHT, strict=True)]


def test_translations_are_scored_by_sacrebleu():
    scorer, references = Translations(), [(right,) for right in RIGHT]
    expected = sacre_bleu(SAID, references)
    scored = scorer.score(ROWS)
    assert [row.score for row in scored] == pytest.approx(expected.samples.tolist())
    figures = scorer.figures(scored)
    assert figures == pytest.approx({"bleu": expected.corpus, "chrf": chrf(SAID, references).corpus})
    assert 0 < figures[scorer.name] < 100
    told = scorer.signature("test:1f2e").split("|")
    assert told[:2] == ["BLEU", "scorer:sacrebleu"]
    assert set(expected.signature.split("|")) < set(told)
    assert "split:test:1f2e" in told


def test_captions_with_meteor_say_how_it_was_matched():
    pytest.importorskip("snowballstemmer")
    plain, more = Captions().figures(ROWS), Captions(meteor=True).figures(ROWS)
    (name,) = more.keys() - plain.keys()
    assert name.startswith("meteor_exact_stem")
    references = {row.key: row.references for row in ROWS}
    assert more[name] == meteor_score({row.key: row.prediction for row in ROWS}, references).corpus
    assert Captions().signature("val").startswith("CIDEr-D|scorer:coco-caption")
