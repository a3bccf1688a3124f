"""``velm score`` computes the published figures, and names the fault of files that it cannot score."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
from helpers import tiny
from PIL import Image as Pillow

from velm_lightning.cli.commands import main
from velm_lightning.data.images.decode import read_image
from velm_lightning.inspection.caption_scores import score
from velm_lightning.metrics import Clip, clip_score
from velm_lightning.types import Prediction

DATA = Path(__file__).resolve().parents[3] / "shared/data"
FAKECAP, NLGEVAL = DATA / "coco_fakecap", DATA / "metric_refs/nlgeval_hyp.txt"
CAPTIONS = {1: "a dog runs in the snow", 2: "a man climbs a rock", 3: "a dog runs in the snow"}
REFERENCES = {
    1: ("A dog runs through the snow.", "the dog is in snow"),
    2: ("a man is climbing a rock", "A climber!"),
    3: ("two dogs run in the snow", "Dogs in snow"),
}


@pytest.fixture
def put(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def put(name, content) -> str:
        Path(name).write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    return put


@pytest.fixture
def files(put):
    """Files of results and references in the format of COCO."""
    results = [{"image_id": key, "caption": caption} for key, caption in CAPTIONS.items()]
    written = [{"image_id": key, "caption": text} for key, texts in REFERENCES.items() for text in texts]
    return put("results.json", results), put("captions_val.json", {"images": [], "annotations": written})


def figures(*words) -> dict[str, float]:
    """Return the figures that the command writes."""
    assert main(["score", *map(str, words), "--json", "figures.json"]) == 0
    return json.loads(Path("figures.json").read_text())["figures"]


def refused(capsys, *words) -> str:
    assert main(["score", *map(str, words)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("velm: error: ")
    assert errors.count("\n") == 1
    return errors


# Published figures


@pytest.mark.skipif(not FAKECAP.is_dir(), reason=f"no {FAKECAP}")
@pytest.mark.parametrize(
    ("results", "words"), [("captions_val2014_fakecap_results.json", ()), ("res_tokenized.json", ("--tokenised",))]
)
def test_the_example_of_coco_has_its_published_figures(put, capsys, results, words):
    scores = figures(FAKECAP / results, "--references", FAKECAP / "gts_tokenized.json", *words)
    published = {"BLEU-1": 0.579, "BLEU-2": 0.404, "BLEU-3": 0.279, "BLEU-4": 0.191, "ROUGE-L": 0.396, "CIDEr-D": 0.6}
    assert {name: round(value, 3) for name, value in scores.items()} == published
    out = capsys.readouterr().out
    for value in ("0.5794", "0.4044", "0.2785", "0.1908", "0.3963"):
        assert value in out


@pytest.mark.skipif(not NLGEVAL.is_file(), reason=f"no {NLGEVAL}")
def test_the_example_of_nlg_eval_has_its_published_figures(put):
    first, second = (NLGEVAL.with_name(f"nlgeval_ref{n}.txt") for n in (1, 2))
    scores = figures(NLGEVAL, "--references", first, "--references", second, "--tokenised")
    published = {
        "BLEU-1": 0.55,
        "BLEU-2": 0.428174,
        "BLEU-3": 0.284043,
        "BLEU-4": 0.201143,
        "ROUGE-L": 0.522104,
        "CIDEr-D": 1.242192,
    }
    assert scores == pytest.approx(published, abs=1e-6)


# Outputs


def test_figures_diversity_and_a_signature_are_printed(files, capsys):
    results, references = files
    assert main(["score", results, "--references", references]) == 0
    out = capsys.readouterr().out
    assert "3 captions" in out
    for name in ("BLEU-4", "ROUGE-L", "CIDEr-D", "words used", "mean length", "different captions"):
        assert name in out
    assert "66.7%" in out
    assert out.splitlines()[-1].startswith("CIDEr-D|scorer:coco-caption-1.2-equal|tok:ptb-3.4.1|")
    assert "|split:captions_val.json:" in out
    assert "METEOR" not in out


def test_everything_can_be_written(files):
    results, references = files
    assert main(["score", results, "--references", references, "--json", "out.json", "--coco", "again.json"]) == 0
    out = json.loads(Path("out.json").read_text())
    assert (out["results"], out["references"]) == (results, [references])
    assert out["images"] == out["images_with_references"] == 3
    assert out["figures"].keys() == out["signatures"].keys()
    assert out["diversity"]["different"] == pytest.approx(2 / 3)
    assert json.loads(Path("again.json").read_text()) == json.loads(Path(results).read_text())


def test_the_three_kinds_of_files_give_the_same_figures(files, put):
    expected = figures(files[0], "--references", files[1])
    rows = [Prediction(str(key), "", "", CAPTIONS[key], REFERENCES[key], math.nan, 1.0, math.nan) for key in CAPTIONS]
    predictions = put("val.jsonl", "".join(json.dumps(row._asdict()) + "\n" for row in rows))
    text = put("said.txt", "\n".join(CAPTIONS.values()))
    writers = [put(f"{n}.txt", "\n".join(texts[n] for texts in REFERENCES.values())) for n in (0, 1)]
    assert figures(predictions) == expected
    assert figures(predictions, "--references", files[1]) == expected
    assert figures(text, "--references", writers[0], "--references", writers[1]) == expected


def test_images_without_a_caption_are_left_out_and_counted(files, put, capsys):
    some = put("some.json", json.loads(Path(files[0]).read_text())[:2])
    scores = figures(some, "--references", files[1])
    assert "note: 2 of the 3 images with references have a caption and are scored; CIDEr" in capsys.readouterr().out
    part = put("part.json", {key: REFERENCES[key] for key in (1, 2)})
    assert scores == figures(some, "--references", part)


def test_captions_that_repeat_the_training_data_are_counted(files, put, capsys):
    training = put("train.json", {"9": ["A man climbs a rock.", "a cat"]})
    assert main(["score", files[0], "--references", files[1], "--training", training]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "seen in training" in line)
    assert "33.3%" in line


def test_tokenised_text_is_not_tokenised_again():
    captions, references = {"1": "A dog !", "2": "a cat"}, {"1": ["A dog !"], "2": ["a cat"]}
    given = score(captions, references, tokenise=False)
    assert given.figures["BLEU-3"] == pytest.approx(1.0)
    assert score(captions, references).figures["BLEU-3"] < 1
    assert "|tok:as-given|" in given.signatures["BLEU-3"]


@pytest.mark.skipif(importlib.util.find_spec("snowballstemmer") is None, reason="no snowballstemmer")
def test_meteor_is_optional_and_named_by_its_modules(files, capsys, monkeypatch):
    place = "velm_lightning.inspection.caption_scores.meteor_modules"
    monkeypatch.setattr(place, lambda: ("exact", "stem"))  # whatever is installed
    scores = figures(files[0], "--references", files[1], "--meteor")
    assert 0 < scores["METEOR-approx(exact+stem)"] < 1
    assert (
        "\nMETEOR-approx(exact+stem)|scorer:velm-meteor-approx|of:meteor-1.5|without:paraphrases"
        in capsys.readouterr().out
    )


# Errors


def test_an_image_that_the_references_do_not_have_is_refused(files, put, capsys):
    unknown = put("more.json", [{"image_id": key, "caption": "a dog"} for key in (1, 8, 9)])
    errors = refused(capsys, unknown, "--references", files[1])
    assert "image '8' has no references in captions_val.json, nor have 1 others: score only images of" in errors


def test_captions_of_images_without_references_are_counted(files, put, capsys):
    whole = put("whole.json", {"1": ["a dog"], "3": ["a dog"]})
    part = put("part.json", {"1": ["a dog"], "2": [], "3": ["a dog"]})
    two = put("two.json", [{"image_id": key, "caption": CAPTIONS[key]} for key in (1, 3)])
    assert figures(files[0], "--references", part) == figures(two, "--references", whole)
    capsys.readouterr()
    assert figures(files[0], "--references", part, "--json", "figures.json")
    assert "note: 1 captions belong to images without references and are not scored" in capsys.readouterr().out
    none = put("none.json", {"1": [], "2": [], "3": ["a dog"]})
    single = put("one.json", [{"image_id": 1, "caption": "a dog"}])
    assert "no image in none.json has references" in refused(capsys, single, "--references", none)


def test_results_without_references_need_a_file_of_them(files, put, capsys):
    assert "--references: results.json holds no references: name a file" in refused(capsys, files[0])


def test_plain_text_needs_references_with_as_many_lines(files, put, capsys):
    text, two = put("said.txt", "a dog\na cat\na man\n"), put("a.txt", "a dog\na cat\n")
    assert "said.txt has 3 lines, its references have 2" in refused(capsys, text, "--references", two)
    assert "must all be plain text" in refused(capsys, text, "--references", files[1])
    assert "must all be plain text" in refused(capsys, files[0], "--references", two)


def test_invalid_captions_and_missing_files_are_refused(files, put, capsys):
    null = put("null.json", '[\n{"image_id": 1, "caption": null}]')
    twice = put("twice.json", '[\n{"image_id": 1, "caption": "a"},\n{"image_id": 1, "caption": "b"}]')
    references = ("--references", files[1])
    assert "null.json:2 (item 1): caption is null" in refused(capsys, null, *references)
    assert "twice.json:3 (item 2): image '1' is also in twice.json:2" in refused(capsys, twice, *references)
    assert "empty.json: holds no captions" in refused(capsys, put("empty.json", ""), *references)
    assert "none.json: cannot be read" in refused(capsys, "none.json", *references)
    assert "none.json: cannot be read" in refused(capsys, files[0], "--references", "none.json")
    assert "no/where.json: cannot be written" in refused(capsys, files[0], *references, "--json", "no/where.json")


# Pictures


def test_captions_are_scored_against_their_pictures(files, tmp_path):
    results, references = files
    clip, images = tmp_path / "clip", tmp_path / "images"
    images.mkdir()
    for key in CAPTIONS:
        Pillow.fromarray(tiny.picture(key).permute(1, 2, 0).numpy()).save(images / f"COCO_val_{key:012d}.png")
    tiny.saved_clip(clip)
    scores = figures(results, "--references", references, "--clip", clip, "--images", images)
    pictures = [read_image(images / f"COCO_val_{key:012d}.png", Clip(str(clip)).transform) for key in CAPTIONS]
    there = clip_score(pictures, list(CAPTIONS.values()), Clip(str(clip)), list(REFERENCES.values()))
    assert (scores["CLIPScore"], scores["RefCLIPScore"]) == pytest.approx((there.clip.corpus, there.ref_clip.corpus))
    signature = json.loads(Path("figures.json").read_text())["signatures"]["CLIPScore"]
    assert signature.startswith(f"CLIPScore|scorer:hessel-2021|w:2.5|prompt:A photo depicts|model:{clip}|split:")


def test_clip_score_needs_pictures(files, capsys):
    assert "--clip and --images must be given together" in refused(
        capsys, files[0], "--references", files[1], "--clip", "x"
    )
