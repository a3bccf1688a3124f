"""What every image encoder owes a fusion; a new one joins by one line."""

import pytest
import torch
from helpers import tiny

from velm_lightning.encoders import SmallCNN, SmallViT, TorchvisionCNN
from velm_lightning.types import InputError

CLOSE = {"atol": 1e-9, "rtol": 1e-9}
ENCODERS = {
    "SmallCNN": lambda: tiny.cnn(size=32),
    "SmallViT": lambda: tiny.vit(size=32),
    "TorchvisionCNN": lambda: TorchvisionCNN("squeezenet1_1", weights=None, trainable=-1, size=64),
}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return ENCODERS[request.param]().double().eval()


@pytest.fixture
def pictures(encoder):
    size = encoder.transform.size
    return torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)


@torch.no_grad()
def test_a_picture_becomes_a_grid_of_valid_tokens_of_block_0(encoder, pictures):
    tokens = encoder(pictures)
    rows, columns = encoder.grid
    assert tokens.embeddings.shape == (3, rows * columns, encoder.dim)
    assert tokens.mask.all()
    assert not tokens.block_ids.any()


@torch.no_grad()
def test_the_frames_of_a_clip_follow_each_other(encoder, pictures):
    clips = torch.stack([pictures, pictures.flip(0)], dim=1)  # (3, 2, 3, H, W)
    apart = torch.cat([encoder(pictures).embeddings, encoder(pictures.flip(0)).embeddings], dim=1)
    torch.testing.assert_close(encoder(clips).embeddings, apart, **CLOSE)


@torch.no_grad()
def test_a_picture_is_seen_alike_whatever_is_beside_it(encoder, pictures):
    together = encoder(pictures).embeddings
    for index in range(len(pictures)):
        torch.testing.assert_close(encoder(pictures[index : index + 1]).embeddings[0], together[index], **CLOSE)


@torch.no_grad()
def test_tokens_stand_row_by_row(encoder, pictures):
    """What changes in one corner of the picture changes the token of that corner more than those of the others."""
    rows, columns = encoder.grid
    size = encoder.transform.size
    before = encoder(pictures[:1]).embeddings[0]
    side = size // max(rows, columns)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        other = pictures[:1].clone()
        y, x = down * (size - side), right * (size - side)
        other[..., y : y + side, x : x + side] = 255
        change = (encoder(other).embeddings[0] - before).abs().sum(-1).view(rows, columns)
        corners = change[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert divmod(int(corners.argmax()), 2) == (down, right)


@torch.no_grad()
def test_pixels_are_normalised_by_the_transform(encoder, pictures):
    seen = []
    encode = encoder.encode
    encoder.encode = lambda pixels: seen.append(pixels) or encode(pixels)
    encoder(pictures)
    mean, std = (torch.tensor(part).double().view(3, 1, 1) for part in (encoder.transform.mean, encoder.transform.std))
    torch.testing.assert_close(seen[0], (pictures.double() / 255 - mean) / std, atol=1e-6, rtol=0.0)


@torch.no_grad()
def test_tokens_that_were_made_before_are_taken_as_they_are(encoder, pictures):
    made = encoder(pictures)
    again = encoder(made.embeddings.float())
    torch.testing.assert_close(again.embeddings, made.embeddings, atol=1e-4, rtol=1e-4)
    clip = torch.stack([made.embeddings, made.embeddings.flip(0)], dim=1)  # (B, T, N, D)
    assert torch.equal(encoder(clip).embeddings, clip.flatten(1, 2))


def test_the_normalisation_is_no_weight(encoder):
    assert not {"mean", "std"} & set(encoder.state_dict())


def test_every_parameter_gets_a_gradient(encoder, pictures):
    encoder.train()
    tokens = encoder(pictures).embeddings
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
def test_sizes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_freezing_is_noticed():
    encoder = tiny.cnn()
    encoder.requires_grad_(False)
    assert encoder.frozen
