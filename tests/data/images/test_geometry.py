"""Images that are not square: the geometry of a transform, odd sizes, and tiles."""

import pytest
import torch
from helpers.pictures import smooth
from PIL import Image
from torchvision.transforms import v2
from transformers.image_processing_utils import select_best_resolution

from velm_lightning.data.images.cache import cache_key
from velm_lightning.data.images.decode import is_ready, read_image
from velm_lightning.data.images.store import ImageStore
from velm_lightning.data.images.tiles import best_grid
from velm_lightning.tracking.callbacks.image_sizes import describe_sizes
from velm_lightning.types import ImageTransform, Sample

WIDE = ImageTransform((24, 96))
RESIZES = ("squash", "crop", "pad", "stretch-to-grid")


def saved(folder, size, name="a.png", **options):
    path = folder / name
    smooth(*size).save(path, **options)
    return path


# One image


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (30, 400), (400, 100), (96, 24)])
def test_any_size_becomes_the_size_of_the_transform(tmp_path, size, resize):
    for name in ("a.png", "a.jpg"):
        pixels = read_image(saved(tmp_path, size, name), WIDE._replace(resize=resize))
        assert pixels.shape == (3, 24, 96)


def test_a_wide_image_keeps_its_detail(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (400, 100), "white").save(path)
    with Image.open(path) as image:
        image.paste("black", (200, 45, 210, 55))
        image.save(path)
    narrow, wide = (read_image(path, ImageTransform(size)) for size in (48, (48, 192)))
    assert (wide < 64).sum() > 4 * max(1, (narrow < 64).sum())


