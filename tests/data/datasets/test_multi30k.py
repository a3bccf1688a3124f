"""Multi30k is read from its official files, which are parallel by line; errors name file and line."""

import gzip

import pytest

from velm_lightning.data import Multi30k
from velm_lightning.types import InputError

ENGLISH = "A dog runs.\nTwo girls play.\n"
GERMAN = "Ein Hund läuft.\nZwei Mädchen spielen.\n"


@pytest.fixture
def write(tmp_path):
    raw, lists = tmp_path / "data" / "task1" / "raw", tmp_path / "data" / "task1" / "image_splits"
    raw.mkdir(parents=True)
    lists.mkdir()

    def write(en=ENGLISH, de=GERMAN, images="1.jpg\n2.jpg\n", **arguments):
        (raw / "val.en.gz").write_bytes(gzip.compress(en.encode()))
        (raw / "val.de.gz").write_bytes(gzip.compress(de.encode()))
        (lists / "val.txt").write_text(images)
        return Multi30k(tmp_path, **arguments)

    return write


def test_lines_become_samples(write, tmp_path):
    first, second = write().split("val")
    image, right = tmp_path / "flickr30k-images" / "1.jpg", "Ein Hund läuft."
    assert first[:6] == ("1.jpg", image, "A dog runs.", right, (right,), "")
    assert second.references == (second.target,) == ("Zwei Mädchen spielen.",)


def test_the_languages_may_be_exchanged(write):
    first = write(source="de", target="en").split("val")[0]
    assert (first.text, first.target) == ("Ein Hund läuft.", "A dog runs.")


def test_the_number_of_a_caption_is_not_of_the_files_name(write):
    first, second = write(images="COCO_a.jpg#367178\nCOCO_a.jpg#2\n").split("val")
    assert (first.key, first.image.name) == ("COCO_a.jpg#367178", "COCO_a.jpg")
    assert second.image == first.image


def test_plain_files_are_read_by_their_pattern(write, tmp_path):
    data = write(texts="{part}.{language}", val="small")
    for language, text in (("en", ENGLISH), ("de", GERMAN)):
        (tmp_path / f"small.{language}").write_text(text, "utf-8")
    (tmp_path / "data" / "task1" / "image_splits" / "small.txt").write_text("1.jpg\n2.jpg")
    assert len(data.split("val")) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"de": "Ein Hund läuft.\n"}, r"the same number of lines.*val\.en\.gz 2,.*val\.de\.gz 1"),
        ({"de": "Ein Hund läuft.\n \n"}, r"val\.de\.gz:2: the line is empty"),
        ({"images": "1.jpg\n1.jpg\n"}, r"val\.txt:2: key '1.jpg' is also in .*val\.txt:1"),
        ({"images": "1.jpg\n../2.jpg\n"}, r"val\.txt:2: image .* leads out of"),
    ],
)
def test_faults_are_reported_with_their_line(write, changed, message):
    with pytest.raises(InputError, match=message):
        write(**changed).split("val")


def test_a_check_goes_on_after_a_fault(write):
    problems = []
    samples = write(de="\nZwei Mädchen spielen.\n").read("val", problems)
    assert [located.sample.key for located in samples] == ["2.jpg"]
    assert len(problems) == 1


def test_a_part_may_be_left_out(write):
    assert write(test=None).split("test") == []
    with pytest.raises(InputError, match=r"train\.en\.gz: cannot be read"):
        write().split("train")
