"""Self-attention over image tokens and words on top of the trunk."""

import pytest
import torch
from helpers import tiny

from velm_lightning.fusion import MergedFusion
from velm_lightning.inspection.explain import explain
from velm_lightning.nn.attention import record_attention


@pytest.fixture
def model():
    return tiny.fusion(MergedFusion, depth=3, heads=2).eval()


@torch.no_grad()
def test_image_and_words_attend_to_each_other_in_every_layer(model, batch):
    cells = model.grid[0] * model.grid[1]
    with record_attention() as maps:
        model(batch)
    joint = [weights for owner, weights in maps if owner in set(model.layers.modules())]
    assert [weights.shape[-1] for weights in joint] == [cells + batch.ids.shape[1]] * 3
    for weights in joint:
        assert (weights[:, :, cells:, :cells] > 0).all()
        assert (weights[:, :, :cells, cells:].sum(-1) > 0).all()


@torch.no_grad()
def test_image_tokens_do_not_depend_on_target_words(model, sentences):
    cells, states = model.grid[0] * model.grid[1], []
    model.layers[-1].register_forward_hook(lambda *given: states.append(given[2][:, :cells]))
    model(sentences)
    targets = sentences.block_ids > 0
    model(sentences._replace(ids=sentences.ids.masked_fill(targets, model.vocabulary.unknown)))
    assert torch.equal(*states)


def test_the_attention_that_is_shown_is_that_of_the_last_layer(model, batch):
    maps = explain(model, batch, ["yes"] * batch.size)
    assert maps.attention.shape == maps.evidence.shape == (batch.size, *model.grid)
