"""The image-encoder interface; a new encoder is added to ``ENCODERS``."""

import pytest
import torch
from helpers import tiny

from velm_lightning.encoders import PatchEmbedding, SmallCNN, SmallViT, TorchvisionCNN
from velm_lightning.types import InputError

CLOSE = {"atol": 1e-9, "rtol": 1e-9}
ENCODERS = {
    "SmallCNN": lambda: tiny.cnn(size=32),
    "SmallViT": lambda: tiny.vit(size=32),
    "PatchEmbedding": lambda: PatchEmbedding(size=32, patch=8, dim=12),
    "TorchvisionCNN": lambda: TorchvisionCNN("squeezenet1_1", weights=None, trainable=-1, size=64),
}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return ENCODERS[request.param]().double().eval()


@pytest.fixture
def images(encoder):
    size = encoder.transform.size
    return torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)


@torch.no_grad()
def test_an_image_gives_a_grid_of_valid_tokens_of_block_0(encoder, images):
    tokens = encoder(images)
    rows, columns = encoder.grid
    assert tokens.embeddings.shape == (3, rows * columns, encoder.dim)
    assert tokens.mask.all()
    assert not tokens.block_ids.any()


@torch.no_grad()
def test_the_tokens_of_frames_are_concatenated(encoder, images):
    clips = torch.stack([images, images.flip(0)], dim=1)  # (3, 2, 3, H, W)
    apart = torch.cat([encoder(images).embeddings, encoder(images.flip(0)).embeddings], dim=1)
    torch.testing.assert_close(encoder(clips).embeddings, apart, **CLOSE)


@torch.no_grad()
def test_the_tokens_of_an_image_ignore_the_rest_of_the_batch(encoder, images):
    together = encoder(images).embeddings
    for index in range(len(images)):
        torch.testing.assert_close(encoder(images[index : index + 1]).embeddings[0], together[index], **CLOSE)


@torch.no_grad()
def test_tokens_are_in_row_major_order(encoder, images):
    """A change in one corner of the image changes the token of that corner most."""
    rows, columns = encoder.grid
    size = encoder.transform.size
    before = encoder(images[:1]).embeddings[0]
    side = size // max(rows, columns)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        other = images[:1].clone()
        y, x = down * (size - side), right * (size - side)
        other[..., y : y + side, x : x + side] = 255
        change = (encoder(other).embeddings[0] - before).abs().sum(-1).view(rows, columns)
        corners = change[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert divmod(int(corners.argmax()), 2) == (down, right)


@torch.no_grad()
def test_pixels_are_normalised_by_the_transform(encoder, images):
    inputs = []
    encode = encoder.encode
    encoder.encode = lambda pixels: inputs.append(pixels) or encode(pixels)
    encoder(images)
    mean, std = (torch.tensor(part).double().view(3, 1, 1) for part in (encoder.transform.mean, encoder.transform.std))
    torch.testing.assert_close(inputs[0], (images.double() / 255 - mean) / std, atol=1e-6, rtol=0.0)


@torch.no_grad()
def test_cached_tokens_are_used_unchanged(encoder, images):
    tokens = encoder(images)
    again = encoder(tokens.embeddings.float())
    torch.testing.assert_close(again.embeddings, tokens.embeddings, atol=1e-4, rtol=1e-4)
    clip = torch.stack([tokens.embeddings, tokens.embeddings.flip(0)], dim=1)  # (B, T, N, D)
    assert torch.equal(encoder(clip).embeddings, clip.flatten(1, 2))


def test_the_normalisation_is_not_in_the_state_dict(encoder):
    assert not {"mean", "std"} & set(encoder.state_dict())


def test_every_parameter_gets_a_gradient(encoder, images):
    encoder.train()
    tokens = encoder(images).embeddings
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())
    assert not encoder.frozen


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SmallCNN(size=20, widths=(8, 8, 8)),
            "image_encoder.size must be a multiple of 8 for 3 stages, got 20",
        ),
        (lambda: SmallCNN(size=2, widths=(8, 8)), "image_encoder.size must be a multiple of 4 for 2 stages, got 2"),
        (lambda: SmallViT(size=30, patch=8), r"image_encoder.patch must divide image_encoder.size \(30\), got 8"),
        (lambda: SmallViT(size=8, patch=16), r"image_encoder.patch must divide image_encoder.size \(8\), got 16"),
        (lambda: SmallViT(dim=10, heads=4), "heads=4 does not divide dim=10"),
    ],
)
def test_invalid_sizes_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_frozen_reflects_requires_grad():
    encoder = tiny.cnn()
    encoder.requires_grad_(False)
    assert encoder.frozen
