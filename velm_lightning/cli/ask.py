"""``velm ask``: asks a checkpoint a question about an image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from velm_lightning.data.collate import Texts
from velm_lightning.data.images.store import read_image
from velm_lightning.fusion import Fusion
from velm_lightning.inspection.explain import draw, explain
from velm_lightning.io.paths import user_path
from velm_lightning.types import Batch, InputError, Sample


def batch_of(model: Fusion, image: Path, text: str) -> Batch:
    """Return a batch of one image and one text for ``model``.

    Raises:
        InputError: If the image cannot be read.
    """
    pixels = read_image(image, model.transform)
    sample = Sample(key=image.name, image=image, text=text, target=None, references=())
    return Texts([sample], model.vocabulary).batch([0], pixels[None])


def main(words: Sequence[str]) -> int:
    """Print the best answers of a checkpoint with their probabilities."""
    parser = argparse.ArgumentParser("velm ask", description="Ask a checkpoint a question about an image.")
    parser.add_argument("checkpoint", type=user_path, help="a .ckpt file of a run")
    parser.add_argument("--image", type=user_path, required=True, help="an image file")
    parser.add_argument("--text", default="", help="the question, source sentence or prompt")
    parser.add_argument("--best", type=int, default=5, help="number of answers to print (default 5)")
    parser.add_argument("--explain", type=user_path, help="write an attention and evidence map to this file")
    parser.add_argument("--allow", nargs="*", default=[], help="packages whose classes the checkpoint may name")
    options = parser.parse_args(list(words)[1:])
    if options.best < 1:
        raise InputError(f"--best must be at least 1, got {options.best}")
    model = Fusion.load_from_checkpoint(options.checkpoint, allow=options.allow)
    batch = batch_of(model, options.image, options.text)
    with torch.inference_mode():
        answers = model.task.top_answers(model, batch, options.best)[0]
    for answer, probability in answers:
        print(f"{probability:7.2%}  {answer}")
    if options.explain is not None:
        title = f"{options.text}  {answers[0][0]}".strip()
        draw(options.explain, batch.image[0], title, explain(model, batch, [answers[0][0]]))
        print(f"explanation: {options.explain}")
    return 0
