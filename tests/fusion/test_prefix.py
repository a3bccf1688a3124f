"""A frozen language model under early fusion is not changed by training and uses the image.

Attention and caching of models of transformers are tested in ``test_grid``.
"""

import pytest
import torch
from helpers import tiny

from velm_lightning.checkpoints import checkpoint
from velm_lightning.decoding import BeamSearch, Greedy
from velm_lightning.encoders import LinearConnector, LoRA, MLPConnector, Resampler
from velm_lightning.fusion import EarlyFusion, Fusion, InteractiveFusion, LateFusion, MergedFusion
from velm_lightning.inspection.explain import explain
from velm_lightning.tasks import Classification, Generation
from velm_lightning.tasks.stepping import CachedSteps, UncachedSteps
from velm_lightning.training import Optimization
from velm_lightning.types import InputError

CONNECTORS = {"linear": LinearConnector, "mlp": MLPConnector, "queries": lambda: Resampler(count=3, heads=2)}
CAUSAL = ("gpt2", "llama")


def prefix(kind="gpt2", connector=LinearConnector, **changes):
    """Return a frozen causal language model under early fusion, in which only the connector is trained."""
    parts = {
        "image_encoder": tiny.pretrained_image("hf-vit", trainable=0),
        "text_encoder": tiny.pretrained_text(kind, trainable=0),
        "task": Generation(head="pretrained"),
        "connector": connector(),
    }
    return tiny.fusion(EarlyFusion, **parts | changes)