def test_padding_has_the_mean_colour_and_keeps_the_aspect_ratio(tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", WIDE._replace(resize="pad", mean=(0.2, 0.4, 0.6)))
    assert pixels[:, 0, 0].tolist() == pixels[:, -1, -1].tolist() == [51, 102, 153]
    red = (pixels == torch.tensor([255, 0, 0])[:, None, None]).all(0)
    assert red.nonzero().min(0).values.tolist() == [0, 36]
    assert red.nonzero().max(0).values.tolist() == [23, 59]


@pytest.mark.parametrize("size", [(400, 100), (100, 400), (123, 77)])
def test_a_crop_that_is_not_square_covers_and_is_central(tmp_path, size):
    path = saved(tmp_path, size)
    height, width = WIDE.sides
    scale = max(width / size[0], height / size[1])
    new = [max(height, int(size[1] * scale)), max(width, int(size[0] * scale))]
    expected = v2.Compose([v2.Resize(new, antialias=True), v2.CenterCrop((height, width))])
    with Image.open(path) as image:
        reference = v2.functional.pil_to_tensor(expected(image))
    assert (read_image(path, WIDE._replace(resize="crop")).int() - reference.int()).abs().max() <= 2


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("turn", [1, 6])
def test_a_reduced_jpeg_is_nearly_the_same_image(tmp_path, resize, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    small = read_image(saved(tmp_path, (1600, 1200), "a.jpg", quality=95, exif=exif), WIDE._replace(resize=resize))
    image = smooth(1600, 1200)
    (image.transpose(Image.Transpose.ROTATE_270) if turn == 6 else image).save(tmp_path / "b.png")
    whole = read_image(tmp_path / "b.png", WIDE._replace(resize=resize))
    assert (small.int() - whole.int()).abs().float().mean() < 3


def test_only_a_tensor_of_the_right_shape_is_ready():
    assert is_ready(torch.zeros(3, 24, 96).byte(), WIDE)
    assert not is_ready(torch.zeros(3, 96, 24).byte(), WIDE)
    assert not is_ready(torch.zeros(ImageTransform(8, tiles=2).shape).byte(), ImageTransform(8, tiles=2))


# Stores


@pytest.mark.parametrize("mode", ["disabled", "memory", "disk"])
@pytest.mark.parametrize("transform", [WIDE, WIDE._replace(resize="pad"), ImageTransform((8, 12), tiles=3)])
def test_stores_mix_images_of_all_sizes(tmp_path, mode, transform):
    paths = [saved(tmp_path, size, f"{size}.png") for size in ((1, 1), (5, 500), (400, 100), (24, 96))]
    store = ImageStore(paths, transform, mode=mode, cache_dir=tmp_path / "cache", progress=False)
    assert torch.equal(store.fetch([3, 0, 1, 2]), torch.stack([read_image(paths[i], transform) for i in (3, 0, 1, 2)]))
    assert store.fetch([]).shape == (0, *transform.shape)


def test_a_tensor_of_the_transform_is_served_without_a_copy():
    block = torch.randint(0, 256, (4, 3, 24, 96), dtype=torch.uint8)
    store = ImageStore(list(block), WIDE, mode="memory", progress=False)
    assert torch.equal(store.fetch([2, 0]), block[[2, 0]])


def test_the_cache_of_pixels_depends_on_all_that_changes_them(tmp_path):
    path = saved(tmp_path, (40, 30))
    changes = [
        {"size": (24, 48)}, {"resize": "pad"}, {"tiles": 2}, {"depth": "percentile"},
        {"depth": "fixed", "depth_range": (0, 9)}, {"resize": "pad", "mean": (0.1, 0.2, 0.3)},
    ]  # fmt: skip
    keys = [cache_key([path], WIDE._replace(**change)) for change in changes]
    assert len({*keys, cache_key([path], WIDE)}) == len(changes) + 1
    assert cache_key([path], WIDE._replace(mean=(0, 0, 0), std=(1, 1, 1))) == cache_key([path], WIDE)


# Tiles


@pytest.mark.parametrize("most", [1, 2, 4, 6])
@pytest.mark.parametrize("size", [(400, 100), (100, 400), (500, 500), (90, 60), (47, 48), (1000, 500)])
def test_the_grid_is_that_of_llava_next(size, most):
    grids = [(rows, columns) for rows in range(1, most + 1) for columns in range(1, most + 1) if rows * columns <= most]
    sizes = [(rows * 48, columns * 48) for rows, columns in grids]
    height, width = select_best_resolution((size[1], size[0]), sizes)
    rows, columns = best_grid(size, (48, 48), most)
    assert rows * columns == height * width // 48**2


def test_tiles_are_the_cells_of_the_image(tmp_path):
    cells = torch.randint(0, 256, (2, 2, 3, 8, 8), dtype=torch.uint8)
    whole = cells.permute(2, 0, 3, 1, 4).reshape(3, 16, 16)
    packed = read_image(whole, ImageTransform(8, tiles=5))
    assert packed.shape == (3, 6 * 8 + 1, 8)
    assert torch.equal(packed[:, 8:40].reshape(3, 4, 8, 8).transpose(0, 1), cells.flatten(0, 1))
    thumbnail = read_image(whole, ImageTransform(8))
    assert torch.equal(packed[:, :8], thumbnail)
    assert torch.equal(packed[:, 40:48], thumbnail)
    assert packed[:2, -1, 0].tolist() == [2, 2]


def test_a_long_image_has_tiles_in_one_row():
    assert best_grid((1, 5000), (48, 48), 4) == (4, 1)
    assert best_grid((300, 3), (8, 8), 6) == (1, 6)


def test_a_small_image_is_its_thumbnail():
    packed = read_image(torch.zeros(3, 8, 8, dtype=torch.uint8), ImageTransform(8, tiles=4))
    assert packed[:2, -1, 0].tolist() == [0, 0]


def test_the_sizes_of_images_are_described(tmp_path):
    sample = Sample("a", saved(tmp_path, (400, 100)), "", None, None)
    lines = [
        describe_sizes([sample], transform)
        for transform in (WIDE, ImageTransform(48), WIDE._replace(size=48, resize="pad"), ImageTransform(48, tiles=4))
    ]
    assert lines == [
        "images: 400 x 100 -> 96 x 24: most of the detail is lost",
        "images: 400 x 100 -> 48 x 48, squashed: most of the detail is lost",
        "images: 400 x 100 -> 48 x 48, padded: most of the detail is lost",
        "images: 400 x 100 -> 48 x 48, squashed and up to 4 tiles of this size",
    ]
