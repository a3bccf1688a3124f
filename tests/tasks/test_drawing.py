"""Image generation: the loss, the inputs that affect the image in every fusion, and reproducible evaluations."""

import math

import pytest
import torch
from helpers import tiny
from helpers.brightness import Brightness

from velm_lightning.checkpoints import checkpoint
from velm_lightning.data.collate import Texts
from velm_lightning.decoding import Flow
from velm_lightning.encoders import Patches
from velm_lightning.encoders.image.patches import cut, join
from velm_lightning.fusion import (
    EarlyFusion,
    Fusion,
    GatedMultimodalUnit,
    ImageOnly,
    InteractiveFusion,
    LateFusion,
    TextOnly,
)
from velm_lightning.tasks import Drawing
from velm_lightning.tasks.drawing import MIN_REMAINING_TIME, distance
from velm_lightning.types import InputError, Sample

FUSIONS = {
    "early": EarlyFusion,
    "late-concat": LateFusion,
    "late-gate": lambda **parts: LateFusion(merge=GatedMultimodalUnit(), **parts),
    "interactive-co": lambda **parts: InteractiveFusion(depth=2, heads=2, **parts),
    "interactive-text": lambda **parts: InteractiveFusion(depth=2, heads=2, co_attention=False, **parts),
    "text-only": TextOnly,
    "image-only": ImageOnly,
}
TEXTS = {"transformer": tiny.transformer, "lstm": tiny.recurrent}
CAPTIONS = ("how many blue stars", "a red circle left of the blue square", "what colour")
PATCH = 4
CLOSE = {"atol": 1e-10, "rtol": 0.0}


def samples():
    return [
        Sample(f"d{i}", tiny.picture(i), text, None, (("dark", "light")[i % 2],), "ab"[i % 2])
        for i, text in enumerate(CAPTIONS)
    ]


def build(fusion="early", text="transformer", **task):
    torch.manual_seed(0)
    drawing = Drawing(**{"judge": Brightness(), "size": tiny.SIZE, "patch": PATCH, "flow": Flow(3)} | task)
    return tiny.fusion(
        FUSIONS[fusion], image_encoder=Patches(tiny.SIZE, PATCH), text_encoder=TEXTS[text](), task=drawing
    )


@pytest.fixture
def batch(vocabulary):
    return tiny.batch(samples(), vocabulary)


@pytest.fixture(params=[(f, t) for f in FUSIONS for t in TEXTS], ids="-".join, scope="module")
def model(request):
    """Shared by the tests below, which must not change it."""
    return build(*request.param).double().eval()


def reads_caption(model):
    return not isinstance(model, TextOnly)


def no_blanks(batch):
    return torch.zeros(batch.size, dtype=torch.bool)


def predicted(model, batch, blank=None):
    """The patches of the images that are drawn from the same noise."""
    noise = torch.randn(batch.size, 16, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    time = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)[: batch.size]
    caption = model.task.embed_caption(model, batch.words, no_blanks(batch) if blank is None else blank)
    return model.task.predict_image(model, caption, noise, time)


def test_patches_are_cut_and_joined_without_loss():
    pictures = torch.stack([tiny.picture(0), tiny.picture(1)])
    patches = cut(pictures, PATCH)
    assert patches.shape == (2, 16, 3 * PATCH**2)
    assert torch.equal(patches[:, 5].view(2, 3, PATCH, PATCH), pictures[:, :, 4:8, 4:8])
    assert torch.equal(join(patches, PATCH), pictures)


def test_patches_scales_pixels_and_has_no_parameters():
    encoder = Patches(8, 4)
    tokens = encoder(torch.stack([torch.zeros(3, 8, 8), torch.full((3, 8, 8), 255)]).byte())
    torch.testing.assert_close(tokens.embeddings, torch.stack([-torch.ones(4, 48), torch.ones(4, 48)]))
    assert not list(encoder.parameters())
    with pytest.raises(InputError, match=r"image_encoder.patch must divide image_encoder.size \(32\), got 5"):
        Patches(32, 5)


