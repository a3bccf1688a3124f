"""Training throughput, utilisation, peak memory and host syncs of each fusion, and growth over three sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from velm_lightning.bench.gpu.cases import Case, Table
from velm_lightning.bench.gpu.flops import training_flops
from velm_lightning.bench.gpu.models import Pair
from velm_lightning.bench.gpu.setting import Setting, count_syncs
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.machine import seconds, wait
from velm_lightning.bench.result import Cell
from velm_lightning.fusion import (
    BottleneckFusion,
    EarlyFusion,
    Fusion,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    MergedFusion,
)
from velm_lightning.inspection.cost import flops
from velm_lightning.training.compiling import compile_layers
from velm_lightning.types import Batch

FUSIONS: tuple[type[Fusion], ...] = (
    EarlyFusion,
    InteractiveFusion,
    LateFusion,
    InterleavedFusion,
    MergedFusion,
    BottleneckFusion,
)
"""The fusions in the order of their worth."""

COLUMNS = (
    "samples/s",
    "MFU of published peak, %",
    "MFU of matrix products, %",
    "peak memory, GB",
    "host syncs per step",
    "parameters, M",
    "GFLOPs per sample",
    "counted / formula",
)


def tables(setting: Setting) -> dict[str, Table]:
    """Return the tables of this file."""
    shared = f"training under bf16 autocast, batches of {setting.batch_size}"
    return {
        "train": Table(f"{shared}, optimiser included", COLUMNS),
        "growth": Table(f"{shared}: early fusion in three sizes", COLUMNS),
    }


def cases(setting: Setting) -> list[Case]:
    """Return the cases of training and growth."""
    result = []
    for pair_worth, pair in ((0, setting.models.plain), (4, setting.models.hugging_face)):
        for compiled in (False, True):
            for rank, kind in enumerate(FUSIONS):
                name = f"{pair.name}, {kind.__name__}{', compiled' if compiled else ''}"
                worth = pair_worth + compiled if not rank else pair_worth + 7 + rank + 12 * compiled
                measured = partial(measure, setting, pair, kind, compiled)
                result.append(Case("train", name, worth, 75.0 if compiled else 20.0, measured))
    for pair in setting.models.growing:
        result.append(Case("growth", pair.name, 10, 25.0, partial(measure, setting, pair, EarlyFusion, False)))
    return result


def measure(setting: Setting, pair: Pair, kind: type[Fusion], compiled: bool) -> Mapping[str, Cell]:
    """Return the figures of one training run."""
    model, batch = pair.build(kind).to(setting.device), pair.batch(setting.batch_size).to(setting.device)
    counted = flops(model, [batch.first(2)]).training
    if compiled:  # the inductor takes minutes on a CPU
        compile_layers(model, "inductor" if setting.cuda else "eager")
    step = training_step(setting, model, batch)
    seconds(step, setting.steps)
    if setting.cuda:
        torch.cuda.reset_peak_memory_stats()
    syncs = count_syncs(step)
    rates = [batch.size / seconds(step, setting.steps, warm_up=0) for _ in range(setting.turns)]
    wait()
    cost = training_flops(kind, pair.image_tower, pair.text_tower, pair.shapes)
    speed = cost * Interval.of(rates).median
    return {
        "samples/s": Interval.of(rates),
        "MFU of published peak, %": 100 * speed / setting.published if setting.published else None,
        "MFU of matrix products, %": 100 * speed / setting.reached,
        "peak memory, GB": torch.cuda.max_memory_allocated() / 1e9 if setting.cuda else None,
        "host syncs per step": syncs,
        "parameters, M": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        "GFLOPs per sample": cost / 1e9,
        "counted / formula": counted / cost,
    }


def training_step(setting: Setting, model: Fusion, batch: Batch) -> Callable[[], None]:
    """Return a function that trains for one step: loss, gradients, clipping and optimiser."""
    optimizer = model.train().optimization.configure(model, 1000)["optimizer"]

    def step() -> None:
        optimizer.zero_grad()
        with setting.autocast():
            loss = model.task.loss(model, batch)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
