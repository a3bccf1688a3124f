"""Measures words per second with and without the cache, and of ``transformers.generate``.

The latter runs a GPT-2 of the same size. Both models have the same weights and must generate the same words, which
differ between samples and steps. They take turns within one process, and the ratios are computed per turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from velm_lightning.bench.interleaved_timing import in_turns, ratios
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.machine import device_name
from velm_lightning.bench.result import Result
from velm_lightning.decoding import BeamSearch, Decoding, Greedy
from velm_lightning.encoders import SmallCNN, TransformerTextEncoder
from velm_lightning.fusion import TextOnly
from velm_lightning.tasks import Generation
from velm_lightning.tasks.stepping import CachedSteps, UncachedSteps
from velm_lightning.text.vocabulary import SPECIALS, Vocabulary, train_tokenizer
from velm_lightning.types import Batch

Sentences = list[list[int]]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def run(options: argparse.Namespace) -> list[Result]:
    """Return the table of the benchmark."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build(options).to(device).eval()
    twin = gpt2_of(model).to(device).eval()
    batch = prompts(options.batch_size, options.prompt, options.words).to(device)
    length = options.length
    sizes = f"{count(model):.1f}M parameters (GPT-2: {count(twin):.1f}M)"
    table = Result(f"{sizes}, {device_name()}, {options.prompt} + {length} words")
    for name in ("", "words/s" if options.clock == "wall" else "words/CPU s", "cached velm / this", "same words"):
        table.add_column(name, justify="right")
    beam = BeamSearch(options.beams, early_stopping=False, max_length=length)
    for name, decoding, beams in (("greedy", Greedy(length), 1), (f"beam {options.beams}", beam, options.beams)):
        methods = {
            "velm, cached": partial(ours, model, batch, decoding, CachedSteps),
            "velm, uncached": partial(ours, model, batch, decoding, UncachedSteps),
            "transformers": partial(theirs, twin, batch, length, beams, model.vocabulary),
        }
        times, outputs = in_turns(list(methods.values()), options.turns, CLOCKS[options.clock])
        for method, taken, output in zip(methods, times, outputs, strict=True):
            speed = options.batch_size * length / statistics.median(taken)
            table.add_row(
                f"{name}, {method}",
                speed,
                Interval.of(ratios(taken, times[0])),
                f"{agreement(outputs[0], output):.0%}",
            )
        table.add_section()
    return [table]


def build(options: argparse.Namespace) -> TextOnly:
    """Return a causal captioner without image input, so that it can be compared with a language model.

    With random weights it would repeat its last word. ``projection``, a layer that GPT-2 does not have, rotates the
    features by one position, so that each word predicts another one.
    """
    words = (f"w{i}" for i in range(options.words - len(SPECIALS)))
    longest = options.prompt + options.length
    text = TransformerTextEncoder(
        options.dim, options.depth, options.dim // 64, 0.0, max_positions=longest, causal=True
    )
    model = TextOnly(
        vocabulary=Vocabulary(train_tokenizer(words, size=options.words)),
        image_encoder=SmallCNN(size=16, widths=(8,), dim=8),
        text_encoder=text,
        task=Generation(),
    )
    projection: Any = model.task.projection
    with torch.no_grad():
        model.text_encoder.embedding.weight[model.vocabulary.pad] = 0  # so that padding is never among the best
        projection[0].weight.copy_(torch.eye(options.dim).roll(1, dims=0))
    nn.init.zeros_(projection[0].bias)
    return model


def gpt2_of(model: TextOnly) -> Any:
    """Return a GPT-2 with the weights of ``model``, which generates the same words."""
    text: Any = model.text_encoder
    config: Any = GPT2Config(
        vocab_size=model.vocabulary.size,
        n_positions=len(text.position),
        n_embd=text.dim,
        n_layer=len(text.layers),
        n_head=text.layers[0].self_attention.heads,
        activation_function="gelu",
        tie_word_embeddings=False,
        bos_token_id=model.vocabulary.start,
        eos_token_id=model.vocabulary.end,
        pad_token_id=model.vocabulary.pad,
    )
    twin: Any = GPT2LMHeadModel(config)
    with torch.no_grad():
        twin.transformer.wte.weight.copy_(text.embedding.weight * text.dim**0.5)
        twin.transformer.wpe.weight.copy_(text.position)
        twin.lm_head.weight.copy_(text.embedding.weight.roll(-1, dims=1))  # as ``projection`` does
        twin.transformer.ln_f.load_state_dict(text.norm.state_dict())
        for gpt2_layer, layer in zip(twin.transformer.h, text.layers, strict=True):
            gpt2_layer.ln_1.load_state_dict(layer.norm_self.state_dict())
            gpt2_layer.ln_2.load_state_dict(layer.norm_out.state_dict())
            attention, forward = layer.self_attention, layer.feed_forward
            _fill(gpt2_layer.attn.c_attn, attention.query, attention.key_value)
            _fill(gpt2_layer.attn.c_proj, attention.out)
            _fill(gpt2_layer.mlp.c_fc, forward[0])
            _fill(gpt2_layer.mlp.c_proj, forward[2])
    return twin


def _fill(layer: Any, *parts: nn.Linear) -> None:
    """Copy concatenated linear layers into a ``Conv1D`` of GPT-2, whose weight is transposed."""
    layer.weight.copy_(torch.cat([part.weight for part in parts]).T)
    layer.bias.copy_(torch.cat([part.bias for part in parts]))


def prompts(size: int, length: int, words: int) -> Batch:
    """Return samples with random prompts and blank images."""
    ids = torch.randint(len(SPECIALS), words, (size, length))
    empty, valid = ("",) * size, torch.ones_like(ids).bool()
    image, answers = torch.zeros(size, 3, 16, 16, dtype=torch.uint8), torch.zeros(size, 0)
    blocks, marks = torch.zeros_like(ids), ids[:, :0]
    texts = (empty, ((),) * size, empty, empty)
    return Batch(empty, image, ids, valid, blocks, answers, *texts, blocks > 0, marks, marks)


def ours(model: TextOnly, batch: Batch, decoding: Decoding, steps: type[CachedSteps]) -> Sentences:
    """Decode with this package."""
    task, words = model.task, model.vocabulary
    assert isinstance(task, Generation)
    hypotheses = decoding(steps(model, batch, task.logits, decoding.max_length), words.end)
    return [sample[0].ids for sample in hypotheses]


def theirs(twin: Any, batch: Batch, length: int, beams: int, words: Vocabulary, **more: Any) -> Sentences:
    """Decode with transformers; ``more`` are further arguments of ``generate``."""
    output = twin.generate(
        batch.ids,
        attention_mask=torch.ones_like(batch.ids),
        max_new_tokens=length,
        num_beams=beams,
        do_sample=False,
        early_stopping=False,
        **more,
    )
    sentences = output[:, batch.ids.shape[1] :].tolist()
    return [[word for word in row if word not in (words.end, words.pad)] for row in sentences]


def agreement(some: Sentences, others: Sentences) -> float:
    """Return the share of sentences that are equal."""
    return sum(a == b for a, b in zip(some, others, strict=True)) / len(some)


def count(model: nn.Module) -> float:
    """Return the parameters in millions; a tied head counts once."""
    text = getattr(model, "text_encoder", getattr(model, "transformer", model))
    return sum(p.numel() for p in text.parameters()) / 1e6
