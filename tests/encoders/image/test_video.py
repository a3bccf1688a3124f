"""The video encoder adds a time embedding to each frame of a clip."""

import pytest
import torch
from helpers import tiny

from velm_lightning.data.features.store import FeatureStore
from velm_lightning.encoders import VideoEncoder
from velm_lightning.fusion import LateFusion
from velm_lightning.io.configurable import build, to_config
from velm_lightning.types import InputError


@pytest.fixture
def clips():
    return torch.stack([tiny.picture(seed) for seed in range(6)]).view(2, 3, 3, tiny.SIZE, tiny.SIZE)  # 2 of 3 frames


@pytest.fixture
def video():
    return VideoEncoder(tiny.vit(), frames=4).eval()


def test_every_frame_gets_its_time_embedding(video, clips):
    extra = (video(clips).embeddings - video.encoder(clips).embeddings).unflatten(1, (3, -1))  # (B, T, cells, D)
    expected = video.time[:3, None].expand(extra.shape[1:])
    torch.testing.assert_close(extra, expected.expand_as(extra), atol=1e-6, rtol=0)


def test_the_order_of_frames_changes_the_tokens(video, clips):
    """The mean of all tokens, which late fusion computes, depends on the order only through time embeddings."""
    reversed_clips = video(clips.flip(1)).embeddings.unflatten(1, (3, -1)).flip(1).flatten(1, 2)
    assert not torch.allclose(reversed_clips, video(clips).embeddings)


def test_an_image_is_a_clip_of_one_frame(video, clips):
    torch.testing.assert_close(video(clips[:, 0]).embeddings, video(clips[:, :1]).embeddings)


def test_a_clip_with_too_many_frames_is_refused(clips):
    with pytest.raises(
        InputError, match=r"image_encoder.frames must be at least the number of frames per clip \(3\), got 2"
    ):
        VideoEncoder(tiny.cnn(), frames=2)(clips)


def test_frozen_frames_are_cached_and_time_is_trainable(tmp_path, clips):
    video = VideoEncoder(tiny.pretrained_image("hf-vit", trainable=0)).eval()
    assert not video.frozen
    assert video.of_frames is video.encoder
    store = FeatureStore([tuple(clip) for clip in clips], video.of_frames, tmp_path, progress=False)
    features = store.fetch([0, 1])
    assert features.shape == (2, 3, 4, tiny.DIM)
    torch.testing.assert_close(video(features).embeddings, video(clips).embeddings, atol=2e-3, rtol=0)
    model = tiny.fusion(LateFusion, image_encoder=video)
    assert model.image_encoder.time.requires_grad


def test_it_is_rebuilt_from_its_config(video, clips):
    again = build(to_config(video)).eval()
    again.load_state_dict(video.state_dict())
    assert torch.equal(again(clips).embeddings, video(clips).embeddings)
