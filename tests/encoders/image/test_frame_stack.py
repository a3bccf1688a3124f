"""An encoder of clips as one image with many channels, for a fixed number of ordered frames."""

import pytest
import torch
from helpers import tiny

from velm_lightning.encoders import FrameStack, SmallCNN
from velm_lightning.io.configurable import build, to_config
from velm_lightning.types import InputError


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return FrameStack(frames=3, size=tiny.SIZE, widths=(8, 8), dim=12).eval()


@pytest.fixture
def clips():
    return torch.stack([tiny.picture(seed) for seed in range(6)]).view(2, 3, 3, tiny.SIZE, tiny.SIZE)  # 2 of 3 frames


@torch.no_grad()
def test_a_clip_has_as_many_tokens_as_an_image(encoder, clips):
    tokens = encoder(clips)
    assert tokens.embeddings.shape == (2, encoder.grid[0] * encoder.grid[1], 12)
    assert tokens.mask.all()
    assert not tokens.block_ids.any()


@torch.no_grad()
def test_every_frame_and_the_order_change_the_tokens(encoder, clips):
    tokens = encoder(clips).embeddings
    for order in ([1, 0, 2], [2, 1, 0]):
        assert not torch.allclose(encoder(clips[:, order]).embeddings, tokens, atol=1e-3)
    for frame in range(3):
        other = clips.clone()
        other[:, frame] = 255 - other[:, frame]
        assert not torch.allclose(encoder(other).embeddings, tokens, atol=1e-3)


@torch.no_grad()
def test_one_frame_equals_the_image_encoder(clips):
    plain, stacked = tiny.cnn().eval(), FrameStack(1, tiny.SIZE, (8, 8), 12).eval()
    stacked.load_state_dict(plain.state_dict())
    assert isinstance(stacked, SmallCNN)
    torch.testing.assert_close(stacked(clips[:, :1]).embeddings, plain(clips[:, 0]).embeddings)


def test_another_number_of_frames_is_refused(encoder, clips):
    with pytest.raises(InputError, match=r"image_encoder.frames must equal the number of frames per clip \(2\), got 3"):
        encoder(clips[:, :2])
    with pytest.raises(InputError, match=r"image_encoder.frames must equal the number of frames per clip \(1\), got 3"):
        encoder(clips[:, 0])


def test_it_is_rebuilt_from_its_config(encoder, clips):
    again = build(to_config(encoder)).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(clips).embeddings, encoder(clips).embeddings)
