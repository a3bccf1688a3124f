"""Decoding speed against ``transformers.generate``, with its default cache and with its compiled static cache."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import torch

from velm_lightning.bench import decoding
from velm_lightning.bench.decoding import Sentences, agreement, ours, theirs
from velm_lightning.bench.gpu.cases import Case, Table
from velm_lightning.bench.gpu.setting import Setting
from velm_lightning.bench.interleaved_timing import in_turns, ratios
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.result import Cell
from velm_lightning.decoding import BeamSearch, Greedy
from velm_lightning.tasks.stepping import CachedSteps

COLUMNS = (
    "velm, tokens/s",
    "generate, tokens/s",
    "static generate, tokens/s",
    "velm / generate",
    "velm / static generate",
    "same sentences, %",
    "peak memory, GB",
)


class Models:
    """The model and the GPT-2 with the same weights, built on first use.

    Args:
        setting: the setting of the run.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        dim, depth, words, length = (64, 1, 64, 4) if setting.small else (768, 12, 32_000, 32)
        self.options = Namespace(dim=dim, depth=depth, words=words, prompt=10, length=length)

    @cached_property
    def both(self) -> tuple[Any, Any]:
        """The model of this package and its GPT-2, in bf16 on a GPU."""
        dtype = torch.bfloat16 if self.setting.cuda else torch.float32
        model = decoding.build(self.options)
        twin = decoding.gpt2_of(model)
        return tuple(part.to(self.setting.device, dtype).eval() for part in (model, twin))  # type: ignore[return-value]


def tables(setting: Setting) -> dict[str, Table]:
    """Return the table of this file."""
    compiled = "compiled" if setting.cuda else "not compiled"
    title = f"decoding, 10 + {Models(setting).options.length} tokens; static generate: static cache, {compiled}"
    return {"decode": Table(title, COLUMNS)}


def cases(setting: Setting) -> list[Case]:
    """Return the cases of this file."""
    models, result = Models(setting), []
    for size, worth in ((32, 3), (1, 11), (256, 12)):
        size = min(size, 4) if setting.small else size
        for beams in (1, 2 if setting.small else 5):
            name = f"{'greedy' if beams == 1 else f'beam {beams}'}, batch of {size}"
            result.append(Case("decode", name, worth, 60.0, partial(measure, models, size, beams)))
    return list({case.name: case for case in result}.values())


def measure(models: Models, size: int, beams: int) -> Mapping[str, Cell]:
    """Return the speed of each side and the ratios."""
    setting, options = models.setting, models.options
    model, twin = models.both
    length = options.length
    batch = decoding.prompts(size, options.prompt, options.words).to(setting.device)
    search = Greedy(length) if beams == 1 else BeamSearch(beams, early_stopping=False, max_length=length)
    ways: list[Callable[[], Sentences]] = [
        partial(ours, model, batch, search, CachedSteps),
        partial(theirs, twin, batch, length, beams, model.vocabulary),
    ]
    static = partial(theirs, twin, batch, length, beams, model.vocabulary, cache_implementation="static")
    try:
        static()  # compiles, and fails where transformers has no static form
        ways.append(static)
        failure = None
    except Exception as error:  # noqa: BLE001 - a limit of the other side is a cell, not an error
        failure = f"failed: {type(error).__name__}"
    times, outputs = in_turns(ways, setting.turns)
    speeds = [Interval.of([size * length / taken for taken in side]) for side in times]
    return {
        "velm, tokens/s": speeds[0],
        "generate, tokens/s": speeds[1],
        "static generate, tokens/s": failure or speeds[2],
        "velm / generate": Interval.of(ratios(times[1], times[0])),
        "velm / static generate": failure or Interval.of(ratios(times[2], times[0])),
        "same sentences, %": 100 * agreement(outputs[0], outputs[1]),
        "peak memory, GB": torch.cuda.max_memory_allocated() / 1e9 if setting.cuda else None,
    }
