"""Packed weights: the same results, made once, and only where nothing learns and enough rows pass."""

import copy

import pytest
import torch
from helpers import tiny
from torch import nn

from velm_lightning.fusion import EarlyFusion
from velm_lightning.nn import packed as packing
from velm_lightning.nn.attention import Attention, FeedForward
from velm_lightning.nn.packed import PackedFeedForward, PackedLinear, PackedProjections, Packing
from velm_lightning.tasks import Generation

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
    fast, slow = PackedLinear(layer, gelu=gelu), nn.Sequential(layer, nn.GELU()) if gelu else layer
    torch.testing.assert_close(fast(X), slow(X))
    made = fast.packed
    torch.testing.assert_close(fast(X[:, 0]), slow(X[:, 0]))
    assert fast.packed is made
    assert torch.equal(fast(X[0, :3]), slow(X[0, :3]))  # too few rows


@needs_onednn
@torch.no_grad()
def test_a_feed_forward_runs_as_one():
    model = nn.Sequential(FeedForward(24, 48), nn.Linear(24, 10))
    want, packing = model(X), Packing(model)
    with packing.running():
        torch.testing.assert_close(model(X), want)
    whole = packing.layers[0]
    assert isinstance(whole, PackedFeedForward)
    assert whole.first.packed is not None


@needs_onednn
@torch.no_grad()
def test_tokens_that_read_themselves_are_projected_in_one_product():
    attention = Attention(24, 2)
    want, few, packing = attention(X), attention(X[:1, :2]), Packing(attention)
    with packing.running():
        torch.testing.assert_close(attention(X), want)
        torch.testing.assert_close(attention(X[:1, :2]), few)  # too few rows
    whole, query, _, _ = packing.layers
    assert isinstance(whole, PackedProjections)
    assert whole.joined.packed is not None
    assert query.packed is None  # what is not used is not packed


@needs_onednn
def test_it_says_whether_the_weights_are_still_those_that_were_packed():
    layer = nn.Linear(24, 10)
    first = Packing(layer)
    assert first.is_of(layer)
    with torch.no_grad():
        layer.weight.mul_(2)
    assert not first.is_of(layer)
    second = Packing(layer)
    layer.weight = nn.Parameter(torch.ones(10, 24))
    assert not second.is_of(layer)


@needs_onednn
@torch.no_grad()
def test_weights_that_have_changed_are_packed_again():
    model, task = nn.Sequential(nn.Linear(24, 10)), Generation()
    for change in (lambda: None, lambda: model[0].weight.mul_(2), lambda: model[0].bias.add_(1)):
        change()
        want = model(X)
        with task.packed(model).running():
            torch.testing.assert_close(model(X), want)
    model[0].weight = nn.Parameter(torch.ones(10, 24))
    want = model(X)
    with task.packed(model).running():
        torch.testing.assert_close(model(X), want)


@needs_onednn
def test_other_precisions_and_gradients_go_their_usual_way():
    layer, double = nn.Linear(24, 10), nn.Linear(24, 10).double()
    packing, of_double = Packing(layer), Packing(double)
    with packing.running():
        layer(X).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad(), of_double.running():
        assert double(X.double()).dtype == torch.float64
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), packing.running():
        assert layer(X).dtype == torch.bfloat16
    assert not of_double.layers
    assert packing.layers[0].packed is None


def test_layers_do_their_own_again_afterwards():
    model = nn.Sequential(nn.Linear(24, 10), nn.ReLU())
    packing = Packing(model)
    with torch.no_grad(), packing.running():
        assert [model[0].forward] == packing.layers
    assert "forward" not in vars(model[0])


@needs_onednn
def test_compiled_layers_are_left_alone():
    model = nn.Sequential(nn.Sequential(nn.Linear(24, 10)), nn.Linear(10, 10))
    model[0].compile(backend="eager")
    assert [one.layer for one in Packing(model).layers] == [model[1]]


@needs_onednn
def test_packed_weights_are_kept_while_a_model_evaluates():
    model = tiny.fusion(EarlyFusion, task=Generation()).eval()
    batch = tiny.batch(tiny.translations() * 2, model.vocabulary)
    said = model.task.sentences(model, batch)
    packing = model.task.packed(model)
    assert any(isinstance(one, PackedLinear) and one.packed is not None for one in packing.layers)
    assert model.task.sentences(model, batch) == said
    assert model.task.packed(model) is packing
    model.train().eval()
    assert model.task.packed(model) is not packing
    again = copy.deepcopy(model).task.sentences(model, batch)  # other places in memory: another rounding
    assert [one.ids for found in again for one in found] == [one.ids for found in said for one in found]
    likely = [[one.log_probability for found in each for one in found] for each in (again, said)]
    assert likely[0] == pytest.approx(likely[1], rel=1e-6)
