"""The parser of configs and command lines, whose errors are one line with the nearest valid spelling."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NoReturn, Union, get_args, get_origin

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from typing_extensions import override

from velm_lightning.cli.parsing import config_guard
from velm_lightning.cli.parsing.nulls import NullParser
from velm_lightning.cli.parsing.renamed import rejected, renamed
from velm_lightning.cli.start.hints import other_name
from velm_lightning.data import Tokenizing
from velm_lightning.io.configurable import Configurable
from velm_lightning.types import Dataset, InputError

config_guard.install()


class Parser(NullParser):
    """Lightning's parser with errors of one line instead of the whole usage text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)  # an abbreviated key is an error

    @override
    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        self._read_integers_first()
        with config_guard.outermost():
            config = super().parse_args(*args, **kwargs)
            config_guard.check_addresses(config)
        return config

    @override
    def parse_object(self, *args: Any, **kwargs: Any) -> Any:
        self._read_integers_first()
        with config_guard.outermost():
            config = super().parse_object(*args, **kwargs)
            config_guard.check_addresses(config)
        return config

    def _read_integers_first(self) -> None:
        """Read ``1`` as an integer if an argument is an integer or a float: one batch, not all of them.

        The order of ``Optional[Union[int, float]]`` is not certain: ``typing`` returns ``Union[float, int, None]`` if a
        library that was imported earlier has made that one, as both are equal.
        """
        for action in self._actions:
            hint = getattr(action, "_typehint", None)
            kinds = [*get_args(hint)] if get_origin(hint) is Union else []
            if {int, float} <= {*kinds} and kinds.index(float) < kinds.index(int):
                kinds.remove(int)
                kinds.insert(kinds.index(float), int)
                action._typehint = Union[tuple(kinds)]  # type: ignore[attr-defined] # noqa: UP007

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise an ``InputError`` of one line, with the new name of a renamed key or the nearest valid spelling."""
        if config_guard.is_refusal(message):
            raise InputError(message) from ex
        text, hints = sentence(message)
        if missing := _MISSING.fullmatch(text):
            names = re.sub(r"\w+\.(\S+)", r"\1", missing[1]).replace(", ", " and ")
            raise InputError(f"{names} must be given: name a config, as in `--config conf/vqa.yaml`, or set them")
        if renames := renamed(message):
            raise InputError("; ".join(renames))
        if not hints and "did you mean" not in text and "; use " not in text:  # a nested parser has not said it yet
            hints = [hint for word in rejected(message) for hint in _meant(word, self)]
        raise InputError("; ".join([text, *dict.fromkeys(hints)]))


_MISSING = re.compile(r"the following arguments are required: ((?:(?:fit|validate|test|predict)\.\S+ ?)+)")
_NOISE = re.compile(
    r"Subtypes:|Errors:|Given value type:|Given value: NestedArg|Does not validate against any of the Union subtypes|"
    r"Expected a <class 'NoneType'>|Expected a path but .* either not accessible or invalid|\(given: Namespace\("
)
_LONGEST = 1200
_OTHER_TYPE = re.compile(r"Expected a <class '[\w.]+'>")
_SECTION = re.compile(r'Parser key "[\w.]+":|\(given: .*\)')


def sentence(message: str) -> tuple[str, list[str]]:
    """Return a message of several lines as one, without the parser's internals, and the hints in it."""
    message = re.sub(r"\n *Given value: (?!NestedArg)(.*)", r"\n(given: \1)", message)
    lines = [line for part in message.splitlines() if (line := part.strip().removeprefix("- "))]
    hints = [line for line in lines if line.startswith("did you mean")]
    parts = dict.fromkeys(line for line in lines if line not in hints and not _NOISE.match(line))
    if any(not _OTHER_TYPE.search(line) and not _SECTION.fullmatch(line) for line in parts):
        parts = dict.fromkeys(line for line in parts if not _OTHER_TYPE.fullmatch(line))  # of the union's other types
    return _short(" ".join(parts)) or "the arguments cannot be used", hints


def _short(text: str) -> str:
    """Return a sentence without the middle of a long value, such as the text of a file that is no config."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 4 :]}"


def _meant(word: str, parser: ArgumentParser) -> Iterator[str]:
    """Yield the hint for an option, key or class that does not exist; nothing if it does, or if nothing is similar."""
    bases = (Configurable, Dataset, Tokenizing, Callback, Logger)
    classes = {kind.__name__ for base in bases for kind in _kinds(base)}
    options = _options(parser)
    if word in options | classes:
        return
    if key := other_name(word):
        yield f"use {key} instead of {word!r}"
        return
    known = options | classes | {option.rpartition(".")[2] for option in options}
    head, dot, rest = word.partition(".")
    whole, start = get_close_matches(word, known, 1, 0.8), get_close_matches(head, known, 1, 0.8) if dot else []
    if whole or (start and start[0] != head):
        yield f"did you mean {whole[0] if whole else f'{start[0]}.{rest}'!r} instead of {word!r}?"


def _options(parser: ArgumentParser) -> set[str]:
    """Return the names of all options, including those of subcommands."""
    known = {option.lstrip("-") for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action.choices, dict):
            known |= {name for inner in action.choices.values() for name in _options(inner)}
    return known


def _kinds(base: type) -> set[type[Any]]:
    kinds: set[type[Any]] = {base}
    derived: type[Any]
    for derived in base.__subclasses__():
        kinds |= _kinds(derived)
    return kinds
