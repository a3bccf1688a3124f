"""BLEU, ROUGE-L and CIDEr-D against values of pycocoevalcap, and their interface."""

import gzip
import json

import numpy as np
import pytest
import torch
from helpers.references import FIXTURES, flickr8k, need

from velm_lightning.metrics.captions import NAMES, CaptionScores, bleu, cider_d, cider_d_rows, rouge_l, score_captions
from velm_lightning.metrics.references import References
from velm_lightning.types import InputError

COCO = json.loads((FIXTURES / "coco_caption_scores.json").read_text())
ODD = json.loads((FIXTURES / "odd_captions.json").read_text())
REFERENCES = {
    "dog": ["A dog runs.", "The dog is running!"],
    "cat": ["A cat sleeps on a sofa", "a sleeping cat"],
    "man": ["A man"],
}
HYPOTHESES = {"dog": "a dog is running", "cat": "a cat sleeps", "man": "a woman"}


def assert_equal(scores, expected, every=1):
    for name in NAMES:
        assert scores[name].corpus == pytest.approx(expected[name]["corpus"], abs=1e-9), name
        assert scores[name].samples[::every] == pytest.approx(expected[name]["samples"], abs=1e-9), name


def test_odd_captions_equal_coco_caption():
    assert_equal(score_captions(ODD["hypotheses"], ODD["references"], tokenise=False), ODD["scores"])


def test_the_coco_example_equals_coco_caption():
    references, results = (
        json.loads(path.read_text())
        for path in need("coco_fakecap/gts_tokenized.json", "coco_fakecap/res_tokenized.json")
    )
    scores = score_captions({key: lines[0] for key, lines in results.items()}, references, tokenise=False)
    assert_equal(scores, COCO["fakecap"], every=50)


def test_the_nlg_eval_example_equals_coco_caption():
    hypotheses, *references = (
        path.read_text().splitlines()
        for path in need(*(f"metric_refs/nlgeval_{name}.txt" for name in ("hyp", "ref1", "ref2")))
    )
    assert_equal(score_captions(hypotheses, list(zip(*references, strict=True)), tokenise=False), COCO["nlgeval"])


@pytest.mark.parametrize("candidates", ["B", "C"])
def test_abstract_scenes_with_48_references_equal_coco_caption(candidates):
    rows = [
        json.loads(gzip.decompress(path.read_bytes()))
        for path in need(
            "metric_refs/cider_abstract48S.json.gz", f"metric_refs/cider_abstract_cands{candidates}.json.gz"
        )
    ]
    hypotheses = {row["image_id"]: row["caption"] for row in reversed(rows[1])}
    hypotheses = {row["image_id"]: hypotheses[row["image_id"]] for row in rows[1]}
    references = {key: [] for key in hypotheses}
    for row in rows[0]:
        references.get(row["image_id"], []).append(row["caption"])
    assert_equal(score_captions(hypotheses, references), COCO[f"abstract{candidates}"], every=50)


@pytest.mark.parametrize("split", ["val", "test"])
def test_flickr8k_leave_one_out_equals_coco_caption(split):
    captions, images = flickr8k(split)
    references = {}
    for caption, image in zip(captions, images, strict=True):
        references.setdefault(image, []).append(caption)
    hypotheses = {image: lines.pop(0) for image, lines in references.items()}
    assert_equal(score_captions(hypotheses, references), COCO[f"flickr_{split}"], every=50)


def test_an_index_equals_its_captions_and_can_be_reused():
    index = References(REFERENCES)
    for hypotheses in (HYPOTHESES, {**HYPOTHESES, "man": "a man in a hat"}):
        again, fresh = score_captions(hypotheses, index), score_captions(hypotheses, REFERENCES)
        assert all(again[name].corpus == fresh[name].corpus for name in NAMES)


def test_samples_follow_the_order_of_the_references():
    turned = dict(reversed(HYPOTHESES.items()))
    assert np.array_equal(cider_d(turned, REFERENCES).samples, cider_d(HYPOTHESES, REFERENCES).samples)


def test_single_figures_are_those_of_the_whole():
    whole = score_captions(HYPOTHESES, REFERENCES)
    assert list(bleu(HYPOTHESES, REFERENCES)) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
    assert rouge_l(HYPOTHESES, REFERENCES).corpus == whole["ROUGE-L"].corpus
    assert cider_d(HYPOTHESES, REFERENCES).corpus == whole["CIDEr-D"].corpus


