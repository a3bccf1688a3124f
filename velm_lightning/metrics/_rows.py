"""A torchmetrics base that keeps one row per sample, including strings, and gathers them from every process.

A corpus score is no average of per-process scores, and torchmetrics synchronises tensors only; so rows are kept as the
bytes of JSON lines. A process without samples takes part like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class RowsMetric(Metric):
    """Base of the metrics that need every row before they can score: `keep` in ``update``, `kept` in ``compute``."""

    full_state_update = False
    is_differentiable = False
    kept_bytes: list[Tensor] | Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("kept_bytes", default=[], dist_reduce_fx="cat")

    def keep(self, rows: Iterable[Any]) -> None:
        """Add rows of anything that JSON can hold."""
        assert isinstance(self.kept_bytes, list), "update between sync and unsync"
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        self.kept_bytes.append(
            torch.frombuffer(bytearray(lines), dtype=torch.uint8).to(self.device) if lines else self._none()
        )

    def kept(self) -> list[Any]:
        """Return every row that was added, on all processes while synchronised; lists where tuples were given."""
        if isinstance(self.kept_bytes, list) and not self.kept_bytes:
            return []
        return [json.loads(line) for line in bytes(dim_zero_cat(self.kept_bytes).cpu().numpy()).splitlines()]

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the rows; if a process has none, torchmetrics would send a float, which gloo reads as bytes."""
        if isinstance(self.kept_bytes, list) and not self.kept_bytes:
            self.kept_bytes.append(self._none())
        super().sync(*args, **kwargs)

    def _none(self) -> Tensor:
        return torch.empty(0, dtype=torch.uint8, device=self.device)
