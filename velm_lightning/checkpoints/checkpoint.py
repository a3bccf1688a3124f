"""Self-contained checkpoints, which are read without executing code from the file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from velm_lightning.checkpoints.archive import check_archive
from velm_lightning.io.configurable import Configurable, build, to_config
from velm_lightning.io.files import show
from velm_lightning.io.plain import scalars
from velm_lightning.nn.size_limit import size_limit
from velm_lightning.text.vocabulary import Vocabulary, parse_tokenizer
from velm_lightning.types import InputError

FORMAT = 2
_SLACK = 2**26
"""Bytes that a model may need besides four times those of its weights in the file."""
_MOST_VALUES = 2_000_000  # in the description of a model, most of them answers
_READERS = {1: "0.1"}  # the version of velm_lightning that reads an older format
Part = TypeVar("Part", bound=nn.Module)


def pack(model: Configurable, checkpoint: dict[str, Any]) -> None:
    """Add to ``checkpoint`` the configuration of ``model``, including its tokeniser and answers."""
    checkpoint["velm"] = {"format": FORMAT, "model": to_config(model)}


def read(path: Path, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint file without executing code from it, after comparing its checksums.

    Args:
        path: the file.
        map_location: device of the weights.
        mmap: whether the weights stay on disk until they are used, unverified; for callers that need only the
            metadata.

    Raises:
        InputError: the file is missing, truncated or damaged, holds other objects than weights and plain values, has
            another format, or was not written by ``velm_lightning``.
    """
    check_archive(path, weights=not mmap)  # torch would also read another file as a legacy one and report its contents
    try:
        content = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise InputError(f"checkpoint {path} holds more than weights and plain values, so it was not read") from error
    except Exception as error:  # damaged pickles raise many types
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
    for value in scalars(header["model"], f"checkpoint {path}: the description of its model", _MOST_VALUES):
        if value is not None and type(value) not in (bool, int, float, str):
            raise InputError(f"checkpoint {path}: its model is not described by plain values: {show(value)}")
    return content


def match(model: Configurable, content: Mapping[str, Any]) -> None:
    """Check that a checkpoint belongs to ``model`` before its weights are loaded.

    Raises:
        InputError: the class, the vocabulary or the shapes of the weights differ; the message names the difference.
    """
    if "velm" not in content:
        raise InputError("the checkpoint was not written by velm_lightning")
    before, now = content["velm"]["model"], to_config(model)
    if not isinstance(before.get("class_path"), str):
        raise InputError("the checkpoint does not name the class of its model: use another checkpoint")
    if before["class_path"] != now["class_path"]:
        names = (part["class_path"].rpartition(".")[2] for part in (before, now))
        raise InputError("the checkpoint holds a {}, the config names a {}: name the same fusion".format(*names))
    words = (vocabulary_args(part) for part in (before, now))
    if (changed := vocabulary_difference(*words)) is not None:
        raise InputError(
            f"the checkpoint was trained with another vocabulary: {changed}: give the data that it was trained on, or "
            "start a new run from its weights with --model.init_from"
        )
    assert isinstance(model, nn.Module)
    check_dtypes(model.state_dict(), content["state_dict"])
    sizes = {name: weight.shape for name, weight in model.state_dict().items()}
    if any(name in sizes and weight.shape != sizes[name] for name, weight in content["state_dict"].items()):
        changes = "; ".join(differences(before, now)) or "the data"
        raise InputError(f"the checkpoint was trained with other sizes than the config has: {changes}")


def check_dtypes(here: Mapping[str, Tensor], there: Mapping[str, Any]) -> None:
    """Check that the weights of a checkpoint hold the same kind of numbers as those of the model.

    Copying would otherwise convert them silently: complex numbers lose a part, and truth values become 0 and 1.

    Raises:
        InputError: an entry is not a dense tensor, or is of another kind; the message names it.
    """
    for name, weight in there.items():
        if not isinstance(weight, Tensor) or weight.layout != torch.strided:
            raise InputError(f"weight {name!r} of the checkpoint is not a dense tensor: use another checkpoint")
        if name in here and (kind := _kind(weight)) != (expected := _kind(here[name])):
            raise InputError(f"weight {name!r} of the checkpoint holds {kind}, that of the model holds {expected}")


def _kind(weight: Tensor) -> str:
    if weight.dtype == torch.bool:
        return "truth values"
    return "complex numbers" if weight.is_complex() else "real numbers" if weight.is_floating_point() else "integers"


