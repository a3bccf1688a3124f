"""Predictions with their pictures, as a W&B table."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger

from velm_lightning.explain import explain, heat_picture
from velm_lightning.fusion import Fusion
from velm_lightning.types import Batch, Row

COLUMNS: list[str | int] = ["picture", "looked", *Row._fields]


class PictureTable(Callback):
    """Sends the first samples of a final evaluation to W&B as a table: picture, attention map, and the whole row.

    Args:
        count: samples in the table; 0 sends none.
        maps: how many of them get a picture of where the model looked.
    """

    def __init__(self, count: int = 32, maps: int = 8) -> None:
        self.count, self.maps = count, maps

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the table of the validation split, once training is over."""
        if trainer.state.fn != "fit":
            self._send(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the table of the test split."""
        self._send(trainer, pl_module, "test")

    def _send(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        logger = next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
        if logger is None or not trainer.is_global_zero or not self.count:
            return
        assert isinstance(pl_module, Fusion)
        with torch.inference_mode(False):  # evidence needs gradients, which inference tensors cannot have
            logger.experiment.log({f"{split}/predictions": self._table(trainer, pl_module, split)})

    def _table(self, trainer: Trainer, model: Fusion, split: str) -> Any:
        import wandb

        data: Any = getattr(trainer, "datamodule")  # noqa: B009 - a Trainer has it only while it runs on one
        view = data.split(split)
        batch: Batch = view.pictured(range(min(self.count, len(view))))
        rows = {row.key: row for row in model.rows}
        table = wandb.Table(columns=COLUMNS)
        heats = self._looked(model, batch, rows)
        for index, key in enumerate(batch.keys):
            if key in rows:
                picture = batch.image[index] if batch.image.ndim == 4 else batch.image[index, 0]
                looked = wandb.Image(heat_picture(picture, heats[index])) if index < len(heats) else None
                fields = rows[key]._asdict() | {"references": " | ".join(rows[key].references)}
                table.add_data(wandb.Image(picture.permute(1, 2, 0).numpy()), looked, *fields.values())
        return table

    def _looked(self, model: Fusion, batch: Batch, rows: dict[str, Row]) -> torch.Tensor:
        count = next((i for i, key in enumerate(batch.keys) if key not in rows), batch.size)
        part = batch.first(min(self.maps, count)).to(model.device)
        maps = explain(model, part, [rows[key].prediction for key in part.keys])
        chosen = maps.evidence if maps.attention is None else maps.attention
        return torch.empty(0) if chosen is None else chosen.cpu()
