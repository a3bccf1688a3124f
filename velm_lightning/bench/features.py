"""Measures a training epoch on cached features of a frozen encoder, on tensors in memory, and with the encoder itself.

All three train one model on the same batches and take turns within one process, so that other load on the machine
affects each of them. Ratios are computed per turn, and their median is reported. Images for the encoder are in memory.
Late fusion has the cheapest step, so that the ratios are largest with it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from lightning import seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader
from typing_extensions import override

from velm_lightning.bench.interleaved_timing import ratios, summary
from velm_lightning.bench.machine import device, device_name
from velm_lightning.bench.result import Result
from velm_lightning.data import MultimodalData, ShapeScenes
from velm_lightning.data.split import Split
from velm_lightning.encoders import TorchvisionCNN, TransformerTextEncoder
from velm_lightning.fusion import EarlyFusion, Fusion, InteractiveFusion, LateFusion
from velm_lightning.tasks import Classification
from velm_lightning.types import Sample

FUSIONS: dict[str, type[Fusion]] = {"early": EarlyFusion, "interactive": InteractiveFusion, "late": LateFusion}


def run(options: argparse.Namespace) -> list[Result]:
    """Return the table of the benchmark."""
    seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scenes = _Questions(train=options.samples, val=1, test=1, size=options.size)
        data = MultimodalData(scenes, batch_size=options.batch_size, cache_dir=Path(folder), cache_features=True)
        model = build(data, options)
        data.connect(model)
        splits = variants(data)
        times: dict[str, list[float]] = {name: [] for name in splits}
        for turn in range(options.turns + 1):  # the first turn warms up
            forwards = turn % 2 == 0
            for name in splits if forwards else reversed(splits):
                seconds = epoch(model, data, splits[name], turn)
                if turn:
                    times[name].append(seconds)
    return [report(model, splits["cached"], times)]


class _Questions(ShapeScenes):
    """ShapeScenes with one question per image."""

    @override
    def split(self, name: str) -> Sequence[Sample]:
        return list({id(sample.image): sample for sample in super().split(name)}.values())


def build(data: MultimodalData, options: argparse.Namespace) -> Fusion:
    """Return the model to train."""
    model = FUSIONS[options.fusion](
        vocabulary=data.vocabulary,
        image_encoder=TorchvisionCNN(options.encoder, weights=None, size=options.size),
        text_encoder=TransformerTextEncoder(dim=options.dim, depth=2, dropout=0.0),
        task=Classification(dropout=0.0),
    )
    return model.to(device())


class _InMemory:
    """A feature store that holds one tensor in memory."""

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return the features (N, M, D) of samples, as ``FeatureStore.fetch`` does."""
        return self.tokens.index_select(0, torch.as_tensor(indices))


def variants(data: MultimodalData) -> dict[str, Split]:
    """Return the training split with cached features, with features in memory, and with images."""
    cached = data.with_features("train")
    assert cached.features is not None, "the data module is connected to the encoder"
    memory, pictures = copy(cached), copy(cached)
    tokens: Any = _InMemory(cached.features.fetch(range(len(cached))).clone())
    memory.features, pictures.features = tokens, None
    return {"cached": cached, "memory": memory, "encoder": pictures}


def epoch(model: Fusion, data: MultimodalData, split: Split, number: int) -> float:
    """Train for an epoch in a plain loop and return the seconds that it took."""
    order = data.train_order()
    order.set_epoch(number)
    loader = DataLoader(split, batch_size=order.batch_size, sampler=order, collate_fn=lambda batch: batch)
    optimizer = model.optimization.configure(model, order.steps)["optimizer"]
    model.train()
    started = time.perf_counter()
    for batch in loader:
        optimizer.zero_grad()
        loss = model.task.loss(model, batch.to(model.device))
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    loss.item()  # waits for the GPU
    return time.perf_counter() - started


def report(model: Fusion, split: Split, times: dict[str, list[float]]) -> Result:
    """Return the time of an epoch in each form and the ratios."""
    assert split.features is not None
    tokens = split.features.fetch([0])
    size = tokens.nbytes * len(split) / 1e6
    title = f"an epoch of {len(split)} samples, {tuple(tokens.shape[1:])} tokens, {size:.0f} MB of features"
    memory, cached_times, encoder = (times[name] for name in ("memory", "cached", "encoder"))
    return summary(
        f"{title}, {device_name()}",
        {
            "tensors in memory, s": memory,
            "features cached on disk, s": cached_times,
            "encoder in the loop, s": encoder,
            "cached / in memory": ratios(cached_times, memory),
            "encoder in the loop / cached": ratios(encoder, cached_times),
        },
    )