def learning(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def trained(model, batch, steps=3):
    """Return the names of the parameters that a few optimiser steps changed."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = Optimization(learning_rate=0.1).configure(model.train(), steps)["optimizer"]
    for _ in range(steps):
        optimizer.zero_grad()
        model.task.loss(model, batch).backward()
        optimizer.step()
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("connector", CONNECTORS)
def test_only_the_connector_of_a_visual_prefix_is_trained(kind, connector, sentences):
    model = prefix(kind, CONNECTORS[connector])
    names = {name for name, _ in model.named_parameters() if name.startswith("connector.")}
    assert learning(model) == names
    assert trained(model, sentences) == names
    given = [p for group in model.optimization.groups(model) for p in group["params"]]
    assert len(given) == len(names)
    assert {name for name, p in model.named_parameters() if p.grad is not None} == names


def test_frozen_parts_stay_in_evaluation_mode():
    model = prefix().train()
    assert not any(part.training for part in model.text_encoder.modules())
    assert not any(part.training for part in model.image_encoder.modules())
    assert model.connector.training


def test_the_connector_learns_with_a_frozen_language_model(sentences):
    config = tiny.TEXT_CONFIGS["gpt2"] | {"initializer_range": 0.5}  # otherwise all words are equally likely
    model = prefix(connector=MLPConnector, text_encoder=tiny.pretrained_text("gpt2", config=config, trainable=0))
    start = model.task.loss(model, sentences).item()
    trained(model, sentences, steps=40)
    assert model.task.loss(model, sentences).item() < 0.9 * start


def test_a_resampler_sets_the_length_of_the_prefix(sentences):
    model = prefix(connector=lambda: Resampler(count=7, heads=2)).eval()
    tokens = model.encode_image(sentences.image)
    assert tokens.embeddings.shape == (sentences.size, 7, tiny.DIM)
    twice = torch.stack([sentences.image, sentences.image], dim=1)
    assert model.encode_image(twice).embeddings.shape == tokens.embeddings.shape


@torch.no_grad()
@pytest.mark.parametrize("connector", CONNECTORS)
def test_prefix_embeddings_have_the_scale_of_words(connector, sentences):
    model = prefix(connector=CONNECTORS[connector]).eval()
    read = []
    trunk = model.text_encoder.trunk
    model.text_encoder.trunk = lambda tokens, cache=None: read.append(tokens) or trunk(tokens, cache)
    model(sentences)
    words = sentences.ids.shape[1]
    image, text = read[0].embeddings[:, :-words], read[0].embeddings[:, -words:]
    assert 0.5 < float(image.std() / text.std()) < 2


@pytest.mark.parametrize("kind", [*CAUSAL, "bert"])
def test_adapters_are_trained_instead_of_the_layers(kind, sentences):
    head = "pretrained" if kind in CAUSAL else "tied"
    model = prefix(kind, text_encoder=tiny.pretrained_text(kind, lora=LoRA(rank=2)), task=Generation(head=head))
    names = {name for name in learning(model) if name.startswith("text_encoder.")}
    assert names
    assert all(".lora_" in name for name in names)
    assert {name for name in trained(model, sentences) if name.startswith("text_encoder.")} == names


def test_adapters_have_the_full_learning_rate():
    model = prefix(text_encoder=tiny.pretrained_text("gpt2", lora=LoRA(rank=2)))
    model.text_encoder.pretrained = True
    groups = Optimization(learning_rate=0.01, pretrained_lr_scale=0.1).groups(model)
    assert {group["lr"] for group in groups} == {0.01}


@pytest.mark.parametrize("kind", [*CAUSAL, "bert", "roberta"])
@pytest.mark.parametrize("fusion", [EarlyFusion, InteractiveFusion, MergedFusion, LateFusion])
@pytest.mark.parametrize("decoding", [Greedy(max_length=6), BeamSearch(beams=3, max_length=6)], ids=["greedy", "beam"])
def test_cached_decoding_equals_uncached_decoding(kind, fusion, decoding, sentences):
    head = "pretrained" if kind in CAUSAL else "tied"
    model = tiny.fusion(fusion, text_encoder=tiny.pretrained_text(kind), task=Generation(head=head)).eval()
    torch.nn.init.normal_(model.text_encoder.embedding.weight, std=0.5)  # so that words differ
    results = [
        decoding(steps(model, sentences, model.task.logits, 6), model.vocabulary.end)
        for steps in (CachedSteps, UncachedSteps)
    ]
    for cached, uncached in zip(*results, strict=True):
        assert [hypothesis.ids for hypothesis in cached] == [hypothesis.ids for hypothesis in uncached]
        torch.testing.assert_close(
            torch.tensor([hypothesis.score for hypothesis in cached]),
            torch.tensor([hypothesis.score for hypothesis in uncached]),
            atol=1e-4,
            rtol=0.0,
        )


@torch.no_grad()
def test_a_checkpoint_with_adapters_is_self_contained(sentences, tmp_path):
    model = prefix(
        "llama", lambda: Resampler(count=2, heads=2), text_encoder=tiny.pretrained_text("llama", lora=LoRA(2))
    )
    content = {"state_dict": model.eval().state_dict()}
    checkpoint.pack(model, content)
    torch.save(content, tmp_path / "model.ckpt")
    loaded = Fusion.load_from_checkpoint(tmp_path / "model.ckpt")
    torch.testing.assert_close(loaded(sentences).embeddings, model(sentences).embeddings)
    assert learning(loaded) == learning(model)


def test_a_pretrained_head_must_exist():
    for text in (tiny.transformer(), tiny.pretrained_text("bert")):
        with pytest.raises(InputError, match="task.head is 'pretrained', but .* has no vocabulary head: use 'tied'"):
            tiny.fusion(EarlyFusion, text_encoder=text, task=Generation(head="pretrained"))


def test_more_tokens_than_positions_are_refused(batch):
    config = tiny.TEXT_CONFIGS["gpt2"] | {"n_positions": 8}
    model = tiny.fusion(EarlyFusion, text_encoder=tiny.pretrained_text("gpt2", config=config), task=Classification())
    with pytest.raises(InputError, match="have 26 tokens, and a gpt2 has 8 positions"):
        model(batch)


def test_a_prefix_is_explained_on_the_grid_of_the_image(sentences):
    """Resampled tokens have no position in the image: evidence has a map, attention has none."""
    answers = ["roter kreis"] * sentences.size
    for connector, attention in ((LinearConnector, True), (lambda: Resampler(count=3, heads=2), False)):
        model = prefix(connector=connector).eval()
        maps = explain(model, sentences, answers)
        assert maps.evidence.shape == (sentences.size, *model.grid)
        assert maps.evidence.isfinite().all()
        assert (maps.attention is not None) == attention
