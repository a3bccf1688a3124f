"""A limit on the size of the modules that are being built, so that a wrong number ends in a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy

from velm_lightning.errors import InputError


@contextmanager
def size_limit(size: int, reason: str, entries: int = 100_000) -> Iterator[None]:
    """Raise ``InputError`` as soon as the modules that the block builds are too large, or too many.

    A module is counted when it registers a parameter, which is before the parameter is initialised: memory that
    nothing was written to yet is not in use.

    Args:
        size: Highest number of bytes of all parameters and buffers.
        reason: Where the limits come from, for the message.
        entries: Highest number of parameters, buffers and modules, by default 100,000.

    Raises:
        InputError: A limit is exceeded.

    Example:
        >>> from torch import nn
        >>> with size_limit(440, "the test"):
        ...     layer = nn.Linear(10, 10)
    """
    counted, total, by = 0, 0, f", the limit by {reason}"

    def count(_: Any, name: str, part: Any) -> None:
        nonlocal counted, total
        counted += 1
        if isinstance(part, Tensor) and not is_lazy(part) and not part.is_meta:
            total += part.numel() * part.element_size()
        if total > size:
            raise InputError(f"the model needs more than {size:,} bytes{by}: choose smaller sizes")
        if counted > entries:
            raise InputError(f"the model has more than {entries:,} layers and weights{by}: choose smaller numbers")

    handles = [register(count) for register in _REGISTER]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_REGISTER = (
    hooks.register_module_parameter_registration_hook,
    hooks.register_module_buffer_registration_hook,
    hooks.register_module_module_registration_hook,
)


def machine_memory() -> int:
    """Return three quarters of the bytes of this machine's memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        memory = 2**40
    return int(memory) * 3 // 4
