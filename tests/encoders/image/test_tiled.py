"""An image as a thumbnail and tiles: its tokens, their places and their mask."""

import pytest
import torch
from helpers import dialogues, tiny

from velm_lightning.data.collate import Texts
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.data.images.decode import read_image
from velm_lightning.encoders import FrameStack, SmallCNN, TiledEncoder, VideoEncoder
from velm_lightning.fusion import (
    BottleneckFusion,
    DeepStackFusion,
    EarlyFusion,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    MergedFusion,
    MixtureOfTransformers,
)
from velm_lightning.io.configurable import build, to_config
from velm_lightning.tasks import Generation
from velm_lightning.types import InputError

SIZE = 8
SIZES = ((1, 1), (8, 8), (16, 16), (40, 10), (10, 40), (300, 3))  # width and height
TILES = (0, 0, 4, 4, 4, 4)
FUSIONS = {
    "early": EarlyFusion,
    "late": LateFusion,
    "interactive": lambda **parts: InteractiveFusion(heads=2, **parts),
    "interleaved": lambda **parts: InterleavedFusion(heads=2, gated=False, **parts),
    "bottleneck": lambda **parts: BottleneckFusion(heads=2, **parts),
    "deep-stack": DeepStackFusion,
    "merged": lambda **parts: MergedFusion(heads=2, **parts),
    "mixture": MixtureOfTransformers,
}


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TiledEncoder(tiny.vit(size=SIZE, depth=2), tiles=4).eval()


def image(width, height, seed=0):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def packed(encoder, sizes=SIZES):
    return torch.stack([read_image(image(*size, seed), encoder.transform) for seed, size in enumerate(sizes)])


@torch.no_grad()
def test_an_image_has_the_tokens_of_its_thumbnail_and_tiles(encoder):
    tokens, each = encoder(packed(encoder)), encoder.encoder.grid[0] ** 2
    assert tokens.embeddings.shape == (len(SIZES), 5 * each, encoder.encoder.dim + 4)
    assert tokens.mask.sum(1).tolist() == [(1 + tiles) * each for tiles in TILES]
    assert encoder.grid[0] * encoder.grid[1] == 5 * each


@torch.no_grad()
def test_tiles_are_encoded_as_images(encoder):
    source = image(16, 16)
    tokens = encoder(read_image(source, encoder.transform)[None]).embeddings[0, :, :-4]
    parts = [read_image(source, encoder.encoder.transform)]
    parts += [source[:, y : y + 8, x : x + 8] for y in (0, 8) for x in (0, 8)]
    expected = encoder.encoder(torch.stack(parts)).embeddings.flatten(0, 1)
    torch.testing.assert_close(tokens, expected)


@torch.no_grad()
def test_a_token_is_followed_by_its_place(encoder):
    boxes = encoder(packed(encoder, [(40, 10), (8, 8)])).embeddings[..., -4:].view(2, 5, *encoder.encoder.grid, 4)
    rows, columns = encoder.encoder.grid
    last = boxes[0, 4, -1, -1]  # of four tiles in a row
    assert last.tolist() == pytest.approx([1 - 0.5 / rows, 1 - 0.5 / (4 * columns), 1 / rows, 1 / (4 * columns)])
    assert boxes[0, 0, 0, 0].tolist() == pytest.approx([0.5 / rows, 0.5 / columns, 1 / rows, 1 / columns])
    assert not boxes[1, 1:].any()
    areas = boxes[0, 1:, ..., 2] * boxes[0, 1:, ..., 3]
    assert float(areas.sum()) == pytest.approx(1)


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_padding_is_invisible_to_every_fusion(fusion):
    torch.manual_seed(0)
    encoder = TiledEncoder(tiny.vit(size=SIZE, depth=4), tiles=2)
    model = tiny.fusion(FUSIONS[fusion], image_encoder=encoder).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    batch = tiny.batch(tiny.questions(), model.vocabulary)
    pixels = packed(encoder, [(8, 8)] * batch.size)
    other = pixels.clone()
    other[:, :, SIZE:-1] = 255 - other[:, :, SIZE:-1]  # in the place of missing tiles
    states = [model(batch._replace(image=each)).embeddings for each in (pixels, other)]
    torch.testing.assert_close(*states)
    larger = packed(encoder, [(16, 8)] * batch.size)
    changed = larger.clone()
    changed[:, :, SIZE:-1] = 255 - changed[:, :, SIZE:-1]
    states = [model(batch._replace(image=each)).embeddings for each in (larger, changed)]
    assert not torch.allclose(*states)


@torch.no_grad()
def test_features_keep_the_places_and_the_mask(encoder, tmp_path):
    encoder.requires_grad_(False)
    sources = [image(*size, seed) for seed, size in enumerate(SIZES)]
    store = FeatureStore(sources, encoder.of_frames, tmp_path, progress=False)
    computed, cached = encoder(packed(encoder)), encoder(store.fetch(range(len(SIZES))).float())
    assert torch.equal(computed.mask, cached.mask)
    torch.testing.assert_close(computed.embeddings, cached.embeddings, atol=4e-3, rtol=4e-3)


@torch.no_grad()
def test_frames_and_depths_are_tiled(encoder):
    video, pixels = VideoEncoder(encoder, frames=3).eval(), packed(encoder)
    clip = video(pixels.view(2, 3, *pixels.shape[1:]))
    assert torch.equal(clip.mask, encoder(pixels).mask.view(2, -1))
    last = encoder(pixels).embeddings
    encoder.open_depths(1)
    tokens = encoder(pixels)
    assert torch.equal(tokens.embeddings[:, last.shape[1] :], last)
    assert torch.equal(tokens.mask, encoder(pixels).mask[:, : last.shape[1]].repeat(1, 2))


@torch.no_grad()
def test_several_tiled_images_stand_at_their_marks():
    """A conversation with two images, one without any, and one with a later image."""
    torch.manual_seed(0)
    tiled = TiledEncoder(tiny.vit(size=SIZE), tiles=2)
    model = tiny.fusion(EarlyFusion, image_encoder=tiled, task=Generation()).eval()
    texts = Texts(dialogues.samples(), model.vocabulary)
    images = [read_image(image(8 * (1 + number), 8, number), tiled.transform) for number in range(3)]
    batch = texts.batch(range(3), torch.stack(images))  # 1 x 1, 1 x 2 and 1 x 2 tiles
    tokens = model.encode_images(batch)
    each = tiled.grid[0] * tiled.grid[1] // 3
    assert tokens.mask.sum(1).tolist() == [each + 3 * each, 0, 3 * each]
    other = batch.image.clone()
    other[0, 0, :, SIZE:-1] = 255 - other[0, 0, :, SIZE:-1]  # tiles that the first image does not have
    torch.testing.assert_close(model(batch._replace(image=other)).embeddings, model(batch).embeddings)


def test_it_is_rebuilt_from_its_config(encoder):
    again = build(to_config(encoder), allow=["velm_lightning"]).eval()
    again.load_state_dict(encoder.state_dict())
    assert again.transform == encoder.transform
    assert torch.equal(again(packed(encoder)).embeddings, encoder(packed(encoder)).embeddings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TiledEncoder(tiny.vit(), tiles=0), "image_encoder.tiles must be in 1…64, got 0"),
        (lambda: TiledEncoder(FrameStack(2, 16)), "a FrameStack cannot be tiled: wrap an encoder of one image"),
        (lambda: TiledEncoder(TiledEncoder(SmallCNN(16))), "a TiledEncoder cannot be tiled"),
    ],
)
def test_what_cannot_be_tiled_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
