"""Classification against values computed by hand: losses, predictions, rows and metrics."""

import math

import pytest
import torch
from helpers import tiny
from torch import log, nn, tensor

from velm_lightning.fusion import LateFusion
from velm_lightning.tasks import Classification, Exact, VQAAccuracy
from velm_lightning.tasks.rows import gather_rows, group_scores, mean
from velm_lightning.types import InputError, Prediction

# Softmax gives these logits the probabilities 1/6, 2/6, 3/6; the sigmoid 1/2, 2/3, 3/4.
LOGITS = log(tensor([[1.0, 2.0, 3.0]]))


def task(**arguments):
    made = Classification(**arguments)
    made.build(tiny.vocabulary(), tiny.transformer())
    return made


def loss_of(answers, **arguments):
    return task(**arguments).losses(LOGITS, tensor([answers])).item()


def says(logits, **arguments):
    """Return a task whose logits are these for any model."""
    made = task(**arguments)
    made.logits = lambda model, batch: logits
    return made


# Losses


def test_one_answer_costs_its_negative_log_probability():
    assert loss_of([0.0, 1.0, 0.0]) == pytest.approx(math.log(3))
    assert loss_of([1.0, 0.0, 0.0]) == pytest.approx(math.log(6))


def test_soft_answers_are_made_to_sum_to_1():
    assert loss_of([0.0, 0.6, 0.3]) == pytest.approx(2 / 3 * math.log(3) + 1 / 3 * math.log(2))
    assert loss_of([0.0, 0.6, 0.3]) == pytest.approx(loss_of([0.0, 1.0, 0.5]))


def test_the_sigmoid_treats_each_answer_separately():
    # binary cross-entropies of 1/2, 2/3 and 3/4 against 0, 0.6 and 0.3
    expected = -math.log(1 / 2)
    expected += -0.6 * math.log(2 / 3) - 0.4 * math.log(1 / 3)
    expected += -0.3 * math.log(3 / 4) - 0.7 * math.log(1 / 4)
    assert loss_of([0.0, 0.6, 0.3], loss="sigmoid") == pytest.approx(expected)


def test_class_weights_are_inverse_frequencies_with_mean_1():
    # the training answers are no, no, red, yes
    assert task(balance=1.0).answer_weight.tolist() == pytest.approx([2 / 3, 4 / 3, 4 / 3])
    assert task(balance=0.0).answer_weight.tolist() == [1, 1, 1]
    root = 4 / (2 * 2**-0.5 + 2)
    assert task(balance=0.5).answer_weight.tolist() == pytest.approx([2**-0.5 * root, root, root])


def test_class_weights_need_no_counts():
    made = Classification(balance=1.0)
    made.build(tiny.vocabulary(counts=()), tiny.transformer())
    assert made.answer_weight.tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_class_weights_multiply_the_terms_of_their_answers(kind):
    plain, weighted = task(loss=kind), task(loss=kind, balance=1.0)
    for answer in range(3):
        answers = torch.eye(3)[answer : answer + 1]
        if kind == "softmax":
            expected = plain.losses(LOGITS, answers) * weighted.answer_weight[answer]
        else:
            terms = nn.functional.binary_cross_entropy_with_logits(LOGITS, answers, reduction="none")
            expected = (terms * weighted.answer_weight).sum(-1)
        torch.testing.assert_close(weighted.losses(LOGITS, answers), expected)


def test_focal_loss_plays_down_what_is_already_likely():
    assert loss_of([0.0, 0.0, 1.0], focal=2.0) == pytest.approx((1 / 2) ** 2 * math.log(2))
    assert loss_of([1.0, 0.0, 0.0], focal=2.0) == pytest.approx((5 / 6) ** 2 * math.log(6))
    assert loss_of([1.0, 0.0, 0.0], focal=1.0) == pytest.approx(5 / 6 * math.log(6))


def test_sigmoid_focal_loss_uses_the_distance_to_each_weight():
    expected = (1 / 2) ** 2 * math.log(2) + (1 / 3) ** 2 * -math.log(2 / 3) + (3 / 4) ** 2 * math.log(4)
    assert loss_of([0.0, 1.0, 0.0], loss="sigmoid", focal=2.0) == pytest.approx(expected)


@pytest.mark.parametrize("arguments", [{}, {"focal": 2.0}, {"balance": 1.0}, {"loss": "sigmoid"}])
def test_the_loss_stays_finite_if_the_model_is_certain(arguments):
    logits = tensor([[1000.0, 0.0, -1000.0]], requires_grad=True)
    for answer in range(3):
        loss = task(**arguments).losses(logits, torch.eye(3)[answer : answer + 1]).sum()
        assert loss.isfinite()
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.isfinite().all()


