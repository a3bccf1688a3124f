"""Distillation: a task that is learned from the data and from the logits and states of a trained model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.checkpoints import checkpoint
from velm_lightning.encoders.base import TextEncoder
from velm_lightning.errors import at_least, positive, within
from velm_lightning.io.configurable import Configurable, rebuilding, to_config
from velm_lightning.tasks.base import HeadTask, Task
from velm_lightning.tasks.floors import Floors
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, Sample


class Distillation(Task):
    """A task with a teacher, whose logits (Hinton et al. 2015) and states (Romero et al. 2015) the student matches.

    The loss is ``(1 - soft) * task + soft * temperature^2 * KL(teacher || student) + hidden * distance``: the answer
    distributions at a temperature, and the squared distance of the states that the head is applied to, the student's
    after a linear map. In evaluation only the task is used; the teacher is not part of the student's checkpoint.

    Args:
        task: the task that is learned; the teacher has learned the same one.
        teacher: checkpoint of the teacher, trained on the same data with the same image transform.
        temperature: divides the logits of teacher and student.
        soft: weight of the teacher's distribution in the loss, between 0 and 1.
        hidden: weight of the distance of the states.
        width: width of the teacher's states; by default read from the checkpoint.

    Raises:
        InputError: a weight is out of its range, or the teacher is missing, or has another tokeniser, other answers or
            another image transform.
    """

    def __init__(
        self,
        task: HeadTask,
        teacher: Path | None = None,
        temperature: float = 2.0,
        soft: float = 0.5,
        hidden: float = 0.0,
        width: int | None = None,
    ) -> None:
        super().__init__()
        positive("task", temperature=temperature)
        within(0, 1, "task", soft=soft)
        within(0, math.inf, "task", hidden=hidden)
        at_least(1, "task", width=width)
        self.task, self.path, self.width = task, teacher, width
        self.temperature, self.soft, self.hidden = temperature, soft, hidden
        self._teacher: list[Any] = []  # a list hides it from the parameters and the checkpoint

    @override
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """Build the task and load the teacher."""
        self.task.build(vocabulary, text_encoder)
        if not rebuilding():
            self._teacher = [self._load_teacher(vocabulary)]
            self.width = self._init_args["width"] = int(self._teacher[0].text_encoder.dim)
        self.map = nn.Linear(text_encoder.dim, cast(int, self.width)) if self.hidden else None

    def _load_teacher(self, vocabulary: Vocabulary) -> Any:
        if self.path is None:
            raise InputError("task.teacher is not set: name the checkpoint of a trained model")
        teacher: Any = checkpoint.load(self.path, nn.Module).requires_grad_(False)
        if isinstance(teacher.task, Distillation):
            teacher.task = teacher.task.task
        there, here = (to_config(words)["init_args"] for words in (teacher.vocabulary, vocabulary))
        for name, what in (("tokenizer", "word pieces"), ("answers", "answers")):
            if there[name] != here[name]:
                raise InputError(f"task.teacher {self.path} was trained on other {what}: train it on the same data")
        if not isinstance(teacher.task, HeadTask):
            kind = type(teacher.task).__name__
            raise InputError(f"task.teacher {self.path} was trained on {kind}, which has no single head to distil")
        return teacher

    @override
    def prepare(self, samples: Sequence[Sample]) -> None:
        self.task.prepare(samples)

    @override
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the combined loss; outside of training, or without a teacher, the loss of the task."""
        if not self.training or not self._teacher:
            return self.task.loss(model, batch)
        states = self.task.vectors(model, model(batch), batch)
        logits = self.task.head_logits(states)
        teacher_logits, teacher_states = self._teacher_outputs(model, batch)
        total = (1 - self.soft) * self.task.loss_from_logits(logits, batch)
        student, target = ((each / self.temperature).log_softmax(-1) for each in (logits, teacher_logits))
        divergence = F.kl_div(student, target, reduction="batchmean", log_target=True)
        total = total + self.soft * self.temperature**2 * divergence
        return total if self.map is None else total + self.hidden * F.mse_loss(self.map(states), teacher_states)

    @property
    @override
    def needs_image_tokens(self) -> bool:
        """Whether the teacher, which gets the batch of the student, uses more than the mean of the image tokens."""
        return any(not teacher.uses_image_mean for teacher in self._teacher)

    @override
    def num_items(self, batch: Batch) -> int | Tensor:
        """Return the number of items of the task's own loss."""
        return self.task.num_items(batch)

    @override
    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """Run the student only."""
        self.task.forward_once(model, batch)

    @torch.no_grad()
    def _teacher_outputs(self, model: FusionProtocol, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the teacher's logits and states."""
        teacher = self._teacher[0]
        if next(teacher.parameters()).device != batch.ids.device:
            teacher.to(batch.ids.device)
        _check_transform(cast(Any, model), teacher, batch)
        states = teacher.task.vectors(teacher, teacher(batch), batch)
        return teacher.task.head_logits(states), states

    @override
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        return self.task.predict(model, batch)

    @override
    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        return self.task.aggregate(model, rows)

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        return self.task.score(rows)

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        return self.task.compute_metrics(rows)

    @override
    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        return self.task.floors(rows, training)

    @override
    def producible(self, texts: Sequence[str], vocabulary: Vocabulary) -> list[str] | None:
        return self.task.producible(texts, vocabulary)

    @override
    def constant_metrics(self, rows: Sequence[Prediction], answer: str) -> dict[str, float]:
        return self.task.constant_metrics(rows, answer)

    @override
    def as_question(self, batch: Batch) -> Batch:
        return self.task.as_question(batch)

    @override
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        return self.task.top_answers(model, batch, count)

    @override
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        return self.task.with_targets(batch, answers)

    @override
    def signature(self, split: str) -> str:
        return self.task.signature(split)


def _check_transform(student: Any, teacher: Any, batch: Batch) -> None:
    """Raise ``InputError`` if the images are not prepared as the teacher requires."""
    if student.transform != teacher.transform:
        raise InputError(f"task.teacher expects images as {teacher.transform}, and the student as {student.transform}")
    encoder = student.image_encoder
    if (
        batch.image.is_floating_point()
        and isinstance(encoder, Configurable)
        and to_config(encoder) != to_config(teacher.image_encoder)
    ):
        raise InputError("task.teacher has another image encoder, for which data.cache_features must be false")
