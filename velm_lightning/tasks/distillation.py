"""Distillation: a task that is learned from a trained model's answers as well as from the data's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.checkpoints import checkpoint
from velm_lightning.encoders.base import TextEncoder
from velm_lightning.io.configurable import Configurable, rebuilding, to_config
from velm_lightning.tasks.base import HeadTask, Task
from velm_lightning.tasks.floors import Floors
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, Sample


class Distillation(Task):
    """A task whose student is also to answer as a teacher does (Hinton et al. 2015) and to think alike (Romero 2015).

    The loss is ``(1 - soft) * task + soft * temperature^2 * KL(teacher || student) + hidden * distance``: the answers'
    distributions at a temperature, and the squared distance of the states that the answers are read off, the student's
    after a linear map. In evaluation it is the task alone; the teacher is no part of the student's checkpoint.

    Args:
        task: what is learned; the teacher learned the same.
        teacher: checkpoint of the teacher, trained on the same data with the same image transform.
        temperature: divides both sides' logits.
        soft: share of the teacher's answers in the loss, between 0 and 1.
        hidden: weight of the states' distance.
        width: width of the teacher's states; found out from the checkpoint.

    Raises:
        InputError: a weight is out of its range, or the teacher is missing or of other words, answers or pictures.
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
        if temperature <= 0 or not 0 <= soft <= 1 or hidden < 0:
            raise InputError(
                f"task.temperature={temperature} must be above 0, task.soft={soft} between 0 and 1, "
                f"and task.hidden={hidden} not negative"
            )
        self.task, self.path, self.width = task, teacher, width
        self.temperature, self.soft, self.hidden = temperature, soft, hidden
        self._teacher: list[Any] = []  # in a list it is no part of this one

    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """See ``Task.build``: reads the teacher."""
        self.task.build(vocabulary, text_encoder)
        if not rebuilding():
            self._teacher = [self._read(vocabulary)]
            self.width = self._init_args["width"] = int(self._teacher[0].text_encoder.dim)
        self.map = nn.Linear(text_encoder.dim, cast(int, self.width)) if self.hidden else None

    def _read(self, vocabulary: Vocabulary) -> Any:
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
            raise InputError(f"task.teacher {self.path} learned {type(teacher.task).__name__}: it gives no answers")
        return teacher

    def prepare(self, samples: Sequence[Sample]) -> None:
        """See ``Task.prepare``."""
        self.task.prepare(samples)

    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """See ``Task.loss``; outside of training, and where no teacher was read, the task's own."""
        if not self.training or not self._teacher:
            return self.task.loss(model, batch)
        states = self.task.vectors(model, model(batch), batch)
        logits = self.task.head_logits(states)
        wanted, thought = self._taught(model, batch)
        total = (1 - self.soft) * self.task.loss_from_logits(logits, batch)
        said = (logits / self.temperature).log_softmax(-1)
        alike = F.kl_div(said, (wanted / self.temperature).log_softmax(-1), reduction="batchmean", log_target=True)
        total = total + self.soft * self.temperature**2 * alike
        return total if self.map is None else total + self.hidden * F.mse_loss(self.map(states), thought)

    def num_items(self, batch: Batch) -> int | Tensor:
        """See ``Task.num_items``: the states that answers are read off, as in the task's own loss."""
        return self.task.num_items(batch)

    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """See ``Task.forward_once``: the task's own; the teacher is not asked."""
        self.task.forward_once(model, batch)

    @torch.no_grad()
    def _taught(self, model: FusionProtocol, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the teacher's logits and states."""
        teacher = self._teacher[0]
        if next(teacher.parameters()).device != batch.ids.device:
            teacher.to(batch.ids.device)
        _check_pictures(cast(Any, model), teacher, batch)
        states = teacher.task.vectors(teacher, teacher(batch), batch)
        return teacher.task.head_logits(states), states

    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """See ``Task.predict``."""
        return self.task.predict(model, batch)

    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``Task.aggregate``."""
        return self.task.aggregate(model, rows)

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """See ``Task.score``."""
        return self.task.score(rows)

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """See ``Task.compute_metrics``."""
        return self.task.compute_metrics(rows)

    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        """See ``Task.floors``."""
        return self.task.floors(rows, training)

    def producible(self, texts: Sequence[str], vocabulary: Vocabulary) -> list[str] | None:
        """See ``Task.producible``."""
        return self.task.producible(texts, vocabulary)

    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """See ``Task.top_answers``."""
        return self.task.top_answers(model, batch, count)

    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """See ``Task.with_targets``."""
        return self.task.with_targets(batch, answers)

    def signature(self, split: str) -> str:
        """See ``Task.signature``."""
        return self.task.signature(split)


def _check_pictures(student: Any, teacher: Any, batch: Batch) -> None:
    """Refuse to show the teacher what was made for other eyes."""
    if student.transform != teacher.transform:
        raise InputError(f"task.teacher wants pictures as {teacher.transform}, and the student {student.transform}")
    eyes = student.image_encoder
    if (
        batch.image.is_floating_point()
        and isinstance(eyes, Configurable)
        and to_config(eyes) != to_config(teacher.image_encoder)
    ):
        raise InputError("task.teacher has another image encoder, for which data.cache_features must be false")
