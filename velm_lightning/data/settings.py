"""The arguments of the data module except the dataset, and their ranges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from torch import nn

from velm_lightning.text.tokenizers import Tokenizing
from velm_lightning.types import InputError

MAX_WORKERS = 512
"""Largest number of loader processes, about the cores of a large machine; a million would stop any system."""


class DataSettings(TypedDict, total=False):
    """The arguments of ``MultimodalData`` except the dataset."""

    tokenizer: Tokenizing | None
    batch_size: int
    num_workers: int
    image_cache: Literal["memory", "disk", "disabled"]
    cache_dir: Path | None
    cache_features: bool
    augment: Sequence[nn.Module]
    num_answers: int
    balance: float
    max_length: int
    vocabulary_from: Path | None
    target_lengths: Sequence[int]
    on_bad_image: Literal["error", "skip"]
    on_long_conversation: Literal["error", "drop_turns"]
    max_pixels: int
    incongruent: bool
    seed: int


def check_settings(
    num_workers: int,
    target_lengths: Sequence[int],
    cache_features: bool,
    augment: Sequence[nn.Module],
    on_bad_image: str,
) -> None:
    """Check that the arguments are in their ranges and go together.

    Raises:
        InputError: One is out of its range, or two exclude each other; the message names them.
    """
    if num_workers > MAX_WORKERS:
        raise InputError(f"data.num_workers={num_workers} must be at most {MAX_WORKERS}: start about one per core")
    if any(length < 1 for length in target_lengths):
        raise InputError(f"data.target_lengths={list(target_lengths)}: every length must be at least 1")
    if cache_features and augment:
        raise InputError(
            f"data.cache_features=true keeps one set of features per image, but data.augment has {len(augment)} "
            "transforms that change the image every epoch: set data.cache_features to false or data.augment to []"
        )
    if cache_features and on_bad_image == "skip":
        raise InputError(
            "data.on_bad_image=skip cannot be combined with data.cache_features=true: remove the images that "
            "`velm data check` lists"
        )
