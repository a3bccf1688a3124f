"""A torchmetrics base that keeps one row per sample, including strings, and gathers them from all processes.

A corpus score is not an average of scores per process, and torchmetrics synchronises tensors only, so rows are kept as
the bytes of JSON lines. A process without samples contributes no bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override


class RowsMetric(Metric):
    """Base of the metrics that need all rows at once: ``update`` calls `keep`, ``compute`` calls `kept`."""

    full_state_update = False
    is_differentiable = False
    kept_bytes: list[Tensor] | Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("kept_bytes", default=[], dist_reduce_fx="cat")

    def keep(self, rows: Iterable[Any]) -> None:
        """Add rows of any values that JSON can represent."""
        assert isinstance(self.kept_bytes, list), "update between sync and unsync"
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        self.kept_bytes.append(
            torch.frombuffer(bytearray(lines), dtype=torch.uint8).to(self.device) if lines else self._none()
        )

    def kept(self) -> list[Any]:
        """Return all rows that were added, of all processes while synchronised; tuples become lists."""
        if isinstance(self.kept_bytes, list) and not self.kept_bytes:
            return []
        return [json.loads(line) for line in bytes(dim_zero_cat(self.kept_bytes).cpu().numpy()).splitlines()]

    @override
    def sync(self, *args: Any, **kwargs: Any) -> None:
        # for a process without rows torchmetrics would send a float, which gloo reads as bytes
        if isinstance(self.kept_bytes, list) and not self.kept_bytes:
            self.kept_bytes.append(self._none())
        super().sync(*args, **kwargs)

    def _none(self) -> Tensor:
        return torch.empty(0, dtype=torch.uint8, device=self.device)
