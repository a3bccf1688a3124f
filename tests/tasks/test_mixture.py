"""A mixture is the weighted sum of its tasks, and each task has its own metrics."""

import math

import pytest
import torch
from helpers import tiny

from velm_lightning.fusion import LateFusion
from velm_lightning.tasks import MaskedLM, Mixture, Retrieval
from velm_lightning.types import InputError


def mixture(**arguments):
    return Mixture({"words": MaskedLM(), "pairs": Retrieval(width=6)}, **arguments)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return tiny.fusion(LateFusion, vocabulary=tiny.vocabulary(answers=()), task=mixture(weights={"pairs": 0.25})).eval()


@pytest.fixture
def described(model):
    return tiny.batch(tiny.described(), model.vocabulary)


def rows_of(model, batch):
    with torch.no_grad():
        return model.task.aggregate(model, sorted(model.task.predict(model, batch)))


def test_the_loss_is_the_weighted_sum(model, described):
    torch.manual_seed(1)
    whole = model.task.loss(model, described)
    torch.manual_seed(1)
    words, pairs = (part.loss(model, described) for _, part in model.task.named_tasks())
    torch.testing.assert_close(whole, words + 0.25 * pairs)


def test_each_task_reports_what_it_would_by_itself(model, described):
    figures = model.task.compute_metrics(rows_of(model, described))
    for name, part in model.task.named_tasks():
        with torch.no_grad():
            alone = part.compute_metrics(part.aggregate(model, sorted(part.predict(model, described))))
        for figure, value in alone.items():
            assert figures[f"{name}_{figure}"] == pytest.approx(value)
    assert figures["score"] == figures["words_score"]


def test_rows_name_their_task_and_have_distinct_keys(model, described):
    rows = rows_of(model, described)
    assert len({row.key for row in rows}) == len(rows) == 3 + 3 + 3
    assert {row.group for row in rows} == {"words", "pairs: text to image", "pairs: image to text"}
    assert [row.key for row in rows if row.group == "words"] == list(described.keys)


def test_rows_are_scored_again_in_their_order(model, described):
    rows = rows_of(model, described)
    again = model.task.score([row._replace(score=math.nan) for row in rows])
    assert [row.key for row in again] == [row.key for row in rows]
    assert [row.score for row in again] == [row.score for row in rows]


def test_the_headline_may_be_another_task(model, described):
    model.task.headline = "pairs"
    figures = model.task.compute_metrics(rows_of(model, described))
    assert figures["score"] == figures["pairs_score"]
    assert model.task.signature("test").startswith("mean recall")
    assert {answer for answer, _ in model.task.top_answers(model, described, 2)[0]} == {"match", "no match"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": {"word": 1.0}}, "names 'word': choose among words, pairs"),
        ({"headline": "none"}, "names 'none'"),
        ({"weights": {"pairs": 0.0}}, "task.weights.pairs must be a finite number above 0, got 0.0"),
        ({"weights": {"pairs": math.nan}}, "task.weights.pairs must be a finite number above 0, got nan"),
    ],
)
def test_names_and_weights_are_checked(wrong, message):
    with pytest.raises(InputError, match=message):
        mixture(**wrong)


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(InputError, match="task.tasks is empty"):
        Mixture({})


@pytest.mark.parametrize("name", ["train", "a: b", "a.b"])
def test_a_name_that_weights_and_rows_cannot_carry_is_refused(name):
    with pytest.raises(InputError, match=f"names a task '{name}'"):
        Mixture({name: MaskedLM()})
