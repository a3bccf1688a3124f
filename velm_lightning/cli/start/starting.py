"""The run whose weights a proposed config starts from."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.errors import InputError
from velm_lightning.tracking.run_names import find_checkpoint, find_run

_ONE_BIT = (
    "note: THIS WILL HARDLY LEARN FROM SCRATCH if the answer depends on comparing the text with the image: one bit per "
    "sample does not teach what words look like; train on questions or captions first (`velm fit vqa`), then "
    "`velm init --init-from RUN` continues from that run"
)


class Start(NamedTuple):
    """A trained model.

    Attributes:
        checkpoint: Its weights.
        config: The config of its run.
    """

    checkpoint: Path
    config: dict[str, Any]

    def model(self) -> tuple[dict[str, Any], list[str], bool]:
        """Return the model to continue, the sentences about it, and whether its image features are cached."""
        model = deepcopy(self.config["model"])
        model["init_args"]["init_from"] = str(self.checkpoint)
        cached = bool(self.config.get("data", {}).get("cache_features"))
        note = f"model: that of {self.checkpoint}, whose weights it starts from wherever words and answers are the same"
        return model, [note], cached


def find_start(name: str) -> Start:
    """Return the model of a run.

    Args:
        name: A run's folder, id or checkpoint, or ``latest``.

    Raises:
        InputError: There is no such run, or it has no checkpoint or config.
    """
    from velm_lightning.io.yaml_files import read_yaml

    checkpoint = find_checkpoint(name).absolute()
    file = find_run(checkpoint) / "config.yaml"
    content = read_yaml(file) if file.is_file() else None
    config = content if isinstance(content, dict) else {}
    model = config.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("init_args"), dict):
        raise InputError(f"--init-from {name}: {file} has no `model` section: name a run of `velm fit`")
    return Start(checkpoint, config)


def one_bit_note(answers: int, has_text: bool, start: Start | None) -> list[str]:
    """Return a warning if a yes-or-no answer about text and image is to be learned from scratch."""
    return [_ONE_BIT] if answers == 2 and has_text and start is None else []
