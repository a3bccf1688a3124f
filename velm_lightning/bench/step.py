"""Compares a training step of velm, with progress bar and logging, to a plain PyTorch loop over the same batches.

The loop takes its turn within the fit: after every few steps of the fit it trains a copy of the model for as many,
so that other load on the machine, and a processor that changes its speed, affects both, and the ratio is computed per
turn. On a CPU it is the ratio of the CPU times of the process, which does not count the time of other processes; the
ratio of elapsed times is printed next to it. Turns go on until the interval of the ratio is within the limit, or the
time is over.
"""

from __future__ import annotations

import argparse

from lightning import seed_everything

from velm_lightning.bench.interleaved_timing import summary
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.machine import device_name
from velm_lightning.bench.result import Result
from velm_lightning.bench.step_turns import Limits, Turns, alternate, decisive
from velm_lightning.data import MultimodalData, ShapeScenes
from velm_lightning.encoders import SmallCNN, TransformerTextEncoder
from velm_lightning.fusion import Fusion, InteractiveFusion
from velm_lightning.tasks import Classification


def run(options: argparse.Namespace) -> list[Result]:
    """Return the table of the benchmark."""
    seed_everything(0, verbose=False)
    data = MultimodalData(ShapeScenes(train=600, val=1, test=1), batch_size=options.batch_size)
    model = build(data, options.dim)
    limits = Limits(options.turns, options.within / 100, options.minutes)
    return [report(model, alternate(model, data, options.steps, limits), limits.within)]


def build(data: MultimodalData, dim: int) -> Fusion:
    """Return the model to train."""
    return InteractiveFusion(
        vocabulary=data.vocabulary,
        image_encoder=SmallCNN(widths=(32, 64, 128), dim=dim),
        text_encoder=TransformerTextEncoder(dim=dim, depth=2, dropout=0.0),
        task=Classification(dropout=0.0),
        dropout=0.0,
    )


def report(model: Fusion, turns: Turns, within: float) -> Result:
    """Return the times, their ratio, the fixed cost of a step, and whether the limit was reached."""
    size = sum(p.numel() for p in model.parameters()) / 1e6
    by_clock, by_cpu = (
        [[1e3 * getattr(taken, field) for taken in side] for side in turns] for field in ("clock", "cpu")
    )
    result = summary(
        f"a training step, {size:.1f}M parameters, {device_name()}",
        {
            "bare loop, ms/step": by_clock[0],
            "velm fit, ms/step": by_clock[1],
            "bare loop, CPU ms/step": by_cpu[0],
            "velm fit, CPU ms/step": by_cpu[1],
            "fixed cost, CPU ms/step": [b - a for a, b in zip(*by_cpu, strict=True)],
            "velm / bare, elapsed": turns.ratios("clock"),
            "velm / bare, CPU time": turns.ratios("cpu"),
        },
    )
    result.notes.append(verdict(turns, within))
    return result


def verdict(turns: Turns, within: float) -> str:
    """Return the ratio in a sentence that says whether it was resolved."""
    name = {"clock": "elapsed time", "cpu": "CPU time"}[decisive()]
    ratio = Interval.of(turns.ratios(decisive()))
    reached = ratio.half_width <= within
    width = f"+-{ratio.half_width:.1%}" if ratio.half_width < 10 else "unknown below 6 turns"
    sentence = f"the ratio of {name} is {ratio}, interval {width} in {ratio.turns} turns"
    if reached:
        return f"RESOLVED within +-{within:.1%}: {sentence}"
    return f"NOT RESOLVED within +-{within:.1%}: {sentence}; repeat on an idle machine or with more --minutes"
