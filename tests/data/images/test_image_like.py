"""The forms of an image that Python code may pass."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from velm_lightning.data.images.decode import read_image
from velm_lightning.data.images.image_like import to_image
from velm_lightning.types import ImageTransform, InputError


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_a_path_is_a_path():
    assert to_image("a.png") == to_image(Path("a.png")) == Path("a.png")
    assert to_image("~/a.png") == Path.home() / "a.png"


def test_bytes_are_decoded_like_their_file(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8))
    content = encoded(picture, "JPEG")
    (tmp_path / "a.jpg").write_bytes(content)
    transform = ImageTransform(16)
    expected = read_image(tmp_path / "a.jpg", transform)
    for form in (content, bytearray(content), {"bytes": content, "path": None}, {"path": str(tmp_path / "a.jpg")}):
        assert torch.equal(read_image(to_image(form), transform), expected)


def test_a_pil_image_is_turned_upright_and_white_behind():
    turned = Image.new("RGB", (4, 2), "red")
    turned.getexif()[0x0112] = 6
    assert to_image(turned).shape == (3, 4, 2)
    assert to_image(Image.new("RGBA", (2, 2), (0, 0, 0, 0))).unique().tolist() == [255]
    assert to_image(Image.new("L", (2, 3), 7)).unique().tolist() == [7]


def test_an_array_that_only_may_be_read_is_copied():
    array = np.zeros((2, 3, 3), np.uint8)
    array.flags.writeable = False
    assert to_image(array[::-1]).shape == (3, 2, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (3, "an image is of type int: give a path"),
        ({"url": "a"}, "an image is of type dict"),
        (np.zeros((3, 4, 5), np.uint8), r"array \(3, 4, 5\) of uint8: give \(H, W, 3\) uint8"),
        (np.zeros((4, 5, 3)), r"array \(4, 5, 3\) of float64: give \(H, W, 3\) uint8"),
        (torch.zeros(3, 4, 5), r"tensor \(3, 4, 5\) of torch.float32: give \(3, H, W\) uint8"),
        (torch.zeros(4, 5, 3, dtype=torch.uint8), r"tensor \(4, 5, 3\) of torch.uint8"),
    ],
)
def test_another_type_is_refused_by_its_name(image, message):
    with pytest.raises(InputError, match=message):
        to_image(image)


@pytest.mark.parametrize(("content", "reason"), [(b"", "the file is empty"), (b"no image", "is not a JPEG, PNG")])
def test_bytes_that_are_no_image_are_named(content, reason):
    with pytest.raises(InputError, match=f"{len(content)} image bytes: {reason}"):
        read_image(to_image(content), ImageTransform(8))
