"""Pretrained models of Hugging Face, from the hub, a folder or a GGUF file: found, checked and loaded safely.

Nothing here runs code that comes with a model; weights are safetensors, GGUF, or pickles of plain tensors. With
``HF_HUB_OFFLINE=1`` nothing is downloaded.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from velm_lightning.types import ImageTransform, InputError

_BOOKKEEPING = ("_name_or_path", "_model_name_or_path", "transformers_version", "architectures", "dtype")
_LABELS = ("id2label", "label2id", "problem_type")


def offline() -> bool:
    """Say whether nothing may be downloaded."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE)


def configuration(name: str | None, changes: Mapping[str, Any] | None = None) -> Any:
    """Return a model's configuration.

    Args:
        name: hub name, folder, GGUF file or folder with one; none: ``changes`` are the whole configuration.
        changes: keys that differ from what is found under ``name``; alone, they hold ``model_type``.

    Raises:
        InputError: nothing is found, or a key does not exist.
    """
    from transformers import AutoConfig

    changes = dict(changes or {})
    if name is None:
        if "model_type" not in changes:
            raise InputError("config has no 'model_type': add it (bert, gpt2, vit …), or give the name of a model")
        with one_line_errors("config"):
            return AutoConfig.for_model(**changes)
    with one_line_errors(f"name={name!r}"):
        found = AutoConfig.from_pretrained(**_source(name), trust_remote_code=False)
    for key, value in changes.items():
        if not hasattr(found, key):
            raise InputError(f"config.{key} is no key of a {found.model_type} model's configuration")
        setattr(found, key, value)
    return found


def plain(config: Any) -> dict[str, Any]:
    """Write a configuration down completely, so that a checkpoint can carry it."""
    return {key: value for key, value in config.to_dict().items() if key not in (*_BOOKKEEPING, *_LABELS)}


def set_vocabulary(config: Any, size: int, pad: int) -> None:
    """Let a model's configuration follow the vocabulary; its padding piece is an ordinary one if that is possible."""
    from huggingface_hub.errors import StrictDataclassError

    config.vocab_size = size
    try:
        config.pad_token_id = None
    except StrictDataclassError:  # a type that must have one
        config.pad_token_id = pad


def model(auto: Any, config: Any, name: str | None) -> Any:
    """Build a model in float32, without a pooler, with the weights that lie under ``name``, or with random ones.

    Args:
        auto: one of transformers' Auto classes.
        config: the configuration.
        name: where the weights are; none for random ones.

    Raises:
        InputError: the weights are missing, damaged, incomplete, or of other sizes.
    """
    import torch

    what = f"config of model_type={config.model_type!r}" if name is None else f"name={name!r}"
    with one_line_errors(what):
        if name is None:
            found, report = auto.from_config(config, dtype=torch.float32), {}
        else:
            options = {"dtype": torch.float32, "output_loading_info": True, "trust_remote_code": False}
            found, report = auto.from_pretrained(**_source(name), config=config, **options)
    wrong = [str(key) for why in ("missing_keys", "mismatched_keys") for key in sorted(report.get(why, ()), key=str)]
    wrong = [key for key in wrong if not key.startswith("pooler.")]
    if wrong:
        raise InputError(
            f"name={name!r}: {len(wrong)} weights of a {type(found).__name__} are missing or of another size, such as "
            f"{wrong[0]}: check `config`, or use a whole checkpoint"
        )
    if any(key.startswith("pooler.") for key in found.state_dict()):
        found.pooler = None  # a layer after the tokens, which are all given away before it
    return found


