"""Tiles of an image: a thumbnail, and the cells of a grid that is chosen by size and aspect ratio.

They are packed into one tensor of constant shape (3, (N + 1) h + 1, w), so that stores, caches, batches and processes
handle them as any other image: the thumbnail, the tiles in row-major order, thumbnails in the place of missing tiles,
and a row of pixels that begins with the numbers of rows and columns of the grid, 0 without tiles.
"""

from __future__ import annotations

from PIL import Image as Pillow

from velm_lightning.types import ImageTransform


def best_grid(image: tuple[int, int], tile: tuple[int, int], most: int) -> tuple[int, int]:
    """Return the rows and columns of the grid of at most ``most`` tiles that suits an image.

    As in LLaVA-NeXT (Liu et al. 2024), the grid keeps most pixels of the image at its aspect ratio, and of several such
    grids the one with the fewest pixels to spare.

    Args:
        image: Width and height of the image.
        tile: Width and height of a tile.
        most: The largest number of tiles.

    Example:
        >>> best_grid((400, 100), (48, 48), 4), best_grid((40, 40), (48, 48), 4)
        ((1, 4), (1, 1))
    """
    grids = [(rows, columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]

    def fitness(grid: tuple[int, int]) -> tuple[float, int]:
        width, height = grid[1] * tile[0], grid[0] * tile[1]
        scale = min(1.0, width / image[0], height / image[1])
        return scale, -width * height

    return max(grids, key=fitness)


def packed(
    image: Pillow.Image, transform: ImageTransform, grid: tuple[int, int], filtering: Pillow.Resampling
) -> Pillow.Image:
    """Return the thumbnail and the tiles of an image, stretched to the grid, as one image."""
    height, width = transform.sides
    rows, columns = grid if grid != (1, 1) else (0, 0)  # one tile is the thumbnail
    thumbnail = image.resize((width, height), filtering)
    tiles = [thumbnail] * (transform.tiles + 1)
    whole = image.resize((columns * width, rows * height), filtering) if rows else image
    for number in range(rows * columns):
        left, top = number % columns * width, number // columns * height
        tiles[number + 1] = whole.crop((left, top, left + width, top + height))
    result = Pillow.new("RGB", (width, len(tiles) * height + 1))
    for number, tile in enumerate(tiles):
        result.paste(tile, (0, number * height))
    result.putpixel((0, len(tiles) * height), (rows, columns, 0))
    return result
