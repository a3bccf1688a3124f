"""Files with conversations are recognised in every format, and read with the same turns and images."""

import json

import datasets
import pandas
import pyarrow
import pytest
import webdataset
from helpers.formats import COLOURS, photos, png, rows

from velm_lightning.data import Conversations, DataFiles, ImportedData, MultimodalData
from velm_lightning.data.images.decode import read_image
from velm_lightning.data.stored.importing import import_dataset
from velm_lightning.types import FilePart, ImageTransform, InputError, Turn

ASKED = "what colour is it?"
TURNS = (Turn("user", (None, ASKED)), Turn("assistant", ("red",), True))
TWO = (*TURNS, Turn("user", (None, "and this?")), Turn("assistant", ("green",), True))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def openai(count=1):
    """A conversation about ``count`` images in the layout of OpenAI and TRL, with marks."""
    talk = [{"role": "user", "content": f"<image>{ASKED}"}, {"role": "assistant", "content": "red"}]
    more = [{"role": "user", "content": "<image>and this?"}, {"role": "assistant", "content": "green"}]
    return [*talk, *more] if count == 2 else talk


def llava(count=1):
    names = {"user": "human", "assistant": "gpt"}
    return [{"from": names[turn["role"]], "value": turn["content"]} for turn in openai(count)]


def parts(count=1):
    """The same with contents as lists, as the vision datasets of TRL have them, whose fields are all there."""

    def content(turn):
        text = turn["content"]
        image = [{"type": "image", "text": None, "index": None}] if text.startswith("<image>") else []
        return [*image, {"type": "text", "text": text.removeprefix("<image>"), "index": None}]

    return [{"role": turn["role"], "content": content(turn)} for turn in openai(count)]


LAYOUTS = {"messages": openai, "conversations": llava, "parts": parts}


def records(layout, count=1, images=None):
    """Four conversations about ``count`` images each, with the bytes of the images or what ``images`` gives."""
    column = "messages" if layout == "parts" else layout
    given = images or (lambda place: rows(2)[place]["image"])
    return [{"id": n, column: LAYOUTS[layout](count), "images": [given(p) for p in range(count)]} for n in range(4)]


def colours(sample):
    pixels = [tuple(read_image(image, ImageTransform(8))[:, 0, 0].tolist()) for image in sample.image]
    return [{(255, 0, 0): "red", (0, 128, 0): "green"}[pixel] for pixel in pixels]


def check(samples, count=1, number=4):
    assert [sample.turns for sample in samples] == [TWO if count == 2 else TURNS] * number
    assert [colours(sample) for sample in samples] == [COLOURS[:count]] * number


def read(path, split="train", **options):
    return DataFiles(path, **{"holdout": 0} | options).split(split)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_parquet_of_the_hub_is_read_by_its_path(tmp_path, layout, count):
    written = datasets.Dataset.from_list(records(layout, count))
    written.cast_column("images", datasets.Sequence(datasets.Image())).to_parquet(tmp_path / "train.parquet")
    samples = read(tmp_path / "train.parquet")
    check(samples, count)
    assert isinstance(samples[0].image[0], FilePart)
    assert [sample.key for sample in samples] == ["0", "1", "2", "3"]


def test_a_column_of_single_images_is_read_too(tmp_path):
    single = [{"conversations": llava(), "image": rows(1)[0]["image"]} for _ in range(4)]
    pandas.DataFrame(single).to_parquet(tmp_path / "train.parquet")
    check(read(tmp_path / "train.parquet"))


@pytest.mark.parametrize("kind", ["arrow", "saved"])
def test_arrow_and_saved_tables_are_read(tmp_path, kind):
    if kind == "saved":
        datasets.Dataset.from_list(records("messages", 2)).save_to_disk(tmp_path / "data", num_shards=2)
    else:
        content = pyarrow.Table.from_pylist(records("messages", 2))
        with pyarrow.ipc.new_file(tmp_path / "data", content.schema) as writer:
            writer.write_table(content)
    check(read(tmp_path / "data"), 2)


@pytest.mark.parametrize("count", [1, 2])
def test_shards_hold_the_images_of_their_conversations(tmp_path, count):
    with webdataset.TarWriter(str(tmp_path / "train.tar")) as writer:
        for record in records("conversations", count, "original_{}.jpg".format):
            images = {f"{place}.png": rows(2)[place]["image"]["bytes"] for place in range(count)}
            writer.write({"__key__": f"{record['id']:04}", "json": record, **images})
    check(read(tmp_path / "train.tar"), count)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_text_files_name_their_images(tmp_path, suffix):
    photos(tmp_path / "photos")
    frame = pandas.DataFrame(records("messages", 2, "{}.png".format))
    if suffix == "csv":
        frame["messages"], frame["images"] = frame["messages"].map(json.dumps), frame["images"].map(json.dumps)
        frame.to_csv(tmp_path / "train.csv")
    else:
        frame.to_json(tmp_path / f"train.{suffix}", orient="records", lines=suffix == "jsonl")
    check(read(tmp_path / f"train.{suffix}"), 2)
    check(Conversations(tmp_path, train=f"train.{suffix}", images="photos").split("train"), 2)


