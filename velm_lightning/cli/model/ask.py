"""``velm ask``: asks a model a question about an image, or shows it a sample of its own data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from velm_lightning.errors import InputError
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path
from velm_lightning.tracking.run_names import find_checkpoint, find_run

if TYPE_CHECKING:
    from velm_lightning.fusion import Fusion
    from velm_lightning.types import Batch


def batch_of(model: Fusion, image: Path, text: str) -> Batch:
    """Return a batch of one image and one text for ``model``.

    Raises:
        InputError: If the image cannot be read.
    """
    from velm_lightning.data.collate import Texts
    from velm_lightning.data.images.store import read_image
    from velm_lightning.types import Sample

    pixels = read_image(image, model.transform)
    sample = Sample(key=image.name, image=image, text=text, target=None, references=())
    return Texts([sample], model.vocabulary).batch([0], pixels[None])


def batch_of_sample(model: Fusion, run: Path, split: str | None, key: str | None) -> tuple[str, Batch]:
    """Return a batch of one sample of the data that a run was trained on, and the name of its split.

    Args:
        model: The model of the run.
        run: The run's folder.
        split: ``train``, ``val`` or ``test``; None means the test split, or the validation split if there is none.
        key: The sample's key, as in the prediction files; None draws one at random.

    Raises:
        InputError: If the data cannot be read, or the split has no such sample.
    """
    import random
    from difflib import get_close_matches

    from velm_lightning.cli.data.load import data_of

    data = data_of(run / "config.yaml")
    data.connect(model)
    split = split or data.predicted
    view = data.split(split)
    keys = [sample.key for sample in view.texts.samples]
    if key is None:
        return split, view.pictured([random.SystemRandom().randrange(len(keys))])
    if key not in keys:
        near = get_close_matches(key, keys, 3, 0.0)
        raise InputError(f"--sample {key}: no sample of {split} has that key; others are {', '.join(near)}")
    return split, view.pictured([keys.index(key)])


def main(words: Sequence[str]) -> int:
    """Print the best answers of a model with their probabilities."""
    options = _options(words)
    checkpoint = find_checkpoint(options.run, options.runs)
    from_run = options.image is None
    folder = find_run(checkpoint) if from_run else None
    import torch

    from velm_lightning.fusion import Fusion

    model = Fusion.load_from_checkpoint(checkpoint)
    if folder is not None:
        split, batch = batch_of_sample(model, folder, options.split, options.sample)
        echo(f"sample {batch.keys[0]} of {split}: {batch.prompts[0]}".rstrip(": "))
        batch = model.task.as_question(batch)
    else:
        batch = batch_of(model, options.image, options.text)
    with torch.inference_mode():
        answers = model.task.top_answers(model, batch.first(1), options.best)[0]
    for answer, probability in answers:
        echo(f"{probability:7.2%}  {answer}")
    if from_run and batch.references[0]:
        echo(f"expected: {' | '.join(dict.fromkeys(batch.references[0]))}")
    if options.explain is not None:
        from velm_lightning.inspection.drawing import draw
        from velm_lightning.inspection.explain import explain
        from velm_lightning.inspection.heat_overlay import in_log_odds

        title = f"{batch.prompts[0]}  {answers[0][0]}".strip()
        picture = batch.image[0] if batch.image.ndim == 4 else batch.image[0, batch.last_images[0]]
        maps = in_log_odds(explain(model, batch, [answers[0][0]]), answers[0][1])
        draw(options.explain, picture, title, maps)
        echo(f"explanation: {options.explain}")
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line.

    Raises:
        InputError: An option is out of range, or the picture does not exist.
    """
    parser = argparse.ArgumentParser(
        "velm ask",
        description="Ask a model a question about an image, or show it a sample of the data that it was trained on.",
        epilog="examples: velm ask latest --image photo.jpg --text 'what is on the table?'; velm ask latest --random",
    )
    parser.add_argument("run", help="a run's folder or id, a .ckpt file, or `latest`")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", type=user_path, help="an image file")
    source.add_argument("--sample", metavar="KEY", help="a sample of the run's own data, by its key")
    source.add_argument("--random", action="store_true", help="a random sample of the run's own data")
    parser.add_argument("--text", default="", help="the question, source sentence or prompt that goes with --image")
    parser.add_argument(
        "--split", choices=["train", "val", "test"], help="split of --sample; by default test, or val without test"
    )
    parser.add_argument("--best", type=int, default=5, help="number of answers to print (5)")
    parser.add_argument("--explain", type=user_path, help="write an attention and evidence map to this file")
    parser.add_argument("--runs", type=user_path, default=Path("runs"), help="folder of all runs (runs)")
    options = parser.parse_args(list(words)[1:])
    if options.best < 1:
        raise InputError(f"--best must be at least 1, got {options.best}")
    if options.image is None and options.text:
        raise InputError("--text goes with --image: a sample has its own text")
    if options.image is not None and not options.image.is_file():
        raise InputError(f"--image {options.image}: there is no such file")
    return options
