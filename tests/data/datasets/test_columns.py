"""The parts of a row are found under usual names, and rows of one image are references of one sample."""

import json
from pathlib import Path

import pandas
import pytest
from helpers.formats import photos, png

from velm_lightning.data import COCOCaptions, DataFiles, MultimodalData
from velm_lightning.metrics.captions import score_captions
from velm_lightning.types import InputError

SHARED = Path(__file__).resolve().parents[4] / "shared/data/flickr8k"


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(folder, *rows, split="train", **options):
    return DataFiles(**{split: written(folder / f"{split}.jsonl", *rows)}, **options).split(split)


def refused(folder, *rows, **options):
    with pytest.raises(InputError) as caught:
        read(folder, *rows, **options)
    return str(caught.value)


# Names of columns


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"file_name": "a.png", "question": "what?", "answer": "cat"}, ("what?", {"cat": 1.0})),
        ({"filename": "a.png", "prompt": "what?", "label": "cat"}, ("what?", {"cat": 1.0})),
        ({"img": "a.png", "caption": "a cat", "url": "unused"}, ("", "a cat")),
        ({"image": "a.png", "label": 3}, ("", {"3": 1.0})),
        ({"image": "a.png", "text": "what?", "answers": "cat", "label": 3}, ("what?", {"cat": 1.0})),
        ({"image": "a.png", "text": "what?", "target": "a cat", "label": 3}, ("what?", "a cat")),
    ],
)
def test_parts_are_found_under_usual_names(tmp_path, row, parts):
    (sample,) = read(tmp_path, row)
    assert (sample.image, *sample[2:4]) == (tmp_path / "a.png", *parts)


def test_a_column_that_is_named_has_no_second_use(tmp_path):
    row = {"image": "a.png", "label": "is it a cat?", "answer": "yes"}
    assert read(tmp_path, row, columns={"text": "label"})[0][2:4] == ("is it a cat?", {"yes": 1.0})
    assert read(tmp_path, row, columns={"text": "label", "answers": None})[0].target is None


def test_what_is_not_clear_is_asked_for(tmp_path):
    message = refused(tmp_path, {"image": "a.png", "frage": "was?", "answer": "rot"})
    assert "no column 'text' in 'image, frage, answer': set columns.text, or `text: null` for none" in message
    both = {"image": "a.png", "text": "", "caption": "a cat", "label": "cat"}
    assert "set columns.target or columns.answers to null" in refused(tmp_path, both)


def test_whole_numbers_of_a_table_are_one_label(tmp_path):
    pandas.DataFrame({"image": ["a.png"] * 3, "label": [1, 2, None]}).to_csv(tmp_path / "val.csv")
    assert [sample.references for sample in DataFiles(val=tmp_path / "val.csv").split("val")] == [("1",), ("2",), ()]
    for cells in (["1.0", "2.5"], ["007", "1.0"], ["1.0", "one"]):
        pandas.DataFrame({"image": ["a.png"] * 2, "label": cells}).to_csv(tmp_path / "val.csv")
        assert [s.references[0] for s in DataFiles(val=tmp_path / "val.csv").split("val")] == cells


def test_answers_of_annotators_may_be_records(tmp_path):
    answers = [{"answer": a, "answer_confidence": "yes"} for a in ["red"] * 4 + ["dark red"]]
    (sample,) = read(tmp_path, {"image": "a.png", "question": "what colour?", "answers": answers})
    assert sample.target == pytest.approx({"red": 1.0, "dark red": 1 / 3})
    assert sample.references == ("red",) * 4 + ("dark red",)


# One caption per row


def captions_txt(folder, images=3, per_image=5):
    lines = [f"{n}.png,caption {k} of {n}" for n in range(images) for k in range(per_image)]
    (folder / "captions.txt").write_text("\n".join(["image,caption", *lines]) + "\n")
    return folder / "captions.txt"


