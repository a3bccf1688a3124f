"""Loading a trained model by the name of its run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from velm_lightning.encoders.image.wrapped import supplying
from velm_lightning.fusion import Fusion
from velm_lightning.io.argument_types import checked
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.run_names import find_checkpoint


@checked(name="a run, its folder or id, a checkpoint, or 'latest'")
def load(
    name: str | Path | Run = "latest",
    *,
    runs: str | Path = "runs",
    device: str | torch.device = "cpu",
    allow: Sequence[str] = (),
    image_encoder: nn.Module | None = None,
) -> Fusion:
    """Return the model of a run, rebuilt from its checkpoint, in evaluation mode.

    Args:
        name: ``latest``, a run, the folder or id of a run, or a checkpoint.
        runs: Folder of all runs, in which an id or ``latest`` is looked up.
        device: Device of the model.
        allow: Packages, in addition to ``velm_lightning``, whose classes the checkpoint may name.
        image_encoder: The module that the model's image encoder wraps, if a checkpoint cannot rebuild it; see
            ``wrap_encoder``. It gets the weights of the checkpoint.

    Raises:
        InputError: There is no such run or checkpoint, or it cannot be loaded.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(dim=8),
        ...                         task=velm.Classification(), vocabulary=data.vocabulary)
        >>> run = velm.fit(model, data, max_epochs=1, accelerator="cpu", enable_progress_bar=False)
        >>> type(velm.load("latest")).__name__
        'LateFusion'
    """
    path = name.best if isinstance(name, Run) else find_checkpoint(name, runs)
    with supplying(image_encoder):
        return Fusion.load_from_checkpoint(path, map_location=device, allow=allow)
