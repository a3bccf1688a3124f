"""Packed weights: the same results, made once, and only where nothing learns and enough rows pass."""

import copy

import pytest
import tiny
import torch
from torch import nn

from velm_lightning.attention import FeedForward
from velm_lightning.fusion import EarlyFusion
from velm_lightning.tasks import Generation, packing
from velm_lightning.tasks.packing import PackedFeedForward, PackedLinear, packed_layers, running

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
X = torch.randn(4, 8, 24)


@needs_onednn
@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("small", [0, packing._SMALL])
@torch.no_grad()
def test_results_are_the_same_and_weights_are_packed_once(small, bias, gelu, monkeypatch):
    monkeypatch.setattr(packing, "_SMALL", small)
    layer = nn.Linear(24, 10, bias)
    fast, slow = PackedLinear(layer, gelu), nn.Sequential(layer, nn.GELU()) if gelu else layer
    torch.testing.assert_close(fast(X), slow(X))
    made = fast.packed
    torch.testing.assert_close(fast(X[:, 0]), slow(X[:, 0]))
    assert fast.packed is made
    torch.testing.assert_close(fast(X[0, :2]), slow(X[0, :2]))  # too few rows


@needs_onednn
@torch.no_grad()
def test_a_feed_forward_runs_as_one():
    model = nn.Sequential(FeedForward(24, 48), nn.Linear(24, 10))
    want = model(X)
    layers = packed_layers(model)
    assert [one.layer for one in layers] == [model[0], model[1]]
    with running(layers):
        torch.testing.assert_close(model(X), want)
    whole = layers[0]
    assert isinstance(whole, PackedFeedForward)
    assert whole.first.packed is not None


@needs_onednn
@torch.no_grad()
def test_weights_that_have_changed_are_packed_again():
    layer = nn.Linear(24, 10)
    fast = PackedLinear(layer)
    fast(X)
    layer.weight.mul_(2)
    torch.testing.assert_close(fast(X), layer(X))
    layer.weight = nn.Parameter(torch.ones(10, 24))
    torch.testing.assert_close(fast(X), layer(X))


def test_few_rows_other_precisions_and_gradients_go_their_usual_way():
    layer, double = nn.Linear(24, 10), nn.Linear(24, 10).double()
    fast, of_double = PackedLinear(layer), PackedLinear(double)
    fast(X).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        assert torch.equal(fast(X[0, :3]), layer(X[0, :3]))
        assert of_double(X.double()).dtype == torch.float64
        with torch.autocast("cpu", torch.bfloat16):
            assert fast(X).dtype == torch.bfloat16
    assert fast.packed is None
    assert of_double.packed is None


def test_layers_do_their_own_again_afterwards():
    model = nn.Sequential(nn.Linear(24, 10), nn.ReLU())
    layers = packed_layers(model)
    with running(layers):
        assert [model[0].forward] == layers
    assert "forward" not in vars(model[0])


@needs_onednn
def test_compiled_layers_are_left_alone():
    model = nn.Sequential(nn.Sequential(nn.Linear(24, 10)), nn.Linear(10, 10))
    model[0].compile(backend="eager")
    assert [one.layer for one in packed_layers(model)] == [model[1]]


@needs_onednn
def test_packed_weights_are_kept_while_a_model_evaluates():
    model = tiny.fusion(EarlyFusion, task=Generation()).eval()
    batch = tiny.batch(tiny.translations() * 2, model.vocabulary)
    said = model.task.sentences(model, batch)
    layers = model.task.packed(model)
    assert any(isinstance(one, PackedLinear) and one.packed is not None for one in layers)
    assert model.task.sentences(model, batch) == said
    assert model.task.packed(model) is layers
    model.train().eval()
    assert model.task.packed(model) is not layers
    again = copy.deepcopy(model).task.sentences(model, batch)  # other places in memory: another rounding
    assert [one.ids for found in again for one in found] == [one.ids for found in said for one in found]
    likely = [[one.log_probability for found in each for one in found] for each in (again, said)]
    assert likely[0] == pytest.approx(likely[1], rel=1e-6)
