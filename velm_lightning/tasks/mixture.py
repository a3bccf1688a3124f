"""A mixture: several tasks that are trained jointly on the same samples, as in pretraining."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.floors import Floors
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, Sample


class Mixture(Task):
    """The weighted sum of tasks (UNITER, Chen et al. 2020; ALBEF, Li et al. 2021).

    Each task's loss is a mean over its items, samples or tokens. If an optimiser step has several micro-batches or
    processes, the sums of these means are weighted by the number of samples: the loss of a task over tokens then
    depends on how the step is divided, unless all parts have equally many tokens per sample.

    The rows of the headline task keep their keys; those of other tasks, and all metrics, are prefixed by the name of
    their task.

    Args:
        tasks: tasks by name.
        weights: weight of each task's loss by name; by default 1.
        headline: the task whose score is the mixture's; by default the first.

    Raises:
        InputError: there is no task, a weight is not a finite number above 0, or a name is unknown or not allowed.
    """

    def __init__(
        self, tasks: Mapping[str, Task], weights: Mapping[str, float] | None = None, headline: str | None = None
    ) -> None:
        super().__init__()
        weights = dict(weights or {})
        if not tasks:
            raise InputError("task.tasks is empty: name at least one task")
        if odd := [name for name in tasks if not name.isidentifier() or hasattr(nn.ModuleDict, name)]:
            raise InputError(f"task.tasks names a task {odd[0]!r}: use an identifier that no method of a module has")
        unknown = sorted({*weights, *([headline] if headline else [])} - set(tasks))
        if unknown:
            raise InputError(f"task.weights or task.headline names {unknown[0]!r}: choose among {', '.join(tasks)}")
        for name, weight in weights.items():
            if not 0 < weight < math.inf:
                raise InputError(
                    f"task.weights.{name} must be a finite number above 0, got {weight}: leave out a task instead"
                )
        self.parts = nn.ModuleDict(tasks)
        self.weights = {name: weights.get(name, 1.0) for name in tasks}
        self.headline = headline or next(iter(tasks))

    def named_tasks(self) -> Iterator[tuple[str, Task]]:
        """Yield the tasks with their names."""
        for name, part in self.parts.items():
            assert isinstance(part, Task)
            yield name, part

    @property
    def headline_task(self) -> Task:
        """The headline's task."""
        return dict(self.named_tasks())[self.headline]

    @override
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        for _, part in self.named_tasks():
            part.build(vocabulary, text_encoder)

    @override
    def prepare(self, samples: Sequence[Sample]) -> None:
        for _, part in self.named_tasks():
            part.prepare(samples)

    @override
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the weighted sum of the tasks' losses."""
        return torch.stack([self.weights[name] * part.loss(model, batch) for name, part in self.named_tasks()]).sum()

    @property
    @override
    def needs_image_tokens(self) -> bool:
        return any(part.needs_image_tokens for _, part in self.named_tasks())

    @override
    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """Run the model once per task."""
        for _, part in self.named_tasks():
            part.forward_once(model, batch)

    @override
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """Return the rows of all tasks."""
        return [row for name, part in self.named_tasks() for row in self._named(name, part.predict(model, batch))]

    def _named(self, name: str, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return a task's rows with its name in keys and groups."""
        return [
            row._replace(
                key=row.key if name == self.headline else f"{name}: {row.key}",
                group=f"{name}: {row.group}" if row.group else name,
            )
            for row in rows
        ]

    def _rows_of(self, name: str, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return the rows of a task with its name removed from keys and groups."""
        mine = [row for row in rows if row.group.partition(": ")[0] == name]
        keys = [row.key if name == self.headline else row.key.removeprefix(f"{name}: ") for row in mine]
        return [row._replace(key=key, group=row.group.partition(": ")[2]) for row, key in zip(mine, keys, strict=True)]

    @override
    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        return [
            row
            for name, part in self.named_tasks()
            for row in self._named(name, part.aggregate(model, self._rows_of(name, rows)))
        ]

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Score the rows, which are returned in the order of their tasks."""
        return [
            row for name, part in self.named_tasks() for row in self._named(name, part.score(self._rows_of(name, rows)))
        ]

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        metrics = {name: part.compute_metrics(self._rows_of(name, rows)) for name, part in self.named_tasks()}
        named = {f"{name}_{figure}": value for name, values in metrics.items() for figure, value in values.items()}
        return {"score": metrics[self.headline]["score"], **named}

    @override
    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        return self.headline_task.floors(self._rows_of(self.headline, rows), training)

    @override
    def constant_metrics(self, rows: Sequence[Prediction], answer: str) -> dict[str, float]:
        return self.headline_task.constant_metrics(self._rows_of(self.headline, rows), answer)

    @override
    def as_question(self, batch: Batch) -> Batch:
        return self.headline_task.as_question(batch)

    @override
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        return self.headline_task.top_answers(model, batch, count)

    @override
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        return self.headline_task.with_targets(batch, answers)

    @override
    def evidence(self, model: FusionProtocol, batch: Batch, answers: Sequence[str]) -> Tensor:
        return self.headline_task.evidence(model, batch, answers)

    @override
    def signature(self, split: str) -> str:
        return self.headline_task.signature(split)
