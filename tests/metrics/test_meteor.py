"""METEOR without paraphrases against the jar limited to the same modules, and how far it stands from the whole jar."""

import json

import pytest
from helpers.references import FIXTURES, flickr8k, need

from velm_lightning.metrics.captions import References
from velm_lightning.metrics.meteor import meteor_modules, meteor_name, meteor_score
from velm_lightning.types import InputError

pytest.importorskip("snowballstemmer", reason="pip install velm-lightning[meteor]")
JAR = json.loads((FIXTURES / "meteor_jar.json").read_text())
EXACT_STEM = ("exact", "stem")


def test_hand_picked_pairs_equal_the_jar_with_exact_and_stem():
    hypotheses, references = zip(*JAR["hand"]["pairs"], strict=True)
    score = meteor_score(hypotheses, references, EXACT_STEM, tokenise=False)
    assert score.samples == pytest.approx(JAR["hand"]["samples"], abs=1e-12)
    assert score.corpus == pytest.approx(JAR["hand"]["corpus"], abs=1e-12)


def test_the_coco_example_equals_the_jar_with_exact_and_stem():
    references, results = (
        json.loads(path.read_text())
        for path in need("coco_fakecap/gts_tokenized.json", "coco_fakecap/res_tokenized.json")
    )
    keys = list(references)[::50]
    index = References(references, tokenise=False).only(keys)
    score = meteor_score({key: results[key][0] for key in keys}, index, EXACT_STEM, tokenise=False)
    assert score.samples == pytest.approx(JAR["fakecap"]["samples"], abs=1e-12)


def test_flickr8k_equals_the_jar_with_exact_and_stem_matches():
    captions, images = flickr8k("test")
    references = {}
    for caption, image in zip(captions, images, strict=True):
        references.setdefault(image, []).append(caption)
    hypotheses = {image: lines.pop(0) for image, lines in references.items()}
    score = meteor_score(hypotheses, references, EXACT_STEM)
    assert score.corpus == pytest.approx(JAR["flickr_test"]["corpus"], abs=1e-12)
    assert score.samples[::50] == pytest.approx(JAR["flickr_test"]["samples"], abs=1e-12)
    assert 0.9 * JAR["flickr_test"]["jar"] < score.corpus < JAR["flickr_test"]["jar"]


def test_a_stem_counts_less_than_a_word_and_other_words_nothing():
    exact, stem, none = meteor_score(
        ["dogs run", "dog run", "cat runs"], [["dogs run"], ["dogs run"], ["dogs swim"]], EXACT_STEM
    ).samples
    assert 1 == exact > stem > none == 0


def test_synonyms_count_if_wordnet_is_installed():
    if "synonym" not in meteor_modules():
        pytest.skip('WordNet is not here: nltk.download("wordnet")')
    with_synonyms = meteor_score(["a sofa"], [["the couch"]])
    assert with_synonyms.corpus > meteor_score(["a sofa"], [["the couch"]], EXACT_STEM).corpus == 0


def test_the_name_states_the_modules():
    assert meteor_name(EXACT_STEM) == "METEOR-approx(exact+stem)"


def test_unknown_modules_and_mismatches_are_refused():
    with pytest.raises(InputError, match="'paraphrase' is not one of exact, stem, synonym"):
        meteor_score(["a"], [["a"]], ("exact", "paraphrase"))
    with pytest.raises(InputError, match="image 1 has no hypothesis"):
        meteor_score(["a"], [["a"], ["b"]])
