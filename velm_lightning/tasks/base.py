"""The base classes of tasks: a head, a loss, prediction rows, and metrics that are computed from rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor
from typing_extensions import override

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.io.configurable import Configurable
from velm_lightning.nn.buildable import Buildable
from velm_lightning.tasks.floors import Floors, constant, majority, training_answers
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, Prediction, Sample, Tokens


class Task(Configurable, Buildable, ABC):
    """A task: it reads the states of a fusion, which it accesses only through ``FusionProtocol``."""

    @abstractmethod
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """Create the head; called once, by the fusion that holds the task."""

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Inspect the training samples before training starts; does nothing by default."""

    @abstractmethod
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the scalar training loss of a batch."""

    @property
    def needs_image_tokens(self) -> bool:
        """Whether the loss needs all tokens of an image even if the model uses only their mean; by default False."""
        return False

    def num_items(self, batch: Batch) -> int | Tensor:
        """Return the number of items that ``loss`` is a mean over; by default the samples of the batch.

        Called after ``loss`` of the same batch. If an optimiser step has several micro-batches or processes, this
        number weights the loss of each, so that the step optimises the mean over all items.
        """
        return batch.size

    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """Run ``model`` once on a batch, up to the logits, so that the cost of inference can be measured.

        By default this calls ``loss``, which includes the head.
        """
        self.loss(model, batch)

    @abstractmethod
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """Return one scored row per sample."""

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return the rows with a score wherever it is NaN, computed from rows only; unchanged by default.

        ``velm verify`` and the baselines without a model call it with rows whose score is NaN. A task that does not
        override it must score its rows in ``predict``; its stored scores are then taken as they are.
        """
        return list(rows)

    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return the table of an evaluation, the same on every process, given the rows of all processes."""
        return self.score(rows)

    @abstractmethod
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute all reported metrics from rows; ``score`` is the headline metric, higher is better."""

    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        """Return the scores of baselines without a model on the samples of ``rows``; none by default.

        Args:
            rows: the rows of an evaluation, or rows without predictions; see ``floors.rows_of``.
            training: the samples of the training split.
        """
        return {}

    def constant_metrics(self, rows: Sequence[Prediction], answer: str) -> dict[str, float]:
        """Compute the metrics of a model that always predicts ``answer``, on the rows that ``floors`` is about."""
        return self.compute_metrics(constant(self, rows, answer))

    def producible(self, texts: Sequence[str], vocabulary: Vocabulary) -> list[str] | None:
        """Return the output of a perfect model whose targets are ``texts``; None if the answers are not texts.

        May be called before ``build``.
        """
        return None

    def as_question(self, batch: Batch) -> Batch:
        """Return samples of a split in the form that ``top_answers`` reads; by default unchanged."""
        return batch

    @abstractmethod
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """Return the ``count`` best answers per sample with their probabilities, best first."""

    @abstractmethod
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """Return the batch with ``answers``, one per sample, as its targets."""

    def evidence(self, model: FusionProtocol, batch: Batch, answers: Sequence[str]) -> Tensor:
        """Return a scalar score of ``answers``, one per sample, whose gradient attributes them to the inputs."""
        return -self.loss(model, self.with_targets(batch, answers))

    @abstractmethod
    def signature(self, split: str) -> str:
        """Return the definition of the headline metric on ``split``; see ``metrics.signature_of``."""


class HeadTask(Task):
    """A task whose logits are computed from single states by one head, as distillation requires."""

    @abstractmethod
    def vectors(self, model: FusionProtocol, states: Tokens, batch: Batch) -> Tensor:
        """Select the states (M, D) that the head is applied to from a batch's fused states (B, N, D)."""

    @abstractmethod
    def head_logits(self, vectors: Tensor) -> Tensor:
        """Return the logits (M, C) of states (M, D)."""

    @abstractmethod
    def loss_from_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch's logits (M, C)."""

    @override
    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        """Return the floor of a model that always answers with the most frequent training target."""
        answers = training_answers(training)
        if not answers or not any(row.references for row in rows):
            return {}
        floor = majority(self, rows, answers)
        return {"majority": floor} if "score" in floor else {}  # it has none if only ``predict`` can score a row

    @override
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        return self.loss_from_logits(self.head_logits(self.vectors(model, model(batch), batch)), batch)
