"""Cross-attention before chosen layers of the trunk."""

from functools import partial

import pytest
import torch
from helpers import tiny

from velm_lightning.encoders import LoRA
from velm_lightning.fusion import InterleavedFusion
from velm_lightning.inspection.explain import explain
from velm_lightning.nn.attention import record_attention
from velm_lightning.tasks import Generation
from velm_lightning.types import InputError

TRUNKS = {
    "transformer": tiny.transformer,
    "causal": partial(tiny.transformer, causal=True),
    **{kind: partial(tiny.pretrained_text, kind) for kind in ("bert", "gpt2", "llama")},
}


def made(kind="transformer", depth=None, **changes):
    text = tiny.transformer(depth=depth) if depth else TRUNKS[kind]()
    return tiny.fusion(InterleavedFusion, **{"text_encoder": text, "heads": 2} | changes).eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", TRUNKS)
def test_a_gated_trunk_initially_computes_what_it_does_without(kind, sentences):
    model = made(kind)
    alone = model.text_encoder.trunk(model.embed_text(sentences.words))
    assert torch.equal(model(sentences).embeddings, alone.embeddings)
    assert not torch.equal(made(kind, gated=False)(sentences).embeddings, alone.embeddings)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_only_new_layers_are_trained_around_a_frozen_trunk(kind, sentences):
    model = made(
        text_encoder=tiny.pretrained_text(kind, trainable=0), image_encoder=tiny.pretrained_image("clip", trainable=0),
        task=Generation(head="tied" if kind == "bert" else "pretrained"),
    )  # fmt: skip
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.partition(".")[0] for name in learning} == {"connector", "cross_layers"} | (
        {"task"} if kind == "bert" else set()
    )
    model.train().task.loss(model, sentences).backward()
    gates = [p.grad for name, p in model.named_parameters() if name.endswith("gate")]
    assert len(gates) == 4
    assert all(grad.abs() > 0 for grad in gates)


def test_adapters_and_cross_attention_are_trained_together(sentences):
    model = made(text_encoder=tiny.pretrained_text("llama", lora=LoRA(rank=2)), task=Generation(head="pretrained"))
    model.train().task.loss(model, sentences).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"first": 1, "every": 2}, [1, 3, 5]),
        ({"first": 2, "last": 4}, [2, 3, 4]),
        ({"every": 4}, [0, 4]),
        ({"first": 5}, [5]),
    ],
)
def test_cross_attention_precedes_the_chosen_layers(given, layers, batch):
    model = made(depth=6, **given)
    calls = []
    for index, layer in enumerate(model.text_encoder.layers):
        layer.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
    for layer in model.cross_layers:
        layer.register_forward_pre_hook(lambda *_: calls.append("cross"))
    model(batch)
    assert [after for before, after in zip(calls, calls[1:], strict=False) if before == "cross"] == layers
    assert len(model.cross_layers) == len(layers)


@torch.no_grad()
def test_words_do_not_depend_on_the_image_before_the_first(batch):
    model, states = made(depth=4, first=2, gated=False), []
    for layer in model.text_encoder.layers:
        layer.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    for image in (batch.image, batch.image.flip(0)):
        model(batch._replace(image=image))
    assert [torch.equal(a, b) for a, b in zip(states[:4], states[4:], strict=True)] == [True, True, False, False]


@pytest.mark.parametrize("given", [{"first": 2}, {"last": 2}, {"first": 1, "last": 0}, {"every": 0}, {"first": -1}])
def test_layers_that_do_not_exist_are_refused(given):
    with pytest.raises(InputError, match="model.first and model.last must be layers of the trunk, 0 to 1, in this"):
        made(**given)


def test_a_trunk_without_layers_is_refused_by_name():
    with pytest.raises(InputError, match="a RNNTextEncoder has no layers on which a fusion can act"):
        made(text_encoder=tiny.recurrent())


@torch.no_grad()
@pytest.mark.parametrize("kind", ["transformer", "llama"])
def test_the_attention_that_is_shown_is_that_of_the_last_layer(kind, batch):
    model = made(kind, gated=False)
    image, text = model.encode_image(batch.image), model.embed_text(batch.words)
    with record_attention() as maps:
        model.fuse(image, text)
    shown = model.image_attention(maps, image, text)
    assert shown.shape == (*batch.ids.shape, image.embeddings.shape[1])
    torch.testing.assert_close(shown.sum(-1), torch.ones(batch.ids.shape))
    maps = explain(model, batch, ["yes"] * batch.size)
    assert maps.attention.shape == maps.evidence.shape == (batch.size, *model.grid)
