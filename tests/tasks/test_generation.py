"""Sentences from every fusion: the loss, decoding with and without the cache, and the metrics of a table."""

import math
from functools import partial

import pytest
import torch
from helpers import tiny
from torch.nn import functional as F

from velm_lightning.decoding import BeamSearch, Greedy
from velm_lightning.fusion import EarlyFusion, ImageOnly, InteractiveFusion, LateFusion, TextOnly
from velm_lightning.metrics.captions import score_captions
from velm_lightning.tasks import Generation
from velm_lightning.tasks.sentences import Answers, Captions, Translations
from velm_lightning.tasks.stepping import CachedSteps, UncachedSteps, prompts
from velm_lightning.types import InputError, Prediction

FUSIONS = (EarlyFusion, LateFusion, InteractiveFusion, TextOnly, ImageOnly)
every_fusion = pytest.mark.parametrize("kind", FUSIONS, ids=lambda kind: kind.__name__)
TEXTS = {
    "transformer": tiny.transformer,
    "causal": partial(tiny.transformer, causal=True),
    "recurrent": tiny.recurrent,
    **{kind: partial(tiny.pretrained_text, kind) for kind in ("gpt2", "llama", "bert")},
}


def model_of(kind=EarlyFusion, text=tiny.transformer, **task):
    """A model whose weights are large enough that its sentences differ between images."""
    torch.manual_seed(0)
    model = tiny.fusion(kind, text_encoder=text(), task=Generation(**task)).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return model


@pytest.fixture
def batch():
    return tiny.batch(tiny.translations(), tiny.vocabulary())


def sentences(decoding, steps, model):
    with torch.no_grad():
        return decoding(steps(model, batch_of(model), model.task.logits, decoding.max_length), model.vocabulary.end)


def batch_of(model):
    return tiny.batch(tiny.translations(), model.vocabulary)


@every_fusion
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("decoding", [Greedy(max_length=7), BeamSearch(beams=3, max_length=12)], ids=["greedy", "beam"])
def test_the_cache_changes_no_word_and_no_score(kind, text, decoding):
    model = model_of(kind, text)
    cached, plain = sentences(decoding, CachedSteps, model), sentences(decoding, UncachedSteps, model)
    assert [[hypothesis.ids for hypothesis in sample] for sample in cached] == [
        [hypothesis.ids for hypothesis in sample] for sample in plain
    ]
    for ours, theirs in zip(sum(cached, []), sum(plain, []), strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)


@every_fusion
def test_a_sample_is_decoded_alike_in_any_batch(kind):
    model, decoding = model_of(kind), BeamSearch(beams=2, max_length=6)
    together = sentences(decoding, CachedSteps, model)
    with torch.no_grad():
        for place, sample in enumerate(tiny.translations()):
            alone = tiny.batch([sample], model.vocabulary)
            steps = CachedSteps(model, alone, model.task.logits, decoding.max_length)
            assert [hypothesis.ids for hypothesis in decoding(steps, model.vocabulary.end)[0]] == [
                hypothesis.ids for hypothesis in together[place]
            ]


def test_decoding_never_looks_at_the_target(batch):
    model, decoding = model_of(), Greedy(max_length=5)
    other = batch._replace(ids=torch.where(batch.block_ids > 0, 7, batch.ids))
    for given in (batch, other):
        words = prompts(given)
        assert (words.block_ids == 0).all()
        assert words.ids.shape[1] == max(
            int(((b == 0) & v).sum()) for b, v in zip(given.block_ids, given.mask, strict=True)
        )
    with torch.no_grad():
        decoded = [decoding(CachedSteps(model, given, model.task.logits, 5), 2) for given in (batch, other)]
    assert decoded[0] == decoded[1]


