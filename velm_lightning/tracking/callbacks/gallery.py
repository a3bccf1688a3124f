"""Shows predictions with their images, as a sheet in the run's folder and as a table in W&B."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from velm_lightning.fusion import Fusion
from velm_lightning.inspection.explain import explain, heat_picture
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.fonts import drawing, families
from velm_lightning.tasks.protocol import ImageProducer
from velm_lightning.tracking.callbacks.side_figures import side_figure
from velm_lightning.tracking.run import Run
from velm_lightning.types import Batch, Prediction

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
COLUMNS: list[str | int] = ["picture", "looked", *Prediction._fields]


class GalleryEntry(NamedTuple):
    """A prediction with the model's input image.

    Attributes:
        picture: (H, W, 3) pixels.
        looked: (H, W, 3) pixels of the image overlaid with attention or evidence, or of the image that the model
            generated; None if there is neither.
        row: prompt, prediction, references and score.
    """

    picture: Pixels
    looked: Pixels | None
    row: Prediction


class Gallery(Callback):
    """Shows the first samples of a final evaluation: image, attention or evidence, prediction and references.

    Args:
        run: the run; its folder gets ``gallery/<split>.png``.
        count: number of samples; 0 shows none.
        maps: number of samples that also show attention or evidence.
    """

    def __init__(self, run: Run, count: int = 32, maps: int = 8) -> None:
        self.run, self.count, self.maps = run, count, maps

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the validation split after an evaluation outside of training."""
        if trainer.state.fn != "fit":
            self._show(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the test split after its evaluation."""
        self._show(trainer, pl_module, "test")

    def _show(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if not trainer.is_global_zero or not self.count:
            return
        with side_figure(f"the gallery of {split}"):
            self._draw(trainer, pl_module, split)

    def _draw(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        assert isinstance(pl_module, Fusion)
        with torch.inference_mode(False):  # evidence needs gradients, which inference tensors cannot have
            entries = self._rows(trainer, pl_module, split)
        if not entries:
            return
        sheet = draw_sheet(entries)
        split = self.run.names.get(split, split)
        write_atomic(self.run.folder / "gallery" / f"{split}.png", sheet)
        logger = next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
        if logger is not None:
            logger.experiment.log(
                {f"{split}/predictions": wandb_table(entries), f"{split}/gallery": _wandb_image(sheet)}
            )

    def _rows(self, trainer: Trainer, model: Fusion, split: str) -> list[GalleryEntry]:
        data: Any = getattr(trainer, "datamodule")  # noqa: B009 - a Trainer has it only while it runs on one
        view = data.split(split)
        batch: Batch = view.pictured(range(min(self.count, len(view))))
        rows = {row.key: row for row in model.rows}
        drawn = self._drawn(model, batch)
        heats = torch.empty(0)
        if drawn is None:
            with side_figure("the attention and evidence in the gallery"):
                heats = self._looked(model, batch, rows)
        entries, shown = [], batch.last_images
        for index, key in enumerate(batch.keys):
            if key in rows:
                picture = batch.image[index] if batch.image.ndim == 4 else batch.image[index, shown[index]]
                looked = heat_picture(picture, heats[index]) if index < len(heats) else None
                looked = looked if drawn is None else drawn[index].permute(1, 2, 0).numpy()
                entries.append(GalleryEntry(picture.permute(1, 2, 0).numpy(), looked, rows[key]))
        return entries

    def _drawn(self, model: Fusion, batch: Batch) -> torch.Tensor | None:
        training = model.training
        model.eval()
        task = model.task
        drawn = task.produce_images(model, batch.to(model.device)) if isinstance(task, ImageProducer) else None
        model.train(training)
        return None if drawn is None else drawn.cpu()

    def _looked(self, model: Fusion, batch: Batch, rows: dict[str, Prediction]) -> torch.Tensor:
        count = next((i for i, key in enumerate(batch.keys) if key not in rows), batch.size)
        part = batch.first(min(self.maps, count)).to(model.device)
        maps = explain(model, part, [rows[key].prediction for key in part.keys])
        chosen = maps.evidence if maps.attention is None else maps.attention
        return torch.empty(0) if chosen is None else chosen.cpu()


def draw_sheet(entries: Sequence[GalleryEntry], columns: int = 4) -> bytes:
    """Return a sheet of images with prompt, prediction and references as PNG."""
    rows = -(-len(entries) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    cells = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in cells:
        axes.set_axis_off()
    for axes, entry in zip(cells, entries, strict=False):
        row = entry.row
        sides = [entry.picture] if entry.looked is None else [entry.picture, entry.looked]
        axes.imshow(np.concatenate(sides, axis=1))
        lines = [
            ("", row.prompt),
            ("predicted: ", row.prediction),
            ("expected: ", " | ".join(row.references[:2])),
        ]
        text = "\n".join(_fitted(label + line) for label, line in lines if line or label == "predicted: ")
        score = f"score {row.score:.2f}" if row.references else "no references"
        axes.set_title(f"{text}\n{score}", fontsize=7, loc="left", parse_math=False, fontfamily=families(text))
    written = io.BytesIO()
    with drawing():
        figure.savefig(written, format="png", dpi=100)
    return written.getvalue()


def _fitted(text: str, width: int = 64, lines: int = 2) -> str:
    """Wrap a text and cut it after a few lines."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …"))


def wandb_table(entries: Sequence[GalleryEntry]) -> Any:
    """Return the entries as a W&B table."""
    import wandb

    table = wandb.Table(columns=COLUMNS)
    for picture, looked, row in entries:
        fields = row._asdict() | {"references": " | ".join(row.references)}
        table.add_data(wandb.Image(picture), None if looked is None else wandb.Image(looked), *fields.values())
    return table


def _wandb_image(sheet: bytes) -> Any:
    import wandb
    from PIL import Image

    return wandb.Image(Image.open(io.BytesIO(sheet)))