@torch.no_grad()
def test_the_loss_is_the_squared_error_of_the_velocity(batch):
    model = build().eval()
    pixels = cut(batch.image.float() / 127.5 - 1, PATCH)
    noise, time = torch.randn_like(pixels), torch.tensor([0.0, 0.5, 0.99])
    model.task.predict_image = lambda *_: pixels + 0.2
    losses = model.task.losses(model, batch, no_blanks(batch), noise, time)
    torch.testing.assert_close(losses, torch.tensor([0.04, 0.16, 0.04 / MIN_REMAINING_TIME**2]), rtol=1e-4, atol=1e-4)
    model.task.predict_image = lambda *_: pixels
    assert model.task.losses(model, batch, no_blanks(batch), noise, time).max() < 1e-6
    velocity = model.task.velocity(model, None, noise, torch.zeros(3))
    torch.testing.assert_close(velocity, pixels - noise)


@torch.no_grad()
def test_every_caption_token_affects_every_patch_if_read(model, batch):
    if isinstance(model, ImageOnly):
        pytest.skip("it hides the canvas, as another test holds it to")
    before = predicted(model, batch)
    for place in range(1, int(batch.mask[1].sum()) - 1):
        ids = batch.ids.clone()
        ids[1, place] = model.vocabulary.unknown
        change = (predicted(model, batch._replace(ids=ids)) - before).abs().amax(-1)  # (B, N)
        assert (change[1] > 1e-9).all() == reads_caption(model)
        assert (change[[0, 2]] < 1e-10).all()


@torch.no_grad()
def test_padding_of_the_caption_reaches_nothing(model, batch):
    more = torch.nn.functional.pad
    wider = batch._replace(
        ids=more(batch.ids, (0, 3), value=model.vocabulary.mask),
        mask=more(batch.mask, (0, 3)),
        block_ids=more(batch.block_ids, (0, 3)),
    )
    torch.testing.assert_close(predicted(model, wider), predicted(model, batch), **CLOSE)


@torch.no_grad()
def test_a_blank_caption_is_not_read(model, batch):
    blank = torch.ones(batch.size, dtype=torch.bool)
    turned = batch._replace(ids=torch.cat([batch.ids[:, :1], batch.ids[:, 1:].flip(0)], 1))
    torch.testing.assert_close(predicted(model, turned, blank), predicted(model, batch, blank), **CLOSE)
    same = torch.allclose(predicted(model, batch, blank), predicted(model, batch), **CLOSE)
    assert same == (not reads_caption(model))


@torch.no_grad()
def test_the_canvas_is_seen_except_by_the_image_only_control(model, batch):
    caption = model.task.embed_caption(model, batch.words, no_blanks(batch))
    noise, time = torch.randn(3, 16, 48).double(), torch.rand(3).double()
    other = noise.clone()
    other[:, 7] += 1
    change = model.task.predict_image(model, caption, other, time) - model.task.predict_image(
        model, caption, noise, time
    )
    assert (change[:, 7].abs().amax(-1) > 1e-9).all() == (not isinstance(model, ImageOnly))


def silent(model, name):
    """Return whether a gradient is zero by design, because the fusion hides the caption or the canvas."""
    caption = name.startswith(("text_encoder.embedding", "text_encoder.position", "task.reader.", "task.norm."))
    canvas = name.startswith(("task.canvas.", "task.position", "task.time.", "connector."))
    return caption if isinstance(model, TextOnly) else canvas and isinstance(model, ImageOnly)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_parameter_gets_a_gradient(fusion, text, batch):
    model = build(fusion, text).train()
    model.task.loss(model, batch).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert not [name for name, p in model.named_parameters() if not p.grad.any() and not silent(model, name)]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_drawing_depends_only_on_caption_and_key(fusion, batch):
    model = build(fusion).eval()
    drawn = model.task.draw(model, batch.words, batch.keys)
    assert drawn.shape == batch.image.shape
    assert drawn.dtype == torch.uint8
    assert torch.equal(model.task.produce_images(model, batch), drawn), "the same once more"
    alone = Texts(samples()[2:], model.vocabulary).batch([0], batch.image[2:])
    assert (model.task.produce_images(model, alone)[0].int() - drawn[2].int()).abs().max() <= 1
    other = model.task.draw(model, batch.words, ["x", "y", "z"])
    assert torch.equal(other, drawn) == isinstance(model, ImageOnly)


