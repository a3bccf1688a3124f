"""Attention knockout: words do not attend to the image in some layers of the trunk."""

import json
from functools import partial

import pytest
import torch
from helpers import tiny
from rich.console import Console

from velm_lightning.cli.commands import main
from velm_lightning.cli.model.probe import save_knockout, show_knockout
from velm_lightning.data import MultimodalData
from velm_lightning.fusion import (
    DeepStackFusion,
    EarlyFusion,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    MixtureOfTransformers,
    TextOnly,
)
from velm_lightning.inspection.knockout import knocked_out, knockout
from velm_lightning.tasks import Generation, Retrieval
from velm_lightning.tasks.stepping import CachedSteps, UncachedSteps
from velm_lightning.types import InputError

DEPTH = 3
deeper = {"num_hidden_layers": DEPTH}
TRUNKS = {
    "transformer": partial(tiny.transformer, depth=DEPTH),
    "causal": partial(tiny.transformer, depth=DEPTH, causal=True),
    "llama": lambda: tiny.pretrained_text("llama", config=tiny.TEXT_CONFIGS["llama"] | deeper),
    "bert": lambda: tiny.pretrained_text("bert", config=tiny.TEXT_CONFIGS["bert"] | deeper),
}
FUSIONS = {
    "early": EarlyFusion,
    "join": partial(EarlyFusion, join=1),
    "interleaved": partial(InterleavedFusion, heads=2, gated=False),
    "deep": partial(DeepStackFusion, image_encoder=tiny.vit(depth=2)),
}
CASES = [(fusion, trunk) for fusion in FUSIONS for trunk in TRUNKS]
CASES = [*CASES, ("mixture", "transformer"), ("mixture", "causal")]


def made(fusion="early", trunk="transformer", **changes):
    torch.manual_seed(0)
    kind = (FUSIONS | {"mixture": MixtureOfTransformers})[fusion]
    return tiny.fusion(kind, **{"text_encoder": TRUNKS[trunk](), **getattr(kind, "keywords", {})} | changes).eval()


def other_image(batch):
    return batch._replace(image=batch.image.flip(0))


@torch.no_grad()
@pytest.mark.parametrize(("fusion", "trunk"), CASES)
def test_words_do_not_depend_on_the_image_in_no_layer(fusion, trunk, sentences):
    model = made(fusion, trunk)
    before = model(sentences).embeddings
    assert not torch.allclose(model(other_image(sentences)).embeddings, before)
    with knocked_out(model, range(DEPTH)) as knocked:
        states, others = model(sentences).embeddings, model(other_image(sentences)).embeddings
    assert knocked.acted
    assert torch.equal(states[sentences.mask], others[sentences.mask])
    assert torch.equal(model(sentences).embeddings, before), "afterwards the model is as it was"
    assert not {"fuse", "fuse_pairs"} & set(vars(model))


@torch.no_grad()
def test_with_no_layer_left_early_fusion_reads_text_only(batch):
    model = made()
    alone = model.text_encoder.trunk(model.embed_text(batch.words)).embeddings
    with knocked_out(model, range(DEPTH)):
        torch.testing.assert_close(model(batch).embeddings[batch.mask], alone[batch.mask], atol=1e-5, rtol=0.0)


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["early", "interleaved"])
def test_each_layer_knocked_out_changes_the_words(fusion, batch):
    model, states = made(fusion), []
    for layer in range(DEPTH):
        with knocked_out(model, [layer]):
            states.append(model(batch).embeddings)
    states.append(model(batch).embeddings)
    assert all(not torch.allclose(a, b) for a in states for b in states if a is not b)


@torch.no_grad()
def test_layers_in_which_nothing_meets_cannot_be_knocked_out(batch):
    for model, unread in (
        (made(join=2), [0, 1]),
        (made("interleaved", first=2), [0, 1]),
        (made(leave=1), [1, 2]),
    ):
        with knocked_out(model, unread):
            states = model(batch).embeddings
        assert torch.equal(states[batch.mask], model(batch).embeddings[batch.mask])


