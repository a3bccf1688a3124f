"""Image encoders whose images are not square."""

import json
import math

import pytest
import torch
from torch import nn

import velm_lightning as velm
from velm_lightning.data.features.frozen import encoder_key
from velm_lightning.encoders import FrameStack, HFImageEncoder, PatchEmbedding, SmallCNN, SmallViT, TorchvisionCNN
from velm_lightning.encoders.image.patches import Patches
from velm_lightning.io.configurable import build, to_config
from velm_lightning.types import InputError

SIZE = [16, 32]
HF = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 32}
KINDS = {
    "SmallCNN": lambda **more: SmallCNN(widths=(4, 8, 8), dim=8, **more),
    "SmallViT": lambda **more: SmallViT(dim=8, depth=2, heads=2, **more),
    "PatchEmbedding": lambda **more: PatchEmbedding(dim=8, **more),
    "Patches": lambda **more: Patches(**more),
    "TorchvisionCNN": lambda **more: TorchvisionCNN("squeezenet1_1", weights=None, **more | {"size": [64, 128]}),
    "ViT": lambda **more: HFImageEncoder(config=HF | {"model_type": "vit", "patch_size": 8}, **more),
    "DINOv2": lambda **more: HFImageEncoder(config=HF | {"model_type": "dinov2", "patch_size": 8}, **more),
    "CLIP": lambda **more: HFImageEncoder(config=HF | {"model_type": "clip_vision_model", "patch_size": 8}, **more),
    "SigLIP": lambda **more: HFImageEncoder(config=HF | {"model_type": "siglip_vision_model", "patch_size": 8}, **more),
    "wrapped": lambda size, **more: velm.wrap_encoder(nn.Conv2d(3, 8, 8, stride=8), 8, size, **more),
}


def images(encoder, count=2):
    return torch.randint(0, 256, (count, *encoder.transform.shape), dtype=torch.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_grid_has_the_aspect_ratio_of_the_image(kind):
    encoder = KINDS[kind](size=SIZE)
    rows, columns = encoder.grid
    assert encoder(images(encoder)).embeddings.shape == (2, rows * columns, encoder.dim)
    if kind != "TorchvisionCNN":
        assert (rows, columns) == (2, 4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("SmallCNN", "TorchvisionCNN")])
@torch.no_grad()
def test_tokens_are_row_major_in_images_that_are_not_square(kind):
    encoder = KINDS[kind](size=SIZE).eval()
    image = images(encoder, 1)
    for row, column in ((0, 3), (1, 0), (1, 2)):
        changed = image.clone()
        changed[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 100
        difference = (encoder(changed).embeddings - encoder(image).embeddings).norm(dim=2)[0]
        assert int(difference.argmax()) == 4 * row + column


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "wrapped"])
@torch.no_grad()
def test_a_size_and_transform_are_rebuilt_from_the_config(kind):
    encoder = KINDS[kind](size=SIZE, transform={"resize": "pad", "depth": "fixed", "depth_range": [0, 4095]}).eval()
    again = build(json.loads(json.dumps(to_config(encoder))), allow=["velm_lightning"]).eval()
    again.load_state_dict(encoder.state_dict())
    assert again.transform == encoder.transform
    image = images(encoder)
    assert torch.equal(again(image).embeddings, encoder(image).embeddings)
    assert encoder_key(again) == encoder_key(encoder)


@pytest.mark.parametrize("kind", ["SmallCNN", "SmallViT", "PatchEmbedding", "Patches", "ViT"])
def test_stretch_to_grid_rounds_the_size_up_to_patches(kind):
    encoder = KINDS[kind](size=[20, 33], transform={"resize": "stretch-to-grid"})
    assert encoder.transform.sides == (24, 40)
    assert encoder.grid == (3, 5)


def test_a_square_in_brackets_is_the_same_encoder():
    for size in (16, [16], [16, 16], (16, 16)):
        assert SmallCNN(size, widths=(4, 8), dim=8).transform == SmallCNN(16, widths=(4, 8), dim=8).transform
    key = [encoder_key(Patches(16, transform={"resize": resize}).requires_grad_(False)) for resize in ("squash", "pad")]
    assert key[0] != key[1]


def test_clips_and_depths_have_images_of_any_size():
    clips = FrameStack(2, SIZE, (4, 8, 8), 8)
    assert clips(images(clips, 4).view(2, 2, 3, *SIZE)).embeddings.shape == (2, 8, 8)
    for kind in ("SmallCNN", "SmallViT", "ViT"):
        encoder = KINDS[kind](size=SIZE)
        encoder.open_depths(1)
        assert encoder(images(encoder)).embeddings.shape == (2, 2 * 8, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": [16, 33]}, r"image_encoder.size must be a multiple of 4 for 2 stages, got \[16, 33\]"),
        (
            {"size": [16, 32, 3]},
            r"size must be pixels, such as 64, or \[height, width\], got \[16, 32, 3",
        ),
        ({"size": [16, -8]}, "image_encoder.size must be pixels"),
        ({"size": "big"}, "size='big' is of type str: give a whole number or a list"),
        ({"transform": {"resise": "pad"}}, "image_encoder.transform has no 'resise': choose among size, resize"),
        (
            {"transform": {"resize": "stretch"}},
            "image_encoder.transform.resize must be one of squash, crop, pad, stretch-to-grid, got 'stretch'",
        ),
        ({"transform": {"depth": "fixed"}}, r"depth_range must be \[black, white\] with depth: fixed, .* got None"),
        ({"transform": {"depth": "fixed", "depth_range": [5, 5]}}, "depth_range must be"),
        ({"transform": {"depth_range": [0, 5]}}, "depth_range must be .* with depth: auto"),
        ({"transform": {"tiles": 4}}, "image_encoder.transform.tiles is set by the encoder TiledEncoder"),
        ({"transform": {"depth": "fixed", "depth_range": [0, math.inf]}}, "depth_range must be 2 finite numbers"),
        ({"transform": {"crop_ratio": 0}}, "crop_ratio must be in 0…1, got 0"),
        ({"transform": {"crop_ratio": "half"}}, "crop_ratio must be in 0…1, got half"),
        ({"transform": {"mean": [0.5]}}, r"mean must be 3 finite numbers, got \[0.5\]"),
        ({"transform": {"mean": [math.nan] * 3}}, "mean must be 3 finite numbers"),
        ({"transform": {"mean": None}}, "mean must be 3 finite numbers, got None"),
        ({"transform": {"std": "abc"}}, "std must be 3 finite numbers, got 'abc'"),
        ({"transform": {"std": [0, 1, 1]}}, r"std must be above 0, got \[0, 1, 1\]"),
    ],
)
def test_what_is_not_allowed_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        SmallCNN(**{"size": 16, "widths": (4, 8), "dim": 8} | arguments)


def test_a_model_without_interpolation_is_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"image_encoder.size=\(16, 32\) does not suit a aimv2_vision_model"):
        HFImageEncoder(config=HF | {"model_type": "aimv2_vision_model", "patch_size": 8}, size=SIZE)
