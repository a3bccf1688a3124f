"""``velm score``: scores a file of captions from any system as the COCO evaluation does."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velm_lightning.cli.start.hints import no_file
from velm_lightning.errors import InputError

if TYPE_CHECKING:
    from velm_lightning.inspection.caption_scores import Scored


def main(words: Sequence[str]) -> int:
    """Score a file and print the table."""
    options = _parser().parse_args(list(words)[1:])
    if missing := next((path for path in (options.results, *(options.references or [])) if not path.is_file()), None):
        raise InputError(f"velm score: {no_file(missing)}")
    if (options.clip is None) != (options.images is None):
        raise InputError("--clip and --images must be given together: the model, and the folder of its images")
    from rich.console import Console

    from velm_lightning.data.result_files import is_text, read_references, read_results, write, write_results
    from velm_lightning.inspection.caption_scores import score
    from velm_lightning.metrics.clip import Clip

    results = read_results(options.results)
    if options.references and len({is_text(path) for path in (options.results, *options.references)}) > 1:
        raise InputError(
            f"{options.results} and --references must all be plain text, one caption per line, or all be JSON"
        )
    references = read_references(options.references) if options.references else results.references
    if not any(references.values()):
        raise InputError(f"--references: {options.results} holds no references: name a file of reference captions")
    if is_text(options.results) and len(results.captions) != len(references):
        counts = f"{options.results} has {len(results.captions)} lines, its references have {len(references)}"
        raise InputError(f"{counts}: both must have the same number of lines")
    training = read_references(options.training) if options.training else None
    scored = score(
        results.captions,
        references,
        split=",".join(path.name for path in options.references or [options.results]),
        tokenise=not options.tokenised,
        with_meteor=options.meteor,
        training=[caption for captions in training.values() for caption in captions] if training else None,
        seen=(Clip(options.clip), options.images) if options.clip else None,
    )
    scored.print(Console())
    if options.json:
        write(options.json, json.dumps(_whole(scored, options), indent=2) + "\n")
    if options.coco:
        write_results(options.coco, results.captions)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm score",
        description="Score captions by BLEU-1…4, ROUGE-L and CIDEr-D, equal to the COCO caption evaluation. RESULTS "
        'are COCO results ([{"image_id": 42, "caption": "…"}]), predictions/<split>.jsonl of a run with '
        "their references, or plain text with one caption per line; then the references are such files, too.",
    )
    parser.add_argument("results", type=Path, metavar="RESULTS")
    files: dict[str, Any] = {"type": Path, "metavar": "FILE"}
    several: dict[str, Any] = {**files, "action": "append"}
    parser.add_argument("--references", **several, help="captions of COCO or Karpathy, or text; may be repeated")
    parser.add_argument("--training", **several, help="training captions, to count how many are repeated verbatim")
    parser.add_argument("--tokenised", action="store_true", help="both sides are already tokens joined by blanks")
    parser.add_argument("--meteor", action="store_true", help="also compute an approximation of METEOR without Java")
    parser.add_argument(
        "--clip", metavar="NAME", help="also compute CLIPScore and RefCLIPScore: hub name or folder of a CLIP model"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images for --clip")
    parser.add_argument("--json", **files, help="write the scores")
    parser.add_argument("--coco", **files, help="write RESULTS as COCO results, for an evaluation server")
    return parser


def _whole(scored: Scored, options: argparse.Namespace) -> dict[str, Any]:
    """Return the content of the JSON file."""
    return {
        "results": str(options.results),
        "references": [str(path) for path in options.references or [options.results]],
        "images": scored.images,
        "images_with_references": scored.referenced,
        "captions_without_references": scored.unscored,
        "figures": scored.figures,
        "diversity": scored.diversity._asdict(),
        "signatures": scored.signatures,
    }
