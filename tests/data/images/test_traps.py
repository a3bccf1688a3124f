"""Images that decoders reject or show black, and the suffixes under which images are found."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import smooth
from PIL import Image, PngImagePlugin

from velm_lightning.data.checks.images import deep_images, unused_files
from velm_lightning.data.datasets.jsonlines import JSONLines
from velm_lightning.data.images.decode import read_image
from velm_lightning.data.images.folder import SUFFIXES, picture_files
from velm_lightning.data.images.header import header_of
from velm_lightning.types import ImageTransform, InputError

CASES = Path(__file__).resolve().parents[4] / "shared/data/cases/pictures"
RAMP = np.linspace(0, 1, 64)[None].repeat(48, 0)


def decoded(path):
    return read_image(Path(path), ImageTransform(16)).numpy()


def saved(values, path):
    Image.fromarray(values).save(path)
    return path


# Depth


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_grey_image_is_read_by_the_bits_that_it_uses(tmp_path, bits):
    deep = saved(np.rint(RAMP * (2**bits - 1)).astype(np.uint16), tmp_path / "deep.png")
    usual = saved(np.rint(RAMP * 255).astype(np.uint8), tmp_path / "usual.png")
    assert np.abs(decoded(deep).astype(int) - decoded(usual)).max() <= 1
    assert decoded(deep).max() > 240


def test_depth_maps_and_floats_are_read(tmp_path):
    for number, values in enumerate(
        [(RAMP * 8190).astype(np.int32), (RAMP * 8190 - 1).astype(np.int32), RAMP.astype(np.float32)]
    ):
        image = decoded(saved(values, tmp_path / f"{number}.tif"))
        assert image.max() > 120
        assert image.min() < 10


def test_pixels_that_are_no_numbers_are_refused(tmp_path):
    bad = saved(np.full((8, 8), np.nan, np.float32), tmp_path / "nan.tif")
    with pytest.raises(InputError, match=r"nan\.tif: cannot be read as an image \(pixels that are not finite\)"):
        decoded(bad)


def test_deep_images_are_noted(tmp_path):
    saved(np.zeros((8, 8), np.uint8), tmp_path / "a.png")
    deep = saved(np.full((8, 8), 4095, np.uint16), tmp_path / "b.png")
    (note,) = deep_images(sorted(tmp_path.iterdir()))
    assert note.startswith("1 images have more than 8 bits per value")
    assert str(deep) in note
    assert [header_of(path).deep for path in sorted(tmp_path.iterdir())] == [False, True]
    assert not list(deep_images([tmp_path / "a.png", tmp_path / "none.png"]))


def test_colours_with_16_bits_are_noted(tmp_path):
    row = b"\0" + struct.pack(">HHH", 4095, 0, 0)
    parts = [b"IHDR" + struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0), b"IDAT" + zlib.compress(row), b"IEND"]
    coded = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(coded))
    assert header_of(tmp_path / "a.png").deep


# Texts and colour profiles


def with_text(path, kind):
    info = PngImagePlugin.PngInfo()
    add = {
        "zTXt": lambda text: info.add_text("a", text, zip=True),
        "iTXt": lambda text: info.add_itxt("a", text, zip=True),
    }
    add[kind]("x" * 3_000_000)
    smooth(20, 20).save(path, pnginfo=info)
    return path


@pytest.mark.parametrize("kind", ["zTXt", "iTXt"])
def test_a_png_with_a_huge_text_is_read(tmp_path, kind):
    smooth(20, 20).save(tmp_path / "plain.png")
    assert (decoded(with_text(tmp_path / "text.png", kind)) == decoded(tmp_path / "plain.png")).all()


def test_a_png_with_a_huge_profile_is_read(tmp_path):
    smooth(20, 20).save(tmp_path / "plain.png")
    smooth(20, 20).save(tmp_path / "profile.png", icc_profile=bytes(3_000_000))
    assert (decoded(tmp_path / "profile.png") == decoded(tmp_path / "plain.png")).all()


# Suffixes


def test_the_suffixes_of_all_formats_are_found(tmp_path):
    formats = {".jfif": "JPEG", ".jpe": "JPEG", ".apng": "PNG", ".pgm": "PPM", ".dib": "DIB", ".tiff": "TIFF"}
    for suffix, kind in formats.items():
        smooth(20, 20).save(tmp_path / f"a{suffix}", kind)
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "notes.txt").touch()
    files = picture_files(tmp_path)
    assert {path.suffix for path in files} == set(formats) < set(SUFFIXES)
    assert all(decoded(path).std() > 10 for path in files)


def test_heic_is_read_by_its_extra(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(smooth(64, 64)).save(tmp_path / "photo.jpg", quality=90)  # phones name them so
    smooth(64, 64).save(tmp_path / "plain.png")
    assert np.abs(decoded(tmp_path / "photo.jpg").astype(int) - decoded(tmp_path / "plain.png")).mean() < 5


def test_files_in_other_formats_are_noted(tmp_path):
    smooth(9, 9).save(tmp_path / "a.png")
    for name in ("b.mp4", "c.svg", "c.mp4", "README.md"):
        (tmp_path / name).touch()
    (tmp_path / "train.csv").write_text("image,label\na.png,x\n")
    data = JSONLines(tmp_path, train="train.csv")
    (note,) = unused_files(data, [sample.image for sample in data.split("train")])
    assert f"3 files below {tmp_path} have formats that are not read: 2 .mp4, 1 .svg" in note


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no {CASES}")
def test_the_collected_traps_are_read():
    for path in sorted(CASES.iterdir()):
        image = decoded(path)
        assert image.max() > 100, path
        assert image.std() > 10, path
