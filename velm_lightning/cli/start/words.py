"""Completes the words of ``velm fit``, ``validate``, ``test`` and ``predict``: configs and runs by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from velm_lightning.cli.start.hints import no_file, other_name, packaged, similar
from velm_lightning.errors import InputError
from velm_lightning.io.config_files import SUFFIXES, find_config
from velm_lightning.io.paths import is_hub_name, is_pattern, user_path
from velm_lightning.io.plain import MOST_RECORD, text_of
from velm_lightning.tracking.run_names import LATEST, find_checkpoint, find_run

FIT_COMMANDS = ("fit", "validate", "test", "predict")
_FLAGS = ("-h", "--help", "--print_config")  # options that take no value
_KINDS = ("best", "last", "hpc", "registry")  # checkpoints that the trainer finds itself


def complete(words: Sequence[str]) -> list[str]:
    """Return the words with full options: configs named without ``--config``, runs by folder, id or ``latest``.

    Args:
        words: The command and its words.

    Raises:
        InputError: A file or run does not exist, or an option has another name here.
    """
    command, *rest = words
    completed = [command]
    for option, value, written in _pairs(rest):
        if not option:
            completed += _config_of(command, value) if command == "fit" else _run_of(command, value)
            continue
        if meant := other_name(option):
            raise InputError(f"there is no option {option}: use --{meant}{f' {value}' if value else ''}")
        if value.endswith(SUFFIXES) and not find_config(value).is_file():
            raise InputError(f"{option} {no_file(Path(value))}")
        if option in ("--config", "-c") and value.endswith(SUFFIXES) and _is_empty(find_config(value)):
            continue  # such as an overlay with all its lines commented out
        if option == "--data" and value and not value.endswith(SUFFIXES):
            written = _data_of(command, value)
        completed += ["--ckpt_path", _checkpoint(value)] if option == "--ckpt_path" else written
    return _new_data(completed) if command == "predict" else completed


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each option with its value, as they are and as they were written; the option of a lone word is empty."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        option, equals, value = word.partition("=")
        if not word.startswith("--") and word not in ("-h", "-c"):
            yield "", word, [word]
        elif equals:
            yield option, value, [word]
        elif word in _FLAGS or not waiting or waiting[0].startswith("--"):
            yield word, "", [word]
        else:
            yield word, waiting[0], [word, waiting.pop(0)]


def _is_empty(path: Path) -> bool:
    """Return whether a config holds nothing but comments."""
    try:
        lines = [line.strip() for line in text_of(path, MOST_RECORD).splitlines()]
    except (OSError, ValueError):  # the parser names the fault
        return False
    return all(not line or line.startswith("#") or line == "---" for line in lines)


def _config_of(command: str, name: str) -> list[str]:
    """Return the config that a word of ``velm fit`` names: a file, an experiment, or a run to repeat."""
    path, experiment = find_config(name), f"conf/{name}.yaml"
    if path.is_file():
        return [] if _is_empty(path) else ["--config", name]
    if path.is_dir() or path.name == LATEST:
        return ["--config", str(find_run(name) / "config.yaml")]
    if find_config(experiment).is_file():
        return ["--config", experiment]
    if name.endswith(SUFFIXES) or "/" in name:
        raise InputError(f"velm {command} {no_file(path)}")
    hint = similar(name, [Path(file).stem for file in packaged()]) or "; `velm configs` lists the experiments"
    raise InputError(f"velm {command} {name}: there is no config file and no experiment of that name{hint}")


def _run_of(command: str, name: str) -> list[str]:
    """Return the config and the checkpoint of the run that is to be evaluated."""
    if name.endswith(SUFFIXES) and Path(name).name != "config.yaml":
        return _config_of(command, name)
    checkpoint = find_checkpoint(name)
    return ["--config", str(find_run(checkpoint) / "config.yaml"), "--ckpt_path", str(checkpoint)]


def _checkpoint(value: str) -> str:
    if value in _KINDS or value.endswith(".ckpt") or not value:
        return value
    return str(find_checkpoint(value))


def _data_of(command: str, name: str) -> list[str]:
    """Return the options of a dataset that is named by its files: their splits, or one file for the split at hand."""
    path = user_path(name)
    hub = is_hub_name(name)
    if not path.exists() and not is_pattern(name) and "://" not in name and not hub:
        raise InputError(f"--data {name}: there is no such file or folder: name a config, a table or a folder")
    if (kind := data_class(path)) != "DataFiles":
        return ["--data.dataset", kind, f"--data.dataset.init_args.path={path}"]
    part = "path" if hub or path.is_dir() or command == "fit" else {"validate": "val"}.get(command, "test")
    parts = ("path", "train", "val", "test", "images", "holdout")
    arguments = dict.fromkeys(parts, "null") | {part: name if "://" in name else str(path)}
    values = [f"--data.dataset.init_args.{key}={value}" for key, value in arguments.items()]
    return ["--data.dataset", "DataFiles", *values, "--data.dataset.init_args.root=."]


def data_class(path: Path) -> str:
    """Return the dataset that reads a file or folder."""
    return "ImportedData" if (path / "velm_data.json").is_file() else "DataFiles"


def _new_data(words: list[str]) -> list[str]:
    """Replace ``--images DIR`` and ``--text TEXT`` of ``velm predict`` by a dataset of the pictures in that folder."""
    given: dict[str, str] = {}
    others: list[str] = []
    for option, value, written in _pairs(words[1:]):
        if option in ("--images", "--text"):
            given[option] = value
        else:
            others += written
    if not given:
        return words
    if "--images" not in given:
        raise InputError("--text goes with --images DIR: other data has its own texts")
    if not Path(given["--images"]).is_dir():
        raise InputError(f"--images {given['--images']}: there is no such folder")
    dataset = "--data.dataset"
    pictures = [dataset, "PictureFolder", f"{dataset}.init_args.images={given['--images']}"]
    texts = [f"{dataset}.init_args.text={given['--text']}"] if given.get("--text") else []
    return [words[0], *others, *pictures, *texts]
