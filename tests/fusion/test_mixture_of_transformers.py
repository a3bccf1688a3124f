"""Mixture-of-Transformers: weights per modality, one attention over all tokens."""

import copy

import pytest
import torch
from helpers import tiny

from velm_lightning.fusion import EarlyFusion, MixtureOfTransformers
from velm_lightning.inspection.cost import flops
from velm_lightning.inspection.explain import explain
from velm_lightning.types import InputError


def made(**changes):
    return tiny.fusion(
        MixtureOfTransformers, text_encoder=tiny.transformer(**{"depth": 3, "dropout": 0.0} | changes)
    ).eval()


def with_equal_weights(model):
    """Copy the weights of the words to the image."""
    layers = model.text_encoder.layers
    for own, words in zip(model.image_layers, layers, strict=False):
        own.load_state_dict(words.state_dict())
    model.last_norm.load_state_dict(layers[-1].norm_self.state_dict())
    model.last_key_value.load_state_dict(layers[-1].self_attention.key_value.state_dict())
    return model


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
def test_with_equal_weights_it_is_early_fusion(causal, sentences):
    model = with_equal_weights(made(causal=causal))
    early = tiny.fusion(EarlyFusion, text_encoder=tiny.transformer(depth=3, causal=causal)).eval()
    weights = {name: value for name, value in model.state_dict().items() if name in early.state_dict()}
    early.load_state_dict(weights)
    torch.testing.assert_close(model(sentences).embeddings, early(sentences).embeddings, atol=1e-5, rtol=0.0)


@torch.no_grad()
def test_weights_of_the_image_reach_words_only_by_attention(batch):
    model = made()
    text_only = model.text_encoder.trunk(model.embed_text(batch.words)).embeddings
    changed = copy.deepcopy(model)
    for parameter in changed.image_layers.parameters():
        parameter.mul_(-1)
    assert not torch.allclose(changed(batch).embeddings, model(batch).embeddings)
    assert torch.equal(changed.text_encoder.trunk(changed.embed_text(batch.words)).embeddings, text_only)


def test_a_step_costs_at_most_that_of_early_fusion(batch):
    early = tiny.fusion(EarlyFusion, text_encoder=tiny.transformer(depth=3))
    mixture, plain = flops(made(), [batch]), flops(early, [batch])
    assert plain.inference // 2 < mixture.inference < plain.inference, "the last layer skips the image"


def test_sizes_follow_the_trunk():
    model = made(feed_forward=20, heads=4)
    assert [layer.feed_forward[0].out_features for layer in model.image_layers] == [20, 20]
    assert model.image_layers[0].self_attention.heads == 4


def test_attention_is_that_of_the_last_layer(batch):
    maps = explain(made(), batch, ["yes"] * batch.size)
    assert maps.attention.shape == (batch.size, *made().grid)


@pytest.mark.parametrize("trunk", [tiny.recurrent, lambda: tiny.pretrained_text("llama")])
def test_another_text_encoder_is_refused_by_name(trunk):
    with pytest.raises(InputError, match=r"layers of a TransformerTextEncoder, got a \w+: choose that text encoder"):
        tiny.fusion(MixtureOfTransformers, text_encoder=trunk())
