"""Computes the score of fusions against the depth at which image and text meet, per group and kind of tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.result import Result
from velm_lightning.compare.statistics import Interval

ALL = "all samples"
_MOST_PARTS = 12
AFTER = 1.2
"""The depth of a fusion after the trunk; see ``fusion.meeting``."""

_ORDER = ("frozen", "LoRA", "full")
CAPTION = (
    "The depth is the share of the text trunk's layers below the place where image and text meet. Bands and bars are "
    "95 % intervals over seeds (Student's t, images held fixed); with one seed, over images if known. Dotted lines are "
    "the controls. Of several methods at one place, the best on validation data is shown. If pretrained trunks are "
    "trained in several ways (frozen, LoRA, full), each has a part of its own."
)


class Line(NamedTuple):
    """The methods of one kind by depth."""

    kind: str
    depths: list[float]
    scores: list[Interval]


class Part(NamedTuple):
    """The curve of one group of samples and one kind of tuning.

    Attributes:
        group: its name.
        tuning: how the pretrained text trunk is trained; empty if all runs agree. See ``tuning_of``.
        figure: the figure that is drawn.
        lines: the fusions, one line per kind.
        floors: the controls.
    """

    group: str
    tuning: str
    figure: str
    lines: list[Line]
    floors: list[tuple[str, Interval]]

    @property
    def title(self) -> str:
        """The group and the kind of tuning."""
        return f"{self.group}, {self.tuning}" if self.tuning else self.group


def curve_of(comparison: Comparison) -> list[Part]:
    """Return the curve for all samples and for each group, one part per kind of tuning; empty without two depths."""
    fusions = [result for result in comparison.results if not result.method.control and _depth(result) is not None]
    tunings = list(dict.fromkeys(tuning_of(result) for result in fusions))
    tunings.sort(key=lambda tuning: (_ORDER.index(tuning) if tuning in _ORDER else len(_ORDER), tuning))
    kinds = {tuning: _kinds([each for each in fusions if tuning_of(each) == tuning], comparison) for tuning in tunings}
    if all(len(places) < 2 for of_tuning in kinds.values() for places in of_tuning.values()):
        return []
    groups = dict.fromkeys(name for result in comparison.results for name in result.groups)
    most = max(1, _MOST_PARTS // len(tunings))
    return [
        _part(comparison, group, tuning if len(tunings) > 1 else "", kinds[tuning])
        for group in [ALL, *list(groups)[: most - 1]]
        for tuning in tunings
    ]


def _part(comparison: Comparison, group: str, tuning: str, kinds: dict[str, dict[float, Result]]) -> Part:
    """Return the curve of one group; its floors are the controls with the same tuning, or with none."""
    lines = []
    for kind, places in kinds.items():
        known = [(depth, _score(result, group)) for depth, result in sorted(places.items())]
        drawn = [(depth, score) for depth, score in known if score is not None]
        if drawn:
            lines.append(Line(kind, [depth for depth, _ in drawn], [score for _, score in drawn]))
    controls = [result for result in comparison.results if result.method.control]
    near = [result for result in controls if not tuning or tuning_of(result) in ("", tuning)]
    floors = [(result.method.name, _score(result, group)) for result in near]
    figure = comparison.metric.name if group == ALL else comparison.tested
    return Part(group, tuning, figure, lines, [(name, score) for name, score in floors if score is not None])


def tuning_of(result: Result) -> str:
    """Return how a pretrained text trunk is trained: ``frozen``, ``LoRA``, ``full`` or the number of its last layers.

    It is read from the config of the first run; empty if the trunk is not pretrained.
    """
    place = "model.init_args.text_encoder.init_args."
    config = result.method.runs[0].config
    if not config.get(f"{place}name") or config.get(f"{place}weights") is False:
        return ""
    if any(key.startswith(f"{place}lora") and value is not None for key, value in config.items()):
        return "LoRA"
    layers = config.get(f"{place}trainable", -1)
    return {0: "frozen", -1: "full"}.get(layers, f"last {layers} layers") if isinstance(layers, int) else ""


def _depth(result: Result) -> float | None:
    """Return the depth at which image and text meet, or None if the run states none."""
    meeting = result.method.runs[0].record.get("meeting")
    depth = meeting.get("depth") if isinstance(meeting, dict) else None
    return depth if isinstance(depth, int | float) and math.isfinite(depth) else None


def _kinds(results: Sequence[Result], comparison: Comparison) -> dict[str, dict[float, Result]]:
    """Return methods by kind and depth, for each the best one on validation data."""
    kinds: dict[str, dict[float, Result]] = {}
    for result in results:
        depth = _depth(result)
        if depth is None:
            continue
        places = kinds.setdefault(str(result.method.runs[0].record["meeting"].get("kind")), {})
        other = places.get(depth)
        if other is None or comparison.metric.sign * (result.validation - other.validation) > 0:
            places[depth] = result
    return dict(sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])))


def _score(result: Result, group: str) -> Interval | None:
    return result.score if group == ALL else result.groups.get(group)
