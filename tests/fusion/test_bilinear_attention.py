"""Bilinear attention as a merge: one distribution over all pairs of a word and an image token."""

import pytest
import torch

from velm_lightning.fusion import BilinearAttention
from velm_lightning.types import InputError, Tokens

DIM, RANK, WORDS, CELLS = 6, 4, 3, 5
CLOSE = {"atol": 1e-12, "rtol": 0.0}


@pytest.fixture
def merge():
    torch.manual_seed(0)
    merge = BilinearAttention(rank=RANK, glimpses=2)
    merge.build(DIM)
    return merge.double()


def tokens(count, blocks=None):
    x = torch.randn(2, count, DIM, dtype=torch.float64)
    block_ids = torch.tensor([blocks or [0] * count]).expand(2, -1)
    return Tokens(x, torch.ones(2, count).bool(), block_ids)


def reference(merge, image, text):
    """The definition of BAN, pair by pair, for words that all see each other."""
    states = text
    for glimpse in range(2):
        logits = torch.einsum(
            "bnr,bmr,r->bnm",
            merge.text_logits(text).relu(), merge.image_logits(image).relu(), merge.logits.weight[glimpse],
        )  # fmt: skip
        weights = logits.flatten(1).softmax(1).view_as(logits)  # over all pairs
        a, b = merge.text[glimpse](states).relu(), merge.image[glimpse](image).relu()
        states = states + merge.out[glimpse](torch.einsum("bnm,bnr,bmr->br", weights, a, b))[:, None]
    return states


@torch.no_grad()
def test_weights_are_a_softmax_over_all_pairs(merge):
    image, text = tokens(CELLS), tokens(WORDS)
    merged = merge.merge_tokens(image, text)
    torch.testing.assert_close(merged, reference(merge, image.embeddings, text.embeddings), **CLOSE)


@torch.no_grad()
def test_a_target_word_uses_the_pairs_of_words_before_it(merge):
    image, text = tokens(CELLS), tokens(WORDS, [0, 1, 2])
    merged = merge.merge_tokens(image, text)
    start = reference(merge, image.embeddings, text.embeddings[:, :1])
    torch.testing.assert_close(merged[:, :1], start, **CLOSE)
    changed = text.embeddings.clone()
    changed[:, 2] += 1
    assert torch.equal(merge.merge_tokens(image, text.with_embeddings(changed))[:, :2], merged[:, :2])


@torch.no_grad()
def test_one_word_and_one_token_are_two_vectors(merge):
    image, text = tokens(1), tokens(1)
    torch.testing.assert_close(merge.merge_tokens(image, text), merge(image.embeddings, text.embeddings), **CLOSE)


@torch.no_grad()
def test_invalid_image_tokens_change_nothing(merge):
    image, text = tokens(CELLS), tokens(WORDS)
    some = image._replace(mask=torch.tensor([[True, True, False, True, False], [False] * CELLS]))
    merged = merge.merge_tokens(some, text)
    noise = some.with_embeddings(torch.where(some.mask[..., None], some.embeddings, 7.0))
    torch.testing.assert_close(merge.merge_tokens(noise, text), merged, **CLOSE)
    kept = Tokens(*(field[:1, [0, 1, 3]] for field in some[:3]))
    torch.testing.assert_close(merge.merge_tokens(kept, text.rows(torch.tensor([0])))[0], merged[0], **CLOSE)


@pytest.mark.parametrize("given", [{"rank": 0}, {"glimpses": 0}])
def test_sizes_below_one_are_refused(given):
    with pytest.raises(InputError, match="must be at least 1, got 0"):
        BilinearAttention(**given)
