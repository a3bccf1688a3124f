"""NLVR and NLVR2 are read from their official files; errors name file and line."""

import json

import pytest
import yaml
from helpers.command_line import CONF

from velm_lightning.data import NLVR
from velm_lightning.types import InputError

ONE = {"identifier": "72-0", "directory": "5", "sentence": "There is a blue tower.", "label": "true"}
PAIR = {"identifier": "dev-850-0-1", "sentence": "The right image shows a bottle.", "label": "False"}


@pytest.fixture
def write(tmp_path):
    def write(*rows, file="dev/dev.json", **arguments):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return NLVR(tmp_path, **arguments)

    return write


def test_each_order_of_the_boxes_is_a_sample(write, tmp_path):
    samples = write(ONE).split("val")
    assert [sample.key for sample in samples] == [f"72-0-{order}" for order in range(6)]
    assert samples[2].image == tmp_path / "dev" / "images" / "5" / "dev-72-0-2.png"
    assert samples[2][2:5] == ("There is a blue tower.", {"true": 1.0}, ("true",))


def test_the_two_photos_of_nlvr2_are_a_clip(write, tmp_path):
    arguments = yaml.safe_load((CONF / "data" / "nlvr2.yaml").read_text())["dataset"]["init_args"]
    arguments.pop("root")
    data = write(PAIR, file="data/dev.json", **arguments)
    (sample,) = data.split("val")
    folder = tmp_path / "images" / "dev"
    assert sample.image == (folder / "dev-850-0-img0.png", folder / "dev-850-0-img1.png")
    assert (sample.key, sample.target) == ("dev-850-0-1", {"false": 1.0})
    write({**PAIR, "identifier": "train-1-2-0", "directory": 17}, file="data/train.json")
    assert data.split("train")[0].image[1] == tmp_path / "images" / "train" / "17" / "train-1-2-img1.png"


def test_a_test_file_may_lack_its_labels(write):
    secret = {name: value for name, value in ONE.items() if name != "label"}
    assert write(secret, file="test/test.json", orders=1).split("test")[0][3:5] == (None, ())
    with pytest.raises(InputError, match=r"dev\.json:1: label is None: write true or false"):
        write(secret).split("val")


def test_rows_without_a_directory_find_their_images(write, tmp_path):
    hidden = {name: value for name, value in ONE.items() if name != "directory"}
    for directory, order in (("0", 4), ("17", 2)):
        folder = tmp_path / "hidden" / "images" / directory
        folder.mkdir(parents=True)
        (folder / f"hidden-72-0-{order}.png").touch()
    samples = write(hidden, file="hidden/hidden.json", test="hidden/hidden.json").split("test")
    images = tmp_path / "hidden" / "images"
    assert samples[4].image == images / "0" / "hidden-72-0-4.png"
    assert samples[2].image == images / "17" / "hidden-72-0-2.png"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ONE, "label": "maybe"}, "label is 'maybe': write true or false"),
        ({**ONE, "sentence": " "}, "sentence is empty"),
        ({**ONE, "identifier": "x/../../../../../y"}, "leads out of"),
        ({"sentence": "x"}, "has no identifier"),
    ],
)
def test_faults_are_reported_with_their_line(write, row, message):
    with pytest.raises(InputError, match=rf"dev\.json:2: .*{message}"):
        write(ONE, row).split("val")


def test_two_rows_of_one_identifier_are_refused(write):
    with pytest.raises(InputError, match=r"dev\.json:2: key '72-0-0' is also in .*dev\.json:1"):
        write(ONE, ONE).split("val")


def test_an_unknown_part_of_a_name_is_refused(write):
    with pytest.raises(InputError, match="{number} is none of split, directory, identifier, pair, order"):
        write(ONE, pictures=["{number}.png"]).split("val")
    with pytest.raises(InputError, match="at least one of each"):
        write(ONE, orders=0)
