"""Images at marks in conversations, in every fusion: which words see them, and decoding turn by turn."""

import pytest
import torch
from helpers import dialogues, tiny

from velm_lightning.decoding import BeamSearch, Greedy
from velm_lightning.encoders import RNNTextEncoder
from velm_lightning.fusion import (
    BottleneckFusion,
    EarlyFusion,
    ImageOnly,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    MergedFusion,
    TextOnly,
)
from velm_lightning.inspection.explain import explain
from velm_lightning.tasks import Generation
from velm_lightning.tasks.stepping import CachedSteps, UncachedSteps, prompts
from velm_lightning.types import InputError

FUSIONS = {
    "early": EarlyFusion,
    "early-join": lambda **parts: EarlyFusion(join=1, **parts),
    "early-leave": lambda **parts: EarlyFusion(leave=1, **parts),
    "interleaved": lambda **parts: InterleavedFusion(heads=2, gated=False, **parts),
    "interactive": lambda **parts: InteractiveFusion(heads=2, **parts),
    "interactive-text": lambda **parts: InteractiveFusion(heads=2, co_attention=False, **parts),
    "merged": lambda **parts: MergedFusion(heads=2, **parts),
}
TEXTS = {
    "transformer": tiny.transformer,
    "causal": lambda: tiny.transformer(causal=True),
    "llama": lambda: tiny.pretrained_text("llama"),
    "bert": lambda: tiny.pretrained_text("bert"),
    "lstm": tiny.recurrent,
}
CELLS = [
    (fusion, text)
    for fusion in FUSIONS
    for text in TEXTS
    if text != "lstm" or fusion not in ("early-join", "early-leave", "interleaved")
]
BY_DEFAULT = {("early", "llama"), ("early-join", "transformer"), ("interleaved", "llama"), ("interactive", "bert")}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def build(make, text=tiny.transformer):
    torch.manual_seed(0)
    model = tiny.fusion(make, text_encoder=text(), task=Generation()).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return model


@pytest.fixture(
    params=[pytest.param(cell, marks=() if cell in BY_DEFAULT else pytest.mark.slow) for cell in CELLS],
    ids="-".join,
    scope="module",
)
def model(request):
    fusion, text = request.param
    return build(FUSIONS[fusion], TEXTS[text])


def batch_of(model):
    return dialogues.batch(dialogues.samples(), model.vocabulary)


def with_noise(batch, row, place):
    image = batch.image.clone()
    image[row, place] = 255 - image[row, place]
    return batch._replace(image=image)


def states(model, batch):
    with torch.no_grad():
        return model(batch).embeddings


def changed(model, batch, other):
    return (states(model, batch) - states(model, other)).abs().amax(-1) > 1e-5  # (B, N)


@pytest.mark.parametrize(("row", "place"), [(0, 0), (0, 1), (2, 0)])
def test_an_image_matters_from_its_turn_on(model, row, place):
    batch = batch_of(model)
    reaction = changed(model, batch, with_noise(batch, row, place))
    assert not reaction[torch.arange(3) != row].any(), "another sample saw it"
    seen = batch.block_ids[row] >= batch.image_block_ids[row, place]
    assert not reaction[row, ~seen].any(), "an earlier turn saw it"
    later = reaction[row, batch.target_mask[row] & seen]
    assert later.any() if isinstance(model.text_encoder, RNNTextEncoder) else later.all()  # which may forget it


