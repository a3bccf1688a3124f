"""Config keys and classes of earlier versions, so that an error message can name their new names."""

from __future__ import annotations

import re

_WARMUP = "optimization.schedule: {class_path: Cosine, init_args: {warmup_ratio: …}}"
# old name: new name; keys are without `init_args`
_KEYS = {
    "data.workers": "data.num_workers",
    "data.cache": "data.cache_dir",
    "data.answers": "data.num_answers",
    "data.images": "data.image_cache",
    "optimization.warmup": _WARMUP,
    "optimization.warmup_ratio": _WARMUP,
    "optimization.pretrained_factor": "optimization.pretrained_lr_scale",
    "task.blank": "task.caption_dropout",
    "judge.cache": "judge.cache_dir",
    "vocabulary.closed": "vocabulary.add_eos",
}
_VALUES = {
    ("data.images", "none"): "`data.images: none` is now `data.image_cache: disabled`",
    ("data.image_cache", "none"): "`image_cache: none` is now `image_cache: disabled`",
    ("task.head", "own"): "`head: own` is now `head: pretrained`",
}
_CLASSES = {
    "PretrainedText": "HFTextEncoder",
    "PretrainedImage": "HFImageEncoder",
    "RecurrentText": "RNNTextEncoder",
    "TransformerText": "TransformerTextEncoder",
    "Video": "VideoEncoder",
    "TensorProduct": "TensorFusion",
    "Gate": "GatedMultimodalUnit",
    "Beam": "BeamSearch",
    "Linear": "LinearConnector",
    "MLP": "MLPConnector",
    "Queries": "Resampler",
    "TrunkFirst": "TextFirstFusion",
}
_SECTION = re.compile(r'Parser key "([\w.]+)"')
_REFUSED_KEY = re.compile(
    r"[Oo]ption '([\w.]+)'(?: is not accepted)?|unrecognized arguments: --([\w.]+)|Key '([\w.]+)'"
)
_REFUSED_CLASS = re.compile(r"import path string: ([\w.]+)|[Ii]mport path ['\"]?([\w.]+)|has no attribute '(\w+)'")
_HINTS = [*(f"{old} is now {new}" for old, new in (_KEYS | _CLASSES).items()), *_VALUES.values()]
_REFUSED_VALUE = re.compile(r"Got value: (\w+)")


def renamed(message: str) -> list[str]:
    """Return what the parser's error message refuses by an old name, each as ``OLD is now NEW``; empty if none is."""
    if inner := [hint for hint in _HINTS if hint in message]:  # a nested parser has refused it already
        return inner
    sections = ".".join(_SECTION.findall(message))
    hints = []
    for key in _matches(_REFUSED_KEY, message):
        full = _plain(f"{sections}.{key}")
        value = re.search(rf"--{re.escape(key)}[= ](\w+)", message)
        hints += [_hint(old, new, value[1] if value else "") for old, new in _KEYS.items() if _ends(full, old)]
    for refused in _matches(_REFUSED_VALUE, message):
        hints += [text for (key, old), text in _VALUES.items() if old == refused and _ends(_plain(sections), key)]
    for path in _matches(_REFUSED_CLASS, message):
        name = path.rpartition(".")[2]
        hints += [f"{name} is now {_CLASSES[name]}"] if name in _CLASSES else []
    return list(dict.fromkeys(hints))


def rejected(message: str) -> list[str]:
    """Return the options, keys and classes that the parser's error message refuses because they do not exist."""
    words = [*_matches(_REFUSED_KEY, message), *_matches(_REFUSED_CLASS, message)]
    return list(dict.fromkeys(words))


def _hint(old: str, new: str, value: str) -> str:
    return _VALUES.get((old, value), f"{old} is now {new}")


def _matches(pattern: re.Pattern[str], message: str) -> list[str]:
    return [next(group for group in match.groups() if group) for match in pattern.finditer(message)]


def _plain(key: str) -> str:
    """Return a key without the names of subcommands and of ``init_args``."""
    return ".".join(part for part in key.split(".") if part and part != "init_args")


def _ends(full: str, key: str) -> bool:
    return f".{full}".endswith(f".{key}")