@torch.no_grad()
@pytest.mark.parametrize(("fusion", "trunk"), [("early", "llama"), ("interleaved", "causal"), ("deep", "transformer")])
def test_decoding_with_a_cache_is_knocked_out_alike(fusion, trunk, sentences):
    model = made(fusion, trunk, task=Generation(head="tied"))
    rows = []
    with knocked_out(model, [1]):
        for kind in (CachedSteps, UncachedSteps):
            steps = kind(model, sentences, lambda states: states, 3)
            steps.start()
            steps.expand(2)
            words = torch.arange(2 * sentences.size) % 5 + 5
            steps.step(words)
            rows.append(steps.step(words.flip(0)))
    torch.testing.assert_close(*rows, atol=1e-5, rtol=0.0)
    assert not torch.allclose(steps.step(words), rows[0])


@torch.no_grad()
def test_pairs_of_retrieval_are_knocked_out_without_shortcuts(batch):
    model = made(trunk="causal", task=Retrieval(width=6))
    image, text = model.encode_image(batch.image), model.embed_text(batch.words)
    with knocked_out(model, range(DEPTH)):
        pairs = model.fuse_all_pairs(image, text)
    torch.testing.assert_close(pairs, pairs[:1].expand_as(pairs), atol=1e-5, rtol=0.0)


@pytest.fixture(scope="module")
def data():
    samples = tiny.many(9)
    return MultimodalData(tiny.Samples(train=samples, test=samples), batch_size=4)


@pytest.mark.parametrize(("window", "places"), [(None, [(0, 0), (1, 1), (2, 2)]), (2, [(0, 1), (1, 2)]), (3, [(0, 2)])])
def test_windows_slide_over_the_layers(window, places, data):
    result = knockout(made(vocabulary=data.vocabulary), data, "test", window)
    assert [(each.first, each.last) for each in result.windows] == places
    assert (result.samples, result.layers) == (9, DEPTH)
    assert set(result.unchanged.groups) == {"group 0", "group 1"}
    scores = [score for score, _ in result.unchanged.groups.values()]
    assert (5 * scores[0] + 4 * scores[1]) / 9 == pytest.approx(result.unchanged.score)
    if window == 3:
        assert result.windows[0].outcome == result.everywhere
        assert result.everywhere.confidence != result.unchanged.confidence


def test_result_and_table_name_windows_and_groups(data, tmp_path, capsys):
    result = knockout(made(vocabulary=data.vocabulary), data, "test", 2)
    save_knockout(result, tmp_path)
    written = json.loads((tmp_path / "knockout.json").read_text())
    assert written["windows"][1] == {
        "first": 1, "last": 2, "outcome": json.loads(json.dumps(result.windows[1].outcome._asdict()))
    }  # fmt: skip
    show_knockout(result, Console(width=200))
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [row[1] for row in rows] == ["none", "0–1", "1–2", "all"]
    assert f"{result.unchanged.score:.4f}" in rows[0]


@pytest.mark.parametrize("kind", [LateFusion, InteractiveFusion, TextOnly])
def test_a_fusion_outside_the_trunk_is_refused_in_a_sentence(kind, data):
    model = tiny.fusion(kind, vocabulary=data.vocabulary)
    with pytest.raises(InputError, match=f"in the 2 layers of the text trunk of this {kind.__name__} no word attends"):
        knockout(model, data, "test")


def test_a_trunk_without_layers_is_refused_by_name(data):
    model = tiny.fusion(EarlyFusion, vocabulary=data.vocabulary, text_encoder=tiny.recurrent())
    with pytest.raises(InputError, match="a RNNTextEncoder has no layers"):
        knockout(model, data, "test")


def test_a_window_that_does_not_fit_is_refused(data, capsys):
    with pytest.raises(InputError, match="--window must be 1 to 3, the number of layers of the trunk, got 4"):
        knockout(made(vocabulary=data.vocabulary), data, "test", 4)
    assert main(["probe", "run", "--window=2"]) == 2
    assert "--window is the size of a window of --knockout" in capsys.readouterr().err
