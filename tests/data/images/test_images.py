"""Images of every format are decoded to uint8 (3, S, S), upright and in RGB; errors name the file."""

import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pictures import jpeg_header, png_header, smooth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch.utils.data import DataLoader
from torchvision.transforms._presets import ImageClassification

from velm_lightning.data.images import decode
from velm_lightning.data.images.store import ImageStore, read_image
from velm_lightning.types import ImageTransform, InputError

SIZE = 16
SQUASH = ImageTransform(SIZE)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def left_right(left=RED, right=BLUE, size=(40, 30)) -> Image.Image:
    """An image whose left half has one colour and whose right half has another."""
    picture = Image.new("RGB", size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    return picture


def corner(pixels: torch.Tensor, side: str) -> list[int]:
    return pixels[:, SIZE // 2, 1 if side == "left" else -2].tolist()


def assert_left_right(pixels, left=RED, right=BLUE, within=4):
    assert pixels.shape == (3, SIZE, SIZE)
    assert pixels.dtype == torch.uint8
    np.testing.assert_allclose(corner(pixels, "left"), left, atol=within)
    np.testing.assert_allclose(corner(pixels, "right"), right, atol=within)


# Formats


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff", "a.gif", "a.ppm"])
def test_each_usual_format_is_read(tmp_path, name):
    left_right().save(tmp_path / name)
    assert_left_right(read_image(tmp_path / name, SQUASH), within=12)


def test_the_content_counts_not_the_suffix(tmp_path):
    left_right().save(tmp_path / "png.jpg", format="PNG")
    assert_left_right(read_image(tmp_path / "png.jpg", SQUASH))


def test_grey_and_black_and_white_become_rgb(tmp_path):
    for mode in ("L", "1"):
        left_right(WHITE, (0, 0, 0)).convert(mode).save(tmp_path / "a.png")
        assert_left_right(read_image(tmp_path / "a.png", SQUASH), WHITE, (0, 0, 0))
    left_right(WHITE, (0, 0, 0)).convert("L").save(tmp_path / "a.jpg")
    assert_left_right(read_image(tmp_path / "a.jpg", SQUASH), WHITE, (0, 0, 0))


def test_palette_gives_its_colours(tmp_path):
    left_right().quantize(4).save(tmp_path / "a.png")
    assert_left_right(read_image(tmp_path / "a.png", SQUASH))


def test_cmyk_jpeg_gives_its_colours(tmp_path):
    left_right().convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert_left_right(read_image(tmp_path / "a.jpg", SQUASH), within=12)


def test_16_bit_keeps_its_brightness(tmp_path):
    values = np.zeros((20, 20), np.uint16)
    values[:, :10], values[:, 10:] = 65535, 100 * 256
    Image.fromarray(values).save(tmp_path / "a.png")
    assert_left_right(read_image(tmp_path / "a.png", SQUASH), WHITE, (100, 100, 100))


def test_transparent_parts_are_white(tmp_path):
    picture = left_right().convert("RGBA")
    picture.paste((9, 9, 9, 0), (20, 0, 40, 30))
    picture.save(tmp_path / "rgba.png")
    assert_left_right(read_image(tmp_path / "rgba.png", SQUASH), RED, WHITE)
    left_right().quantize(4).save(tmp_path / "p.png", transparency=left_right().quantize(4).getpixel((39, 0)))
    assert_left_right(read_image(tmp_path / "p.png", SQUASH), RED, WHITE)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animation_gives_its_first_frame(tmp_path, name):
    left_right().save(tmp_path / name, save_all=True, append_images=[Image.new("RGB", (40, 30), GREEN)], duration=50)
    assert_left_right(read_image(tmp_path / name, SQUASH), within=12)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_rotation_is_undone(tmp_path, name, turn):
    steps = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}  # as a turned camera stores them
    stored = left_right()
    for step in steps.get(turn, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = turn
    stored.save(tmp_path / name, exif=exif)
    assert_left_right(read_image(tmp_path / name, SQUASH), within=12)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's transposition
def test_damaged_exif_does_not_spoil_the_image(tmp_path):
    left_right().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert_left_right(read_image(tmp_path / "a.jpg", SQUASH), within=12)


# Geometry


def test_squash_keeps_all_of_the_image(tmp_path):
    left_right(size=(300, 20)).save(tmp_path / "a.png")
    assert_left_right(read_image(tmp_path / "a.png", SQUASH))


@pytest.mark.parametrize("size", [(333, 251), (251, 334), (97, 90), (500, 375), (375, 499), (64, 57)])
@pytest.mark.parametrize(("side", "resized"), [(56, 64), (56, 63), (57, 64), (48, 48)])
def test_crop_equals_torchvisions_preset(tmp_path, size, side, resized):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    picture.save(tmp_path / "a.png")
    there = ImageClassification(crop_size=side, resize_size=resized, mean=(0.0,) * 3, std=(1.0,) * 3)
    transform = ImageTransform(side, "crop", side / resized)
    for image in (tmp_path / "a.png", torch.from_numpy(noise).permute(2, 0, 1)):
        assert torch.equal(read_image(image, transform), (there(picture) * 255).round().to(torch.uint8))


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_a_turned_image_is_cropped_when_upright(tmp_path, turn):
    noise = np.random.default_rng(0).integers(0, 256, (97, 144, 3), dtype=np.uint8)
    exif, picture = Image.Exif(), Image.fromarray(noise)
    exif[0x0112] = turn
    picture.save(tmp_path / "turned.png", exif=exif)
    ImageOps.exif_transpose(Image.open(tmp_path / "turned.png")).save(tmp_path / "upright.png", exif=Image.Exif())
    transform = ImageTransform(48, "crop", 48 / 55)
    assert torch.equal(read_image(tmp_path / "turned.png", transform), read_image(tmp_path / "upright.png", transform))


@pytest.mark.parametrize("size", [(1203, 901), (905, 601), (601, 2001), (1201, 4000)])
def test_a_jpeg_decoded_small_is_cropped_at_the_same_place(tmp_path, size):
    smooth(*size).save(tmp_path / "a.jpg", quality=98)
    smooth(*size).save(tmp_path / "a.png")
    transform = ImageTransform(56, "crop", 56 / 64)
    small, whole = (read_image(tmp_path / name, transform).int() for name in ("a.jpg", "a.png"))
    assert (small - whole).abs().max() <= 3


def test_crop_of_a_very_long_image_is_cheap():
    assert read_image(torch.zeros(3, 1, 60_000, dtype=torch.uint8), ImageTransform(64, resize="crop")).shape[-1] == 64


def test_a_large_jpeg_decoded_small_is_nearly_the_same_image(tmp_path):
    smooth(640, 480).save(tmp_path / "a.jpg", quality=95)
    smooth(640, 480).save(tmp_path / "a.png")
    small, whole = (read_image(tmp_path / name, SQUASH).int() for name in ("a.jpg", "a.png"))
    assert (small - whole).abs().max() <= 4


def test_interpolation_is_taken_from_the_transform(tmp_path):
    left_right(size=(8, 8)).save(tmp_path / "a.png")
    bicubic = read_image(tmp_path / "a.png", SQUASH._replace(interpolation="bicubic"))
    assert not torch.equal(bicubic, read_image(tmp_path / "a.png", SQUASH))


def test_only_tensors_of_another_size_are_resized():
    ready = torch.randint(256, (3, SIZE, SIZE), dtype=torch.uint8)
    assert read_image(ready, SQUASH) is ready
    assert read_image(torch.full((3, 9, 50), 7, dtype=torch.uint8), SQUASH).eq(7).all()


@pytest.mark.parametrize("bad", [torch.zeros(3, 8, 8), torch.zeros(8, 8, 3).byte(), torch.zeros(3, 0, 8).byte()])
def test_other_tensors_are_refused_with_their_shape(bad):
    with pytest.raises(InputError, match=r"uint8 \(3, H, W\), got torch\..*\("):
        read_image(bad, SQUASH)


# Errors


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    for name in ("none.jpg", "folder.jpg"):
        with pytest.raises(InputError, match=f"{name}: no such image file"):
            read_image(tmp_path / name, SQUASH)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"hello, I am a text\n", "is not a JPEG"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not a JPEG")],
)
def test_what_is_no_image_is_named(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.jpg: .*{reason}"):
        read_image(tmp_path / "a.jpg", SQUASH)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.bmp"])
def test_a_truncated_file_is_named(tmp_path, name):
    smooth(80, 60).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{name}: .*replace the file"):
        read_image(tmp_path / name, SQUASH)


@pytest.mark.parametrize("header", [png_header, jpeg_header])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_header_with_too_many_pixels_is_refused_first(tmp_path, header):
    (tmp_path / "a.png").write_bytes(header(30_000, 30_000))
    with pytest.raises(InputError, match=r"a\.png: .*too many pixels|a\.png: claims 30000 x 30000"):
        read_image(tmp_path / "a.png", SQUASH)
    (tmp_path / "b.png").write_bytes(header(9_000, 9_000))
    with pytest.raises(InputError, match=r"b\.png: claims 9000 x 9000 pixels, more than max_pixels = 64000000"):
        read_image(tmp_path / "b.png", SQUASH)


def test_the_limit_of_pixels_is_configurable(tmp_path):
    left_right().save(tmp_path / "a.png")
    with pytest.raises(InputError, match="max_pixels = 1000"):
        read_image(tmp_path / "a.png", SQUASH, max_pixels=1000)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]), data=st.data())
