"""Shows predictions with their images, as a sheet in the run's folder and as a table in W&B."""

from __future__ import annotations

import io
import json
import math
import textwrap
import time
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
from velm_lightning.inspection.explain import Maps, explain
from velm_lightning.inspection.fonts import drawing, families
from velm_lightning.inspection.heat_overlay import Heat, heat_of, in_log_odds, map_record, overlay
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.console import echo, span
from velm_lightning.tasks.protocol import ImageProducer
from velm_lightning.tracking.callbacks.side_figures import side_figure
from velm_lightning.tracking.callbacks.thumbnails import COUNT, spread
from velm_lightning.tracking.run import Run
from velm_lightning.types import Batch, Prediction

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
SECONDS = 30.0
"""Seconds after which no further maps are computed: on a CPU, those of a large model take seconds each."""
COLUMNS: list[str | int] = ["picture", "looked", *Prediction._fields]


class GalleryEntry(NamedTuple):
    """A prediction with the model's input image.

    Attributes:
        picture: (H, W, 3) pixels.
        looked: (H, W, 3) pixels of the image, faded where there is no evidence, or of the image that the model
            generated; None if there is neither.
        row: prompt, prediction, references and score.
        caption: the scale of ``looked``.
    """

    picture: Pixels
    looked: Pixels | None
    row: Prediction
    caption: str = ""


class Gallery(Callback):
    """Shows samples of a final evaluation, one per image: image, evidence, prediction and references, errors first.

    The images are spread evenly over the split and are the same for every run on it, so that ``velm compare`` shows the
    evidence of several models for one answer side by side.

    Args:
        run: the run; its folder gets ``gallery/<split>.png`` and ``predictions/<split>.maps.jsonl``.
        count: largest number of images; 0 shows none.
    """

    def __init__(self, run: Run, count: int = 32) -> None:
        self.run, self.count = run, count

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
            entries, maps = self._entries(trainer, pl_module, split)
        if not entries:
            return
        sheet = draw_sheet(entries)
        split = self.run.names.get(split, split)
        write_atomic(self.run.folder / "gallery" / f"{split}.png", sheet)
        if maps:
            write_atomic(self.run.folder / "predictions" / f"{split}.maps.jsonl", _map_lines(entries, maps))
        logger = next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
        if logger is not None:
            logger.experiment.log(
                {f"{split}/predictions": wandb_table(entries), f"{split}/gallery": _wandb_image(sheet)}
            )

    def _entries(self, trainer: Trainer, model: Fusion, split: str) -> tuple[list[GalleryEntry], dict[str, Maps]]:
        """Return the entries, errors first, and the maps of the samples by their keys."""
        data: Any = getattr(trainer, "datamodule")  # noqa: B009 - a Trainer has it only while it runs on one
        view = data.split(split)
        places = spread(view.texts.image_names, COUNT)
        places = places[:: -(-len(places) // self.count)]
        rows = {row.key: row for row in model.rows}
        batch: Batch = view.pictured(places)  # without images that cannot be read
        drawn = self._drawn(model, batch)
        maps: dict[str, Maps] = {}
        if drawn is None:
            with side_figure("the attention and evidence in the gallery"):
                maps = self._all_maps(model, view, places, rows, split)
        entries = []
        for index, key in enumerate(batch.keys):
            if key in rows:
                picture = batch.image[index] if batch.image.ndim == 4 else batch.image[index, batch.last_images[index]]
                pixels, heat = picture.permute(1, 2, 0).numpy(), heat_of(maps[key]) if key in maps else Heat(None, "")
                looked = None if heat.strength is None else overlay(picture, heat)
                looked = looked if drawn is None else drawn[index].permute(1, 2, 0).numpy()
                entries.append(GalleryEntry(pixels, looked, rows[key], heat.caption))
        entries.sort(key=lambda entry: (math.isnan(entry.row.score), entry.row.score))
        return entries, maps

    def _all_maps(
        self, model: Fusion, view: Any, places: Sequence[int], rows: dict[str, Prediction], split: str
    ) -> dict[str, Maps]:
        """Return the maps of the samples at ``places``, or of the first of them that ``SECONDS`` suffice for."""
        maps: dict[str, Maps] = {}
        start = time.monotonic()
        for number, place in enumerate(places):
            if number and (elapsed := time.monotonic() - start) > SECONDS:
                echo(
                    f"the gallery of {split} has maps of evidence for {len(maps)} of {len(places)} images, which took "
                    f"{span(elapsed)}"
                )
                break
            maps |= self._maps(model, view.pictured([place]), rows)
        return maps

    def _maps(self, model: Fusion, batch: Batch, rows: dict[str, Prediction]) -> dict[str, Maps]:
        """Return the maps of the only sample of a batch, by its key; of none if it cannot be read or was not scored."""
        if not batch.size or batch.keys[0] not in rows:
            return {}
        row = rows[batch.keys[0]]
        maps = explain(model, batch.to(model.device), [row.prediction])
        maps = Maps(*(None if of_kind is None else of_kind.cpu() for of_kind in maps))
        return {row.key: in_log_odds(maps, row.confidence)}

    def _drawn(self, model: Fusion, batch: Batch) -> torch.Tensor | None:
        training = model.training
        model.eval()
        task = model.task
        drawn = task.produce_images(model, batch.to(model.device)) if isinstance(task, ImageProducer) else None
        model.train(training)
        return None if drawn is None else drawn.cpu()


def _map_lines(entries: Sequence[GalleryEntry], maps: dict[str, Maps]) -> str:
    """Return the maps as JSON lines, each with the key and the image of its sample."""
    rows = [entry.row for entry in entries if entry.row.key in maps]
    return "".join(json.dumps({"key": row.key, "image": row.image, **map_record(maps[row.key])}) + "\n" for row in rows)


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
        score += f", {entry.caption}" if entry.caption else ""
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
    for picture, looked, row, _ in entries:
        fields = row._asdict() | {"references": " | ".join(row.references)}
        table.add_data(wandb.Image(picture), None if looked is None else wandb.Image(looked), *fields.values())
    return table


def _wandb_image(sheet: bytes) -> Any:
    import wandb
    from PIL import Image

    return wandb.Image(Image.open(io.BytesIO(sheet)))
