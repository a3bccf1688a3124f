"""Each merge against its formula, and the properties that every merge has."""

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, linear

from velm_lightning.fusion import (
    BlockTerm,
    Concat,
    FactorizedBilinear,
    FiLM,
    GatedMultimodalUnit,
    LowRankBilinear,
    Merge,
    Mutan,
    Product,
    Sum,
    TensorFusion,
)
from velm_lightning.types import InputError

DIM = 6
CLOSE = {"atol": 1e-12, "rtol": 0.0}
MERGES = {
    "concat": Concat,
    "sum": Sum,
    "product": Product,
    "gate": GatedMultimodalUnit,
    "low rank": lambda: LowRankBilinear(rank=4),
    "tensor": lambda: TensorFusion(size=3),
    "mutan": lambda: Mutan(size=4, rank=3),
    "factorized": lambda: FactorizedBilinear(factors=3),
    "block": lambda: BlockTerm(size=6, chunks=3, rank=2),
    "film": FiLM,
}


def built(merge: Merge) -> Merge:
    merge.build(DIM)
    return merge.double().eval()


@pytest.fixture(params=MERGES)
def merge(request):
    return built(MERGES[request.param]())


@pytest.fixture
def image():
    return torch.randn(2, DIM, dtype=torch.float64)


@pytest.fixture
def text():
    return torch.randn(2, DIM, dtype=torch.float64)


@torch.no_grad()
def test_the_result_has_the_width_of_the_inputs(merge, image, text):
    assert merge(image, text).shape == (2, DIM)


@torch.no_grad()
def test_one_image_is_merged_with_many_words(merge, image):
    words = torch.randn(2, 5, DIM, dtype=torch.float64)
    merged = merge(image[:, None], words)
    assert merged.shape == words.shape
    for n in range(5):
        torch.testing.assert_close(merged[:, n], merge(image, words[:, n]), **CLOSE)


@torch.no_grad()
def test_every_image_is_merged_with_every_text(merge, image):
    texts = torch.randn(3, DIM, dtype=torch.float64)
    pairs = merge(image[:, None], texts[None])
    assert pairs.shape == (2, 3, DIM)
    torch.testing.assert_close(pairs[1, 2], merge(image[1], texts[2]), **CLOSE)


def test_both_sides_get_a_gradient(merge, image, text):
    image.requires_grad_()
    text.requires_grad_()
    merge(image, text).pow(3).sum().backward()  # the sum of squares of a normalised vector is constant
    assert image.grad.abs().min() > 0
    assert text.grad.abs().min() > 0


def test_every_parameter_gets_a_gradient(merge, image, text):
    merge(image, text).pow(3).sum().backward()
    assert list(merge.parameters())
    assert all(p.grad is not None and p.grad.any() for p in merge.parameters())


# Formulas


@torch.no_grad()
def test_concat_maps_the_concatenation(image, text):
    merge = built(Concat())
    weight = torch.cat([merge.image.weight, merge.text.weight], dim=1)  # (D, 2 D)
    expected = gelu(linear(torch.cat([image, text], dim=-1), weight, merge.image.bias + merge.text.bias))
    torch.testing.assert_close(merge(image, text), expected, **CLOSE)


@torch.no_grad()
def test_sum_is_linear_in_each(image, text):
    merge = built(Sum())
    zero = torch.zeros_like(image)
    torch.testing.assert_close(merge(image, text), merge(image, zero) + merge(zero, text) - merge(zero, zero), **CLOSE)


@torch.no_grad()
def test_product_multiplies_bounded_maps(image, text):
    merge = built(Product())
    expected = torch.tanh(merge.image(image)) * torch.tanh(merge.text(text))
    torch.testing.assert_close(merge(image, text), expected, **CLOSE)
    assert merge(image * 100, text * 100).abs().max() <= 1


@torch.no_grad()
def test_gate_chooses_between_the_two(image, text):
    merge = built(GatedMultimodalUnit())
    for gate, side, given in ((50.0, merge.image, image), (-50.0, merge.text, text)):
        nn.init.zeros_(merge.gate_image.weight)
        nn.init.zeros_(merge.gate_text.weight)
        nn.init.constant_(merge.gate_image.bias, gate)
        torch.testing.assert_close(merge(image, text), side(given).tanh(), **CLOSE)