EDGES = {  # logits with probabilities of 0 or 1, exact or rounded, and soft answers that are predicted exactly
    "certain": [[1000.0, 0.0, -1000.0]],
    "nearly certain": [[17.0, 0.0, -103.0]],
    "met": [[0.0, 0.0, math.log(3)]],  # the sigmoid's 1/2, 1/2 and 3/4
}


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("focal", [0.05, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("answers", [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.75]])
@pytest.mark.parametrize("edge", EDGES)
def test_focal_slopes_are_finite_at_the_limits(kind, focal, answers, edge):
    logits = tensor(EDGES[edge], requires_grad=True)
    loss = task(loss=kind, focal=focal).losses(logits, tensor([answers]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("focal", [0.3, 0.5])
def test_focal_slopes_are_those_of_finite_differences(kind, focal):
    made = task(loss=kind, focal=focal).double()
    for values in ([0.3, -1.2, 2.0], [9.0, 0.0, -9.0]):
        for answers in ([1.0, 0.0, 0.0], [0.0, 0.6, 0.3]):
            logits, wanted = (tensor([row], dtype=torch.double) for row in (values, answers))
            assert torch.autograd.gradcheck(lambda x, wanted=wanted: made.losses(x, wanted), logits.requires_grad_())


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_certain_right_answer_has_no_focal_slope(kind):
    """-log p (1 - p) ** 0.5 is nearly (1 - p) ** 1.5, which is flat at p = 1."""
    logits = tensor([[200.0, -200.0, -200.0]], requires_grad=True)
    loss = task(loss=kind, focal=0.5).losses(logits, tensor([[1.0, 0.0, 0.0]]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.item() == 0
    assert gradient.tolist() == [[0, 0, 0]]


def test_a_negative_focal_exponent_is_refused():
    with pytest.raises(InputError, match=r"task\.focal must be a finite number of at least 0, got -1\.0"):
        Classification(focal=-1.0)


def test_the_loss_of_a_batch_is_the_mean_of_its_samples(batch):
    logits = torch.randn(3, 3)
    made = task()
    torch.testing.assert_close(made.loss_from_logits(logits, batch), made.losses(logits, batch.answers).mean())


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("focal", [0.0, 2.0])
def test_a_sample_whose_answers_are_all_unknown_teaches_nothing(kind, focal):
    logits = torch.randn(2, 3, requires_grad=True)
    answers = tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    task(loss=kind, focal=focal).losses(logits, answers).sum().backward()
    assert logits.grad[0].any()
    assert not logits.grad[1].any()


def test_data_without_answers_is_refused():
    with pytest.raises(InputError, match="classification needs answers.*its targets are sentences"):
        Classification().build(tiny.vocabulary(answers=(), counts=()), tiny.transformer())


# Predictions


def test_the_prediction_is_the_most_probable_answer(batch):
    rows = says(LOGITS.expand(3, 3)).predict(None, batch)
    assert [row.prediction for row in rows] == ["yes"] * 3
    assert [row.confidence for row in rows] == pytest.approx([1 / 2] * 3)
    rows = says(LOGITS.expand(3, 3), loss="sigmoid").predict(None, batch)
    assert [row.confidence for row in rows] == pytest.approx([3 / 4] * 3)


def test_a_row_holds_the_fields_of_its_sample(batch):
    rows = says(LOGITS.expand(3, 3)).predict(None, batch)
    for row, sample in zip(rows, tiny.questions(), strict=True):
        assert row[:3] == (sample.key, sample.group, sample.text)
        assert row.references == sample.references
    assert [row.score for row in rows] == [0, 1, 0]
    expected = [math.log(6), 2 / 3 * math.log(2) + 1 / 3 * math.log(6), math.log(3)]
    assert [row.loss for row in rows] == pytest.approx(expected)


def test_a_sample_of_unknown_answers_has_a_score_and_no_loss(vocabulary):
    samples = [sample._replace(target={"zebra": 1.0}, references=("zebra",)) for sample in tiny.questions()[:1]]
    (row,) = says(LOGITS).predict(None, tiny.batch(samples, vocabulary))
    assert row.score == 0
    assert math.isnan(row.loss)


def test_a_sample_without_references_has_no_score(vocabulary):
    samples = [sample._replace(target=None, references=()) for sample in tiny.questions()[:1]]
    (row,) = says(LOGITS).predict(None, tiny.batch(samples, vocabulary))
    assert row.prediction == "yes"
    assert math.isnan(row.score)
    assert math.isnan(row.loss)


def test_the_best_answers_come_first_with_their_probabilities(batch):
    (best, _, _) = says(LOGITS.expand(3, 3)).top_answers(None, batch, 2)
    assert [answer for answer, _ in best] == ["yes", "red"]
    assert [probability for _, probability in best] == pytest.approx([1 / 2, 1 / 3])


def test_no_more_answers_are_given_than_there_are(batch):
    (best, _, _) = says(LOGITS.expand(3, 3)).top_answers(None, batch, 10)
    assert [answer for answer, _ in best] == ["yes", "red", "no"]
    assert sum(probability for _, probability in best) == pytest.approx(1)


def test_a_batch_may_be_given_other_answers(batch):
    turned = task().with_targets(batch, ["yes", "no", "yes"])
    assert turned.answers.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert turned.ids is batch.ids


@torch.no_grad()
def test_a_model_predicts_what_its_head_says(batch):
    model = tiny.fusion(LateFusion).eval()
    logits = model.task.head(model.pool(model(batch)))
    rows = model.task.predict(model, batch)
    assert [row.prediction for row in rows] == [tiny.ANSWERS[i] for i in logits.argmax(-1).tolist()]
    assert [row.confidence for row in rows] == pytest.approx(logits.softmax(-1).amax(-1).tolist())


# Metrics


def row(key, prediction, references, score=None, loss=0.5, group="g"):
    score = float(prediction in references) if score is None else score
    return Prediction(key, group, "?", prediction, tuple(references), score, 0.9, loss)


def test_scores_that_are_missing_are_filled_in_and_others_kept():
    rows = [row("a", "cat", ["cat"], math.nan), row("b", "cat", ["dog"], 0.25), row("c", "cat", [], math.nan)]
    assert [r.score for r in task().score(rows)] == [1.0, 0.25, pytest.approx(math.nan, nan_ok=True)]


def test_figures_of_single_labels():
    rows = [row("a", "cat", ["cat"]), row("b", "cat", ["dog"]), row("c", "dog", ["dog"]), row("d", "cat", ["cat"])]
    metrics = task().compute_metrics(
        [r._replace(loss=loss) for r, loss in zip(rows, (0.1, 0.2, 0.3, 0.4), strict=True)]
    )
    f1 = (2 * 2 / (2 * 2 + 1) + 2 * 1 / (2 * 1 + 1)) / 2  # cat: 2 hits, 1 false; dog: 1 hit, 1 missed
    assert metrics == pytest.approx({"score": 0.75, "accuracy": 0.75, "loss": 0.25, "macro_f1": f1})


def test_several_references_have_no_macro_f1():
    metrics = task().compute_metrics([row("a", "cat", ["cat", "kitten"]), row("b", "cat", ["dog"])])
    assert metrics == {"score": 0.5, "accuracy": 0.5, "loss": 0.5}


def test_rows_without_a_score_or_a_loss_do_not_count():
    rows = [row("a", "cat", ["cat", "x"]), row("b", "cat", [], score=math.nan, loss=math.nan)]
    assert task().compute_metrics(rows) == {"score": 1.0, "accuracy": 1.0, "loss": 0.5}


def test_the_headline_is_named_after_its_scorer():
    made = task(scorer=VQAAccuracy("pre-2021"))
    assert made.compute_metrics([row("a", "2", ["2", "two"])]).keys() == {"score", "vqa_accuracy", "loss"}
    assert made.signature("val:12").startswith("VQA accuracy|scorer:vqaEval|protocol:pre-2021|split:val:12|")
    assert task().signature("val:12").startswith("accuracy|scorer:exact-match|split:val:12|")


def test_vqa_accuracy_counts_the_annotators_that_agree(vocabulary):
    answers = ("yes",) * 2 + ("no",) * 8
    samples = [tiny.questions()[0]._replace(references=answers)]
    (scored,) = says(LOGITS, scorer=VQAAccuracy()).predict(None, tiny.batch(samples, vocabulary))
    assert scored.prediction == "yes"
    assert scored.score == pytest.approx((2 * (1 / 3) + 8 * (2 / 3)) / 10)


def test_exact_match_is_letter_for_letter():
    assert Exact()("cat", ("dog", "cat")) == 1
    assert Exact()("Cat", ("cat",)) == 0
    assert Exact()("cat", ()) == 0


# The table


def test_a_mean_does_not_depend_on_the_order():
    values = [0.1, 1e16, 0.3, -1e16, 0.2, math.nan]
    assert mean(values) == mean(reversed(values)) == pytest.approx(0.12)
    assert math.isnan(mean([]))
    assert math.isnan(mean([math.nan]))


def test_rows_come_sorted_by_key():
    rows = [row("b", "x", ["x"]), row("a", "x", ["x"])]
    assert [r.key for r in gather_rows(rows)] == ["a", "b"]


def test_groups_are_scored_apart_and_rows_without_one_left_out():
    rows = [
        row("a", "x", ["x"], group="b"),
        row("b", "x", ["y"], group="b"),
        row("c", "x", ["y"], group="a"),
        row("d", "x", ["x"], group=""),
    ]
    assert group_scores(rows) == {"a": (1, 0.0), "b": (2, 0.5)}
    assert list(group_scores(rows)) == ["a", "b"]
