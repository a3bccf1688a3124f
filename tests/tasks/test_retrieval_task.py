"""Retrieval: positive pairs, hard negatives, and the search over a whole split."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers import tiny
from torch.nn import functional as F

from velm_lightning.data import CaptionPairs
from velm_lightning.fusion import EarlyFusion, ImageOnly, InteractiveFusion, LateFusion, TextOnly
from velm_lightning.metrics.retrieval import recall_at
from velm_lightning.tasks import Retrieval
from velm_lightning.tasks.ranking import CHUNK, Direction
from velm_lightning.tasks.retrieval import rank_of
from velm_lightning.tasks.rows import group_scores
from velm_lightning.types import InputError, Prediction, Sample

FUSIONS = [EarlyFusion, InteractiveFusion, LateFusion, TextOnly, ImageOnly]
WORDS = ("red", "blue", "how many", "is there", "circle", "what colour", "square ?", "left of the")


def pairs(count, texts=1):
    """Images with a few texts each."""
    return [
        Sample(f"p{i}-{j}", picture, f"{WORDS[i % 8]} {WORDS[(i // 8 + j + 1) % 8]}", None, ())
        for i, picture in enumerate(map(tiny.picture, range(count)))
        for j in range(texts)
    ]


def model_of(kind=LateFusion, **arguments):
    torch.manual_seed(0)
    extra = {"depth": 1, "heads": 2} if kind is InteractiveFusion else {}
    return tiny.fusion(
        kind, vocabulary=tiny.vocabulary(answers=()), task=Retrieval(**{"width": 6} | arguments), **extra
    )


def evaluated(model, samples, size=3):
    model.eval()
    rows = []
    with torch.no_grad():
        whole = tiny.batch(samples, model.vocabulary)
        for start in range(0, len(samples), size):
            rows += model.task.predict(model, whole._make(field[start : start + size] for field in whole))
        return model.task.aggregate(model, sorted(rows))


def similarity(model, samples):
    batch = tiny.batch(samples, model.vocabulary)
    unit_vectors = model.task.vectors(
        model, model.encode_image(batch.image), model.encode_text(model.embed_text(batch.words))
    )
    return model.task.similarity(*unit_vectors)


# The loss.


def contrast(model, names, images, texts):
    return model.task._contrast(images, texts, torch.tensor(names))


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def test_the_softmax_contrast_is_cross_entropy_both_ways():
    model, images, texts = model_of(temperature=0.5), unit(4, 6), unit(4, 6)
    logits, right = images @ texts.T / 0.5, torch.arange(4)
    expected = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
    torch.testing.assert_close(contrast(model, [0, 1, 2, 3], images, texts), expected)


def test_the_sigmoid_contrast_treats_each_pair_separately():
    model, images, texts = model_of(contrast="sigmoid", temperature=0.5), unit(3, 6), unit(3, 6)
    logits = images @ texts.T / 0.5 - 10
    sign = 2 * torch.eye(3) - 1
    expected = -F.logsigmoid(sign * logits).sum() / 3
    torch.testing.assert_close(contrast(model, [0, 1, 2], images, texts), expected)


def test_texts_of_one_image_are_each_others_pairs():
    model, images, texts = model_of(temperature=1.0), unit(3, 6), unit(3, 6)
    images[1] = images[0]
    logits = images @ texts.T
    share = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    expected = (F.cross_entropy(logits, share) + F.cross_entropy(logits.T, share)) / 2
    torch.testing.assert_close(contrast(model, [7, 7, 8], images, texts), expected)


def test_hard_negatives_are_similar_samples_of_other_images():
    task = model_of(negatives=200).task
    logits = torch.tensor([[9.0, 9.0, 4.0, 0.0]] * 4)
    names = torch.tensor([1, 1, 2, 3])
    drawn = task._hard(logits, names[:, None] == names)
    assert not set(drawn[0].tolist()) & {0, 1}
    assert (drawn[0] == 2).sum() > (drawn[0] == 3).sum()
    assert set(drawn[2].tolist()) <= {0, 1, 3}


def test_a_batch_with_a_single_image_has_no_matching_loss(vocabulary):
    model = model_of(EarlyFusion)
    batch = tiny.batch(pairs(1, texts=3), model.vocabulary)
    loss = model.task.loss(model, batch)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("kind", "passed"), [(LateFusion, [5]), (InteractiveFusion, [5]), (EarlyFusion, [5, 15])])
def test_each_text_passes_the_trunk_once_unless_fused_before(kind, passed, monkeypatch):
    model, rows = model_of(kind), []
    trunk = model.text_encoder.trunk
    monkeypatch.setattr(
        model.text_encoder, "trunk", lambda text, cache=None: rows.append(len(text.embeddings)) or trunk(text)
    )
    model.task.loss(model, tiny.batch(pairs(5), model.vocabulary))
    assert rows == passed  # early fusion: five texts without an image, then three pairs per text


def test_a_causal_trunk_reads_each_image_once_for_all_texts():
    model, read = tiny.fusion(EarlyFusion, text_encoder=tiny.recurrent(), task=Retrieval(width=6)), []
    trunk = model.text_encoder.trunk
    model.text_encoder.trunk = lambda tokens, cache=None: (
        read.append(tuple(tokens.embeddings.shape[:2])) or trunk(tokens, cache)
    )
    batch = tiny.batch(pairs(3), model.vocabulary)
    image, text = model.encode_image(batch.image), model.embed_text(batch.words)
    fused = model.fuse_pairs(image, text, torch.tensor([0, 2, 2, 0]), torch.tensor([0, 1, 2, 2]))
    assert read == [(2, image.embeddings.shape[1]), (4, text.embeddings.shape[1])]
    one_by_one = [model.fuse_pairs(image, text, torch.tensor([i]), torch.tensor([t])) for i, t in ((0, 0), (2, 1))]
    torch.testing.assert_close(fused[:2], torch.cat(one_by_one))
    fused.sum().backward()
    assert all(p.grad is not None for part in (model.image_encoder, trunk.__self__) for p in part.parameters())


@pytest.mark.parametrize(
    "kind", [LateFusion, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (EarlyFusion, InteractiveFusion))]
)
def test_a_few_pairs_are_memorised(kind):
    model, samples = model_of(kind), pairs(6)
    batch = tiny.batch(samples, model.vocabulary)
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    for _ in range(200):
        optimizer.zero_grad()
        model.task.loss(model, batch).backward()
        optimizer.step()
    assert model.task.compute_metrics(evaluated(model, samples))["score"] == 1


def test_without_a_width_the_vectors_are_those_of_the_text():
    """A pretrained sentence encoder ranks as it did before training, and images are mapped into its space."""
    model, samples = model_of(width=None).eval(), pairs(3)
    batch = tiny.batch(samples, model.vocabulary)
    image, text = model.encode_image(batch.image), model.encode_text(model.embed_text(batch.words))
    images, texts = model.task.vectors(model, image, text)
    torch.testing.assert_close(images, F.normalize(image.mean(), dim=-1))
    torch.testing.assert_close(texts, F.normalize(model.pool_text(text), dim=-1))


def test_text_dropout_changes_texts_in_training_only():
    model, samples = model_of(text_dropout=0.5), pairs(3)
    batch = tiny.batch(samples, model.vocabulary)

    def vectors_now():
        with torch.no_grad():
            return model.task.text_vectors(model, model.encode_text(model.embed_text(batch.words)))

    assert not torch.equal(vectors_now(), vectors_now())
    model.eval()
    assert torch.equal(vectors_now(), vectors_now())


@pytest.mark.parametrize("kind", FUSIONS)
def test_every_fusion_searches_without_a_width(kind):
    rows = evaluated(model_of(kind, width=None), pairs(4, texts=2))
    assert [row.group for row in rows] == ["text to image"] * 8 + ["image to text"] * 4


# The search.


@pytest.mark.parametrize("kind", FUSIONS)
def test_every_text_and_every_image_has_its_rank(kind):
    rows = evaluated(model_of(kind), pairs(4, texts=2))
    assert [row.group for row in rows] == ["text to image"] * 8 + ["image to text"] * 4
    assert all(1 <= rank_of(row) <= (4 if row.group == "text to image" else 7) for row in rows)
    assert all(row.score == 1 / rank_of(row) for row in rows)
    assert len({row.key for row in rows}) == 12
    assert {row.image for row in rows} == {f"p{i}-0" for i in range(4)}


def test_two_towers_rank_only_by_similarity():
    model, samples = model_of(shortlist=0), pairs(5)
    rows = {row.key: rank_of(row) for row in evaluated(model, samples)}
    with torch.no_grad():
        logits = similarity(model, samples)
    for i in range(5):
        assert rows[f"p{i}-0"] == 1 + int((logits[:, i] > logits[i, i]).sum())
        assert rows[f"picture of p{i}-0"] == 1 + int((logits[i] > logits[i, i]).sum())


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion])
def test_only_the_shortlist_is_put_in_another_order(kind):
    """The correction from fused states determines the order within the shortlist and nothing beyond it."""
    samples = pairs(6)
    alone = {row.key: rank_of(row) for row in evaluated(model_of(kind, shortlist=0), samples)}
    model = model_of(kind, shortlist=3)
    with torch.no_grad():
        model.task.match[-1].weight.mul_(1000)
    both = {row.key: rank_of(row) for row in evaluated(model, samples)}
    assert all((alone[key] <= 3) == (both[key] <= 3) for key in alone)
    assert all(alone[key] == both[key] for key in alone if alone[key] > 3)
    assert alone != both


@pytest.mark.parametrize("kind", [EarlyFusion, LateFusion])
def test_with_a_shortlist_of_all_the_fused_pairs_decide(kind):
    model, samples = model_of(kind, shortlist=99), pairs(5)
    rows = {row.key: rank_of(row) for row in evaluated(model, samples)}
    batch = tiny.batch(samples, model.vocabulary)
    with torch.no_grad():
        logits = similarity(model, samples)
        logits = (
            logits
            + model.task.match(model.fuse_all_pairs(model.encode_image(batch.image), model.embed_text(batch.words)))[
                ..., 0
            ]
        )
    assert [rows[f"p{i}-0"] for i in range(5)] == [1 + int((logits[:, i] > logits[i, i]).sum()) for i in range(5)]


def test_batch_and_chunk_sizes_do_not_change_the_result(monkeypatch):
    samples = pairs(8)
    whole = evaluated(model_of(EarlyFusion), samples, size=8)
    monkeypatch.setattr("velm_lightning.tasks.ranking.CHUNK", 3)
    assert [row[:5] for row in evaluated(model_of(EarlyFusion), samples, size=1)] == [row[:5] for row in whole]
    assert CHUNK > 8


@pytest.mark.parametrize(("shortlist", "tokens"), [(0, 0), (3, 16)])
def test_what_an_evaluation_keeps_is_no_larger_than_it_needs(shortlist, tokens):
    """It is sent to other processes, and a view would include its whole batch."""
    model = model_of(shortlist=shortlist)
    with torch.no_grad():
        model.task.predict(model, tiny.batch(pairs(4, texts=2), model.vocabulary))
    cached = list(model.task._cached.values())
    parts = [sample.vector for sample in cached] + [
        part for sample in cached if sample.encoded_image for part in sample.encoded_image
    ]
    assert [part.untyped_storage().nbytes() for part in parts] == [part.nbytes for part in parts]
    assert [sample.encoded_image[1].shape[0] for sample in cached if sample.encoded_image] == [tokens] * 4


def test_a_image_names_all_its_texts():
    rows = evaluated(model_of(), pairs(3, texts=2))
    texts = {row.key: row.references for row in rows if row.group == "image to text"}
    expected = {}
    for sample in pairs(3, texts=2):
        expected.setdefault(f"picture of {sample.key[:2]}-0", []).append(sample.text)
    assert texts == {key: tuple(captions) for key, captions in expected.items()}


def test_folds_are_searched_by_themselves_and_averaged():
    model, samples = model_of(fold=2, shortlist=0), pairs(4)
    rows = evaluated(model, samples)
    halves = [evaluated(model_of(shortlist=0), part) for part in (samples[:2], samples[2:])]
    expected = [model.task.compute_metrics(half) for half in halves]
    metrics = model.task.compute_metrics(rows)
    assert {row.group for row in rows} == {f"{d.value}, fold {n}" for d in Direction for n in (1, 2)}
    assert metrics == {name: (expected[0][name] + expected[1][name]) / 2 for name in metrics}


def test_rows_have_the_groups_of_the_data_and_equal_figures():
    samples = pairs(4, texts=2)
    grouped = [sample._replace(group="indoor" if i < 4 else f"g{i % 2}") for i, sample in enumerate(samples)]
    plain, rows = (evaluated(model_of(fold=2), of) for of in (samples, grouped))
    assert [row._replace(group="") for row in rows] == [row._replace(group="") for row in plain]
    assert {row.group for row in rows if row.key.startswith("picture of")} == {
        "image to text, fold 1 / indoor",
        "image to text, fold 2",  # the texts of these images have different groups
    }
    texts = {row.key: row.group for row in rows if row.group.startswith("text to image")}
    assert (texts["p0-0"], texts["p3-1"]) == ("text to image, fold 1 / indoor", "text to image, fold 2 / g1")
    task = Retrieval()
    assert task.compute_metrics(rows) == task.compute_metrics(plain)
    assert task.floors(rows, ()) == task.floors(plain, ())
    assert group_scores(rows)["text to image, fold 1"] == group_scores(plain)["text to image, fold 1"]


def test_figures_are_recalls_and_median_ranks_of_both_directions():
    nothing = (math.nan,) * 3
    ranks = {"text to image": [1, 2, 7, 30], "image to text": [1, 1, 12]}
    rows = [
        Prediction(f"{group} {i}", group, "", f"rank {rank}; first: x", ("x",), *nothing)
        for group, group_ranks in ranks.items()
        for i, rank in enumerate(group_ranks)
    ]
    figures = Retrieval().compute_metrics(rows)
    expected = {group: recall_at([rank - 1 for rank in group_ranks]) for group, group_ranks in ranks.items()}
    assert figures["text_to_image_r5"] == expected["text to image"]["R@5"] == 0.5
    assert figures["image_to_text_r1"] == pytest.approx(2 / 3)
    assert figures["text_to_image_median_rank"] == 4.5
    recalls = [expected[group][f"R@{k}"] for group in ranks for k in (1, 5, 10)]
    assert figures["score"] == pytest.approx(sum(recalls) / 6)


@pytest.mark.parametrize(("kind", "asked"), [(TextOnly, "image to text"), (ImageOnly, "text to image")])
def test_a_control_finds_the_same_whatever_it_is_asked(kind, asked):
    """All inputs of the hidden modality are equal for a control."""
    rows = evaluated(model_of(kind), pairs(4))
    assert len({row.prediction.partition("first: ")[2] for row in rows if row.group == asked}) == 1


def test_scores_are_computed_again_from_stored_rows():
    model = model_of()
    rows = evaluated(model, pairs(3))
    assert model.task.score([row._replace(score=math.nan) for row in rows]) == rows


def test_a_row_of_another_task_is_refused():
    with pytest.raises(InputError, match="'red' has no rank"):
        rank_of(Prediction("k", "", "", "red", (), 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0}, {"matching": 0}, {"negatives": 0}, {"fold": 0}, {"text_dropout": 1}, {"width": 0}]
)
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=f"task.{next(iter(wrong))} must be "):
        Retrieval(**wrong)


# Several processes.


def work(rank, store, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    samples = pairs(5, texts=2)
    model = model_of()
    part = samples[:4] if rank == 0 else samples[4:]  # parts of different size; both have the third image
    images, texts, names = vectors(len(samples))
    rows_of_rank = slice(0, 4) if rank == 0 else slice(4, 10)
    images, texts = images[rows_of_rank].requires_grad_(), texts[rows_of_rank].requires_grad_()
    loss = model.task._contrast(images, texts, names[rows_of_rank])
    (loss * (rows_of_rank.stop - rows_of_rank.start) / 5).backward()  # weighted as in the mean over processes
    rows = evaluated(model_of(EarlyFusion), part, size=2)
    torch.save((loss.detach(), images.grad, texts.grad, [tuple(row) for row in rows]), f"{results}/{rank}.pt")
    dist.destroy_process_group()


def vectors(count):
    torch.manual_seed(1)
    return unit(count, 6), unit(count, 6), torch.arange(count) // 2


@pytest.mark.slow
def test_two_processes_equal_one_in_contrast_and_search(tmp_path):
    mp.spawn(work, args=(tmp_path / "store", tmp_path), nprocs=2)
    (loss0, images0, texts0, rows0), (loss1, images1, texts1, rows1) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)
    )
    images, texts, names = vectors(10)
    images.requires_grad_(), texts.requires_grad_()
    whole = model_of().task._contrast(images, texts, names)
    whole.backward()
    torch.testing.assert_close(0.4 * loss0 + 0.6 * loss1, whole.detach())
    torch.testing.assert_close(torch.cat([images0, images1]) / 2, images.grad)
    torch.testing.assert_close(torch.cat([texts0, texts1]) / 2, texts.grad)
    alone = [tuple(row) for row in evaluated(model_of(EarlyFusion), pairs(5, texts=2), size=2)]
    assert [row[:6] for row in rows0] == [row[:6] for row in rows1] == [row[:6] for row in alone]


# The data.


def captioned(key, count, target=True):
    texts = tuple(f"{key} {i}" for i in range(count))
    return Sample(key, tiny.picture(0), "", texts[0] if target else None, texts, "g")


def test_every_caption_becomes_a_pair():
    data = CaptionPairs(tiny.Samples(train=[captioned("a", 3), captioned("b", 3)], test=[captioned("c", 3)]))
    assert [(s.key, s.text, s.target, s.references) for s in data.split("train")] == [
        ("a", "a 0", None, ()), ("b", "b 0", None, ()),
    ]  # fmt: skip
    assert [(s.key, s.text) for s in data.split("test")] == [(f"c#{i}", f"c {i}") for i in range(3)]
    assert data.split("val") == []


def test_an_evaluation_may_take_a_few_captions_of_each_image():
    data = CaptionPairs(tiny.Samples(test=[captioned("c", 5)]), captions=2)
    assert len(data.split("test")) == 2
