"""A fusion may be written without a cache: it then decodes uncached, and gives the same sentences."""

import importlib.util
import logging
from pathlib import Path

import pytest
import torch
from helpers import tiny

import velm_lightning
from velm_lightning.decoding import BeamSearch, Greedy
from velm_lightning.fusion import EarlyFusion, Fusion
from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.tasks import Generation, Retrieval, SelfCritical
from velm_lightning.tasks.stepping import CachedSteps, warn_uncached
from velm_lightning.types import Tokens


class Prefix(Fusion):
    """Early fusion as a user writes it."""

    def fuse(self, image, text):
        states = self.text_encoder.trunk(Tokens.cat([image, text]))
        return text.with_embeddings(states.embeddings[:, image.embeddings.shape[1] :])


class Added(TextFirstFusion):
    """Late fusion as a user writes it."""

    def fuse_states(self, image, text):
        return text.with_embeddings(text.embeddings + image.mean()[:, None])


class AddedWithCache(TextFirstFusion):
    def fuse_states(self, image, text, cache=None):
        if image is not None:
            self.pooled = image.mean()[:, None]
        repeats = len(text.embeddings) // len(self.pooled)
        return text.with_embeddings(text.embeddings + self.pooled.repeat_interleave(repeats, 0))


def template(kind):
    """The module that ``velm new`` writes."""
    path = Path(velm_lightning.__file__).parent / "templates" / kind / f"my_{kind}.py"
    located = importlib.util.spec_from_file_location(f"my_{kind}", path)
    module = importlib.util.module_from_spec(located)
    located.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def forget():
    warn_uncached.cache_clear()


def built(kind, task=Generation, **settings):
    torch.manual_seed(0)
    return tiny.fusion(kind, task=task(**settings)).eval()


@pytest.mark.parametrize(("own", "reference"), [(Prefix, EarlyFusion), (Added, AddedWithCache)])
@pytest.mark.parametrize("decoding", [Greedy(max_length=5), BeamSearch(beams=2, max_length=5)])
def test_sentences_are_those_of_the_cached_fusion(own, reference, decoding, sentences):
    expected, found = (built(kind, decoding=decoding) for kind in (reference, own))
    expected.load_state_dict(found.state_dict())
    texts = [[row.prediction for row in model.task.predict(model, sentences)] for model in (expected, found)]
    assert texts[0] == texts[1]


def test_it_is_said_once_that_decoding_is_uncached(sentences, caplog):
    model = built(Added)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            model.task.predict(model, sentences)
    (record,) = caplog.records
    assert "Added.fuse takes no cache" in record.getMessage()


def test_a_fusion_with_a_cache_uses_it(sentences, caplog, monkeypatch):
    calls = []
    step = CachedSteps.step
    monkeypatch.setattr(CachedSteps, "step", lambda self, ids: calls.append(type(self)) or step(self, ids))
    model = built(EarlyFusion)
    model.task.predict(model, sentences)
    assert set(calls) == {CachedSteps}
    assert not caplog.records


@pytest.mark.parametrize("kind", [Prefix, Added, template("fusion").MyFusion])
def test_such_a_fusion_trains_on_every_kind_of_task(kind, batch, sentences):
    for model, samples in (
        (tiny.fusion(kind), batch),
        (built(kind), sentences),
        (built(kind, SelfCritical), sentences),
        (built(kind, Retrieval), batch),
    ):
        model.train().task.prepare(tiny.translations())
        loss = model.task.loss(model, samples)
        assert torch.isfinite(loss)
