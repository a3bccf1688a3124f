"""``velm draw``: generates images from a caption."""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from velm_lightning.errors import InputError, at_least, within
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path
from velm_lightning.tracking.run_names import find_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from velm_lightning.decoding import Flow
    from velm_lightning.fusion import Fusion

SIDE = 128
"""Minimum side of an image in the file, in pixels."""


def drawings(model: Fusion, text: str, count: int, seed: int, flow: Flow) -> Tensor:
    """Return ``count`` images of a caption, (count, 3, H, W) uint8.

    Raises:
        InputError: If the model's task is not ``Drawing``.
    """
    import torch

    from velm_lightning.data.collate import Texts
    from velm_lightning.tasks import Drawing
    from velm_lightning.types import Sample

    if not isinstance(model.task, Drawing):
        raise InputError(
            f"the checkpoint's task is {type(model.task).__name__}, expected Drawing: name a checkpoint of such a run"
        )
    keys = [f"{seed}-{place}" for place in range(count)]
    samples = [Sample(key, torch.empty(0), text, None, ()) for key in keys]
    words = Texts(samples, model.vocabulary).batch(range(count), torch.empty(count, 0)).words
    return model.task.draw(model, words, keys, flow)


def png(images: Tensor) -> bytes:
    """Return images (B, 3, H, W) uint8 side by side as PNG, magnified without smoothing."""
    import torch
    from PIL import Image

    row = torch.cat(list(images), dim=-1).permute(1, 2, 0).numpy()  # (H, B * W, 3)
    factor = -(-SIDE // row.shape[0])
    image = Image.fromarray(row).resize((row.shape[1] * factor, row.shape[0] * factor), Image.Resampling.NEAREST)
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def main(words: Sequence[str]) -> int:
    """Write images of a caption side by side into one file."""
    parser = argparse.ArgumentParser("velm draw", description="Generate images from a caption.")
    parser.add_argument("run", help="a run whose task is Drawing: its folder or id, a .ckpt file, or `latest`")
    parser.add_argument("--text", required=True, help="the caption; an empty one generates without a condition")
    parser.add_argument("--out", type=user_path, required=True, help="a .png file")
    parser.add_argument("--count", type=int, default=1, help="number of images (default 1)")
    parser.add_argument("--guidance", type=float, help="scale of classifier-free guidance; by default as in evaluation")
    parser.add_argument("--steps", type=int, help="steps from noise to image; by default as in evaluation")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default 0)")
    options = parser.parse_args(list(words)[1:])
    at_least(1, **{"--count": options.count, "--steps": options.steps})
    within(-math.inf, math.inf, **{"--guidance": options.guidance})
    checkpoint = find_checkpoint(options.run)
    from velm_lightning.decoding import Flow
    from velm_lightning.fusion import Fusion
    from velm_lightning.io.atomic import write_atomic

    model = Fusion.load_from_checkpoint(checkpoint)
    trained = getattr(model.task, "flow", Flow())
    steps = trained.steps if options.steps is None else options.steps
    guidance = trained.guidance if options.guidance is None else options.guidance
    flow = Flow(steps, guidance, trained.method)
    write_atomic(options.out, png(drawings(model, options.text, options.count, options.seed, flow)))
    echo(f"{options.count} x {options.text!r}: {options.out}")
    return 0
