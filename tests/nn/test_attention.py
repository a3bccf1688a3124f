"""Attention against its definition, masks, gates, and the maps that are recorded on demand."""

import math

import pytest
import torch
from torch import nn

from velm_lightning.nn.attention import Attention, Block, attention_mask, record_attention
from velm_lightning.nn.kv_cache import Cache, cached
from velm_lightning.types import InputError, Tokens

CLOSE = {"atol": 1e-12, "rtol": 0.0}


def by_definition(attention, x, context, mask=None):
    """Softmax of scaled dot products, one head and one query at a time (Vaswani et al. 2017, equation 1)."""
    size = x.shape[-1] // attention.heads
    key, value = attention.key_value(context).chunk(2, dim=-1)
    query = attention.query(x)
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for n in range(x.shape[1]):
            visible = torch.ones(context.shape[1]).bool() if mask is None else mask[b, 0, n]
            for start in range(0, x.shape[-1], size):
                part = slice(start, start + size)
                scores = (key[b, visible, part] @ query[b, n, part] / math.sqrt(size)).softmax(0)
                out[b, n, part] = scores @ value[b, visible, part]
    return attention.out(out)


@pytest.fixture
def attention():
    return Attention(8, 2).double()


@pytest.fixture
def x():
    return torch.randn(2, 3, 8, dtype=torch.float64)


@pytest.fixture
def context():
    return torch.randn(2, 5, 8, dtype=torch.float64)


def blocks(x, numbers, valid=None):
    block = torch.tensor(numbers)
    return Tokens(x, torch.ones_like(block).bool() if valid is None else torch.tensor(valid).bool(), block)


def test_it_is_scaled_dot_product_attention(attention, x, context):
    torch.testing.assert_close(attention.cross(x, context), by_definition(attention, x, context), **CLOSE)


def test_it_reads_only_where_the_mask_is_true_or_adds_nothing(attention, x, context):
    mask = torch.rand(2, 1, 3, 5) > 0.5
    mask[..., 0] = True  # every query attends to something
    assert not mask.all()
    expected = by_definition(attention, x, context, mask)
    torch.testing.assert_close(attention.cross(x, context, mask), expected, **CLOSE)
    added = torch.zeros(mask.shape, dtype=x.dtype).masked_fill(~mask, float("-inf"))
    torch.testing.assert_close(attention.cross(x, context, added), expected, **CLOSE)


def test_without_a_context_it_reads_itself(attention, x):
    mask = torch.ones(3, 3).tril().bool().expand(2, 1, 3, 3)
    torch.testing.assert_close(attention(x, mask), by_definition(attention, x, x, mask), **CLOSE)


def test_a_context_that_was_read_first_is_read_again(attention, x, context):
    cache = Cache(max_new_tokens=1)
    attention.cross(x, context, cache=cache)
    assert torch.equal(attention.cross(x + 1, None, cache=cache), attention.cross(x + 1, context))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_on_a_cpu_half_precision_attends_in_single_precision(kind, x, context, monkeypatch):
    """On the CPU, the backward pass of the fused kernel is four times slower in half precision, also under autocast."""
    visible = []
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *given, **options: visible.append([part.dtype for part in given[:3]]) or attend(*given, **options),
    )
    attention, x, context = Attention(8, 2), x.float(), context.float()
    whole = attention.cross(x, context)
    with torch.autocast("cpu", dtype=kind):
        half = attention.cross(x, context)
    assert half.dtype == kind
    torch.testing.assert_close(half.float(), whole, atol=0.02, rtol=0.02)
    half = attention.to(kind).cross(x.to(kind), context.to(kind))
    assert half.dtype == kind
    torch.testing.assert_close(half.float(), whole, atol=0.02, rtol=0.02)
    assert visible == [[torch.float32] * 3] * 3


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="heads=3 does not divide dim=8"):
        Attention(8, 3)


# Masks


def test_there_is_no_mask_where_all_is_visible(x, context):
    image, prompt = Tokens.of_image(context), blocks(x, [[0, 0, 0]] * 2)
    assert attention_mask(prompt, image) is None
    assert attention_mask(prompt, prompt) is None
    assert attention_mask(image, prompt) is None