def vocabulary_of(path: Path) -> Vocabulary:
    """Return the vocabulary that the model of a checkpoint was trained with.

    Raises:
        InputError: as for ``read``; or its vocabulary cannot be built.
    """
    plain = read(path, mmap=True)["velm"]["model"]
    try:
        vocabulary_args(plain)
        vocabulary: Vocabulary = build(plain["init_args"]["vocabulary"])
        return vocabulary
    except Exception as error:  # the values may be of any type
        raise InputError(f"checkpoint {path}: its vocabulary cannot be built ({_first_line(error)})") from error


def vocabulary_args(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the vocabulary in the configuration of a model.

    Raises:
        InputError: the configuration has none, or they are not those of a vocabulary.
    """
    try:
        args = model["init_args"]["vocabulary"]["init_args"]
        complete = isinstance(args["tokenizer"], str) and all(isinstance(args[key], list) for key in _LISTS)
    except (KeyError, TypeError):
        complete = False
    if not complete:
        raise InputError("the checkpoint holds no vocabulary (tokenizer, answers, counts): use another checkpoint")
    return dict(args)


_LISTS = ("answers", "counts")


def vocabulary_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return the first difference between two vocabularies, given as their arguments; None if they are equal."""
    if before == now:
        return None
    pieces = tuple(word_pieces(parse_tokenizer(words["tokenizer"])) for words in (before, now))
    lists = {"word piece": pieces, "answer": (before["answers"], now["answers"])}
    for name, (old, new) in lists.items():
        for index, (was, is_) in enumerate(zip_longest(old, new)):
            if was != is_:
                return f"{name} {index} was {was!r}, is {is_!r}"
    for answer, was, is_ in zip(before["answers"], before["counts"], now["counts"], strict=False):
        if was != is_:
            return f"the weight of answer {answer!r} in training was {was:g}, is {is_:g}"
    old, new = ({**words, "tokenizer": json.loads(words["tokenizer"])} for words in (before, now))
    return next((f"{difference:.300}" for difference in differences(old, new, "vocabulary")), None)


def word_pieces(tokenizer: Tokenizer) -> list[str]:
    """Return the word pieces in the order of their ids."""
    pieces = tokenizer.get_vocab()
    return sorted(pieces, key=pieces.__getitem__)


def differences(before: Any, now: Any, key: str = "model") -> Iterator[str]:
    """Yield the differences between two configurations as sentences of the form ``KEY was OLD, is NEW``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()) if key != "model.init_args.vocabulary" else ():
            yield from differences(before.get(name), now.get(name), f"{key}.{name}")
    elif before != now:
        yield f"{key} was {before}, is {now}"


def load(path: Path, kind: type[Part], map_location: Any = "cpu", allow: Sequence[str] = ()) -> Part:
    """Rebuild the model of a checkpoint and load its weights.

    Args:
        path: the file.
        kind: required class of the model.
        map_location: device of the weights.
        allow: packages, in addition to ``velm_lightning``, whose classes the checkpoint may name.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: as for ``read``; or the model is not a ``kind``, names classes outside the allowed packages, cannot
            be built, or does not fit the weights.
    """
    content = read(path, map_location)
    try:
        with _as_large_as(content["state_dict"]):
            model = build(content["velm"]["model"], allow)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from error
    except Exception as error:  # arguments of any type and size, or arguments that the class no longer accepts
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise InputError(
            f"checkpoint {path}: its model cannot be built ({reason}): use the version of velm_lightning that wrote it"
        ) from error
    if not isinstance(model, kind):
        raise InputError(f"checkpoint {path} holds a {type(model).__name__}, not a {kind.__name__}")
    try:
        check_dtypes(model.state_dict(), content["state_dict"])
        model.load_state_dict(content["state_dict"])
    except (InputError, RuntimeError, TypeError, AttributeError) as error:  # names, shapes or types differ
        raise InputError(f"checkpoint {path}: its weights do not fit its model ({_first_line(error)})") from error
    return model.eval()


def _as_large_as(weights: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Return a limit on the size of a model that these weights can be those of."""
    dense = [weight for weight in weights.values() if isinstance(weight, Tensor) and weight.layout == torch.strided]
    stored = (weight.untyped_storage() for weight in dense if not weight.is_meta)
    held = sum({storage.data_ptr(): storage.nbytes() for storage in stored}.values())  # a view may repeat one number
    size = _SLACK + 4 * held  # in the file, weights may have half precision and be tied
    return size_limit(size, f"the {held:,} bytes of weights in the file", 1000 + 20 * len(weights))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
