"""Clips from JSON lines or tables whose images are folders of frames or video files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from velm_lightning.data.datasets.jsonlines import JSONLines
from velm_lightning.data.datasets.located import Located
from velm_lightning.data.images.cache import default_folder
from velm_lightning.data.images.folder import SUFFIXES
from velm_lightning.data.images.frames import frame_files
from velm_lightning.io.files import fault
from velm_lightning.io.paths import user_path
from velm_lightning.types import FilePart, Image, InputError, Source


class Clips(JSONLines):
    """`JSONLines` whose column ``image`` names a folder of frames or a video file (extra ``video``), or lists frames.

    A clip is divided into ``frames`` equal parts, and the middle frame of each is used (Wang et al. 2016); shorter
    clips repeat frames. The frames of a folder are sorted by the numbers in their names: ``frame_2.jpg`` precedes
    ``frame_10.jpg``. The frames of a video file are written once, as PNG files, into ``cache_dir``.

    Args:
        root: Folder to which the other paths are relative.
        frames: Number of frames per clip.
        cache_dir: Folder of the frames of video files. None means a folder in the user's cache folder.
        options: The other arguments of ``JSONLines``, with ``images`` as the folder of the clips.
    """

    def __init__(
        self, root: Path = Path("."), *, frames: int = 8, cache_dir: Path | None = None, **options: Any
    ) -> None:
        super().__init__(root, **options)
        if frames < 1:
            raise InputError(f"frames must be at least 1, got {frames}")
        self.frames = frames
        self.cache_dir = user_path(cache_dir) if cache_dir else default_folder() / "frames"
        self._clips: dict[Image, tuple[Source, ...]] = {}

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        samples = []
        for row in super().read(name, problems):
            try:
                samples.append(row._replace(sample=row.sample._replace(image=self._frames(row.sample.image))))
            except InputError as error:
                fault(InputError(f"{row.where}: image {error}"), problems)
        return samples

    @override
    def files_of(self, image: Image) -> Sequence[Path | FilePart]:
        try:
            return super().files_of(self._frames(image))
        except InputError:  # `read` reports this row
            return super().files_of(image)

    def _frames(self, image: Image) -> tuple[Source, ...]:
        if image not in self._clips:
            self._clips[image] = self._frames_of(image)
        return self._clips[image]

    def _frames_of(self, image: Image) -> tuple[Source, ...]:
        if isinstance(image, tuple):
            return tuple(image[place] for place in middle_indices(len(image), self.frames))
        if not isinstance(image, Path):
            raise InputError("is one image within the table: list the frames, or name a folder or a video file")
        if image.is_dir():
            frames = frames_in(image)
            return tuple(frames[place] for place in middle_indices(len(frames), self.frames))
        return frame_files(image, self.frames, self.cache_dir)


def middle_indices(count: int, wanted: int) -> list[int]:
    """Return the indices of the middles of ``wanted`` equal parts of ``count`` frames."""
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def frames_in(folder: Path) -> list[Path]:
    """Return the images of a folder, sorted by the numbers in their names.

    Raises:
        InputError: There are none.
    """
    frames = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    if not frames:
        raise InputError(f"{folder} is a folder without frames: put {', '.join(SUFFIXES)} files into it")
    return sorted(frames, key=lambda path: [(word, int(digits or 0)) for word, digits in _PARTS.findall(path.name)])


_PARTS = re.compile(r"(\D*)(\d*)")