def test_a_mask_follows_the_block_rule_for_every_head(x):
    text = blocks(x, [[0, 0, 1], [0, 1, 2]])
    mask = attention_mask(text, text)
    assert mask.shape == (2, 1, 3, 3)
    assert torch.equal(mask[:, 0] == 0, text.can_attend_to(text))
    assert torch.equal(mask[:, 0] == float("-inf"), ~text.can_attend_to(text))


def test_one_padded_sample_is_enough_for_a_mask(x):
    text = blocks(x, [[0, 0, 0]] * 2, valid=[[1, 1, 1], [1, 1, 0]])
    assert attention_mask(text, text) is not None


# Layers


def test_without_context_a_layer_has_no_cross_attention(x):
    block = Block(8, 2).double()
    normed = block.norm_self(x)
    y = x + block.self_attention(normed)
    torch.testing.assert_close(block(x), y + block.feed_forward(block.norm_out(y)), **CLOSE)


def test_a_layer_reads_its_context_between_the_two(x, context):
    block = Block(8, 2, cross=True).double()
    normed = block.norm_self(x)
    y = x + block.self_attention(normed)
    y = y + block.cross_attention.cross(block.norm_cross(y), context)
    torch.testing.assert_close(block(x, None, context), y + block.feed_forward(block.norm_out(y)), **CLOSE)


def test_masks_of_the_layer_reach_their_own_branch(x, context):
    block = Block(8, 2, cross=True).double()
    text = blocks(x, [[0, 1, 2]] * 2)
    part = blocks(context, [[0] * 5] * 2, valid=[[1, 1, 0, 0, 0]] * 2)
    out = block(x, attention_mask(text, text), context, attention_mask(text, part))
    changed = context.clone()
    changed[:, 2:] += 1
    torch.testing.assert_close(out, block(x, attention_mask(text, text), changed, attention_mask(text, part)), **CLOSE)
    later = x.clone()
    later[:, 2] += 1
    after = block(later, attention_mask(text, text), context, attention_mask(text, part))
    torch.testing.assert_close(after[:, :2], out[:, :2], **CLOSE)


def test_a_gate_starts_closed_and_opens_by_its_tanh(x, context):
    block = Block(8, 2, cross=True, gated=True).double()
    assert torch.equal(block(x, None, context), block(x))
    nn.init.constant_(block.gate, 100.0)
    open_ = Block(8, 2, cross=True).double()
    open_.load_state_dict(block.state_dict(), strict=False)
    torch.testing.assert_close(block(x, None, context), open_(x, None, context), **CLOSE)


def test_a_gate_that_is_shut_can_learn_to_open(x, context):
    block = Block(8, 2, cross=True, gated=True).double()
    block(x, None, context).square().sum().backward()
    assert block.gate.grad.abs() > 0


def test_dropout_acts_in_training_only(x):
    block = Block(8, 2, dropout=0.5).double()
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


# The cache of decoding


def heads(rows, words=1):
    """Keys or values of two heads."""
    return torch.randn(rows, words, 2, 4, dtype=torch.float64)


def read(cache, owner, *parts):
    """Let ``owner`` read more tokens, whose keys and values (rows, words, …) are these."""
    rows = len(parts[0])
    tokens = blocks(torch.zeros(rows, parts[0].shape[1], 1), [[0] * parts[0].shape[1]] * rows)
    visible = cache.places(owner, tokens)
    return visible, cache.grow(owner, parts[0], parts[-1])


def test_keys_and_values_that_grow_are_given_back_whole():
    owner, cache = nn.Identity(), Cache(max_new_tokens=2)
    steps = [(heads(2, 3), heads(2, 3)), (heads(2), heads(2)), (heads(2), heads(2))]
    for count, step in enumerate(steps, 1):
        _, results = read(cache, owner, *step)
        for grown, parts in zip(results, zip(*steps[:count], strict=True), strict=True):
            assert torch.equal(grown, torch.cat(parts, dim=1))


