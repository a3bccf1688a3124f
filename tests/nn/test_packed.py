"""Packed weights: equal results, packed once, only without gradients, and a fallback to plain layers."""

import copy
from types import SimpleNamespace

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


@pytest.fixture
def unchecked():
    """Forget the result of the check of the operators, before and after a test."""
    packing.onednn_linear.cache_clear()
    yield
    packing.onednn_linear.cache_clear()


def plain_model():
    return nn.Sequential(FeedForward(24, 48), nn.Linear(24, 10))


@torch.no_grad()
def test_layers_stay_plain_if_the_operators_are_missing(unchecked, monkeypatch):
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    model = plain_model()
    expected, packed = model(X), Packing(model)
    assert not packed.layers
    with packed.running():
        assert torch.equal(model(X), expected)


@needs_onednn
@torch.no_grad()
def test_layers_stay_plain_if_the_operator_differs(unchecked, monkeypatch):
    real = torch.ops.mkldnn
    for differs in ("gelu", "none"):  # the activation for which the operator returns another result
        packing.onednn_linear.cache_clear()

        def wrong(x, weight, bias, activation, *rest, differs=differs):
            return real._linear_pointwise(x, weight, bias, activation, *rest) + 0.01 * (activation == differs)

        fake = SimpleNamespace(_linear_pointwise=wrong, _reorder_linear_weight=real._reorder_linear_weight)
        monkeypatch.setattr(torch.ops, "mkldnn", fake)
        model = plain_model()
        expected, packed = model(X), Packing(model)
        assert not any(isinstance(layer, PackedFeedForward) for layer in packed.layers), "it needs both operators"
        assert bool(packed.layers) == (differs == "gelu")
        with packed.running():
            torch.testing.assert_close(model(X), expected)


@needs_onednn
def test_the_operators_are_checked_once_and_without_global_rng(unchecked, monkeypatch):
    calls, check = [], packing._equals_plain
    monkeypatch.setattr(packing, "_equals_plain", lambda *arguments: calls.append(arguments) or check(*arguments))
    state = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(packing.onednn_linear(gelu) for gelu in (True, False, True, False))
    assert len(calls) == 2
    assert torch.equal(torch.get_rng_state(), state)


@needs_onednn
@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("small", [0, packing._SMALL])
@torch.no_grad()
def test_results_are_equal_and_weights_are_packed_once(small, bias, gelu, monkeypatch):
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
def test_a_feed_forward_is_packed_as_one():
    model = nn.Sequential(FeedForward(24, 48), nn.Linear(24, 10))
    want, packing = model(X), Packing(model)
    with packing.running():
        torch.testing.assert_close(model(X), want)
    whole = packing.layers[0]
    assert isinstance(whole, PackedFeedForward)
    assert whole.first.packed is not None


@needs_onednn
@torch.no_grad()
def test_self_attention_projects_in_one_product():
    attention = Attention(24, 2)
    want, few, packing = attention(X), attention(X[:1, :2]), Packing(attention)
    with packing.running():
        torch.testing.assert_close(attention(X), want)
        torch.testing.assert_close(attention(X[:1, :2]), few)  # too few rows
    whole, query, _, _ = packing.layers
    assert isinstance(whole, PackedProjections)
    assert whole.joined.packed is not None
    assert query.packed is None  # unused layers are not packed


@needs_onednn
def test_changed_weights_are_detected():
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
def test_changed_weights_are_packed_again():
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
def test_other_precisions_and_gradients_use_plain_layers():
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


def test_layers_are_restored_afterwards():
    model = nn.Sequential(nn.Linear(24, 10), nn.ReLU())
    packing = Packing(model)
    with torch.no_grad(), packing.running():
        assert [model[0].forward] == packing.layers
    assert "forward" not in vars(model[0])


@needs_onednn
def test_compiled_layers_stay_plain():
    model = nn.Sequential(nn.Sequential(nn.Linear(24, 10)), nn.Linear(10, 10))
    model[0].compile(backend="eager")
    assert [packed.layer for packed in Packing(model).layers] == [model[1]]


@needs_onednn
def test_packed_weights_are_kept_while_a_model_evaluates():
    model = tiny.fusion(EarlyFusion, task=Generation()).eval()
    batch = tiny.batch(tiny.translations() * 2, model.vocabulary)
    sentences = model.task.sentences(model, batch)
    packing = model.task.packed(model)
    assert any(isinstance(layer, PackedLinear) and layer.packed is not None for layer in packing.layers)
    assert model.task.sentences(model, batch) == sentences
    assert model.task.packed(model) is packing
    model.train().eval()
    assert model.task.packed(model) is not packing
    again = copy.deepcopy(model).task.sentences(model, batch)  # other memory alignment, hence other rounding
    flat, flat_again = ([row for rows in results for row in rows] for results in (sentences, again))
    assert [row.ids for row in flat_again] == [row.ids for row in flat]
    likely = [[row.log_probability for row in rows] for rows in (flat_again, flat)]
    assert likely[0] == pytest.approx(likely[1], rel=1e-6)
