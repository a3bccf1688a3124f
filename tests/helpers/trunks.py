"""Small Hugging Face models of every text type, and their hidden states in transformers and in our encoder."""

import torch
from helpers import tiny
from torch import nn
from transformers import AutoConfig

from velm_lightning.encoders import HFTextEncoder
from velm_lightning.encoders.text.trunk_check import own_states
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens

WORDS = 40
VOCABULARY = tiny.vocabulary(tokenizer=tiny.train_tokenizer([" ".join(f"word{place}" for place in range(60))]))
SIZES = {
    8: "head_dim qk_nope_head_dim v_head_dim index_head_dim linear_key_head_dim linear_value_head_dim swa_head_dim "
    "linear_head_dim mamba_d_head kv_channels attention_head_dim mamba_head_dim mamba_headdim d_head dim_head "
    "attention_head_size query_pre_attn_scalar swa_v_head_dim global_head_dim hidden_size_per_layer_input d_rel "
    "mamba_d_state ssm_state_size state_size mamba_chunk_size chunk_size head_k_dim head_v_dim rotary_dim",
    4: "qk_rope_head_dim num_attention_heads n_head n_heads num_heads swa_num_attention_heads mamba_n_heads "
    "n_mamba_heads index_n_heads linear_num_key_heads linear_num_value_heads linear_num_heads mamba_num_heads "
    "num_hidden_layers n_layer n_layers num_layers num_blocks num_experts n_routed_experts num_local_experts "
    "moe_num_experts attention_heads decoder_layers decoder_attention_heads",
    2: "num_key_value_heads swa_num_key_value_heads num_kv_heads num_experts_per_tok num_experts_per_token "
    "moe_topk moe_k top_k_experts index_topk sliding_window_pattern max_window_layers mamba_n_groups "
    "mamba_ngroups num_global_key_value_heads",
    1: "n_group n_groups topk_group num_nextn_predict_layers num_expert_group num_dense_layers first_k_dense_replace "
    "pretraining_tp num_hidden_groups num_kv_shared_layers n_shared_experts num_shared_experts "
    "moe_num_shared_experts",
    16: "kv_lora_rank q_lora_rank o_lora_rank moe_intermediate_size shared_expert_intermediate_size "
    "shared_intermediate_size moe_shared_expert_intermediate_size expert_ffn_hidden_size "
    "shared_experts_intermediate_size embedding_size lru_width",
    32: "hidden_size n_embd d_model dim emb_dim embedding_dim word_embed_proj_dim n_inner",
    48: "intermediate_size ffn_dim ffn_hidden_size dff dim_ff hidden_dim d_inner intermediate_size_mlp "
    "dense_intermediate_size feed_forward_size",
    6: "sliding_window sliding_window_size local_attention attention_chunk_size attention_window_size window_size "
    "block_size",
    64: "max_position_embeddings n_positions n_ctx max_seq_len max_sequence_length model_max_length",
    WORDS: "vocab_size vocab_size_per_layer_input unpadded_vocab_size",
}
TINY = {name: size for size, names in SIZES.items() for name in names.split()}
HEADS = {"num_key_value_heads": 4}
OTHERS = {  # sizes that depend on each other or have no valid default
    **dict.fromkeys(
        ["axk2", "esmc", "glm4_moe_lite", "glm_moe_dsa", "minicpm3", "sarvam_mla", "dots3_note_text"], HEADS
    ),
    **dict.fromkeys(["axk1", "deepseek_v3", "longcat_flash", "youtu"], HEADS | {"head_dim": 4}),
    **dict.fromkeys(["ministral", "hunyuan_v1_dense", "hunyuan_v1_moe", "nemotron"], {"head_dim": 8}),
    **dict.fromkeys(["bamba", "granitemoehybrid"], {"mamba_n_heads": 8}),
    "deepseek_v2": HEADS | {"num_experts_per_tok": 2, "topk_method": "greedy"},
    "deepseek_v32": HEADS,
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 4, "head_dim": 8},
    "falcon_h1": {"mamba_d_ssm": 32},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gemma4_text": {"num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0},
    "gemma4_unified_text": {"num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 6},
    "mamba2": {"num_heads": 8},
    "zamba2": {"layer_types": ["mamba", "hybrid", "mamba", "mamba"]},
    "zaya": {"num_experts_per_tok": 1},
}


def tiny_config(kind, **changes):
    """Return the configuration of a model type with all of its sizes reduced."""
    default = AutoConfig.for_model(kind)
    values = default.to_dict()
    names = {default.attribute_map.get(name, name): size for name, size in TINY.items()}
    small = {
        name: size for name, size in names.items() if isinstance(values.get(name), int) and values[name] is not True
    }
    small |= {name: 0 for name in ("pad_token_id", "bos_token_id", "eos_token_id") if isinstance(values.get(name), int)}
    return {"model_type": kind, **small, **OTHERS.get(kind, {}), **changes}


def shake(model: nn.Module, seed=0):
    """Add noise to every weight, so that no difference is hidden by zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def built(kind, **changes):
    """Return the encoder of a small model with noise on all weights."""
    encoder = HFTextEncoder(config=tiny_config(kind, **changes))
    encoder.build(VOCABULARY)
    shake(encoder.model)
    return encoder.eval()


def transformers_states(encoder, ids):
    """Return the hidden states (N, D) of one text from transformers with eager attention."""
    positions = torch.arange(len(ids))[None] + encoder.first_position
    return own_states(encoder.model, ids[None], positions)[0]


def embedded(encoder, ids, valid, block=None):
    return Tokens(encoder.embedding(ids), valid, torch.zeros_like(ids) if block is None else block)


def trunk_states(encoder, ids):
    """Return our hidden states (3, N, D) of one text with padding at the start, in between and at the end."""
    length = len(ids)
    valid = torch.ones(3, length + 3).bool()
    valid[0, :3] = valid[1, [1, length // 2 + 1, length // 2 + 2]] = valid[2, -3:] = False
    rows = torch.zeros(3, length + 3, dtype=torch.long)
    rows[valid] = ids.repeat(3)
    return encoder.trunk(embedded(encoder, rows, valid)).embeddings[valid].view(3, length, -1)


def decoded_states(encoder, ids, first):
    """Return the last states (2, D) of two reordered hypotheses, decoded with a cache and from one forward pass."""
    count = len(ids) - first
    hypotheses = torch.stack([ids, torch.cat([ids[:first], (ids[first:] + 7) % WORDS])])
    block = torch.cat([torch.zeros(first, dtype=torch.long), torch.arange(1, count + 1)]).expand(2, -1)
    cache = Cache(count)
    encoder.trunk(embedded(encoder, ids[None, :first], torch.ones(1, first).bool()), cache)
    cache.expand(2)
    for step in range(first, len(ids)):
        word = embedded(encoder, hypotheses[:, step : step + 1], torch.ones(2, 1).bool(), block[:, step : step + 1])
        last = encoder.trunk(word, cache).embeddings[:, 0]
        if step % 3 == 0 and step + 1 < len(ids):
            rows = torch.tensor([1, 1] if step % 2 else [1, 0])
            cache.reorder(rows)
            hypotheses = torch.cat([hypotheses[rows, : step + 1], hypotheses[:, step + 1 :]], 1)
    valid = torch.ones(hypotheses.shape).bool()
    return last, encoder.trunk(embedded(encoder, hypotheses, valid, block)).embeddings[:, -1]
