"""Hints for a user: the file, command or option that was probably meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

OPTIMIZATION = "model.init_args.optimization"
SCHEDULE = f"{OPTIMIZATION}.schedule"
OTHER_NAMES = {
    **dict.fromkeys(("lr", "learning_rate", "learning-rate"), f"{OPTIMIZATION}.learning_rate"),
    **dict.fromkeys(("wd", "weight_decay", "weight-decay"), f"{OPTIMIZATION}.weight_decay"),
    # A schedule needs its class before the arguments of the class.
    **dict.fromkeys(("warmup", "warmup_ratio"), f"{SCHEDULE} Cosine --{SCHEDULE}.init_args.warmup_ratio"),
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs", "num_train_epochs", "n_epochs"), "trainer.max_epochs"),
    **dict.fromkeys(("steps", "max_steps", "num_steps"), "trainer.max_steps"),
    **dict.fromkeys(("batch_size", "batch-size", "bs", "per_device_train_batch_size"), "data.batch_size"),
    **dict.fromkeys(("workers", "num_workers", "dataloader_num_workers"), "data.num_workers"),
    **dict.fromkeys(("gpus", "devices", "num_gpus"), "trainer.devices"),
    **dict.fromkeys(("precision", "fp16", "bf16", "amp"), "trainer.precision"),
    **dict.fromkeys(("accelerator", "device"), "trainer.accelerator"),
    **dict.fromkeys(("gradient_accumulation_steps", "accumulate_grad_batches"), "trainer.accumulate_grad_batches"),
    **dict.fromkeys(("grad_clip", "max_grad_norm", "gradient_clip_val"), "trainer.gradient_clip_val"),
    **dict.fromkeys(("seed", "random_seed"), "seed_everything"),
    **dict.fromkeys(("output_dir", "out_dir", "outdir", "log_dir", "save_dir"), "tracking.runs"),
    **dict.fromkeys(("project", "wandb_project"), "tracking.project"),
    **dict.fromkeys(("name", "run_name", "experiment", "exp_name"), "tracking.experiment"),
    **dict.fromkeys(("checkpoint_path", "ckpt", "resume_from_checkpoint"), "ckpt_path"),
    **dict.fromkeys(("patience", "early_stopping_patience"), "early_stopping.patience"),
    **dict.fromkeys(("fusion", "model_name"), "model"),
    **dict.fromkeys(("dataset", "dataset_name"), "data.dataset"),
    "fast_dev_run": "trainer.fast_dev_run",
}
"""Names of options in other tools, and without their section, by the words for `--` that mean the same here."""


def no_file(name: str | Path) -> str:
    """Return the sentence that a file does not exist, with a file or packaged config of a similar name."""
    if os.path.exists(name):
        return f"{name}: cannot be read: it is not a regular file"
    near = similar_file(Path(name))
    return f"{name}: cannot be read: there is no such file" + (f"; did you mean {near}?" if near else "")


def similar_file(path: Path, others: Iterable[str] = ()) -> str | None:
    """Return an existing file of the same folder, or a packaged config, whose name is similar.

    Args:
        path: The file that does not exist.
        others: Further names.
    """
    try:
        files = [str(file) for file in path.parent.iterdir()]
    except OSError:
        files = []
    names = [*files, *packaged(), *others]
    stem = str(path.with_suffix(""))
    same = [name for name in names if re.sub(r"\.(ya?ml|jsonl?|csv|tsv)$", "", name) == stem]
    near = get_close_matches(str(path), same or names, 1, 0 if same else 0.75)
    return near[0] if near else None


def packaged(folder: str = "conf") -> list[str]:
    """Return the names of the configs that come with the package, such as ``conf/vqa.yaml``.

    Args:
        folder: ``conf`` for the experiments, a folder in it, or ``sweeps``.
    """
    from velm_lightning.io.config_files import packaged_configs

    return [f"{folder}/{file.name}" for file in packaged_configs(folder)]


def similar(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``; did you mean …?`` for the end of a sentence, or an empty string."""
    near = get_close_matches(word, list(known), 1, cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


def other_name(option: str) -> str | None:
    """Return the key that an option of another tool means, or None if the option is not one of these."""
    return OTHER_NAMES.get(option.lstrip("-").partition("=")[0])


def readable(message: str) -> str:
    r"""Return a message of the parser in plain words, with the whole key.

    Example:
        >>> readable('Parser key "data.batch_size": Expected a <class \'int\'>. Got value: abc')
        'data.batch_size: expected int, got abc'
    """
    message = re.sub(r'Parser key "([\w.]+)": (?=Parser key ")', r"\1.", message)
    message = re.sub(r'(^|\.)Parser key "([\w.]+)":', r"\1\2:", message)
    message = re.sub(r"Expected a (?:typing\.)?Literal\[([^\]]*)\]", lambda m: f"expected {_either(m[1])}", message)
    message = re.sub(r"Expected a <class '(?:[\w.]+\.)?(\w+)'>", r"expected \1", message)
    message = re.sub(
        r"Expected a dot import path string: (\S+?)(?: \(given: \1\))?(?=;|$)", r"there is no class \1", message
    )
    return re.sub(r"(?:\. Got value:| \(given:) ([^)\n]*?)\)?(?=;|$)", r", got \1", message)


def _either(values: str) -> str:
    """Return the values of a choice as ``a, b or c``."""
    names = [value.strip(" '\"") for value in values.split(",")]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
