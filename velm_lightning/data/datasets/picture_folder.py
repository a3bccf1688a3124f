"""The pictures of a folder, each with the same text, to predict on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from velm_lightning.data.images.folder import picture_files
from velm_lightning.types import Dataset, InputError, Sample


class PictureFolder(Dataset):
    """Every picture of a folder and its subfolders with the same text, without targets; it has only a test split.

    The key of a sample is the picture's file name relative to the folder.

    Args:
        images: The folder.
        text: The prompt of every sample, such as a question; empty for captioning.
    """

    def __init__(self, images: Path, text: str = "") -> None:
        self.images, self.text = Path(images), text

    @override
    def split(self, name: str) -> Sequence[Sample]:
        if name != "test":
            return []
        files = picture_files(self.images)
        if not files:
            raise InputError(f"--images {self.images}: the folder holds no pictures")
        return [Sample(file.relative_to(self.images).as_posix(), file, self.text, None, ()) for file in files]
