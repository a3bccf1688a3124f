"""The input pipeline against the appetite of the card: JPEG files, the uint8 cache, and kept features."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from typing_extensions import override

from velm_lightning.bench.gpu.cases import Case, Table
from velm_lightning.bench.gpu.setting import Setting
from velm_lightning.bench.gpu.training import training_step
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.machine import seconds, wait
from velm_lightning.bench.result import Cell
from velm_lightning.data import MultimodalData
from velm_lightning.fusion import EarlyFusion, Fusion
from velm_lightning.io.threads import threads
from velm_lightning.types import Dataset, Sample

COLUMNS = ("samples/s", "appetite of the card, samples/s", "read / appetite")
JPEG_SIZE = (640, 480)
CAPTION = "a photo of noise"


class Photos(Dataset):
    """A folder of JPEG files of smooth noise, one caption each.

    Args:
        folder: folder to write the files to.
        count: number of files.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        with threads() as pool:
            paths = list(pool.map(self._write, range(count)))
        self.samples = [Sample(path.stem, path, "", CAPTION, (CAPTION,)) for path in paths]

    def _write(self, index: int) -> Path:
        coarse = np.random.default_rng(index).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        path = self.folder / f"{index}.jpg"
        Image.fromarray(coarse).resize(JPEG_SIZE, Image.Resampling.BICUBIC).save(path, quality=90)
        return path

    @override
    def split(self, name: str) -> Sequence[Sample]:
        return self.samples if name == "train" else []


class Reading:
    """The files and the appetite of the card, which the cases share; made on first use.

    Args:
        setting: the setting of the run.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, self.pair = setting, setting.models.hugging_face

    @cached_property
    def photos(self) -> Photos:
        """The files."""
        return Photos(self.setting.folder, 8 if self.setting.small else 1024)

    def model(self, frozen: bool) -> Fusion:
        """Return the model that is fed, with a frozen or a trained image encoder."""
        model = self.pair.build(EarlyFusion)
        if frozen:
            model.image_encoder.freeze(0)  # type: ignore[operator]
        return model.to(self.setting.device)

    @cached_property
    def appetite(self) -> dict[bool, float]:
        """Samples that the card trains per second, by whether it reads kept features."""
        result = {}
        for features in (False, True):
            batch = self.pair.batch(self.setting.batch_size)
            if features:
                patches, width = self.pair.shapes.patches, self.pair.image_tower.dim
                batch = batch._replace(image=torch.randn(batch.size, patches, width))
            step = training_step(self.setting, self.model(features), batch.to(self.setting.device))
            result[features] = batch.size / seconds(step, self.setting.steps)
        return result


def tables(setting: Setting) -> dict[str, Table]:
    """Return the table of this file."""
    width, height = JPEG_SIZE
    title = f"reading batches of {setting.batch_size} onto the device from JPEG files of {width} x {height} pixels"
    return {"input": Table(f"{title}, {os.cpu_count()} cores, for {setting.models.hugging_face.name}", COLUMNS)}


def cases(setting: Setting) -> list[Case]:
    """Return the cases of this file."""
    cores, reading = os.cpu_count() or 1, Reading(setting)
    counts = [0] if setting.small else sorted({0, max(1, cores // 2), cores})
    result = []
    for workers in counts:
        measured = partial(measure, reading, "disabled", workers)
        result.append(Case("input", f"JPEG files, {workers} loader processes", 6, 20.0, measured))
    result.append(Case("input", "uint8 cache on disk", 6, 25.0, partial(measure, reading, "disk", 0)))
    result.append(Case("input", "kept features", 7, 30.0, partial(measure, reading, "disabled", 0, True)))
    return result


def measure(
    reading: Reading, cache: Literal["disabled", "disk"], workers: int, features: bool = False
) -> Mapping[str, Cell]:
    """Return the samples per second that arrive on the device, one value per epoch after a first one."""
    setting = reading.setting
    data = MultimodalData(
        reading.photos,
        batch_size=setting.batch_size,
        num_workers=workers,
        image_cache=cache,
        cache_dir=setting.folder / "cache",
        cache_features=features,
    )
    data.connect(_WithVocabulary(reading.model(features), data))
    loader, rates = data.train_dataloader(), []
    for _ in range(3 if setting.small else 4):
        started, count = time.perf_counter(), 0
        for batch in loader:
            count += batch.to(setting.device).size
        wait()
        rates.append(count / (time.perf_counter() - started))
    appetite = reading.appetite[features]
    return {
        "samples/s": Interval.of(rates[1:]),
        "appetite of the card, samples/s": appetite,
        "read / appetite": Interval.of([rate / appetite for rate in rates[1:]]),
    }


class _WithVocabulary:
    """A model with the vocabulary of the files, so that their captions are encoded by it."""

    def __init__(self, model: Fusion, data: MultimodalData) -> None:
        self.vocabulary, self.transform = data.vocabulary, model.transform
        self.image_encoder: Any = model.image_encoder
