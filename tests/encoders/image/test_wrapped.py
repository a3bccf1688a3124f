"""Any PyTorch module as an image encoder."""

import pytest
import torch
from helpers import tiny
from torch import nn

from velm_lightning.encoders.image.wrapped import WrappedEncoder, supplying, wrap_encoder
from velm_lightning.fusion import Fusion, InteractiveFusion
from velm_lightning.io.configurable import Configurable, build, to_config
from velm_lightning.types import InputError


class Vector(nn.Module):
    """A vector per image; batch norm must not see the image that measures the grid."""

    def __init__(self):
        super().__init__()
        self.norm, self.map = nn.BatchNorm2d(3), nn.Linear(3, 6)

    def forward(self, x):
        return self.map(self.norm(x).mean((2, 3)))


class Rebuilt(Configurable, nn.Module):
    def __init__(self, width: int = 6):
        super().__init__()
        self.map = nn.Conv2d(3, width, 4, stride=4)

    def forward(self, x):
        return self.map(x).flatten(2).transpose(1, 2)


MODULES = {"map": lambda: nn.Conv2d(3, 6, 4, stride=4), "tokens": Rebuilt, "vector": Vector}
GRIDS = {"map": (4, 4), "tokens": (4, 4), "vector": (1, 1)}


@pytest.mark.parametrize("kind", MODULES)
def test_vectors_tokens_and_maps_become_tokens(kind, batch):
    encoder = wrap_encoder(MODULES[kind](), dim=6, size=16)
    rows, columns = GRIDS[kind]
    assert encoder.grid == (rows, columns)
    assert encoder(batch.image).embeddings.shape == (3, rows * columns, 6)
    model = tiny.fusion(InteractiveFusion, image_encoder=encoder)
    model.task.loss(model, batch).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_measuring_the_grid_changes_nothing():
    module = Vector()
    wrap_encoder(module, dim=6, size=16)
    assert module.training
    assert module.norm.num_batches_tracked == 0


def test_a_frozen_module_is_not_trained():
    assert wrap_encoder(Vector(), dim=6, size=16, trainable=False).frozen
    assert not wrap_encoder(Vector(), dim=6, size=16).frozen


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv2d(3, 5, 4), r"Conv2d returns \(1, 5, 13, 13\), whose width is 5, but dim=6"),
        (nn.Conv2d(4, 6, 4), r"Conv2d fails on an image \(1, 3, 16, 16\)"),
        (nn.Flatten(0), r"Flatten returns \(768,\): return a tensor"),
    ],
)
def test_a_module_of_another_kind_is_refused(module, message):
    with pytest.raises(InputError, match=message):
        wrap_encoder(module, dim=6, size=16)


def saved(model, path):
    content = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, path)


def same(model, again, batch):
    model.eval()
    return torch.equal(model(batch).embeddings, again(batch).embeddings)


def test_a_configurable_module_is_rebuilt_from_its_checkpoint(batch, tmp_path):
    model = tiny.fusion(image_encoder=wrap_encoder(Rebuilt(6), dim=6, size=16))
    saved(model, tmp_path / "a.ckpt")
    assert same(model, Fusion.load_from_checkpoint(tmp_path / "a.ckpt"), batch)


def test_another_module_is_given_when_its_checkpoint_is_loaded(batch, tmp_path):
    model = tiny.fusion(image_encoder=wrap_encoder(Vector(), dim=6, size=16))
    saved(model, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=r"wraps test_wrapped\.Vector, which a file cannot rebuild: give a module"):
        Fusion.load_from_checkpoint(tmp_path / "a.ckpt")
    with supplying(Vector()):
        assert same(model, Fusion.load_from_checkpoint(tmp_path / "a.ckpt"), batch)


def test_the_name_of_the_module_survives_a_second_checkpoint():
    first = to_config(wrap_encoder(Vector(), dim=6, size=16))
    with supplying(Vector()):
        assert to_config(build(first)) == first
    assert first["class_path"].endswith(WrappedEncoder.__name__)
