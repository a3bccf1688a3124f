"""DeepStack fusion: several depths of the image encoder enter the first layers of the trunk."""

import pytest
import torch
from helpers import dialogues, tiny

from velm_lightning.data.features.frozen import encoder_key
from velm_lightning.encoders import Patches, VideoEncoder
from velm_lightning.encoders.connectors import Resampler
from velm_lightning.fusion import DeepStackFusion
from velm_lightning.inspection.explain import explain
from velm_lightning.nn.attention import record_attention
from velm_lightning.tasks import Generation
from velm_lightning.types import InputError

CELLS = 4  # a picture of 16 pixels in patches of 8


def made(levels=2, encoder=None, **changes):
    encoder = encoder or tiny.vit(depth=4)
    text = changes.pop("text_encoder", None) or tiny.transformer(depth=4)
    return tiny.fusion(DeepStackFusion, image_encoder=encoder, text_encoder=text, levels=levels, **changes).eval()


@torch.no_grad()
@pytest.mark.parametrize(
    "make",
    [
        lambda: tiny.vit(depth=4),
        lambda: tiny.pretrained_image("hf-vit", config=deeper()),
        lambda: tiny.cnn(widths=(4, 6, 8, 8), size=32),
    ],
)
def test_an_encoder_returns_evenly_spaced_depths(make):
    encoder = make().eval()
    pixels = torch.randn(2, 3, encoder.transform.size, encoder.transform.size)
    before = encoder.encode(pixels)
    encoder.open_depths(3)
    assert encoder.depths == (1, 2, 3)
    *earlier, last = encoder.encode(pixels).split(CELLS, dim=1)
    assert torch.equal(last, before)
    assert len(earlier) == 3
    assert all(part.shape == last.shape and not torch.allclose(part, last) for part in earlier)


def deeper():
    return tiny.IMAGE_CONFIGS["hf-vit"] | {"num_hidden_layers": 4}


@pytest.mark.parametrize(("count", "depth", "layers"), [(1, 4, (2,)), (2, 6, (2, 4)), (3, 27, (7, 14, 20))])
def test_depths_are_spread_over_the_encoder(count, depth, layers):
    encoder = tiny.vit(depth=depth)
    encoder.open_depths(count)
    assert encoder.depths == layers


@torch.no_grad()
def test_the_first_layers_receive_one_depth_each(batch):
    model, states = made(), []
    for layer in model.text_encoder.layers:
        layer.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
        layer.register_forward_hook(lambda *call: states.append(call[2]))
    model(batch)
    added = [entered - left for left, entered in zip(states[1::2], states[2::2], strict=False)]
    levels = model.encode_image(batch.image).embeddings.split(CELLS, dim=1)
    for addition, level in zip(added, (levels[0], levels[1], torch.zeros_like(levels[0])), strict=True):
        torch.testing.assert_close(addition[:, :CELLS], level, atol=1e-5, rtol=0.0)
        assert not addition[:, CELLS:].any(), "words are unchanged"


@torch.no_grad()
def test_every_depth_reaches_the_words(batch):
    model = made()
    image, text = model.encode_image(batch.image), model.embed_text(batch.words)
    before = model.fuse(image, text).embeddings
    for level in range(3):
        changed = image.embeddings.clone()
        changed[:, level * CELLS : (level + 1) * CELLS] *= -1
        assert not torch.allclose(model.fuse(image.with_embeddings(changed), text).embeddings, before)


@torch.no_grad()
def test_frames_of_a_clip_keep_their_depths(batch):
    clip = torch.stack([batch.image, batch.image.flip(0)], dim=1)
    model = made(encoder=VideoEncoder(tiny.vit(depth=4), frames=2))
    model.image_encoder.time.zero_()
    one = made(encoder=VideoEncoder(tiny.vit(depth=4), frames=2))
    one.load_state_dict(model.state_dict())
    frames = model.encode_image(clip).embeddings.unflatten(1, (3, 2, CELLS))
    for place, image in enumerate((batch.image, batch.image.flip(0))):
        alone = one.encode_image(image).embeddings.unflatten(1, (3, CELLS))
        torch.testing.assert_close(frames[:, :, place], alone, atol=1e-5, rtol=0.0)


TWO = (dialogues.user(None, "is there", None, "a red circle ?"), dialogues.reply("blue stars"))


@pytest.fixture
def two_images():
    """A model, and a sample with two images at their marks."""
    model = made(task=Generation())
    return model, dialogues.batch([dialogues.sample("a", TWO, (tiny.picture(0), tiny.picture(1)))], model.vocabulary)


@torch.no_grad()
def test_images_at_marks_keep_their_depths(two_images):
    model, batch = two_images
    depths = model.encode_images(batch).embeddings.split(2 * CELLS, dim=1)
    alone = [model.encode_image(batch.image[:, place]).embeddings.split(CELLS, dim=1) for place in range(2)]
    for depth, both in zip(depths, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(depth, torch.cat(both, dim=1))


@torch.no_grad()
def test_attention_shown_is_that_to_the_last_image(two_images):
    model, batch = two_images
    with record_attention() as maps:
        model(batch)
    first = maps[-1][1].mean(1)[:, 2 * CELLS, CELLS : 2 * CELLS]  # of the first word, to the second image
    shown = explain(model, batch, ["blue stars"]).attention.flatten(1)
    torch.testing.assert_close(shown / shown.sum(), first / first.sum())


@pytest.mark.parametrize(("dark", "seen"), [(0, True), (1, False)])
def test_evidence_shown_is_that_of_the_last_image(two_images, dark, seen):
    model, batch = two_images

    def darken(module, inputs, tokens):
        tokens.embeddings[dark] = 0.0

    model.image_encoder.register_forward_hook(darken)
    assert bool(explain(model, batch, ["blue stars"]).evidence.any()) == seen


@torch.no_grad()
def test_a_resampler_maps_every_depth(batch):
    model = made(connector=Resampler(count=3, depth=1, heads=2))
    assert model.encode_image(batch.image).embeddings.shape == (batch.size, 3 * 3, tiny.DIM)
    assert model(batch).embeddings.shape == (*batch.ids.shape, tiny.DIM)


def test_cached_features_of_other_depths_are_not_reused():
    encoder = tiny.pretrained_image("hf-vit", config=deeper(), trainable=0)
    keys = [encoder_key(encoder)]
    for count in (1, 2):
        encoder.open_depths(count)
        keys.append(encoder_key(encoder))
    assert len(set(keys)) == 3


def test_attention_and_evidence_lie_on_the_grid(batch):
    maps = explain(made(), batch, ["yes"] * batch.size)
    assert maps.attention.shape == maps.evidence.shape == (batch.size, 2, 2)


@pytest.mark.parametrize("make", [Patches, lambda: tiny.pretrained_image("resnet")])
def test_an_encoder_of_one_depth_is_refused_by_name(make):
    with pytest.raises(InputError, match=r"image_encoder: a \w+ has tokens of one depth only: choose SmallCNN"):
        made(levels=1, encoder=make())


@pytest.mark.parametrize("levels", [0, 4])
def test_more_levels_than_layers_are_refused(levels):
    with pytest.raises(InputError, match="model.levels must be 1 to 3, one less than the layers of the trunk"):
        made(levels=levels)
    with pytest.raises(InputError, match="it has 2 layers, of which 1 to 1 precede the last one, got 2"):
        made(levels=2, encoder=tiny.vit(depth=2))
