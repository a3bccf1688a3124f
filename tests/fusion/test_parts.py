"""The arguments that every fusion accepts: typed, listed in signatures, and recorded."""

import inspect
import typing

import pytest
from helpers import tiny

from velm_lightning.fusion import (
    BottleneckFusion,
    EarlyFusion,
    Fusion,
    FusionParts,
    ImageOnly,
    InteractiveFusion,
    InterleavedFusion,
    LateFusion,
    MergedFusion,
    TextOnly,
)

PARTS = list(inspect.signature(Fusion).parameters)


def test_the_typed_arguments_are_those_of_fusion():
    assert list(FusionParts.__annotations__) == PARTS
    hints = typing.get_type_hints(FusionParts, include_extras=True)
    required = [name for name, hint in hints.items() if typing.get_origin(hint) is not typing.NotRequired]
    assert required == [name for name, p in inspect.signature(Fusion).parameters.items() if p.default is p.empty]


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        (EarlyFusion, ["join", "leave"]),
        (InterleavedFusion, ["first", "every", "last", "gated", "feed_forward", "heads", "dropout"]),
        (InteractiveFusion, ["depth", "heads", "dropout", "co_attention", "gated"]),
        (LateFusion, ["merge"]),
        (MergedFusion, ["depth", "heads", "dropout"]),
        (BottleneckFusion, ["count", "depth", "heads", "dropout"]),
        (TextOnly, []),
        (ImageOnly, ["join", "leave"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_signature_lists_every_argument(kind, extra):
    assert list(inspect.signature(kind).parameters) == extra + PARTS


def test_a_subclass_lists_the_arguments_of_its_parent():
    class Weighted(LateFusion):
        def __init__(self, weight=1.0, **parts):
            super().__init__(**parts)

    assert list(inspect.signature(Weighted).parameters) == ["weight", "merge", *PARTS]
    assert tiny.fusion(Weighted, weight=2.0)._init_args["weight"] == 2.0


def test_the_arguments_behind_parts_are_recorded():
    assert {"vocabulary", "image_encoder", "text_encoder", "task"} <= set(tiny.fusion(LateFusion)._init_args)
