"""Images with more than 8 bits per value: the range that each method states."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from velm_lightning.data.images.decode import read_image
from velm_lightning.data.images.depth import Depth, to_bytes
from velm_lightning.data.images.image_like import to_image
from velm_lightning.types import ImageTransform, InputError

RAMP = np.linspace(0, 1, 100)


def png16(values):
    """The bytes of a PNG with 16 bits per value and 1 to 4 channels, which Pillow does not write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND"]
    coded = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


def tiff16(values):
    """The bytes of an uncompressed TIFF with 16 bits per value and 1 or 3 channels, which Pillow does not write."""
    height, width, channels = values.shape
    pixels, at = values.astype("<u2").tobytes(), 8 + 2 + 9 * 12 + 4
    bits = [struct.pack("<H2x", 16), struct.pack("<I", at)][channels == 3]
    start = at + (6 if channels == 3 else 0)
    fields = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, bits), (259, 3, 1, 1)]
    fields += [(262, 3, 1, 2 if channels == 3 else 1), (273, 4, 1, start), (277, 3, 1, channels)]
    fields += [(278, 4, 1, height), (279, 4, 1, len(pixels))]
    coded = [
        struct.pack("<HHI", *field[:3]) + (v if isinstance(v := field[3], bytes) else struct.pack("<I", v))
        for field in fields
    ]
    extra = struct.pack("<HHH", 16, 16, 16) if channels == 3 else b""
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + b"".join(coded) + bytes(4) + extra + pixels


def read(content, **transform):
    return read_image(to_image(content), ImageTransform(8, **transform)).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", [np.int32, np.uint16, np.float32])
def test_a_fixed_range_is_the_same_for_all_images(kind):
    depth = Depth("fixed", (100, 400))
    assert to_bytes(np.array([0, 100, 250, 400, 999], kind), depth).tolist() == [0, 0, 128, 255, 255]


def test_a_fixed_range_may_be_negative():
    assert to_bytes(np.array([-1000, -300, 400], np.int32), Depth("fixed", (-1000, 400))).tolist() == [0, 128, 255]


@pytest.mark.parametrize("scale", [1e-3, 1, 4095, 2**31])
def test_percentiles_ignore_outliers(scale):
    values = np.linspace(0, 1, 999) * scale
    values[-1] = 100 * scale  # a hot pixel
    read = to_bytes(values, Depth("percentile"))
    assert read[0] == 0
    assert read[-1] == 255
    assert 110 < read[500] < 145


@pytest.mark.parametrize("values", [np.full(9, 7, np.uint16), np.full(9, 4095, np.int32), np.full(9, 0.5)])
def test_percentiles_of_one_value_are_read_automatically(values):
    assert to_bytes(values, Depth("percentile")).tolist() == to_bytes(values).tolist()


@pytest.mark.parametrize("largest", [0.9, 3.5, 9.7, 80.5, 255.5, 6553.5])
def test_floating_point_images_are_never_black(largest):
    read = to_bytes(RAMP * largest)  # such as depth in metres
    assert read.max() > 120
    assert read.min() == 0


def test_whole_numbers_in_floats_are_read_as_such():
    whole = np.array([0, 9, 200, 255], np.float32)
    assert to_bytes(whole).tolist() == [0, 9, 200, 255]
    assert to_bytes(np.array([0, 1], np.float32)).tolist() == [0, 255]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colours_in_a_png_are_read_by_the_bits_that_they_use(channels, bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (8, 8, channels))
    values[0, 0] = 2**bits - 1
    for content in (png16(values), tiff16(values)):
        assert (read(content) == values >> (bits - 8)).all()


def test_deep_colours_have_a_range_and_transparency():
    values = np.zeros((8, 8, 4), np.uint16)
    values[..., 0], values[:4, :, 3] = 4095, 65535
    pixels = read(png16(values), depth="fixed", depth_range=(0, 4095))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[7, 0].tolist() == [255, 255, 255]


def test_a_deep_png_that_is_cut_is_refused():
    content = png16(np.random.default_rng(0).integers(0, 2**16, (64, 64, 3)))
    with pytest.raises(InputError, match=r"image bytes: cannot be read as an image"):
        read(content[: len(content) // 2])


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_images_of_pillow_are_read_by_the_transform(mode):
    kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    image = Image.fromarray(np.full((8, 8), 300, kind))
    assert image.mode == mode
    assert read(image, depth="fixed", depth_range=(0, 600)).max() == 128
    file = io.BytesIO()
    image.save(file, "TIFF")
    assert (read(image) == read(file.getvalue())).all()


@pytest.mark.parametrize(
    ("image", "fix"),
    [
        (np.zeros((4, 5, 3), np.float32), r"give \(H, W, 3\) uint8 in RGB \(for OpenCV's BGR, image\[..., ::-1\]\)"),
        (np.zeros((4, 5), np.uint8), "in RGB"),
        (torch.zeros(3, 4, 5), r"give \(3, H, W\) uint8 in RGB"),
    ],
)
def test_other_arrays_are_refused_with_the_order_of_colours(image, fix):
    with pytest.raises(InputError, match=fix):
        to_image(image)


def test_an_array_of_opencv_can_be_reversed():
    bgr = np.zeros((8, 8, 3), np.uint8)
    bgr[..., 0] = 255
    assert read(bgr[..., ::-1])[0, 0].tolist() == [0, 0, 255]
