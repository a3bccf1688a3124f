"""Flickr8k and Flickr30k are read from their token files and image lists; errors name file and line."""

from pathlib import Path

import pytest

from velm_lightning.data.datasets.published.flickr_tokens import FlickrTokens
from velm_lightning.types import InputError

TOKENS = """a.jpg#0\tA dog runs .
a.jpg#1\tThe dog is running
b.jpg#0\tTwo girls play .
c.jpg#0\tA man climbs .
"""
LISTS = {"train": "Flickr_8k.trainImages.txt", "val": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}


@pytest.fixture
def write(tmp_path):
    def write(tokens=TOKENS, train="a.jpg\n", val="b.jpg\n", test="c.jpg\n") -> FlickrTokens:
        (tmp_path / "Flickr8k.token.txt").write_bytes(tokens.encode())
        for name, listed in (("train", train), ("val", val), ("test", test)):
            (tmp_path / LISTS[name]).write_text(listed)
        return FlickrTokens(tmp_path)

    return write


def refused(data: FlickrTokens) -> str:
    with pytest.raises(InputError) as caught:
        data.split("train")
    return str(caught.value)


def test_training_has_captions_and_evaluation_images(write, tmp_path):
    data, both = write(), ("A dog runs .", "The dog is running")
    a, b = (tmp_path / "Flicker8k_Dataset" / name for name in ("a.jpg", "b.jpg"))
    assert [sample[:6] for sample in data.split("train")] == [
        ("a.jpg#0", a, "", both[0], both, ""),
        ("a.jpg#1", a, "", both[1], both, ""),
    ]
    assert [sample[:6] for sample in data.split("val")] == [
        ("b.jpg", b, "", "Two girls play .", ("Two girls play .",), "")
    ]
    assert [sample.key for sample in data.split("test")] == ["c.jpg"]


def test_images_come_in_the_order_of_their_list(write):
    assert [sample.key for sample in write(val="c.jpg\nb.jpg").split("val")] == ["c.jpg", "b.jpg"]


def test_the_lists_may_omit_the_suffix_as_in_flickr30k(write, tmp_path):
    (sample,) = write(val="b\n").split("val")
    assert (sample.key, sample.image.name) == ("b.jpg", "b.jpg")


def test_captions_of_images_in_no_list_are_left_out(write):
    data = write(TOKENS + "2258277193_586949ec62.jpg.1#0\tpeople wait\n")
    assert [len(data.split(name)) for name in LISTS] == [2, 1, 1]


def test_windows_line_ends_tabs_and_control_characters_are_fine(write):
    data = write("a.jpg#0\tA dog\truns\u2028fast .\r\n\r\na.jpg#1\t  The dog\x0b \r\n", train="a.jpg\r\n\r\n")
    assert [sample.target for sample in data.split("train")] == ["A dog runs fast .", "The dog"]


def test_a_split_may_have_no_list(write, tmp_path):
    write()
    assert FlickrTokens(tmp_path, val=None).split("val") == []


@pytest.mark.parametrize(
    ("tokens", "train", "message"),
    [
        (TOKENS + "d.jpg A dog", "a.jpg", "Flickr8k.token.txt:5: 'd.jpg A dog' is no caption: write name.jpg#0, a tab"),
        (TOKENS + "d.jpg#0\t ", "a.jpg", "Flickr8k.token.txt:5: caption is empty"),
        (TOKENS + "a.jpg#1\tThe dog", "a.jpg", "token.txt:5: 'a.jpg#1' is also in line 2: give each caption its"),
        (TOKENS, "a.jpg\nd.jpg", "Flickr_8k.trainImages.txt:2: 'd.jpg' has no caption in"),
        (TOKENS, "a.jpg\nb.jpg\na", "Flickr_8k.trainImages.txt:3: 'a' is also in"),
        (TOKENS + "../d.jpg#0\tA dog", "../d.jpg", "Flickr_8k.trainImages.txt:1: image '../d.jpg' leads out of"),
        (TOKENS, "\n", "Flickr_8k.trainImages.txt: names no image"),
        ("\n", "a.jpg", "Flickr8k.token.txt: holds no captions: is it the token file?"),
    ],
)
def test_faults_are_refused_with_file_and_line(write, tokens, train, message):
    assert message in refused(write(tokens, train))


def test_a_missing_file_is_refused(tmp_path):
    assert "Flickr8k.token.txt: cannot be read" in refused(FlickrTokens(tmp_path))


def test_faults_can_be_collected_and_the_sound_images_kept(write):
    data = write(TOKENS + "no caption\nd.jpg#0\t\n", train="a.jpg\ne.jpg\nd.jpg\nb.jpg")
    problems: list[str] = []
    assert [located.sample.key for located in data.read("train", problems)] == ["a.jpg#0", "a.jpg#1", "b.jpg#0"]
    assert [Path(problem.split(": ")[0]).name for problem in problems] == [
        "Flickr8k.token.txt:5",
        "Flickr8k.token.txt:6",
        "Flickr_8k.trainImages.txt:2",
    ]