def test_an_image_folder_may_describe_conversations(tmp_path):
    photos(tmp_path / "train")
    lines = [{"file_name": "0.png", "messages": openai()} for _ in range(4)]
    (tmp_path / "train/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    check(read(tmp_path))


@pytest.mark.parametrize("table", ["list", "frame", "hub", "parquet"])
def test_rows_of_python_may_be_conversations(tmp_path, table):
    listed = records("messages", 2)
    if table == "frame":
        listed = pandas.DataFrame(listed)
    elif table == "hub":
        listed = datasets.Dataset.from_list(listed).cast_column("images", datasets.Sequence(datasets.Image()))
    elif table == "parquet":
        pandas.DataFrame(listed).to_parquet(tmp_path / "rows.parquet")
        listed = pandas.read_parquet(tmp_path / "rows.parquet")
    check(MultimodalData.from_rows({"train": listed}, holdout=0).samples("train"), 2)


def test_pairs_of_questions_and_replies_are_turns(tmp_path):
    texts = [{"user": ASKED, "assistant": "red", "source": "a"}, {"user": "sure?", "assistant": "yes", "source": "a"}]
    pandas.DataFrame([{"images": [rows(1)[0]["image"]], "texts": texts}]).to_parquet(tmp_path / "train.parquet")
    (sample,) = read(tmp_path / "train.parquet")
    assert sample.turns == (*TURNS, Turn("user", ("sure?",)), Turn("assistant", ("yes",), True))


def test_a_mark_may_give_the_number_of_its_image(tmp_path):
    content = [{"type": "image", "index": 1}, {"type": "image", "index": 0}, {"type": "text", "text": "same?"}]
    talk = [{"role": "user", "content": content}, {"role": "assistant", "content": "no"}]
    record = {"messages": talk, "images": [{"bytes": png(colour)} for colour in ("green", "red")]}
    (sample,) = MultimodalData.from_rows({"train": [record]}, holdout=0).samples("train")
    assert colours(sample) == ["red", "green"]
    content[0]["index"] = 2
    with pytest.raises(InputError, match=r"marks of the images \[2, 0\] of 2: count from 0"):
        MultimodalData.from_rows({"train": [record]}, holdout=0)


def test_an_id_that_several_rows_have_is_numbered(tmp_path):
    ids = ["a", "b", "a"]
    lines = [{"id": key, "messages": [{"role": "user", "content": "Hi"}, openai()[1]]} for key in ids]
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [sample.key for sample in read(tmp_path / "chat.jsonl")] == ["a#0", "b", "a#2"]


def test_columns_decide_what_a_table_is_read_as(tmp_path):
    photos(tmp_path)
    lines = [{"photo": "0.png", "question": "q", "answer": "a", "messages": openai()} for _ in range(2)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read(tmp_path / "train.jsonl")[0].turns == TURNS
    named = read(tmp_path / "train.jsonl", columns={"text": "question", "answers": "answer"})
    assert (named[0].turns, named[0].text) == ((), "q")
    assert read(tmp_path / "train.jsonl", columns={"image": "photo"})[0].image == (tmp_path / "0.png",)


def test_equal_questions_are_not_references_of_each_other(tmp_path):
    photos(tmp_path)
    lines = [{"image": "0.png", "messages": openai()} for _ in range(3)]
    (tmp_path / "val.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [len(sample.references) for sample in read(tmp_path, "val")] == [1, 1, 1]


def test_held_out_conversations_of_a_table_share_no_image(tmp_path):
    photos(tmp_path, 40)
    lines = [{"images": [f"{n}.png", f"{(n + 1) % 40 if n % 2 else n}.png"], "messages": openai(2)} for n in range(40)]
    lines += [{"id": f"t{n}", "messages": [{"role": "user", "content": "Hi"}, openai()[1]]} for n in range(40)]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = DataFiles(tmp_path / "all.jsonl", holdout=0.3)
    train, val = data.split("train"), data.split("val")
    assert not {image for sample in train for image in sample.image} & {i for sample in val for i in sample.image}
    assert len(train) + len({sample.key.rpartition("-")[0] for sample in val}) == 80
    assert val


# Import


def as_read(sample):
    return sample._replace(image=(), references=tuple(sample.references))


@pytest.mark.parametrize("count", [1, 2])
def test_imported_conversations_are_read_back_equal(tmp_path, count):
    photos(tmp_path / "photos")
    lines = records("messages", count, "{}.png".format)
    lines.append({"id": "no image", "messages": [{"role": "user", "content": "a\n<image>"}, openai()[1]]})
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = Conversations(tmp_path, train="train.jsonl", val="train.jsonl", images="photos")
    import_dataset(source, tmp_path / "stored")
    stored = ImportedData(tmp_path / "stored")
    for split in ("train", "val"):
        pairs = list(zip(source.split(split), stored.split(split), strict=True))
        assert [as_read(one) for one, _ in pairs] == [as_read(other) for _, other in pairs]
        assert [[read_image(image, ImageTransform(8)).tolist() for image in one.image] for one, _ in pairs] == [
            [read_image(image, ImageTransform(8)).tolist() for image in other.image] for _, other in pairs
        ]
    assert stored.split("train")[-1].image == ()


@pytest.mark.parametrize("column", ["path", "file_path"])
def test_the_file_that_a_conversation_comes_from_is_no_image(tmp_path, column):
    talk = [{"role": "user", "content": "what is 1 + 1?"}, {"role": "assistant", "content": "2"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": talk, column: "src/sums.py"}))
    (sample,) = DataFiles(tmp_path / "a.jsonl", holdout=0).split("train")
    assert (sample.image, sample.turns[0].parts) == ((), ("what is 1 + 1?",))
