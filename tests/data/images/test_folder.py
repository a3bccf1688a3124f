"""Image files are found by the ids that result files use."""

import pytest

from velm_lightning.data.images.folder import picture_files, pictures_in
from velm_lightning.types import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("val/COCO_val2014_000000000042.jpg", "b.png", "007.JPG", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_the_images_of_a_folder_are_its_image_files_in_order(folder):
    (folder / "album.jpg").mkdir()
    (folder / "album.jpg" / "a.webp").touch()
    names = ["007.JPG", "album.jpg/a.webp", "b.png", "val/COCO_val2014_000000000042.jpg"]
    assert picture_files(folder) == [folder / name for name in names]


def test_virtual_file_systems_are_not_searched(folder, monkeypatch):
    """As ``/proc`` below ``/``, which holds endless numbers of files, and ones that block."""
    (folder / "proc" / "1").mkdir(parents=True)
    (folder / "proc" / "1" / "a.png").touch()
    (folder / "mounts").write_text(f"/dev/sda {folder} ext4 rw 0 0\nproc {folder}/proc proc rw 0 0\n")
    assert len(picture_files(folder)) == 4
    monkeypatch.setattr("velm_lightning.data.images.folder._MOUNTS", folder / "mounts")
    assert len(picture_files(folder)) == 3


def test_virtual_file_systems_are_known_behind_links(tmp_path, monkeypatch):
    """Mounts are listed by their real paths, with blanks as octal numbers."""
    (tmp_path / "whole disk" / "proc").mkdir(parents=True)
    (tmp_path / "whole disk" / "proc" / "a.png").touch()
    (tmp_path / "whole disk" / "b.png").touch()
    (tmp_path / "link").symlink_to("whole disk")
    place = str(tmp_path.resolve()).replace(" ", "\\040")
    (tmp_path / "mounts").write_text(f"proc {place}/whole\\040disk/proc proc rw 0 0\n")
    monkeypatch.setattr("velm_lightning.data.images.folder._MOUNTS", tmp_path / "mounts")
    for folder in ("whole disk", "link"):
        assert picture_files(tmp_path / folder) == [tmp_path / folder / "b.png"]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("42", "val/COCO_val2014_000000000042.jpg"),
        ("COCO_val2014_000000000042", "val/COCO_val2014_000000000042.jpg"),
        ("val/COCO_val2014_000000000042.jpg", "val/COCO_val2014_000000000042.jpg"),
        ("b", "b.png"),
        ("b.png", "b.png"),
        ("7", "007.JPG"),
        ("007", "007.JPG"),
    ],
)
def test_names_and_numbers_lead_to_their_file(folder, key, name):
    assert pictures_in(folder, [key]) == {key: folder / name}


def test_what_is_not_there_once_is_refused(folder):
    with pytest.raises(InputError, match="image '43' has no file in"):
        pictures_in(folder, ["b", "43"])
    with pytest.raises(InputError, match="'notes' has no file"):
        pictures_in(folder, ["notes"])
    (folder / "val" / "b.jpg").touch()
    with pytest.raises(InputError, match="'b' has 2 files, such as"):
        pictures_in(folder, ["b"])
    with pytest.raises(InputError, match="no such folder"):
        pictures_in(folder / "test", ["b"])
