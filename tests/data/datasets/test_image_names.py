"""Every reader that opens image files obeys the same rule about links and absolute names."""

import pytest
from helpers.formats import photos
from helpers.official import NAMED, NUMBERED, write

from velm_lightning.cli.data.load import data_of
from velm_lightning.data import NLVR
from velm_lightning.data.datasets.image_names import ImageNames
from velm_lightning.types import InputError


def named(kind, folder, name, **options):
    """A dataset of a class whose file names one image."""
    dataset, arguments, files = NAMED[kind]
    write(folder, files(name))
    return dataset(root=folder, images=folder / "photos", **arguments, **options)


def numbered(kind, folder, **options):
    """A dataset of a class that finds the image by its number, and the place of the image."""
    dataset, arguments, files, name = NUMBERED[kind]
    write(folder, files)
    images = {} if dataset is NLVR else {"images": folder / "photos"}
    return dataset(root=folder, **images, **arguments, **options), (
        folder if dataset is NLVR else images["images"]
    ) / name


def image(dataset):
    return dataset.split("train")[0].image


def refused(dataset):
    with pytest.raises(InputError) as caught:
        dataset.split("train")
    return str(caught.value)


@pytest.fixture
def blob(tmp_path):
    """An image outside of the folder of images, as in a cache of the hub."""
    return photos(tmp_path / "blobs") / "0.png"


@pytest.mark.parametrize("kind", NAMED)
def test_a_link_out_of_the_folder_needs_the_option(kind, tmp_path, blob):
    photos(tmp_path / "photos")
    (tmp_path / "photos/a.png").symlink_to(blob)
    assert refused(named(kind, tmp_path, "a.png")).endswith("or set links to follow")
    assert image(named(kind, tmp_path, "a.png", links="follow")).read_bytes() == blob.read_bytes()
    assert image(named(kind, tmp_path, "1.png")).is_file()


@pytest.mark.parametrize("kind", NUMBERED)
def test_so_does_the_link_of_a_numbered_image(kind, tmp_path, blob):
    dataset, place = numbered(kind, tmp_path / "data")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(blob)
    assert refused(dataset).endswith("or set links to follow")
    assert image(numbered(kind, tmp_path / "data", links="follow")[0]).read_bytes() == blob.read_bytes()


@pytest.mark.parametrize("kind", NAMED)
def test_absolute_names_and_home_need_the_option(kind, tmp_path, blob, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (str(blob), "~/blobs/0.png"):
        message = refused(named(kind, tmp_path, name))
        assert "is an absolute file name" in message
        assert message.endswith("or set absolute_names to true")
        assert image(named(kind, tmp_path, name, absolute_names=True)) == blob


@pytest.mark.parametrize("kind", NAMED)
def test_no_option_lets_a_name_climb_out(kind, tmp_path, blob):
    photos(tmp_path / "photos")
    dataset = named(kind, tmp_path, "../blobs/0.png", links="follow", absolute_names=True)
    assert "leads out of" in refused(dataset)
    assert "set links" not in refused(dataset)


@pytest.mark.parametrize("kind", NAMED)
def test_the_home_folder_may_be_the_root(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    photos(tmp_path / "photos")
    dataset, arguments, files = NAMED[kind]
    write(tmp_path, files("0.png"))
    assert image(dataset(root="~", images="photos", **arguments)) == tmp_path / "photos/0.png"


def test_a_file_may_begin_with_a_tilde(tmp_path):
    photos(tmp_path).joinpath("0.png").rename(tmp_path / "~0.png")
    assert ImageNames().file(tmp_path, "~0.png", "row 1").is_file()


def test_the_options_are_keys_of_a_config(tmp_path, blob):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").symlink_to(blob)
    write(tmp_path, NAMED["COCOCaptions"][2]("a.png"))
    arguments = {"root": str(tmp_path), "images": "photos", "train": "a.json", "links": "follow"}
    config = {"dataset": {"class_path": "COCOCaptions", "init_args": arguments}}
    write(tmp_path, {"data.yaml": config})
    assert image(data_of(tmp_path / "data.yaml").dataset).is_file()
    config["dataset"]["init_args"]["links"] = "maybe"
    write(tmp_path, {"data.yaml": config})
    with pytest.raises((InputError, SystemExit)):
        data_of(tmp_path / "data.yaml")
