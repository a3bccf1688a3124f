"""Solves for widths of the text trunk with which several models have the same budget: parameters or FLOPs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal, NamedTuple

from velm_lightning.data import MultimodalData
from velm_lightning.fusion import Fusion
from velm_lightning.inspection.cost import sample_flops
from velm_lightning.io.configurable import build, to_config
from velm_lightning.types import InputError

By = Literal["parameters", "flops"]
LARGEST_ERROR = 0.05
"""Largest relative difference from the target that is accepted."""

_NARROWEST, _WIDEST = 0.5, 32  # feed-forward networks, in units of the trunk's width
_DIM = 4  # largest width of the trunk, in units of the configured one
_KEY = "model.init_args.text_encoder.init_args."


class Match(NamedTuple):
    """The widths with which a model comes nearest to a budget.

    Attributes:
        before: its budget as configured.
        after: its budget with the new widths.
        settings: the new widths by their config keys; empty if nothing is changed.
        replaced: the configured values of these keys.
    """

    before: int
    after: int
    settings: dict[str, int]
    replaced: dict[str, int | None]

    def error(self, target: int) -> float:
        """Return the relative difference from a target."""
        return self.after / target - 1


def budget_of(model: Fusion, data: MultimodalData, by: By) -> int:
    """Return the number of trained parameters of a model, or the FLOPs of its training step per sample.

    Raises:
        InputError: the FLOPs cannot be counted.
    """
    if by == "parameters":
        return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    data.connect(model)
    cost = sample_flops(model, data.split("train"))
    if cost is None:
        raise InputError(f"the FLOPs of a {type(model).__name__} cannot be counted: use --by parameters")
    return cost.training


def match(model: Fusion, budget: Callable[[Fusion], int], target: int, tolerance: float) -> Match:
    """Return the widths of the trunk with which the budget of a model is nearest to a target.

    The depth stays. The width of the feed-forward networks is changed first, then that of the whole trunk; see
    ``_NARROWEST`` for their limits. A text encoder without these arguments (a pretrained one) is not changed.

    Args:
        model: the model as configured.
        budget: the budget of a model, which increases with its widths.
        target: the budget to reach.
        tolerance: relative difference that is near enough, so that no further width is changed.
    """
    trunk = _Trunk(model, budget)
    best: dict[str, int] = {}
    for widths in trunk.candidates(target):
        if abs(trunk.budget(widths) - target) < abs(trunk.budget(best) - target):
            best = widths
        if abs(trunk.budget(best) / target - 1) <= tolerance:
            break
    return Match(
        before=trunk.budget({}),
        after=trunk.budget(best),
        settings={_KEY + name: width for name, width in best.items()},
        replaced={_KEY + name: trunk.arguments[name] for name in best},
    )


class _Trunk:
    """A model whose text encoder can be rebuilt with other widths.

    Args:
        model: the model as configured.
        measure: the budget of a model.
    """

    def __init__(self, model: Fusion, measure: Callable[[Fusion], int]) -> None:
        self.measure = measure
        self.plain = to_config(model)
        self.arguments: dict[str, Any] = self.plain["init_args"]["text_encoder"]["init_args"]
        known = inspect.signature(type(model.text_encoder)).parameters
        self.names = [name for name in ("feed_forward", "dim") if name in known]
        self.step = math.lcm(*_heads({**self.plain["init_args"], "image_encoder": None, "vocabulary": None}))
        self._budgets: dict[tuple[tuple[str, int], ...], int] = {(): measure(model)}

    def candidates(self, target: int) -> Iterator[dict[str, int]]:
        """Yield widths, each nearest to the target by what it changes: nothing, feed-forward networks, the trunk."""
        yield {}
        if "feed_forward" in self.names:
            yield self._with_feed_forward({}, target)
        if "dim" in self.names:
            places = range(1, _DIM * self.arguments["dim"] // self.step + 1)
            place = nearest(lambda each: self.budget({"dim": each * self.step}), places[0], places[-1], target)
            widths = {"dim": place * self.step}
            yield widths
            if "feed_forward" in self.names:
                yield self._with_feed_forward(widths, target)

    def _with_feed_forward(self, widths: dict[str, int], target: int) -> dict[str, int]:
        dim = widths.get("dim", self.arguments["dim"])
        low, high = max(1, int(_NARROWEST * dim)), _WIDEST * dim
        return widths | {
            "feed_forward": nearest(lambda width: self.budget(widths | {"feed_forward": width}), low, high, target)
        }

    def budget(self, widths: Mapping[str, int]) -> int:
        """Return the budget with some widths changed."""
        mark = tuple(sorted(widths.items()))
        if mark not in self._budgets:
            plain = deepcopy(self.plain)
            plain["init_args"]["text_encoder"]["init_args"] |= widths
            self._budgets[mark] = self.measure(build(plain))
        return self._budgets[mark]


def nearest(budget: Callable[[int], int], low: int, high: int, target: int) -> int:
    """Return the number from ``low`` to ``high`` whose budget, which increases with it, is nearest to a target."""
    below, above, bisect = budget(low), budget(high), False
    if target <= below or low >= high:
        return low
    if target >= above:
        return high
    while high - low > 1:
        share = 0.5 if bisect else (target - below) / (above - below)
        middle = low + min(high - low - 1, max(1, int(share * (high - low))))
        value = budget(middle)
        if value <= target:
            low, below = middle, value
        else:
            high, above = middle, value
        bisect = not bisect  # interpolation finds a linear budget at once, bisection is never slow
    return low if target - below <= above - target else high


def _heads(plain: Any) -> list[int]:
    """Return the numbers of attention heads in a configuration, all of which divide the width of the trunk."""
    if isinstance(plain, Mapping):
        here = [plain["heads"]] if isinstance(plain.get("heads"), int) else []
        return here + [number for value in plain.values() for number in _heads(value)]
    if isinstance(plain, Sequence) and not isinstance(plain, str):
        return [number for value in plain for number in _heads(value)]
    return []
