"""Simulates sweeps that add seeds until all pairs are decided: their errors, and the seeds that they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from velm_lightning.bench.simulation import Draw, Truth, compared, drawn, exponential, normal, rates, same, two_modes
from velm_lightning.compare.deciding.sequential import looked_p, schedule_for, shares
from velm_lightning.compare.statistics import LEVEL, family_p, least_seeds
from velm_lightning.compare.student import Array

_AT_ONCE = 250
MOST = 20
"""The largest number of seeds."""

LOOKS = (2, 3, 4, 6, 8)
KINDS: dict[str, tuple[Draw, float]] = {
    "normal 0": (normal(0), 1.0),
    "normal 1": (normal(1), 1.0),
    "normal 3": (normal(3), 1.0),
    "two modes, 1:1": (two_modes(0.5), 0.5),
    "two modes, 2:3": (two_modes(0.4), 0.5),
    "two modes, 1:4": (two_modes(0.2), 0.5),
    "exponential": (exponential, 0.5),
}
"""Distributions over seeds, each with the standard deviation over images in points."""


class Outcome(NamedTuple):
    """What sweeps until decided came to.

    Attributes:
        false: share of sweeps with at least one false claim.
        wrong: share of sweeps that state a smaller difference for a pair than it has.
        small: share of the pairs that are decided to have no larger difference.
        power: share of the true differences that are claimed; NaN if there are none.
        seeds: mean number of seeds per method.
    """

    false: float
    wrong: float
    small: float
    power: float
    seeds: float


def sweeps(truth: Truth, looks: Sequence[int], draws: int, rope: float = 0.0, seed: int = 0) -> Outcome:
    """Draw sweeps that look at their results after ``looks`` seeds and return what they came to.

    Args:
        truth: the methods; each has as many seeds as the last look.
        looks: the numbers of seeds at each look.
        draws: number of sweeps.
        rope: pairs whose difference is certainly smaller get no more seeds, in points.
        seed: seed of the random numbers.
    """
    rng, pairs = np.random.default_rng(seed), list(combinations(range(len(truth.gaps)), 2))
    real = np.array([truth.gaps[a] - truth.gaps[b] for a, b in pairs])
    parts = [_portion(truth, looks, min(_AT_ONCE, draws - start), rope, rng) for start in range(0, draws, _AT_ONCE)]
    claims, equal, used = (np.concatenate(column) for column in zip(*parts, strict=True))
    right = claims == np.sign(real)
    hits = right[:, real != 0]
    return Outcome(
        false=float(((claims != 0) & ~right).any(-1).mean()),
        wrong=float((equal & (np.abs(real) > rope)).any(-1).mean()),
        small=float(equal.mean()),
        power=float(hits.mean()) if hits.size else float("nan"),
        seeds=float(used.mean()),
    )


def _portion(
    truth: Truth, looks: Sequence[int], count: int, rope: float, rng: np.random.Generator
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Return the sign of each claim (n, P), which pairs are decided to be equal (n, P), and the seeds used (n, M)."""
    runs, pairs = drawn(truth, count, rng), list(combinations(range(len(truth.gaps)), 2))
    of_level = shares(looks)
    active, used = np.ones((count, len(truth.gaps)), bool), np.zeros((count, len(truth.gaps)))
    taken, values = [], []
    equal, last = np.zeros((count, len(pairs)), bool), np.zeros((count, len(pairs)))
    for place, seeds in enumerate(looks):
        spreads = compared(runs, pairs, True, seeds)
        both = np.stack([active[:, a] & active[:, b] for a, b in pairs], -1)
        used = np.where(active, seeds, used)
        value = np.stack([each.value for each in spreads], -1)
        taken.append(np.where(both, np.stack([each.p() for each in spreads], -1), 1.0))
        values.append(value)
        last = np.where(both, value, last)
        p = [np.where(of_look * last > 0, p_value, 1.0) for p_value, of_look in zip(taken, values, strict=True)]
        family = family_p(looked_p(p, of_level[: place + 1]), [seeds] * len(pairs), least_seeds(len(truth.gaps)))
        clear = family < LEVEL
        halves = np.stack([each.half_width(LEVEL * of_level[place] / len(pairs)) for each in spreads], -1)
        equal = np.where(both, np.abs(value) + halves < rope, equal)
        waiting = ~clear & ~equal
        active = np.stack(
            [waiting[:, [method in pair for pair in pairs]].any(-1) for method in range(len(truth.gaps))], -1
        )
    return np.where(clear, np.sign(last), 0.0), equal & ~clear, used


def _looks(methods: int, looks: int, most: int = MOST) -> tuple[int, ...]:
    return schedule_for(methods, [0], most, looks).looks


def false_claims(draws: int) -> Iterator[Sequence[str]]:
    """Equally good methods, seeds added until decided: sweeps with at least one false claim."""
    yield ["methods", "looks at seeds", *KINDS]
    for methods in (2, 3, 5, 8):
        for number in LOOKS:
            looks = _looks(methods, number)
            results = (
                sweeps(same(draw, methods, looks[-1], over), looks, max(1, draws // (2 if methods < 5 else 5)))
                for draw, over in KINDS.values()
            )
            yield [str(methods), ", ".join(map(str, looks)), *(f"{each.false:.1%}" for each in results)]


def saved(draws: int) -> Iterator[Sequence[str]]:
    """Methods in steps of one gap: true differences that are found, and the mean number of seeds per method."""
    yield ["methods", "gap", "spread over seeds", f"{MOST} seeds, fixed", *(f"{looks} looks" for looks in (2, 4, 8))]
    for methods, part in ((2, 10), (5, 20)):
        for gap in (10.0, 5.0):
            for deviation in (1.0, 3.0, 6.0):
                steps = [gap * place for place in range(methods)]
                truth, number = Truth([normal(deviation)] * methods, [MOST] * methods, steps), max(1, draws // part)
                results = (sweeps(truth, _looks(methods, looks), number) for looks in (2, 4, 8))
                cells = [f"{each.power:.0%} / {each.seeds:.1f}" for each in results]
                yield [str(methods), f"{gap:g}", f"{deviation:g}", f"{rates(truth, number).power:.0%} / {MOST}", *cells]


def small_differences(draws: int) -> Iterator[Sequence[str]]:
    """No difference larger than 3 points: sweeps that state it falsely (gap 3), or that end with it (gap 0)."""
    yield ["methods", "spread over seeds", "false, gap 3", "seeds, gap 3", "stated, gap 0", "seeds, gap 0"]
    for methods in (2, 5):
        for deviation in (0.5, 1.0, 2.0):
            number, looks = max(1, draws // 10), _looks(methods, 4)
            cells = []
            for gap, rope in ((3.0, 3.0 - 1e-9), (0.0, 3.0)):
                gaps = [gap, *[0.0] * (methods - 1)]
                result = sweeps(Truth([normal(deviation)] * methods, [MOST] * methods, gaps, 0.3), looks, number, rope)
                cells += [f"{result.wrong if gap else result.small:.1%}", f"{result.seeds:.1f}"]
            yield [str(methods), f"{deviation:g}", *cells]
