"""The block rule and the operations on tokens and batches."""

import pytest
import torch
from helpers import tiny

from velm_lightning.types import InputError, Tokens


def tokens(blocks, mask=None, dim=4):
    """Return the tokens of one sample with these block ids."""
    ids = torch.tensor([blocks])
    mask = torch.ones_like(ids, dtype=torch.bool) if mask is None else torch.tensor([mask], dtype=torch.bool)
    return Tokens(torch.randn(*ids.shape, dim), mask, ids)


def allowed(query, key):
    return query.can_attend_to(key)[0].int().tolist()


def test_tokens_of_block_0_attend_to_each_other():
    prompt = tokens([0, 0, 0])
    assert allowed(prompt, prompt) == [[1, 1, 1]] * 3


def test_target_tokens_attend_to_themselves_and_earlier_blocks():
    target = tokens([1, 2, 3])
    assert allowed(target, target) == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_prompt_and_target_have_the_prefix_mask():
    both = tokens([0, 0, 1, 2])
    assert allowed(both, both) == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_an_image_attends_to_the_prompt_but_not_to_targets():
    image, text = tokens([0, 0]), tokens([0, 1])
    assert allowed(image, text) == [[1, 0], [1, 0]]
    assert allowed(text, image) == [[1, 1], [1, 1]]


def test_no_token_attends_to_padding():
    padded = tokens([0, 1, 0], mask=[1, 1, 0])
    assert allowed(padded, padded) == [[1, 0, 0], [1, 1, 0], [1, 0, 0]]


def test_every_sample_has_its_own_mask():
    batch = Tokens(torch.zeros(2, 2, 1), torch.tensor([[True, True], [True, False]]), torch.tensor([[0, 1], [0, 0]]))
    assert batch.can_attend_to(batch).int().tolist() == [[[1, 0], [1, 1]], [[1, 0], [1, 0]]]


def test_image_tokens_are_valid_and_of_block_0():
    image = Tokens.of_image(torch.randn(2, 3, 4))
    assert image.mask.all()
    assert image.mask.dtype == torch.bool
    assert (image.block_ids == 0).all()
    assert image.block_ids.dtype == torch.int64


def test_sequences_are_concatenated():
    a, b = tokens([0, 0]), tokens([0, 1], mask=[1, 0])
    joined = Tokens.cat([a, b])
    assert torch.equal(joined.embeddings, torch.cat([a.embeddings, b.embeddings], dim=1))
    assert joined.mask.tolist() == [[True, True, True, False]]
    assert joined.block_ids.tolist() == [[0, 0, 0, 1]]


def test_rows_may_be_repeated_and_reordered():
    batch = Tokens(torch.randn(3, 2, 4), torch.rand(3, 2) > 0.5, torch.arange(6).view(3, 2))
    index = torch.tensor([2, 0, 2])
    assert batch.rows(index).places is None
    marked = batch._replace(places=torch.arange(6).view(3, 2))
    for field, chosen in zip(marked, marked.rows(index), strict=True):
        assert torch.equal(chosen, field[index])


def test_images_at_marks_are_tokens_of_their_turns():
    images = Tokens.of_image(torch.randn(4, 3, 2))  # two samples of two images of three tokens
    tokens = images.at_marks(torch.tensor([[5, 9], [0, -1]]), torch.tensor([[0, 4], [0, 0]]))
    assert torch.equal(tokens.embeddings, images.embeddings.view(2, 6, 2))
    assert tokens.mask.tolist() == [[True] * 6, [True] * 3 + [False] * 3]
    assert tokens.block_ids.tolist() == [[0] * 3 + [4] * 3, [0] * 6]
    assert tokens.places.tolist() == [[5] * 3 + [9] * 3, [0] * 3 + [-1] * 3]


def test_with_embeddings_keeps_mask_and_block_ids():
    a = tokens([0, 1], mask=[1, 0])
    wide = a.with_embeddings(torch.randn(1, 2, 9))
    assert wide.embeddings.shape == (1, 2, 9)
    assert wide.mask is a.mask
    assert wide.block_ids is a.block_ids


def test_the_size_of_a_batch(batch):
    assert batch.size == len(tiny.questions()) == 3


def test_the_words_of_a_batch_are_its_text(batch):
    assert batch.words.ids is batch.ids
    assert batch.words.mask is batch.mask
    assert batch.words.block_ids is batch.block_ids


def test_the_first_samples_of_a_batch_are_a_batch(batch):
    first = batch.first(2)
    assert first.size == 2
    assert first.keys == batch.keys[:2]
    assert all(len(field) == 2 for field in first)
    assert torch.equal(first.ids, batch.ids[:2])


def test_a_batch_moves_to_a_device_whole(batch):
    moved = batch.to("meta")
    for field, before in zip(moved, batch, strict=True):
        assert field.device.type == "meta" if isinstance(before, torch.Tensor) else field == before


def test_an_input_error_is_a_value_error():
    with pytest.raises(ValueError, match="the fix"):
        raise InputError("the fix")
