"""Names of images in files of data: which of them may be opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.io.files import inside
from velm_lightning.types import InputError, Source

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
