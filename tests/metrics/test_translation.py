"""BLEU and chrF of translations: sacrebleu's figures and signatures, and refusals before it sees the sentences."""

import pytest

from velm_lightning.metrics.translation import chrf, sacre_bleu
from velm_lightning.types import InputError

sacrebleu = pytest.importorskip("sacrebleu", reason="pip install velm-lightning[translation]")
HYPOTHESES = ["Ein Hund läuft am Strand.", "Zwei Männer spielen Fußball im Park."]
REFERENCES = [
    ["Ein Hund rennt am Strand entlang.", "Ein Hund läuft am Strand."],
    ["Zwei Männer spielen Fußball.", "Männer im Park."],
]


def test_the_figures_and_the_signature_are_sacrebleus():
    streams = [list(stream) for stream in zip(*REFERENCES, strict=True)]
    bleu, characters = sacre_bleu(HYPOTHESES, REFERENCES), chrf(HYPOTHESES, REFERENCES, word_order=2)
    assert bleu.corpus == sacrebleu.corpus_bleu(HYPOTHESES, streams).score
    assert bleu.samples == pytest.approx(
        [sacrebleu.sentence_bleu(h, r).score for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
    )
    assert bleu.samples[0] == pytest.approx(100)
    assert bleu.signature.startswith("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert characters.corpus == sacrebleu.corpus_chrf(HYPOTHESES, streams, word_order=2).score
    assert "nw:2" in characters.signature


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        ([], [], "the split is empty"),
        (["a"], [["a"], ["b"]], "1 hypotheses for 2 sentences"),
        (["a", "b"], [["a"], ["b", "c"]], "references of sentence 1: expected a list of 1"),
        (["a"], [[]], "references of sentence 0: expected a list of 1"),
        (["a"], ["a"], "references of sentence 0: expected a list"),
        ([None], [["a"]], "sentence 0: expected strings, got None"),
    ],
)
def test_sentences_that_do_not_match_are_refused(hypotheses, references, message):
    with pytest.raises(InputError, match=message):
        sacre_bleu(hypotheses, references)


def test_an_unknown_tokeniser_is_refused():
    with pytest.raises(InputError, match="tokenise: 'ptb'"):
        sacre_bleu(HYPOTHESES, REFERENCES, tokenise="ptb")
