"""A check finds one planted fault of every kind: files, tables, names, images, conversations and captions."""

import json
import tarfile

import numpy as np
import pandas
import pytest
from helpers.formats import photos, png, rows
from helpers.pictures import png_header
from PIL import Image

from velm_lightning.cli.data.check import main
from velm_lightning.data import DataFiles, VisDial, VisualGenome
from velm_lightning.data.checks.check import check_dataset
from velm_lightning.data.datasets.conversations import Conversations
from velm_lightning.types import InputError

CAPTIONS = {
    "zh": ["一只狗在海滩上奔跑", "两个人在雪地里走路", "一个孩子在草地上玩球", "一辆红色的车停在街上"],
    "ja": ["犬が浜辺を走っている", "二人が雪の中を歩いている", "子供が芝生で遊んでいる", "赤い車が道に止まっている"],
    "th": ["สุนัขวิ่งบนชายหาด", "คนสองคนเดินในหิมะ", "เด็กเล่นบอลบนสนามหญ้า", "รถสีแดงจอดอยู่ริมถนน"],
}


def text(folder, name, content):
    photos(folder)
    (folder / name).write_text(content)
    return DataFiles(folder / name, holdout=0)


def table(content, name="t.csv"):
    return lambda folder: text(folder, name, content)


def image(save, name="a.png"):
    """A table with one sound image and one image that ``save`` writes."""

    def plant(folder):
        photos(folder)
        save(folder / name)
        (folder / "t.csv").write_text(f"image,text,answers\n0.png,what?,red\n{name},what?,blue\n")
        return DataFiles(folder / "t.csv", holdout=0)

    return plant


def talk(*turns, images=("0.png",)):
    def plant(folder):
        photos(folder)
        content = [{"from": who, "value": value} for who, value in turns]
        (folder / "t.jsonl").write_text(json.dumps({"conversations": content, "images": list(images)}))
        return Conversations(folder, train="t.jsonl", images="")

    return plant


def cut_parquet(folder):
    path = folder / "t.parquet"
    pandas.DataFrame(rows()).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])
    return DataFiles(path, holdout=0)


def cut_tar(folder):
    for name in ("0.png", "1.png"):
        (folder / name).write_bytes(png("red", (300, 200)))
        (folder / name).with_suffix(".txt").write_text("a red square")
    with tarfile.open(folder / "t.tar", "w") as archive:
        for name in ("0.png", "0.txt", "1.png", "1.txt"):
            archive.add(folder / name, name)
    (folder / "t.tar").write_bytes((folder / "t.tar").read_bytes()[:2000])
    return DataFiles(folder / "t.tar", holdout=0)


def other_format(folder):
    (folder / "drawing.svg").write_text("<svg/>")
    (folder / "clip.mp4").touch()
    return text(folder, "t.csv", "image,text,answers\n0.png,what?,red\n")


def link(folder):
    (folder / "real").mkdir()
    (folder / "real/a.png").write_bytes(png("red"))
    (folder / "data").mkdir()
    (folder / "data/a.png").symlink_to(folder / "real/a.png")
    return text(folder / "data", "t.csv", "image,text,answers\na.png,what?,red\n")


def latin(folder):
    data = text(folder, "t.csv", "")
    (folder / "t.csv").write_bytes(HEAD.encode() + b"0.png,\xfc?,red\n")
    return data


def one_caption_per_row(folder):
    text(folder, "t.csv", "image,caption\n0.png,a\n0.png,b\n1.png,c\n")
    return DataFiles(val=folder / "t.csv", images=folder)


def gray(values):
    return lambda path: Image.fromarray(values).save(path)


def official(make, name, content):
    """A file of a published dataset with a fault, next to sound images."""

    def plant(folder):
        photos(folder / "images")
        (folder / name).write_text(json.dumps(content))
        return make(folder)

    return plant


