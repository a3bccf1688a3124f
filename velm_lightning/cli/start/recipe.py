"""The config that ``velm init`` writes for a table of a user."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from velm_lightning.cli.start.budget import PATIENCE, budget
from velm_lightning.cli.start.encoders import image_encoder, text_encoder
from velm_lightning.cli.start.proposal import Proposal
from velm_lightning.cli.start.starting import Start, one_bit_note
from velm_lightning.cli.start.tasks import TASKS, Part, part
from velm_lightning.cli.start.weights import Weights

_FEW, _SKEWED = 50, 1.5


def recipe(
    proposal: Proposal, name: str, files: dict[str, Path | None], weights: Weights, start: Start | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return a config as a mapping, and a sentence per choice that the user may want to change.

    Args:
        proposal: What the table holds.
        name: Name of the experiment.
        files: The file of each split; None if there is none.
        weights: The pretrained weights that can be had.
        start: The model to continue from; None means a new one.
    """
    data = data_section(proposal, files)
    held = _files_of(data).get("holdout", 0.0)
    plan = budget(round(proposal.rows * (1 - held)), TASKS[proposal.task].contrastive)
    model, notes, cached = start.model() if start else _model(proposal, weights)
    model["init_args"]["task"], task_notes = _task(proposal, start)
    notes.append(plan.describe())
    if proposal.refused:
        notes.append(f"images: {proposal.refused}")
    if held:
        notes.append(f"validation: {held:.0%} of the images, for there is no --val file")
    monitored = "val/macro_f1" if _is_skewed(proposal) else "val/score"
    config = {
        "data": {**data, "batch_size": plan.batch_size, **({"cache_features": True} if cached else {})},
        "model": model,
        "trainer": {"max_steps": plan.steps, **plan.interval, "log_every_n_steps": 10},
        **({"checkpoint": {"monitor": monitored}} if _is_skewed(proposal) else {}),
        "early_stopping": {"monitor": monitored, "mode": "max", "patience": PATIENCE},
        "tracking": {"experiment": name},
    }
    return config, [*notes, *task_notes]


def _model(proposal: Proposal, weights: Weights) -> tuple[Part, list[str], bool]:
    """Return a new model without its task, the sentences about it, and whether its image features are cached."""
    proposed = TASKS[proposal.task]
    image, image_note = image_encoder(proposal, weights)
    text, text_notes = text_encoder(proposal, weights)
    frozen = text["class_path"] == "HFTextEncoder"
    model = part(
        proposed.fusion["class_path"],
        **proposed.fusion["init_args"],
        image_encoder=image,
        connector=deepcopy(proposed.connector),
        text_encoder=text,
        optimization={"learning_rate": 5.0e-4 if frozen else 1.0e-3, "weight_decay": 0.1},
    )
    return model, [image_note, *text_notes], weights.image


def _is_skewed(proposal: Proposal) -> bool:
    """Return whether there are few answers, and one of them is much more frequent than the others."""
    return 1 < len(proposal.answers) <= _FEW and proposal.skew >= _SKEWED


def _task(proposal: Proposal, start: Start | None) -> tuple[Part, list[str]]:
    """Return the task and the sentences about it."""
    task = deepcopy(TASKS[proposal.task].task)
    if not proposal.answers:
        return task, []
    answer, count = proposal.answers.most_common(1)[0]
    note = f"answers: {len(proposal.answers)}, {answer!r} is {count / proposal.answers.total():.0%} of them"
    if _is_skewed(proposal):
        task["init_args"]["balance"] = 0.5
        note += ", so rare ones count more (task.balance), and macro-F1 selects the checkpoint"
    return task, [note, *one_bit_note(len(proposal.answers), "text" in proposal.columns, start)]


def data_section(proposal: Proposal, files: dict[str, Path | None]) -> dict[str, Any]:
    """Return the ``data`` section of a config, with the dataset only."""
    proposed = TASKS[proposal.task]
    arguments: dict[str, Any] = {split: str(path) for split, path in files.items() if path is not None}
    arguments["images"] = str(proposal.images)
    named = proposal.columns | ({} if "text" in proposal.columns else {"text": None})
    if not proposed.prompted:
        named["text"] = None
    arguments["columns"] = {part: name for part, name in named.items() if part != name}
    if files.get("val") is None:
        arguments["holdout"] = 0.2 if proposal.pictures < 1000 else 0.1
    table = part("JSONLines", **arguments)
    return {"dataset": table if proposed.dataset is None else part(proposed.dataset, dataset=table)}


def _files_of(data: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the table's dataset, which may be within another."""
    arguments: dict[str, Any] = data["dataset"]["init_args"]
    inner: dict[str, Any] = arguments["dataset"]["init_args"] if "dataset" in arguments else arguments
    return inner
