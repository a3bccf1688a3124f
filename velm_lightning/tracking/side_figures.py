"""Results that accompany a run, such as its gallery, and whose failure must not end it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from velm_lightning.tracking.shutdown import Interrupted


@contextmanager
def side_figure(name: str, *raised: type[Exception]) -> Iterator[None]:
    """Turn an error into a warning with its reason, so that the result called ``name`` is left out.

    Args:
        name: The result, as the subject of the warning.
        raised: Errors that end the run all the same.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the run is worth more
        if isinstance(error, (Interrupted, *raised)):
            raise
        warnings.warn(f"{name} is left out: {type(error).__name__}: {error}", stacklevel=3)
