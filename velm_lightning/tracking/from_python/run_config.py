"""The ``config.yaml`` of a run from Python, with the keys that the command line writes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import yaml
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from velm_lightning.io.configurable import RecordsArguments, to_config
from velm_lightning.types import InputError

_OBJECTS = ("callbacks", "logger", "plugins", "strategy", "accelerator", "devices", "profiler", "default_root_dir")
_RESOLVED = {  # what the trainer makes of an argument that is not given
    **dict.fromkeys([f"limit_{split}_batches" for split in ("train", "val", "test", "predict")], 1.0),
    "precision": "32-true",
    "log_every_n_steps": 50,
    "val_check_interval": 1.0,
    "min_epochs": 0,
    "every_n_train_steps": 0,
    "every_n_epochs": 1,
}
_GIVEN = {"use_distributed_sampler": False, "enable_autolog_hparams": False}  # as on the command line
IN_MEMORY = "# The data were given from Python, so that this file cannot build them again.\n"


def config_text(model: Any, data: Any, trainer: Trainer, tracking: Mapping[str, Any]) -> str:
    """Return the settings of a run as YAML; ``velm fit --config`` on it repeats the run.

    Data that exist only in memory are named by their class; a comment says so.
    """
    written = to_config(model)
    del written["init_args"]["vocabulary"]
    data_section, complete = data_config(data)
    config = {
        "seed_everything": data.seed,
        "trainer": trainer_config(trainer),
        "tracking": dict(tracking),
        "on_nan": "stop",
        "save_every_n_steps": 0,
        **_callback_configs(trainer),
        "model": written,
        "data": data_section,
    }
    return ("" if complete else IN_MEMORY) + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def data_config(data: Any) -> tuple[dict[str, Any], bool]:
    """Return the arguments of the data module, without the seed, and whether all of them could be written."""
    section: dict[str, Any] = {}
    complete = True
    for name, value in data._init_args.items():
        if name == "seed":  # `seed_everything` on the command line
            continue
        try:
            section[name] = to_config(value)
        except InputError:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            section[name] = {"class_path": kind} if isinstance(value, RecordsArguments) else kind
            complete = False
    return section, complete


def trainer_config(trainer: Trainer) -> dict[str, Any]:
    """Return the trainer's arguments that are plain values; None stands for the default."""
    section: dict[str, Any] = {}
    for name, parameter in inspect.signature(Trainer).parameters.items():
        default = parameter.default
        section[name] = default if name in _OBJECTS else _plain(trainer, name, default)
    return section | _GIVEN


def _plain(owner: Any, name: str, default: Any) -> Any:
    """Return the value of an argument that ``owner`` keeps; the default if it keeps none, or no plain value."""
    value = getattr(owner, name, getattr(owner, f"_{name}", default))
    if value == _RESOLVED.get(name, default) or not isinstance(value, bool | int | float | str | None):
        return default
    return value


def _callback_configs(trainer: Trainer) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for name, kind in (("checkpoint", ModelCheckpoint), ("early_stopping", EarlyStopping)):
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        callback = next((callback for callback in callbacks if type(callback) is kind), None)
        if callback is not None:
            sections[name] = {
                argument: _plain(callback, argument, parameter.default)
                for argument, parameter in inspect.signature(kind).parameters.items()
                if argument not in ("dirpath", "train_time_interval")
            }
    return sections
