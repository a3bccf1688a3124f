"""Early fusion in which image and words meet only in some layers of the trunk."""

from functools import partial

import pytest
import torch
from helpers import tiny

from velm_lightning.decoding import BeamSearch
from velm_lightning.fusion import DeepStackFusion, EarlyFusion, ImageOnly, InterleavedFusion, MixtureOfTransformers
from velm_lightning.inspection.explain import explain
from velm_lightning.nn.attention import record_attention
from velm_lightning.tasks import Generation
from velm_lightning.tasks.stepping import CachedSteps, UncachedSteps
from velm_lightning.types import InputError

DEPTH = 4


def trunk(kind):
    deeper = {"gpt2": {"n_layer": DEPTH}}.get(kind, {"num_hidden_layers": DEPTH})
    return tiny.pretrained_text(kind, config=tiny.TEXT_CONFIGS[kind] | deeper)


TRUNKS = {
    "transformer": partial(tiny.transformer, depth=DEPTH),
    "causal": partial(tiny.transformer, depth=DEPTH, causal=True),
    **{kind: partial(trunk, kind) for kind in ("bert", "gpt2", "llama")},
}


@pytest.fixture(params=TRUNKS)
def made(request):
    """A function that returns a model with the trunk, joint between given layers."""
    return lambda **changes: tiny.fusion(EarlyFusion, text_encoder=TRUNKS[request.param](), **changes).eval()


def entering(model, batch):
    """Return the states (B, M + N, D) that enter each layer."""
    states = []

    def keep(_, args, options):
        states.append(args[0] if args else options["hidden_states"])

    layers = model.text_encoder.open_layers()
    hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers]
    model(batch)
    for hook in hooks:
        hook.remove()
    assert len(states) == DEPTH
    return states


def with_other_words(batch, model):
    return batch._replace(ids=batch.ids.where(batch.ids < 5, model.vocabulary.unknown))


@torch.no_grad()
def test_words_do_not_depend_on_the_image_below_join(made, batch):
    model, other = made(join=2), batch._replace(image=batch.image.flip(0))
    words = batch.ids.shape[1]
    pairs = [
        (a[:, -words:], b[:, -words:]) for a, b in zip(entering(model, batch), entering(model, other), strict=True)
    ]
    assert [torch.equal(a[batch.mask], b[batch.mask]) for a, b in pairs] == [True, True, True, False]


@torch.no_grad()
def test_image_tokens_do_not_depend_on_words_below_join(made, batch):
    model = made(join=2)
    other, cells = with_other_words(batch, model), model.grid[0] * model.grid[1]
    assert not torch.equal(other.ids, batch.ids)
    pairs = zip(entering(model, batch), entering(model, other), strict=True)
    changes = not model.text_encoder.causal  # a prefix never depends on the words that follow it
    assert [torch.equal(a[:, :cells], b[:, :cells]) for a, b in pairs] == [True, True, True, not changes]


@torch.no_grad()
def test_image_and_words_attend_to_each_other_only_in_joint_layers(made, batch):
    model = made(join=1, leave=3)
    with record_attention() as maps:
        model(batch)
    cells, valid = model.grid[0] * model.grid[1], batch.mask
    to_image = [weights[:, :, cells:, :cells].sum((1, 3))[valid] for _, weights in maps]
    to_words = [weights[:, :, :cells, cells:].sum() for _, weights in maps]
    assert [bool((share > 0).all()) for share in to_image] == [False, True, True, False]
    assert [bool((share == 0).all()) for share in to_image] == [True, False, False, True]
    both_ways = not model.text_encoder.causal
    assert [bool(share > 0) for share in to_words] == [False, both_ways, both_ways, False]


@torch.no_grad()
def test_the_defaults_are_those_of_plain_early_fusion(made, batch):
    torch.manual_seed(1)
    plain, after = made(), torch.get_rng_state()
    torch.manual_seed(1)
    given = made(join=0, leave=DEPTH)
    assert torch.equal(torch.get_rng_state(), after)
    assert list(plain.state_dict()) == list(given.state_dict())
    assert torch.equal(plain(batch).embeddings, given(batch).embeddings)
    assert plain.joint_layers is None


@torch.no_grad()
@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_words_keep_the_positions_that_they_have_after_the_image(kind, batch):
    positions = []
    for changes in ({}, {"join": 2}):
        model = tiny.fusion(EarlyFusion, text_encoder=TRUNKS[kind](), **changes).eval()
        model.text_encoder.model.register_forward_pre_hook(
            lambda *given: positions.append(given[2]["position_ids"]), with_kwargs=True
        )
        model(batch)
    assert torch.equal(*positions)


FUSIONS = {
    "join": partial(EarlyFusion, join=1),
    "leave": partial(EarlyFusion, leave=2),
    "inside": partial(EarlyFusion, join=1, leave=3),
    "interleaved": partial(InterleavedFusion, first=1, every=2),
}


