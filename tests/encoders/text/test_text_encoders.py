"""The text-encoder interface: word embeddings, and a trunk that encodes any embedded tokens.

Masking of padding and later words, and caching, are covered by the fusion tests.
"""

import pytest
import torch
from helpers import tiny
from torch import nn

from velm_lightning.encoders import RNNTextEncoder, TransformerTextEncoder
from velm_lightning.types import InputError, TextInput, Tokens

CLOSE = {"atol": 1e-10, "rtol": 0.0}
ENCODERS = {
    "transformer": tiny.transformer,
    "lstm": lambda: tiny.recurrent(cell="lstm"),
    "gru": lambda: tiny.recurrent(cell="gru"),
}


@pytest.fixture(params=ENCODERS)
def encoder(request, vocabulary):
    encoder = ENCODERS[request.param]()
    encoder.build(vocabulary)
    return encoder.double().eval()


def tokens(x, block, valid=None):
    block = torch.as_tensor(block).expand(x.shape[:2])
    return Tokens(x, torch.ones_like(block).bool() if valid is None else torch.as_tensor(valid).expand_as(block), block)


def prompt(ids):
    return TextInput(ids, torch.ones_like(ids).bool(), torch.zeros_like(ids))


def vectors(count, rows=1):
    return torch.randn(rows, count, tiny.DIM, dtype=torch.float64)


def test_the_embedding_has_one_row_per_word_piece(encoder, vocabulary):
    assert encoder.embedding.weight.shape == (vocabulary.size, encoder.dim)


@torch.no_grad()
def test_words_are_embedded_independently(encoder, batch):
    whole = encoder.embed(batch.words)
    assert whole.embeddings.shape == (*batch.ids.shape, encoder.dim)
    assert whole.mask is batch.mask
    assert whole.block_ids is batch.block_ids
    other = batch.ids.clone()
    other[:, 1:] = 0
    torch.testing.assert_close(
        encoder.embed(batch.words._replace(ids=other)).embeddings[:, 0], whole.embeddings[:, 0], **CLOSE
    )


@torch.no_grad()
def test_the_trunk_accepts_more_tokens_than_positions(encoder):
    """In early fusion, the image tokens before the words may outnumber the positions."""
    count = 300
    states = encoder.trunk(tokens(vectors(count), 0))
    assert states.embeddings.shape == (1, count, tiny.DIM)
    assert states.embeddings.isfinite().all()


@torch.no_grad()
def test_padding_at_any_place_is_ignored(encoder):
    x = vectors(7)
    valid = torch.tensor([[True, False, True, True, False, False, True]])
    block = torch.tensor([[0, 0, 0, 0, 0, 0, 1]])
    mask = valid[0]
    holes = encoder.trunk(tokens(x, block, valid))
    dense = encoder.trunk(tokens(x[:, mask], block[:, mask]))
    torch.testing.assert_close(holes.embeddings[:, mask], dense.embeddings, **CLOSE)


@torch.no_grad()
def test_pooling_uses_a_token_that_attends_to_the_whole_prompt(encoder, sentences):
    states = encoder.trunk(encoder.embed(sentences.words))
    lengths = (sentences.mask & (sentences.block_ids == 0)).sum(1)
    assert lengths.tolist() == [5, 8, 2]
    place = lengths - 1 if encoder.causal else torch.zeros_like(lengths)
    assert torch.equal(encoder.pool(states), states.embeddings[torch.arange(3), place])


@torch.no_grad()
def test_word_order_changes_the_pooled_vector(encoder, vocabulary):
    ids = torch.tensor(vocabulary.encode(["red circle left of blue square", "blue square left of red circle"]))
    states = encoder.trunk(encoder.embed(prompt(ids)))
    summary = encoder.pool(states)
    assert not torch.allclose(summary[0], summary[1], **CLOSE)


# The Transformer


@torch.no_grad()
def test_the_transformer_is_bidirectional_on_prompts(vocabulary):
    encoder = tiny.transformer().double().eval()
    x = vectors(5)
    before = encoder.trunk(tokens(x, 0)).embeddings
    x[:, -1, 0] += 1
    assert ((encoder.trunk(tokens(x, 0)).embeddings - before).abs().amax(-1) > 1e-9).all()


def test_a_text_longer_than_max_positions_is_refused(vocabulary):
    encoder = TransformerTextEncoder(dim=8, heads=2, max_positions=4)
    encoder.build(vocabulary)
    ids = torch.zeros(1, 5, dtype=torch.long)
    with pytest.raises(
        InputError, match=r"max_positions must be at least the length of the text \(5\), got 4: .*data\.max_length"
    ):
        encoder.embed(prompt(ids))


def test_dropout_is_active_only_in_training(vocabulary, batch):
    encoder = tiny.transformer(dropout=0.5)
    encoder.build(vocabulary)
    once, twice = (encoder.embed(batch.words).embeddings for _ in range(2))
    assert not torch.equal(once, twice)
    encoder.eval()
    once, twice = (encoder.embed(batch.words).embeddings for _ in range(2))
    assert torch.equal(once, twice)


# Recurrent networks


@torch.no_grad()
@pytest.mark.parametrize(("cell", "kind"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_a_recurrent_trunk_equals_the_torch_module(cell, kind):
    encoder = RNNTextEncoder(dim=8, depth=2, cell=cell).double().eval()
    plain = kind(8, 8, 2, batch_first=True).double()
    plain.load_state_dict(encoder.cells.state_dict())
    x = vectors(6, rows=3)
    torch.testing.assert_close(encoder.trunk(tokens(x, 0)).embeddings, plain(x)[0], **CLOSE)


@torch.no_grad()
def test_a_recurrent_trunk_is_causal():
    encoder = RNNTextEncoder(dim=8).double().eval()
    x = vectors(5)
    before = encoder.trunk(tokens(x, 0)).embeddings
    x[:, 2, 0] += 1
    change = (encoder.trunk(tokens(x, 0)).embeddings - before).abs().amax(-1)[0]
    assert (change > 1e-9).tolist() == [False, False, True, True, True]


def test_recurrent_gradients_skip_padding():
    encoder = RNNTextEncoder(dim=8).double()
    x = vectors(4, rows=2).requires_grad_()
    valid = torch.tensor([[True, True, True, True], [True, False, True, False]])
    encoder.trunk(tokens(x, 0, valid)).embeddings.sum().backward()
    assert torch.equal(x.grad.abs().sum(-1) > 0, valid)
