"""Parts whose layers are made by ``build`` say so if they are used before it was called."""

import copy
import re

import pytest
import torch
from helpers import tiny

from velm_lightning.encoders import LinearConnector, MeanConnector, MLPConnector, Resampler
from velm_lightning.fusion import (
    BlockTerm,
    Concat,
    FactorizedBilinear,
    FiLM,
    GatedMultimodalUnit,
    LowRankBilinear,
    Mutan,
    Product,
    Sum,
    TensorFusion,
)
from velm_lightning.nn.buildable import NotBuiltError
from velm_lightning.tasks import Classification, Generation, MaskedLM, Retrieval
from velm_lightning.types import Tokens

VECTOR = torch.zeros(1, tiny.DIM)
TOKENS = Tokens.of_image(torch.zeros(1, 2, tiny.DIM))
TEXT, VECTORS = "build(vocabulary)", "build(dim)"
ENCODERS = (
    tiny.transformer,
    tiny.recurrent,
    lambda: tiny.pretrained_text("bert"),
    lambda: tiny.pretrained_text("gpt2"),
)
CONNECTORS = (LinearConnector, MeanConnector, MLPConnector, Resampler)
MERGES = (
    Concat, Sum, Product, GatedMultimodalUnit, FiLM,
    LowRankBilinear, TensorFusion, Mutan, FactorizedBilinear, BlockTerm,
)  # fmt: skip
USES = [
    *((make, lambda part: part.embed(tiny.words(torch.zeros(1, 2, dtype=torch.long))), TEXT) for make in ENCODERS),
    *((make, lambda part: part(TOKENS), "build(image_dim, dim)") for make in CONNECTORS),
    *((make, lambda part: part(VECTOR, VECTOR), VECTORS) for make in MERGES),
    *((make, lambda part: part.head, "build(vocabulary, text_encoder)") for make in (Classification, Generation)),
    *((make, lambda part: part.text or part.head, "build(vocabulary, text_encoder)") for make in (MaskedLM, Retrieval)),
]


@pytest.mark.parametrize(("make", "use", "call"), USES)
def test_use_before_build_is_refused_in_one_sentence(make, use, call):
    part = make()
    sentence = f"{type(part).__name__} is used before {call} was called: give it to a fusion, which builds it"
    with pytest.raises(NotBuiltError, match=f"^{re.escape(sentence)}$"):
        use(part)


def test_missing_attributes_of_a_built_part_are_named():
    merge = Concat()
    merge.build(tiny.DIM)
    with pytest.raises(AttributeError, match="'Concat' object has no attribute 'nonsense'") as missing:
        merge.nonsense  # noqa: B018
    assert not isinstance(missing.value, NotBuiltError)


def test_optional_attributes_can_still_be_tested_for():
    assert not hasattr(tiny.transformer(), "embedding")
    assert getattr(Concat(), "image", None) is None


def test_a_copy_remembers_whether_it_was_built():
    built = tiny.fusion().text_encoder
    assert torch.equal(copy.deepcopy(built).embedding.weight, built.embedding.weight)
    with pytest.raises(NotBuiltError):
        copy.deepcopy(tiny.transformer()).embedding  # noqa: B018