def test_tokens_of_hypotheses_are_stored_side_by_side():
    owner, cache, prompt = nn.Identity(), Cache(max_new_tokens=2), heads(2, 3)
    read(cache, owner, prompt)
    cache.expand(2)
    words = heads(4)  # two hypotheses of each sample
    _, (key, value) = read(cache, owner, words)
    assert torch.equal(key[1], torch.cat([prompt[1], words[2], words[3]]))
    assert torch.equal(key, value)


def test_slots_without_descendants_are_overwritten():
    owner, cache, prompt = nn.Identity(), Cache(max_new_tokens=4), heads(2)
    read(cache, owner, prompt)
    cache.expand(2)
    first, second, third = heads(4), heads(4), heads(4)
    read(cache, owner, first)
    cache.reorder(torch.tensor([1, 1, 2, 3]))  # the first sample's hypotheses both follow its second
    visible, (key, _) = read(cache, owner, second)
    assert torch.equal(key[0, :4], torch.cat([prompt[0], second[0], first[1], second[1]]))
    assert torch.equal(key[1], torch.cat([prompt[1], first[2], first[3], second[2], second[3]]))
    assert visible.mask.int().tolist() == [[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 0, 1, 0], [1, 0, 1, 0, 1]]
    cache.reorder(torch.tensor([0, 1, 2, 2]))
    _, (key, _) = read(cache, owner, third)
    assert torch.equal(key[0], torch.cat([prompt[0], second[0], first[1], second[1], third[0], third[1]]))
    assert torch.equal(key[1, :5], torch.cat([prompt[1], first[2], third[2], second[2], third[3]]))
    assert not bool(key[1, 5].any())  # finite, and used by no hypothesis


def test_places_grow_with_the_tokens(x):
    owner, cache = nn.Identity(), Cache(max_new_tokens=1)
    prompt, word = blocks(x, [[0, 0, 0]] * 2, valid=[[1, 1, 1], [1, 1, 0]]), blocks(x[:, :1], [[1], [1]])
    cache.places(owner, prompt)
    visible = cache.places(owner, word)
    assert visible.block_ids.tolist() == [[0, 0, 0, 1]] * 2
    assert word.can_attend_to(visible).int().tolist() == [[[1, 1, 1, 1]], [[1, 1, 0, 1]]]


def test_a_hypothesis_sees_the_prompt_and_its_own_past(x):
    owner, cache = nn.Identity(), Cache(max_new_tokens=2)
    cache.places(owner, blocks(x[:1], [[0, 0, 0]], valid=[[1, 1, 0]]))
    cache.expand(2)
    x = x[:, :1]
    first, second = blocks(x, [[1], [1]]), blocks(x, [[2], [2]])
    assert first.can_attend_to(cache.places(owner, first)).int().tolist() == [[[1, 1, 1, 0]], [[1, 1, 0, 1]]]
    cache.reorder(torch.tensor([1, 1]))
    assert second.can_attend_to(cache.places(owner, second)).int().tolist() == [[[1, 1, 1, 1, 0]], [[1, 1, 0, 1, 1]]]


def test_constants_are_computed_once(x):
    owner, cache, calls = nn.Identity(), Cache(max_new_tokens=1), []
    for _ in range(2):
        (constant,) = cached(cache, owner, lambda: calls.append(1) or (x,))
        assert constant is x
    assert len(calls) == 1
    cached(None, owner, lambda: calls.append(1) or (x,))
    assert len(calls) == 2


def test_cache_rows_are_expanded_and_selected(x):
    owner, cache, prompt = nn.Identity(), Cache(max_new_tokens=2), heads(2)
    read(cache, owner, prompt)
    cached(cache, owner, lambda: (x,))
    cache.recurrent_states[owner] = (x,)
    cache.expand(2)
    words = heads(4)
    read(cache, owner, words)
    cache.select(torch.tensor([2, 3]))  # the second sample's
    word = heads(2)
    _, (key, _) = read(cache, owner, word)
    assert torch.equal(key, torch.cat([prompt[1], *words[2:], *word])[None])
    assert torch.equal(cache.constants[owner][0], x[[1, 1]])
    assert torch.equal(cache.recurrent_states[owner][0], x[[1, 1]])


