"""Hugging Face text models have the hidden states of transformers at any length, with padding and with a cache."""

import pytest
import torch
from helpers import tiny, trunks
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

from velm_lightning.encoders import HFImageEncoder, HFTextEncoder
from velm_lightning.encoders.text.attention_interface import LayerMasks, attend_heads, positions_of
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import InputError, Tokens

KINDS = {  # model types with changes to their configuration
    "gpt2": {}, "qwen3": {}, "bert": {}, "roberta": {"pad_token_id": 1},
    "mistral": {},  # a window in every layer
    "gemma2": {},  # windows in every other layer, capped logits, another scale
    "gemma3_text": {}, "gemma4_text": {}, "cohere2": {},  # windows in most layers
    "gemma3_text, both ways": {"use_bidirectional_attention": True},
    "llama4_text": {},  # chunks
    "gpt_oss": {},  # windows and sinks
    "modernbert": {}, "modernbert-decoder": {},  # bidirectional windows, windows to the left
    "albert": {}, "diffllama": {},  # several attention calls per layer
    "bert, a decoder": {"is_decoder": True},
}  # fmt: skip
WINDOW = 6  # of model types with a window
CLOSE = {"atol": 1e-4, "rtol": 0.0}
IDS = torch.tensor([(7 * i * i + 3 * i + 5) % trunks.WORDS for i in range(20)])


@pytest.fixture(scope="module", params=KINDS)
def encoder(request):
    return trunks.built(request.param.split(",")[0], **KINDS[request.param])


@torch.no_grad()
@pytest.mark.parametrize("length", [WINDOW - 2, 3 * WINDOW + 2])
def test_a_trunk_equals_transformers_with_any_padding(encoder, length):
    there = trunks.transformers_states(encoder, IDS[:length])
    torch.testing.assert_close(trunks.trunk_states(encoder, IDS[:length]), there.expand(3, -1, -1), **CLOSE)


@torch.no_grad()
def test_decoding_beyond_the_window_equals_one_pass(encoder):
    torch.testing.assert_close(*trunks.decoded_states(encoder, IDS, first=9), **CLOSE)


def test_the_direction_is_that_of_the_model():
    directions = {"gpt2": True, "bert": False, "bert-generation": False, "modernbert-decoder": True}
    assert {kind: trunks.built(kind).causal for kind in directions} == directions
    assert trunks.built("bert", is_decoder=True).causal
    assert not trunks.built("gemma3_text", use_bidirectional_attention=True).causal


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # DeBERTa
@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        (
            "qwen3_5_text",
            {},
            r"layers \[0, 1, 2\] cache more than keys and values for decoding \(LinearAttentionLayer\)",
        ),
        ("lfm2", {"layer_types": ["conv", "conv", "full_attention", "conv"]}, r"layers \[0, 1, 3\] cache more than"),
        ("qwen3_next", {}, r"layers \[0, 1, 2\] cache more than keys and values .*LinearAttentionLayer"),
        ("falcon_h1", {}, r"layers \[0, 1, 2, 3\] cache more than keys and values .*LinearAttentionAndFullAttention"),
        ("recurrent_gemma", {}, r"(layers \[0, 1, 3\] cache more than keys and values|its hidden states differ from)"),
        ("jamba", {}, r"layers \[0, 1, 2, 3\] cache more than keys and values for decoding"),
        ("deberta-v2", {}, "its layers do not call the attention interface of transformers"),
        ("esm", {}, "its hidden states differ from those that transformers computes"),
        ("inkling_text", {}, "layers .* cache more than keys and values for decoding"),
        ("doge", {}, "its DogeAttention does not use the mask that it is given"),
        ("xmod", {}, "ValueError: Input language unknown"),
    ],
)
def test_a_model_that_differs_is_refused_when_built(kind, changes, problem):
    with pytest.raises(InputError, match=f"^text_encoder: a {kind} cannot be used here: {problem}") as caught:
        trunks.built(kind, **changes)
    assert "\n" not in str(caught.value)


def test_an_unsupported_attention_argument_is_named():
    heads = torch.zeros(1, 2, 3, 4)
    mask = torch.ones(1, 1, 3, 3).bool()
    attend_heads(nn.Identity(), heads, heads, heads, mask, sliding_window=2, is_causal=True, position_bias=None)
    with pytest.raises(InputError, match="its Identity passes 'position_bias', which .* does not implement"):
        attend_heads(nn.Identity(), heads, heads, heads, mask, position_bias=heads)


