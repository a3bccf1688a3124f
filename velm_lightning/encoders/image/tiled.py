"""An encoder of images at their aspect ratio: a thumbnail and tiles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.encoders.image.outer import OuterEncoder
from velm_lightning.types import InputError, Tokens

_BOX = 4


class TiledEncoder(OuterEncoder):
    """An image encoder applied to a thumbnail of the image and to the tiles of a grid, so that small objects are seen.

    The grid is chosen per image by its size and aspect ratio (AnyRes: LLaVA-NeXT, Liu et al. 2024), and the image is
    stretched to it (InternVL, Chen et al. 2024; SmolVLM, Marafioti et al. 2025). An image has (1 + n) M tokens, where M
    is the number of tokens of ``encoder`` and n <= ``tiles`` the number of cells of its grid, 0 if the thumbnail shows
    every pixel. Tokens are padded to (1 + ``tiles``) M, and the padding is masked; the cost is that of 1 + ``tiles``
    images for every image. Each token is followed by the centre and the size of its cell in the image, (y, x, height,
    width) in 0…1, as of regions in UNITER (Chen et al. 2020), so that ``dim`` is that of ``encoder`` plus 4.

    Args:
        encoder: encodes the thumbnail and each tile.
        tiles: the largest number of tiles per image.

    Raises:
        InputError: ``tiles`` is not in 1…64, or the encoder does not encode single images.

    Example:
        >>> import velm_lightning as velm
        >>> encoder = TiledEncoder(velm.SmallViT(48, patch=16, dim=32), tiles=4)
        >>> encoder.grid, encoder.dim
        ((15, 3), 36)
    """

    def __init__(self, encoder: ImageEncoder, tiles: int = 4) -> None:
        if not 1 <= tiles <= 64:
            raise InputError(f"image_encoder.tiles must be in 1…64, got {tiles}")
        if type(encoder).forward is not ImageEncoder.forward:
            raise InputError(f"image_encoder: a {type(encoder).__name__} cannot be tiled: wrap an encoder of one image")
        super().__init__(encoder.transform._replace(tiles=tiles, resize="stretch-to-grid", crop_ratio=1.0))
        self.encoder, self.dim, self.tiles = encoder, encoder.dim + _BOX, tiles
        self.pretrained = encoder.pretrained
        self.grid = ((tiles + 1) * encoder.grid[0], encoder.grid[1])

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        # (B, 3, (T + 1) h, w): without the row that holds the grid, which `forward` turns into boxes
        cut = pixels.reshape(len(pixels), 3, self.tiles + 1, *self.transform.sides)
        parts = cut.transpose(1, 2)  # (B, T + 1, 3, h, w)
        tokens = self.encoder.encode(parts.flatten(0, 1))
        depths = len(self.depths) + 1
        by_depth = tokens.reshape(len(pixels), self.tiles + 1, depths, -1, self.encoder.dim).transpose(1, 2)
        return by_depth.reshape(len(pixels), -1, self.encoder.dim)

    @override
    def forward(self, image: Tensor) -> Tokens:
        if not image.is_floating_point():
            frames = image.flatten(0, 1) if image.ndim == 5 else image
            pixels = (frames[:, :, :-1].to(self.mean.dtype) - self.mean) / self.std
            tokens = self.encode(pixels)
            boxes = self._boxes(frames[:, :2, -1, 0]).repeat(1, len(self.depths) + 1, 1)
            image = torch.cat([tokens, boxes.to(tokens.dtype)], 2).reshape(len(image), -1, self.dim)
        result = super().forward(image)
        return result._replace(mask=result.embeddings[..., -1] > 0)  # padding has no width

    def _boxes(self, grids: Tensor) -> Tensor:
        """Return centre and size (B, (T + 1) M, 4) of every token's cell in the image; zeros for padding.

        Args:
            grids: (B, 2) uint8, rows and columns of the tiles, 0 without tiles.
        """
        height, width = self.encoder.grid
        tiles = torch.arange(self.tiles, device=grids.device)
        rows, columns = grids.long()[:, :, None].unbind(1)  # (B, 1)
        across = columns.clamp(min=1)
        y, high = _along(tiles // across, rows, height)
        x, wide = _along(tiles % across, columns, width)
        shape = (len(grids), self.tiles + 1, height, width)
        parts = [each.expand(shape) for each in (y[..., None], x[:, :, None], high[..., None], wide[..., None])]
        boxes = torch.stack(parts, -1)  # (B, T + 1, h, w, 4)
        used = tiles < rows * columns  # (B, T)
        valid = torch.cat([torch.ones_like(used[:, :1]), used], 1)
        return (boxes * valid[..., None, None, None]).flatten(1, 3)


def _along(places: Tensor, counts: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Return the centres (B, T + 1, C) and the size (B, T + 1, 1) of the cells of thumbnail and tiles along one axis.

    Args:
        places: (B, T) place of each tile in its grid.
        counts: (B, 1) number of tiles of the grid, 0 without tiles.
        cells: number of cells C of a tile.
    """
    first = F.pad(places, (1, 0))[..., None]
    parts = F.pad(counts.clamp(min=1).expand_as(places), (1, 0), value=1)[..., None]
    centres = (torch.arange(cells, device=places.device) + 0.5) / cells
    return (first + centres) / parts, 1 / (cells * parts)
