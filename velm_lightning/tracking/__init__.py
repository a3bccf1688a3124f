"""Writes the files of a run and logs it to Weights & Biases; may import inspection and the rooms below it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from velm_lightning.tracking.run import Run
    from velm_lightning.tracking.settings import Tracking

__all__ = ["Run", "Tracking"]


def __getattr__(name: str) -> Any:  # loaded on first use, so that finding a run imports no torch
    if name == "Run":
        from velm_lightning.tracking.run import Run

        return Run
    if name == "Tracking":
        from velm_lightning.tracking.settings import Tracking

        return Tracking
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