def test_damaged_files_raise_input_error_and_nothing_else(tmp_path, kind, data):
    path = tmp_path / f"fuzz.{kind.lower()}"
    smooth(24, 20).save(path, format=kind)
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=12)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        assert read_image(path, SQUASH, max_pixels=1_000_000).shape == (3, SIZE, SIZE)
    except InputError as error:
        assert path.name in str(error)  # noqa: PT017


# The images of a split

MODES = ["disabled", "memory", "disk"]


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        left_right((40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    return tmp_path


def store(folder, images, mode, **options) -> ImageStore:
    return ImageStore(images, SQUASH, mode, folder / "cache", progress=False, **options)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_fetches_the_same_images(folder, mode):
    images = [folder / f"{n % 6}.png" for n in range(20)]
    batch = store(folder, images, mode).fetch([19, 0, 6, 3, 3])
    assert batch.shape == (5, 3, SIZE, SIZE)
    assert batch[:, 0, 8, 1].tolist() == [40, 0, 0, 120, 120]
    assert torch.equal(batch[1], read_image(images[0], SQUASH))


@pytest.mark.parametrize("mode", MODES)
def test_clips_have_a_frame_axis(folder, mode):
    clips = [(folder / "0.png", folder / "1.png", folder / "2.png"), (folder / "2.png",) * 3]
    batch = store(folder, clips, mode).fetch([1, 0])
    assert batch.shape == (2, 3, 3, SIZE, SIZE)
    assert batch[:, :, 0, 8, 1].tolist() == [[80, 80, 80], [0, 40, 80]]


@pytest.mark.parametrize("mode", MODES)
def test_tensors_are_served_without_a_copy_of_the_set(folder, mode):
    block = torch.randint(256, (9, 3, SIZE, SIZE), dtype=torch.uint8)
    views = store(folder, [block[7], block[2], block[7]], mode)
    assert torch.equal(views.fetch([0, 1, 2]), block[[7, 2, 7]])
    block[7] = 5
    assert views.fetch([2]).eq(5).all()  # the same memory
    apart = [torch.full((3, SIZE, SIZE), n, dtype=torch.uint8) for n in (3, 4)]
    assert store(folder, apart, mode).fetch([1, 0])[:, 0, 0, 0].tolist() == [4, 3]
    other_size = [torch.full((3, 20, 30), n, dtype=torch.uint8) for n in (3, 4)]
    assert store(folder, other_size, mode).fetch([1, 0])[:, 0, 0, 0].tolist() == [4, 3]
    assert not (folder / "cache").exists()


@pytest.mark.parametrize("mode", MODES)
def test_no_sample_gives_an_empty_batch(folder, mode):
    assert store(folder, [folder / "0.png"], mode).fetch([]).shape == (0, 3, SIZE, SIZE)
    assert len(store(folder, [], mode)) == 0


def test_clips_of_unlike_length_are_refused(folder):
    with pytest.raises(InputError, match="single images, clips of 2"):
        store(folder, [folder / "0.png", (folder / "1.png", folder / "2.png")], "disabled")


def test_a_image_shared_by_many_samples_is_decoded_once(folder, monkeypatch):
    read = []
    monkeypatch.setattr("velm_lightning.data.images.store.read_image", lambda *a: read.append(a[0]) or read_image(*a))
    store(folder, [folder / "0.png"] * 50 + [folder / "1.png"] * 50, "memory").fetch(range(100))
    assert sorted(path.name for path in read) == ["0.png", "1.png"]


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_an_unreadable_image_raises_at_start_or_when_fetched(folder, mode):
    (folder / "3.png").write_bytes(b"")
    images = [folder / f"{n}.png" for n in range(6)]
    with pytest.raises(InputError, match=r"3\.png: the file is empty"):
        store(folder, images, mode)
    (folder / "4.png").unlink()
    with pytest.raises(InputError, match=r"3\.png: the file is empty.*\(2 such images; `velm data check` lists them"):
        store(folder, images, mode)
    lenient = store(folder, images, mode, strict=False)
    assert lenient.fetch([0, 5]).shape[0] == 2
    with pytest.raises(InputError, match=r"3\.png"):
        lenient.fetch([0, 3])


@pytest.mark.parametrize("mode", MODES)
def test_the_readable_part_of_a_batch_can_be_had(folder, mode):
    (folder / "3.png").unlink()
    lenient = store(folder, [folder / f"{n}.png" for n in range(6)], mode, strict=False)
    pictures, positions, errors = lenient.fetch_readable([1, 3, 5, 3])
    assert pictures[:, 0, 8, 1].tolist() == [40, 200]
    assert positions == [0, 2]
    assert all("3.png" in str(error) for error in errors)
    assert len(errors) == 2


@pytest.mark.parametrize("mode", MODES)
def test_it_can_be_sent_to_another_process(folder, mode):
    images = [folder / f"{n}.png" for n in range(6)]
    first = store(folder, images, mode)
    state = pickle.dumps(first)
    assert torch.equal(pickle.loads(state).fetch([5, 1]), first.fetch([5, 1]))
    if mode == "disk":
        assert len(state) < 6 * 3 * SIZE * SIZE  # the file is mapped again, not sent


# Memory


def test_threads_decode_a_bounded_number_of_pixels_at_once(folder, monkeypatch):
    """Eight threads, each with an image of half the budget or more than it."""
    monkeypatch.setattr(decode, "_BUDGET", decode.PixelBudget(2 * 40 * 30))
    lock, now, most, real = threading.Lock(), [0], [0], decode._rgb

    def counted(image, *depth):
        with lock:
            now[0] += image.width * image.height
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= image.width * image.height
        return real(image, *depth)

    monkeypatch.setattr(decode, "_rgb", counted)
    left_right(size=(100, 90)).save(folder / "large.png")
    paths = [folder / f"{number}.png" for number in range(6)] * 2 + [folder / "large.png"]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda path: read_image(path, SQUASH), paths))
    assert len(images) == 13
    assert most[0] <= 100 * 90
    assert now[0] == 0


