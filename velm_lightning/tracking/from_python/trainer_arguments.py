"""The arguments of ``lightning.Trainer`` that ``fit`` passes on, and their defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypedDict

from lightning import Trainer

from velm_lightning.data import MultimodalData
from velm_lightning.errors import InputError
from velm_lightning.tracking.checkpoint_files import AtomicCheckpointIO
from velm_lightning.tracking.run import Run


class TrainerArguments(TypedDict, total=False):
    """Arguments of ``lightning.Trainer`` that ``fit`` passes on."""

    accelerator: Any
    strategy: Any
    devices: list[int] | str | int
    num_nodes: int
    precision: Any
    fast_dev_run: int | bool
    max_epochs: int | None
    min_epochs: int | None
    max_steps: int
    min_steps: int | None
    max_time: Any
    limit_train_batches: int | float | None
    limit_val_batches: int | float | None
    limit_test_batches: int | float | None
    overfit_batches: int | float
    val_check_interval: Any  # also a time
    check_val_every_n_epoch: int | None
    log_every_n_steps: int | None
    enable_progress_bar: bool | None
    enable_model_summary: bool | None
    accumulate_grad_batches: int
    gradient_clip_val: int | float | None
    gradient_clip_algorithm: str | None
    deterministic: Any
    benchmark: bool | None
    detect_anomaly: bool
    profiler: Any
    plugins: Any


_ELSEWHERE = ": the learning rate is that of velm.Optimization(…), the batch size that of velm.MultimodalData(…)"
DEFAULTS: dict[str, Any] = {
    "use_distributed_sampler": False,  # the data module's own samplers place every process
    "num_sanity_val_steps": 0,
    "gradient_clip_val": 1.0,
    "enable_model_summary": False,
}


def check_names(given: Iterable[str]) -> None:
    """Raise ``InputError`` unless these are names of arguments of ``lightning.Trainer``."""
    names = inspect.signature(Trainer).parameters
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, 1)
            meant = f": did you mean {near[0]}?" if near else ""
            raise InputError(f"velm.fit and lightning.Trainer have no argument {name!r}{meant or _ELSEWHERE}")


def complete(given: TrainerArguments, run: Run, data: MultimodalData) -> dict[str, Any]:
    """Return the arguments of the trainer: those given, over the defaults; no evaluation without a validation split."""
    arguments = DEFAULTS | {"default_root_dir": run.folder} | given
    plugins = arguments.get("plugins") or []
    arguments["plugins"] = [*(plugins if isinstance(plugins, list | tuple) else [plugins]), AtomicCheckpointIO()]
    if not data.has("val"):
        arguments["limit_val_batches"] = 0
    return arguments
