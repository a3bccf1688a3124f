"""Probes measure, for any fusion and task, how much a score depends on each modality."""

from collections import Counter

import pytest
import torch
from helpers import tiny

from velm_lightning.data import MultimodalData
from velm_lightning.data.incongruent import permuted
from velm_lightning.fusion import EarlyFusion, ImageOnly, InteractiveFusion, LateFusion, TextOnly
from velm_lightning.inspection.probe import MODALITIES, SHARES, Prober, probe
from velm_lightning.tasks import Generation, Retrieval

COUNT = 9


def data_of(samples):
    return MultimodalData(tiny.Samples(train=samples, test=samples), batch_size=4)


def model_of(kind, data, **parts):
    torch.manual_seed(0)
    return tiny.fusion(kind, vocabulary=data.vocabulary, **parts).eval()


def prober(kind=LateFusion, samples=None, **parts):
    data = data_of(tiny.many(COUNT) if samples is None else samples)
    model = model_of(kind, data, **parts)
    data.connect(model)
    return Prober(model, data.split("test"), range(COUNT), 4, seed=0)


def shown(prober, **altered):
    return list(prober._batches(**altered))


def pictures(batches):
    return torch.cat([batch.image for batch in batches])


def texts(prober, batches):
    words = prober.split.texts.vocabulary
    return [words.decode(ids[1:]) for batch in batches for ids in batch.ids.tolist()]


@pytest.mark.parametrize("modality", MODALITIES)
def test_shuffled_samples_change_one_modality_only(modality, monkeypatch):
    probed = prober(samples=tiny.many(COUNT))
    plain, altered = shown(probed), []
    monkeypatch.setattr(probed, "_score", lambda batches: altered.extend(batches) or 0.0)
    probed.shuffled(modality, 0)
    same = {
        "image": torch.equal(pictures(altered), pictures(plain)),
        "text": texts(probed, altered) == texts(probed, plain),
    }
    assert same == {name: name != modality for name in MODALITIES}
    assert [batch.keys for batch in altered] == [batch.keys for batch in plain]
    assert [batch.references for batch in altered] == [batch.references for batch in plain]
    assert not [
        i for i in range(COUNT) if modality == "image" and torch.equal(pictures(altered)[i], pictures(plain)[i])
    ]


def test_shuffling_keeps_the_frequency_of_contents(monkeypatch):
    samples = [
        sample._replace(text=tiny.TEXTS[n > 3], image=tiny.picture(n % 2)) for n, sample in enumerate(tiny.many(COUNT))
    ]
    probed = prober(samples=samples)
    plain, altered = shown(probed), {}
    for modality in MODALITIES:
        batches = altered[modality] = []
        monkeypatch.setattr(probed, "_score", lambda split, batches=batches: batches.extend(split) or 0.0)
        probed.shuffled(modality, 0)
    assert Counter(texts(probed, altered["text"])) == Counter(texts(probed, plain))
    assert sorted(pictures(altered["image"]).sum((1, 2, 3))) == sorted(pictures(plain).sum((1, 2, 3)))
    assert [probed.unchanged(modality) for modality in MODALITIES] == [1, 1], "5 of 9 samples share a content"


def test_samples_that_keep_a_shuffled_text_are_counted():
    samples = [sample._replace(text=tiny.TEXTS[n > 6]) for n, sample in enumerate(tiny.many(COUNT))]
    data = data_of(samples)
    result = probe(model_of(LateFusion, data), data, "test", shuffles=1)
    assert (result.shuffled["text"].unchanged, result.shuffled["image"].unchanged) == (5, 0)


def test_larger_shares_of_missing_images_include_smaller_ones(monkeypatch):
    probed = prober()
    plain, gone = pictures(shown(probed)), []
    for share in SHARES:
        altered = []
        monkeypatch.setattr(probed, "_score", lambda batches, altered=altered: altered.extend(batches) or 0.0)
        probed.missing("image", share)
        images = pictures(altered)
        gone.append({i for i in range(COUNT) if not torch.equal(images[i], plain[i])})
        mean = plain.float().mean(0).to(torch.uint8)
        assert all(torch.equal(images[i], mean) for i in gone[-1])
    assert [len(places) for places in gone] == [0, 2, 4, 7, 9]
    assert all(smaller <= larger for smaller, larger in zip(gone, gone[1:], strict=False))


def test_a_missing_text_is_an_empty_prompt(monkeypatch):
    probed, altered = prober(), []
    monkeypatch.setattr(probed, "_score", lambda batches: altered.extend(batches) or 0.0)
    probed.missing("text", 1.0)
    assert texts(probed, altered) == [""] * COUNT
    assert texts(probed, shown(probed)) != [""] * COUNT, "the split is not changed"


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion])
def test_a_model_trained_on_images_depends_on_them(kind):
    """Two images, two answers, one question: the text does not determine the answer."""
    both = [tiny.picture(0), tiny.picture(1)]
    samples = [
        tiny.Sample(f"s{i}", both[i % 2], ("is it red ?", "is it blue ?")[i // 2 % 2], {answer: 1.0}, (answer,))
        for i, answer in ((i, ("yes", "no")[i % 2]) for i in range(8))
    ]
    data = data_of(samples)
    model = model_of(kind, data).train()
    data.connect(model)
    batch = data.split("train").pictured(range(8))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        model.task.loss(model, batch).backward()
        optimizer.step()
    result = probe(model, data, "test", shuffles=1)
    assert result.score == 1
    assert result.shuffled["image"].scores == [0.0], "exchanged images give the other answer"
    assert result.shuffled["image"].perceptual == 1
    assert result.shuffled["text"].cost == 0
    assert result.missing["text"] == [1.0] * len(SHARES)
    assert result.missing["image"][-1] == 0.5


@pytest.mark.parametrize(("kind", "blind_to"), [(TextOnly, "image"), (ImageOnly, "text")])
def test_a_control_does_not_depend_on_the_hidden_modality(kind, blind_to):
    data = data_of(tiny.many(COUNT))
    result = probe(model_of(kind, data), data, "test", shuffles=2)
    assert result.shuffled[blind_to].scores == [result.score] * 2
    assert result.missing[blind_to] == [result.score] * len(SHARES)


def test_a_probe_is_repeatable_and_depends_on_its_seed():
    data = data_of(tiny.many(COUNT))
    model = model_of(LateFusion, data)
    assert probe(model, data, "test") == probe(model, data, "test")
    assert permuted("abcdefgh", 1) != permuted("abcdefgh", 2)


@pytest.mark.parametrize(
    ("task", "samples", "modalities"),
    [
        (Generation, [sample._replace(text="") for sample in tiny.translations()], {"image"}),
        (Generation, tiny.translations(), {"image", "text"}),
        (lambda: Retrieval(width=6), tiny.described(), {"image", "text"}),
    ],
)
def test_only_modalities_of_the_samples_are_probed(task, samples, modalities):
    data = data_of(samples)
    result = probe(model_of(LateFusion, data, task=task()), data, "test", shuffles=1)
    assert set(result.shuffled) == set(result.missing) == modalities


def test_a_limit_spreads_samples_over_the_split():
    data = data_of(tiny.many(COUNT))
    assert probe(model_of(LateFusion, data), data, "test", shuffles=1, limit=4).samples == 3