# The cache on disk


def cached(folder) -> list[Path]:
    return sorted((folder / "cache").glob("*.uint8"))


def test_the_cache_is_read_back_without_decoding(folder, monkeypatch):
    images = [folder / f"{n}.png" for n in range(6)]
    expected = store(folder, images, "disk").fetch(range(6))
    monkeypatch.setattr("velm_lightning.data.images.store.read_image", None)
    assert torch.equal(store(folder, images, "disk").fetch(range(6)), expected)
    assert len(cached(folder)) == 1


def test_a_changed_file_or_geometry_has_another_cache(folder):
    images = [folder / f"{n}.png" for n in range(6)]
    store(folder, images, "disk")
    left_right(GREEN).save(images[2])
    os.utime(images[2], ns=(1, 1))
    assert store(folder, images, "disk").fetch([2])[0, :, 8, 1].tolist() == list(GREEN)
    assert len(cached(folder)) == 2
    ImageStore(images, SQUASH._replace(resize="crop"), "disk", folder / "cache", progress=False)
    assert len(cached(folder)) == 3


def test_damaged_pixels_are_decoded_again_with_a_message(folder, capsys):
    images = [folder / f"{number}.png" for number in range(6)]
    expected = store(folder, images, "disk").fetch(range(6))
    (cache,) = cached(folder)
    content = bytearray(cache.read_bytes())
    content[3 * SIZE * SIZE * 2 + 5] ^= 1  # in the third image
    cache.write_bytes(content)
    again = store(folder, images, "disk")
    assert torch.equal(again.fetch([0, 1]), expected[:2])
    assert not capsys.readouterr().err.strip()
    assert torch.equal(again.fetch(range(6)), expected)
    assert "the image of " in (told := capsys.readouterr().err)
    assert "2.png is damaged and decoded again" in told
    assert torch.equal(pickle.loads(pickle.dumps(again)).fetch([2, 2]), expected[[2, 2]])


