"""Every fusion states where image and text meet."""

import pytest
from helpers import tiny

from velm_lightning.fusion import (
    BottleneckFusion,
    DeepStackFusion,
    EarlyFusion,
    Fusion,
    ImageOnly,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    MergedFusion,
    MixtureOfTransformers,
    TextOnly,
)
from velm_lightning.fusion.meeting import AFTER

CASES = [
    (EarlyFusion, {}, ("joined attention", 0.0)),
    (EarlyFusion, {"join": 1}, ("joined attention", 0.25)),
    (EarlyFusion, {"join": 2, "leave": 3}, ("joined attention, left again", 0.5)),
    (MergedFusion, {"heads": 2}, ("joined attention", 1.0)),
    (InterleavedFusion, {"heads": 2}, ("cross-attention", 0.0)),
    (InterleavedFusion, {"heads": 2, "first": 3}, ("cross-attention", 0.75)),
    (InterleavedFusion, {"heads": 2, "first": 1, "every": 2}, ("cross-attention in some layers", 0.25)),
    (InterleavedFusion, {"heads": 2, "last": 0}, ("cross-attention in some layers", 0.0)),
    (InteractiveFusion, {"heads": 2}, ("cross-attention", 1.0)),
    (BottleneckFusion, {"heads": 2}, ("bottleneck tokens", 1.0)),
    (DeepStackFusion, {}, ("joined attention, several depths of the image", 0.0)),
    (MixtureOfTransformers, {}, ("joined attention, weights per modality", 0.0)),
    (DeepStackFusion, {"join": 1}, ("joined attention, several depths of the image", 0.25)),
    (MixtureOfTransformers, {"join": 1, "leave": 2}, ("joined attention, left again, weights per modality", 0.25)),
    (LateFusion, {}, ("merge", AFTER)),
    (TextOnly, {}, None),
    (ImageOnly, {}, None),
]


@pytest.mark.parametrize(("kind", "changes", "meeting"), CASES)
def test_a_fusion_states_kind_and_depth(kind, changes, meeting):
    assert tiny.fusion(kind, text_encoder=tiny.transformer(depth=4), **changes).meeting == meeting


def test_a_fusion_of_a_user_states_nothing_unless_it_does():
    class Own(Fusion):
        def fuse(self, image, text):
            return text

    assert tiny.fusion(Own).meeting is None


def test_a_trunk_without_layers_has_a_depth_too():
    assert tiny.fusion(EarlyFusion, text_encoder=tiny.recurrent()).meeting == ("joined attention", 0.0)
