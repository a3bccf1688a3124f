"""Measures throughput, FLOPs and utilisation of each fusion in training and inference, with the same encoders.

The fusions take turns within one process, so that other load on the machine affects each of them. Throughputs are
medians over the turns, and the ratio to late fusion is computed per turn. Utilisation is the FLOP/s of a training step
(forward and backward, counted on the timed batch) divided by the FLOP/s that the same device reaches in large matrix
products of the same precision in the same run; no data sheet is used.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

import torch

from velm_lightning.bench.interleaved_timing import ratios
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.machine import device, device_name, matmul_speed, seconds
from velm_lightning.bench.result import Result
from velm_lightning.data import MultimodalData, ShapeScenes
from velm_lightning.encoders import SmallViT, TransformerTextEncoder
from velm_lightning.fusion import EarlyFusion, Fusion, ImageOnly, InteractiveFusion, LateFusion, TextOnly
from velm_lightning.inspection.cost import Flops, flops
from velm_lightning.tasks import Classification
from velm_lightning.training.compiling import compile_layers
from velm_lightning.types import Batch

FUSIONS: tuple[type[Fusion], ...] = (LateFusion, EarlyFusion, InteractiveFusion, TextOnly, ImageOnly)


class Entry(NamedTuple):
    """A fusion with its FLOPs and the seconds of a training step and of a forward pass, per turn."""

    model: Fusion
    flops: Flops
    training: list[float]
    inference: list[float]


def run(options: argparse.Namespace) -> list[Result]:
    """Return the table of the benchmark."""
    torch.manual_seed(0)
    where = device()
    data = MultimodalData(ShapeScenes(train=options.batch_size, val=1, test=1, size=options.size))
    autocast = partial(torch.autocast, where.type, torch.bfloat16, enabled=options.bf16)
    entries, batch = [], None
    for kind in FUSIONS:
        model = build(kind, data, options)
        if batch is None:
            data.connect(model)
            batch = data.split("train").pictured(range(options.batch_size)).to(where)
        entries.append(Entry(model.to(where), flops(model.to(where), [batch]), [], []))
        if options.compile:
            compile_layers(model)
    assert batch is not None
    peak = []
    for turn in range(options.turns + 1):  # the first turn warms up
        speed = matmul_speed(torch.bfloat16 if options.bf16 else torch.float32)
        taken = [measure(entry.model, batch, options.steps, autocast) for entry in entries]
        if turn:
            peak.append(speed)
            for entry, (training, inference) in zip(entries, taken, strict=True):
                entry.training.append(training)
                entry.inference.append(inference)
    return [report(entries, batch.size, statistics.median(peak))]


def build(kind: type[Fusion], data: MultimodalData, options: argparse.Namespace) -> Fusion:
    """Return a fusion of a Vision Transformer and a Transformer."""
    heads = max(1, options.dim // 64)
    return kind(
        vocabulary=data.vocabulary,
        image_encoder=SmallViT(options.size, patch=8, dim=options.dim, depth=options.depth, heads=heads),
        text_encoder=TransformerTextEncoder(options.dim, options.depth, heads, dropout=0.0),
        task=Classification(dropout=0.0),
    )


def measure(
    model: Fusion, batch: Batch, steps: int, autocast: Callable[[], AbstractContextManager[None]]
) -> tuple[float, float]:
    """Return the seconds of a training step, optimiser included, and of a forward pass."""
    optimizer = model.optimization.configure(model, steps)["optimizer"]

    def train() -> None:
        optimizer.zero_grad()
        with autocast():
            loss = model.task.loss(model, batch)
        torch.autograd.backward(loss)
        optimizer.step()

    def infer() -> None:
        with torch.inference_mode(), autocast():
            model(batch)

    model.train()
    training = seconds(train, steps)
    model.eval()
    return training, seconds(infer, steps)


def report(entries: list[Entry], samples: int, peak: float) -> Result:
    """Return a table with one row per fusion."""
    table = Result(
        f"batches of {samples}; matrix products reach {peak / 1e12:.2f} TFLOP/s on {device_name()}",
        (
            "",
            "parameters, M",
            "training MFLOPs",
            "inference MFLOPs",
            "training/s",
            "inference/s",
            "step / late",
            "utilisation",
        ),
    )
    for entry in entries:
        table.add_row(
            type(entry.model).__name__,
            sum(p.numel() for p in entry.model.parameters()) / 1e6,
            entry.flops.training / 1e6,
            entry.flops.inference / 1e6,
            Interval.of([samples / step for step in entry.training]),
            Interval.of([samples / step for step in entry.inference]),
            Interval.of(ratios(entry.training, entries[0].training)),
            f"{entry.flops.training * samples / statistics.median(entry.training) / peak:.0%}",
        )
    return table