def dialogues(**change):
    said = {"image_id": 0, "caption": "a cat", "dialog": [{"question": 0, "answer": 0}]}
    data = {"questions": ["is it black"], "answers": ["yes"], "dialogs": [said, said | {"image_id": 1} | change]}
    return official(lambda folder: VisDial(folder, "a.json", None), "a.json", {"data": data})


def genome(number=0, **change):
    whole = {"qa_id": 1, "image_id": 0, "question": "What?", "answer": "A cat."}
    other = whole | {"qa_id": 2, "image_id": number} | change
    content = [{"id": 0, "qas": [whole]}, {"id": number, "qas": [other]}]
    make = lambda folder: VisualGenome(folder, images="images", val=0, test=0)  # noqa: E731
    return official(make, "question_answers.json", content)


def vizwiz(**change):
    answers = [{"answer": "basil", "answer_confidence": "yes"}] * 10
    row = {"image": "0.png", "question": "What?", "answers": answers, "answer_type": "other", "answerable": 1}
    make = lambda folder: DataFiles(train=folder / "a.json", images=folder / "images")  # noqa: E731
    return official(make, "a.json", [row, row | change])


HOT = np.zeros((64, 64), np.uint16)
HOT[0, 0] = 65535
HEAD = "image,text,answers\n"
KINDS = {
    "a cut Parquet file": (cut_parquet, "t.parquet: "),
    "a cut shard": (cut_tar, "t.tar: "),
    "an empty table": (table(""), "holds no rows"),
    "a table without rows": (table(HEAD), "t.csv"),
    "columns without a usual name": (table("a,b\n0.png,x\n"), "no column"),
    "a cell too many": (table(HEAD + "0.png,what?,red,more\n"), "t.csv:2: "),
    "an open quote": (table(HEAD + '0.png,"what?,red\n1.png,what?,red\n'), "quote"),
    "a broken list in a cell": (table(HEAD + "0.png,what?,\"['red', 'blue'\"\n"), "t.csv:2: "),
    "a missing answer": (table(HEAD + "0.png,what?,red\n1.png,what?,\n"), "t.csv:3: "),
    "a missing image name": (table(HEAD + "0.png,what?,red\n,what?,red\n"), "t.csv:3: "),
    "NaN in JSON": (table('{"image": NaN, "text": "what?", "answers": "red"}\n', "t.jsonl"), "t.jsonl:1: "),
    "a key of no letters": (table("key," + HEAD + ",0.png,what?,red\nb,1.png,what?,red\n"), "key is empty"),
    "a key used twice": (table("key," + HEAD + "a,0.png,what?,red\na,1.png,what?,red\n"), "is also in"),
    "bytes that are no UTF-8": (latin, "UTF-8"),
    "an absolute name": (table(HEAD + "/etc/a.png,what?,red\n"), "is an absolute file name"),
    "a name of the home folder": (table(HEAD + "~/a.png,what?,red\n"), "is an absolute file name"),
    "an address": (table(HEAD + "https://a.org/a.png,what?,red\n"), "is an address"),
    "JSON that is one object": (table('{"data": [{"image": "0.png"}]}', "t.json"), "is one object"),
    "a link out of the folder": (link, "leads out of"),
    "a name out of the folder": (table(HEAD + "../a.png,what?,red\n"), "leads out of"),
    "a missing image": (table(HEAD + "none.png,what?,red\n"), "none.png: no such image file"),
    "an empty image": (image(lambda path: path.touch()), "the file is empty (0 bytes)"),
    "a cut image": (image(lambda path: path.write_bytes(png("red", (99, 99))[:-60])), "cannot be read as an image"),
    "an image that claims too much": (image(lambda path: path.write_bytes(png_header(30000, 30000))), "claims "),
    "a format that starts a program": (image(lambda path: path.write_text("%!PS-Adobe-3.0 EPSF"), "a.eps"), "is not a"),
    "pixels that are no numbers": (image(gray(np.full((8, 8), np.nan, np.float32)), "a.tif"), "not finite"),
    "an image of 12 bits": (image(gray(np.full((8, 8), 4095, np.uint16))), "more than 8 bits per value"),
    "a depth map of 32 bits": (image(gray(np.full((8, 8), 9000, np.int32)), "a.tif"), "more than 8 bits per value"),
    "a depth map with an outlier": (image(gray(HOT)), "nearly black"),
    "a black image": (image(gray(np.zeros((8, 8), np.uint8))), "nearly black"),
    "files in other formats": (other_format, "formats that are not read: 1 .mp4, 1 .svg"),
    "images that no row names": (table(HEAD + "0.png,what?,red\n"), "7 images below"),
    "one caption per row": (one_caption_per_row, "3 rows of val are 2 samples"),
    "more marks than images": (talk(("human", "<image> and <image>"), ("gpt", "Two.")), "t.jsonl:1: "),
    "no mark for a later image": (talk(("human", "<image>?"), ("gpt", "A."), images=("0.png", "1.png")), "t.jsonl:1: "),
    "an unknown role": (talk(("human", "<image>?"), ("robot", "Red.")), "robot"),
    "an empty reply": (talk(("human", "<image>?"), ("gpt", "")), "t.jsonl:1: "),
    "a conversation without a reply": (talk(("human", "<image>?")), "has no reply that is learned"),
    "VisDial: an image that is not there": (dialogues(image_id=99), "no image of number 99"),
    "VisDial: a question that is not there": (dialogues(dialog=[{"question": 7}]), "question 7 is none of the 1"),
    "VisDial: another file": (official(lambda f: VisDial(f, "a.json", None), "a.json", []), "has no list data."),
    "Visual Genome: an image that is not there": (genome(99), "no image 99.jpg"),
    "Visual Genome: an empty answer": (genome(1, answer=" "), "answer is empty"),
    "VizWiz: an answer without a text": (vizwiz(answers=[{"answer": ""}]), "an answer is empty"),
    "VizWiz: an image that is not there": (vizwiz(image="9.png"), "9.png: no such image file"),
    "a missing image of a turn": (
        talk(("human", "<image>?"), ("gpt", "A."), images=("none.png",)),
        "none.png: no such",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_fault_of_this_kind_is_found(tmp_path, kind):
    plant, message = KINDS[kind]
    lines = found(plant, tmp_path)
    assert any(message in line for line in lines), lines


def found(plant, folder):
    """The problems and notes of a check, or the error if a file cannot be opened as data at all."""
    try:
        report = check_dataset(plant(folder), progress=False)
    except InputError as error:
        return [str(error)]
    return [problem.message for problem in report.problems] + report.notes


@pytest.mark.parametrize("language", CAPTIONS)
def test_captions_that_would_be_one_token_are_noted(tmp_path, language, capsys):
    photos(tmp_path)
    lines = [f"{number}.png,{caption}" for number, caption in enumerate(CAPTIONS[language] * 2)]
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption", *lines]))
    main([str(tmp_path / "captions.csv")])
    output = " ".join(capsys.readouterr().out.split())
    assert "tokenise: char" in output


def test_one_and_one_point_zero_are_one_label(tmp_path):
    photos(tmp_path)
    (tmp_path / "t.csv").write_text(HEAD + "0.png,how many?,1\n1.png,how many?,1.0\n")
    report = check_dataset(DataFiles(tmp_path / "t.csv", holdout=0), progress=False)
    assert report.splits["train"].answers == 1


def test_names_in_another_unicode_form_and_special_words_are_sound(tmp_path):
    (tmp_path / "e\u0301.png").write_bytes(png("red"))
    (tmp_path / "t.csv").write_text(HEAD + "\u00e9.png,[SEP] <image> [MASK]?,[SEP]\n", "utf-8")
    assert not check_dataset(DataFiles(tmp_path / "t.csv", holdout=0), progress=False).problems
