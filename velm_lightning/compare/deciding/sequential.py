"""Corrects claims for looking at results several times while seeds are added; docs/statistics.md has the rule.

Each look at the results has a share of the 5 %, so that all looks together are wrong in at most 5 %, whatever the
dependence between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from velm_lightning.compare.statistics import least_seeds
from velm_lightning.compare.student import Array
from velm_lightning.errors import InputError

SPENT = 0.8
"""The part of the 5 % that all looks spend; the rest covers seeds whose scores are far from normal."""

GROWTH = 2
"""The exponent of the part that is spent at a fraction of the seeds (Kim & DeMets 1987)."""

MOST_LOOKS = 8
"""The number of looks up to which the error is measured."""


class Schedule(NamedTuple):
    """When results are looked at.

    Attributes:
        seeds: the seeds, in the order in which they are run.
        looks: the numbers of seeds at which results are looked at, growing; the last is that of all seeds.
    """

    seeds: tuple[int, ...]
    looks: tuple[int, ...]

    @property
    def shares(self) -> list[float]:
        """The share of the level that the test at each look has; see ``shares``."""
        return shares(self.looks)

    @staticmethod
    def of(record: Mapping[str, Any]) -> Schedule | None:
        """Return the schedule that a run's record states, or None if its number of seeds was fixed.

        Raises:
            InputError: If the entry is not a schedule.
        """
        entry = record.get("looks")
        if entry is None:
            return None
        try:
            schedule = Schedule(*(tuple(int(number) for number in entry[name]) for name in ("seeds", "looks")))
            check(schedule)
        except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
            raise InputError(f"`looks` in run.json is not a schedule of seeds and looks: {error}") from error
        return schedule


def check(schedule: Schedule) -> None:
    """Raise ``ValueError`` if the looks of a schedule do not grow to the number of its seeds."""
    seeds, looks = schedule
    if not looks or looks[-1] != len(seeds) or any(a >= b for a, b in zip((0, *looks), looks, strict=False)):
        raise ValueError(f"looks at {list(looks)} do not grow to the number of seeds, {len(seeds)}")


def schedule_for(methods: int, seeds: Sequence[int], most: int, looks: int) -> Schedule:
    """Return a schedule whose looks grow by about the same factor.

    Args:
        methods: the number of methods.
        seeds: the first seeds; those that follow are the smallest numbers above them.
        most: the largest number of seeds.
        looks: the number of looks, 1 to ``MOST_LOOKS``; fewer if there are not as many numbers of seeds.

    Raises:
        InputError: If a number is out of range.

    Example:
        >>> schedule_for(5, [0, 1, 2, 3, 4], most=20, looks=4).looks
        (6, 9, 13, 20)
    """
    first = max(least_seeds(methods) + 1, len(seeds))
    if most < first:
        raise InputError(f"--max-seeds must be at least {first}, the first look of {methods} methods, got {most}")
    if not 1 <= looks <= MOST_LOOKS:
        raise InputError(f"--looks must be 1 to {MOST_LOOKS}, got {looks}")
    steps = [first * (most / first) ** (place / max(1, looks - 1)) for place in range(looks)]
    numbers = (*seeds, *range(max(seeds) + 1, max(seeds) + 1 + most))
    return Schedule(numbers[:most], tuple(sorted({*map(round, steps[:-1]), most})))


def shares(looks: Sequence[int]) -> list[float]:
    """Return the share of the level that the test at each look has; they sum to ``SPENT``.

    Up to a look at S of S_max seeds, (S / S_max)² of it is spent: early looks claim large differences only, and the
    last one keeps most of the level.

    Args:
        looks: the numbers of seeds at which results are looked at, growing.

    Example:
        >>> [round(share, 3) for share in shares([6, 9, 13, 20])]
        [0.072, 0.09, 0.176, 0.462]
    """
    spent = [0.0, *(SPENT * (seeds / looks[-1]) ** GROWTH for seeds in looks)]
    return [after - before for before, after in zip(spent, spent[1:], strict=False)]


def looked_p(p: Sequence[Array | float], of_level: Sequence[float]) -> Array:
    """Return p-values that are corrected for several looks: the smallest of each look's p divided by its share.

    More looks never make it larger, so that a pair that is claimed at a look stays claimed.

    Args:
        p: the p-values of each look until now, numbers or arrays of one shape.
        of_level: the share of each of these looks; see ``shares``.
    """
    corrected = [np.asarray(values, float) / share for values, share in zip(p, of_level, strict=True)]
    return np.asarray(np.minimum(1.0, np.min(corrected, axis=0)))
