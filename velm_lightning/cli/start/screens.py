"""A screen of help for ``velm fit``, ``validate``, ``test`` and ``predict``; ``--help-all`` lists all options."""

from __future__ import annotations

from typing import NamedTuple

_OPTIMIZATION = "model.init_args.optimization.init_args"
_SHORT = {f"{_OPTIMIZATION}.learning_rate": "model.init_args.optimization.learning_rate"}


class Option(NamedTuple):
    """An option of a screen: its key, its default as the parser has it, and what it sets."""

    key: str
    default: object
    text: str


class Screen(NamedTuple):
    """The help of one command."""

    usage: str
    summary: str
    examples: tuple[tuple[str, str], ...]
    options: tuple[Option, ...]

    def text(self, command: str) -> str:
        """Return the screen as lines of at most 80 columns."""
        width = max(len(words) for words, _ in self.examples) + 2
        lines = [f"usage: {self.usage}", "", self.summary, "", "examples:"]
        lines += [f"  {words:<{width}}{text}" for words, text in self.examples]
        lines += ["", "options, with their defaults (every key can also stand in CONFIG):"]
        for key, default, text in self.options:
            name = f"--{_SHORT.get(key, key)}"
            value = "" if default is None else f" ({str(default).lower() if isinstance(default, bool) else default})"
            lines += [f"  {name:<34}{text}{value}"] if len(name) < 34 else [f"  {name}", f"  {'':<34}{text}{value}"]
        return "\n".join([*lines, "", f"`velm {command} --help-all` lists every option."])


_TRAINER = (
    Option("trainer.accelerator", "auto", "cpu, gpu, …"),
    Option("trainer.devices", "auto", "number of devices"),
    Option("trainer.precision", None, "such as bf16-mixed; 32 bits by default"),
)
_DATA = (
    Option("data", None, "file of the data, as in conf/data"),
    Option("data.batch_size", 64, "samples per batch and process"),
)
_RUN = "RUN is a run's folder or id, a .ckpt file, or `latest`."
SCREENS = {
    "fit": Screen(
        "velm fit CONFIG … [--KEY VALUE …]",
        "Train a model, evaluate its best checkpoint, and store the run below runs/.\n"
        "CONFIG is a YAML file or an experiment that `velm configs` lists; a later one\n"
        "overrides an earlier one, and options override both.",
        (
            ("velm fit vqa", "the main job, on two CPU cores"),
            ("velm fit vqa --model LateFusion", "the same with another fusion"),
            ("velm fit mine.yaml --trainer.max_epochs 20", "your own config, 20 epochs"),
        ),
        (
            Option("model", None, "fusion; its other settings stay"),
            *_DATA,
            Option("data.num_workers", 0, "processes that load data"),
            Option("data.cache_features", False, "run a frozen image encoder only once"),
            Option("seed_everything", 0, "seed of weights, order and augmentation"),
            Option("trainer.max_epochs", None, "epochs"),
            Option("trainer.max_steps", -1, "optimiser steps; -1: no limit"),
            *_TRAINER,
            Option("trainer.accumulate_grad_batches", 1, "batches per optimiser step"),
            Option("trainer.fast_dev_run", False, "true: one batch per split, to try"),
            Option(f"{_OPTIMIZATION}.learning_rate", 1e-3, "peak learning rate"),
            Option("early_stopping.patience", 10, "evaluations without improvement"),
            Option("checkpoint.monitor", "val/score", "figure that chooses the best"),
            Option("resume", None, "auto: continue the unfinished run"),
            Option("on_nan", "stop", "skip: leave out steps with a NaN loss"),
            Option("tracking.experiment", "velm", "folder of the run below runs/"),
            Option("tracking.wandb", "auto", "online, offline or disabled"),
            Option("test_after_fit", True, "evaluate the test split at the end"),
        ),
    ),
    **{
        command: Screen(
            f"velm {command} RUN [--KEY VALUE …]",
            f"Evaluate a run on its {split} split.\n{_RUN}\nData, batches and devices can be changed; "
            "figures on other data are stored\nseparately from the run's own.",
            (
                (f"velm {command} latest", "the run that was started last"),
                (f"velm {command} runs/vqa/ID --data.batch_size 256", "larger batches"),
                (f"velm {command} latest --data.incongruent true", "with other images"),
            ),
            (
                Option("ckpt_path", None, "another checkpoint: a file, best or last"),
                *_DATA,
                Option("data.incongruent", False, "true: exchange the images"),
                *_TRAINER,
            ),
        )
        for command, split in (("validate", "validation"), ("test", "test"))
    },
    "predict": Screen(
        "velm predict RUN [--images DIR [--text TEXT]] [--KEY VALUE …]",
        f"Write predictions, with the file names of the images.\n{_RUN}\n"
        "By default for the run's test split; with --images for every image of a\nfolder, with the same text each.",
        (
            ("velm predict latest", "the test split"),
            ("velm predict latest --images photos/", "other photos"),
            ("velm predict latest --data.dataset.init_args.test new.csv", "another file"),
        ),
        (
            Option("ckpt_path", None, "another checkpoint: a file, best or last"),
            *_DATA,
            Option("data.on_bad_image", "error", "skip: leave out unreadable images"),
            *_TRAINER,
        ),
    ),
}
