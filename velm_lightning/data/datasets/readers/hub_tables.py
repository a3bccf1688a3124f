"""Datasets of the Hugging Face hub, which ``datasets`` downloads as Arrow tables if the network is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from velm_lightning.data.datasets.readers.recognition import split_of
from velm_lightning.io.allow.allowlist import require_network
from velm_lightning.io.files import show
from velm_lightning.types import InputError


def hub_tables(name: str) -> dict[str, list[Path]]:
    """Return the Arrow files of each split of a dataset of the hub, in the cache of ``datasets``.

    Args:
        name: ``organisation/name``, or ``organisation/name:configuration`` if it has several.

    Raises:
        InputError: The network is not allowed, ``datasets`` is missing, or the dataset cannot be loaded.
    """
    require_network(f"{name} is no file or folder here, and a dataset of the Hugging Face hub needs the network")
    try:
        datasets: Any = import_module("datasets")
    except ImportError as error:
        raise InputError(f"{name}: datasets of the hub need `datasets`: pip install velm-lightning[hub]") from error
    repository, _, configuration = name.partition(":")
    _check_reachable(repository, name)
    try:
        tables = datasets.load_dataset(repository, configuration or None)
    except Exception as error:  # each of its builders has its own
        raise _refusal(name, error) from error
    splits: dict[str, list[Path]] = {}
    for split, table in (tables if isinstance(tables, Mapping) else {"train": tables}).items():
        if known := split_of(split):
            splits.setdefault(known, []).extend(Path(file["filename"]) for file in table.cache_files)
    if not splits:
        names = show(list(tables))
        raise InputError(f"{name}: has the splits {names}: download it and name the files of train, val and test")
    return splits


def _check_reachable(repository: str, name: str) -> None:
    """Ask the hub for the dataset once; without a network `load_dataset` would try for a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(repository, timeout=10)
    except Exception as error:  # of the hub's client, of its HTTP library, or of the socket
        raise _refusal(name, error) from error


def _refusal(name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    fix = "check the name and the connection, or download it elsewhere and give the folder"
    return InputError(f"{name}: no file here, and no dataset of the hub that can be loaded ({show(reason)}): {fix}")
