"""A size below 1 is refused by its key, value and limit when the part is made, not in a later computation."""

import pytest
from helpers import tiny

from velm_lightning.encoders import PatchEmbedding
from velm_lightning.fusion import (
    BilinearAttention,
    BlockTerm,
    FactorizedBilinear,
    InteractiveFusion,
    InterleavedFusion,
    LowRankBilinear,
    MergedFusion,
    Mutan,
    TensorFusion,
)
from velm_lightning.types import InputError

CASES = [
    (lambda: tiny.fusion(InteractiveFusion, heads=2, depth=0), "model.depth must be at least 1, got 0"),
    (lambda: tiny.fusion(MergedFusion, heads=2, depth=-1), "model.depth must be at least 1, got -1"),
    (lambda: tiny.fusion(InterleavedFusion, heads=0), "heads=0 does not divide dim=8: choose a divisor"),
    (lambda: tiny.fusion(MergedFusion, heads=-2), "heads=-2 does not divide dim=8: choose a divisor"),
    (lambda: LowRankBilinear(rank=0), "merge.rank must be at least 1, got 0"),
    (lambda: TensorFusion(size=0), "merge.size must be at least 1, got 0"),
    (lambda: Mutan(rank=0), "merge.rank must be at least 1, got 0"),
    (lambda: Mutan(size=-3), "merge.size must be at least 1, got -3"),
    (lambda: FactorizedBilinear(factors=0), "merge.factors must be at least 1, got 0"),
    (lambda: BlockTerm(size=0, chunks=2), "merge.size must be at least 1, got 0"),
    (lambda: BlockTerm(chunks=0), "merge.chunks must be at least 1, got 0"),
    (lambda: BlockTerm(rank=0), "merge.rank must be at least 1, got 0"),
    (lambda: BilinearAttention(glimpses=0), "merge.glimpses must be at least 1, got 0"),
    (lambda: tiny.transformer(depth=0), "text_encoder.depth must be at least 1, got 0"),
    (lambda: tiny.transformer(dim=0), "text_encoder.dim must be at least 1, got 0"),
    (lambda: tiny.transformer(heads=0), "heads=0 does not divide dim=8: choose a divisor"),
    (lambda: tiny.transformer(max_positions=0), "text_encoder.max_positions must be at least 1, got 0"),
    (lambda: tiny.recurrent(depth=0), "text_encoder.depth must be at least 1, got 0"),
    (lambda: tiny.vit(depth=0), "image_encoder.depth must be at least 1, got 0"),
    (lambda: PatchEmbedding(size=16, dim=0), "image_encoder.dim must be at least 1, got 0"),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=[message for _, message in CASES])
def test_a_size_below_1_is_refused_by_its_key(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
