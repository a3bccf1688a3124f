"""Modules whose layers are created after construction, when sizes such as that of the vocabulary are known."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn


class NotBuiltError(AttributeError):
    """A part is used before ``build``, which creates its layers, was called."""


class Buildable(nn.Module):
    """A module whose ``build`` creates the layers that depend on other parts; a fusion calls it once.

    Raises:
        NotBuiltError: an attribute is read that does not exist before ``build`` is called.
    """

    _build_called: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make ``build`` record that it was called."""
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _recording(cls.__dict__["build"])  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        """Return a parameter, buffer or submodule."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if self._build_called or name.startswith("__"):
                raise
            arguments = ", ".join(inspect.signature(self.build).parameters)
            raise NotBuiltError(
                f"{type(self).__name__} is used before build({arguments}) was called: "
                "give it to a fusion, which builds it"
            ) from None


def _recording(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def wrapper(self: Buildable, *args: Any, **kwargs: Any) -> None:
        self._build_called = True
        build(self, *args, **kwargs)

    return wrapper