@pytest.mark.parametrize("kind", ["gemma3n_text", "gemma4_text"])
def test_a_model_with_word_ids_in_every_layer_is_refused(kind):
    with pytest.raises(InputError, match=f"a {kind} needs word ids in every layer"):
        trunks.built(kind, vocab_size=8, vocab_size_per_layer_input=8, hidden_size_per_layer_input=8)


@pytest.mark.parametrize("kind", ["mamba", "mamba2", "falcon_mamba", "rwkv"])
def test_a_model_without_attention_is_refused(kind):
    with pytest.raises(InputError, match=f"^text_encoder: a {kind} takes no embeddings with positions: choose another"):
        trunks.built(kind)


def test_the_error_for_a_multimodal_model_names_its_text_model():
    with pytest.raises(
        InputError, match="a gemma3 is not a single text model: give the configuration of its .*gemma3_text"
    ):
        trunks.built("gemma3")


def test_a_vision_model_with_further_inputs_is_refused():
    with pytest.raises(InputError, match="image_encoder: a siglip2_vision_model requires pixel_attention_mask"):
        HFImageEncoder(config={"model_type": "siglip2_vision_model", "patch_size": 8, **tiny.LAYERS}, size=16)


def test_the_scale_is_that_of_embedded_words():
    """Gemma 3 scales inside its embedding, others do not."""
    for kind in ("gemma3_text", "gpt2"):
        encoder = HFTextEncoder(config=trunks.tiny_config(kind))
        encoder.build(trunks.VOCABULARY)
        words = encoder.embedding(torch.arange(encoder.embedding.num_embeddings))
        torch.testing.assert_close(encoder.scale, words.std().detach(), rtol=1e-5, atol=0.0)


# Masks


def seen(valid, block):
    valid, block = torch.tensor([valid]).bool(), torch.tensor([block])
    return Tokens(torch.zeros(1, valid.shape[1], 4), valid, block)


def causal_window(batch, head, query, key):
    """As transformers' masks of layers with a window of 2 tokens, to the left."""
    return (key <= query) & (key > query - 2)


def window(batch, head, query, key):
    """As transformers' masks of layers with a window of 1 token in both directions."""
    return abs(query - key) <= 1


def allowed(masks, mask_function):
    return masks.of(mask_function)[0, 0].int().tolist()


def test_a_window_counts_valid_tokens_to_the_left():
    tokens = seen([1, 1, 0, 0, 1, 1], [0] * 6)
    masks = LayerMasks(tokens, tokens, positions_of(tokens))
    rows = allowed(masks, causal_window)
    assert [rows[place] for place in (0, 1, 4, 5)] == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_a_bidirectional_window_applies_within_the_block_rule():
    tokens = seen([1, 1, 1, 0, 1, 1], [0, 0, 0, 0, 1, 2])
    masks = LayerMasks(tokens, tokens, positions_of(tokens))
    rows = allowed(masks, window)
    assert [rows[place] for place in (0, 1, 2, 4, 5)] == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_positions_follow_reordered_hypotheses():
    owner, cache = nn.Identity(), Cache(max_new_tokens=3)
    cache.places(owner, seen([1, 0, 1], [0, 0, 0]))
    cache.expand(2)
    for step, rows in enumerate(([0, 1], [1, 1], [1, 0]), start=1):
        cache.reorder(torch.tensor(rows))
        words = Tokens(torch.zeros(2, 1, 4), torch.ones(2, 1).bool(), torch.full((2, 1), step))
        places = cache.places(owner, words)
    positions = positions_of(places)
    for valid, block, position in zip(places.mask, places.block_ids, positions, strict=True):
        blocks_and_positions = sorted(zip(block[valid].tolist(), position[valid].tolist(), strict=True))
        assert blocks_and_positions == [(0, 0), (0, 1), (1, 2), (2, 3), (3, 4)]


@pytest.mark.slow
@torch.no_grad()
def test_every_text_model_type_is_equal_or_refused():
    """All types that can be built small, except three with parts that stay large."""
    equal = 0
    for kind in sorted({*CAUSAL, *MASKED} - {"phi4_multimodal", "luke", "git"}):
        try:
            config = trunks.tiny_config(kind)
        except Exception:  # a type whose default configuration is invalid
            continue
        try:
            encoder = trunks.built(**{"kind": config.pop("model_type"), **config})
        except InputError:
            continue
        there = trunks.transformers_states(encoder, IDS)
        torch.testing.assert_close(trunks.trunk_states(encoder, IDS), there.expand(3, -1, -1), **CLOSE)
        torch.testing.assert_close(*trunks.decoded_states(encoder, IDS, first=9), **CLOSE)
        equal += 1
    assert equal > 80