@lru_cache(maxsize=4)
def tokenizer(name: str) -> dict[str, Any]:
    """Return the tokeniser of a pretrained model as arguments of a ``Vocabulary``.

    Raises:
        InputError: it cannot be loaded, or is not of the fast kind.
    """
    from tokenizers import decoders
    from transformers import AutoTokenizer

    with one_line_errors(f"tokenizer of name={name!r}"):
        found = AutoTokenizer.from_pretrained(**_source(name), trust_remote_code=False)
    if not found.is_fast:
        raise InputError(f"name={name!r} has no fast tokeniser: choose a model that has one")
    start = found.cls_token or found.bos_token or found.eos_token
    end = found.sep_token or found.eos_token
    if end is None:
        raise InputError(f"name={name!r}: its tokeniser has neither a separator nor an end token: choose another model")
    specials = [found.pad_token or end, start or end, end, found.mask_token or end, found.unk_token or end]
    closed = found.convert_tokens_to_ids(end) in found("")["input_ids"]
    backend = found.backend_tokenizer
    if backend.decoder is not None:  # a model that goes on with a text begins its answer with a blank
        steps: list[Any] = [backend.decoder, decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        backend.decoder = decoders.Sequence(steps)
    return {"tokenizer": backend.to_str(), "specials": specials, "add_eos": closed}


def image_transform(name: str) -> ImageTransform:
    """Return the geometry and normalisation of a pretrained image model's own processor.

    Raises:
        InputError: there is no processor, or it resizes in a way that is not known here.
    """
    from transformers import AutoImageProcessor

    with one_line_errors(f"image processor of name={name!r}"):
        found = AutoImageProcessor.from_pretrained(**_source(name), trust_remote_code=False).to_dict()
    size, crop = found.get("size") or {}, found.get("crop_size") or {}
    cropped = bool(found.get("do_center_crop") and crop)
    side = crop["height"] if cropped else size.get("height") or size.get("shortest_edge")
    resized = size.get("shortest_edge") or size.get("height")
    if not side or not resized:
        raise InputError(f"name={name!r}: its image processor resizes to {size}: give `transform` a size")
    nearest = "bicubic" if found.get("resample") == 3 else "bilinear"
    squash = not cropped and "height" in size
    return ImageTransform(
        size=int(side),
        resize="squash" if squash else "crop",
        crop_ratio=1.0 if squash else min(1.0, side / resized),
        interpolation=nearest,  # type: ignore[arg-type]
        mean=_triple(found.get("image_mean"), 0.0),
        std=_triple(found.get("image_std"), 1.0),
    )


def _triple(values: Any, default: float) -> tuple[float, float, float]:
    first, second, third = values or (default,) * 3
    return float(first), float(second), float(third)


def _source(name: str) -> dict[str, Any]:
    """Return the arguments by which ``from_pretrained`` finds a model.

    Raises:
        InputError: a file or folder is named that does not exist, or that holds no model.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        files = sorted(path.glob("*.gguf"))
        if (path / "config.json").is_file() or not files:
            return {"pretrained_model_name_or_path": str(path)}
        if len(files) > 1:
            raise InputError(f"name={name!r} holds {len(files)} GGUF files: name one of them, such as {files[0].name}")
        path = files[0]
    if path.suffix == ".gguf" and path.is_file():
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or path.suffix == ".gguf":
        raise InputError(f"name={name!r}: there is no such file or folder")
    return {"pretrained_model_name_or_path": name}


@contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Keep transformers quiet inside, and turn its errors into one sentence each.

    Raises:
        InputError: what could not be loaded, and why.
    """
    from huggingface_hub.errors import HFValidationError, StrictDataclassError
    from safetensors import SafetensorError
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (InputError, MemoryError):
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError) as error:
        raise InputError(f"{what} cannot be loaded: {reason(error)}") from error
    except (ImportError, EOFError) as error:
        raise InputError(f"{what} cannot be loaded: {reason(error)}") from error
    except (HFValidationError, StrictDataclassError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(f"{what} cannot be loaded: {reason(error)}") from error
    finally:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if bar else logging.disable_progress_bar)()


def reason(error: BaseException) -> str:
    """Return what an error says in one line: its first line, and the next if that only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first, *rest = lines or [type(error).__name__]
    return f"{first} {rest[0]}" if rest and first.endswith(":") else first
