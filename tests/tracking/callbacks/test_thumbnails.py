"""Small images next to the predictions."""

import base64
import io

from helpers import tiny
from PIL import Image

from velm_lightning.tracking.callbacks.thumbnails import SIDE, jpeg, spread


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_a_picture_becomes_a_small_jpeg_that_keeps_its_shape():
    wide = tiny.picture(0).repeat(1, 10, 20)
    assert wide.shape == (3, 160, 320)
    assert (opened(jpeg(wide)).format, opened(jpeg(wide)).size) == ("JPEG", (SIDE, SIDE // 2))


def test_a_small_picture_is_not_enlarged():
    assert opened(jpeg(tiny.picture(0))).size == (tiny.SIZE, tiny.SIZE)


def test_a_clip_is_shown_by_its_first_frame():
    clip = tiny.picture(0)[None].repeat(4, 1, 1, 1)
    assert jpeg(clip) == jpeg(tiny.picture(0))


def test_images_are_spread_evenly_over_the_split():
    names = ["a", "a", "b", "b", "c", "d", "a", "e"]
    assert spread(names, 100) == [0, 2, 4, 5, 7]
    assert spread(names, 3) == [0, 4, 7]
    assert spread(names, 1) == [0]
