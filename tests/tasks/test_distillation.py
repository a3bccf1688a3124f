"""A late student learns from an interactive teacher."""

import pytest
import torch
from helpers import tiny
from torch.nn import functional as F

from velm_lightning.checkpoints import checkpoint
from velm_lightning.encoders import MeanConnector
from velm_lightning.fusion import Fusion, InteractiveFusion, LateFusion
from velm_lightning.io.configurable import to_config
from velm_lightning.tasks import Classification, Distillation, Generation, Mixture
from velm_lightning.training import Optimization
from velm_lightning.types import InputError

TASKS = {"classification": (Classification, tiny.questions), "generation": (Generation, tiny.translations)}


@pytest.fixture(params=TASKS)
def kind(request):
    return request.param


@pytest.fixture
def teach(tmp_path):
    """The checkpoint of a teacher, and the teacher."""

    def make(kind="classification", **changes):
        text = tiny.transformer(dim=12)  # wider than the student
        parts = {"text_encoder": text, "task": TASKS[kind][0](), "heads": 2} | changes
        teacher = tiny.fusion(InteractiveFusion, **parts).eval()
        content = {"state_dict": teacher.state_dict()}
        checkpoint.pack(teacher, content)
        torch.save(content, tmp_path / "teacher.ckpt")
        return tmp_path / "teacher.ckpt", teacher

    return make


def student(path, kind="classification", **arguments):
    return tiny.fusion(LateFusion, task=Distillation(TASKS[kind][0](dropout=0.0), path, **arguments))


def test_the_loss_is_the_documented_sum(teach, kind):
    path, teacher = teach(kind)
    made = student(path, kind, temperature=3.0, soft=0.25, hidden=0.5)
    made.eval()
    made.task.train()  # without dropout in other parts, so that both sides can be computed again
    task, batch = made.task.task, tiny.batch(TASKS[kind][1](), made.vocabulary)
    states = task.vectors(made, made(batch), batch)
    thought = teacher.task.vectors(teacher, teacher(batch), batch)
    wanted, predicted = (teacher.task.head_logits(thought) / 3).softmax(-1), (task.head_logits(states) / 3).softmax(-1)
    divergence = (wanted * (wanted.log() - predicted.log())).sum(-1).mean()
    expected = 0.75 * task.loss_from_logits(task.head_logits(states), batch) + 0.25 * 9 * divergence
    expected = expected + 0.5 * F.mse_loss(made.task.map(states), thought)
    torch.testing.assert_close(made.task.loss(made, batch), expected)


def test_a_student_learns_the_answers_of_its_teacher(teach, batch):
    path, teacher = teach()
    made = student(path, soft=1.0, temperature=1.0).train()
    optimizer = Optimization(learning_rate=0.02, weight_decay=0.0).configure(made, 60)["optimizer"]
    for _ in range(60):
        optimizer.zero_grad()
        made.task.loss(made, batch).backward()
        optimizer.step()
    wanted = teacher.task.logits(teacher, batch).softmax(-1)
    torch.testing.assert_close(made.eval().task.task.logits(made, batch).softmax(-1), wanted, atol=0.05, rtol=0)


def test_every_parameter_learns_and_the_teacher_is_none_of_them(teach, kind):
    path, teacher = teach(kind)
    made = student(path, kind, hidden=1.0).train()
    batch = tiny.batch(TASKS[kind][1](), made.vocabulary)
    made.task.loss(made, batch).backward()
    assert all(p.grad is not None for p in made.parameters())
    assert not any("teacher" in name for name in made.state_dict())
    after = made.task._teacher[0].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in teacher.state_dict().items())


def test_a_student_is_rebuilt_without_its_teacher(teach, kind, tmp_path):
    path, _ = teach(kind)
    made = student(path, kind, hidden=1.0).eval()
    content = {"state_dict": made.state_dict()}
    checkpoint.pack(made, content)
    torch.save(content, tmp_path / "student.ckpt")
    path.unlink()
    again = Fusion.load_from_checkpoint(tmp_path / "student.ckpt")
    batch = tiny.batch(TASKS[kind][1](), made.vocabulary)
    assert again.task.predict(again, batch) == made.task.predict(made, batch)
    assert again.task.signature("test") == made.task.task.signature("test")
    assert to_config(again) == to_config(made)


def test_questions_and_constant_answers_are_those_of_the_task(teach, batch, monkeypatch):
    made = student(teach()[0])
    monkeypatch.setattr(Classification, "as_question", lambda _, batch: batch.first(1))
    monkeypatch.setattr(Classification, "constant_metrics", lambda *_: {"score": 0.25})
    assert made.task.as_question(batch).size == 1
    assert made.task.constant_metrics([], "yes") == {"score": 0.25}


def test_in_evaluation_it_is_the_task(teach, batch):
    made = student(teach()[0]).eval()
    assert made.task.loss(made, batch) == made.task.task.loss(made, batch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": tiny.vocabulary(answers=("a", "b", "c"))}, "was trained on other answers"),
        (
            {"vocabulary": tiny.vocabulary(tokenizer=tiny.train_tokenizer(["words"]))},
            "trained on other word pieces",
        ),
    ],
)
def test_a_teacher_of_other_data_is_refused(changes, message, teach):
    path, _ = teach(**changes)
    with pytest.raises(InputError, match=message):
        student(path)


def test_a_teacher_that_expects_other_images_is_refused(teach, batch):
    made = student(teach(image_encoder=tiny.cnn(size=32))[0]).train()
    with pytest.raises(InputError, match="task.teacher expects images as .*size=32.*and the student as .*size=16"):
        made.task.loss(made, batch)


def test_features_of_another_encoder_are_refused(teach, batch):
    made = student(teach(image_encoder=tiny.vit())[0]).train()
    features = batch._replace(image=torch.zeros(batch.size, 16, 12))
    with pytest.raises(InputError, match="task.teacher has another image encoder"):
        made.task.loss(made, features)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_teacher_gets_all_tokens_of_cached_features(teach, mixed):
    """A student that uses only their mean would otherwise give its teacher the mean as the only token."""
    parts = {"connector": MeanConnector(), "image_encoder": tiny.cnn()}
    task = Distillation(Classification(), teach()[0])
    task = Mixture({"answers": task}) if mixed else task
    assert tiny.fusion(LateFusion, **parts).uses_image_mean
    assert not tiny.fusion(LateFusion, task=task, **parts | {"connector": MeanConnector()}).uses_image_mean


def test_a_teacher_of_the_mean_gets_means(teach):
    path, _ = teach(connector=MeanConnector())
    assert not student(path).uses_image_mean
    task = Distillation(Classification(), path)
    assert tiny.fusion(LateFusion, task=task, connector=MeanConnector()).uses_image_mean


def test_a_teacher_must_be_named_and_weights_be_in_range(tmp_path):
    with pytest.raises(InputError, match="task.teacher is not set"):
        student(None)
    with pytest.raises(InputError, match="does not exist"):
        student(tmp_path / "none.ckpt")
    with pytest.raises(InputError, match="task.soft must be from 0 to 1, got 2"):
        Distillation(Classification(), tmp_path, soft=2)
