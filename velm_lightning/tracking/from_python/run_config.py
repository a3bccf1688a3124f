"""The ``config.yaml`` of a run from Python, with the keys that the command line writes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from velm_lightning.io.configurable import RecordsArguments, to_config
from velm_lightning.io.yaml_files import dump_yaml
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
_GIVEN = {  # as on the command line
    "use_distributed_sampler": False,
    "enable_autolog_hparams": False,
    "enable_model_summary": False,
}
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
    text = dump_yaml(_with_public_names(config))
    return text if complete else IN_MEMORY + text


def _with_public_names(config: Any) -> Any:
    """Replace the path of every class by the shortest one, as the command line writes it."""
    if isinstance(config, list):
        return [_with_public_names(item) for item in config]
    if not isinstance(config, dict):
        return config
    values = {key: _with_public_names(value) for key, value in config.items()}
    return values | {"class_path": shortest_path(values["class_path"])} if "class_path" in values else values


def shortest_path(path: str) -> str:
    """Return the shortest dotted path under which a class can be imported."""
    module, _, name = path.rpartition(".")
    if module not in sys.modules:
        return path
    kind = getattr(sys.modules[module], name, None)
    parts = module.split(".")
    above = (".".join(parts[:count]) for count in range(1, len(parts)))
    return next((f"{place}.{name}" for place in above if getattr(sys.modules[place], name, None) is kind), path)


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
