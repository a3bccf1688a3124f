"""``velm probe``: how much a trained model owes to the image and to the text.

The score on a split is taken again with the images, or the texts, permuted among the samples (the perceptual score,
Gat et al. 2021), and with more and more of them missing (Ma et al. 2022). A missing image is the mean of the split's
images, a missing text an empty prompt.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Hashable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from velm_lightning.cli.data import data_of
from velm_lightning.data import MultimodalData
from velm_lightning.data.incongruent import permuted, unchanged
from velm_lightning.data.split import Split
from velm_lightning.fusion import Fusion
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.digests import contents_of
from velm_lightning.io.seeding import stable_generator
from velm_lightning.tasks.rows import gather_rows
from velm_lightning.tracking.run import Run
from velm_lightning.types import Batch, InputError

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = ("image", "text")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_FOR_THE_MEAN = 256  # pictures


class Shuffled(NamedTuple):
    """What the score becomes when a modality is permuted among the samples.

    Attributes:
        scores: of each shuffle.
        cost: how much lower their mean is than the score.
        perceptual: the cost as a share of the score (Gat et al. 2021).
        unchanged: number of samples that kept their content, because more than half of the samples share it.
    """

    scores: list[float]
    cost: float
    perceptual: float
    unchanged: int = 0


class Probe(NamedTuple):
    """What was found; ``probe.json`` of the run.

    Attributes:
        split: which samples.
        samples: how many of them.
        seed: seed of what is permuted and what is missing.
        score: the score with nothing changed.
        shuffled: by modality; a modality that is the same in all samples is left out.
        shares: shares of the samples from which a modality is missing.
        missing: the scores at these shares, by modality.
    """

    split: str
    samples: int
    seed: int
    score: float
    shuffled: dict[str, Shuffled]
    shares: list[float]
    missing: dict[str, list[float]]


class Prober:
    """Evaluates a model on altered samples of a split.

    Args:
        model: in evaluation mode.
        split: ready to be read.
        indices: the samples.
        batch_size: samples in a batch.
        seed: seed of what is permuted and what is missing.
    """

    def __init__(self, model: Fusion, split: Split, indices: Sequence[int], batch_size: int, seed: int) -> None:
        self.model, self.split, self.indices = model, split, list(indices)
        self.batch_size, self.seed = batch_size, seed
        texts = split.texts
        self.contents: dict[str, list[Hashable]] = {
            "image": contents_of([texts.samples[i].image for i in self.indices]),
            "text": [tuple(texts.prompt_ids[i]) for i in self.indices],
        }
        self.has = {modality: len(set(contents)) > 1 for modality, contents in self.contents.items()}

    def score(self) -> float:
        """Return the score with nothing changed."""
        return self._score(self._batches())

    def order(self, modality: Modality, turn: int) -> list[int]:
        """Return for each sample the place of the one whose image or text it gets, another at each ``turn``."""
        return permuted(self.contents[modality], self.seed, modality, turn)

    def unchanged(self, modality: Modality) -> int:
        """Return how many samples keep their content, however it is permuted."""
        return unchanged(self.contents[modality], self.order(modality, 0))

    def shuffled(self, modality: Modality, turn: int) -> float:
        """Return the score when a modality is permuted among the samples, another way at each ``turn``."""
        other = [self.indices[place] for place in self.order(modality, turn)]
        if modality == "image":
            return self._score(self._batches(pictures=other))
        return self._score(self._batches(prompts=[self.split.texts.prompt_ids[i] for i in other]))

    def missing(self, modality: Modality, share: float) -> float:
        """Return the score when a modality is missing from a share of the samples; larger shares hold smaller ones."""
        lot = torch.rand(len(self.indices), generator=stable_generator(self.seed, modality))
        gone = torch.zeros(len(self.indices), dtype=torch.bool)
        gone[lot.argsort()[: round(share * len(self.indices))]] = True
        if modality == "image":
            return self._score(self._batches(blank=gone))
        texts, nothing = self.split.texts, self.split.texts.vocabulary.prompt([])
        kept = zip(gone.tolist(), self.indices, strict=True)
        return self._score(self._batches(prompts=[nothing if g else texts.prompt_ids[i] for g, i in kept]))

    def _batches(
        self,
        pictures: Sequence[int] | None = None,
        prompts: Sequence[list[int]] | None = None,
        blank: Tensor | None = None,
    ) -> Iterator[Batch]:
        """Yield the samples with other pictures, other prompts, or without some pictures."""
        texts = copy(self.split.texts)
        if pictures is not None:
            texts.pictures = list(texts.pictures)  # a row names the picture that was shown
            for index, shown in zip(self.indices, pictures, strict=True):
                texts.pictures[index] = self.split.texts.pictures[shown]
        pictures = self.indices if pictures is None else pictures
        if prompts is not None:
            texts.prompt_ids = list(texts.prompt_ids)
            for index, prompt in zip(self.indices, prompts, strict=True):
                texts.prompt_ids[index] = prompt
        for start in range(0, len(self.indices), self.batch_size):
            part = slice(start, start + self.batch_size)
            image = self._shown(pictures[part])
            if blank is not None and bool(blank[part].any()):
                image[blank[part]] = self._mean(image)
            yield texts.batch(self.indices[part], image)

    def _shown(self, indices: Sequence[int]) -> Tensor:
        return self.split.read([(0, index) for index in indices]).image

    def _mean(self, like: Tensor) -> Tensor:
        """Return the mean image, or the mean features, of the split."""
        if not hasattr(self, "_mean_image"):
            some = self.indices[:: -(-len(self.indices) // _FOR_THE_MEAN)]
            self._mean_image = self._shown(some).float().mean(0)
        return self._mean_image.to(like.dtype)

    @torch.inference_mode()
    def _score(self, batches: Iterator[Batch]) -> float:
        rows = [row for batch in batches for row in self.model.task.predict(self.model, batch.to(self.model.device))]
        table = self.model.task.aggregate(self.model, gather_rows(rows))
        return self.model.task.compute_metrics(table)["score"]


def probe(
    model: Fusion, data: MultimodalData, split: str, shuffles: int = 3, limit: int | None = None, seed: int = 0
) -> Probe:
    """Measure what a model owes to each modality.

    Args:
        model: a trained model.
        data: its data.
        split: which samples.
        shuffles: how often each modality is permuted.
        limit: number of samples, spread evenly over the split; none takes all.
        seed: seed of what is permuted and what is missing.
    """
    data.connect(model.eval())
    view = data.with_features(split)
    indices = range(len(view))[:: max(1, -(-len(view) // limit))] if limit else range(len(view))
    prober = Prober(model, view, indices, data.batch_size, seed)
    score = prober.score()
    shuffled: dict[str, Shuffled] = {}
    missing: dict[str, list[float]] = {}
    for modality in MODALITIES:
        if prober.has[modality]:
            scores = [prober.shuffled(modality, turn) for turn in range(shuffles)]
            cost = score - math.fsum(scores) / len(scores)
            share = cost / score if score else math.nan
            shuffled[modality] = Shuffled(scores, cost, share, prober.unchanged(modality))
            missing[modality] = [score, *(prober.missing(modality, share) for share in SHARES[1:])]
    return Probe(data.title(split), len(indices), seed, score, shuffled, list(SHARES), missing)


def save(found: Probe, folder: Path) -> None:
    """Write ``probe.json`` into a run's folder."""
    plain: dict[str, Any] = found._asdict()
    plain["shuffled"] = {modality: one._asdict() for modality, one in found.shuffled.items()}
    write_atomic(folder / "probe.json", json.dumps(plain, indent=2) + "\n")


