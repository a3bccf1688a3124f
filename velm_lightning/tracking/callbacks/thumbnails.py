"""Stores small copies of some images next to the predictions, so that a report shows them without the data."""

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
from velm_lightning.tracking.callbacks.side_figures import side_figure
from velm_lightning.tracking.run import Run

SIDE, COUNT = 160, 200
"""Longest side of a thumbnail in pixels, and the largest number of thumbnails by default."""


class Thumbnails(Callback):
    """Writes ``predictions/<split>.pictures.jsonl`` after a final evaluation: name and JPEG of an image per line.

    The images are spread evenly over the split and are the same for every run on it.

    Args:
        run: the run.
        count: largest number of images; 0 writes none.
    """

    def __init__(self, run: Run, count: int = COUNT) -> None:
        self.run, self.count = run, count

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the thumbnails of the validation split after an evaluation outside of training."""
        if trainer.state.fn != "fit":
            self.on_test_end(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule, split: str = "test") -> None:
        """Write the thumbnails of the test split after its evaluation."""
        with side_figure(f"the thumbnails of {split}"):
            self._write(trainer, split)

    def _write(self, trainer: Trainer, split: str) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or not self.count or data is None:
            return
        view: Any = data.split(split)
        high = view.images.transform.sides[0]  # without the tiles below it
        batches = (view.pictured([index]) for index in spread(view.texts.image_names, self.count))
        lines = [  # an image that could not be read gives an empty batch
            json.dumps({"image": batch.image_names[0], "jpeg": jpeg(batch.image[0][..., :high, :])}) + "\n"
            for batch in batches
            if batch.size
        ]
        name = self.run.names.get(split, split)
        write_atomic(self.run.folder / "predictions" / f"{name}.pictures.jsonl", "".join(lines))


def spread(pictures: list[str], count: int) -> list[int]:
    """Return the index of the first sample of at most ``count`` images, spread evenly over a split."""
    first = {name: index for index, name in reversed(list(enumerate(pictures)))}
    indices = sorted(first.values())
    return indices[:: -(-len(indices) // count)]


def jpeg(picture: Tensor) -> str:
    """Return a uint8 image (3, H, W), or the first frame of a clip (T, 3, H, W), as a small JPEG in base64."""
    image = Image.fromarray((picture if picture.ndim == 3 else picture[0]).permute(1, 2, 0).numpy())
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
