"""Computes the costs of the runs, and how much the score of a method depends on each modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.grouping import Method
from velm_lightning.compare.reading import RunFolder
from velm_lightning.compare.statistics import Interval, seed_interval
from velm_lightning.errors import InputError


class ModalityReliance(NamedTuple):
    """How much the score of a method depends on a modality.

    Attributes:
        cost: the decrease of the score when the modality is permuted among the samples, over seeds.
        perceptual: the same as a share of the score (Gat et al. 2021).
        shares: shares of the samples from which the modality is missing.
        missing: the mean scores at these shares.
    """

    cost: Interval
    perceptual: float
    shares: list[float]
    missing: list[float]


def modality_reliance(method: Method, split: str) -> dict[str, ModalityReliance]:
    """Return the reliance on each modality, if all runs of the method were probed on the split at equal shares."""
    probes = [run.probe for run in method.runs if run.probe.get("split") == split]
    if len(probes) < len(method.runs) or len({tuple(probe["shares"]) for probe in probes}) > 1:
        return {}
    return {
        modality: ModalityReliance(
            cost=seed_interval([probe["shuffled"][modality]["cost"] for probe in probes]),
            perceptual=_average([probe["shuffled"][modality]["perceptual"] for probe in probes]),
            shares=list(probes[0]["shares"]),
            missing=[
                _average(scores) for scores in zip(*(probe["missing"][modality] for probe in probes), strict=True)
            ],
        )
        for modality in probes[0]["shuffled"]
        if all(modality in probe["shuffled"] for probe in probes)
    }


_MOST = 1e6


def estimate(runs: Sequence[RunFolder], watts: float | None, price: float | None) -> None:
    """Add the energy and the price of the runs to their records, computed from the minutes of their devices.

    Args:
        runs: the runs.
        watts: mean power of a device with its share of the machine; None adds no energy.
        price: the price of an hour of a device; None adds no price.

    Raises:
        InputError: If ``watts`` or ``price`` is not above 0, or is above a million.
    """
    for key, option, given, per_hour in (("kwh", "watts", watts, 0.001), ("price", "price", price, 1.0)):
        if given is None:
            continue
        if not 0 < given <= _MOST:
            raise InputError(f"--{option} must be above 0 and at most {_MOST:g}, got {given:g}")
        for run in runs:
            run.record[key] = run.cost("device_minutes") / 60 * given * per_hour


def _average(values: Sequence[float]) -> float:
    return float(np.mean(values))
