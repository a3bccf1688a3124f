"""Tables as other people and programs write them are read, or refused with what was found and the fix."""

import base64
import json
import tarfile

import pandas
import pytest
from helpers.formats import COLOURS, photos, png
from pyarrow import parquet
from pyarrow import table as arrow_table

from velm_lightning.cli.commands import main
from velm_lightning.data import DataFiles, MultimodalData
from velm_lightning.types import InputError

NAMES = [f"{number}.png" for number in range(8)]
FRAME = pandas.DataFrame({"image": NAMES, "question": "which colour?", "answer": [COLOURS[n % 4] for n in range(8)]})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(photos(tmp_path / "photos"))
    return tmp_path / "photos"


def text(content, name="rows.csv"):
    with open(name, "w", encoding="utf-8", newline="") as file:
        file.write(content)
    return name


def samples(path):
    return DataFiles(path, holdout=0).split("train")


def refusal(path):
    with pytest.raises(InputError) as caught:
        samples(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def is_whole(read):
    """Whether all rows are read, with images that exist."""
    return len(read) == 8 and all(sample.image.is_file() for sample in read) and read[1].target == {"green": 1.0}


def with_names(names):
    return text(FRAME.assign(image=names).to_csv(index=False))


# Texts

WRITTEN = {
    "CRLF": lambda csv: csv.replace("\n", "\r\n"),
    "CR": lambda csv: csv.replace("\n", "\r"),
    "BOM": lambda csv: f"\ufeff{csv}",
    "BOM, semicolon and CRLF": lambda csv: f"\ufeff{csv}".replace(",", ";").replace("\n", "\r\n"),
    "bars": lambda csv: csv.replace(",", "|"),
    "blanks around": lambda csv: csv.replace(",", " , "),
    "capitals": lambda csv: csv.replace("image,question,answer", "Image,QUESTION,Answer"),
    "empty lines": lambda csv: csv.replace("\n", "\n\n"),
    "file paths": lambda csv: csv.replace("image,", "filepath,"),
}


@pytest.mark.parametrize("change", WRITTEN.values(), ids=WRITTEN)
def test_a_table_of_another_program_is_read(change):
    assert is_whole(samples(text(change(FRAME.to_csv(index=False)))))


def test_an_exact_name_goes_before_one_in_capitals():
    frame = FRAME.assign(Image="other.png")[["Image", "image", "question", "answer"]]
    assert is_whole(samples(text(frame.to_csv(index=False))))


@pytest.mark.parametrize("other", ["Filename", "image_name", "path", "Prompt", "Caption"])
def test_a_further_column_does_not_change_which_are_read(other):
    frame = FRAME.rename(columns={"image": "photo"}).assign(**{other: "other.png"})
    assert is_whole(samples(text(frame[sorted(frame)].to_csv(index=False))))


def test_names_of_columns_may_be_numbers():
    rows = FRAME.copy()
    rows[0] = "more"
    assert len(MultimodalData.from_rows(rows).samples("train")) > 1


def test_a_cell_of_a_megabyte_is_read():
    (sample,) = samples(text(FRAME[:1].assign(question="word " * 200_000).to_csv(index=False)))
    assert len(sample.text) == 10**6 - 1


def test_repeated_rows_are_samples_of_their_own():
    assert len(samples(text(pandas.concat([FRAME, FRAME]).to_csv(index=False)))) == 16


WHOLES = {
    "columns": FRAME.to_json(),
    "split": FRAME.to_json(orient="split"),
    "index": FRAME.to_json(orient="index"),
    "a list under a key": json.dumps({"data": FRAME.to_dict("records")}),
}


@pytest.mark.parametrize("content", WHOLES.values(), ids=WHOLES)
def test_json_that_is_one_object_is_named(content):
    assert "is one object with the keys" in (message := refusal(text(content, "rows.json")))
    assert "orient='records'" in message


@pytest.mark.parametrize("content", ["", "image,question,answer\n", "[]", "\n\n"])
def test_a_table_without_rows_is_named(content):
    assert "holds no rows" in refusal(text(content))


def test_all_missing_columns_are_named_at_once():
    with pytest.raises(InputError) as caught:
        DataFiles(
            text(FRAME.to_csv(index=False)), columns={"image": "photo", "text": "asked", "answers": "said"}
        ).split("train")
    assert all(word in str(caught.value) for word in ("'photo'", "'asked'", "'said'", "question"))


# Images


@pytest.mark.parametrize("name", ["./{}", " {} ", ".\\{}"])
def test_names_of_images_are_read_as_others_write_them(name):
    assert is_whole(samples(with_names([name.format(other) for other in NAMES])))


def test_separators_of_windows_are_read_and_lead_nowhere_else(folder):
    photos(folder / "sub")
    assert is_whole(samples(with_names([f"sub\\{name}" for name in NAMES])))
    (folder.parent / "secret.png").write_bytes(png("red"))
    (folder / "sub").rename(folder / "photos")
    (folder / "photos" / "sub").mkdir()
    for name in NAMES:
        (folder / "photos" / name).rename(folder / "photos" / "sub" / name)
    assert is_whole(samples(with_names([f"sub\\{name}" for name in NAMES])))  # in the only folder that holds them
    assert "leads out of" in refusal(with_names(["..\\secret.png"] * 8))
    assert "is an absolute file name" in refusal(with_names(["C:\\photos\\0.png"] * 8))


@pytest.mark.parametrize("address", ["https://example.com/a.png", "s3://bucket/a.png", "file:///a.png"])
def test_an_address_of_an_image_is_refused_before_it_is_read(address):
    assert "is an address" in refusal(with_names([address] * 8))


def lines(images):
    records = [{"image": image, "question": "q", "answer": "a"} for image in images]
    return text("\n".join(map(json.dumps, records)), "rows.jsonl")


def test_an_image_within_json_is_read():
    address = f"data:image/png;base64,{base64.b64encode(png('red')).decode()}"
    (sample,) = samples(lines([address]))
    assert sample.image.numpy().tobytes() == png("red")
    assert "image" in refusal(lines(["data:image/png;base64,?"]))


def test_a_large_image_within_json_is_read():
    content = png("red") + bytes(9000)  # whose address is longer than the name of a file can be
    (sample,) = samples(lines([f"data:image/png;base64,{base64.b64encode(content).decode()}"]))
    assert sample.image.numpy().tobytes() == content


@pytest.mark.parametrize("cell", ["a" * 300, "é" * 200, "a/" * 3000])
def test_a_text_in_the_column_of_images_is_no_name(cell):
    assert "rows.csv:2: image" in (message := refusal(with_names([cell] * 8)))
    assert "is not a file name" in message


def test_copies_of_an_image_within_json_are_in_one_split():
    address = [f"data:image/png;base64,{base64.b64encode(png(colour)).decode()}" for colour in COLOURS]
    data = DataFiles(lines(address * 4), holdout=0.5)
    train, val = ({sample.image.numpy().tobytes() for sample in data.split(name)} for name in ("train", "val"))
    assert train
    assert val
    assert not train & val


def test_records_of_images_with_only_a_path_are_names(folder):
    records = [{"bytes": None, "path": name} for name in NAMES]
    read = samples(lines(records))
    parquet.write_table(arrow_table({"image": records, "question": ["q"] * 8, "answer": ["a"] * 8}), "rows.parquet")
    assert [sample.image for sample in samples("rows.parquet")] == [sample.image for sample in read]
    assert read[0].image.is_file()


def test_a_missing_image_is_named_with_its_row():
    assert "rows.jsonl:2: image is missing (null)" in refusal(lines(["0.png", None]))
    parquet.write_table(arrow_table({"image": ["0.png", None], "question": ["q"] * 2}), "rows.parquet")
    assert "row 1: image is missing (null)" in refusal("rows.parquet")


# Folders and shards


def test_tables_next_to_a_folder_of_images_are_read(folder):
    (folder / "annotations").mkdir()
    photos(folder / "images")
    for name in NAMES:
        (folder / name).unlink()
    FRAME.to_csv(folder / "annotations" / "train.csv", index=False)
    data = DataFiles(folder, holdout=0)
    assert is_whole(data.split("train"))
    assert data.split("train")[0].image == folder / "images" / "0.png"


def test_each_folder_of_a_split_has_its_table(folder):
    for split in ("train", "val", "test"):
        photos(folder / "all" / split / "images")
        FRAME.to_csv(folder / "all" / split / f"{split}.csv", index=False)
    data = DataFiles("all")
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [8, 8, 8]
    assert is_whole(data.split("train"))
    assert data.split("val")[0].image.parent.parent.name == "val"


def test_a_list_of_files_next_to_classes_is_no_table(folder):
    photos(folder / "classes" / "red")
    text("path,label\nred/0.png,other\n", "classes/list.txt")
    assert {*samples("classes")[0].target} == {"red"}


def test_of_several_formats_the_tables_with_names_of_splits_are_read(folder):
    FRAME.to_csv(folder / "train.csv", index=False)
    FRAME[:2].to_parquet(folder / "other.parquet")
    data = DataFiles(folder, holdout=0)
    assert is_whole(data.split("train"))
    assert any("1 tables" in remark and "other.parquet" in remark for remark in data.remarks)


@pytest.mark.parametrize("count", [2, 3, 6, 12])
def test_a_small_table_has_images_on_both_sides(count):
    data = DataFiles(text(FRAME[: min(count, 8)].to_csv(index=False)))
    assert data.split("train")
    assert data.split("val")


def test_one_image_is_for_training():
    data = DataFiles(text(FRAME[:1].to_csv(index=False)))
    assert (len(data.split("train")), len(data.split("val"))) == (1, 0)
    with pytest.raises(InputError, match="no 'val' split, because its rows show only one image"):
        MultimodalData(data).samples("val")


def test_a_shard_without_samples_is_named():
    tarfile.open("empty.tar", "w").close()
    assert "empty.tar: holds no rows" in refusal("empty.tar")
    text("no archive", "broken.tar")
    assert "broken.tar: not a whole tar archive" in refusal("broken.tar")


def test_a_pattern_may_be_checked_and_imported(folder, tmp_path, capsys):
    for name in ("a", "b"):
        FRAME.to_csv(f"{name}.csv", index=False)
    assert main(["data", "check", "[ab].csv"]) in (0, 1)
    assert main(["data", "import", "*.csv", "--to", str(tmp_path / "stored")]) == 0
    assert "samples" in capsys.readouterr().out
