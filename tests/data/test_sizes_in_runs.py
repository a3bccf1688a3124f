"""A model of images that are not square, and one of tiles, through training, features and predictions."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from helpers import python_runs, tiny
from helpers.command_line import CONF, FEW, prepared
from lightning.pytorch.callbacks import Callback
from PIL import Image

import velm_lightning as velm
from velm_lightning.encoders import SmallCNN, SmallViT, TiledEncoder
from velm_lightning.inspection.cost import flops
from velm_lightning.inspection.explain import explain
from velm_lightning.inspection.heat_overlay import evidence_heat, overlay
from velm_lightning.types import InputError

SIZES = [(1, 1), (1, 500), (500, 1), (30, 400), (400, 100), (48, 48), (60, 45), (33, 100)]
ENCODERS = {
    "wide": lambda: SmallCNN([16, 48], widths=(4, 8), dim=8, transform={"resize": "pad"}),
    "tiles": lambda: TiledEncoder(SmallViT(16, patch=8, dim=8, depth=1, heads=2), tiles=3),
}


def table(folder):
    """Twelve images of all sizes and shapes, with a colour as the answer; a tenth is held out."""
    rows = []
    for number in range(16):
        colour = ("red", "blue")[number % 2]
        Image.new("RGB", SIZES[number // 2], colour).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "text": "what colour ?", "answers": colour})
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return velm.DataFiles(folder / "t.jsonl", holdout=0.2)


def module(folder, **options):
    return velm.MultimodalData(table(folder), batch_size=4, cache_dir=folder / "cache", **options)


def model_of(kind, data, fusion=velm.EarlyFusion, **encoder):
    torch.manual_seed(0)
    return tiny.fusion(fusion, image_encoder=ENCODERS[kind](**encoder), vocabulary=data.vocabulary)


def trained(model, data, folder):
    trainer = python_runs.trainer(folder, enable_checkpointing=False)
    python_runs.quietly(trainer.fit, model, data)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("mode", ["memory", "disk", "disabled"])
def test_batches_mix_images_of_all_sizes(tmp_path, kind, mode):
    data = module(tmp_path, image_cache=mode)
    model = model_of(kind, data)
    trained(model, data, tmp_path)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("kind", ENCODERS)
def test_maps_have_the_grid_and_costs_are_counted(tmp_path, kind):
    data = module(tmp_path)
    model = model_of(kind, data).eval()
    data.connect(model)
    batch = data.split("train").pictured(range(4))
    maps = explain(model, batch, ["red"] * 4)
    rows, columns = model.grid
    assert maps.attention.shape == maps.evidence.shape == (4, rows, columns)
    assert overlay(batch.image[0], evidence_heat(maps.evidence[0])).shape == (*model.transform.shape[1:], 3)
    assert flops(model, [batch]).training > 0


@pytest.mark.parametrize("kind", ENCODERS)
def test_features_of_another_size_are_computed_again(tmp_path, kind):
    data = module(tmp_path, cache_features=True)
    for _ in range(2):
        model = model_of(kind, data)
        model.image_encoder.requires_grad_(False)
        trained(model, data, tmp_path)
        folders = {path.name for path in (tmp_path / "cache/features").iterdir()}
        assert len(folders) == 1
    other = tiny.fusion(image_encoder=tiny.cnn(size=32).requires_grad_(False), vocabulary=data.vocabulary)
    trained(other, data, tmp_path)
    assert {path.name for path in (tmp_path / "cache/features").iterdir()} > folders


@pytest.mark.parametrize("kind", ENCODERS)
def test_any_image_is_predicted_as_in_a_batch(tmp_path, kind):
    data = module(tmp_path)
    model = model_of(kind, data)
    images = [np.zeros((height, width, 3), np.uint8) for width, height in SIZES]
    together = model.predict([*images, None], "what colour ?", top_k=2)
    apart = [model.predict([image], "what colour ?", top_k=2)[0] for image in [*images, None]]
    for a, b in zip(together, apart, strict=True):
        assert [answer.text for answer in a] == [answer.text for answer in b]
        assert a[0].probability == pytest.approx(b[0].probability, abs=1e-5)


def test_tiles_are_not_augmented(tmp_path):
    data = module(tmp_path, augment=[torch.nn.Identity()])
    with pytest.raises(InputError, match=r"data\.augment changes an image after it was cut into tiles"):
        data.connect(model_of("tiles", data))


def test_the_command_line_sets_size_transform_and_tiles(monkeypatch):
    wide = ["size=[32,96]", "transform.resize=pad", "transform.depth=percentile"]
    chosen = [f"--model.init_args.image_encoder.init_args.{argument}" for argument in wide]
    chosen = [word for words in chosen for word in words.split("=")]
    cli = prepared(monkeypatch, "fit", "--config", CONF / "vqa.yaml", *FEW, *chosen)
    assert cli.model.transform[:2] == ((32, 96), "pad")
    assert cli.model.transform.depth == "percentile"
    tiled = CONF / "encoders/tiled_vit.yaml"
    cli = prepared(
        monkeypatch, "fit", "--config", CONF / "vqa.yaml", *FEW, "--model.init_args.image_encoder", tiled,
        "--model.init_args.image_encoder.init_args.tiles", 2,
    )  # fmt: skip
    assert cli.model.grid == (3 * 6, 6)


class Stop(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_resumed_run_has_the_losses_of_one_without_a_break(tmp_path, kind):
    def fitted(name, **options):
        data = module(tmp_path)
        given = {"runs": tmp_path / name, "max_epochs": 4, "log_every_n_steps": 1, "pictures": 0} | python_runs.SILENT
        return python_runs.quietly(velm.fit, model_of(kind, data), data, **given | options)

    whole = fitted("whole")
    with pytest.raises(KeyboardInterrupt):
        fitted("parts", callbacks=[Stop()])
    (record,) = (tmp_path / "parts").glob("*/*/run.json")
    resumed = fitted("parts", resume=record.parent)
    lines = [(run.folder / "metrics.csv").read_text().splitlines() for run in (whole, resumed)]
    losses = [[line.split(",")[:2] for line in part[1:]] for part in lines]
    assert losses[0] == losses[1]
    assert len(losses[0]) > 6
