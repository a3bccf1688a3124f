"""Packed weights: the same results, made once, and only where nothing learns and enough rows pass."""

import pytest
import torch
from torch import nn

from velm_lightning.tasks.packing import PackedLinear

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_results_are_the_same_and_weights_are_packed_once(bias):
    layer, x = nn.Linear(24, 10, bias), torch.randn(4, 8, 24)
    fast = PackedLinear()
    for _ in range(2):
        with fast:
            found = layer(x)
        torch.testing.assert_close(found, layer(x))
    assert list(fast.packed) == [layer.weight]


@torch.no_grad()
def test_few_rows_other_precisions_and_changing_weights_go_their_usual_way():
    layer, double, fast = nn.Linear(24, 10), nn.Linear(24, 10).double(), PackedLinear()
    few, many = torch.randn(3, 24), torch.randn(50, 24)
    with fast:
        assert torch.equal(layer(few), few @ layer.weight.T + layer.bias)
        double(many.double())
        nn.functional.linear(many, layer.weight * 2)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(many).dtype == torch.bfloat16
    assert not fast.packed


def test_gradients_flow_as_ever():
    layer, fast = nn.Linear(24, 10), PackedLinear()
    with fast:
        layer(torch.randn(50, 24)).sum().backward()
    assert layer.weight.grad is not None
    assert not fast.packed