def test_a_damaged_index_is_built_again(folder):
    images = [folder / f"{number}.png" for number in range(6)]
    expected = store(folder, images, "disk").fetch(range(6))
    (cache,) = cached(folder)
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-20] + bytes([whole[-20] ^ 255]) + whole[-19:])
    assert torch.equal(store(folder, images, "disk").fetch(range(6)), expected)
    assert cache.read_bytes() == whole


def test_a_half_written_cache_is_never_taken_for_a_whole_one(folder):
    images = [folder / f"{n}.png" for n in range(6)]
    expected = store(folder, images, "disk").fetch(range(6))
    (cache,) = cached(folder)
    whole = cache.read_bytes()
    cache.unlink()
    (cache.parent / f".{cache.name}.1-1.part").write_bytes(whole[:100])  # as left by a killed process
    assert torch.equal(store(folder, images, "disk").fetch(range(6)), expected)
    cache.write_bytes(whole[:100])  # as left by a truncated copy
    assert torch.equal(store(folder, images, "disk").fetch(range(6)), expected)
    assert cache.read_bytes() == whole
    assert not list(cache.parent.glob("*.part"))


def test_builders_at_the_same_time_build_once(folder, monkeypatch):
    read = []
    monkeypatch.setattr("velm_lightning.data.images.store.read_image", lambda *a: read.append(a[0]) or read_image(*a))
    images = [folder / f"{n}.png" for n in range(6)]
    builders = [threading.Thread(target=store, args=(folder, images, "disk")) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(read) == 6


def test_a_cache_folder_that_cannot_be_written_is_named(folder):
    (folder / "cache").write_text("a file stands in the way")
    with pytest.raises(InputError, match="cache cannot be written: "):
        store(folder, [folder / "0.png"], "disk")


@pytest.mark.slow
def test_a_killed_builder_leaves_no_cache(folder):
    images = [folder / f"{n}.png" for n in range(6)]
    first = store(folder, images, "disabled").fetch(range(6))
    killed = subprocess.Popen([sys.executable, "-c", BUILDER, *map(str, (folder / "cache", *images))])
    deadline = time.monotonic() + 60
    while not list((folder / "cache").glob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not cached(folder)
    assert torch.equal(store(folder, images, "disk").fetch(range(6)), first)


BUILDER = """
import sys, time
from pathlib import Path
from velm_lightning.data.images import store as images
from velm_lightning.types import ImageTransform
read = images.read_image
images.read_image = lambda *a: (time.sleep(a[0].name == "5.png" and 60), read(*a))[1]
images.ImageStore([Path(p) for p in sys.argv[2:]], ImageTransform(16), "disk", Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_spawned_loader_workers_read_the_same_store(folder, mode):
    pictures = store(folder, [folder / f"{n}.png" for n in range(6)], mode)
    loader = DataLoader(range(6), 3, num_workers=1, collate_fn=pictures.fetch, multiprocessing_context="spawn")
    assert torch.equal(torch.cat(list(loader)), pictures.fetch(range(6)))
    if mode == "memory":
        assert pictures._pixels.is_shared()
