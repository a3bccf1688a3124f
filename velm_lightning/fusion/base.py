"""What every fusion shares: encoders, task, steps, evaluation rows and checkpoints that stand alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from torch import Tensor, nn

from velm_lightning.checkpoints import checkpoint
from velm_lightning.checkpoints.start_from import InitReport, start_from
from velm_lightning.encoders import ImageEncoder, TextEncoder
from velm_lightning.encoders.connectors import Connector, LinearConnector
from velm_lightning.io.configurable import Configurable, rebuilding
from velm_lightning.nn.attention import AttentionMaps
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.rows import gather_rows
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.training.optimization import Optimization
from velm_lightning.training.step_mean import StepMean
from velm_lightning.types import Batch, ImageTransform, Prediction, TextInput, Tokens


class Fusion(Configurable, LightningModule, ABC):
    """A visually-enhanced language model; a subclass writes ``fuse``, the one place where image and text meet.

    Args:
        vocabulary: word pieces and answers; all sizes that depend on the data come from it.
        image_encoder: turns pictures into tokens.
        text_encoder: embeds words and lets them read each other.
        task: head, loss and metrics.
        optimization: optimiser and schedule.
        connector: brings image tokens to the width of the text; by default a linear map.
        init_from: checkpoint of a model whose weights training starts from, where they fit; see ``transfer``.

    Attributes:
        modalities: what the model is shown; comparisons hold fusions against the controls, which see one alone.
    """

    modalities: ClassVar[tuple[str, ...]] = ("image", "text")

    def __init__(
        self,
        vocabulary: Vocabulary,
        image_encoder: ImageEncoder,
        text_encoder: TextEncoder,
        task: Task,
        optimization: Optimization | None = None,
        connector: Connector | None = None,
        init_from: Path | None = None,
    ) -> None:
        super().__init__()
        self.vocabulary, self.optimization = vocabulary, optimization or Optimization()
        self.transform: ImageTransform = image_encoder.transform
        self.grid = image_encoder.grid
        self.image_encoder: nn.Module = image_encoder
        self.text_encoder, self.task = text_encoder, task
        connector = connector or LinearConnector()
        connector.build(image_encoder.dim, text_encoder.dim)
        self.connector: nn.Module = connector
        text_encoder.build(vocabulary)
        task.build(vocabulary, text_encoder)
        self.init_from = None if rebuilding() else init_from  # the weights of a rebuilt model are its own
        self.taken: InitReport | None = None
        self.rows: list[Prediction] = []
        self.step_mean = StepMean()
        self.grad_norm: Tensor | None = None

    @abstractmethod
    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Let ``text`` (B, N, D), embedded, read ``image`` (B, M, D): fused states (B, N, D) at the text's places.

        With a cache, the first call brings the image and the prompt, and each later one no image and the next word.
        """

    def encode_image(self, image: Tensor) -> Tokens:
        """Turn uint8 pictures (B, 3, H, W) or clips (B, T, 3, H, W) into image tokens in the width of the text."""
        tokens: Tokens = self.connector(self.image_encoder(image))
        return tokens

    def embed_text(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        """Embed word pieces (B, N): (B, N, D)."""
        return self.text_encoder.embed(words, cache)

    def forward(self, batch: Batch) -> Tokens:
        """Return the fused states (B, N, D) at the places of ``batch.ids``."""
        return self.fuse(self.encode_image(batch.image), self.embed_text(batch.words))

    def encode_text(self, text: Tokens) -> Tokens:
        """Read embedded texts as far as they can be read before any image is there; here, no further."""
        return text

    def text_features(self, text: Tokens) -> Tensor:
        """Return the pooled text features (B, D) of the output of ``encode_text``; no image is involved."""
        return self.pool(self.text_encoder.trunk(text))

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Read the text ``texts[p]`` with the image ``images[p]`` and return the summaries (P, D).

        Texts are what ``encode_text`` has made of them.
        """
        return self.pool(self.fuse(image.rows(images), text.rows(texts)))

    def fuse_all_pairs(self, image: Tokens, text: Tokens) -> Tensor:
        """Read every embedded text with every image and return the summaries (I, T, D)."""
        images, texts = len(image.embeddings), len(text.embeddings)
        every_image = torch.arange(images, device=image.embeddings.device).repeat_interleave(texts)
        every_text = torch.arange(texts, device=text.embeddings.device).repeat(images)
        return self.fuse_pairs(image, self.encode_text(text), every_image, every_text).view(images, texts, -1)

    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Pick from recorded attention how much each word looked at each image token: (B, N, M); none by default."""
        return None

    def pool(self, states: Tokens) -> Tensor:
        """Return the vectors (B, D) in which fused states sum up their prompts."""
        return self.text_encoder.pool(states)

    # Steps. Nothing is logged in the training step: a logging call costs more than many a small model's layer.

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one micro-batch, as ``StepMean`` weighs it.

        The loss of an empty one is 0, with a gradient of 0 for every parameter that is trained.
        """
        if not batch.size:
            nothing = torch.stack([p.sum() * 0 for p in self.parameters() if p.requires_grad]).sum()
            return self.step_mean.add(nothing, 0, *self._parts())
        loss = self.task.loss(self, batch)
        return self.step_mean.add(loss, self.task.num_items(batch), *self._parts())

    def on_after_backward(self) -> None:
        """Let the gradients of a step that is now complete be those of the mean over all its items."""
        if not self.trainer.fit_loop._should_accumulate():
            self.step_mean.complete(self.parameters(), *self._parts())

    def _parts(self) -> tuple[int, int]:
        """Return the number of micro-batches of a step and of processes; 1 and 1 without a trainer."""
        trainer = self._trainer
        return (trainer.accumulate_grad_batches, trainer.world_size) if trainer else (1, 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the rows of one batch."""
        self.rows += self.predict_step(batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the rows of one batch."""
        self.rows += self.predict_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Return the rows of one batch."""
        return self.task.predict(self, batch) if batch.size else []

    def on_validation_start(self) -> None:
        """Let every rank evaluate with the same running statistics: rank 0's, which its checkpoint holds."""
        share_buffers(self)

    def on_validation_epoch_start(self) -> None:
        """Forget the rows of the evaluation before."""
        self.rows = []

    def on_test_epoch_start(self) -> None:
        """Forget the rows of the evaluation before."""
        self.rows = []

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the validation split."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test split."""
        self._finish("test")

    def finished(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Bring the rows of all ranks together and finish the table, in the precision of the steps."""
        with self.trainer.precision_plugin.forward_context():
            return self.task.aggregate(self, gather_rows(rows))

    def _finish(self, split: str) -> None:
        """Compute every figure of an evaluation from its rows, the same on each rank."""
        self.rows = self.finished(self.rows)
        for name, value in self.task.compute_metrics(self.rows).items():
            # For checkpoints, early stopping and the progress bar; loggers get the figures in full precision. Every
            # rank holds the same value, and the maximum keeps it to the last digit.
            shown = name == "score"
            self.log(
                f"{split}/{name}", value, reduce_fx="max", sync_dist=True, prog_bar=shown, logger=False, batch_size=1
            )

    # Optimisation.

    def on_fit_start(self) -> None:
        """Show the task what it will learn from; where no training goes on, start from another model's weights."""
        data: Any = getattr(self.trainer, "datamodule", None)
        self.step_mean = StepMean()
        if data is not None:
            self.task.prepare(data.samples("train"))
        if self.init_from is not None and not self.trainer.ckpt_path:
            self.taken = start_from(self, self.init_from)

    def configure_optimizers(self) -> Any:
        """See ``Optimization.configure``."""
        return self.optimization.configure(self, self.trainer.estimated_stepping_batches)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, by the norm that has been computed already if a callback looks at gradients."""
        if gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            nn.utils.clip_grads_with_norm_(self.parameters(), gradient_clip_val, self.gradient_norm())

    def gradient_norm(self) -> Tensor:
        """Return the norm of all gradients before clipping; it is computed once per optimiser step."""
        if self.grad_norm is None:
            gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
            self.grad_norm = nn.utils.get_total_norm(gradients)
        return self.grad_norm

    def on_before_zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
        """Forget the norm of the step before."""
        self.grad_norm = None

    # Checkpoints.

    def on_save_checkpoint(self, checkpoint_: dict[str, Any]) -> None:
        """Put in what rebuilds the model without its config and data."""
        checkpoint.pack(self, checkpoint_)

    def on_load_checkpoint(self, checkpoint_: dict[str, Any]) -> None:
        """Refuse the checkpoint of another model."""
        checkpoint.match(self, checkpoint_)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", allow: Sequence[str] = (), **_: Any
    ) -> Fusion:
        """Rebuild a model from a checkpoint alone; nothing in the file is ever executed.

        Args:
            checkpoint_path: a ``.ckpt`` file of a run.
            map_location: device of the weights.
            allow: packages besides this one whose classes the checkpoint may name.

        Raises:
            InputError: the file is missing, cut off, not a checkpoint of this package, or of another fusion.
        """
        model: Fusion = checkpoint.load(Path(checkpoint_path), cls, map_location, allow)
        return model


def share_buffers(module: nn.Module) -> None:
    """Give every rank the buffers of rank 0."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)
