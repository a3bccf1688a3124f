"""Scores without a model, by the metric of the task: the majority answer, the prior and chance."""

import itertools
import math

import numpy as np
import pytest
from helpers import tiny

from velm_lightning.metrics.captions import score_captions
from velm_lightning.metrics.retrieval import best_ranks, recall_at
from velm_lightning.tasks import Classification, Distillation, Generation, MaskedLM, Mixture, Retrieval
from velm_lightning.tasks.floors import clustered_error, describe, label, not_beaten, rows_of, training_answers
from velm_lightning.tasks.ranking import Direction
from velm_lightning.tasks.scorers import Exact, Scorer, VQAAccuracy
from velm_lightning.types import Prediction, Sample

ANSWERED = ("no", "no", "no", "yes", "yes", "red")


def samples(answers):
    return [Sample(f"s{n}", tiny.picture(n), "is it ?", {answer: 1.0}, (answer,)) for n, answer in enumerate(answers)]


def predicted(rows, answers):
    return [row._replace(prediction=answer) for row, answer in zip(rows, answers, strict=True)]


def test_the_majority_answer_comes_from_training_and_is_scored():
    majority = Classification().floors(rows_of(samples(("no", "yes", "yes", "yes"))), samples(ANSWERED))["majority"]
    assert (majority["answer"], majority["score"], majority["accuracy"]) == ("no", 0.25, 0.25)
    assert majority["macro_f1"] == pytest.approx((2 * 1 / (4 + 1) + 0) / 2)
    assert "lead" not in majority, "nothing has been predicted"


def test_the_prior_is_the_expected_score_of_drawn_answers():
    prior = Classification().floors(rows_of(samples(("no", "yes", "yes", "blue"))), samples(ANSWERED))["prior"]
    assert prior["score"] == pytest.approx((3 / 6 + 2 / 6 + 2 / 6 + 0) / 4)


def test_soft_answers_count_by_their_share():
    soft = [sample._replace(target={"no": 1.0, "yes": 0.5}) for sample in samples(("no",))]
    assert training_answers(soft + samples(("yes",))) == pytest.approx({"yes": (1 / 3 + 1) / 2, "no": (2 / 3) / 2})


@pytest.mark.parametrize("protocol", ["official", "pre-2021", "always"])
def test_expected_vqa_accuracy_equals_the_sum_over_answers(protocol):
    answers = {"The dog.": 0.3, "dog": 0.2, "5.": 0.1, "5": 0.1, "im": 0.1, "a.m.": 0.1, "two": 0.05, "2": 0.05}
    references = [("dog", "the dog", "dog", "Dog"), ("5", "5", "5"), ("2", "two", "a.m."), ("5.", "im", "i'm"), ("x",)]
    scorer = VQAAccuracy(protocol)
    assert scorer.expected(answers, references) == pytest.approx(Scorer.expected(scorer, answers, references))
    assert Exact().expected(answers, references) == pytest.approx(Scorer.expected(Exact(), answers, references))


def test_a_caption_repeated_for_every_image_is_scored_by_cider():
    captions = ["a dog runs", "a cat sits", "a cat sits"]
    training = [Sample(f"t{n}", tiny.picture(n), "", text, (text,)) for n, text in enumerate(captions)]
    references = [("a cat sits on it", "a cat"), ("a dog runs",), ("two birds",)]
    rows = rows_of(Sample(f"v{n}", tiny.picture(n), "", given[0], given) for n, given in enumerate(references))
    majority = Generation().floors(rows, training)["majority"]
    expected = score_captions(["a cat sits"] * 3, references)
    assert majority["answer"] == "a cat sits"
    assert majority["score"] == majority["cider_d"] == expected["CIDEr-D"].corpus > 0
    assert majority["bleu_1"] == expected["BLEU-1"].corpus


def test_chance_in_retrieval_is_the_mean_over_all_rankings():
    owner = [0, 0, 1, 2, 2, 2]
    texts = [
        Prediction(f"t{n}", Direction.IMAGES.value, "", "", (f"p{of}",), *[math.nan] * 3) for n, of in enumerate(owner)
    ]
    pictures = [
        Prediction(f"p{of}", Direction.TEXTS.value, "", "", tuple("x" * owner.count(of)), *[math.nan] * 3)
        for of in range(3)
    ]
    chance = Retrieval().floors([*texts, *pictures], [])["chance"]
    relevant = np.array([[of == image for image in owner] for of in range(3)])
    ranks = [best_ranks(np.array([order] * 3), relevant) for order in itertools.permutations(range(6))]
    for name, value in recall_at(np.concatenate(ranks), (1, 5)).items():
        if name != "median rank":
            assert chance[f"image_to_text_{name.lower().replace('@', '')}"] == pytest.approx(value)
    assert chance["text_to_image_r1"] == pytest.approx(1 / 3)
    assert chance["score"] == pytest.approx(sum(v for k, v in chance.items() if k != "score") / 6)


def test_a_mixture_takes_its_headline_and_a_student_its_task():
    rows, training = rows_of(samples(("no", "yes"))), samples(ANSWERED)
    expected = Classification().floors(rows, training)
    mixed = Mixture({"words": MaskedLM(), "say": Classification()}, headline="say")
    assert mixed.floors(mixed._named("say", rows), training) == expected
    assert Distillation(Classification()).floors(rows, training) == expected


@pytest.mark.parametrize("task", [MaskedLM(), Retrieval(width=6)])
def test_tasks_without_a_target_have_no_majority(task):
    assert task.floors(rows_of(samples(ANSWERED)), samples(ANSWERED)) == {}


def test_the_lead_over_the_majority_has_a_paired_error():
    task, answers = Classification(), ("no", "yes", "yes", "red", "no", "yes")
    rows = task.score(predicted(rows_of(samples(answers)), ("no", "yes", "no", "red", "yes", "yes")))
    majority = task.floors(rows, samples(ANSWERED))["majority"]
    differences = np.array([1, 1, 0, 1, 0, 1]) - np.array([1, 0, 0, 0, 1, 0])
    assert majority["lead"] == pytest.approx(differences.mean())
    assert majority["lead_error"] == pytest.approx(differences.std(ddof=1) / 6**0.5)


def test_the_error_of_a_mean_is_clustered_by_image():
    whole = clustered_error([(name, value) for name, value in zip("abc", (0.0, 1.0, 0.5), strict=True)])
    assert clustered_error(
        [(name, value) for name, value in zip("aabbcc", (0.0, 0.0, 1.0, 1.0, 0.5, 0.5), strict=True)]
    ) == (pytest.approx(whole))
    assert math.isnan(clustered_error([("a", 1.0), ("a", 0.0)]))


@pytest.mark.parametrize(("lead", "error", "expected"), [(0.1, 0.2, True), (0.3, 0.2, False), (-0.1, 0.0, True)])
def test_a_score_beats_the_majority_by_more_than_its_error(lead, error, expected):
    assert not_beaten({"lead": lead, "lead_error": error}) is expected


def test_floors_are_described_in_words():
    floors = {"majority": {"answer": "yes", "score": 0.25}, "prior": {"score": 0.125}}
    assert describe(floors, "accuracy") == (
        "always answering 'yes' scores 0.2500, drawing answers by their training frequency scores 0.1250 (accuracy)"
    )
    assert describe({}, "accuracy") == ""
    assert label("majority", {"answer": "x" * 50}) == f"majority answer '{'x' * 39}…'"
