"""Tables of text are read whatever their separator and quoting."""

import pandas
import pytest

from velm_lightning.errors import InputError
from velm_lightning.io.record_files import read_rows
from velm_lightning.io.tables import separator_of, table_rows

ROW = {"image": "a.png", "text": 'is it "red", or; blue?', "answers": "red"}


def rows(path, content=None):
    if content is not None:
        path.write_text(content, "utf-8")
    return [row.values for row in read_rows(path)]


def refused(path, content):
    with pytest.raises(InputError) as caught:
        rows(path, content)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt"])
def test_the_separator_of_a_table_is_found(tmp_path, name, separator):
    pandas.DataFrame([ROW, ROW]).to_csv(tmp_path / name, sep=separator, index=False)
    assert rows(tmp_path / name) == [ROW, ROW]


def test_a_table_with_one_column_has_the_separator_of_its_suffix():
    assert separator_of("image\na.png\n") == ","
    assert separator_of("image\na.png\n", "\t") == "\t"


def test_the_index_of_pandas_and_a_last_separator_are_ignored(tmp_path):
    pandas.DataFrame([ROW]).to_csv(tmp_path / "a.csv")
    assert rows(tmp_path / "a.csv") == [ROW]
    assert rows(tmp_path / "b.csv", "image,text,\na.png,what?,\n") == [{"image": "a.png", "text": "what?"}]
    assert rows(tmp_path / "c.csv", "image,text\na.png,what?,\n") == [{"image": "a.png", "text": "what?"}]


def test_a_cell_may_have_any_length(tmp_path):
    long = "word " * 60_000
    assert rows(tmp_path / "a.csv", f'image,text\na.png,"{long}"\n') == [{"image": "a.png", "text": long}]


def test_quotes_within_cells_of_tabs_are_characters(tmp_path):
    content = 'image\ttext\na.png\t"colour" in one word?\nb.png\t5" wide\nc.png\t"\n'
    texts = [row["text"] for row in rows(tmp_path / "a.tsv", content)]
    assert texts == ['"colour" in one word?', '5" wide', '"']


def test_quotes_around_cells_of_tabs_are_quotes(tmp_path):
    frame = pandas.DataFrame([ROW, ROW | {"text": "two\nlines\tand a tab"}])
    frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    assert rows(tmp_path / "a.tsv")[1]["text"] == "two\nlines\tand a tab"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,text\na.png,red, or blue?\n", "a.csv:2: 3 cells under 2 columns: quote texts with a comma"),
        ("image;text\na.png;red; or blue?\n", "a.csv:2: 3 cells under 2 columns: quote texts with a semicolon"),
        ("image,text\na.png\n", "a.csv:2: 1 cells under 2 columns: write the missing ones"),
        ("image,image\na.png,b\n", "a.csv:1: column names ['image', 'image'] are all empty or repeated"),
        (",\na.png,b\n", "a.csv:1: column names ['', ''] are all empty or repeated"),
        ('image,text\na.png,"what?\n', "a.csv:2: not a table"),
    ],
)
def test_a_faulty_table_is_refused_with_its_line(tmp_path, content, message):
    assert message in refused(tmp_path / "a.csv", content)


def test_a_faulty_row_does_not_hide_the_others(tmp_path):
    problems: list[str] = []
    (tmp_path / "a.csv").write_text("a,b\n1,2,3\n4,5\n6\n")
    assert [row.values for row in read_rows(tmp_path / "a.csv", problems)] == [{"a": "4", "b": "5"}]
    assert [problem.partition(": ")[0][-1] for problem in problems] == ["2", "4"]
    assert list(table_rows("", tmp_path / "a.csv")) == []


def test_a_key_that_a_record_has_twice_is_refused(tmp_path):
    message = refused(tmp_path / "a.jsonl", '{"image": "a.png", "text": "what?"}\n{"image": "b.png", "image": "c.png"}')
    assert "a.jsonl:2: JSON that cannot be read" in message
    assert "the key 'image' occurs twice" in message
