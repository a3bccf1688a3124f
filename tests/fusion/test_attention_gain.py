"""The initial scale of queries and keys: applied once, to a new training, in every fusion alike."""

import pytest
import torch
from helpers import tiny

from velm_lightning.fusion import EarlyFusion, InteractiveFusion, InterleavedFusion, MixtureOfTransformers
from velm_lightning.io.configurable import build, to_config
from velm_lightning.nn.attention import Attention
from velm_lightning.types import InputError


def attentions(model):
    return [module for module in model.modules() if isinstance(module, Attention)]


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, InterleavedFusion])
def test_queries_and_keys_are_scaled_and_values_are_not(kind):
    torch.manual_seed(0)
    plain = tiny.fusion(kind)
    torch.manual_seed(0)
    scaled = tiny.fusion(kind, attention_gain=2.0)
    scaled.setup("fit")
    assert attentions(plain)
    for before, after in zip(attentions(plain), attentions(scaled), strict=True):
        width = len(before.query.weight)
        assert torch.equal(after.query.weight, 2 * before.query.weight)
        assert torch.equal(after.key_value.weight[:width], 2 * before.key_value.weight[:width])
        assert torch.equal(after.key_value.weight[width:], before.key_value.weight[width:])


def test_keys_of_the_image_in_a_layer_of_words_are_scaled():
    torch.manual_seed(0)
    plain = tiny.fusion(MixtureOfTransformers)
    torch.manual_seed(0)
    scaled = tiny.fusion(MixtureOfTransformers, attention_gain=2.0)
    scaled.setup("fit")
    before, after = (model.last_key_value.weight.chunk(2) for model in (plain, scaled))
    assert torch.equal(after[0], 2 * before[0])
    assert torch.equal(after[1], before[1])


def test_a_second_training_of_a_model_is_not_scaled_again():
    model = tiny.fusion(EarlyFusion, attention_gain=2.0)
    model.setup("fit")
    weight = attentions(model)[0].query.weight.clone()
    model.setup("fit")
    assert torch.equal(attentions(model)[0].query.weight, weight)


def test_a_model_that_is_rebuilt_from_its_config_is_not_scaled():
    rebuilt = build(to_config(tiny.fusion(EarlyFusion, attention_gain=2.0)))
    weight = attentions(rebuilt)[0].query.weight.clone()
    rebuilt.setup("fit")
    assert torch.equal(attentions(rebuilt)[0].query.weight, weight)
    assert to_config(rebuilt)["init_args"]["attention_gain"] == 2.0


def test_with_a_gain_of_2_logits_initially_vary_by_16_9():
    torch.manual_seed(0)
    model = tiny.fusion(EarlyFusion, attention_gain=2.0, text_encoder=tiny.transformer(dim=256, heads=4))
    model.setup("fit")
    attention, x = attentions(model.text_encoder)[0], torch.randn(64, 256)
    query, key = attention.query(x), attention.key_value(x)[:, :256]
    logits = torch.stack([q @ k.T / 8 for q, k in zip(query.split(64, 1), key.split(64, 1), strict=True)])
    assert 0.7 < logits.var().item() < 2.2


def test_a_gain_of_0_is_refused():
    with pytest.raises(InputError, match="attention_gain must be a finite number above 0, got 0"):
        tiny.fusion(EarlyFusion, attention_gain=0.0)
