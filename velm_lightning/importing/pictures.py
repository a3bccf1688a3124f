"""Thumbnails of the images of imported predictions, which the gallery of a comparison shows."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from velm_lightning.data.images.decode import MAX_PIXELS, upright_rgb
from velm_lightning.data.images.folder import pictures_in
from velm_lightning.io.files import open_file
from velm_lightning.io.image_files import open_image
from velm_lightning.types import InputError, Prediction

SIDE, COUNT = 160, 200
"""Longest side of a thumbnail in pixels, and the largest number of thumbnails, as in a run's own folder."""


def thumbnail_lines(rows: Sequence[Prediction], folder: Path) -> str:
    """Return the thumbnails as JSON lines; the images are spread evenly over the rows.

    Args:
        rows: the predictions; ``image`` is the name or the number of a file.
        folder: the folder of the files.

    Raises:
        InputError: A file is missing or is no image.
    """
    names = sorted({row.image for row in rows})
    files = pictures_in(folder, names[:: -(-len(names) // COUNT)])
    return "".join(json.dumps({"image": name, "jpeg": _jpeg(path)}) + "\n" for name, path in files.items())


def _jpeg(path: Path) -> str:
    try:
        with open_file(path) as content, open_image(content, str(path)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{path}: has {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} are read")
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            small = upright_rgb(image)
    except InputError:
        raise
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        raise InputError(f"{path}: is not an image that can be read ({error}): replace or remove it") from error
    small.thumbnail((SIDE, SIDE))
    file = BytesIO()
    small.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
