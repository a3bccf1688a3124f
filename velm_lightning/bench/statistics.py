"""Measures the error rates and the power of ``velm compare``: the tables of docs/statistics.md.

Comparisons with known differences are simulated and tested with the code of ``velm compare``. Neither torch nor a run
is needed. Each table is printed as Markdown as soon as it is complete.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from velm_lightning.bench.planning import planned
from velm_lightning.bench.posterior import calibrated
from velm_lightning.bench.sequential import false_claims, saved, small_differences
from velm_lightning.bench.simulation import (
    Draw,
    Rates,
    Truth,
    exponential,
    lognormal,
    normal,
    rates,
    same,
    two_modes,
)
from velm_lightning.compare.statistics import least_seeds
from velm_lightning.io.console import echo

SEEDS = (2, 3, 4, 5, 6, 8)
RATIOS = (0, 0.1, 0.5, 1, 3, 10)
KINDS: dict[str, Draw] = {
    "two modes, 1:1": two_modes(0.5),
    "two modes, 1:4": two_modes(0.2),
    "two modes, 1:9": two_modes(0.1),
    "exponential": exponential,
    "lognormal, some fail": lognormal,
}
UNEQUAL = ((3, 5), (3, 8), (1, 3, 3), (3, 5, 8), (4, 8, 8, 8), (2, 5, 5, 5, 5), (5, 8, 5, 8, 8))
SPREADS = {"1": (1.0,) * 5, "3": (3.0,) * 5, "6": (6.0,) * 5, "6.1, 9.4, 0.3, 0.4, 0.3": (6.1, 9.4, 0.3, 0.4, 0.3)}
"""Standard deviations over seeds, in points; the last are those of interactive, early and late fusion and two controls
on ShapeScenes, measured on three seeds each."""


def run(options: argparse.Namespace) -> None:
    """Print the tables."""
    for name in options.tables:
        echo(f"\n### {name}: {TABLES[name].__doc__}\n")
        for number, row in enumerate(TABLES[name](options.draws)):
            echo(f"| {' | '.join(row)} |", flush=True)
            if not number:
                echo(f"|{' --- |' * len(row)}")


Rows = Iterator[Sequence[str]]


def _both(measured: Rates, claimed: bool = True) -> str:
    """Format the rates of false claims and of covered differences, in per cent."""
    return f"{f'{measured.false:.1%}' if claimed else 'no claim'} / {measured.covered:.1%}".replace("%", "")


def _by_ratio(draws: int) -> Rows:
    """Equally good methods, normal seeds: by the variance over seeds as a multiple of that over images."""
    yield ["methods", "seeds", *(f"ratio {ratio:g}" for ratio in RATIOS)]
    yield from _of_equal_methods((2, 3, 4, 5), [normal(ratio**0.5) for ratio in RATIOS], 1.0, draws)


def _by_kind(draws: int) -> Rows:
    """Equally good methods, seeds of two modes and skewed seeds."""
    yield ["methods", "seeds", *KINDS]
    yield from _of_equal_methods((2, 3, 4, 5, 8, 10), list(KINDS.values()), 0.5, draws)


def _of_equal_methods(numbers: Sequence[int], kinds: Sequence[Draw], over_images: float, draws: int) -> Rows:
    for methods in numbers:
        for seeds in SEEDS:
            claimed = seeds >= least_seeds(methods)
            if claimed or methods == 2:  # coverage is per pair and does not depend on the number of methods
                measured = (rates(same(draw, methods, seeds, over_images), draws) for draw in kinds)
                yield [str(methods), str(seeds), *(_both(rate, claimed) for rate in measured)]


def _unequal(draws: int) -> Rows:
    """Equally good methods with different numbers of seeds: the first seeds in common, or none."""
    kinds = {"normal": normal(1.0), "two modes, 1:1": two_modes(0.5), "exponential": exponential}
    yield ["seeds", *(f"{name}, {how}" for name in kinds for how in ("in common", "none in common"))]
    for seeds in UNEQUAL:
        measured = [
            rates(Truth([draw] * len(seeds), seeds, [0.0] * len(seeds), 0.5, paired), draws)
            for draw in kinds.values()
            for paired in (True, False)
        ]
        yield [", ".join(map(str, seeds)), *map(_both, measured)]


def _with_a_gap(draws: int) -> Rows:
    """False claims about four equally good methods next to a fifth that is 10 points ahead."""
    yield ["seeds", "normal", *KINDS]
    gaps = [10.0, 0.0, 0.0, 0.0, 0.0]
    for seeds in (5, 6, 8):
        measured = (rates(Truth([draw] * 5, [seeds] * 5, gaps, 0.5), draws) for draw in (normal(1.5), *KINDS.values()))
        yield [str(seeds), *(f"{rate.false:.1%}" for rate in measured)]


def _power(draws: int) -> Rows:
    """True gaps that are found if one of five methods is ahead: ten pairs, of which four differ."""
    yield ["gap", "spread over seeds", *(f"{seeds} seeds" for seeds in range(2, 9))]
    for gap in (20.0, 10.0, 5.0):
        for name, each in SPREADS.items():
            truth = Truth([normal(deviation) for deviation in each], (), [gap, 0.0, 0.0, 0.0, 0.0])
            powers = (rates(truth._replace(seeds=[seeds] * 5), max(1, draws // 10)).power for seeds in range(2, 9))
            yield [f"{gap:g}", name, *(f"{power:.0%}" for power in powers)]


def _pair_power(draws: int) -> Rows:
    """True gaps that are found if two methods are compared by themselves."""
    yield ["gap", "spread over seeds", *(f"{seeds} seeds" for seeds in range(2, 9))]
    for gap in (10.0, 5.0):
        for each in (1.0, 3.0, 6.0):
            truth = Truth([normal(each)] * 2, (), [gap, 0.0])
            powers = (rates(truth._replace(seeds=[seeds] * 2), max(1, draws // 2)).power for seeds in range(2, 9))
            yield [f"{gap:g}", f"{each:g}", *(f"{power:.0%}" for power in powers)]


def _not_held(draws: int) -> Rows:
    """Not held: false claims if one method has two modes and the others have one, with the same mean."""
    yield ["methods", "seeds", *list(KINDS)[:3]]
    for methods in (2, 5):
        for seeds in SEEDS[1:]:
            if seeds >= least_seeds(methods):
                measured = (
                    rates(Truth([draw, *[normal(1.5)] * (methods - 1)], [seeds] * methods, [0.0] * methods), draws)
                    for draw in list(KINDS.values())[:3]
                )
                yield [str(methods), str(seeds), *(f"{rate.false:.1%}" for rate in measured)]


TABLES: dict[str, Callable[[int], Rows]] = {
    "ratio": _by_ratio,
    "kinds": _by_kind,
    "unequal": _unequal,
    "gap": _with_a_gap,
    "power": _power,
    "pair": _pair_power,
    "not_held": _not_held,
    "planned": planned,
    "looks": false_claims,
    "saved": saved,
    "small": small_differences,
    "posterior": calibrated,
}
