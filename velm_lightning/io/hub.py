"""Pretrained models of Hugging Face from the hub, a folder or a GGUF file, loaded safely.

No code that comes with a model is run; weights are safetensors, GGUF, or pickles of plain tensors. With
``HF_HUB_OFFLINE=1``, and on the command line without ``--allow-network``, nothing is downloaded.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from velm_lightning.io.allow.allowlist import network_allowed, require_network
from velm_lightning.io.packaged import packaged
from velm_lightning.types import ImageTransform, InputError

_BOOKKEEPING = ("_name_or_path", "_model_name_or_path", "transformers_version", "architectures", "dtype")
_FAULTS = (OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError)
"""Errors by which a library of models reports a file that it cannot read."""
_LABELS = ("id2label", "label2id", "problem_type")


def offline() -> bool:
    """Return whether downloads are disabled."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE)


def configuration(name: str | None, changes: Mapping[str, Any] | None = None) -> Any:
    """Return a model's configuration.

    Args:
        name: Hub name, folder, GGUF file or folder with one. None means that ``changes`` are the whole configuration.
        changes: Keys that differ from the configuration of ``name``; without a name, they include ``model_type``.

    Raises:
        InputError: The model or a key does not exist.
    """
    from transformers import AutoConfig

    changes = dict(changes or {})
    if name is None:
        if "model_type" not in changes:
            raise InputError("config has no 'model_type': add it (bert, gpt2, vit …), or give the name of a model")
        with one_line_errors("config"):
            return AutoConfig.for_model(**changes)
    with one_line_errors(f"name={name!r}"):
        config = AutoConfig.from_pretrained(**_source(name), trust_remote_code=False)
    for key, value in changes.items():
        if not hasattr(config, key):
            raise InputError(f"config.{key} is not a key of the configuration of a {config.model_type} model")
        setattr(config, key, value)
    return config


def plain(config: Any) -> dict[str, Any]:
    """Return a complete configuration as plain data for a checkpoint."""
    return {key: value for key, value in config.to_dict().items() if key not in (*_BOOKKEEPING, *_LABELS)}


def set_vocabulary(config: Any, size: int, pad: int) -> None:
    """Set the vocabulary size of a configuration; the padding token is not treated specially if possible."""
    from huggingface_hub.errors import StrictDataclassError

    config.vocab_size = size
    try:
        config.pad_token_id = None
    except StrictDataclassError:  # a model type that requires one
        config.pad_token_id = pad


def model(auto: Any, config: Any, name: str | None) -> Any:
    """Build a model in float32, without a pooler, with the weights of ``name`` or random ones.

    Args:
        auto: One of transformers' Auto classes.
        config: The configuration.
        name: Source of the weights. None means random weights.

    Raises:
        InputError: The weights are missing, damaged, incomplete, or of other sizes.
    """
    import torch

    what = f"config of model_type={config.model_type!r}" if name is None else f"name={name!r}"
    with one_line_errors(what):
        if name is None:
            network, report = auto.from_config(config, dtype=torch.float32), {}
        else:
            options = {"dtype": torch.float32, "output_loading_info": True, "trust_remote_code": False}
            network, report = auto.from_pretrained(**_source(name), config=config, **options)
    wrong = [str(key) for why in ("missing_keys", "mismatched_keys") for key in sorted(report.get(why, ()), key=str)]
    wrong = [key for key in wrong if not key.startswith("pooler.")]
    if wrong:
        raise InputError(
            f"name={name!r}: {len(wrong)} weights of a {type(network).__name__} are missing or of another size, e.g. "
            f"{wrong[0]}: check `config`, or use a whole checkpoint"
        )
    if any(key.startswith("pooler.") for key in network.state_dict()):
        network.pooler = None  # an unused layer after the tokens
    return network