@torch.no_grad()
@pytest.mark.parametrize("kind", TRUNKS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_beam_search_with_a_cache_equals_one_without(kind, fusion, sentences):
    model = tiny.fusion(FUSIONS[fusion], text_encoder=TRUNKS[kind](), task=Generation(head="tied")).eval()
    torch.nn.init.normal_(model.text_encoder.embedding.weight, std=0.5)  # so that words differ
    for name, parameter in model.named_parameters():
        if name.endswith("gate"):
            torch.nn.init.constant_(parameter, 0.5)
    results = [
        BeamSearch(beams=3, max_length=6)(steps(model, sentences, model.task.logits, 6), model.vocabulary.end)
        for steps in (CachedSteps, UncachedSteps)
    ]
    for cached, uncached in zip(*results, strict=True):
        assert [hypothesis.ids for hypothesis in cached] == [hypothesis.ids for hypothesis in uncached]
        scores = [torch.tensor([hypothesis.score for hypothesis in result]) for result in (cached, uncached)]
        torch.testing.assert_close(*scores, atol=1e-4, rtol=0.0)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["transformer", "gpt2"])
def test_words_cached_in_the_place_of_invalid_image_tokens(kind, sentences):
    """Beam search writes words to free places of the cache; an image of fewer tokens leaves such places."""
    model = tiny.fusion(FUSIONS["inside"], text_encoder=TRUNKS[kind](), task=Generation(head="tied")).eval()
    torch.nn.init.normal_(model.text_encoder.embedding.weight, std=0.5)
    encode_image = model.encode_image

    def fewer(image):
        tokens = encode_image(image)
        tokens.mask[0, 1::2] = tokens.mask[1] = False
        return tokens

    model.encode_image = fewer
    results = [
        BeamSearch(beams=3, max_length=6)(steps(model, sentences, model.task.logits, 6), model.vocabulary.end)
        for steps in (CachedSteps, UncachedSteps)
    ]
    for cached, uncached in zip(*results, strict=True):
        assert [hypothesis.ids for hypothesis in cached] == [hypothesis.ids for hypothesis in uncached]


@pytest.mark.parametrize("limits", [{"join": 4}, {"join": 2, "leave": 2}, {"leave": 5}, {"join": -1}])
def test_layers_that_do_not_exist_are_refused(limits):
    with pytest.raises(InputError, match="model.join and model.leave must satisfy 0 <= join < leave <= 4"):
        tiny.fusion(EarlyFusion, text_encoder=TRUNKS["transformer"](), **limits)


def test_a_trunk_without_layers_is_refused_only_if_layers_are_named():
    tiny.fusion(EarlyFusion, text_encoder=tiny.recurrent())
    for changes in ({"join": 1}, {"leave": 1}):
        with pytest.raises(InputError, match="a RNNTextEncoder has no layers on which a fusion can act"):
            tiny.fusion(EarlyFusion, text_encoder=tiny.recurrent(), **changes)


def test_the_image_only_control_can_join_at_the_same_layer(batch):
    model = tiny.fusion(ImageOnly, text_encoder=TRUNKS["transformer"](), join=2).eval()
    assert list(model.joint_layers) == [2, 3]
    assert model._init_args["join"] == 2


@torch.no_grad()
@pytest.mark.parametrize("kind", [DeepStackFusion, MixtureOfTransformers])
@pytest.mark.parametrize("causal", [False, True])
def test_forms_of_early_fusion_join_and_leave_like_it(kind, causal, sentences):
    text = tiny.transformer(depth=DEPTH, causal=causal)
    model = tiny.fusion(kind, text_encoder=text, image_encoder=tiny.vit(depth=2), join=1, leave=3).eval()
    image, words = model.encode_image(sentences.image), model.embed_text(sentences.words)
    with record_attention() as maps:
        model.fuse(image, words)
    count, cells = words.embeddings.shape[1], model.grid[0] * model.grid[1]
    to_image = [weights[:, :, -count:, :cells].transpose(1, 2)[sentences.mask] for _, weights in maps]
    assert [bool((weights == 0).all()) for weights in to_image] == [True, False, False, True]
    to_words = [weights[:, :, :cells, -count:].any() for _, weights in maps[: DEPTH - 1]]
    assert to_words == [False, not causal, not causal]
    shown, last = model.image_attention(maps, image, words)[:, :, :cells], maps[2][1][:, :, -count:, :cells].mean(1)
    torch.testing.assert_close(shown / shown.sum(-1, keepdim=True), last / last.sum(-1, keepdim=True))


@torch.no_grad()
def test_the_attention_that_is_shown_is_that_of_the_last_joint_layer(made, batch):
    model = made(join=1, leave=3)
    with record_attention() as maps:
        image, text = model.encode_image(batch.image), model.embed_text(batch.words)
        model.fuse(image, text)
    cells = model.grid[0] * model.grid[1]
    assert torch.equal(model.image_attention(maps, image, text), maps[2][1][:, :, cells:, :cells].mean(1))
    assert explain(model, batch, ["yes"] * batch.size).attention.sum() > 0