def test_the_loss_is_the_mean_over_target_tokens(batch):
    model = model_of()
    states, terms = model(batch).embeddings, []
    for row in range(batch.size):
        for place in range(1, batch.ids.shape[1]):
            if batch.block_ids[row, place] > 0:
                logits = model.task.logits(states[row, place - 1])
                terms.append(F.cross_entropy(logits[None], batch.ids[row, place][None]))
    torch.testing.assert_close(model.task.loss(model, batch), torch.stack(terms).mean())


def test_label_smoothing_applies_only_in_training(batch):
    model, plain = model_of(label_smoothing=0.2), model_of()
    torch.testing.assert_close(model.task.loss(model, batch), plain.task.loss(plain, batch))
    assert model.train().task.loss(model, batch) != plain.train().task.loss(plain, batch)


def test_the_vocabulary_head_shares_the_word_embedding():
    model = model_of()
    assert model.task.head.weight is model.text_encoder.embedding.weight


def test_samples_without_sentences_are_refused():
    model = model_of()
    with pytest.raises(InputError, match="generation needs sentences"):
        model.task.loss(model, tiny.batch(tiny.questions(), model.vocabulary))


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion], ids=lambda kind: kind.__name__)
def test_a_few_sentences_are_memorised(kind):
    torch.manual_seed(1)
    model = tiny.fusion(kind, text_encoder=tiny.transformer(dim=32, dropout=0.0), task=Generation())
    batch = batch_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model.task.loss(model, batch).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        rows = model.task.predict(model, batch)
    assert [row.prediction for row in rows] == [sample.target for sample in tiny.translations()]
    assert all(row.confidence > 0.5 and row.loss < 0.2 for row in rows)


def test_rows_are_scored_by_the_whole_table():
    predictions = {"a": "a red circle", "b": "a blue star and a circle", "c": "nothing"}
    references = {"a": ("a red circle", "one red circle"), "b": ("a blue star",), "c": ("two squares",)}
    rows = [Prediction(key, "", "", predictions[key], references[key], math.nan, 1.0, 0.5) for key in predictions]
    task = model_of().task
    expected = score_captions(predictions, references)
    scored = task.score(rows)
    assert [row.score for row in scored] == pytest.approx(expected["CIDEr-D"].samples.tolist())
    figures = task.compute_metrics(scored)
    assert figures["score"] == figures["cider_d"] == pytest.approx(expected["CIDEr-D"].corpus)
    assert figures["bleu_4"] == pytest.approx(expected["BLEU-4"].corpus)
    assert figures["words_used"] == 7
    assert figures["mean_length"] == pytest.approx((3 + 6 + 1) / 3)


@pytest.mark.parametrize("scorer", [Captions, Translations, Answers])
def test_a_sentence_without_references_has_no_score(scorer):
    task = model_of(scorer=scorer()).task
    rows = [Prediction(key, "", "", "a red circle", (), math.nan, 1.0, 0.5) for key in "abc"]
    assert all(math.isnan(row.score) for row in task.score(rows))
    scored = task.score([rows[0], rows[1]._replace(references=("a red circle",)), rows[2]])
    assert [row.key for row in scored] == ["a", "b", "c"]
    assert [math.isnan(row.score) for row in scored] == [True, False, True]


def test_an_answer_can_be_put_in_place_of_the_target(batch):
    model = model_of()
    answers = ["ein kreis", "", "roter kreis neben dem stern"]
    wanted = tiny.batch(
        [sample._replace(target=answer) for sample, answer in zip(tiny.translations(), answers, strict=True)],
        model.vocabulary,
    )
    replaced = model.task.with_targets(batch, answers)
    width = wanted.ids.shape[1]
    assert torch.equal(replaced.mask[:, :width], wanted.mask)
    assert torch.equal(replaced.ids[:, :width][wanted.mask], wanted.ids[wanted.mask])
    assert torch.equal(replaced.block_ids[:, :width][wanted.mask], wanted.block_ids[wanted.mask])
    assert not replaced.mask[:, width:].any()
