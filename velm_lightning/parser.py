"""The parser of configs and command lines: one message for what is wrong, and the nearest right spelling."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from velm_lightning.data import Tokenizing
from velm_lightning.recipe import Recorded
from velm_lightning.types import Dataset, InputError


class Parser(LightningArgumentParser):
    """Lightning's parser, which refuses with one message and the nearest right spelling rather than the whole usage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)  # the beginning of a key is a slip, not the key

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong as an ``InputError``."""
        known = {option.lstrip("-") for action in self._actions for option in action.option_strings}
        known |= {kind.__name__ for kind in _kinds(Recorded) | _kinds(Dataset) | _kinds(Tokenizing)}
        words = re.findall(r"[A-Za-z_][\w.]{3,}", message)
        near = {word: match for word in words if word not in known for match in get_close_matches(word, known, 1, 0.8)}
        hints = "".join(f"\ndid you mean {match!r} instead of {word!r}?" for word, match in near.items())
        raise InputError(f"{message.strip()}{hints}")


def _kinds(base: type) -> set[type[Any]]:
    kinds: set[type[Any]] = {base}
    derived: type[Any]
    for derived in base.__subclasses__():
        kinds |= _kinds(derived)
    return kinds
