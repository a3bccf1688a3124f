"""Scores captions from any system as the COCO evaluation does, with diversity and signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from velm_lightning.data.images.decode import read_image
from velm_lightning.data.images.folder import pictures_in
from velm_lightning.io.console import echo
from velm_lightning.io.files import show
from velm_lightning.io.terminal import Console, Table
from velm_lightning.metrics.captions import NAMES, score_captions
from velm_lightning.metrics.clip import Clip, clip_score
from velm_lightning.metrics.meteor import meteor_modules, meteor_name, meteor_score
from velm_lightning.metrics.references import References
from velm_lightning.metrics.sanity import Diversity, diversity
from velm_lightning.metrics.signature import signature_of, split_fingerprint
from velm_lightning.types import InputError


class Scored(NamedTuple):
    """The scores of N captions.

    Attributes:
        figures: The scores by name; 0…1, except CIDEr-D 0…10.
        diversity: The diversity of the captions.
        signatures: The signature of each score.
        images: The number N of images.
        referenced: Number of images that have references.
        unscored: Number of captions that were left out because their image has no references.
    """

    figures: dict[str, float]
    diversity: Diversity
    signatures: dict[str, str]
    images: int
    referenced: int
    unscored: int = 0

    def print(self, console: Console) -> None:
        """Print a table, notes on it, and the signature of the headline score."""
        table = Table("figure", "value", title=f"{self.images:,} captions")
        table.columns[1].justify = "right"
        for name, value in self.figures.items():
            table.add_row(name, f"{value:.4f}")
        table.add_section()
        for name, text in _described(self.diversity).items():
            table.add_row(name, text)
        console.print(table)
        if self.images < self.referenced:
            coverage = (
                f"{self.images:,} of the {self.referenced:,} images with references have a caption and are scored"
            )
            echo(f"note: {coverage}; CIDEr-D's weights are counted on these only")
        if self.unscored:
            echo(f"note: {self.unscored:,} captions belong to images without references and are not scored")
        for name, line in self.signatures.items():
            if name == "CIDEr-D" or name not in NAMES:
                echo(line)


def score(
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    split: str = "",
    tokenise: bool = True,
    with_meteor: bool = False,
    training: Sequence[str] | None = None,
    seen: tuple[Clip, Path] | None = None,
) -> Scored:
    """Score one caption per image; images without a caption are left out, as in the official evaluation.

    Images with an empty list of references are left out, too, and counted.

    Args:
        captions: The captions by image.
        references: The references by image.
        split: The name of the data, for the signature.
        tokenise: Whether to apply the PTB tokeniser to both sides; false if they are tokens joined by blanks.
        with_meteor: Whether to compute the approximation of METEOR without Java.
        training: The captions that the system was trained on, to count how many it repeats.
        seen: The model for CLIPScore and RefCLIPScore, and the folder of the images.

    Raises:
        InputError: If an image is not among the references, no image has any, METEOR is not available, or an image
            file is missing.
    """
    _check(captions, references, split)
    unscored = sum(not references[key] for key in captions)
    scored = {key: tuple(references[key]) for key in references if key in captions and references[key]}
    captions = {key: caption for key, caption in captions.items() if key in scored}
    index = References(scored, tokenise=tokenise)
    figures = {name: result.corpus for name, result in score_captions(captions, index, tokenise=tokenise).items()}
    if with_meteor:
        modules = meteor_modules()
        figures[meteor_name(modules)] = meteor_score(captions, index, modules, tokenise=tokenise).corpus
    if seen is not None:
        figures |= _by_clip(captions, scored, *seen)
    settings = {"split": ":".join(filter(None, (split.replace("|", "_"), split_fingerprint(scored.items()))))}
    settings |= {} if tokenise else {"tok": "as-given"}
    model = {"model": seen[0].name.replace("|", "_")} if seen is not None else {}
    signatures = {name: signature_of(name, **settings, **(model if "CLIP" in name else {})) for name in figures}
    varied = diversity([captions[key] for key in scored], training)
    return Scored(figures, varied, signatures, len(scored), sum(map(bool, references.values())), unscored)


def _by_clip(
    captions: Mapping[str, str], references: Mapping[str, tuple[str, ...]], clip: Clip, images: Path
) -> dict[str, float]:
    """Return the scores of captions against their images."""
    files = pictures_in(images, references)
    pictures = (read_image(path, clip.transform) for path in files.values())
    scores = clip_score(pictures, [captions[key] for key in references], clip, list(references.values()))
    assert scores.ref_clip is not None, "references were given"
    return {"CLIPScore": scores.clip.corpus, "RefCLIPScore": scores.ref_clip.corpus}


def _check(captions: Mapping[str, str], references: Mapping[str, Sequence[str]], split: str) -> None:
    unknown = [key for key in captions if key not in references]
    if unknown:
        others = f", nor have {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise InputError(
            f"image {show(unknown[0])} has no references{f' in {split}' if split else ''}{others}: "
            "score only images of the references, of the same split"
        )
    if not any(references[key] for key in captions):
        raise InputError(f"no image{f' in {split}' if split else ''} has references: there is nothing to score against")


def _described(varied: Diversity) -> dict[str, str]:
    """Return the statistics that the table shows below the scores."""
    statistics = {
        "words used": f"{varied.vocabulary:,}",
        "mean length": f"{varied.mean_length:.2f}",
        "different captions": f"{varied.different:.1%}",
        "distinct-1, distinct-2": f"{varied.distinct_1:.4f}, {varied.distinct_2:.4f}",
    }
    if varied.empty:
        statistics["empty captions"] = f"{varied.empty:.1%}"
    if varied.seen is not None:
        statistics["seen in training"] = f"{varied.seen:.1%}"
    return statistics
