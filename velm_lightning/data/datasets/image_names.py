"""Names of images in files of data: which of them may be opened."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.data.images.image_like import to_image
from velm_lightning.io.files import inside, show
from velm_lightning.types import InputError, Source

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

Locate = Callable[[Any, str], Source]
"""Returns the image that a row at a location names, as a file or otherwise."""


class ImageNames(NamedTuple):
    """The rule that turns the names of images into files; data from elsewhere may name any file.

    Attributes:
        follow: Whether links may lead out of the folder of images.
        absolute: Whether absolute names, and names with ``~``, are accepted.
    """

    follow: bool = False
    absolute: bool = False

    def file(self, folder: Path, name: object, where: str) -> Path:
        """Return the file of a name below a folder, or elsewhere if the rule allows it.

        Args:
            folder: Folder of the images.
            name: The name.
            where: Location of the name, for messages.

        Raises:
            InputError: The value is no name, or leads out of the folder; the message names the option that allows it.
        """
        try:
            return inside(folder, name, self.follow, self.absolute)
        except InputError as error:
            raise InputError(f"{where}: image {error}{self._option(str(error))}") from error

    def _option(self, message: str) -> str:
        if "absolute file name" in message:
            return ", or set absolute_names to true"
        return ", or set links to follow" if " by a link: " in message and not self.follow else ""


def located_image(image: Any, locate: Locate, where: str) -> Source:
    """Return the file of an image, or its bytes if it is given as a record of bytes or as a ``data:`` address.

    Raises:
        InputError: It is missing, is an address on the network, or is not found.
    """
    if isinstance(image, Mapping) and {"bytes", "path"} & image.keys():
        image = image if image.get("bytes") is not None else image.get("path")
    try:
        if image is None or image != image:
            raise InputError("is missing (null): name one, or remove the row")
        if isinstance(image, Mapping):
            return to_image(image)
        if isinstance(image, str) and image.startswith("data:"):
            return to_image(base64.b64decode(image.partition(",")[2], validate=True))
        if isinstance(image, str) and _ADDRESS.match(image):
            raise InputError(f"{show(image)} is an address: download it and give the name of the file")
    except (InputError, binascii.Error) as error:
        raise InputError(f"{where}: image {error}") from error
    return locate(image, where)
