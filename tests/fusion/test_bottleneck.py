"""Image and text exchange information through a few shared tokens."""

import pytest
import torch
from helpers import tiny

from velm_lightning.fusion import BottleneckFusion
from velm_lightning.nn.attention import record_attention
from velm_lightning.types import InputError


@pytest.fixture
def model():
    return tiny.fusion(BottleneckFusion, count=2, depth=3, heads=2).eval()


@torch.no_grad()
def test_each_side_attends_to_itself_and_the_bottleneck_only(model, batch):
    cells, words = model.grid[0] * model.grid[1], batch.ids.shape[1]
    with record_attention() as maps:
        model(batch)
    sides = [
        {weights.shape[-1] for owner, weights in maps if owner in set(layers.modules())}
        for layers in (model.text_layers, model.image_layers)
    ]
    assert sides == [{2 + words}, {2 + cells}]


@torch.no_grad()
def test_both_sides_see_the_same_bottleneck_tokens(model, batch):
    inputs = []
    for layers in (model.text_layers[:2], model.image_layers):
        for layer in layers:
            layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0][:, :2]))
    model(batch)
    first, second = inputs[:2], inputs[2:]  # text and image, layer by layer
    assert torch.equal(*first)
    assert torch.equal(*second)
    assert not torch.equal(first[0], second[0])


@torch.no_grad()
def test_the_bottleneck_does_not_depend_on_target_words(model, sentences):
    states = []
    model.text_layers[-1].register_forward_pre_hook(lambda _, given: states.append(given[0][:, :2]))
    model(sentences)
    model(sentences._replace(ids=sentences.ids.masked_fill(sentences.block_ids > 0, model.vocabulary.unknown)))
    model(sentences._replace(image=sentences.image.flip(0)))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("given", [{"count": 0}, {"depth": 1}])
def test_a_bottleneck_that_passes_nothing_is_refused(given):
    with pytest.raises(InputError, match="model.count must be at least 1 and model.depth at least 2, got"):
        tiny.fusion(BottleneckFusion, **given)