@lru_cache(maxsize=4)
def tokenizer(name: str) -> dict[str, Any]:
    """Return the tokeniser of a pretrained model as arguments of a ``Vocabulary``.

    Raises:
        InputError: The tokeniser cannot be loaded, or is not a fast one.
    """
    from tokenizers import decoders
    from transformers import AutoTokenizer

    with one_line_errors(f"tokenizer of name={name!r}"):
        tokens = AutoTokenizer.from_pretrained(**_source(name), trust_remote_code=False)
    if not tokens.is_fast:
        raise InputError(f"name={name!r} has no fast tokeniser: choose a model that has one")
    start = tokens.cls_token or tokens.bos_token or tokens.eos_token
    end = tokens.sep_token or tokens.eos_token
    if end is None:
        raise InputError(f"name={name!r}: its tokeniser has neither a separator nor an end token: choose another model")
    specials = [tokens.pad_token or end, start or end, end, tokens.mask_token or end, tokens.unk_token or end]
    add_eos = tokens.convert_tokens_to_ids(end) in tokens("")["input_ids"]
    backend = tokens.backend_tokenizer
    if backend.decoder is not None:  # a causal model begins its answer with a space
        steps: list[Any] = [backend.decoder, decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        backend.decoder = decoders.Sequence(steps)
    template = tokens.chat_template
    template = template.get("default") if isinstance(template, dict) else template  # one per purpose
    return {"tokenizer": backend.to_str(), "specials": specials, "add_eos": add_eos, "chat_template": template}


def image_transform(name: str) -> ImageTransform:
    """Return the geometry and normalisation of a pretrained image model's processor.

    Raises:
        InputError: The model has no processor, or one whose resizing is not supported.
    """
    from transformers import AutoImageProcessor

    with one_line_errors(f"image processor of name={name!r}"):
        processor = AutoImageProcessor.from_pretrained(**_source(name), trust_remote_code=False).to_dict()
    size, crop = processor.get("size") or {}, processor.get("crop_size") or {}
    cropped = bool(processor.get("do_center_crop") and crop)
    side = crop["height"] if cropped else size.get("height") or size.get("shortest_edge")
    resized = size.get("shortest_edge") or size.get("height")
    if not side or not resized:
        raise InputError(f"name={name!r}: its image processor resizes to {size}: give `transform` a size")
    nearest = "bicubic" if processor.get("resample") == 3 else "bilinear"
    squash = not cropped and "height" in size
    return ImageTransform(
        size=int(side),
        resize="squash" if squash else "crop",
        crop_ratio=1.0 if squash else min(1.0, side / resized),
        interpolation=nearest,  # type: ignore[arg-type]
        mean=_triple(processor.get("image_mean"), 0.0),
        std=_triple(processor.get("image_std"), 1.0),
    )


def _triple(values: Any, default: float) -> tuple[float, float, float]:
    first, second, third = values or (default,) * 3
    return float(first), float(second), float(third)


def _source(name: str) -> dict[str, Any]:
    """Return the arguments by which ``from_pretrained`` finds a model.

    Raises:
        InputError: The file or folder does not exist, or holds no model; or the model is one of the hub, is not
            in the cache, and the command line does not allow the network.
    """
    from huggingface_hub import try_to_load_from_cache

    path = packaged(name) or Path(name).expanduser()
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
        raise InputError(f"name={name!r}: no such file or folder")
    if not network_allowed():
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            require_network(f"name={name!r} is a model of the hub that is not on this machine")
        return {"pretrained_model_name_or_path": name, "local_files_only": True}
    return {"pretrained_model_name_or_path": name}


@contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Silence transformers and turn its errors into one sentence each.

    Raises:
        InputError: ``what`` cannot be loaded; the message gives the reason.
    """
    from huggingface_hub.errors import HFValidationError, StrictDataclassError
    from safetensors import SafetensorError
    from transformers.utils import logging

    of_libraries = (HFValidationError, StrictDataclassError, SafetensorError)
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (InputError, MemoryError):
        raise
    except (*_FAULTS, ImportError, EOFError, pickle.UnpicklingError, *of_libraries) as error:
        raise InputError(f"{what} cannot be loaded: {reason(error)}") from error
    finally:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if bar else logging.disable_progress_bar)()


def reason(error: BaseException) -> str:
    """Return an error's message in one line: its first line, and the next if the first ends with a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first, *rest = lines or [type(error).__name__]
    return f"{first} {rest[0]}" if rest and first.endswith(":") else first