def show(found: Probe, console: Console) -> None:
    """Print what was found."""
    table = Table(title=f"score on {found.samples} samples of {found.split}: {found.score:.4f}", title_justify="left")
    for name in (
        "",
        "shuffled",
        "costs",
        "share of the score",
        *(f"{share:.0%} missing" for share in found.shares[1:]),
    ):
        table.add_column(name, justify="right" if name else "left")
    for modality, one in found.shuffled.items():
        mean = math.fsum(one.scores) / len(one.scores)
        values = [f"{mean:.4f}", f"{one.cost:.4f}", f"{one.perceptual:.1%}"]
        table.add_row(modality, *values, *(f"{value:.4f}" for value in found.missing[modality][1:]))
    console.print(table)
    for modality, one in found.shuffled.items():
        if one.unchanged:
            told = f"{one.unchanged} of {found.samples} samples keep their {modality} when shuffled"
            console.print(f"note: {told}, because most samples share it: what it costs is a lower bound")


def main(words: Sequence[str]) -> int:
    """Probe the best checkpoint of runs, or one checkpoint."""
    parser = argparse.ArgumentParser(
        "velm probe",
        description="Measure how much a trained model owes to the image and to the text: the score with either "
        "permuted among the samples, and with more and more of either missing. It is kept with the run as probe.json.",
    )
    parser.add_argument("run", nargs="+", type=Path, help="a run's folder, or a checkpoint in one")
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--shuffles", type=int, default=3, help="how often each modality is permuted (3)")
    parser.add_argument("--limit", type=int, default=1000, help="samples at most, spread over the split; 0: all (1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--allow", nargs="*", default=[], help="packages whose classes the checkpoint may name")
    options = parser.parse_args(list(words)[1:])
    if options.shuffles < 1 or options.limit < 0:
        raise InputError(f"--shuffles {options.shuffles} must be at least 1, --limit {options.limit} at least 0")
    for place in options.run:
        path = place / "checkpoints" / "best.ckpt" if place.is_dir() else place
        model = Fusion.load_from_checkpoint(path, allow=options.allow)
        run = Run.of_checkpoint(path)
        if run is None:
            raise InputError(f"{path} lies in no run: its data are not known without the run's config.yaml")
        data = data_of(run.folder / "config.yaml")
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        found = probe(model, data, options.split, options.shuffles, options.limit or None, options.seed)
        save(found, run.folder)
        show(found, Console())
        print(f"probe: {run.folder / 'probe.json'}")
    return 0
