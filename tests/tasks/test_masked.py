"""Masked language modelling: target tokens, inputs of the prediction, and scores."""

import math

import pytest
import torch
from helpers import tiny

from velm_lightning.fusion import EarlyFusion, ImageOnly, InteractiveFusion, LateFusion, TextOnly
from velm_lightning.tasks import MaskedLM
from velm_lightning.types import InputError, Sample

FUSIONS = [EarlyFusion, InteractiveFusion, LateFusion]


def model_of(kind=LateFusion, **arguments):
    torch.manual_seed(0)
    extra = {"depth": 1, "heads": 2} if kind is InteractiveFusion else {}
    return tiny.fusion(kind, vocabulary=tiny.vocabulary(answers=()), task=MaskedLM(**arguments), **extra)


def texts(*written):
    return [Sample(f"s{i}", tiny.picture(i), text, None, ()) for i, text in enumerate(written)]


def given_to(model, batch):
    """Return the token ids that the model receives, and the target tokens."""
    inputs = []
    read = model.embed_text
    model.embed_text = lambda words, cache=None: inputs.append(words.ids) or read(words, cache)
    targets = model.task._masked(model, batch)
    del model.embed_text
    return inputs[0], targets


@pytest.mark.parametrize("training", [True, False])
def test_targets_are_never_special_tokens(training):
    model = model_of(share=0.4).train(training)
    words = model.vocabulary
    batch = tiny.batch(texts(*["is there a red circle left of the square ?"] * 50, "red"), words)
    for _ in range(3):
        targets = model.task._masked(model, batch)
        chosen = batch.ids[targets.places]
        assert not set(chosen.tolist()) & {words.pad, words.start, words.end, words.mask}
        assert torch.equal(chosen, targets.words)
        assert targets.places.any(1).all(), "every text has a target token"
    share = targets.places[:50].sum() / (50 * 10)
    assert 0.3 < share < 0.5


def test_80_percent_of_targets_are_masked_and_10_are_replaced():
    model = model_of(share=1.0).train()
    batch = tiny.batch(texts(*["is there a red circle left of the square ?"] * 200), model.vocabulary)
    given, targets = given_to(model, batch)
    hidden = (given == model.vocabulary.mask)[targets.places].float().mean()
    unchanged = (given == batch.ids)[targets.places].float().mean()
    assert abs(hidden - 0.8) < 0.03
    assert 0.08 < unchanged < 0.14  # a changed word may be the same by chance
    assert torch.equal(given[~targets.places], batch.ids[~targets.places])


def test_in_evaluation_targets_depend_on_the_key():
    model = model_of(share=0.5).eval()
    samples = texts("is there a red circle left of the square ?", "what colour is it ?")
    both, alone = tiny.batch(samples, model.vocabulary), tiny.batch(samples[1:], model.vocabulary)
    with torch.no_grad():
        first, again = model.task.predict(model, both), model.task.predict(model, alone)
    assert again[0][:6] == first[1][:6]
    assert again[0].loss == pytest.approx(first[1].loss)
    model.train()
    places = {tuple(model.task._masked(model, both).places.flatten().tolist()) for _ in range(8)}
    assert len(places) > 1, "in training they are drawn at each step"


@pytest.mark.parametrize("kind", [*FUSIONS, TextOnly, ImageOnly])
def test_masked_tokens_depend_on_both_sides_and_the_image(kind):
    model = model_of(kind).double().eval()
    batch = model.task.blanked(tiny.batch(texts("is there a [MASK] circle left of the square ?"), model.vocabulary))
    place = batch.ids == model.vocabulary.mask

    def logits(changed):
        with torch.no_grad():
            return model.task._logits(model, changed, place)

    before = logits(batch)
    for other in (1, 9):  # a word before it and one after it
        ids = batch.ids.clone()
        ids[0, other] = model.vocabulary.unknown
        assert torch.allclose(logits(batch._replace(ids=ids)), before) == (kind is ImageOnly)
    assert torch.allclose(logits(batch._replace(image=255 - batch.image)), before) == (kind is TextOnly)


@pytest.mark.parametrize("kind", [LateFusion, *(pytest.param(kind, marks=pytest.mark.slow) for kind in FUSIONS[:2])])
def test_tokens_that_depend_only_on_the_image_are_learned(kind):
    colours = ("red", "blue")
    samples = [Sample(f"s{i}", tiny.picture(i % 2), f"a {colours[i % 2]} circle", None, ()) for i in range(4)]
    model = model_of(kind, share=0.01)
    batch = tiny.batch(samples, model.vocabulary)
    hidden = batch._replace(ids=batch.ids.masked_fill(torch.arange(batch.ids.shape[1]) == 2, model.vocabulary.mask))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        model.task.loss(model, batch).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        best = model.task.top_answers(model, hidden, 1)
    assert [answers[0][0] for answers in best] == ["red", "blue"] * 2


def test_samples_and_splits_are_scored_by_the_share_of_tokens():
    rows = model_of().task.predict(model := model_of(share=1.0).eval(), tiny.batch(tiny.described(), model.vocabulary))
    rows = [
        rows[0]._replace(prediction="a b", references=("a c",), score=math.nan),
        rows[1]._replace(prediction="a b c d e f", references=("a b c d e f",), score=math.nan),
        rows[2]._replace(prediction="", references=(), score=math.nan),
    ]
    scored = model.task.score(rows)
    assert [row.score for row in scored[:2]] == [0.5, 1.0]
    assert math.isnan(scored[2].score)
    assert model.task.compute_metrics(scored)["score"] == 7 / 8


def test_texts_without_tokens_are_refused():
    model = model_of().eval()
    batch = tiny.batch(texts("", "red"), model.vocabulary)
    with torch.no_grad():
        rows = model.task.predict(model, batch)
    assert rows[0].references == ()
    assert math.isnan(rows[0].score)
    with pytest.raises(InputError, match="check `text`"):
        model.task.loss(model, tiny.batch(texts("", ""), model.vocabulary))


def test_a_question_without_a_mask_is_refused(batch):
    model = model_of()
    with pytest.raises(InputError, match=r"write \[MASK\] in the text"):
        model.task.top_answers(model, batch, 1)


def test_a_text_encoder_that_reads_one_way_is_refused():
    with pytest.raises(InputError, match="RNNTextEncoder does not: use TransformerTextEncoder"):
        tiny.fusion(text_encoder=tiny.recurrent(), task=MaskedLM())


def test_a_share_out_of_range_is_refused():
    with pytest.raises(InputError, match="task.share=0"):
        MaskedLM(share=0)