def test_reordering_moves_recurrent_states_and_no_keys(x):
    owner, cache, prompt = nn.Identity(), Cache(max_new_tokens=2), heads(2)
    _, (key, _) = read(cache, owner, prompt)
    cache.expand(2)
    words = torch.randn(4, 8)
    cache.recurrent_states[owner] = (words,)
    beams = torch.tensor([1, 1, 3, 2])  # within each sample's two rows
    cache.reorder(beams)
    assert torch.equal(cache.recurrent_states[owner][0], words[beams])
    assert torch.equal(cache.keys_values[owner].all()[0], key)


@torch.no_grad()
def test_crossing_hypotheses_equal_separate_sequences(context):
    block, cache = Block(8, 2, cross=True).double(), Cache(max_new_tokens=3)
    places = nn.Identity()
    prompt, words = torch.randn(2, 2, 8, dtype=torch.float64), torch.randn(3, 4, 8, dtype=torch.float64)
    tokens = blocks(prompt, [[0, 0]] * 2)
    block(prompt, attention_mask(tokens, cache.places(places, tokens)), context, None, cache)
    cache.expand(2)
    lines = [[0], [1], [2], [3]]  # the first tokens that each hypothesis consists of
    for step, order in enumerate(([0, 1, 2, 3], [1, 1, 3, 2], [1, 0, 2, 2])):
        if step:
            cache.reorder(torch.tensor(order))
            lines = [[*lines[row], place] for place, row in enumerate(order)]
        text = blocks(words[step, :, None], [[step + 1]] * 4)
        results = block(text.embeddings, attention_mask(text, cache.places(places, text)), None, None, cache)
        for row, line in enumerate(lines):
            line_states = torch.cat([prompt[row // 2], *(words[at, place][None] for at, place in enumerate(line))])
            whole = blocks(line_states[None], [[0, 0, *range(1, step + 2)]])
            single = block(whole.embeddings, attention_mask(whole, whole), context[row // 2 : row // 2 + 1])
            torch.testing.assert_close(results[row, 0], single[0, -1], **CLOSE)


@torch.no_grad()
def test_a_step_with_a_cache_is_the_last_row_of_the_whole(x, context):
    block, cache = Block(8, 2, cross=True).double(), Cache(max_new_tokens=2)
    text = blocks(x, [[0, 1, 2]] * 2)
    whole = block(x, attention_mask(text, text), context)
    for n in range(3):
        step = block(x[:, n : n + 1], None, context if n == 0 else None, None, cache)
        torch.testing.assert_close(step[:, 0], whole[:, n], **CLOSE)


# Recording


def test_recorded_weights_are_shares_of_what_may_be_seen(attention, x):
    text = blocks(x, [[0, 1, 2], [0, 0, 0]], valid=[[1, 1, 1], [1, 1, 0]])
    mask = attention_mask(text, text)
    with record_attention() as maps:
        attention(x, mask)
    ((module, weights),) = maps
    assert module is attention
    assert weights.shape == (2, 2, 3, 3)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 3, dtype=torch.float64), **CLOSE)
    assert torch.equal(weights > 0, (mask == 0).expand(2, 2, 3, 3))
    assert not weights.requires_grad
    with record_attention() as again:
        attention(x, mask == 0)
    assert torch.equal(again[0][1], weights)


def test_recorded_weights_explain_the_result(attention, x, context):
    with record_attention() as maps:
        out = attention.cross(x, context)
    value = attention.key_value(context)[..., 8:].view(2, 5, 2, 4).transpose(1, 2)
    read = maps[0][1] @ value
    torch.testing.assert_close(attention.out(read.transpose(1, 2).flatten(2)), out, **CLOSE)


def test_maps_follow_layer_order_and_stop_with_the_context(x):
    layers = nn.Sequential(Block(8, 2), Block(8, 2)).double()
    with record_attention() as maps:
        layers(x)
    layers(x)
    assert [module for module, _ in maps] == [layer.self_attention for layer in layers]


def test_recording_changes_no_result(attention, x, context):
    before = attention.cross(x, context)
    with record_attention():
        assert torch.equal(attention.cross(x, context), before)