def test_rows_of_one_image_are_references_of_one_sample(tmp_path):
    file = captions_txt(tmp_path)
    samples = DataFiles(val=file).split("val")
    assert [sample.key for sample in samples] == ["0", "5", "10"]
    assert samples[1].references == tuple(f"caption {k} of 1" for k in range(5))
    assert samples[1].target == "caption 0 of 1"
    trained = DataFiles(train=file).split("train")
    assert len(trained) == 15
    assert trained[6].references == ("caption 1 of 1",)


def test_the_held_out_images_have_all_their_references(tmp_path):
    data = DataFiles(captions_txt(tmp_path, images=40), holdout=0.3)
    assert {len(sample.references) for sample in data.split("val")} == {5}
    assert len(data.split("train")) + 5 * len(data.split("val")) == 200


def test_rows_of_python_are_joined_likewise():
    rows = [{"image": png("red", (8 + n, 8)), "caption": f"{k} of {n}"} for n in range(10) for k in range(3)]
    data = MultimodalData.from_rows(rows)
    assert [len(data.samples(name)) for name in ("train", "val", "test")] == [24, 1, 1]
    assert len(data.samples("val")[0].references) == 3


@pytest.mark.parametrize("change", [{"text": "auf Deutsch"}, {"group": "b"}, {"image": "b.png"}])
def test_rows_that_ask_something_else_stay_samples(tmp_path, change):
    row = {"image": "a.png", "text": "in English", "target": "a cat", "group": "a"}
    assert len(read(tmp_path, row, row | change, split="val")) == 2
    assert len(read(tmp_path, row, row | {"target": "the cat"}, split="val")) == 1


def test_answers_are_not_joined(tmp_path):
    row = {"image": "a.png", "text": "what?", "answers": "cat"}
    assert len(read(tmp_path, row, row, split="val")) == 2


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no {SHARED}")
def test_a_table_of_captions_scores_as_the_official_files(tmp_path):
    official = COCOCaptions(SHARED, test="captions_test.json", images="images").split("test")
    rows = [{"image": sample.image.name, "caption": text} for sample in official for text in sample.references]
    pandas.DataFrame(rows).to_csv(tmp_path / "captions.txt", index=False)
    joined = DataFiles(test=tmp_path / "captions.txt", images=SHARED / "images").split("test")
    assert [sample.references for sample in joined] == [sample.references for sample in official]
    guesses = [sample.references[0] for sample in official[1:] + official[:1]]
    both = [score_captions(guesses, [s.references for s in samples], ["BLEU-4"]) for samples in (joined, official)]
    assert both[0]["BLEU-4"].corpus == both[1]["BLEU-4"].corpus
    apart = score_captions([g for g in guesses for _ in range(5)], [[row["caption"]] for row in rows], ["BLEU-4"])
    assert apart["BLEU-4"].corpus < 0.5 * both[0]["BLEU-4"].corpus


# Names of images


def test_absolute_names_need_an_option(tmp_path, monkeypatch):
    row = {"image": str(photos(tmp_path / "elsewhere") / "0.png"), "label": "red"}
    assert "is an absolute file name" in refused(tmp_path, row, images=tmp_path / "photos")
    assert read(tmp_path, row, absolute_names=True)[0].image == tmp_path / "elsewhere/0.png"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(tmp_path, row | {"image": "~/elsewhere/0.png"}, absolute_names=True)[0].image.is_file()


def test_links_out_of_the_folder_need_an_option(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").symlink_to(photos(tmp_path / "blobs") / "0.png")
    row, images = {"image": "a.png", "label": "red"}, tmp_path / "photos"
    assert "leads out of" in refused(tmp_path, row, images=images)
    assert "set links to follow" in refused(tmp_path, row, images=images)
    assert read(tmp_path, row, images=images, links="follow")[0].image.is_file()
    outside = row | {"image": "../blobs/0.png"}
    assert "leads out of" in refused(tmp_path, outside, images=images, links="follow")
