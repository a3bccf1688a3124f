"""Small copies of some pictures beside the predictions, so that a report can show them without the data."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor

from velm_lightning.io.atomic import write_atomic
from velm_lightning.tracking.run import Run

SIDE = 96
"""Longest side of a thumbnail in pixels."""


class Thumbnails(Callback):
    """Writes ``predictions/<split>.pictures.jsonl`` after a final evaluation: a picture's name and its JPEG a line.

    The pictures are spread evenly over the split, the same for every run on it.

    Args:
        run: where to.
        count: pictures at most; 0 writes none.
    """

    def __init__(self, run: Run, count: int = 200) -> None:
        self.run, self.count = run, count

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write those of the validation split, once training is over."""
        if trainer.state.fn != "fit":
            self._write(trainer, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write those of the test split."""
        self._write(trainer, "test")

    def _write(self, trainer: Trainer, split: str) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or not self.count or data is None:
            return
        view: Any = data.split(split)
        shown = (view.pictured([index]) for index in spread(view.texts.pictures, self.count))
        lines = [  # a picture that cannot be read, and may be left out, is
            json.dumps({"image": one.pictures[0], "jpeg": jpeg(one.image[0])}) + "\n" for one in shown if one.size
        ]
        name = self.run.names.get(split, split)
        write_atomic(self.run.folder / "predictions" / f"{name}.pictures.jsonl", "".join(lines))


def spread(pictures: list[str], count: int) -> list[int]:
    """Return the first samples of at most ``count`` pictures, spread evenly over a split."""
    first = {name: index for index, name in reversed(list(enumerate(pictures)))}
    places = sorted(first.values())
    return places[:: -(-len(places) // count)]


def jpeg(picture: Tensor) -> str:
    """Return an uint8 picture (3, H, W), or the first frame of a clip, as a small JPEG in base64."""
    image = Image.fromarray((picture if picture.ndim == 3 else picture[0]).permute(1, 2, 0).numpy())
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
