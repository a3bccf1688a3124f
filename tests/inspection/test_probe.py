"""What a model owes to each modality: measured on altered samples, whatever the fusion and the task."""

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
def test_exchanged_samples_keep_all_but_one_modality(modality, monkeypatch):
    one = prober(samples=tiny.many(COUNT))
    plain, altered = shown(one), []
    monkeypatch.setattr(one, "_score", lambda batches: altered.extend(batches) or 0.0)
    one.shuffled(modality, 0)
    same = {"image": torch.equal(pictures(altered), pictures(plain)), "text": texts(one, altered) == texts(one, plain)}
    assert same == {name: name != modality for name in MODALITIES}
    assert [batch.keys for batch in altered] == [batch.keys for batch in plain]
    assert [batch.references for batch in altered] == [batch.references for batch in plain]
    assert not [
        i for i in range(COUNT) if modality == "image" and torch.equal(pictures(altered)[i], pictures(plain)[i])
    ]


def test_shuffled_texts_and_pictures_stay_as_frequent(monkeypatch):
    samples = [
        one._replace(text=tiny.TEXTS[n > 3], image=tiny.picture(n % 2)) for n, one in enumerate(tiny.many(COUNT))
    ]
    one = prober(samples=samples)
    plain, altered = shown(one), {}
    for modality in MODALITIES:
        batches = altered[modality] = []
        monkeypatch.setattr(one, "_score", lambda found, batches=batches: batches.extend(found) or 0.0)
        one.shuffled(modality, 0)
    assert Counter(texts(one, altered["text"])) == Counter(texts(one, plain))
    assert sorted(pictures(altered["image"]).sum((1, 2, 3))) == sorted(pictures(plain).sum((1, 2, 3)))
    assert [one.unchanged(modality) for modality in MODALITIES] == [1, 1], "5 of 9 samples share a content"


def test_samples_that_keep_a_shuffled_text_are_counted():
    samples = [one._replace(text=tiny.TEXTS[n > 6]) for n, one in enumerate(tiny.many(COUNT))]
    data = data_of(samples)
    found = probe(model_of(LateFusion, data), data, "test", shuffles=1)
    assert (found.shuffled["text"].unchanged, found.shuffled["image"].unchanged) == (5, 0)


def test_larger_shares_of_missing_pictures_hold_the_smaller_ones(monkeypatch):
    one = prober()
    plain, gone = pictures(shown(one)), []
    for share in SHARES:
        altered = []
        monkeypatch.setattr(one, "_score", lambda batches, altered=altered: altered.extend(batches) or 0.0)
        one.missing("image", share)
        found = pictures(altered)
        gone.append({i for i in range(COUNT) if not torch.equal(found[i], plain[i])})
        mean = plain.float().mean(0).to(torch.uint8)
        assert all(torch.equal(found[i], mean) for i in gone[-1])
    assert [len(one) for one in gone] == [0, 2, 4, 7, 9]
    assert all(smaller <= larger for smaller, larger in zip(gone, gone[1:], strict=False))


def test_a_missing_text_is_an_empty_prompt(monkeypatch):
    one, altered = prober(), []
    monkeypatch.setattr(one, "_score", lambda batches: altered.extend(batches) or 0.0)
    one.missing("text", 1.0)
    assert texts(one, altered) == [""] * COUNT
    assert texts(one, shown(one)) != [""] * COUNT, "the split itself stays as it is"


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion])
def test_a_model_that_learned_from_pictures_owes_its_score_to_them(kind):
    """Two pictures, two answers, one question: the words tell nothing."""
    both = [tiny.picture(0), tiny.picture(1)]
    samples = [
        tiny.Sample(f"s{i}", both[i % 2], ("is it red ?", "is it blue ?")[i // 2 % 2], {said: 1.0}, (said,))
        for i, said in ((i, ("yes", "no")[i % 2]) for i in range(8))
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
    found = probe(model, data, "test", shuffles=1)
    assert found.score == 1
    assert found.shuffled["image"].scores == [0.0], "two pictures that change places give the other answer"
    assert found.shuffled["image"].perceptual == 1
    assert found.shuffled["text"].cost == 0
    assert found.missing["text"] == [1.0] * len(SHARES)
    assert found.missing["image"][-1] == 0.5


@pytest.mark.parametrize(("kind", "blind_to"), [(TextOnly, "image"), (ImageOnly, "text")])
def test_a_control_owes_nothing_to_what_it_does_not_see(kind, blind_to):
    data = data_of(tiny.many(COUNT))
    found = probe(model_of(kind, data), data, "test", shuffles=2)
    assert found.shuffled[blind_to].scores == [found.score] * 2
    assert found.missing[blind_to] == [found.score] * len(SHARES)


def test_a_probe_repeats_itself_and_depends_on_its_seed():
    data = data_of(tiny.many(COUNT))
    model = model_of(LateFusion, data)
    assert probe(model, data, "test") == probe(model, data, "test")
    assert permuted("abcdefgh", 1) != permuted("abcdefgh", 2)


@pytest.mark.parametrize(
    ("task", "samples", "modalities"),
    [
        (Generation, [one._replace(text="") for one in tiny.translations()], {"image"}),
        (Generation, tiny.translations(), {"image", "text"}),
        (lambda: Retrieval(width=6), tiny.described(), {"image", "text"}),
    ],
)
def test_every_task_is_probed_for_the_modalities_that_its_samples_have(task, samples, modalities):
    data = data_of(samples)
    found = probe(model_of(LateFusion, data, task=task()), data, "test", shuffles=1)
    assert set(found.shuffled) == set(found.missing) == modalities


def test_a_part_of_a_split_is_spread_over_it():
    data = data_of(tiny.many(COUNT))
    assert probe(model_of(LateFusion, data), data, "test", shuffles=1, limit=4).samples == 3
