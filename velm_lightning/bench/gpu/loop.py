"""The step time of ``velm fit`` against a bare loop over the same modules, on a model of full size."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from velm_lightning.bench.gpu.cases import Case, Table
from velm_lightning.bench.gpu.models import Pair
from velm_lightning.bench.gpu.setting import Setting
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.result import Cell
from velm_lightning.bench.step import verdict
from velm_lightning.bench.step_turns import Limits, alternate
from velm_lightning.data import MultimodalData, ShapeScenes
from velm_lightning.fusion import EarlyFusion
from velm_lightning.tasks import Classification

COLUMNS = ("bare loop, ms/step", "velm fit, ms/step", "velm / bare, elapsed", "velm / bare, CPU time", "verdict")
WITHIN = 0.02


def tables(setting: Setting) -> dict[str, Table]:
    """Return the table of this file."""
    return {"step": Table("a training step of velm fit, with progress bar and loggers, and of a bare loop", COLUMNS)}


def cases(setting: Setting) -> list[Case]:
    """Return the case of this file."""
    pair = setting.models.plain
    return [Case("step", f"{pair.name}, EarlyFusion, bf16", 2, 60.0, partial(measure, setting, pair))]


def measure(setting: Setting, pair: Pair) -> Mapping[str, Cell]:
    """Return the times of a step and their ratio."""
    scenes = ShapeScenes(train=12 if setting.small else 400, val=1, test=1)
    data = MultimodalData(scenes, batch_size=setting.batch_size)
    model = EarlyFusion(
        vocabulary=data.vocabulary,
        image_encoder=pair.image(),
        text_encoder=pair.text(),
        task=Classification(dropout=0.0),
    )
    steps, limits = (2, Limits(1, WITHIN, 0.0)) if setting.small else (20, Limits(8, WITHIN, 0.75))
    turns = alternate(model, data, steps, limits, bf16=True)
    return {
        "bare loop, ms/step": Interval.of([1e3 * taken.clock for taken in turns.bare]),
        "velm fit, ms/step": Interval.of([1e3 * taken.clock for taken in turns.velm]),
        "velm / bare, elapsed": Interval.of(turns.ratios("clock")),
        "velm / bare, CPU time": Interval.of(turns.ratios("cpu")),
        "verdict": verdict(turns, WITHIN).partition(":")[0],
    }
