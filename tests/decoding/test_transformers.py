"""Equality with ``transformers.generate`` on a small random GPT-2."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from velm_lightning.decoding import BeamSearch, Greedy

END, PAD, LENGTH = 0, 1, 10


class Recomputing:
    """GPT-2 without a cache: every step recomputes the whole sequence."""

    def __init__(self, model, prompts):
        self.model, self.ids = model, prompts

    def _logits(self):
        return self.model(self.ids).logits[:, -1].clone()

    def start(self):
        return self._logits()

    def expand(self, count):
        self.ids = self.ids.repeat_interleave(count, 0)

    def step(self, ids):
        self.ids = torch.cat([self.ids, ids[:, None]], 1)
        return self._logits()

    def reorder(self, rows):
        self.ids = self.ids[rows]

    select = reorder


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    sizes = {"vocab_size": 24, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    ids = {"bos_token_id": None, "eos_token_id": END, "pad_token_id": PAD}
    model = GPT2LMHeadModel(GPT2Config(**sizes, **ids, initializer_range=0.2, tie_word_embeddings=False)).eval()
    model.lm_head.weight.data[END] *= 3  # so that some sentences end
    return model


def generate(model, prompts, count, **options):
    out = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=LENGTH,
        do_sample=False,
        num_return_sequences=count,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )
    expected = [
        [word for word in row if word not in (END, PAD)] for row in out.sequences[:, prompts.shape[1] :].tolist()
    ]
    return expected, getattr(out, "sequences_scores", None)


def test_greedy(model):
    prompts = torch.randint(2, 24, (16, 3))
    expected, _ = generate(model, prompts, 1, suppress_tokens=[PAD])
    results = Greedy(LENGTH)(Recomputing(model, prompts), END, banned=[PAD])
    assert [rows[0].ids for rows in results] == expected
    assert len({len(ids) for ids in expected}) > 2


@pytest.mark.parametrize("beams", [3, 5])
@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 1.5])
def test_beam(model, beams, early_stopping, length_penalty):
    prompts = torch.randint(2, 24, (8, 3))
    shared = {"length_penalty": length_penalty, "early_stopping": early_stopping}
    expected, scores = generate(model, prompts, beams, num_beams=beams, suppress_tokens=[PAD], **shared)
    results = BeamSearch(beams, max_length=LENGTH, **shared)(Recomputing(model, prompts), END, banned=[PAD])
    assert [row.ids for rows in results for row in rows] == expected
    assert [row.score for rows in results for row in rows] == pytest.approx(scores.tolist(), abs=1e-5)
    assert len({len(ids) for ids in expected}) > 2 or length_penalty > 1


@pytest.mark.parametrize(("min_length", "ngram"), [(4, 0), (0, 2), (3, 1)])
def test_beam_with_rules(model, min_length, ngram):
    prompts = torch.arange(2, 10)[:, None]  # prompts of one token, which hold no n-gram; the token is then banned
    for prompt in prompts:
        banned = [PAD, int(prompt)]
        options = {"min_new_tokens": min_length, "no_repeat_ngram_size": ngram, "suppress_tokens": banned}
        expected, _ = generate(model, prompt[None], 4, num_beams=4, early_stopping=False, **options)
        search = BeamSearch(4, early_stopping=False, max_length=LENGTH, min_length=min_length, no_repeat_ngram=ngram)
        (rows,) = search(Recomputing(model, prompt[None]), END, banned=banned)
        assert [row.ids for row in rows] == expected
