"""The config that ``velm init`` writes for a table of a user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from velm_lightning.cli.start.proposal import Proposal
from velm_lightning.io.allowlist import network_allowed

WEIGHTS = "mobilenet_v2-b0353104.pth"
_ADDRESS = f"https://download.pytorch.org/models/{WEIGHTS}"
STEPS = 2000
"""Optimiser steps that a run takes unless it is stopped early."""
_SKEWED = 1.5


def weights_available() -> bool:
    """Return whether torchvision's weights are on this machine."""
    cache = os.environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return (Path(home).expanduser() / "hub" / "checkpoints" / WEIGHTS).is_file()


def weights_reachable(timeout: float = 3.0) -> bool:
    """Return whether torchvision's weights can be downloaded, and the command line allows the network."""
    if not network_allowed() or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(_ADDRESS, method="HEAD"), timeout=timeout):
            return True
    except (URLError, OSError, ValueError):
        return False


def recipe(
    proposal: Proposal, name: str, files: dict[str, Path | None], pretrained: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return a config as a mapping, and a sentence per choice that the user may want to change.

    Args:
        proposal: What the table holds.
        name: Name of the experiment.
        files: The file of each split; None if there is none.
        pretrained: Whether torchvision's weights can be had.
    """
    notes: list[str] = []
    samples = proposal.rows
    batch = 64 if samples >= 2000 else 32 if samples >= 500 else 16
    epochs = min(100, max(5, round(STEPS * batch / samples)))
    notes.append(f"epochs: {epochs}, for about {epochs * -(-samples // batch):,} steps; early stopping ends it sooner")
    image, image_note = _image_encoder(proposal, pretrained)
    task, task_notes = _task(proposal)
    data = _data(proposal, files, batch, pretrained)
    if "holdout" in _files_of(data):
        notes.append(f"validation: {_files_of(data)['holdout']:.0%} of the pictures, for there is no --val file")
    model = {
        "class_path": "LateFusion" if proposal.task == "retrieval" else "InteractiveFusion",
        "init_args": {
            **({} if proposal.task == "retrieval" else {"depth": 1, "dropout": 0.2}),
            "image_encoder": image,
            "connector": {"class_path": "LinearConnector", "init_args": {"dropout": 0.3}},
            "text_encoder": {"class_path": "RNNTextEncoder", "init_args": {"dim": 256, "dropout": 0.3}},
            "task": task,
            "optimization": {"learning_rate": 1.0e-3, "weight_decay": 0.1},
        },
    }
    config = {
        "data": data,
        "model": model,
        "trainer": {"max_epochs": epochs, "log_every_n_steps": 10},
        "early_stopping": {"monitor": "val/score", "mode": "max", "patience": max(5, epochs // 10)},
        "tracking": {"experiment": name},
    }
    return config, [image_note, *notes, *task_notes]


def _image_encoder(proposal: Proposal, pretrained: bool) -> tuple[dict[str, Any], str]:
    """Return the image encoder and the sentence about it."""
    if pretrained:
        encoder = {"name": "mobilenet_v2", "weights": "IMAGENET1K_V1"}
        note = "pictures: MobileNetV2 pretrained on ImageNet, frozen, at 224 px; its features are computed once"
        return {"class_path": "TorchvisionCNN", "init_args": encoder}, note
    size = min(128, max(32, proposal.side // 32 * 32))
    widths = [32, 64, 128, 128, 128][: 5 if size > 96 else 4 if size > 48 else 3]
    note = f"pictures: a small CNN from scratch at {size} px, because torchvision's weights cannot be had here; "
    note += f"with --allow-network, or with {WEIGHTS} in torch's cache, `velm init` proposes a pretrained encoder"
    return {"class_path": "SmallCNN", "init_args": {"size": size, "widths": widths}}, note


def _task(proposal: Proposal) -> tuple[dict[str, Any], list[str]]:
    """Return the task and the sentences about it."""
    if proposal.task == "retrieval":
        return {"class_path": "Retrieval", "init_args": {"width": 512}}, []
    if proposal.task != "classification":
        beams = {"beams": 3, "early_stopping": False, "max_length": 32}
        decoding = {"class_path": "BeamSearch", "init_args": beams}
        arguments = {"label_smoothing": 0.1, "dropout": 0.3, "decoding": decoding}
        return {"class_path": "Generation", "init_args": arguments}, []
    skewed = len(proposal.answers) <= 50 and proposal.skew >= _SKEWED
    arguments = {"dropout": 0.3, **({"balance": 0.5} if skewed else {})}
    answer, count = proposal.answers.most_common(1)[0]
    share = count / proposal.answers.total()
    notes = [f"answers: {len(proposal.answers)}, {answer!r} is {share:.0%} of them"]
    notes[0] += ", so rare ones count more (task.balance)" if skewed else ""
    if len(proposal.answers) == 2 and "text" in proposal.columns:
        notes.append(
            "note: whether a text is true of a picture is hardly learned from scratch on one bit per sample: start "
            "from a checkpoint that has learned words for pictures, with --model.init_args.init_from"
        )
    return {"class_path": "Classification", "init_args": arguments}, notes


def _data(proposal: Proposal, files: dict[str, Path | None], batch: int, pretrained: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {split: str(path) for split, path in files.items() if path is not None}
    arguments["images"] = str(proposal.images)
    named = proposal.columns | ({} if "text" in proposal.columns else {"text": None})
    if proposal.task in ("captioning", "retrieval"):
        named["text"] = None
    arguments["columns"] = {part: name for part, name in named.items() if part != name}
    if files.get("val") is None:
        arguments["holdout"] = 0.2 if proposal.pictures < 1000 else 0.1
    dataset: dict[str, Any] = {"class_path": "JSONLines", "init_args": arguments}
    if proposal.task == "retrieval":
        dataset = {"class_path": "CaptionPairs", "init_args": {"dataset": dataset}}
    return {"dataset": dataset, "batch_size": batch, **({"cache_features": True} if pretrained else {})}


def _files_of(data: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the table's dataset, which may be within another."""
    arguments: dict[str, Any] = data["dataset"]["init_args"]
    inner: dict[str, Any] = arguments["dataset"]["init_args"] if "dataset" in arguments else arguments
    return inner
