"""Checkpoints that stand alone and are read safely."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer
from torch import nn

from velm_lightning.io.configurable import Configurable, build, to_config
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import InputError

FORMAT = 2
_READERS = {1: "0.1"}  # the version of velm_lightning that reads an older format
Part = TypeVar("Part", bound=nn.Module)


def pack(model: Configurable, checkpoint: dict[str, Any]) -> None:
    """Write into ``checkpoint`` how ``model`` was built, its tokeniser and answers included."""
    checkpoint["velm"] = {"format": FORMAT, "model": to_config(model)}


def read(path: Path, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint file without running code from it.

    Args:
        path: the file.
        map_location: device of the weights.
        mmap: leave the weights on disk until they are used, if only other things are wanted.

    Raises:
        InputError: the file is missing, cut off, holds other objects than weights and plain values, or is not ours.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")
    if not zipfile.is_zipfile(path):  # torch would take it for an older kind of file, and blame its contents
        raise InputError(f"checkpoint {path} is cut off or not a checkpoint")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise InputError(f"checkpoint {path} holds more than weights and plain values, so it was not read") from error
    except Exception as error:  # damaged pickles raise a dozen kinds
        raise InputError(f"checkpoint {path} is cut off or not a checkpoint: {_first_line(error)}") from error
    if not isinstance(content, dict) or "velm" not in content:
        raise InputError(f"checkpoint {path} was not written by velm_lightning")
    header = content["velm"] if isinstance(content["velm"], dict) else {}
    if (written := header.get("format")) != FORMAT:
        reader = _READERS.get(written) if isinstance(written, int) else None
        fix = f"use velm_lightning {reader}" if reader else "use the version of velm_lightning that wrote it"
        raise InputError(f"checkpoint {path} has format {written}, but this version reads format {FORMAT}: {fix}")
    if not isinstance(header.get("model"), dict) or not isinstance(content.get("state_dict"), dict):
        raise InputError(f"checkpoint {path} lacks its model or its weights: use a file written by velm_lightning")
    return content


def match(model: Configurable, found: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another model before its weights are put into this one.

    Raises:
        InputError: the classes differ, or the sizes of the weights; the message names what was built otherwise.
    """
    if "velm" not in found:
        raise InputError("the checkpoint was not written by velm_lightning")
    before, now = found["velm"]["model"], to_config(model)
    if before["class_path"] != now["class_path"]:
        names = (part["class_path"].rpartition(".")[2] for part in (before, now))
        raise InputError("the checkpoint holds a {}, the config names a {}: name the same fusion".format(*names))
    words = (part["init_args"]["vocabulary"]["init_args"] for part in (before, now))
    if (changed := vocabulary_difference(*words)) is not None:
        raise InputError(
            f"the checkpoint was trained with another vocabulary: {changed}: give the data that it was trained on, or "
            "start a new run from its weights with --model.init_from"
        )
    assert isinstance(model, nn.Module)
    sizes = {name: weight.shape for name, weight in model.state_dict().items()}
    if any(name in sizes and weight.shape != sizes[name] for name, weight in found["state_dict"].items()):
        changes = "; ".join(differences(before, now)) or "the data"
        raise InputError(f"the checkpoint was trained with other sizes than the config has: {changes}")


def vocabulary_of(path: Path) -> Vocabulary:
    """Return the word pieces and answers that the model of a checkpoint was trained with.

    Raises:
        InputError: as ``embed_text``.
    """
    found: Vocabulary = build(read(path, mmap=True)["velm"]["model"]["init_args"]["vocabulary"])
    return found


def vocabulary_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return the first difference between two vocabularies, given as their arguments; None if they are the same."""
    if before == now:
        return None
    pieces = tuple(word_pieces(Tokenizer.from_str(one["tokenizer"])) for one in (before, now))
    lists = {"word piece": pieces, "answer": (before["answers"], now["answers"])}
    for name, (there, here) in lists.items():
        for place, (was, is_) in enumerate(zip_longest(there, here)):
            if was != is_:
                return f"{name} {place} was {was!r}, is {is_!r}"
    for answer, was, is_ in zip(before["answers"], before["counts"], now["counts"], strict=False):
        if was != is_:
            return f"the weight of answer {answer!r} in training was {was:g}, is {is_:g}"
    there, here = ({**one, "tokenizer": json.loads(one["tokenizer"])} for one in (before, now))
    return next((f"{one:.300}" for one in differences(there, here, "vocabulary")), None)


def word_pieces(tokenizer: Tokenizer) -> list[str]:
    """Return the word pieces in the order of their ids."""
    pieces = tokenizer.get_vocab()
    return sorted(pieces, key=pieces.__getitem__)


def differences(before: Any, now: Any, key: str = "model") -> Iterator[str]:
    """Yield what differs between two recipes: the key, what it was, and what it is."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()) if key != "model.init_args.vocabulary" else ():
            yield from differences(before.get(name), now.get(name), f"{key}.{name}")
    elif before != now:
        yield f"{key} was {before}, is {now}"


def load(path: Path, kind: type[Part], map_location: Any = "cpu", allow: Sequence[str] = ()) -> Part:
    """Rebuild the model of a checkpoint and fill in its weights.

    Raises:
        InputError: as ``embed_text``; or the model is not a ``kind``, or names classes outside the allowed packages.
    """
    found = read(path, map_location)
    try:
        model = build(found["velm"]["model"], allow)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from error
    except (TypeError, AttributeError) as error:  # arguments that the class does not have, or no longer has
        raise InputError(
            f"checkpoint {path}: its model cannot be built ({error}): use the version of velm_lightning that wrote it"
        ) from error
    if not isinstance(model, kind):
        raise InputError(f"checkpoint {path} holds a {type(model).__name__}, not a {kind.__name__}")
    try:
        model.load_state_dict(found["state_dict"])
    except (RuntimeError, TypeError) as error:  # how torch says that names or sizes differ
        raise InputError(f"checkpoint {path}: its weights do not fit its model ({_first_line(error)})") from error
    return model.eval()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
