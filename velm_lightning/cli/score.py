"""``velm score``: the figures of a file of captions, ours or another system's, as the COCO evaluation computes them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from velm_lightning.data.images.decode import read_image
from velm_lightning.data.images.folder import pictures_in
from velm_lightning.data.result_files import is_text, read_references, read_results, write, write_results
from velm_lightning.io.files import show
from velm_lightning.metrics.captions import NAMES, score_captions
from velm_lightning.metrics.clip import Clip, clip_score
from velm_lightning.metrics.meteor import meteor_modules, meteor_name, meteor_score
from velm_lightning.metrics.references import References
from velm_lightning.metrics.sanity import Diversity, diversity
from velm_lightning.metrics.signature import signature_of, split_fingerprint
from velm_lightning.types import InputError


class Scored(NamedTuple):
    """What there is to say of N captions.

    Attributes:
        figures: by name; 0…1, but CIDEr-D 0…10.
        diversity: how varied the captions are.
        signatures: by figure, what it is.
        images: N.
        referenced: number of images that have references.
        unscored: number of captions that were left out because their image has no references.
    """

    figures: dict[str, float]
    diversity: Diversity
    signatures: dict[str, str]
    images: int
    referenced: int
    unscored: int = 0

    def print(self, console: Console) -> None:
        """Print a table, what to know about it, and the signature of the headline figure."""
        table = Table("figure", "value", title=f"{self.images:,} captions")
        table.columns[1].justify = "right"
        for name, value in self.figures.items():
            table.add_row(name, f"{value:.4f}")
        table.add_section()
        for name, text in _described(self.diversity).items():
            table.add_row(name, text)
        console.print(table)
        if self.images < self.referenced:
            told = f"{self.images:,} of the {self.referenced:,} images with references have a caption and are scored"
            print(f"note: {told}; CIDEr-D's weights are counted on these alone")
        if self.unscored:
            print(f"note: {self.unscored:,} captions are of images without references and are not scored")
        for name, line in self.signatures.items():
            if name == "CIDEr-D" or name not in NAMES:
                print(line)


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
    """Score a caption an image; images without a caption are left out, as in the official evaluation.

    So are images that the references list without any, and these are counted.

    Args:
        captions: by image.
        references: by image.
        split: what was scored, for the signature.
        tokenise: pass both sides through the PTB tokeniser; false where they are tokens joined by blanks.
        with_meteor: also compute the approximation of METEOR without Java.
        training: captions that the system was trained on, to tell how many it repeats.
        seen: compute CLIPScore and RefCLIPScore too, by this model on the pictures in this folder; see
            ``data.pictures``.

    Raises:
        InputError: an image is not among the references, no image has any, METEOR cannot be had, or a picture is not
            there.
    """
    _check(captions, references, split)
    unscored = sum(not references[key] for key in captions)
    scored = {key: tuple(references[key]) for key in references if key in captions and references[key]}
    captions = {key: caption for key, caption in captions.items() if key in scored}
    index = References(scored, tokenise=tokenise)
    figures = {name: one.corpus for name, one in score_captions(captions, index, tokenise=tokenise).items()}
    if with_meteor:
        modules = meteor_modules()
        figures[meteor_name(modules)] = meteor_score(captions, index, modules, tokenise=tokenise).corpus
    if seen is not None:
        figures |= _by_clip(captions, scored, *seen)
    told = {"split": ":".join(filter(None, (split.replace("|", "_"), split_fingerprint(scored.items()))))}
    told |= {} if tokenise else {"tok": "as-given"}
    model = {"model": seen[0].name.replace("|", "_")} if seen is not None else {}
    signatures = {name: signature_of(name, **told, **(model if "CLIP" in name else {})) for name in figures}
    varied = diversity([captions[key] for key in scored], training)
    return Scored(figures, varied, signatures, len(scored), sum(map(bool, references.values())), unscored)


def _by_clip(
    captions: Mapping[str, str], references: Mapping[str, tuple[str, ...]], clip: Clip, images: Path
) -> dict[str, float]:
    """Return the figures of captions that are held against their pictures."""
    files = pictures_in(images, references)
    pictures = (read_image(path, clip.transform) for path in files.values())
    found = clip_score(pictures, [captions[key] for key in references], clip, list(references.values()))
    assert found.ref_clip is not None, "there are references"
    return {"CLIPScore": found.clip.corpus, "RefCLIPScore": found.ref_clip.corpus}


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
    """Return what is shown beside the figures."""
    told = {
        "words used": f"{varied.vocabulary:,}",
        "mean length": f"{varied.mean_length:.2f}",
        "different captions": f"{varied.different:.1%}",
        "distinct-1, distinct-2": f"{varied.distinct_1:.4f}, {varied.distinct_2:.4f}",
    }
    if varied.empty:
        told["empty captions"] = f"{varied.empty:.1%}"
    if varied.seen is not None:
        told["seen in training"] = f"{varied.seen:.1%}"
    return told


def main(words: Sequence[str]) -> int:
    """Score a file and print its figures."""
    options = _parser().parse_args(list(words)[1:])
    results = read_results(options.results)
    if options.references and len({is_text(path) for path in (options.results, *options.references)}) > 1:
        raise InputError(f"{options.results} and --references must all be plain text, a caption a line, or all be JSON")
    references = read_references(options.references) if options.references else results.references
    if not any(references.values()):
        raise InputError(f"--references: {options.results} has none of its own: name a file of reference captions")
    if is_text(options.results) and len(results.captions) != len(references):
        told = f"{options.results} has {len(results.captions)} lines, its references have {len(references)}"
        raise InputError(f"{told}: line 3 of the one belongs to line 3 of the others")
    if (options.clip is None) != (options.images is None):
        raise InputError("--clip and --images belong together: the model, and the folder of the pictures it looks at")
    training = read_references(options.training) if options.training else None
    found = score(
        results.captions,
        references,
        split=",".join(path.name for path in options.references or [options.results]),
        tokenise=not options.tokenised,
        with_meteor=options.meteor,
        training=[caption for captions in training.values() for caption in captions] if training else None,
        seen=(Clip(options.clip), options.images) if options.clip else None,
    )
    found.print(Console())
    if options.json:
        write(options.json, json.dumps(_whole(found, options), indent=2) + "\n")
    if options.coco:
        write_results(options.coco, results.captions)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm score",
        description="Score captions by BLEU-1…4, ROUGE-L and CIDEr-D, equal to the COCO caption evaluation. RESULTS "
        'are COCO results ([{"image_id": 42, "caption": "…"}]), predictions/<split>.jsonl of a run, which carry their '
        "references along, or plain text with a caption a line; then the references are such files too.",
    )
    parser.add_argument("results", type=Path, metavar="RESULTS")
    files: dict[str, Any] = {"type": Path, "metavar": "FILE"}
    several: dict[str, Any] = {**files, "action": "append"}
    parser.add_argument("--references", **several, help="captions of COCO or Karpathy, or text; may be repeated")
    parser.add_argument("--training", **several, help="training captions: tell how many are repeated word for word")
    parser.add_argument("--tokenised", action="store_true", help="both sides are tokens joined by blanks already")
    parser.add_argument("--meteor", action="store_true", help="also an approximation of METEOR without Java")
    parser.add_argument("--clip", metavar="NAME", help="CLIPScore and RefCLIPScore too: hub name or folder of a CLIP")
    parser.add_argument("--images", type=Path, metavar="DIR", help="the pictures that --clip looks at")
    parser.add_argument("--json", **files, help="write the figures")
    parser.add_argument("--coco", **files, help="write RESULTS as COCO results, for an evaluation server")
    return parser


def _whole(found: Scored, options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that there is to know, as it is written to a file."""
    return {
        "results": str(options.results),
        "references": [str(path) for path in options.references or [options.results]],
        "images": found.images,
        "images_with_references": found.referenced,
        "captions_without_references": found.unscored,
        "figures": found.figures,
        "diversity": found.diversity._asdict(),
        "signatures": found.signatures,
    }
