"""A frozen language model encodes each prompt once, and the kept states equal the computed ones."""

import pytest
import torch
from helpers import tiny
from torch.utils.flop_counter import FlopCounterMode

from velm_lightning.encoders import HFTextEncoder
from velm_lightning.encoders.text import state_memory
from velm_lightning.fusion import LateFusion
from velm_lightning.types import InputError, TextInput


def frozen(**changes):
    """A BERT with random weights, frozen, that keeps states, and the list of the batch sizes that it encodes."""
    encoder = tiny.pretrained_text("bert", trainable=0, keep_states=True, **changes)
    encoder.build(tiny.vocabulary())
    sizes = []
    encoder.model.register_forward_pre_hook(
        lambda _, __, arguments: sizes.append(len(arguments["inputs_embeds"])), with_kwargs=True
    )
    return encoder, sizes


def prompts(*lengths, longest=6):
    """Prompts of different words, padded on the right."""
    ids = torch.arange(len(lengths) * longest).view(len(lengths), longest) % 7 + 1
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return TextInput(ids * mask, mask, torch.zeros_like(ids))


def encode(encoder, words):
    return encoder.trunk(encoder.embed(words)).embeddings


@torch.no_grad()
def test_a_prompt_is_encoded_once():
    encoder, sizes = frozen()
    words = prompts(3, 5, 2)
    first = encode(encoder, words)
    again = encode(encoder, words.rows(torch.tensor([2, 0, 1])))
    assert sizes == [3]
    assert torch.equal(again, first[[2, 0, 1]])
    encode(encoder, prompts(3, 5, 4))
    assert sizes == [3, 1]


@torch.no_grad()
def test_prompts_of_similar_length_are_encoded_together(monkeypatch):
    """Long prompts do not fill short ones with padding."""
    monkeypatch.setattr(state_memory, "_TOGETHER", 2)
    encoder, _ = frozen()
    shapes = []
    encoder.model.register_forward_pre_hook(
        lambda _, __, arguments: shapes.append(tuple(arguments["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    words = prompts(2, 6, 1, 5, 0)
    kept = encode(encoder, words)
    assert shapes == [(2, 1), (2, 5), (1, 6)]
    encoder.memory = None
    computed = encode(encoder, words)
    torch.testing.assert_close(kept[words.mask], computed[words.mask], atol=2e-3, rtol=2e-3)


@torch.no_grad()
def test_equal_prompts_of_a_batch_are_encoded_once():
    encoder, sizes = frozen()
    states = encode(encoder, prompts(3, 4).rows(torch.tensor([0, 1, 0, 1, 0])))
    assert sizes == [2]
    assert torch.equal(states[0], states[4])


@torch.no_grad()
def test_kept_states_are_the_states_of_the_model():
    encoder, _ = frozen()
    words = prompts(3, 5, 2)
    kept = encode(encoder, words)
    encoder.memory = None
    computed = encode(encoder, words)
    torch.testing.assert_close(kept[words.mask], computed[words.mask], atol=2e-3, rtol=2e-3)
    assert not kept[~words.mask].any()


@torch.no_grad()
def test_target_words_and_other_embeddings_are_not_kept():
    encoder, sizes = frozen()
    words = prompts(3, 5)
    for _ in range(2):
        encode(encoder, words._replace(block_ids=torch.ones_like(words.ids)))
    tokens = encoder.embed(words)
    for _ in range(2):
        encoder.trunk(tokens.with_embeddings(tokens.embeddings + 1))
    assert sizes == [2, 2, 2, 2]


def test_loaded_weights_give_new_states():
    encoder, sizes = frozen()
    words = prompts(3, 5)
    before = encode(encoder, words)
    encoder.load_state_dict({name: value * 1.5 for name, value in encoder.state_dict().items()})
    assert not torch.equal(encode(encoder, words), before)
    assert sizes == [2, 2]


def test_an_unfrozen_model_is_not_kept():
    encoder, sizes = frozen()
    encoder.requires_grad_(True)
    for _ in range(2):
        assert encode(encoder, prompts(3)).requires_grad
    assert sizes == [1, 1]


def test_flops_are_counted_although_states_are_kept():
    encoder, _ = frozen()
    counts = []
    for _ in range(2):
        with FlopCounterMode(display=False) as counter:
            encode(encoder, prompts(3))
        counts.append(counter.get_total_flops())
        encode(encoder, prompts(3))
    assert counts[0] == counts[1] > 0


def test_states_of_an_evaluation_are_used_in_training():
    words = tiny.vocabulary()
    encoder = tiny.pretrained_text("bert", trainable=0, keep_states=True)
    model = tiny.fusion(LateFusion, vocabulary=words, text_encoder=encoder)
    batch = tiny.batch(tiny.many(3), words)
    with torch.inference_mode():
        model.task.loss(model, batch)
    model.train()
    model.task.loss(model, batch).backward()
    assert model.merge.text.weight.grad.any()
    assert not any(parameter.grad is not None for parameter in model.text_encoder.parameters())


@torch.no_grad()
def test_mean_pooling_averages_the_words_of_the_prompt():
    encoder, _ = frozen(pooling="mean")
    words = prompts(3, 5)
    states = encoder.trunk(encoder.embed(words))
    expected = torch.stack([states.embeddings[0, :3].mean(0), states.embeddings[1, :5].mean(0)])
    torch.testing.assert_close(encoder.pool(states), expected)
    targets = states._replace(block_ids=(torch.arange(6) >= 2).long().expand(2, 6))
    torch.testing.assert_close(encoder.pool(targets)[1], states.embeddings[1, :2].mean(0))


@pytest.mark.parametrize("trainable", [-1, 2])
def test_a_trained_model_is_refused(trainable):
    with pytest.raises(InputError, match=f"trainable={trainable}: set trainable to 0"):
        HFTextEncoder(config=tiny.TEXT_CONFIGS["bert"], trainable=trainable, keep_states=True)
