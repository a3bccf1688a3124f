"""What ``velm init`` proposes for each task: one record per task."""

from __future__ import annotations

from typing import Any, NamedTuple

Part = dict[str, Any]
"""A class path and its arguments, as a config holds them."""


class TaskRecipe(NamedTuple):
    """The parts of a config that follow from the task.

    Attributes:
        learned: The part of the columns that is learned: ``answers`` or ``target``.
        read: The part that a text encoder reads; None if texts are only written, which a sentence encoder cannot do.
        prompted: Whether a text column is the prompt of a sample; otherwise it is not used.
        fusion: The fusion, without its parts.
        connector: The connector.
        task: The task.
        dataset: A dataset around that of the table; None means that of the table.
        contrastive: Whether the other samples of a batch are the wrong answers.
    """

    learned: str
    read: str | None
    prompted: bool
    fusion: Part
    connector: Part
    task: Part
    dataset: str | None = None
    contrastive: bool = False


def part(class_path: str, **arguments: Any) -> Part:
    """Return a part of a config."""
    return {"class_path": class_path, "init_args": arguments}


_INTERACTIVE = part("InteractiveFusion", depth=1, dropout=0.2)
_TOKENS = part("LinearConnector", dropout=0.5)
_BEAMS = part("BeamSearch", beams=3, early_stopping=False, max_length=32)
_SENTENCES = part("Generation", label_smoothing=0.1, dropout=0.3, decoding=_BEAMS)

TASKS = {
    "classification": TaskRecipe(
        learned="answers",
        read="text",
        prompted=True,
        fusion=_INTERACTIVE,
        connector=_TOKENS,
        task=part("Classification", dropout=0.5),
    ),
    "generation": TaskRecipe(
        learned="target", read=None, prompted=True, fusion=_INTERACTIVE, connector=_TOKENS, task=_SENTENCES
    ),
    "captioning": TaskRecipe(
        learned="target", read=None, prompted=False, fusion=_INTERACTIVE, connector=_TOKENS, task=_SENTENCES
    ),
    "retrieval": TaskRecipe(
        learned="target",
        read="target",
        prompted=False,
        fusion=part("LateFusion"),  # every search compares all images with all texts, which is cheap for two towers
        connector=part("MeanConnector", dropout=0.7),
        task=part("Retrieval", width=None, text_dropout=0.2),
        dataset="CaptionPairs",
        contrastive=True,
    ),
}
"""The record of each task, by the name that ``velm init --task`` takes."""