def test_a_perfect_caption_scores_1_but_cider_of_one_image_is_0():
    scores = score_captions(["a dog runs over the lawn"], [["A dog runs over the lawn."]])
    assert scores["BLEU-4"].corpus == pytest.approx(1, abs=1e-8)  # coco-caption's smoothing
    assert scores["ROUGE-L"].corpus == 1
    assert scores["CIDEr-D"].corpus == 0


def test_a_part_of_an_index_computes_its_own_weights():
    part = References(REFERENCES).only(["cat", "dog"])
    fresh = References({key: REFERENCES[key] for key in ("cat", "dog")})
    hypotheses = {key: HYPOTHESES[key] for key in ("dog", "cat")}
    assert cider_d(hypotheses, part).corpus == cider_d(hypotheses, fresh).corpus


def test_rewards_score_several_captions_by_weights_of_the_index():
    index = References(REFERENCES)
    rewards = cider_d_rows(
        ["a cat sleeps", "a dog is running", "sofa", "a dog is running"], ["cat", "dog", "cat", "dog"], index
    )
    samples = cider_d(HYPOTHESES, index).samples
    assert rewards[[1, 0]] == pytest.approx(samples[:2])
    assert rewards[1] == rewards[3] > rewards[2] >= 0


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        ({"x": "a"}, {}, "references: there are none"),
        ({"x": "a"}, {"x": []}, "references of image 'x': the list is empty"),
        ({"x": "a"}, {"x": "a dog"}, "references of image 'x': expected a list"),
        ({"x": "a"}, {"x": ["a", None]}, "references of image 'x': expected strings, got None"),
        ({"x": None}, {"x": ["a"]}, "hypothesis of image 'x': expected a string, got None"),
        ({"x": "a", "y": "b"}, {"x": ["a"]}, "image 'y' has no references"),
        ({"x": "a"}, {"x": ["a"], "y": ["b"], "z": ["b"]}, "image 'y' has no hypothesis, nor have 1 others"),
        (["a"], [["a"], ["b"]], "image 1 has no hypothesis"),
        ("a", [["a"]], "hypotheses: expected one caption per image, got 'a'"),
    ],
)
def test_mismatched_captions_are_refused(hypotheses, references, message):
    with pytest.raises(InputError, match=message):
        score_captions(hypotheses, references)


def test_an_unknown_figure_is_refused():
    with pytest.raises(InputError, match="'CIDER' is not one of BLEU-1"):
        score_captions(HYPOTHESES, REFERENCES, ["CIDER"])


def test_the_metric_equals_the_function_in_any_order_of_batches():
    metric, whole = CaptionScores(REFERENCES), score_captions(HYPOTHESES, REFERENCES)
    for keys in (["man"], ["dog", "cat"]):
        metric.update(keys, [HYPOTHESES[key] for key in keys])
    figures = metric.compute()
    assert figures == {name: torch.tensor(whole[name].corpus, dtype=torch.float64) for name in NAMES}
    assert np.array_equal(metric.rows()["BLEU-1"].samples, whole["BLEU-1"].samples)


def test_the_metric_scores_only_the_images_that_were_added():
    metric = CaptionScores(References(REFERENCES), ["CIDEr-D"])
    metric.update(["cat", "dog"], [HYPOTHESES["cat"], HYPOTHESES["dog"]])
    part = {key: REFERENCES[key] for key in ("dog", "cat")}
    assert metric.compute()["CIDEr-D"] == cider_d({key: HYPOTHESES[key] for key in part}, part).corpus


def test_the_metric_refuses_mismatched_images():
    metric = CaptionScores(REFERENCES)
    with pytest.raises(InputError, match="image 'cow' has no references"):
        metric.update(["cow"], ["a cow"])
    with pytest.raises(InputError, match="1 hypotheses for 2 keys"):
        metric.update(["dog", "cat"], ["a dog"])
    metric.update(["dog"], ["a dog"])
    metric.update(["dog"], ["a dog"])
    with pytest.raises(InputError, match="image 'dog' has two hypotheses"):
        metric.compute()


def test_the_metric_gathers_captions_of_other_processes():
    other = CaptionScores(REFERENCES)
    other.update(["dog", "man"], [HYPOTHESES["dog"], HYPOTHESES["man"]])
    mine = CaptionScores(
        REFERENCES, dist_sync_fn=lambda state, group: [state, *other.kept_bytes], distributed_available_fn=lambda: True
    )
    mine.update(["cat"], [HYPOTHESES["cat"]])
    whole = score_captions(HYPOTHESES, REFERENCES)
    assert mine.compute() == {name: torch.tensor(whole[name].corpus, dtype=torch.float64) for name in NAMES}
