"""``velm search``: find the images of a folder that match a text best."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from velm_lightning.errors import InputError
from velm_lightning.inspection.fonts import drawing, families
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path
from velm_lightning.tracking.run_names import find_checkpoint

if TYPE_CHECKING:
    from velm_lightning.inspection.search import Hit
    from velm_lightning.types import ImageTransform

_SIDE = 256  # pixels of an image on a contact sheet


def draw(path: Path, text: str, hits: Sequence[Hit], transform: ImageTransform, columns: int = 5) -> None:
    """Write a contact sheet of the images, best first, as a ``.png``, ``.pdf`` or ``.svg`` file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from velm_lightning.data.images.store import read_image

    columns = min(columns, len(hits))
    rows = -(-len(hits) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.8 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(text, wrap=True, parse_math=False, fontfamily=families(text))
    cells = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in cells:
        axes.set_axis_off()
    resized = transform._replace(size=_size(transform), tiles=0)
    for rank, (axes, hit) in enumerate(zip(cells, hits, strict=False), 1):
        axes.imshow(read_image(hit.picture, resized).permute(1, 2, 0).numpy())
        title = f"{rank}. {hit.picture.name}"
        axes.set_title(title, fontsize=7, parse_math=False, fontfamily=families(title))
    path.parent.mkdir(parents=True, exist_ok=True)
    with drawing():
        figure.savefig(path, dpi=120)


def _size(transform: ImageTransform) -> tuple[int, int]:
    """Return the height and width of an image on the sheet, in the aspect ratio of the model's."""
    height, width = transform.sides
    longest = max(height, width)
    return max(1, _SIDE * height // longest), max(1, _SIDE * width // longest)


def main(words: Sequence[str]) -> int:
    """Run ``velm search``.

    Args:
        words: the command line from ``search`` on.

    Raises:
        InputError: an option is out of range, or the folder holds no readable image.
    """
    options = _options(words)
    checkpoint = find_checkpoint(options.run)
    if not options.images.is_dir():
        raise InputError(f"--images {options.images}: there is no such folder")
    import torch

    from velm_lightning.data.images.folder import picture_files
    from velm_lightning.fusion import Fusion
    from velm_lightning.inspection.nearest import Nearest, NearestByCells
    from velm_lightning.inspection.search import PictureIndex, readable

    model = Fusion.load_from_checkpoint(checkpoint)
    pictures = files = picture_files(options.images)
    if options.on_bad_image == "skip":
        pictures = list(readable(files, model.transform))
    if not pictures:
        raise InputError(f"--images {options.images}: the folder holds no image that can be read")
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    index = PictureIndex(model, pictures, options.cache, NearestByCells if options.approximate else Nearest)
    hits = index.best(options.text, options.top)
    unreadable = len(files) - len(pictures)
    skipped = f", {unreadable} unreadable" if unreadable else ""
    echo(f"{len(pictures):,} images, {index.made:,} encoded now{skipped}")
    show(hits)
    if options.sheet is not None:
        draw(options.sheet, options.text, hits, model.transform)
        echo(f"contact sheet: {options.sheet}")
    return 0


def show(hits: Sequence[Hit]) -> None:
    """Print a line per image, best first; the shortlist comes first, sorted by the second column."""
    echo(" cosine  re-ranked  image")
    for hit in hits:
        together = "" if hit.together is None else f"{hit.together:9.2f}"
        echo(f"{hit.similarity:7.3f}  {together:>9}  {hit.picture}")


def _options(words: Sequence[str]) -> argparse.Namespace:
    options = _parser().parse_args(list(words)[1:])
    if options.top < 1:
        raise InputError(f"--top must be at least 1, got {options.top}")
    if not options.text.strip():
        raise InputError("--text is empty: give the text to search for")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm search",
        description="Find the images of a folder that match a text best. The first search encodes the whole folder; "
        "later searches, with any text, read the vectors from disk and encode only new and changed images.",
    )
    parser.add_argument("run", help="a run that was trained on retrieval: its folder or id, a .ckpt file, or `latest`")
    parser.add_argument("--images", type=user_path, required=True, help="a folder of images, searched recursively")
    parser.add_argument("--text", required=True, help="the text to search for")
    parser.add_argument("--top", type=int, default=5, help="number of images to print (5)")
    parser.add_argument("--sheet", type=user_path, help="also draw the images into this file")
    parser.add_argument("--cache", type=user_path, help="folder of the cached vectors")
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="search only the nearest cells of an index (needs the extra faiss)",
    )
    parser.add_argument(
        "--on_bad_image", choices=["error", "skip"], default="error", help="skip: leave out images that cannot be read"
    )
    return parser