@torch.no_grad()
def test_the_gate_reads_both_sides(image, text):
    merge = built(GatedMultimodalUnit())
    expected = torch.sigmoid(merge.gate_image(image) + merge.gate_text(text))
    a, b = merge.image(image).tanh(), merge.text(text).tanh()
    torch.testing.assert_close(merge(image, text), expected * a + (1 - expected) * b, **CLOSE)


@torch.no_grad()
def test_low_rank_is_a_bilinear_form_of_bounded_factors(image, text):
    merge = built(LowRankBilinear(rank=4))
    assert merge.out.weight.shape == (DIM, 4)
    a, b = merge.image(image).tanh(), merge.text(text).tanh()
    expected = torch.einsum("br,br,dr->bd", a, b, merge.out.weight) + merge.out.bias
    torch.testing.assert_close(merge(image, text), expected, **CLOSE)


@torch.no_grad()
def test_the_tensor_product_also_keeps_each_side(image, text):
    """The appended ones make the product hold image x text, image, text and a constant (Zadeh et al. 2017)."""
    merge = built(TensorFusion(size=3))
    weight = merge.out.weight.view(DIM, 4, 4)
    a, b = merge.image(image).tanh(), merge.text(text).tanh()
    expected = torch.einsum("bi,bj,dij->bd", a, b, weight[:, :3, :3])
    expected += a @ weight[:, :3, 3].T + b @ weight[:, 3, :3].T + weight[:, 3, 3] + merge.out.bias
    torch.testing.assert_close(merge(image, text), expected, **CLOSE)


@torch.no_grad()
def test_mutan_is_a_tucker_decomposition_with_a_core_of_low_rank(image, text):
    merge = built(Mutan(size=4, rank=3))
    for core in (merge.core_image, merge.core_text):
        nn.init.zeros_(core.bias)
    core = torch.einsum(
        "ori,orj->ijo", merge.core_image.weight.view(4, 3, 4), merge.core_text.weight.view(4, 3, 4)
    )  # (size, size, size)
    a, b = merge.image(image).tanh(), merge.text(text).tanh()
    expected = merge.out(torch.einsum("bi,bj,ijo->bo", a, b, core))
    torch.testing.assert_close(merge(image, text), expected, **CLOSE)


@torch.no_grad()
def test_factorized_products_are_summed_in_groups_and_normalised(image, text):
    merge = built(FactorizedBilinear(factors=3))
    sums = (merge.image(image) * merge.text(text)).view(2, DIM, 3).sum(2)
    roots = sums.sign() * sums.abs().sqrt()
    expected = roots / roots.norm(dim=1, keepdim=True)
    torch.testing.assert_close(merge(image, text), expected, atol=1e-9, rtol=0.0)


@torch.no_grad()
def test_block_term_chunks_do_not_mix_before_the_last_map(image, text):
    merge = built(BlockTerm(size=6, chunks=3, rank=2))
    nn.init.eye_(merge.out.weight)
    nn.init.zeros_(merge.out.bias)
    before = merge(image, text)
    torch.testing.assert_close(before.view(2, 3, 2).norm(dim=2), torch.ones(2, 3).double(), atol=1e-9, rtol=0.0)
    merge.image.bias[:2] += 1.0
    change = (merge(image, text) - before).abs().view(2, 3, 2).amax((0, 2)) > 1e-9
    assert change.tolist() == [True, False, False]
    with pytest.raises(InputError, match=r"merge.chunks must divide merge.size \(160\), got 7"):
        BlockTerm(chunks=7)


@torch.no_grad()
def test_film_scales_and_shifts_the_image_by_the_text(image, text):
    merge = built(FiLM())
    expected = ((1 + merge.film(text)[:, :DIM]) * merge.image(image) + merge.film(text)[:, DIM:]).clamp(min=0)
    torch.testing.assert_close(merge(image, text), expected, **CLOSE)
    nn.init.zeros_(merge.film.weight)
    nn.init.zeros_(merge.film.bias)
    torch.testing.assert_close(merge(image, text), merge.image(image).relu(), **CLOSE)