def test_the_image_of_turn_2_never_changes_the_loss_of_turn_1(model):
    batch = batch_of(model)
    first = batch._replace(target_mask=batch.target_mask & (batch.block_ids < 4))
    losses = [model.task.loss(model, given).item() for given in (first, with_noise(with_noise(first, 0, 1), 2, 0))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_no_later_turn_changes_an_earlier_one(model):
    batch = batch_of(model)
    alone = dialogues.batch([dialogues.sample("a", dialogues.TWO_IMAGES[:2], (tiny.picture(0),))], model.vocabulary)
    length = alone.ids.shape[1]
    torch.testing.assert_close(states(model, alone)[0], states(model, batch)[0, :length], **CLOSE)


def test_a_batch_changes_no_sample(model):
    whole, batch = states(model, batch_of(model)), batch_of(model)
    for row, sample in enumerate(dialogues.samples()):
        alone = dialogues.batch([sample], model.vocabulary)
        valid = batch.mask[row]
        torch.testing.assert_close(states(model, alone)[0], whole[row, valid], **CLOSE)


def test_every_parameter_learns_without_any_image(model):
    training = [dialogues.batch([dialogues.samples()[1]], model.vocabulary)]
    model.zero_grad()
    model.task.loss(model, training[0]).backward()
    assert training[0].image.shape[:2] == (1, 1)
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    model.zero_grad()


@pytest.mark.parametrize("decoding", [Greedy(max_length=6), BeamSearch(beams=3, max_length=8)], ids=["greedy", "beam"])
def test_the_last_turn_is_decoded_alike_with_the_cache(model, decoding):
    found = []
    for kind in (CachedSteps, UncachedSteps):
        with torch.no_grad():
            steps = kind(model, batch_of(model), model.task.logits, decoding.max_length)
            found.append([[row.ids for row in sample] for sample in decoding(steps, model.vocabulary.end)])
    assert found[0] == found[1]


def test_a_prompt_holds_the_history_and_not_the_last_reply():
    model = build(EarlyFusion)
    batch = batch_of(model)
    words, targets = prompts(batch), batch.target_mask
    assert words.mask.sum(1).tolist() == [14, 5, 12]
    for row, length in enumerate(words.mask.sum(1).tolist()):
        assert targets[row, length:][batch.mask[row, length:]].all()
        assert torch.equal(words.block_ids[row, :length], batch.block_ids[row, :length])


def test_another_answer_replaces_only_the_last_reply():
    model = build(EarlyFusion)
    batch = batch_of(model)
    same = model.task.with_targets(batch, ["red", "ein roter kreis", "blue stars are there"])
    for field in ("ids", "mask", "block_ids"):
        assert torch.equal(getattr(same, field), getattr(batch, field))
    last = batch.block_ids > torch.tensor([[5], [0], [4]]) - 1
    assert torch.equal(same.target_mask, batch.target_mask & last)


def test_marks_with_one_image_each_before_the_text_change_nothing():
    """A conversation of one question about one image at its beginning is the ordinary case."""
    model = build(EarlyFusion, TEXTS["llama"])
    plain = tiny.translations()[0]
    turns = (dialogues.user(None, plain.text), dialogues.reply(plain.target))
    marked = dialogues.batch([dialogues.sample("m", turns, (plain.image,))], model.vocabulary)
    ordinary = tiny.batch([plain], model.vocabulary)
    marked = marked._replace(image_places=torch.zeros_like(marked.image_places))  # before the start token
    torch.testing.assert_close(states(model, marked), states(model, ordinary), **CLOSE)


def test_text_only_takes_them_and_ignores_them():
    model = build(TextOnly)
    batch = batch_of(model)
    assert not changed(model, batch, with_noise(batch, 0, 0)).any()


@pytest.mark.parametrize("kind", [LateFusion, BottleneckFusion])
def test_a_fusion_without_masks_refuses_images_of_later_turns(kind):
    model = build(kind)
    with pytest.raises(InputError, match=f"{kind.__name__} would show words the images of later turns"):
        model(batch_of(model))
    first = dialogues.batch(
        dialogues.samples()[1:2] + [dialogues.sample("f", dialogues.TWO_IMAGES[:2], (tiny.picture(0),))],
        model.vocabulary,
    )
    assert changed(model, first, with_noise(first, 1, 0))[1].any()


def test_image_only_refuses_conversations():
    model = build(ImageOnly)
    with pytest.raises(InputError, match="hides only the first turn"):
        model(batch_of(model))


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion])
def test_maps_are_of_the_last_image(kind):
    """Samples with one image have the same maps alone; the last of two is that of the turn that is answered."""
    model = build(kind)
    batch, answers = batch_of(model), ["red"] * 3
    assert batch.last_images.tolist() == [1, 0, 0]
    maps = explain(model, batch, answers)
    assert maps.attention.shape == maps.evidence.shape == (3, *model.grid)
    alone = dialogues.batch(dialogues.samples()[2:], model.vocabulary)
    by_itself, shown = explain(model, alone, ["red"]).evidence[0], maps.evidence[2]  # in units of the mean loss
    torch.testing.assert_close(by_itself / by_itself.sum(), shown / shown.sum(), **CLOSE)


def test_a_conversation_is_continued_from_python():
    model = build(EarlyFusion)
    with torch.no_grad():
        wanted = model.task.top_answers(model, batch_of(model), 1)
    turns, images = zip(*((sample.turns[:-1], sample.image) for sample in dialogues.samples()), strict=True)
    answers = model.predict([images[0], None, images[2][0]], turns, batch_size=2)
    assert [row[0].text for row in answers] == [row[0][0] for row in wanted]
    with pytest.raises(InputError, match="1 of 2 texts are conversations"):
        model.predict([None, None], [turns[1], "what ?"])
    with pytest.raises(InputError, match="2 marks and 1 images"):
        model.predict([tiny.picture(0)], [turns[0]])