@torch.no_grad()
def test_guidance_of_1_uses_only_the_conditional_velocity(batch):
    model, flow = build("interactive-co").eval(), Flow(3, 1)
    guided = model.task.draw(model, batch.words, batch.keys, flow)
    model.task.caption_dropout = 1.0
    read, calls = model.task.velocity, []
    model.task.velocity = lambda *given: calls.append(1) or read(*given)
    assert torch.equal(model.task.draw(model, batch.words, batch.keys, flow), guided)
    assert len(calls) == flow.steps
    assert not torch.equal(model.task.draw(model, batch.words, batch.keys, Flow(3, 6)), guided)


def test_evaluations_repeat_and_metrics_follow_from_rows(batch):
    model = build().eval()
    first, torch_state = model.task.predict(model, batch), torch.get_rng_state()
    assert model.task.predict(model, batch) == first
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert [row.prediction in ("light", "dark") for row in first] == [True] * 3
    blanked = [row._replace(score=math.nan) for row in first]
    assert model.task.score(blanked) == first
    figures = model.task.compute_metrics(first)
    assert figures["score"] == sum(row.prediction in row.references for row in first) / 3
    assert figures["odd"] == pytest.approx(1 - figures["score"])
    assert figures["loss"] == pytest.approx(sum(row.loss for row in first) / 3)


def test_the_distance_covers_only_the_last_evaluation(batch):
    model = build().eval()
    assert math.isnan(model.task.extra_metrics()["FID(brightness)"])
    rows = model.task.aggregate(model, model.task.predict(model, batch))
    distance_of_last = model.task.extra_metrics()["FID(brightness)"]
    assert distance_of_last > 0
    assert "FID(brightness)" not in model.task.compute_metrics(rows)
    model.task.aggregate(model, model.task.predict(model, batch))
    assert model.task.extra_metrics()["FID(brightness)"] == distance_of_last


def test_the_distance_of_shifted_features_is_the_squared_shift():
    features = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).double()
    assert distance([(x, x) for x in features]) == pytest.approx(0, abs=1e-6)
    assert distance([(x, x + 3) for x in features]) == pytest.approx(5 * 9, abs=1e-4)
    assert math.isnan(distance([(features[0], features[0])]))


def test_an_answer_is_the_description_of_the_drawing(batch):
    model = build().eval()
    rows = model.task.predict(model, batch)
    assert model.task.top_answers(model, batch, 5) == [[(row.prediction, row.confidence)] for row in rows]


def test_a_rebuilt_checkpoint_draws_the_same(batch, tmp_path):
    model = build("late-gate").eval()
    content = {"state_dict": model.state_dict()}
    checkpoint.pack(model, content)
    torch.save(content, tmp_path / "model.ckpt")
    loaded = Fusion.load_from_checkpoint(tmp_path / "model.ckpt")
    assert torch.equal(loaded.task.produce_images(loaded, batch), model.task.produce_images(model, batch))
    assert loaded.task.signature("test") == model.task.signature("test")
    assert "brightness|decoding:euler-3-guidance-2|split:test" in loaded.task.signature("test")


def test_what_does_not_fit_is_refused(batch):
    with pytest.raises(InputError, match=r"task\.patch=5 must divide task\.size=32"):
        Drawing(Brightness(), patch=5)
    torch.manual_seed(0)
    drawing = Drawing(Brightness(), tiny.SIZE, PATCH)
    wrong = tiny.fusion(EarlyFusion, image_encoder=Patches(tiny.SIZE, 8), task=drawing)
    with pytest.raises(InputError, match=r"drawing needs model\.image_encoder Patches with size=16 and patch=4"):
        wrong.task.loss(wrong, batch)
